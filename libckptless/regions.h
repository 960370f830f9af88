/*
 * The table of regions: what the state consists of, and the copies of regions that change between updates.
 */
#ifndef CKPTLESS_REGIONS_H
#define CKPTLESS_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/ckptless.h"
#include "node_helper/wire/wire_rpc.h"

struct region {
    char name[CKPTLESS_REGION_NAME_MAX + 1];
    uint32_t shard;
    void *data; /* the program's */
    size_t bytes;
    void *copy;   /* content at the last commit; NULL: the region changes in updates only */
    void *next;   /* as large: the next commit writes here, then the two are swapped */
    bool counted; /* part of the committed state: see regions.c */
};

struct regions {
    struct region *list;
    uint32_t count, capacity;
    uint32_t late_count; /* not counted yet */
    uint32_t copy_count; /* with a copy */
};

struct regions_options {
    bool in_world;    /* between recover/reloaded and INTERRUPTED: a new region counts from the next commit on only */
    bool keep_copies; /* of regions that change between updates; false: nobody will ever ask for them */
};

bool regions_name_ok(const char *name);

/* Adds or moves a region that has been checked. NO_MEMORY: nothing has changed; INVALID: the table is full. */
enum ckptless_result regions_put(struct regions *regions, const struct ckptless_region *given,
                                 struct regions_options options);

/* False: there is none. */
bool regions_remove(struct regions *regions, const char *name, uint32_t shard);

/* The state of the regions is committed: every region counts from now on, copies are taken. */
void regions_commit(struct regions *regions);

/* Puts the copies of the counted regions back into the program's memory. */
void regions_restore(const struct regions *regions);

/* The table for the helper: counted regions, a copy's address in place of its region's. Belongs to the caller: free().
 * NULL: no memory, or (with *ret_count 0) none. */
struct wire_rpc_region *regions_table(const struct regions *regions, uint32_t *ret_count);

/* A region that lies at least in part in [start, start + bytes), or NULL. */
const struct region *regions_inside(const struct regions *regions, const void *start, size_t bytes);

void regions_fini(struct regions *regions);

#endif
