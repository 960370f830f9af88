/*
 * Views: which helpers are in. Decided one after the other, each by single-decree Paxos (Lamport, "Paxos Made Simple",
 * 2001) among the members of the view before; a quorum is a majority of them, or exactly half with the lowest id among
 * them (dynamic-linear voting, Jajodia and Mutchler 1990). The lowest id of a view leads. It proposes without a first
 * phase, by the ballot that belongs to it alone, so that losing another node costs one round trip. Whoever has not
 * heard from the leader for dead-after may propose a view as well; until then every member is bound to its leader.
 *
 * Pure, and knows no message but VIEW_*: what is to be sent comes out as a struct view_output. All time is the caller's
 * monotonic clock.
 */
#ifndef CKPTLESS_CORE_VIEW_H
#define CKPTLESS_CORE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"

#define VIEW_BALLOT_NONE 0u
#define VIEW_BALLOT_LEADER 1u /* the leader's of the view before, once; others: round << 32 | helper id, round >= 1 */

enum view_stage {
    VIEW_IDLE,
    VIEW_PREPARING, /* asks whether anything has been accepted */
    VIEW_PROPOSING,
};

struct view_members {
    uint32_t count;
    uint32_t *ids; /* ascending */
};

/* All arrays have `capacity` entries: ids never outnumber the step's nodes. */
struct view {
    uint32_t self, capacity;
    uint64_t dead_after_ns;

    uint32_t number;                     /* of the last view that is known to be decided; 0: none yet (a successor) */
    struct view_members members, former; /* former: of the view before, for an output */

    /* As an acceptor of view number + 1. */
    uint64_t promised, accepted; /* ballots */
    uint64_t floor;              /* what `promised` was before own ballots that asked and did nothing more */
    struct view_members accepted_members;
    uint64_t bound_ns;    /* until then it answers nobody but the leader */
    uint64_t yield_ns;    /* until then it leaves the proposing of this view to another, who is at it */
    uint64_t patience_ns; /* until then it proposes nothing at all */

    /* As a proposer of view number + 1. */
    enum view_stage stage;
    uint64_t ballot, highest;     /* own; highest seen */
    uint64_t best;                /* highest accepted ballot among the promises: its members must be proposed */
    struct view_members wish;     /* what is to be proposed where nothing has been accepted yet */
    struct view_members proposed; /* what is */
    bool *answers;                /* by entry of members: yes to the stage under way */
    uint64_t retry_ns;            /* when it is looked at again; UINT64_MAX: not proposing */
    uint32_t attempts;
};

enum view_send { VIEW_SEND_NOTHING, VIEW_SEND_ONE, VIEW_SEND_MEMBERS /* to all members but oneself */ };

/* What one call has brought about. Pointers are valid until the next call. */
struct view_output {
    enum view_send send;
    uint32_t peer;
    struct wire_message message;
    bool decided;                /* the view has changed: members are new, the ones before are `former` */
    bool is_own;                 /* ... by our own proposal: everyone is to be told with VIEW_DECIDED */
    struct view_members *former; /* when decided */
};

/* False: no memory. ids: the first view, ascending, or none (count 0, number 0) for a successor. */
bool view_init(struct view *view, uint32_t self, uint32_t capacity, uint64_t dead_after_ns, const uint32_t *ids,
               uint32_t count) __attribute__((warn_unused_result));
void view_fini(struct view *view);

uint32_t view_leader(const struct view *view); /* WIRE_NONE: no view yet */
bool view_contains(const struct view *view, uint32_t id);
/* Is a set of members (flags by entry of view->members) a quorum of this view? */
bool view_is_quorum(const struct view *view, const bool *flags);

/* The leader: makes `ids` (ascending) the next view. While a proposal is under way it is what the next attempt begins
 * with. */
void view_propose(struct view *view, uint64_t now_ns, const uint32_t *ids, uint32_t count,
                  struct view_output *ret_output);
/* The leader has answered a heartbeat: for dead-after nobody else is listened to. False: it is too late for that,
 * another proposer has been promised, and the leader must not be told that it is still followed. */
bool view_follow(struct view *view, uint64_t now_ns);
/* Helper `id` is dead for certain. If it leads, this helper is no longer bound to it. */
void view_release(struct view *view, uint64_t now_ns, uint32_t id);
/* This helper proposes nothing of its own before then. */
void view_be_patient(struct view *view, uint64_t until_ns);
/* A VIEW_ message, from helper message->from. */
void view_on_message(struct view *view, uint64_t now_ns, const struct wire_message *message,
                     struct view_output *ret_output);
/* A member that has lost its leader begins to propose; a proposer tries again. */
void view_on_tick(struct view *view, uint64_t now_ns, struct view_output *ret_output);
uint64_t view_next_deadline(const struct view *view); /* UINT64_MAX: none */
/* VIEW_DECIDED of the last view, to be sent to anyone. */
struct wire_message view_decided_message(const struct view *view);

#endif
