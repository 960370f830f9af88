/*
 * The server's life, and its queue to the helper's loop; see pmixsrv.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pmix_glue/server/pmixsrv_private.h"

struct pmixsrv *pmixsrv_current;

void pmixsrv_queue(struct pmixsrv *server, const struct pmixsrv_event *event) {
    struct queued *queued = malloc(sizeof(*queued));
    if (queued == NULL) {
        free(event->data);
        free(event->ranks);
        return; /* the program waits, is late and is replaced */
    }
    *queued = (struct queued){ .event = *event };
    pthread_mutex_lock(&server->lock);
    *server->last = queued;
    server->last = &queued->next;
    pthread_mutex_unlock(&server->lock);
    uint64_t one = 1;
    (void)!write(server->fd, &one, sizeof(one));
}

int pmixsrv_fd(const struct pmixsrv *server) {
    return server->fd;
}

bool pmixsrv_poll(struct pmixsrv *server, struct pmixsrv_event *ret_event) {
    uint64_t count;
    pthread_mutex_lock(&server->lock);
    struct queued *queued = server->first;
    if (queued != NULL) {
        server->first = queued->next;
        server->last = server->first ? server->last : &server->first;
    } else {
        (void)!read(server->fd, &count, sizeof(count));
    }
    pthread_mutex_unlock(&server->lock);
    if (queued == NULL) {
        return false;
    }
    *ret_event = queued->event;
    free(queued);
    return true;
}

/* Environment of this process: before any thread reads it. Programs get theirs from pmixsrv_environment(). */
static void set_parameters(void) {
    static const char *const rows[][2] = {
        { "PMIX_MCA_gds", "hash" },               /* no shared memory files */
        { "PMIX_MCA_ptl_base_if_include", "lo" }, /* clients are on this node */
        { "PMIX_MCA_psec", "native" },
        /* PMIx asks hwloc for the topology, whose plugins bring X11, OpenCL and libxml2 into the helper: 3 MiB. */
        { "HWLOC_PLUGINS_PATH", "/dev/null" },
        /* Nobody here uses it, and clients look for themselves: hundreds of files of /sys need not be read for it. That
         * was ten of the 24 ms of CPU time that a helper took for a launch, on two cores; a file for each core more. */
        { "HWLOC_COMPONENTS", "no_os,stop" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)setenv(rows[i][0], rows[i][1], 1);
    }
}

static pmix_status_t init_library(struct pmixsrv *server) {
    pmix_info_t infos[4];
    memset(infos, 0, sizeof(infos));
    const struct {
        const char *key;
        char *value;
    } rows[] = {
        { PMIX_SERVER_TMPDIR, server->directory },
        { PMIX_SYSTEM_TMPDIR, server->directory },
        { PMIX_HOSTNAME, server->host },
    };
    size_t count = sizeof(rows) / sizeof(rows[0]);
    for (size_t i = 0; i < count; i++) {
        strncpy(infos[i].key, rows[i].key, PMIX_MAX_KEYLEN);
        infos[i].value.type = PMIX_STRING;
        infos[i].value.data.string = rows[i].value;
    }
    strncpy(infos[count].key, PMIX_SERVER_TOOL_SUPPORT, PMIX_MAX_KEYLEN);
    infos[count].value.type = PMIX_BOOL;
    infos[count].value.data.flag = false;
    return server->pmix->server_init(&pmixsrv_module, infos, count + 1);
}

static void *open_server(void *arg) {
    struct pmixsrv *server = arg;
    struct pmixsrv_event event = { .type = PMIXSRV_EVENT_OPENED };
    pmix_status_t status = init_library(server);
    if (status == PMIX_SUCCESS) {
        (void)server->pmix->register_event_handler(NULL, 0, NULL, 0, pmixsrv_on_event, NULL, NULL);
        status = pmixsrv_register_world(server);
        /* Clients get the server's address in their environment and nothing is put there: what is gone already cannot
         * be left behind by a helper that is killed. */
        (void)rmdir(server->directory);
    }
    if (status != PMIX_SUCCESS) {
        event.status = status;
        snprintf(event.text, sizeof(event.text), "the PMIx server cannot be started: %s",
                 server->pmix->error_string(status));
    }
    pmixsrv_queue(server, &event);
    return NULL;
}

