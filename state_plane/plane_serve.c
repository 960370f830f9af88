/*
 * The holder's side: a request that shows the token gets a chunk of a rank's region, read out of its process, with the
 * digest of what was read. Everything that a peer sends is judged before it is used.
 */
#include <stdlib.h>
#include <string.h>

#include "state_plane/memory.h"
#include "state_plane/plane_private.h"

/* What is born in a round is younger than the round's `now_ns`: never subtract.
 * UNSENT: a reply that the fabric does not take for so long is dropped; the puller asks again.
 * ABANDONED: one that was taken and does not complete no longer counts; its memory stays.
 * EARLY: a request whose plan is still on its way to this node waits so long. */
#define UNSENT_NS 2000000000u
#define ABANDONED_NS 10000000000u
#define EARLY_NS 250000000u

static void on_request(struct fabric_op *op, size_t bytes, const char *error);

void serve_post_inbox(struct plane *plane) {
    for (uint32_t i = 0; i < PLANE_INBOX_COUNT; i++) {
        struct inbox *inbox = &plane->inbox[i];
        if (inbox->is_posted) {
            continue;
        }
        inbox->plane = plane;
        inbox->op = (struct fabric_op){ .on_done = on_request, .owner = inbox };
        inbox->is_posted = fabric_receive(plane->fabric, PLANE_REQUEST_TAG, inbox->bytes, sizeof(inbox->bytes),
                                          &inbox->op) == FABRIC_OK;
    }
}

static const struct plane_region *find_region(const struct served *served, const struct request *request) {
    for (uint32_t i = 0; i < served->region_count; i++) {
        const struct plane_region *region = &served->regions[i];
        if (region->shard == request->shard && strncmp(region->name, request->name, sizeof(region->name)) == 0) {
            return region;
        }
    }
    return NULL;
}

static enum request_status status_of(enum memory_result result) {
    switch (result) {
    case MEMORY_OK:
        return REQUEST_OK;
    case MEMORY_GONE:
        return REQUEST_GONE;
    case MEMORY_DENIED:
        return REQUEST_DENIED;
    case MEMORY_FAULT:
    case MEMORY_FAILED:
        break;
    }
    return REQUEST_FAULT;
}

static const struct served *find_served(const struct plane *plane, const struct request *request) {
    const struct served *served = plane->served;
    while (served && (served->rank != request->rank || !request_token_equal(served->token, request->token))) {
        served = served->next;
    }
    return served;
}

/* Reads the chunk into ret_bytes when everything about the request is right. */
static enum request_status read_chunk(const struct plane *plane, const struct request *request, uint8_t *ret_bytes) {
    const struct served *served = find_served(plane, request);
    if (served == NULL) {
        return REQUEST_REFUSED;
    }
    const struct plane_region *region = find_region(served, request);
    if (region == NULL) {
        return REQUEST_NO_REGION;
    }
    if (region->bytes != request->region_bytes) {
        return REQUEST_OTHER_SIZE;
    }
    if (request->offset > region->bytes || request->length > region->bytes - request->offset) {
        return REQUEST_BOUNDS;
    }
    return status_of(memory_read(served->pid, region->address + request->offset, ret_bytes, request->length));
}

static void on_sent(struct fabric_op *op, size_t bytes, const char *error) {
    struct reply *reply = op->owner;
    (void)bytes;
    (void)error; /* the puller's deadline finds it */
    reply->is_done = true;
    reply->plane->sends_under_way--;
}

/* Makes the reply; it is sent by serve_advance(). */
static void answer(struct plane *plane, const struct request *request, bool is_busy) {
    uint64_t peer = 0;
    if (fabric_peer(plane->fabric, request->address, request->address_bytes, &peer) != FABRIC_OK) {
        return;
    }
    struct reply *reply = malloc(sizeof(*reply) + request->length + REQUEST_TRAILER_BYTES);
    if (reply == NULL) {
        return;
    }
    memset(reply, 0, sizeof(*reply));
    struct request_trailer trailer = { .status = is_busy ? REQUEST_BUSY : read_chunk(plane, request, reply->bytes),
                                       .offset = request->offset };
    size_t length = trailer.status == REQUEST_OK ? request->length : 0;
    if (length > 0) {
        request_digest(reply->bytes, length, trailer.digest);
    }
    request_trailer_encode(&trailer, reply->bytes + length);
    reply->op = (struct fabric_op){ .on_done = on_sent, .owner = reply };
    reply->plane = plane;
    reply->peer = peer;
    reply->tag = request->tag;
    reply->born_ns = plane_now_ns();
    reply->count = length + REQUEST_TRAILER_BYTES;
    reply->next = plane->replies;
    plane->replies = reply;
    plane->reply_count++;
}

