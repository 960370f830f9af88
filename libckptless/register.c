/*
 * ckptless_register and ckptless_unregister: the checks in front of the table of regions, and when a region is late.
 */
#include <stdlib.h>
#include <string.h>

#include "libckptless/context.h"
#include "libckptless/say.h"

_Static_assert(CKPTLESS_REGION_NAME_MAX + 1 == WIRE_REGION_NAME_BYTES, "names fit the wire");

#define CALL "ckptless_register"

/* The known part of the caller's struct. */
static enum ckptless_result take_region(const struct ckptless *ctx, const struct ckptless_region *given,
                                        struct ckptless_region *ret_region) {
    if (!given) {
        say_line(ctx, CALL ": region is NULL; pass a struct ckptless_region");
        return CKPTLESS_ERR_INVALID;
    }
    if (!context_check_struct(ctx, CALL, given, given->struct_size, offsetof(struct ckptless_region, memory),
                              sizeof(*given))) {
        return CKPTLESS_ERR_INVALID;
    }
    *ret_region = (struct ckptless_region)CKPTLESS_REGION_INIT;
    memcpy(ret_region, given, given->struct_size < sizeof(*given) ? given->struct_size : sizeof(*given));
    return CKPTLESS_OK;
}

static enum ckptless_result check_region(const struct ckptless *ctx, const struct ckptless_region *region) {
    if (!regions_name_ok(region->name)) {
        say_line(ctx, CALL ": name \"%.100s\" must have 1 to %d characters", region->name ? region->name : "(null)",
                 CKPTLESS_REGION_NAME_MAX);
        return CKPTLESS_ERR_INVALID;
    }
    if (!region->data || region->bytes == 0) {
        say_line(ctx, CALL ": \"%s\" shard %u: data is %p, %zu bytes; give memory of at least one byte", region->name,
                 region->shard, region->data, region->bytes);
        return CKPTLESS_ERR_INVALID;
    }
    if (region->memory == CKPTLESS_CUDA) {
        say_line(ctx,
                 CALL ": \"%s\" shard %u is device memory, which this build does not support; keep it in host memory",
                 region->name, region->shard);
        return CKPTLESS_ERR_UNSUPPORTED;
    }
    if (region->memory != CKPTLESS_HOST ||
        (region->redundancy != CKPTLESS_REDUNDANCY_DEFAULT && region->redundancy != CKPTLESS_REPLICA)) {
        say_line(ctx,
                 CALL
                 ": \"%s\" shard %u: memory %d or redundancy %d is not known to this library; use those of ckptless.h",
                 region->name, region->shard, (int)region->memory, (int)region->redundancy);
        return CKPTLESS_ERR_INVALID;
    }
    return CKPTLESS_OK;
}

enum ckptless_result ckptless_register(struct ckptless *ctx, const struct ckptless_region *region) {
    struct ckptless_region known;
    enum ckptless_result result = context_check(ctx, CALL);
    if (result == CKPTLESS_OK) {
        result = take_region(ctx, region, &known);
    }
    if (result == CKPTLESS_OK) {
        result = check_region(ctx, &known);
    }
    if (result != CKPTLESS_OK) {
        return result;
    }
    struct regions_options options = {
        .in_world = ctx->phase == CONTEXT_RUNNING && !context_is_told(ctx) && !ctx->torn,
        .keep_copies = !ctx->ordinary,
    };
    result = regions_put(&ctx->regions, &known, options);
    if (result == CKPTLESS_ERR_INVALID) {
        say_line(ctx, CALL ": \"%s\" shard %u would be region %u of this rank, at most %u are possible; join some",
                 known.name, known.shard, ctx->regions.count + 1, WIRE_REGIONS_MAX);
    } else if (result == CKPTLESS_ERR_NO_MEMORY) {
        say_line(ctx, CALL ": no memory for \"%s\" shard %u (%zu bytes)", known.name, known.shard, known.bytes);
    }
    return result;
}

enum ckptless_result ckptless_unregister(struct ckptless *ctx, const char *name, uint32_t shard) {
    enum ckptless_result result = context_check(ctx, "ckptless_unregister");
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!regions_name_ok(name)) {
        say_line(ctx, "ckptless_unregister: name \"%.100s\" must have 1 to %d characters", name ? name : "(null)",
                 CKPTLESS_REGION_NAME_MAX);
        return CKPTLESS_ERR_INVALID;
    }
    if (!regions_remove(&ctx->regions, name, shard)) {
        say_line(ctx, "ckptless_unregister: no region \"%s\" shard %u is registered", name, shard);
        return CKPTLESS_ERR_NOT_FOUND;
    }
    return CKPTLESS_OK;
}
