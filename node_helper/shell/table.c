/*
 * One rank's table; see table.h.
 */
#include "node_helper/shell/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* for the size of XXH3_state_t */
#include <xxhash.h>

static int compare_names(const struct plane_region *a, const struct plane_region *b) {
    int order = strncmp(a->name, b->name, sizeof(a->name));
    if (order == 0) {
        order = (a->shard > b->shard) - (a->shard < b->shard);
    }
    return order;
}

static int compare_entries(const void *a, const void *b) {
    return compare_names(a, b);
}

static void copy_name(char ret_name[WIRE_REGION_NAME_BYTES], const char *name) {
    memset(ret_name, 0, WIRE_REGION_NAME_BYTES);
    memcpy(ret_name, name, strnlen(name, WIRE_REGION_NAME_BYTES - 1));
}

static void replace(struct table *table, struct plane_region *regions, uint32_t count) {
    if (count > 1) {
        qsort(regions, count, sizeof(*regions), compare_entries);
    }
    free(table->regions);
    table->regions = regions;
    table->count = count;
}

bool table_set_rpc(struct table *table, const struct wire_rpc_region *regions, uint32_t count) {
    struct plane_region *copy = calloc(count + 1u, sizeof(*copy));
    if (copy == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        copy_name(copy[i].name, regions[i].name);
        copy[i].shard = regions[i].shard;
        copy[i].bytes = regions[i].bytes;
        copy[i].address = regions[i].address;
    }
    replace(table, copy, count);
    return true;
}

bool table_set_wire(struct table *table, const struct wire_region *regions, uint32_t count) {
    struct plane_region *copy = calloc(count + 1u, sizeof(*copy));
    if (copy == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        copy_name(copy[i].name, regions[i].name);
        copy[i].shard = regions[i].shard;
        copy[i].bytes = regions[i].bytes;
    }
    replace(table, copy, count);
    return true;
}

void table_fini(struct table *table) {
    free(table->regions);
    table->regions = NULL;
    table->count = 0;
}

bool table_equal(const struct table *a, const struct table *b) {
    bool equal = a->count == b->count;
    for (uint32_t i = 0; equal && i < a->count; i++) {
        equal = compare_names(&a->regions[i], &b->regions[i]) == 0 && a->regions[i].bytes == b->regions[i].bytes;
    }
    return equal;
}

void table_layout(const struct table *table, uint64_t ret_layout[2]) {
    XXH3_state_t state; /* large, and aligned as the type asks */
    XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct plane_region *region = &table->regions[i];
        uint64_t numbers[2] = { region->shard, region->bytes };
        XXH3_128bits_update(&state, region->name, sizeof(region->name));
        XXH3_128bits_update(&state, numbers, sizeof(numbers));
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    ret_layout[0] = hash.low64;
    ret_layout[1] = hash.high64;
}

const struct plane_region *table_find(const struct table *table, const char *name, uint32_t shard) {
    struct plane_region key = { .shard = shard };
    copy_name(key.name, name);
    return table->count == 0 ? NULL : bsearch(&key, table->regions, table->count, sizeof(key), compare_entries);
}

struct wire_region *table_wire(const struct table *table) {
    struct wire_region *regions = calloc(table->count + 1u, sizeof(*regions));
    for (uint32_t i = 0; regions && i < table->count; i++) {
        memcpy(regions[i].name, table->regions[i].name, sizeof(regions[i].name));
        regions[i].shard = table->regions[i].shard;
        regions[i].bytes = table->regions[i].bytes;
    }
    return regions;
}

static void say_missing(const struct plane_region *region, uint32_t present, uint32_t missing, char *ret_line,
                        size_t capacity) {
    snprintf(ret_line, capacity,
             "region '%s' (shard %" PRIu32 ") has %" PRIu64 " bytes on rank %" PRIu32
             " but is not registered on rank %" PRIu32,
             region->name, region->shard, region->bytes, present, missing);
}

bool table_diff(const struct table *a, uint32_t rank_a, const struct table *b, uint32_t rank_b, char *ret_line,
                size_t capacity) {
    uint32_t i = 0, j = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count ? 1 : j == b->count ? -1 : compare_names(&a->regions[i], &b->regions[j]);
        if (order < 0) {
            say_missing(&a->regions[i], rank_a, rank_b, ret_line, capacity);
            return true;
        }
        if (order > 0) {
            say_missing(&b->regions[j], rank_b, rank_a, ret_line, capacity);
            return true;
        }
        if (a->regions[i].bytes != b->regions[j].bytes) {
            snprintf(ret_line, capacity,
                     "region '%s' (shard %" PRIu32 ") has %" PRIu64 " bytes on rank %" PRIu32 " but %" PRIu64
                     " on rank %" PRIu32,
                     a->regions[i].name, a->regions[i].shard, a->regions[i].bytes, rank_a, b->regions[j].bytes, rank_b);
            return true;
        }
        i++;
        j++;
    }
    return false;
}
