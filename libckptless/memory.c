/*
 * ckptless_alloc and ckptless_free. This version: ordinary anonymous memory, in huge pages where the kernel has them
 * and touched beforehand, because state that is pulled into memory never touched arrives three times slower. That it
 * outlives its process is not done yet: it comes with memory shared with the helper, behind the same two calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libckptless/context.h"
#include "libckptless/memory.h"
#include "libckptless/say.h"

#define HUGE_BYTES ((size_t)2 << 20)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

/* Anonymous memory, aligned for huge pages when it is large enough to have some. */
static void *map_aligned(size_t bytes) {
    size_t slack = bytes >= HUGE_BYTES ? HUGE_BYTES : 0;
    uint8_t *start = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    if (slack == 0) {
        return start;
    }
    size_t before = round_up((uintptr_t)start, HUGE_BYTES) - (uintptr_t)start;
    if (before > 0) {
        (void)munmap(start, before);
    }
    if (slack > before) {
        (void)munmap(start + before + bytes, slack - before);
    }
    (void)madvise(start + before, bytes, MADV_HUGEPAGE);
    return start + before;
}

static void touch(uint8_t *data, size_t bytes, size_t page_bytes) {
    if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) {
        return;
    }
    for (size_t offset = 0; offset < bytes; offset += page_bytes) {
        ((volatile uint8_t *)data)[offset] = 0;
    }
}

static struct memory_block *reserve_block(struct memory *memory) {
    if (memory->count == memory->capacity) {
        size_t capacity = memory->capacity ? memory->capacity * 2 : 8;
        struct memory_block *list = reallocarray(memory->list, capacity, sizeof(*list));
        if (!list) {
            return NULL;
        }
        memory->list = list;
        memory->capacity = capacity;
    }
    return &memory->list[memory->count];
}

static enum ckptless_result check_request(const struct ckptless *ctx, const char *name, uint32_t shard, size_t bytes,
                                          void *const *ret_data) {
    if (!regions_name_ok(name) || bytes == 0 || bytes > SIZE_MAX / 2 || !ret_data) {
        say_line(ctx,
                 "ckptless_alloc: needs a name of 1 to %d characters, a size above 0, and a place for the answer (got "
                 "\"%.100s\", %zu bytes)",
                 CKPTLESS_REGION_NAME_MAX, name ? name : "(null)", bytes);
        return CKPTLESS_ERR_INVALID;
    }
    for (size_t i = 0; i < ctx->memory.count; i++) {
        if (ctx->memory.list[i].shard == shard && strcmp(ctx->memory.list[i].name, name) == 0) {
            say_line(ctx, "ckptless_alloc: \"%s\" shard %u is allocated already; ckptless_free() it first", name,
                     shard);
            return CKPTLESS_ERR_INVALID;
        }
    }
    return CKPTLESS_OK;
}

enum ckptless_result ckptless_alloc(struct ckptless *ctx, const char *name, uint32_t shard, size_t bytes,
                                    void **ret_data) {
    enum ckptless_result result = context_check(ctx, "ckptless_alloc");
    if (result == CKPTLESS_OK) {
        result = check_request(ctx, name, shard, bytes, ret_data);
    }
    if (result != CKPTLESS_OK) {
        return result;
    }
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = round_up(bytes, bytes >= HUGE_BYTES ? HUGE_BYTES : page_bytes);
    struct memory_block *block = reserve_block(&ctx->memory);
    void *data = block ? map_aligned(mapped) : NULL;
    if (!data) {
        say_line(ctx, "ckptless_alloc: no memory for %zu bytes of \"%s\" shard %u", bytes, name, shard);
        return CKPTLESS_ERR_NO_MEMORY;
    }
    touch(data, mapped, page_bytes);
    *block = (struct memory_block){ .shard = shard, .data = data, .bytes = mapped };
    strcpy(block->name, name); /* its length was checked */
    ctx->memory.count++;
    *ret_data = data;
    return CKPTLESS_OK;
}

enum ckptless_result ckptless_free(struct ckptless *ctx, void *data) {
    enum ckptless_result result = context_check(ctx, "ckptless_free");
    if (result != CKPTLESS_OK || !data) {
        return result;
    }
    for (size_t i = 0; i < ctx->memory.count; i++) {
        struct memory_block *block = &ctx->memory.list[i];
        if (block->data != data) {
            continue;
        }
        const struct region *region = regions_inside(&ctx->regions, data, block->bytes);
        if (region) {
            say_line(ctx, "ckptless_free: region \"%s\" shard %u lies in this memory; ckptless_unregister() it first",
                     region->name, region->shard);
            return CKPTLESS_ERR_STATE;
        }
        (void)munmap(block->data, block->bytes);
        *block = ctx->memory.list[--ctx->memory.count];
        return CKPTLESS_OK;
    }
    say_line(ctx, "ckptless_free: %p did not come from ckptless_alloc(), or was freed already", data);
    return CKPTLESS_ERR_INVALID;
}

void memory_fini(struct memory *memory) {
    free(memory->list);
    *memory = (struct memory){ 0 };
}