static void enqueue(struct plane *plane, struct waiting *waiting) {
    waiting->next = NULL;
    *plane->last_waiting = waiting;
    plane->last_waiting = &waiting->next;
    plane->waiting_count++;
}

static void on_request(struct fabric_op *op, size_t bytes, const char *error) {
    struct inbox *inbox = op->owner;
    struct plane *plane = inbox->plane;
    struct request request;
    inbox->is_posted = false;
    if (error != NULL || !request_decode(inbox->bytes, bytes, &request)) {
        return; /* a stranger, or a fault of the fabric: who asked has a deadline */
    }
    struct waiting *waiting = plane->waiting_count < PLANE_WAITING_MAX ? calloc(1, sizeof(*waiting)) : NULL;
    if (waiting == NULL) {
        answer(plane, &request, true);
        return;
    }
    waiting->request = request;
    waiting->born_ns = plane_now_ns();
    if (find_served(plane, &request) == NULL && plane->early_count >= PLANE_EARLY_MAX) {
        free(waiting);
        answer(plane, &request, true); /* it asks again, and does not give this holder up */
        return;
    }
    if (find_served(plane, &request) == NULL) {
        waiting->next = plane->early;
        plane->early = waiting;
        plane->early_count++;
        return;
    }
    enqueue(plane, waiting);
}

/* What is served by now is answered, and what has waited in vain is refused. */
static void admit_early(struct plane *plane, uint64_t now_ns) {
    for (struct waiting **link = &plane->early; *link;) {
        struct waiting *waiting = *link;
        if (find_served(plane, &waiting->request) == NULL && now_ns < waiting->born_ns + EARLY_NS) {
            link = &waiting->next;
            continue;
        }
        *link = waiting->next;
        plane->early_count--;
        enqueue(plane, waiting);
    }
}

/* False: it is done with. */
static bool advance_reply(struct plane *plane, struct reply *reply, uint64_t now_ns, bool *ret_soon) {
    if (reply->is_done) {
        return false;
    }
    if (!reply->is_posted) {
        enum fabric_result result =
            fabric_send(plane->fabric, reply->peer, reply->tag, reply->bytes, reply->count, &reply->op);
        if (result == FABRIC_OK) {
            reply->is_posted = true;
            plane->sends_under_way++;
        } else if (result == FABRIC_ERROR || now_ns > reply->born_ns + UNSENT_NS) {
            return false;
        } else {
            *ret_soon = true;
        }
    } else if (!reply->is_abandoned && now_ns > reply->born_ns + ABANDONED_NS) {
        reply->is_abandoned = true;
        plane->reply_count--;
    }
    return true;
}

bool serve_advance(struct plane *plane, uint64_t now_ns) {
    bool soon = false;
    serve_post_inbox(plane);
    admit_early(plane, now_ns);
    if (plane->first_waiting && plane->reply_count < PLANE_REPLIES_MAX) {
        struct waiting *waiting = plane->first_waiting;
        plane->first_waiting = waiting->next;
        plane->last_waiting = plane->first_waiting ? plane->last_waiting : &plane->first_waiting;
        plane->waiting_count--;
        answer(plane, &waiting->request, false);
        free(waiting);
        soon = plane->first_waiting != NULL;
    }
    for (struct reply **link = &plane->replies; *link;) {
        struct reply *reply = *link;
        if (advance_reply(plane, reply, now_ns, &soon)) {
            link = &reply->next;
            continue;
        }
        *link = reply->next;
        plane->reply_count -= !reply->is_abandoned;
        free(reply);
    }
    return soon;
}

void serve_clear(struct plane *plane) {
    while (plane->served) {
        struct served *served = plane->served;
        plane->served = served->next;
        free(served->regions);
        free(served);
    }
}

static void free_waiting(struct waiting *first) {
    while (first) {
        struct waiting *waiting = first;
        first = waiting->next;
        free(waiting);
    }
}

void serve_fini(struct plane *plane) {
    serve_clear(plane);
    free_waiting(plane->first_waiting);
    free_waiting(plane->early);
    while (plane->replies) {
        struct reply *reply = plane->replies;
        plane->replies = reply->next;
        free(reply);
    }
}
