/*
 * The protocol core: who is in, which rank lives where, what everyone resumes from. One per helper; the helper with the
 * lowest id leads. Pure: an event that carries the time goes in, an ordered list of actions comes out; no clock, no
 * socket, no allocation after core_create, no PMIx, no Slurm, no logging. The daemon, the scenario tests and the
 * simulator run the same object file.
 *
 * The host (node_helper/shell, or a test) must
 *   1. call core_step() with monotonic, never decreasing `now_ns`;
 *   2. carry out the actions in order, before the next core_step();
 *   3. deliver messages between two helpers in order, or close the connection and say CORE_EVENT_PEER_CLOSED;
 *   4. call core_step(CORE_EVENT_TICK) no later than core_next_deadline();
 *   5. copy what it keeps: pointers in actions are valid until the next core_step().
 */
#ifndef CKPTLESS_CORE_H
#define CKPTLESS_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../wire/wire_message.h"

struct core;

enum core_park { CORE_PARK_AUTO = 0, CORE_PARK_COLD, CORE_PARK_WARM };

struct core_config {
    uint32_t self;         /* own helper id; member_count or more: a successor, which is in no view yet */
    uint32_t leader;       /* id of the leader: 0 for those of the roll call, for a successor who has welcomed it */
    uint32_t member_count; /* nodes of the step */
    /* One entry a node, by node: its last helper, alive or not; self included. Ids: wire_helper.h. */
    const struct wire_member *members;
    uint32_t active_nodes; /* nodes 0 .. active_nodes - 1 hold the ranks at the first start; the rest is parked */
    enum core_park park;
    uint64_t heartbeat_ns, dead_after_ns, grace_ns;
    uint32_t respawn_max;  /* starts of a rank in the same slot without a commit in between */
    uint32_t restart_max;  /* recoveries in a row without progress before giving up */
    bool kill_on_bad_exit; /* the program's own error ends the step, also where others could go on */
    uint64_t wait_ns;      /* from the first rank's own end to the end of the others; 0: no bound */
    uint64_t seed;         /* for the plan's tokens; the step secret's hash in the daemon */
};

enum core_event_type {
    CORE_EVENT_TICK,
    CORE_EVENT_MESSAGE,      /* from another helper: message->from is authenticated by the host */
    CORE_EVENT_PEER_OPENED,  /* the connection to helper `peer` is up (leader: after its JOIN; member: to the leader) */
    CORE_EVENT_PEER_CLOSED,  /* the connection to helper `peer` ended: suspicion, not death */
    CORE_EVENT_SUCCESSOR,    /* leader's host: a new helper of node `node` asks to join, and says that helper `peer`
                                (WIRE_NONE: none) is dead and its ranks with it; answered by CORE_ACTION_WELCOME or REFUSE
                              */
    CORE_EVENT_ATTACHED,     /* slot: its program called ckptless_init */
    CORE_EVENT_STAYS,        /* slot: its program, without the library, has said that it survives the loss of others */
    CORE_EVENT_ARRIVED,      /* slot: its program stands in ckptless_recover */
    CORE_EVENT_PULLED,       /* slot: CORE_ACTION_PULL has ended well; bytes. Never after its CANCEL_PULL */
    CORE_EVENT_PULL_FAILED,  /* slot: no source is left */
    CORE_EVENT_RELOADED,     /* slot: its program called ckptless_reloaded(step) */
    CORE_EVENT_COMMITTED,    /* slot: first commit in this epoch */
    CORE_EVENT_FINISHED,     /* slot: its program called ckptless_finish */
    CORE_EVENT_SLOT_ENDED,   /* slot: the program of `incarnation` is gone; cause, detail. Once per incarnation */
    CORE_EVENT_ENDING,       /* Slurm is ending the step: nothing is a loss any more */
    CORE_EVENT_OUT_OF_REACH, /* this helper cannot give its ranks' state to other nodes */
    CORE_EVENT_UNSETTLED,    /* leader's host: this helper or a member waits for something that is gone with the
                                leader before: only a new epoch helps */
};

struct core_event {
    enum core_event_type type;
    uint64_t now_ns;
    uint32_t peer, node;
    uint32_t slot_count; /* SUCCESSOR */
    uint32_t slot;
    uint32_t incarnation; /* of the slot's program (as given by CORE_ACTION_START); stale ones are dropped */
    uint64_t epoch;       /* RELOADED, COMMITTED, FINISHED: what the program believes; stale ones are dropped */
    bool has_state;
    uint64_t step;
    uint64_t layout[2];
    uint64_t bytes;
    uint8_t cause; /* enum wire_cause */
    uint32_t detail;
    const char *text; /* reason, or NULL */
    const struct wire_message *message;
};

