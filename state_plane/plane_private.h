/*
 * The plane's object, for its own files:
 *   plane.c        life, commands and events, the thread's loop
 *   plane_serve.c  chunks of this node's ranks for peers
 *   plane_pull.c   regions of peers for this node's ranks
 * Everything below `lock` is used with it held; the thread lets it go between two chunks, so that a caller waits for
 * one chunk at most. Fabric calls are the thread's alone.
 */
#ifndef CKPTLESS_PLANE_PRIVATE_H
#define CKPTLESS_PLANE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "state_plane/fabric.h"
#include "state_plane/plane.h"
#include "state_plane/request.h"

#define PLANE_REQUEST_TAG 1u /* replies have greater ones */
#define PLANE_INBOX_COUNT 32u
#define PLANE_CHUNKS_MAX 6u   /* requests under way of one pull */
#define PLANE_REPLIES_MAX 24u /* under way at a holder; further requests wait */
#define PLANE_WAITING_MAX 1024u
#define PLANE_EARLY_MAX 64u /* what does not fit is told to ask again */

struct inbox {
    struct fabric_op op;
    struct plane *plane;
    bool is_posted;
    uint8_t bytes[REQUEST_BYTES_MAX];
};

/* A rank's regions that peers may read. */
struct served {
    struct served *next;
    uint8_t token[REQUEST_TOKEN_BYTES];
    uint32_t rank, pid;
    uint32_t region_count;
    struct plane_region *regions;
};

/* A reply on its way to a peer. */
struct reply {
    struct reply *next;
    struct fabric_op op;
    struct plane *plane;
    uint64_t peer, tag, born_ns;
    bool is_posted, is_done, is_abandoned;
    size_t count;
    uint8_t bytes[];
};

struct waiting {
    struct waiting *next;
    struct request request;
    uint64_t born_ns;
};

struct queued_event {
    struct queued_event *next;
    struct plane_event event;
};

enum fabric_state { FABRIC_CLOSED, FABRIC_OPENING, FABRIC_OPEN, FABRIC_NONE };

struct pull;  /* plane_pull.c */
struct chunk; /* plane_pull.c */

struct plane {
    char interface[64];
    pthread_t thread, opener;
    bool has_opener; /* the caller's */
    int wake_fd, event_fd;
    atomic_uint callers; /* who wait for the lock: the thread lets them pass */

    pthread_mutex_t lock;
    bool stops, has_ended;
    enum fabric_state fabric_state;
    struct fabric *fabric;   /* OPEN */
    char fabric_text[256];   /* NONE: why */
    uint64_t opening_ns_max; /* so long a pull waits for it to open */
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
    size_t address_bytes;
    struct queued_event *first_event, **last_event;

    struct inbox inbox[PLANE_INBOX_COUNT];
    struct served *served;
    struct reply *replies;
    uint32_t reply_count;
    struct waiting *first_waiting, **last_waiting;
    uint32_t waiting_count;
    struct waiting *early; /* whose token is not known yet: the plan reaches pullers and holders at different times */
    uint32_t early_count;

    struct pull *pulls;
    struct chunk *abandoned; /* of pulls that have ended; the fabric's */
    uint64_t next_tag;
    uint32_t sends_under_way;
};

uint64_t plane_now_ns(void);
void plane_queue_event(struct plane *plane, const struct plane_event *event);
/* An array of regions, copied; NULL: no memory. */
struct plane_region *plane_copy_regions(const struct plane_region *regions, uint32_t count);
/* The caller's side of the lock. */
void plane_enter(struct plane *plane);
void plane_leave(struct plane *plane);
void plane_wake(struct plane *plane);

/* plane_serve.c: on the thread, lock held */
void serve_post_inbox(struct plane *plane);
/* True: something is to be tried again soon. */
bool serve_advance(struct plane *plane, uint64_t now_ns);
void serve_clear(struct plane *plane);
void serve_fini(struct plane *plane);

/* plane_pull.c: on the thread, lock held. One unit of work; true: there is more to do at once. */
bool pull_advance(struct plane *plane, uint64_t now_ns, bool *ret_soon);
/* is_closed: the fabric lets go of all memory. */
void pull_fini(struct plane *plane, bool is_closed);

#endif
