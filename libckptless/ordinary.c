/*
 * Outside a ckptless step the same program runs as an ordinary one. The world comes from the environment, the state is
 * always for the program to load, nothing is ever interrupted, and no PMIx library is loaded: a context whose page is
 * its own, with a lease that never ends and no epoch that could be stopped, does the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libckptless/context.h"
#include "libckptless/environment.h"
#include "libckptless/say.h"

#define NUMBER_MAX 1000000000

/* One number of the world; several names are tried in turn. */
struct variable {
    const char *names[3];
    int *ret_value;
    long min;
};

struct found {
    int rank, size, local_rank, local_size, node, nodes, port; /* -1: not set */
};

static bool read_variables(const struct variable *variables, size_t count) {
    for (size_t i = 0; i < count; i++) {
        enum environment_result result = ENVIRONMENT_NOT_SET;
        for (size_t n = 0; n < 3 && variables[i].names[n] && result == ENVIRONMENT_NOT_SET; n++) {
            result = environment_number(variables[i].names[n], variables[i].min, NUMBER_MAX, variables[i].ret_value);
        }
        if (result == ENVIRONMENT_BAD) {
            return false;
        }
    }
    return true;
}

static bool read_torch(struct found *found) {
    const struct variable variables[] = {
        { { "RANK" }, &found->rank, 0 },
        { { "WORLD_SIZE" }, &found->size, 1 },
        { { "LOCAL_RANK" }, &found->local_rank, 0 },
        { { "LOCAL_WORLD_SIZE" }, &found->local_size, 1 },
        { { "NODE_RANK", "GROUP_RANK" }, &found->node, 0 },
        { { "GROUP_WORLD_SIZE" }, &found->nodes, 1 },
    };
    return read_variables(variables, sizeof(variables) / sizeof(variables[0]));
}

static bool read_slurm(struct found *found) {
    const struct variable variables[] = {
        { { "SLURM_PROCID" }, &found->rank, 0 },        { { "SLURM_NTASKS", "SLURM_NPROCS" }, &found->size, 1 },
        { { "SLURM_LOCALID" }, &found->local_rank, 0 }, { { "SLURM_NTASKS_PER_NODE" }, &found->local_size, 1 },
        { { "SLURM_NODEID" }, &found->node, 0 },        { { "SLURM_NNODES", "SLURM_JOB_NUM_NODES" }, &found->nodes, 1 },
    };
    return read_variables(variables, sizeof(variables) / sizeof(variables[0]));
}

/* What is not said is taken as: one node, or the ranks spread evenly. */
static void complete(struct found *found) {
    if (found->nodes < 0) {
        found->nodes = found->local_size > 0 ? (found->size + found->local_size - 1) / found->local_size : 1;
        found->nodes = found->node >= found->nodes ? found->node + 1 : found->nodes;
    }
    if (found->local_size < 0) {
        found->local_size = (found->size + found->nodes - 1) / found->nodes;
    }
    if (found->local_rank < 0) {
        found->local_rank = found->rank % found->local_size;
    }
    if (found->node < 0) {
        found->node = found->rank / found->local_size < found->nodes ? found->rank / found->local_size : 0;
    }
    /* Uneven layouts: the node with more ranks than others. */
    if (found->local_rank >= found->local_size) {
        found->local_size = found->local_rank + 1;
    }
}

static enum ckptless_result check(const struct found *found, const char *rank_name, const char *size_name) {
    if (found->rank >= 0 && found->size < 0) {
        say_line(NULL, "ckptless_init: %s=%d is set in the environment but %s is not; set both, or neither", rank_name,
                 found->rank, size_name);
        return CKPTLESS_ERR_INVALID;
    }
    if (found->rank >= found->size) {
        say_line(NULL, "ckptless_init: %s=%d with %s=%d in the environment: the rank must be below the size", rank_name,
                 found->rank, size_name, found->size);
        return CKPTLESS_ERR_INVALID;
    }
    return CKPTLESS_OK;
}

static enum ckptless_result find_world(struct found *found) {
    enum ckptless_result result;
    if (!read_torch(found)) {
        return CKPTLESS_ERR_INVALID;
    }
    if (found->rank >= 0) {
        result = check(found, "RANK", "WORLD_SIZE");
    } else {
        *found = (struct found){ -1, -1, -1, -1, -1, -1, found->port };
        if (!read_slurm(found)) {
            return CKPTLESS_ERR_INVALID;
        }
        if (found->rank < 0) {
            *found = (struct found){ 0, 1, 0, 1, 0, 1, found->port };
        }
        result = check(found, "SLURM_PROCID", "SLURM_NTASKS");
    }
    if (result == CKPTLESS_OK) {
        complete(found);
    }
    return result;
}

enum ckptless_result ordinary_init(struct ckptless *ctx) {
    struct found found = { -1, -1, -1, -1, -1, -1, 0 };
    const char *address = getenv("MASTER_ADDR");
    enum ckptless_result result = find_world(&found);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (environment_number("MASTER_PORT", 1, 65535, &found.port) == ENVIRONMENT_BAD) {
        return CKPTLESS_ERR_INVALID;
    }
    if (!address || !*address) {
        address = "localhost";
    }
    if (strlen(address) >= sizeof(ctx->world.master_addr)) {
        say_line(NULL,
                 "ckptless_init: MASTER_ADDR in the environment is longer than %zu characters; correct or unset it",
                 sizeof(ctx->world.master_addr) - 1);
        return CKPTLESS_ERR_INVALID;
    }
    ctx->world = (struct ckptless_world){
        .struct_size = sizeof(ctx->world),
        .rank = found.rank,
        .size = found.size,
        .local_rank = found.local_rank,
        .local_size = found.local_size,
        .node = found.node,
        .nodes = found.nodes,
        .epoch = 1,
        .master_port = found.port,
    };
    strcpy(ctx->world.master_addr, address); /* its length was checked */
    ctx->page = &ctx->own_page;
    atomic_store(&ctx->page->lease_end_ns, UINT64_MAX);
    return CKPTLESS_OK;
}

enum ckptless_result ordinary_recover(struct ckptless *ctx) {
    if (ctx->phase != CONTEXT_NEW) {
        say_line(ctx, "ckptless_recover: nothing can be recovered outside a ckptless step; start the program with "
                      "srun --ckptless");
        return CKPTLESS_ERR_STATE;
    }
    ctx->phase = CONTEXT_RELOAD;
    return CKPTLESS_RELOAD;
}