static bool copy_config(struct pmixsrv *server, const struct pmixsrv_config *config) {
    snprintf(server->nspace, sizeof(server->nspace), "%s", config->nspace);
    snprintf(server->host, sizeof(server->host), "%s", config->host);
    snprintf(server->directory, sizeof(server->directory), "%s", config->directory);
    snprintf(server->session, sizeof(server->session), "%s", config->session);
    server->rank_count = config->rank_count;
    server->universe = config->universe;
    server->node_count = config->node_count;
    server->node = config->node;
    server->client_count = config->universe;
    strncpy(server->count_only.key, PMIX_REGISTER_NODATA, PMIX_MAX_KEYLEN);
    server->count_only.value.type = PMIX_BOOL;
    server->count_only.value.data.flag = true;
    server->clients = calloc(config->universe + 1u, sizeof(*server->clients));
    server->hosts = calloc(config->node_count + 1u, sizeof(*server->hosts));
    server->rank_nodes = calloc(config->rank_count + 1u, sizeof(*server->rank_nodes));
    if (server->clients == NULL || server->hosts == NULL || server->rank_nodes == NULL) {
        return false;
    }
    for (uint32_t rank = 0; rank < config->rank_count; rank++) {
        server->rank_nodes[rank] = config->rank_nodes[rank];
        server->local_count += config->rank_nodes[rank] == config->node;
    }
    for (uint32_t node = 0; node < config->node_count; node++) {
        server->hosts[node] = strdup(config->hosts[node]);
        if (server->hosts[node] == NULL) {
            return false;
        }
    }
    return true;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

/* Its name is known before it is made: who made it is looked at. */
static void remove_session(const struct pmixsrv *server) {
    struct stat status;
    if (lstat(server->session, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid()) {
        (void)nftw(server->session, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

static void free_server(struct pmixsrv *server) {
    struct pmixsrv_event event;
    while (pmixsrv_poll(server, &event)) {
        free(event.data);
        free(event.ranks);
    }
    for (uint32_t node = 0; server->hosts != NULL && node < server->node_count; node++) {
        free(server->hosts[node]);
    }
    free(server->hosts);
    free(server->rank_nodes);
    free(server->clients);
    if (server->fd >= 0) {
        close(server->fd);
    }
    pthread_mutex_destroy(&server->lock);
    free(server);
}

enum pmixsrv_result pmixsrv_create(struct pmixsrv **ret_server, const struct pmixsrv_config *config) {
    const char *why = NULL;
    struct pmixsrv *server = calloc(1, sizeof(*server));
    if (server == NULL || pmixsrv_current != NULL) {
        free(server);
        return PMIXSRV_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&server->lock, NULL);
    server->last = &server->first;
    server->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->pmix = glue_table_load(&why);
    if (server->fd < 0 || !copy_config(server, config)) {
        free_server(server);
        return PMIXSRV_ERR_NO_MEMORY;
    }
    pmixsrv_current = server;
    *ret_server = server;
    if (server->pmix == NULL) {
        struct pmixsrv_event event = { .type = PMIXSRV_EVENT_OPENED, .status = PMIX_ERR_NOT_FOUND };
        snprintf(event.text, sizeof(event.text), "%s", why);
        pmixsrv_queue(server, &event);
        return PMIXSRV_OK;
    }
    set_parameters();
    remove_session(server);
    server->has_opener = pthread_create(&server->opener, NULL, open_server, server) == 0;
    if (!server->has_opener) {
        pmixsrv_current = NULL;
        free_server(server);
        return PMIXSRV_ERR_NO_MEMORY;
    }
    return PMIXSRV_OK;
}

void pmixsrv_destroy(struct pmixsrv *server) {
    if (server == NULL) {
        return;
    }
    if (server->has_opener) {
        (void)pthread_join(server->opener, NULL);
        pthread_mutex_lock(&server->lock);
        struct reply *open = server->open;
        server->open = NULL;
        server->is_closing = true;
        pthread_mutex_unlock(&server->lock);
        while (open != NULL) {
            struct reply *reply = open;
            open = reply->next;
            pmixsrv_answer_error(server, reply);
        }
        (void)server->pmix->server_finalize();
    }
    pmixsrv_current = NULL;
    (void)nftw(server->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    remove_session(server);
    free_server(server);
}
