/*
 * The world as one epoch's programs see it: which rank is where, and the environment that says so. Pure: knows neither
 * the core nor a process; plain facts go in, strings come out.
 */
#ifndef CKPTLESS_SHELL_WORLD_H
#define CKPTLESS_SHELL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"

struct world_facts {
    uint32_t job, step;
    uint32_t ordinal;    /* of the epoch */
    uint32_t node_count; /* of the step */
    uint32_t rank_count;
    const uint32_t *rank_nodes;   /* by rank: index of its node, < node_count */
    const char *const *hosts;     /* by node */
    const char *const *addresses; /* by node; "" or NULL: not known */
    const bool *node_is_live;     /* by node: its helper is in */
    const char *user_master_addr; /* "": the user set none */
    const char *user_master_port; /* "": the user set none */
};

struct world {
    uint32_t job, step, ordinal;
    uint32_t rank_count;
    uint32_t active_count; /* nodes that hold ranks */
    uint32_t node_count;
    uint32_t *rank_nodes;   /* by rank */
    uint32_t *local_ranks;  /* by rank: index among the ranks of its node */
    uint32_t *active_index; /* by node: index among the active nodes, in the order of their first ranks; WIRE_NONE */
    uint32_t *ranks_on;     /* by node: count */
    char *host_list;        /* "n0,n1"; NULL: too long for an environment */
    char *tasks_per_node;   /* "2(x4),1" */
    char master_addr[WIRE_NAME_BYTES];
    uint16_t master_port;
    bool master_replaced; /* the user's MASTER_ADDR names a node that is gone or holds no rank any more */
};

struct world_place {
    uint32_t rank, size, local_rank, local_size, node, nodes;
};

/* False: no memory, or a rank's node is out of range; *ret_world can then be fini'd all the same. */
bool world_init(struct world *ret_world, const struct world_facts *facts);
void world_fini(struct world *world);

/* rank < rank_count. */
struct world_place world_place(const struct world *world, uint32_t rank);

/* The variables of a rank: strings "NAME=value", each ended by NUL. Bytes; 0: no memory. *ret_block: free(). */
size_t world_environment(const struct world *world, uint32_t rank, char **ret_block);
/* The same names without values, for a parked program: each is to be unset. */
size_t world_environment_parked(char **ret_block);

#endif
