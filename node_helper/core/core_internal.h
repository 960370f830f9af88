/*
 * What the files of the core share: the state of one helper as a member, and (on the lowest id) as the leader.
 *
 *   core.c      create, step, the queue of messages to oneself, getters
 *   emit.c      the list of actions
 *   member.c    a helper's own slots: STOP, PLAN, GO, and what its programs do
 *   lease.c     heartbeats, leases, holding
 *   leader.c    losses and epochs
 *   joining.c   who comes in
 *   judge.c     whose fault a non-zero exit was
 *   late.c      who does not come to recover
 *   seating.c   which slot a lost rank gets
 *   plan.c      resume step, pulls, GO
 *   reload.c    reload, first commits
 *   ending.c    finish, exits, giving up
 *   report.c    trace records
 *   view.c      agreement on who is in (its own header)
 *   succession.c  what a new view means
 *   takeover.c  a member becomes the leader
 *   quorum.c    how long the leader may lead
 */
#ifndef CKPTLESS_CORE_INTERNAL_H
#define CKPTLESS_CORE_INTERNAL_H

#include <assert.h>

#include "node_helper/core/core.h"
#include "node_helper/core/view.h"

#define CORE_NS_PER_MS 1000000ull
#define CORE_NEVER UINT64_MAX
#define CORE_EXIT_GAVE_UP 93u
#define CORE_EXIT_TERMINATED 143u                   /* in END when Slurm ends the step: nobody in finish may hear OK */
#define CORE_LINGER_NS (5000u * CORE_NS_PER_MS)     /* how long the leader waits for the ranks' exit codes */
#define CORE_KILL_WAIT_NS (35000u * CORE_NS_PER_MS) /* ... when Slurm ends the step while not every program is up */
#define CORE_EARLY_NS (30000u * CORE_NS_PER_MS) /* without the library, exits in this time may be the program's own */
#define CORE_LOSS_UNTOLD (WIRE_NONE - 1)        /* lead_rank.loss: needs a seat, is no loss to report */
#define CORE_ASSEMBLE_NS (30000u * CORE_NS_PER_MS) /* who has not joined by then (after the roll call) is lost */
#define CORE_HELD_MAX_NS (30000u * CORE_NS_PER_MS) /* a member that no leader answers for so long ends */

#define CORE_RESUMED_NS (5000u * CORE_NS_PER_MS) /* between the first and the last node of a suspended step let go */

/* What a program waits for, as seen by its own helper. */
enum member_call { MEMBER_CALL_NONE, MEMBER_CALL_RECOVER, MEMBER_CALL_RELOADED, MEMBER_CALL_FINISH };

struct member_slot {
    uint32_t rank;        /* WIRE_NONE: none */
    uint32_t incarnation; /* serial of its last program; 0: never started */
    bool alive;
    bool attached;
    bool attach_told;    /* to this leader, as this rank */
    bool stays;          /* has said so */
    bool ended_reported; /* LOSS of `incarnation` has been sent */
    bool pulling;
    bool committed;               /* in this epoch */
    bool arrival_due, commit_due; /* to be told to the leader, together with what else this node has to say */
    bool is_new;                  /* started in this epoch */
    enum member_call call;
    bool has_state;
    uint64_t step; /* of the state, or the argument of reloaded */
    uint64_t layout[2];
    struct wire_loss end; /* how it ended, to be sent again after a reconnection */
};

/* A helper as the leader sees it. */
struct lead_member {
    uint32_t id, node;
    uint32_t slot_count, slot_first; /* its part of leader.slots */
    bool joined;                     /* a connection has been up */
    bool alive;                      /* in the view */
    bool was_spare;
    bool warmed;
    bool is_new;     /* has joined in this step: to be told after the loss that it comes with */
    bool wants_stop; /* was away, and has no ranks: is told the epoch again at the end of this step */
    bool strays;     /* it has promised itself to another proposer: only a new view brings it back */
    uint64_t heard_ns;
    uint64_t epoch;   /* newest that it is known to have heard of */
    uint64_t echo_ns; /* our clock, as it has last echoed it: it was bound to us then */
};

struct lead_slot {
    uint32_t rank;   /* WIRE_NONE: free */
    uint32_t serial; /* incarnation of the last program started there */
    bool parked;     /* `serial` is a parked program */
    bool warm;       /* ... that waits in ckptless_init */
    bool is_closed;  /* nothing can be started there any more */
};

