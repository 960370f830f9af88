/*
 * The table of regions. Knows no helper and no epoch.
 *
 * Which regions are part of the committed state (rule R): a region counts if it was registered outside a running world,
 * or if a commit came after its registration. Outside a running world is: before the first recover, between RELOAD and
 * reloaded, and between a call that answered INTERRUPTED (or an update that failed) and the next recover.
 *
 *  - A replacement registers all it has before its first recover, so all of that counts; the survivors' regions were
 *    registered before their first recover too, or late, with commits since. The tables agree.
 *  - A region registered late and not committed yet holds nothing that belongs to the step resumed from: it is not
 *    reported, not pulled, not put back. After the recovery it still waits for its first commit, on the survivors as
 *    on the replacement, which registers it late as the first process did.
 *  - Moving a region (the same name and shard again) leaves it counted or not, and keeps the copy of its last commit:
 *    a program that registers everything again in each world loses nothing. Only with a new size is the copy taken
 *    anew. A new size counts at once, as the old memory may be gone; all holders change it between the same two
 * updates.
 *
 * The copy of a region that changes between updates is what peers read and what a pull lands in: the live region is
 * somewhere between two steps when a loss comes. recover puts the copy back on every rank. It is double: a commit
 * writes all the new ones, then swaps, so that what the table names is whole at any moment.
 */
#include <stdlib.h>
#include <string.h>

#include "libckptless/context.h"
#include "libckptless/regions.h"
#include "libckptless/say.h"

bool regions_name_ok(const char *name) {
    size_t length = name ? strnlen(name, CKPTLESS_REGION_NAME_MAX + 1) : 0;
    return length >= 1 && length <= CKPTLESS_REGION_NAME_MAX;
}

static struct region *find(const struct regions *regions, const char *name, uint32_t shard) {
    for (uint32_t i = 0; i < regions->count; i++) {
        if (regions->list[i].shard == shard && strcmp(regions->list[i].name, name) == 0) {
            return &regions->list[i];
        }
    }
    return NULL;
}

static bool grow(struct regions *regions) {
    if (regions->count < regions->capacity) {
        return true;
    }
    uint32_t capacity = regions->capacity ? regions->capacity * 2 : 16;
    struct region *list = reallocarray(regions->list, capacity, sizeof(*list));
    if (!list) {
        return false;
    }
    regions->list = list;
    regions->capacity = capacity;
    return true;
}

static void free_copies(struct region *region) {
    free(region->copy);
    free(region->next);
}

static void count_up(struct regions *regions) {
    regions->late_count = regions->copy_count = 0;
    for (uint32_t i = 0; i < regions->count; i++) {
        regions->late_count += !regions->list[i].counted;
        regions->copy_count += regions->list[i].copy != NULL;
    }
}

enum ckptless_result regions_put(struct regions *regions, const struct ckptless_region *given,
                                 struct regions_options options) {
    struct region *region = find(regions, given->name, given->shard);
    bool wants_copy = given->changes_between_updates && options.keep_copies;
    bool keeps_copy = region && region->copy && region->bytes == given->bytes;
    void *copy = NULL, *next = NULL;
    if (!region && regions->count == WIRE_REGIONS_MAX) {
        return CKPTLESS_ERR_INVALID;
    }
    if (!region && !grow(regions)) {
        return CKPTLESS_ERR_NO_MEMORY;
    }
    if (wants_copy && !keeps_copy) {
        copy = malloc(given->bytes);
        next = malloc(given->bytes);
        if (!copy || !next) {
            free(copy);
            free(next);
            return CKPTLESS_ERR_NO_MEMORY;
        }
        memcpy(copy, given->data, given->bytes);
    }
    if (!region) {
        region = &regions->list[regions->count++];
        *region = (struct region){ .shard = given->shard, .counted = !options.in_world };
        strcpy(region->name, given->name); /* its length was checked */
    }
    if (!wants_copy || !keeps_copy) {
        free_copies(region);
        region->copy = copy;
        region->next = next;
    }
    region->data = given->data;
    region->bytes = given->bytes;
    count_up(regions);
    return CKPTLESS_OK;
}

bool regions_remove(struct regions *regions, const char *name, uint32_t shard) {
    struct region *region = find(regions, name, shard);
    if (!region) {
        return false;
    }
    free_copies(region);
    *region = regions->list[--regions->count];
    count_up(regions);
    return true;
}

void regions_commit(struct regions *regions) {
    if (regions->late_count == 0 && regions->copy_count == 0) {
        return;
    }
    for (uint32_t i = 0; i < regions->count; i++) {
        struct region *region = &regions->list[i];
        if (region->copy) {
            memcpy(region->next, region->data, region->bytes);
        }
    }
    for (uint32_t i = 0; i < regions->count; i++) {
        struct region *region = &regions->list[i];
        void *copy = region->copy;
        region->counted = true;
        region->copy = region->next;
        region->next = copy;
    }
    regions->late_count = 0;
}

void regions_restore(const struct regions *regions) {
    for (uint32_t i = 0; i < regions->count; i++) {
        const struct region *region = &regions->list[i];
        if (region->copy && region->counted) {
            memcpy(region->data, region->copy, region->bytes);
        }
    }
}

struct wire_rpc_region *regions_table(const struct regions *regions, uint32_t *ret_count) {
    uint32_t count = 0;
    *ret_count = regions->count - regions->late_count;
    struct wire_rpc_region *table = *ret_count ? calloc(*ret_count, sizeof(*table)) : NULL;
    for (uint32_t i = 0; table && i < regions->count; i++) {
        const struct region *region = &regions->list[i];
        if (!region->counted) {
            continue;
        }
        const void *address = region->copy ? region->copy : region->data;
        table[count] = (struct wire_rpc_region){
            .shard = region->shard,
            .bytes = region->bytes,
            .address = (uint64_t)(uintptr_t)address,
        };
        strcpy(table[count++].name, region->name); /* of the same length */
    }
    return table;
}

const struct region *regions_inside(const struct regions *regions, const void *start, size_t bytes) {
    uintptr_t from = (uintptr_t)start;
    for (uint32_t i = 0; i < regions->count; i++) {
        uintptr_t data = (uintptr_t)regions->list[i].data;
        if (data < from + bytes && from < data + regions->list[i].bytes) {
            return &regions->list[i];
        }
    }
    return NULL;
}

void regions_fini(struct regions *regions) {
    for (uint32_t i = 0; i < regions->count; i++) {
        free_copies(&regions->list[i]);
    }
    free(regions->list);
    *regions = (struct regions){ 0 };
}
