/*
 * The server's object, for its own files:
 *   pmixsrv.c         life, queue
 *   pmixsrv_answer.c  answers and events
 *   pmixsrv_client.c  names of processes, and who has them
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

/* A REQUEST, STAYS or FENCE until it is answered. */
struct reply {
    struct reply *next; /* of those that are open */
    bool is_fence;
    pmix_info_cbfunc_t request_done;
    pmix_modex_cbfunc_t fence_done;
    void *done_arg;
    pmix_status_t status;
    pmix_info_t infos[2]; /* REQUEST, STAYS: the answer */
    size_t info_count;
    char *bytes;
    size_t count;
};

/* A name's newest registration. */
struct client {
    uint32_t generation; /* of its namespace */
    uint32_t serial;     /* over all generations */
    bool is_registered, is_connected;
    uint32_t connection_count; /* of this name, predecessors' too: up, as far as PMIx has told */
};

struct pmixsrv {
    const struct glue_table *pmix;
    char nspace[PMIX_MAX_NSLEN - 10], host[256], directory[256], session[256];
    uint32_t rank_count, universe, node_count, node;
    char **hosts;
    uint32_t *rank_nodes; /* of the world that was entered last */
    pmix_info_t count_only;
    pthread_t opener;
    bool has_opener;

    pthread_mutex_t lock; /* all below */
    bool is_closing;      /* PMIx must not be called from its own thread any more */
    uint32_t generation;
    uint32_t local_count; /* ranks on this node in this world */
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
/* A namespace's name: PMIX_MAX_NSLEN + 1 bytes. */
void pmixsrv_nspace(const struct pmixsrv *server, uint32_t generation, char *ret_nspace);
/* The name of a process, in the namespace that it was registered in last. Any thread. */
pmix_proc_t pmixsrv_name(struct pmixsrv *server, uint32_t rank);
/* Is this the newest holder of its name (or, with the wildcard, the newest world)? Any thread. */
bool pmixsrv_is_ours(struct pmixsrv *server, const pmix_proc_t *proc);
/* Serial of the newest registration of this rank; 0: none. Any thread. */
uint32_t pmixsrv_serial(struct pmixsrv *server, uint32_t rank);
/* A process of this name has connected: from now on PMIx counts this node's processes as the world has them. PMIx's
 * thread.
 */
void pmixsrv_on_connection(struct pmixsrv *server, uint32_t rank);
/* Has the newest holder of this name connected? Any thread. */
bool pmixsrv_is_connected(struct pmixsrv *server, uint32_t rank);
/* A connection of this name was lost or took leave. PMIx tells a loss a second late, or later, when the successor is
 * there already, and does not say whose it was: true when none is left and the newest registration had one. Any thread.
 */
bool pmixsrv_on_connection_end(struct pmixsrv *server, uint32_t rank);
/* An event of the default handler: only lost connections are ours. */
void pmixsrv_on_event(size_t handler, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t count,
                      pmix_info_t results[], size_t result_count, pmix_event_notification_cbfunc_fn_t done,
                      void *done_arg);
/* At the end: the reply is closed already. */
void pmixsrv_answer_error(struct pmixsrv *server, struct reply *reply);
/* The world in rank_nodes, as the namespace of its generation. */
pmix_status_t pmixsrv_register_world(struct pmixsrv *server);

#endif