enum core_action_type {
    CORE_ACTION_SEND,        /* message to helper `peer` */
    CORE_ACTION_WELCOME,     /* leader: the successor just announced gets id `peer`; send it the roster */
    CORE_ACTION_REFUSE,      /* leader: the successor just announced is not taken; text */
    CORE_ACTION_START,       /* slot: end the former program's tree if any, then start `incarnation` as `rank`
                                (WIRE_NONE: parked warm, waits in init) */
    CORE_ACTION_PROMOTE,     /* slot: the parked program of `incarnation` becomes `rank`; it waits in init or will come
                                there */
    CORE_ACTION_KILL,        /* slot: end the program's tree; SLOT_ENDED of it is dropped */
    CORE_ACTION_INTERRUPT,   /* slot: its world has ended, `epoch` begins: set the page, send the PMIx event, answer
                                exchanges, reloaded and finish calls under way with INTERRUPTED */
    CORE_ACTION_SERVE,       /* slot: peers that show `token` may read this rank's state (step `step`) */
    CORE_ACTION_PULL,        /* slot: overwrite its regions with the state of `step` from one of `ranks`; token */
    CORE_ACTION_CANCEL_PULL, /* slot */
    CORE_ACTION_ANSWER_RECOVER,  /* slot: result (enum ckptless_result number), epoch, step */
    CORE_ACTION_ANSWER_RELOADED, /* slot: result; text when it is an error */
    CORE_ACTION_ANSWER_FINISH,   /* slot: result */
    CORE_ACTION_EPOCH,   /* a new epoch begins here: drop exchanges of older ones; epoch, ordinal, core_seats() */
    CORE_ACTION_PRESENT, /* the replacement of `rank`, as seated, has said STAYS; may come again */
    CORE_ACTION_HOLD,    /* the lease has ended: stop every program of this node (SIGSTOP) */
    CORE_ACTION_CONTINUE,
    CORE_ACTION_LEASE,  /* the lease now ends at `until_ns` */
    CORE_ACTION_LEADER, /* helper `peer` leads from now on (oneself: take JOINs): close the connection to the one
                           before, connect to it, and try until it answers */
    CORE_ACTION_END,    /* this helper's part is over; exit_code; kill: the programs do not end by themselves. On the
                           leader it comes last: when every rank's end is known (or a deadline has passed), and
                           exit_code is then the step's. SLOT_ENDED is still to be reported after it */
    CORE_ACTION_TRACE,  /* something worth a log line; struct core_trace */
};

enum core_trace_type {
    CORE_TRACE_START,   /* leader: the first epoch's ranks are being started */
    CORE_TRACE_LOSS,    /* leader: rank (or node and all its ranks) lost; where it goes */
    CORE_TRACE_EPOCH,   /* leader: an epoch begins */
    CORE_TRACE_RESUME,  /* leader: every rank has committed again; phases */
    CORE_TRACE_SPARE,   /* leader: a spare was warmed, used up, or added (a successor) */
    CORE_TRACE_LEADER,  /* the leader was lost: the helper of `node` leads */
    CORE_TRACE_WARNING, /* anyone; text */
    CORE_TRACE_END,     /* leader: exit_code, text */
};

/* Phases of a recovery, each in ns, in the order in which they follow each other; their sum is the time from the loss
 * as seen by the leader (minus detect, which lies before) to the commit of the next step by every rank. */
enum core_phase {
    CORE_PHASE_DETECT,
    CORE_PHASE_AGREE,
    CORE_PHASE_START,
    CORE_PHASE_PULL,
    CORE_PHASE_CONNECT,
    CORE_PHASE_COUNT
};

struct core_trace {
    enum core_trace_type type;
    uint64_t epoch;
    uint32_t ordinal;
    uint32_t node;  /* LOSS, SPARE: index of the node; WIRE_NONE: not about a node */
    bool node_lost; /* LOSS: the node, not only a process on it; SPARE: it is gone (cause) */
    uint32_t rank_count;
    const uint32_t *ranks;        /* LOSS: what was lost */
    const uint32_t *target_nodes; /* LOSS: by entry of ranks: the node where it starts again; WIRE_NONE: nowhere */
    const uint32_t *target_slots; /* LOSS: and its slot there; NULL: not told */
    uint8_t cause;
    uint32_t detail;
    uint64_t step; /* RESUME: the step that all ranks resumed at */
    uint64_t phase_ns[CORE_PHASE_COUNT];
    uint64_t bytes; /* RESUME: pulled, over all ranks */
    uint32_t exit_code;
    const char *text;
};

struct core_action {
    enum core_action_type type;
    uint32_t peer;
    uint32_t slot, incarnation, rank;
    uint64_t epoch, step, until_ns;
    uint32_t result;
    uint32_t exit_code;
    bool kill;
    uint8_t token[16];
    uint32_t rank_count;
    const uint32_t *ranks; /* PULL: sources in the order to try */
    const char *text;
    struct wire_message message; /* SEND */
    struct core_trace trace;     /* TRACE */
};

struct core_actions {
    uint32_t count;
    const struct core_action *list;
};

enum core_result { CORE_OK = 0, CORE_ERR_NO_MEMORY, CORE_ERR_CONFIG };

/* *ret_core is set on OK. A first helper (id < member_count at the roll call) starts in epoch 0; the leader begins
 * epoch 1 when all have connected and a quorum follows it. A successor (created from a WELCOME) waits for a STOP. */
enum core_result core_create(struct core **ret_core, const struct core_config *config)
    __attribute__((warn_unused_result));
void core_destroy(struct core *core); /* NULL is allowed */

struct core_actions core_step(struct core *core, const struct core_event *event);
uint64_t core_next_deadline(const struct core *core); /* ns; UINT64_MAX: none */

/* What the host needs to know in between. */
struct core_seat_info {
    uint32_t helper, node, slot, incarnation;
    uint32_t starts; /* how often this rank has been started before: the world's `incarnation` */
};
uint32_t core_rank_count(const struct core *core);
uint64_t core_epoch(const struct core *core);
uint32_t core_ordinal(const struct core *core);
/* How often all programs have been started again together: those of one generation know each other from their start. */
uint32_t core_generation(const struct core *core);
bool core_is_leader(const struct core *core);
uint32_t core_leader(const struct core *core);                           /* helper id */
struct core_seat_info core_seat(const struct core *core, uint32_t rank); /* where the rank lives in this epoch */
uint32_t core_slot_rank(const struct core *core, uint32_t slot);         /* own slot; WIRE_NONE: none */
/* The newest view known here: its number, and the helpers that are in, ascending; valid until the next step. */
uint32_t core_view(const struct core *core, uint32_t *ret_number, const uint32_t **ret_ids);
/* The view of the epoch. */
uint32_t core_members(const struct core *core, const uint32_t **ret_ids);

#endif
