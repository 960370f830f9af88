/*
 * What any PMIx program may ask about its job: sizes, maps, places. As of the epoch in which its generation began;
 * programs that use libckptless ask it instead. Nodes are numbered in the order of their first ranks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmix_glue/server/pmixsrv_private.h"

#define JOB_KEYS 15u
#define PLACE_KEYS 6u

struct infos {
    pmix_info_t *list;
    size_t count;
};

static pmix_info_t *add(struct infos *infos, const char *key, pmix_data_type_t type) {
    pmix_info_t *info = &infos->list[infos->count++];
    memset(info, 0, sizeof(*info));
    strncpy(info->key, key, PMIX_MAX_KEYLEN);
    info->value.type = type;
    return info;
}

static void add_u32(struct infos *infos, const char *key, uint32_t value) {
    add(infos, key, PMIX_UINT32)->value.data.uint32 = value;
}

static void add_text(struct infos *infos, const char *key, char *text) {
    add(infos, key, PMIX_STRING)->value.data.string = text;
}

/* The array of one rank: borrowed by PMIx for the time of the call. */
static void add_rank(struct infos *job, struct infos *rank_infos, uint32_t rank, uint32_t local, uint32_t node,
                     char *host) {
    add(rank_infos, PMIX_RANK, PMIX_PROC_RANK)->value.data.rank = rank;
    add(rank_infos, PMIX_LOCAL_RANK, PMIX_UINT16)->value.data.uint16 = (uint16_t)local;
    add(rank_infos, PMIX_NODE_RANK, PMIX_UINT16)->value.data.uint16 = (uint16_t)local;
    add_u32(rank_infos, PMIX_NODEID, node);
    add_u32(rank_infos, PMIX_APPNUM, 0);
    add_text(rank_infos, PMIX_HOSTNAME, host);
    pmix_data_array_t *array = calloc(1, sizeof(*array));
    if (array != NULL) {
        *array = (pmix_data_array_t){ .type = PMIX_INFO, .size = rank_infos->count, .array = rank_infos->list };
        add(job, PMIX_PROC_DATA, PMIX_DATA_ARRAY)->value.data.darray = array;
    }
}

/* A world as PMIx wants it. */
struct layout {
    uint32_t count;         /* of nodes with ranks */
    uint32_t *nodes;        /* by active index */
    uint32_t *active_index; /* by node */
    uint32_t *locals;       /* by rank: index among the ranks of its node */
};

static void layout_fini(struct layout *layout) {
    free(layout->nodes);
    free(layout->active_index);
    free(layout->locals);
}

static bool layout_init(struct layout *ret_layout, const struct pmixsrv *server) {
    uint32_t *taken = calloc(server->node_count + 1u, sizeof(*taken));
    *ret_layout = (struct layout){ .nodes = calloc(server->node_count + 1u, sizeof(uint32_t)),
                                   .active_index = calloc(server->node_count + 1u, sizeof(uint32_t)),
                                   .locals = calloc(server->rank_count + 1u, sizeof(uint32_t)) };
    bool made = taken && ret_layout->nodes && ret_layout->active_index && ret_layout->locals;
    for (uint32_t rank = 0; made && rank < server->rank_count; rank++) {
        uint32_t node = server->rank_nodes[rank];
        if (taken[node] == 0) {
            ret_layout->active_index[node] = ret_layout->count;
            ret_layout->nodes[ret_layout->count++] = node;
        }
        ret_layout->locals[rank] = taken[node]++;
    }
    free(taken);
    return made;
}

/* "0,2"; each line of a map, or a node's own. */
static void print_ranks(FILE *stream, const struct pmixsrv *server, uint32_t node) {
    const char *separator = "";
    for (uint32_t rank = 0; rank < server->rank_count; rank++) {
        if (server->rank_nodes[rank] == node) {
            fprintf(stream, "%s%u", separator, rank);
            separator = ",";
        }
    }
}