struct lead_rank {
    struct wire_seat seat;
    uint32_t loss;        /* index of the loss record that took it; WIRE_NONE: lives */
    uint64_t moved;       /* the epoch that gave it its seat, as far as this leader knows; 0: the first start */
    bool is_out_of_reach; /* arrived: nobody on another node can have its state */
    bool attached, arrived, has_state, pulls, ready, reloaded, committed, finished;
    bool stays;        /* no library, but survives the loss of others */
    bool newcomer;     /* started in this epoch, or in an earlier one of the same recovery */
    bool exited;       /* ended for good; exit_code counts */
    bool pending;      /* ended with exit_code; by judge_ns it is known whether that was its own doing */
    bool aborted;      /* pending: it wants all to end */
    bool signalled;    /* pending, by a signal that Slurm has sent */
    bool excused;      /* its next respawn is not counted against it */
    uint64_t judge_ns; /* until then a fault elsewhere explains its exit; CORE_NEVER: nothing to judge */
    uint32_t exit_code;
    uint32_t respawns;   /* in place, since the last commit */
    uint64_t seat_epoch; /* takeover: of the epoch that the seat is known from */
    bool told;           /* takeover: its helper has said that it sits there, in the epoch that we know */
    uint64_t step;
    uint64_t layout[2];
};

struct lead_loss {
    bool node_lost;
    uint32_t node, rank; /* rank: when a process */
    uint8_t cause;
    uint32_t detail;
    uint64_t detect_ns;
    char text[WIRE_TEXT_BYTES];
};

enum lead_phase {
    LEAD_ASSEMBLING,
    LEAD_GATHERING,
    LEAD_PULLING,
    LEAD_RELOADING,
    LEAD_RUNNING,
    LEAD_ENDING,
    LEAD_ENDED
};

struct leader {
    enum lead_phase phase;
    uint32_t view, counter, ordinal, generation;
    bool epoch_wanted;
    bool knows_start;            /* takeover: programs have been started */
    bool blocked;                /* ... and waits for a view, or for members to be heard */
    uint32_t member_count;       /* one entry a node, always; `id` is that of its last helper */
    uint32_t first_node;         /* as the core's */
    struct lead_member *members; /* by node */
    uint32_t slot_count;
    struct lead_slot *slots;
    uint32_t serial_floor; /* incarnations that this leader gives are above: not all that others gave are known to it */
    struct lead_rank *ranks;
    uint32_t loss_count, loss_capacity;
    struct lead_loss *losses;      /* since the last epoch began */
    uint32_t *list_a, *list_b;     /* scratch for messages and traces: rank_count entries each */
    uint32_t *moved;               /* rank_count: scratch of STOP */
    struct wire_seat *moved_seats; /* the same */
    uint64_t known_from;           /* contents of epochs before, but for 0, this leader cannot tell */
    uint32_t *view_ids;            /* node_count */
    uint64_t *stamps;              /* node_count: scratch of quorum.c */
    uint32_t *trace_ranks, *trace_targets, *trace_slots; /* rank_count each */
    bool library_seen, stays_seen, committed_once, program_error;
    bool counts;          /* the epoch that is wanted counts as a recovery without progress */
    bool stalled;         /* our own timer was late a moment ago: nobody's lateness is judged */
    uint64_t assemble_ns; /* end of the time to join; CORE_NEVER: not yet known, or over */
    uint64_t first_start_ns;
    uint64_t fault_ns;    /* last loss that was not a non-zero exit; CORE_NEVER: none */
    uint32_t fault_rank;  /* ... whose; WIRE_NONE: a node's */
    bool recovering;      /* between a loss and the commit of every rank */
    uint32_t restarts;    /* recoveries in a row without progress */
    uint64_t takeover_ns; /* when this helper began to lead in the place of another */
    uint64_t loss_ns, detect_ns, survivors_ns, arrived_ns, go_ns, began_ns;
    uint64_t start_span_ns; /* longest time from a start to recover, seen in the first epoch */
    uint64_t late_ns;       /* which survivor has not come to recover by then is lost */
    uint64_t start_late_ns; /* which newcomer has not */
    uint32_t late_extended;
    uint64_t asked_ns; /* a rank stands in recover without a loss: begin an epoch then */
    uint64_t linger_ns;
    uint64_t waited_ns; /* the first rank has ended by itself, and the others are ended then; CORE_NEVER: not bound */
    uint64_t muster_ns; /* after a takeover: who has not been heard by then is not waited for */
    uint64_t renew_ns, quorum_end_ns; /* when the lease is worked out again; no other leader can come up before */
    uint64_t resume_step, pulled_bytes, token_state;
    /* What spares this leader a look at everybody at each message. */
    uint32_t settled_view; /* of this view those who live are known to be the members; 0: to be looked at */
    uint64_t floor_ns;     /* nobody's silence begins before */
    uint64_t silence_ns;   /* no silence is to be judged before */
    uint64_t judge_ns;     /* nor an exit; CORE_NEVER: none */
    uint32_t echoes;       /* heartbeats that have not been counted in quorum_end_ns yet */
    bool has_news;         /* a member is_new, or wants_stop */
    uint32_t awaited;      /* a rank that the phase may be waiting for: a hint */
    uint32_t reserve;      /* keeps its older copy until a second node holds the resume step; WIRE_NONE: nobody */
    uint8_t token[16];
    uint32_t end_code;
    bool end_kill, by_slurm;
    char end_text[WIRE_TEXT_BYTES];
};

