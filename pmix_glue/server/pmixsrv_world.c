/*
 * What any PMIx program may ask about its job: sizes, maps, places. As of the first epoch; programs that use
 * libckptless ask it instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmix_glue/server/pmixsrv_private.h"

#define JOB_KEYS 14

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

/* "n1,n2,n3" and "0,1;2,3;4,5", each malloc'ed. */
static bool make_maps(const struct pmixsrv *server, char **ret_nodes, char **ret_ranks) {
    size_t bytes = 0;
    uint32_t rank = 0;
    FILE *nodes = open_memstream(ret_nodes, &bytes), *ranks = open_memstream(ret_ranks, &bytes);
    if (nodes == NULL || ranks == NULL) {
        return false;
    }
    for (uint32_t node = 0; node < server->node_count; node++) {
        fprintf(nodes, "%s%s", node ? "," : "", server->hosts[node]);
        fputs(node ? ";" : "", ranks);
        for (uint32_t i = 0; i < server->ranks_per_node[node]; i++) {
            fprintf(ranks, "%s%u", i ? "," : "", rank++);
        }
    }
    bool written = fclose(nodes) == 0;
    return fclose(ranks) == 0 && written;
}

static char *make_local_peers(const struct pmixsrv *server) {
    char *text = NULL;
    size_t bytes = 0;
    uint32_t rank = 0;
    FILE *stream = open_memstream(&text, &bytes);
    for (uint32_t node = 0; stream != NULL && node < server->node_count; node++) {
        for (uint32_t i = 0; i < server->ranks_per_node[node]; i++, rank++) {
            if (node == server->node) {
                fprintf(stream, "%s%u", i ? "," : "", rank);
            }
        }
    }
    if (stream != NULL) {
        fclose(stream);
    }
    return text;
}

/* As of the first epoch: none on a spare. */
static uint32_t local_count(const struct pmixsrv *server) {
    return server->node < server->node_count ? server->ranks_per_node[server->node] : 0;
}

static void add_job(struct infos *job, const struct pmixsrv *server, char *node_regex, char *rank_regex,
                    char *local_peers) {
    uint32_t local = local_count(server);
    add_u32(job, PMIX_UNIV_SIZE, server->universe);
    add_u32(job, PMIX_JOB_SIZE, server->rank_count);
    add_u32(job, PMIX_MAX_PROCS, server->universe);
    add_u32(job, PMIX_APP_SIZE, server->rank_count);
    add_u32(job, PMIX_JOB_NUM_APPS, 1);
    add_u32(job, PMIX_NUM_NODES, server->node_count);
    add_u32(job, PMIX_LOCAL_SIZE, local);
    add_u32(job, PMIX_NODE_SIZE, local);
    add_text(job, PMIX_JOBID, (char *)(uintptr_t)server->nspace);
    if (local > 0) {
        add_text(job, PMIX_LOCAL_PEERS, local_peers);
    }
    add_text(job, PMIX_NODE_MAP, node_regex);
    add_text(job, PMIX_PROC_MAP, rank_regex);
}

pmix_status_t pmixsrv_register_world(struct pmixsrv *server) {
    char *nodes = NULL, *ranks = NULL, *node_regex = NULL, *rank_regex = NULL, *local_peers = make_local_peers(server);
    struct infos job = { .list = calloc(JOB_KEYS + server->rank_count, sizeof(pmix_info_t)) };
    pmix_info_t *places = calloc((size_t)server->rank_count * 6u, sizeof(*places));
    pmix_status_t status = PMIX_ERR_NOMEM;
    uint32_t rank = 0;
    if (job.list == NULL || places == NULL || local_peers == NULL || !make_maps(server, &nodes, &ranks)) {
        goto out;
    }
    status = server->pmix->generate_regex(nodes, &node_regex);
    if (status == PMIX_SUCCESS) {
        status = server->pmix->generate_ppn(ranks, &rank_regex);
    }
    if (status != PMIX_SUCCESS) {
        goto out;
    }
    add_job(&job, server, node_regex, rank_regex, local_peers);
    for (uint32_t node = 0; node < server->node_count; node++) {
        for (uint32_t i = 0; i < server->ranks_per_node[node]; i++, rank++) {
            struct infos place = { .list = places + (size_t)rank * 6u };
            add_rank(&job, &place, rank, i, node, server->hosts[node]);
        }
    }
    status =
        server->pmix->server_register_nspace(server->nspace, (int)local_count(server), job.list, job.count, NULL, NULL);
    status = status == PMIX_OPERATION_SUCCEEDED ? PMIX_SUCCESS : status;
out:
    for (size_t i = 0; i < job.count; i++) {
        if (job.list[i].value.type == PMIX_DATA_ARRAY) {
            free(job.list[i].value.data.darray);
        }
    }
    free(job.list);
    free(places);
    free(nodes);
    free(ranks);
    free(node_regex);
    free(rank_regex);
    free(local_peers);
    return status;
}