/* "n1,n2,n3" and "0,1;2,3;4,5", each malloc'ed. */
static bool make_maps(const struct pmixsrv *server, const struct layout *layout, char **ret_nodes, char **ret_ranks) {
    size_t bytes = 0;
    FILE *nodes = open_memstream(ret_nodes, &bytes), *ranks = open_memstream(ret_ranks, &bytes);
    for (uint32_t i = 0; nodes != NULL && ranks != NULL && i < layout->count; i++) {
        fprintf(nodes, "%s%s", i ? "," : "", server->hosts[layout->nodes[i]]);
        fputs(i ? ";" : "", ranks);
        print_ranks(ranks, server, layout->nodes[i]);
    }
    bool written = nodes != NULL && fclose(nodes) == 0;
    return ranks != NULL && fclose(ranks) == 0 && written;
}

static char *make_local_peers(const struct pmixsrv *server) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (stream != NULL) {
        print_ranks(stream, server, server->node);
        fclose(stream);
    }
    return text;
}

static void add_job(struct infos *job, const struct pmixsrv *server, uint32_t node_count, char *nspace,
                    char *node_regex, char *rank_regex, char *local_peers) {
    uint32_t local = server->local_count;
    add_u32(job, PMIX_UNIV_SIZE, server->universe);
    add_u32(job, PMIX_JOB_SIZE, server->rank_count);
    add_u32(job, PMIX_MAX_PROCS, server->universe);
    add_u32(job, PMIX_APP_SIZE, server->rank_count);
    add_u32(job, PMIX_JOB_NUM_APPS, 1);
    add_u32(job, PMIX_NUM_NODES, node_count);
    add_u32(job, PMIX_LOCAL_SIZE, local);
    add_u32(job, PMIX_NODE_SIZE, local);
    add_text(job, PMIX_JOBID, nspace);
    add_text(job, PMIX_TMPDIR, (char *)(uintptr_t)server->session);
    if (local > 0) {
        add_text(job, PMIX_LOCAL_PEERS, local_peers);
    }
    add_text(job, PMIX_NODE_MAP, node_regex);
    add_text(job, PMIX_PROC_MAP, rank_regex);
}

static pmix_status_t make_regexes(const struct pmixsrv *server, const struct layout *layout, char **ret_nodes,
                                  char **ret_ranks) {
    char *nodes = NULL, *ranks = NULL;
    pmix_status_t status = make_maps(server, layout, &nodes, &ranks) ? PMIX_SUCCESS : PMIX_ERR_NOMEM;
    if (status == PMIX_SUCCESS) {
        status = server->pmix->generate_regex(nodes, ret_nodes);
    }
    if (status == PMIX_SUCCESS) {
        status = server->pmix->generate_ppn(ranks, ret_ranks);
    }
    free(nodes);
    free(ranks);
    return status;
}

pmix_status_t pmixsrv_register_world(struct pmixsrv *server) {
    char *node_regex = NULL, *rank_regex = NULL, *local_peers = make_local_peers(server);
    pmix_nspace_t nspace;
    struct infos job = { .list = calloc(JOB_KEYS + server->rank_count, sizeof(pmix_info_t)) };
    pmix_info_t *places = calloc((size_t)server->rank_count * PLACE_KEYS, sizeof(*places));
    struct layout layout;
    pmix_status_t status = PMIX_ERR_NOMEM;
    if (!layout_init(&layout, server) || job.list == NULL || places == NULL || local_peers == NULL) {
        goto out;
    }
    status = make_regexes(server, &layout, &node_regex, &rank_regex);
    if (status != PMIX_SUCCESS) {
        goto out;
    }
    pmixsrv_nspace(server, server->generation, nspace);
    add_job(&job, server, layout.count, nspace, node_regex, rank_regex, local_peers);
    for (uint32_t rank = 0; rank < server->rank_count; rank++) {
        struct infos place = { .list = places + (size_t)rank * PLACE_KEYS };
        uint32_t node = server->rank_nodes[rank];
        add_rank(&job, &place, rank, layout.locals[rank], layout.active_index[node], server->hosts[node]);
    }
    status = server->pmix->server_register_nspace(nspace, (int)server->local_count, job.list, job.count, NULL, NULL);
    status = status == PMIX_OPERATION_SUCCEEDED ? PMIX_SUCCESS : status;
out:
    for (size_t i = 0; job.list != NULL && i < job.count; i++) {
        if (job.list[i].value.type == PMIX_DATA_ARRAY) {
            free(job.list[i].value.data.darray);
        }
    }
    layout_fini(&layout);
    free(job.list);
    free(places);
    free(node_regex);
    free(rank_regex);
    free(local_peers);
    return status;
}