struct core {
    struct core_config config; /* without the members */
    uint32_t self, leader_id, former_leader;
    struct view view;
    bool was_in;        /* in a view, once: to be out of the next one means to be lost */
    uint32_t *last_ids; /* by node: the last helper known of */
    uint64_t now_ns, epoch;
    uint32_t ordinal, generation, rank_count;
    struct wire_seat *seats;         /* by rank, of `epoch` */
    uint32_t node_count, first_node; /* first_node: see wire_helper.h */
    uint32_t *members;               /* the view of `epoch` */
    uint32_t view_count;

    uint32_t slot_count;
    struct member_slot *slots;
    struct wire_arrived *arrivals; /* slot_count, each: borrowed by a message of this step */
    struct wire_commit *commits;
    bool arrivals_said, commits_said; /* they are */
    bool has_due;                     /* a slot has an arrival_due or a commit_due */
    bool has_begun, connected, held;
    bool is_out_of_reach; /* no other node can have its ranks' state */
    bool is_ending;       /* Slurm ends the step: it has said so on this node */
    bool ended;           /* END has come */
    bool killed;          /* ... and the programs with it: nothing more to say */
    bool finished;        /* END because every rank has finished */
    uint32_t end_code;
    bool committed_once; /* as far as this helper knows */
    uint32_t restarts;   /* as the leader said with the epoch */
    uint64_t heartbeat_next_ns, lease_end_ns, held_ns, ticked_ns;
    uint64_t patience_ns;    /* until then a lease that has ended holds nobody: this helper stood still itself */
    uint64_t listens_ns;     /* until then it judges nobody: it stood still, and so may all others have */
    uint64_t followed_ns;    /* the leader's clock in the last answer that bound us to it; 0: none */
    uint64_t followed_at_ns; /* ours, then */
    uint32_t held_by;        /* the leader at the time of the HOLD */
    bool leader_died;        /* its successor has said so */
    uint32_t asked_again;    /* heartbeats sent out of turn since the last one, for too short a lease */
    uint64_t stopped_ns, start_span_ns; /* the last STOP; from the first one to the first PLAN: what a start takes */
    uint64_t plan_step, plan_epoch;
    uint8_t plan_token[16];
    uint32_t source_count;
    uint32_t *sources; /* of the plan: rank_count */
    uint32_t *order;   /* sources in the order of one puller */

    struct leader *leader;      /* NULL unless this helper leads */
    struct leader *leader_room; /* its memory, in every helper */

    struct wire_message *queue; /* messages to oneself */
    uint32_t queue_capacity, queue_head, queue_count;
    struct core_action *actions;
    uint32_t action_count, action_capacity;
};

/* emit.c */
struct core_action *emit(struct core *core, enum core_action_type type);
struct core_action *emit_slot(struct core *core, enum core_action_type type, uint32_t slot);
/* Sends to one helper; to oneself through the queue. The message's epoch and from are filled in. */
void emit_send(struct core *core, uint32_t peer, struct wire_message *message);
void emit_to_leader(struct core *core, struct wire_message *message);
/* Leader: to every living member, oneself last. */
void emit_to_all(struct core *core, struct wire_message *message);
void emit_warning(struct core *core, const char *text);

/* member.c, member_program.c */
void member_on_message(struct core *core, const struct wire_message *message);
void member_on_program(struct core *core, const struct core_event *event);
/* Says what is due; all: also where other ranks of this node are still to come. */
void member_flush(struct core *core, bool all);
void member_report(struct core *core, uint32_t slot);    /* says (again) what the leader must know of this slot */
void member_send_ending(struct core *core);              /* when Slurm has said here that it ends the step */
void member_send_slot(struct core *core, uint32_t slot); /* to a new leader: what runs there, and as whom */
void member_end(struct core *core, uint32_t exit_code, bool kill);
void member_reset_epoch(struct member_slot *slot);

/* lease.c */
void lease_on_tick(struct core *core);
void lease_after_stall(struct core *core); /* this helper has stood still for half of dead-after */
void lease_on_ack(struct core *core, const struct wire_message *message);
void lease_send(struct core *core);
void lease_begin(struct core *core); /* at the first connection: no program ever runs without a lease */
void lease_renew(struct core *core, uint64_t end_ns); /* the leader's own */
uint64_t lease_next_deadline(const struct core *core);

/* succession.c */
void succession_on_message(struct core *core, const struct wire_message *message);
void succession_on_tick(struct core *core);
uint64_t succession_next_deadline(const struct core *core);
bool succession_settle(struct core *core); /* leader: makes the living the view; true: they are */

