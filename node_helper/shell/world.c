/*
 * Numbers and lists of one world, computed once an epoch; see world.h. Active nodes are numbered in the order of their
 * first ranks, so that rank 0's node is node 0 wherever it is.
 */
#include "node_helper/shell/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_LIST_BYTES_MAX 16384u /* three variables carry it, and a keeper's packet has room for 96 KiB in all */

/* What a program may find about its world; all are unset for a parked one. */
static const char *const names[] = {
    "SLURM_NTASKS",         "SLURM_NPROCS",
    "SLURM_PROCID",         "SLURM_NODEID",
    "SLURM_LOCALID",        "SLURM_NNODES",
    "SLURM_JOB_NUM_NODES",  "SLURM_STEP_NUM_NODES",
    "SLURM_STEP_NUM_TASKS", "SLURM_NODELIST",
    "SLURM_JOB_NODELIST",   "SLURM_STEP_NODELIST",
    "SLURM_TASKS_PER_NODE", "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_GTIDS",          "RANK",
    "WORLD_SIZE",           "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",     "NODE_RANK",
    "GROUP_RANK",           "MASTER_ADDR",
    "MASTER_PORT",
};

/* Nodes in their active order get their index, ranks their index on the node. */
static bool number_nodes(struct world *world) {
    for (uint32_t node = 0; node < world->node_count; node++) {
        world->active_index[node] = WIRE_NONE;
    }
    for (uint32_t rank = 0; rank < world->rank_count; rank++) {
        uint32_t node = world->rank_nodes[rank];
        if (node >= world->node_count) {
            return false;
        }
        if (world->active_index[node] == WIRE_NONE) {
            world->active_index[node] = world->active_count++;
        }
        world->local_ranks[rank] = world->ranks_on[node]++;
    }
    return true;
}

/* ret_nodes: active_count entries, by active index. */
static void order_nodes(const struct world *world, uint32_t *ret_nodes) {
    for (uint32_t node = 0; node < world->node_count; node++) {
        if (world->active_index[node] != WIRE_NONE) {
            ret_nodes[world->active_index[node]] = node;
        }
    }
}

static bool list_hosts(struct world *world, const uint32_t *nodes, const char *const *hosts) {
    size_t bytes = 0;
    FILE *stream = open_memstream(&world->host_list, &bytes);
    if (stream == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < world->active_count; i++) {
        fprintf(stream, "%s%s", i ? "," : "", hosts[nodes[i]]);
    }
    if (fclose(stream) != 0) {
        return false;
    }
    if (bytes > HOST_LIST_BYTES_MAX) {
        free(world->host_list);
        world->host_list = NULL;
    }
    return true;
}

static bool list_tasks(struct world *world, const uint32_t *nodes) {
    size_t bytes = 0;
    FILE *stream = open_memstream(&world->tasks_per_node, &bytes);
    if (stream == NULL) {
        return false;
    }
    for (uint32_t i = 0, run; i < world->active_count; i += run) {
        uint32_t tasks = world->ranks_on[nodes[i]];
        for (run = 1; i + run < world->active_count && world->ranks_on[nodes[i + run]] == tasks; run++) {
        }
        fprintf(stream, "%s%" PRIu32, i ? "," : "", tasks);
        if (run > 1) {
            fprintf(stream, "(x%" PRIu32 ")", run);
        }
    }
    return fclose(stream) == 0;
}

/* "n2" and "n2.cluster" name the same node. */
static bool same_host(const char *name, const char *host) {
    size_t length = strcspn(host, ".");
    return strcmp(name, host) == 0 ||
           (strncmp(name, host, length) == 0 && (name[length] == '.' || name[length] == '\0'));
}

static void choose_master(struct world *world, const struct world_facts *facts) {
    uint32_t named = WIRE_NONE;
    const char *wish = facts->user_master_addr;
    for (uint32_t node = 0; wish[0] && node < facts->node_count && named == WIRE_NONE; node++) {
        const char *address = facts->addresses ? facts->addresses[node] : NULL;
        if (same_host(wish, facts->hosts[node]) || (address && strcmp(wish, address) == 0)) {
            named = node;
        }
    }
    /* A name that is none of the step's nodes is the user's business. */
    world->master_replaced =
        named != WIRE_NONE && (!facts->node_is_live[named] || world->active_index[named] == WIRE_NONE);
    const char *addr = wish;
    if (wish[0] == '\0' || world->master_replaced) {
        addr = world->rank_count > 0 ? facts->hosts[world->rank_nodes[0]] : "";
    }
    snprintf(world->master_addr, sizeof(world->master_addr), "%s", addr);
}

/* The same on every node; another one each epoch, since the old one may still be held by who is dying. */
static uint16_t choose_port(const struct world_facts *facts) {
    unsigned long wish = strtoul(facts->user_master_port, NULL, 10);
    if (wish > 0 && wish <= UINT16_MAX) {
        return (uint16_t)wish;
    }
    uint64_t hash = ((uint64_t)facts->job << 32 | facts->step) + (uint64_t)facts->ordinal * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ull;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebull;
    hash ^= hash >> 31;
    return (uint16_t)(20000 + hash % 10000);
}

