/*
 * The server's object, for its own files:
 *   pmixsrv.c         life, queue, clients, answers
 *   pmixsrv_upcall.c  what PMIx calls on its own thread
 *   pmixsrv_world.c   what the namespace says about the world
 */
#ifndef CKPTLESS_PMIXSRV_PRIVATE_H
#define CKPTLESS_PMIXSRV_PRIVATE_H

#include <pthread.h>

#include "pmix_glue/glue_table.h"
#include "pmix_glue/server/pmixsrv.h"

struct queued {
    struct queued *next;
    struct pmixsrv_event event;
};

/* A REQUEST or FENCE until it is answered. */
struct reply {
    struct reply *next; /* of those that are open */
    bool is_fence;
    pmix_info_cbfunc_t request_done;
    pmix_modex_cbfunc_t fence_done;
    void *done_arg;
    pmix_status_t status;
    pmix_info_t info; /* REQUEST: the answer */
    char *bytes;
    size_t count;
};

/* A name's newest registration. */
struct client {
    uint32_t rank;
    uint32_t serial;
    bool is_registered, is_connected;
    uint32_t connection_count; /* of this name, predecessors' too: up, as far as PMIx has told */
};

struct pmixsrv {
    const struct glue_table *pmix;
    char nspace[PMIX_MAX_NSLEN + 1], host[256], directory[256];
    uint32_t rank_count, universe, node_count, node;
    char **hosts;
    uint32_t *ranks_per_node;
    pthread_t opener;
    bool has_opener;

    pthread_mutex_t lock; /* all below */
    int fd;
    struct queued *first, **last;
    struct reply *open;
    uint32_t client_count;
    struct client *clients; /* universe entries, by rank */
};

/* PMIx's upcalls carry no argument of ours: one server a process. */
extern struct pmixsrv *pmixsrv_current;
extern pmix_server_module_t pmixsrv_module;

/* Any thread. data: malloc'ed or NULL, taken over. */
void pmixsrv_queue(struct pmixsrv *server, const struct pmixsrv_event *event);
/* Serial of the newest registration of this rank; 0: none. Any thread. */
uint32_t pmixsrv_serial(struct pmixsrv *server, uint32_t rank);
/* A process of this name has connected. Any thread. */
void pmixsrv_on_connection(struct pmixsrv *server, uint32_t rank);
/* A connection of this name was lost or took leave. PMIx tells a loss a second late, or later, when the successor is
 * there already, and does not say whose it was: true when none is left and the newest registration had one. Any thread.
 */
bool pmixsrv_on_connection_end(struct pmixsrv *server, uint32_t rank);
/* An event of the default handler: only lost connections are ours. */
void pmixsrv_on_event(size_t handler, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t count,
                      pmix_info_t results[], size_t result_count, pmix_event_notification_cbfunc_fn_t done,
                      void *done_arg);
pmix_status_t pmixsrv_register_world(struct pmixsrv *server);

#endif
