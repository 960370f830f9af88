/*
 * Names of processes: a namespace a generation, a rank in it. PMIx hears of each name once; who has it now is counted
 * here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pmix_glue/server/pmixsrv_private.h"

void pmixsrv_nspace(const struct pmixsrv *server, uint32_t generation, char *ret_nspace) {
    if (generation == 0) {
        snprintf(ret_nspace, PMIX_MAX_NSLEN + 1, "%s", server->nspace);
    } else {
        snprintf(ret_nspace, PMIX_MAX_NSLEN + 1, "%s.%u", server->nspace, generation);
    }
}

/* server->lock is held. A name that nobody has: of the newest world. */
static pmix_proc_t name_of(const struct pmixsrv *server, uint32_t rank) {
    bool is_known = rank < server->client_count && server->clients[rank].is_registered;
    pmix_proc_t proc = { .rank = rank };
    pmixsrv_nspace(server, is_known ? server->clients[rank].generation : server->generation, proc.nspace);
    return proc;
}

pmix_proc_t pmixsrv_name(struct pmixsrv *server, uint32_t rank) {
    pthread_mutex_lock(&server->lock);
    pmix_proc_t proc = name_of(server, rank);
    pthread_mutex_unlock(&server->lock);
    return proc;
}

bool pmixsrv_is_ours(struct pmixsrv *server, const pmix_proc_t *proc) {
    if (server == NULL) {
        return false;
    }
    pmix_proc_t name = pmixsrv_name(server, proc->rank);
    return strncmp(proc->nspace, name.nspace, PMIX_MAX_NSLEN) == 0;
}

uint32_t pmixsrv_serial(struct pmixsrv *server, uint32_t rank) {
    pthread_mutex_lock(&server->lock);
    uint32_t serial =
        rank < server->client_count && server->clients[rank].is_registered ? server->clients[rank].serial : 0;
    pthread_mutex_unlock(&server->lock);
    return serial;
}

static void ignore_status(pmix_status_t status, void *arg) {
    (void)status;
    (void)arg;
}

/* PMIx takes a process off its count of local ones when its connection is lost, and never adds its replacement: a fence
 * would be complete without it. What was lost before this connection has been taken off already. The lock is held: PMIx
 * waits for its own thread when it is closed, and must not be called from there then. */
static void count_locals(struct pmixsrv *server) {
    pmix_nspace_t nspace;
    pmixsrv_nspace(server, server->generation, nspace);
    (void)server->pmix->server_register_nspace(nspace, (int)server->local_count, &server->count_only, 1, ignore_status,
                                               NULL);
}

void pmixsrv_on_connection(struct pmixsrv *server, uint32_t rank) {
    pthread_mutex_lock(&server->lock);
    if (rank < server->client_count) {
        struct client *client = &server->clients[rank];
        client->connection_count++;
        client->is_connected = true;
        if (rank < server->rank_count && client->generation == server->generation && !server->is_closing) {
            count_locals(server);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

bool pmixsrv_is_connected(struct pmixsrv *server, uint32_t rank) {
    pthread_mutex_lock(&server->lock);
    bool is_connected = rank < server->client_count && server->clients[rank].is_connected;
    pthread_mutex_unlock(&server->lock);
    return is_connected;
}

bool pmixsrv_on_connection_end(struct pmixsrv *server, uint32_t rank) {
    bool newest = false;
    pthread_mutex_lock(&server->lock);
    if (rank < server->client_count) {
        struct client *client = &server->clients[rank];
        client->connection_count -= client->connection_count > 0;
        newest = client->connection_count == 0 && client->is_connected;
        client->is_connected = client->is_connected && !newest;
    }
    pthread_mutex_unlock(&server->lock);
    return newest;
}

static uint32_t count_own(const struct pmixsrv *server) {
    uint32_t count = 0;
    for (uint32_t rank = 0; rank < server->rank_count; rank++) {
        count += server->rank_nodes[rank] == server->node;
    }
    return count;
}

enum pmixsrv_result pmixsrv_enter_world(struct pmixsrv *server, uint32_t generation, const uint32_t *rank_nodes) {
    memcpy(server->rank_nodes, rank_nodes, server->rank_count * sizeof(*rank_nodes));
    pthread_mutex_lock(&server->lock);
    bool is_new = generation != server->generation;
    server->generation = generation;
    server->local_count = count_own(server);
    if (!is_new) {
        count_locals(server);
    }
    pthread_mutex_unlock(&server->lock);
    return !is_new || pmixsrv_register_world(server) == PMIX_SUCCESS ? PMIXSRV_OK : PMIXSRV_ERR_PMIX;
}

enum pmixsrv_result pmixsrv_register_client(struct pmixsrv *server, uint32_t rank, uint32_t *ret_serial) {
    if (rank >= server->client_count) {
        return PMIXSRV_ERR_PMIX;
    }
    struct client *client = &server->clients[rank];
    if (!client->is_registered || client->generation != server->generation) {
        pmix_proc_t proc = { .rank = rank };
        pmixsrv_nspace(server, server->generation, proc.nspace);
        pmix_status_t status = server->pmix->server_register_client(&proc, geteuid(), getegid(), NULL, NULL, NULL);
        if (status != PMIX_SUCCESS && status != PMIX_OPERATION_SUCCEEDED) {
            return PMIXSRV_ERR_PMIX;
        }
    }
    pthread_mutex_lock(&server->lock);
    /* Connections in a namespace before this one are not heard of any more. */
    client->connection_count = client->generation == server->generation ? client->connection_count : 0;
    client->generation = server->generation;
    client->is_registered = true;
    client->is_connected = false;
    *ret_serial = ++client->serial;
    pthread_mutex_unlock(&server->lock);
    return PMIXSRV_OK;
}

enum pmixsrv_result pmixsrv_environment(struct pmixsrv *server, uint32_t rank, char **ret_block, size_t *ret_bytes) {
    pmix_proc_t proc = pmixsrv_name(server, rank);
    char **environment = NULL;
    if (server->pmix->server_setup_fork(&proc, &environment) != PMIX_SUCCESS) {
        return PMIXSRV_ERR_PMIX;
    }
    FILE *stream = open_memstream(ret_block, ret_bytes);
    for (char **entry = environment; entry != NULL && *entry != NULL; entry++) {
        if (stream != NULL) {
            fprintf(stream, "%s%c", *entry, '\0');
        }
        free(*entry);
    }
    free(environment);
    if (stream == NULL) {
        return PMIXSRV_ERR_NO_MEMORY;
    }
    fputc('\0', stream);
    return fclose(stream) == 0 ? PMIXSRV_OK : PMIXSRV_ERR_NO_MEMORY;
}