bool world_init(struct world *ret_world, const struct world_facts *facts) {
    struct world *world = ret_world;
    bool result = false;
    memset(world, 0, sizeof(*world));
    world->job = facts->job;
    world->step = facts->step;
    world->ordinal = facts->ordinal;
    world->rank_count = facts->rank_count;
    world->node_count = facts->node_count;
    world->rank_nodes = calloc(facts->rank_count + 1u, sizeof(uint32_t));
    world->local_ranks = calloc(facts->rank_count + 1u, sizeof(uint32_t));
    world->active_index = calloc(facts->node_count + 1u, sizeof(uint32_t));
    world->ranks_on = calloc(facts->node_count + 1u, sizeof(uint32_t));
    uint32_t *nodes = calloc(facts->node_count + 1u, sizeof(uint32_t));
    if (!world->rank_nodes || !world->local_ranks || !world->active_index || !world->ranks_on || !nodes) {
        goto out;
    }
    if (facts->rank_count > 0) {
        memcpy(world->rank_nodes, facts->rank_nodes, facts->rank_count * sizeof(uint32_t));
    }
    if (!number_nodes(world)) {
        goto out;
    }
    order_nodes(world, nodes);
    choose_master(world, facts);
    world->master_port = choose_port(facts);
    result = list_hosts(world, nodes, facts->hosts) && list_tasks(world, nodes);
out:
    free(nodes);
    return result;
}

void world_fini(struct world *world) {
    free(world->rank_nodes);
    free(world->local_ranks);
    free(world->active_index);
    free(world->ranks_on);
    free(world->host_list);
    free(world->tasks_per_node);
    memset(world, 0, sizeof(*world));
}

struct world_place world_place(const struct world *world, uint32_t rank) {
    uint32_t node = world->rank_nodes[rank];
    return (struct world_place){
        .rank = rank,
        .size = world->rank_count,
        .local_rank = world->local_ranks[rank],
        .local_size = world->ranks_on[node],
        .node = world->active_index[node],
        .nodes = world->active_count,
    };
}

static void put_number(FILE *stream, const char *name, uint32_t value) {
    fprintf(stream, "%s=%" PRIu32 "%c", name, value, '\0');
}

static void put_text(FILE *stream, const char *name, const char *value) {
    fprintf(stream, "%s=%s%c", name, value, '\0');
}

static void put_local_ranks(FILE *stream, const struct world *world, uint32_t node) {
    const char *separator = "";
    fputs("SLURM_GTIDS=", stream);
    for (uint32_t rank = 0; rank < world->rank_count; rank++) {
        if (world->rank_nodes[rank] == node) {
            fprintf(stream, "%s%" PRIu32, separator, rank);
            separator = ",";
        }
    }
    fputc('\0', stream);
}

static void put_lists(FILE *stream, const struct world *world) {
    if (world->host_list) {
        put_text(stream, "SLURM_NODELIST", world->host_list);
        put_text(stream, "SLURM_JOB_NODELIST", world->host_list);
        put_text(stream, "SLURM_STEP_NODELIST", world->host_list);
    }
    put_text(stream, "SLURM_TASKS_PER_NODE", world->tasks_per_node);
    put_text(stream, "SLURM_STEP_TASKS_PER_NODE", world->tasks_per_node);
}

size_t world_environment(const struct world *world, uint32_t rank, char **ret_block) {
    struct world_place place = world_place(world, rank);
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        { "SLURM_NTASKS", place.size },
        { "SLURM_NPROCS", place.size },
        { "SLURM_STEP_NUM_TASKS", place.size },
        { "WORLD_SIZE", place.size },
        { "SLURM_PROCID", place.rank },
        { "RANK", place.rank },
        { "SLURM_NODEID", place.node },
        { "NODE_RANK", place.node },
        { "GROUP_RANK", place.node },
        { "SLURM_LOCALID", place.local_rank },
        { "LOCAL_RANK", place.local_rank },
        { "LOCAL_WORLD_SIZE", place.local_size },
        { "SLURM_NNODES", place.nodes },
        { "SLURM_JOB_NUM_NODES", place.nodes },
        { "SLURM_STEP_NUM_NODES", place.nodes },
        { "MASTER_PORT", world->master_port },
    };
    size_t bytes = 0;
    char *block = NULL;
    FILE *stream = open_memstream(&block, &bytes);
    if (stream == NULL) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        put_number(stream, numbers[i].name, numbers[i].value);
    }
    put_lists(stream, world);
    put_local_ranks(stream, world, world->rank_nodes[rank]);
    put_text(stream, "MASTER_ADDR", world->master_addr);
    if (fclose(stream) != 0) {
        free(block);
        return 0;
    }
    *ret_block = block;
    return bytes;
}

size_t world_environment_parked(char **ret_block) {
    size_t bytes = 0;
    char *block = NULL;
    FILE *stream = open_memstream(&block, &bytes);
    if (stream == NULL) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fprintf(stream, "%s%c", names[i], '\0');
    }
    if (fclose(stream) != 0) {
        free(block);
        return 0;
    }
    *ret_block = block;
    return bytes;
}
