/*
 * A rank's table of regions: kept sorted, hashed, compared. Pure: which tables there are, and what follows from a
 * difference, is for tables.c and the core.
 */
#ifndef CKPTLESS_SHELL_TABLE_H
#define CKPTLESS_SHELL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"
#include "node_helper/wire/wire_rpc.h"
#include "state_plane/plane.h"

struct table {
    uint32_t count;
    struct plane_region *regions; /* sorted by name, then shard; addresses 0 where only sizes are known */
};

/* Replaces *table (zeroed: empty) by what a program or a peer said. False: no memory, *table is as before. */
bool table_set_rpc(struct table *table, const struct wire_rpc_region *regions, uint32_t count);
bool table_set_wire(struct table *table, const struct wire_region *regions, uint32_t count);
void table_fini(struct table *table);

/* Names, shards and sizes are the same; addresses do not count. */
bool table_equal(const struct table *a, const struct table *b);
/* XXH3-128 of names, shards and sizes. */
void table_layout(const struct table *table, uint64_t ret_layout[2]);
/* NULL: there is none. */
const struct plane_region *table_find(const struct table *table, const char *name, uint32_t shard);
/* The table as a message's array; free(). NULL: no memory, or none. */
struct wire_region *table_wire(const struct table *table);
/* The first difference as a line without end; false: there is none. */
bool table_diff(const struct table *a, uint32_t rank_a, const struct table *b, uint32_t rank_b, char *ret_line,
                size_t capacity);

#endif
