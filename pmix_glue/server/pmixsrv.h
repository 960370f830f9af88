/*
 * The PMIx server inside a helper: the only place on the helper's side that calls PMIx_*. PMIx calls back on its own
 * thread; this module copies what it hears into a queue and makes pmixsrv_fd() readable, and the helper's event loop
 * takes it out with pmixsrv_poll(). All functions are for the helper's loop thread.
 */
#ifndef CKPTLESS_PMIXSRV_H
#define CKPTLESS_PMIXSRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmixsrv;

enum pmixsrv_result { PMIXSRV_OK = 0, PMIXSRV_ERR_NO_MEMORY, PMIXSRV_ERR_PMIX, PMIXSRV_ERR_LIBRARY };

struct pmixsrv_config {
    const char *nspace;    /* "ckptless.JOB.STEP": the namespace of generation 0; later ones end in ".GENERATION" */
    const char *host;      /* this node's name */
    const char *directory; /* for PMIx's files: made by the caller, mode 0700; removed once the server runs */
    const char *session;   /* where programs may put files of theirs (Open MPI does); need not be there. Removed at the
                              end, and at the start what a helper that was killed has left of it */
    uint32_t rank_count;   /* of the world */
    uint32_t universe;     /* ranks and parked slots */
    uint32_t node_count;   /* spares' too */
    const char *const *hosts;   /* by node */
    const uint32_t *rank_nodes; /* by rank: its node at the first start */
    uint32_t node;              /* own index */
};

/* Ranks of PMIx are names of processes: the world's rank, or (a parked slot) one above the world. */
enum pmixsrv_event_type {
    PMIXSRV_EVENT_OPENED, /* the server runs (or result says why not: text) */
    PMIXSRV_EVENT_CONNECTED,
    PMIXSRV_EVENT_FINALIZED,
    PMIXSRV_EVENT_LOST,    /* the client's connection ended without finalize; comes 1 s late, or later */
    PMIXSRV_EVENT_REQUEST, /* bytes; `reply` must be answered once with pmixsrv_reply(), sooner or later */
    PMIXSRV_EVENT_STAYS,   /* it survives the loss of others (PMIX_JOB_RECOVERABLE); `reply`: pmixsrv_reply_stays() */
    PMIXSRV_EVENT_ABORT,   /* PMIx_Abort: status, text */
    PMIXSRV_EVENT_FENCE,   /* all local participants have entered it with `data`; answer with pmixsrv_fence_done() */
};

struct pmixsrv_event {
    enum pmixsrv_event_type type;
    uint32_t rank;
    uint32_t serial; /* of the connection of this rank: pmixsrv_register_client() counts it */
    int status;
    void *reply;   /* REQUEST, STAYS, FENCE */
    uint8_t *data; /* belongs to the caller of poll: free() */
    size_t bytes;
    uint32_t *ranks;     /* FENCE: the participants, as the programs list them; belongs to the caller of poll: free() */
    uint32_t rank_count; /* 0: the whole world */
    uint32_t world;      /* FENCE: the number of the world that it is for; 0: of any */
    char text[256];
};

/* Starts the server on a thread of its own (PMIx_server_init takes 50 ms); PMIXSRV_EVENT_OPENED follows. config is
 * copied. */
enum pmixsrv_result pmixsrv_create(struct pmixsrv **ret_server, const struct pmixsrv_config *config)
    __attribute__((warn_unused_result));
int pmixsrv_fd(const struct pmixsrv *server);                               /* readable when poll has something */
bool pmixsrv_poll(struct pmixsrv *server, struct pmixsrv_event *ret_event); /* false: nothing left */

/* After OPENED, and before the first process of an epoch is announced: where its ranks are (rank_nodes: by rank,
 * copied). Of another generation than before: a namespace of its own, with a map of its own, for programs that start
 * together; no living process of the world before it is heard any more, except parked ones. Of the same: PMIx counts
 * the node's processes by it. */
enum pmixsrv_result pmixsrv_enter_world(struct pmixsrv *server, uint32_t generation, const uint32_t *rank_nodes)
    __attribute__((warn_unused_result));
/* Announces a process that will take the name `rank`, the first or a replacement: *ret_serial counts them. PMIx hears
 * of a name once and is never told that it is free: PMIx_server_deregister_client (4.2.2) closes a connection that is
 * still up without taking its event off the loop, and the next client with that descriptor number is then never read
 * from. */
enum pmixsrv_result pmixsrv_register_client(struct pmixsrv *server, uint32_t rank, uint32_t *ret_serial)
    __attribute__((warn_unused_result));
/* The variables that a program needs to connect as `rank`: "NAME=value" strings, each and the list ended by NUL;
 * free(). */
enum pmixsrv_result pmixsrv_environment(struct pmixsrv *server, uint32_t rank, char **ret_block, size_t *ret_bytes)
    __attribute__((warn_unused_result));
/* Answers a REQUEST; bytes are copied. */
void pmixsrv_reply(struct pmixsrv *server, void *reply, const void *bytes, size_t count);
/* Answers a FENCE with everybody's data joined; not ok: it has lost a participant (PMIX_ERR_PARTIAL_SUCCESS). */
void pmixsrv_fence_done(struct pmixsrv *server, void *reply, bool ok, const void *bytes, size_t count);
/* Sends the event "this world has ended, `epoch` begins" to the local client `rank`. */
void pmixsrv_interrupt(struct pmixsrv *server, uint32_t rank, uint64_t epoch);
/* Answers a STAYS: the world's number, and how often this rank has been started before. */
void pmixsrv_reply_stays(struct pmixsrv *server, void *reply, uint32_t world, uint32_t starts);

struct pmixsrv_change {
    bool is_back;     /* the replacement is there; else: it is lost */
    uint32_t rank;    /* whose */
    uint32_t world;   /* grows with each loss */
    const char *host; /* where the replacement is, or will be */
};
/* Tells a change of the world to the local client `rank`, which has said STAYS. */
void pmixsrv_tell(struct pmixsrv *server, uint32_t rank, const struct pmixsrv_change *change);
/* Ends the server, answers what is still open with an error, removes the directory. NULL is allowed. */
void pmixsrv_destroy(struct pmixsrv *server);

#endif