/* takeover.c */
void takeover_begin(struct core *core);
bool takeover_is_mustering(struct core *core);
void takeover_end_muster(struct core *core); /* the step ends: nothing more is to be learned, but who lives */
void takeover_on_slot(struct core *core, const struct lead_member *member, const struct wire_message *message);

/* quorum.c */
void quorum_on_heartbeat(struct leader *leader, struct lead_member *member, const struct wire_heartbeat *heartbeat);
void quorum_renew(struct core *core);
bool quorum_leads(const struct core *core);        /* no other leader can have come up */
uint64_t quorum_lease_ns(const struct core *core); /* for a member, from now on */

/* leader.c */
void leader_reset(struct leader *leader); /* to that of a leader who knows nothing yet */
void leader_on_message(struct core *core, const struct wire_message *message);
void leader_on_tick(struct core *core);
void leader_settle(struct core *core); /* after the queue is empty: begins the epoch that is wanted */
uint64_t leader_next_deadline(const struct core *core);
struct lead_member *leader_member(struct leader *leader, uint32_t id); /* NULL: unknown */
void leader_lose_rank(struct core *core, uint32_t rank, const struct wire_loss *loss);
void leader_want_epoch(struct core *core, uint64_t detect_ns);

/* The helper of a node is gone for good, and every rank with it. */
void leader_lose_member(struct core *core, struct lead_member *member, uint8_t cause, uint64_t silent_ns);
/* STOP of the current epoch, to one helper or (WIRE_NONE) to all. */

/* joining.c */
void joining_on_peer_opened(struct core *core, uint32_t peer);
void joining_on_successor(struct core *core, const struct core_event *event);
void joining_settle(struct core *core); /* begins the first epoch when all are there */

/* judge.c */
void judge_on_loss(struct core *core, uint32_t rank, const struct wire_loss *loss);
/* A loss that is nobody's exit: it explains the exits around it. rank: WIRE_NONE for a node. */
void judge_on_fault(struct core *core, uint32_t rank);
void judge_on_tick(struct core *core);
uint64_t judge_next_deadline(const struct core *core);

/* late.c */
void late_begin(struct core *core);
void late_stop(struct leader *leader);
void late_on_tick(struct core *core);
uint64_t late_next_deadline(const struct core *core);

/* seating.c */
bool seating_assign(struct core *core); /* false: ranks are left without a slot */
void seating_first(struct core *core);
void seating_free(struct leader *leader, uint32_t rank);
/* Of the first start, as every helper knows it: slot after slot, node after node. By rank. */
void seating_fill_first(const struct core *core, struct wire_seat *ret_seats);

void seating_renew(struct core *core, uint32_t rank);
void seating_warm(struct core *core); /* starts the parked programs of the spares, once */

/* plan.c */
void plan_on_arrived(struct core *core, const struct wire_message *message, const struct wire_arrived *arrived);
void plan_on_ready(struct core *core, const struct wire_message *message);
void plan_begin_gathering(struct core *core);
/* Looks at one rank for which it was false before, and mostly at no other. */
bool plan_is_done_by_all(struct core *core, bool (*is_done)(const struct lead_rank *rank));
/* The rank that such a message is about, if its sender and incarnation are of this epoch and it lives. */
struct lead_rank *plan_current_rank(struct core *core, const struct wire_message *message, uint32_t rank,
                                    uint32_t incarnation);

/* reload.c */
void reload_on_reloaded(struct core *core, const struct wire_message *message);
void reload_on_committed(struct core *core, const struct wire_message *message, const struct wire_commit *commit);

/* ending.c */
void ending_on_finished(struct core *core, const struct wire_message *message);
void ending_check_finished(struct core *core);
void ending_on_exit(struct core *core, uint32_t rank, const struct wire_loss *loss);
void ending_give_up(struct core *core, uint32_t exit_code, const char *text);
void ending_by_slurm(struct core *core);
void ending_of_all(struct core *core);              /* every rank has exited, the last ones at the same moment */
void ending_send(struct core *core, uint32_t peer); /* END again, to one */
void ending_check(struct core *core);

/* report.c */
void report_start(struct core *core);
void report_losses(struct core *core);
void report_epoch(struct core *core);
void report_resume(struct core *core);
void report_spare(struct core *core, uint32_t node, const char *text);
void report_spare_lost(struct core *core, uint32_t node, uint8_t cause); /* nobody lived there */
void report_leader(struct core *core);                                   /* this one, from now on */
void report_end(struct core *core);

void core_copy_text(char *ret_text, size_t capacity, const char *text);
uint32_t core_node_of(const struct core *core, uint32_t helper); /* WIRE_NONE for WIRE_NONE */

#endif
