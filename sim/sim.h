/*
 * The simulator: real cores of one step, connections with delays, programs that do what a well-written one does,
 * virtual time. A run depends on the code and its list of faults (sim_plan), which comes from a seed; nothing else.
 *
 *   main.c     what the program `sim` is asked to do
 *   plan.c     a world and its faults, from a seed
 *   fault.c    how a fault is carried out, and how it reads
 *   run.c      one run: faults, healing, then the step must go on, or end
 *   queue.c    events by time
 *   helper.c   a node's helper: its core, its clock, what it is told to do
 *   net.c      connections, and what a cut link does to them
 *   program.c  what a program does
 *   check.c    the judge: invariants only, changes nothing
 *   shrink.c   the fewest faults by which a run still fails
 *   cost.c     what one recovery of thousands of nodes costs
 *   record.c   what a TLS record costs on this machine
 */
#ifndef CKPTLESS_SIM_H
#define CKPTLESS_SIM_H

#include <stdarg.h>

#include "include/ckptless.h"
#include "node_helper/core/core.h"
#include "node_helper/wire/wire_helper.h"

#define SIM_MS 1000000ull
#define SIM_NODES_MAX 64u /* of worlds with faults: a set of nodes is a word */
#define SIM_FAULTS_MAX 96u
#define SIM_CUTS_MAX 32u
#define SIM_KNOWN_MAX 64u

/* ---- plan.c */

enum sim_fault_kind {
    SIM_FAULT_KILL, /* of programs: rank */
    SIM_FAULT_EXIT, /* number: code */
    SIM_FAULT_HANG,
    SIM_FAULT_RECOVER, /* unasked */
    SIM_FAULT_PARKED,  /* of nodes: the parked program of slot 0 dies */
    SIM_FAULT_OFF,
    SIM_FAULT_HELPER,  /* it dies; its successor comes after span_ns */
    SIM_FAULT_BREAK,   /* connections to the leader: what was on its way is lost */
    SIM_FAULT_CUT,     /* for span_ns nothing passes between these nodes and the others */
    SIM_FAULT_CUT_OUT, /* ... from them to the others */
    SIM_FAULT_CUT_IN,
    SIM_FAULT_FREEZE,     /* helpers stand still, programs run on */
    SIM_FAULT_STILL,      /* both stand still */
    SIM_FAULT_SUSPEND,    /* of all: so do they all, and are let go up to 5 s apart; number: in which order */
    SIM_FAULT_SLURM_ENDS, /* number: whose helper hears of it first */
    SIM_FAULT_DRIFT,      /* clocks: number is in ppm, signed */
    SIM_FAULT_KIND_COUNT
};

struct sim_fault {
    enum sim_fault_kind kind;
    uint64_t at_ns;       /* since the start */
    enum wire_type after; /* not 0: it waits for the next message of this type, and then delay_ns */
    uint64_t delay_ns;
    uint32_t rank;
    uint64_t nodes; /* a set */
    bool hits_leader;
    uint64_t span_ns;
    uint32_t number;
};

struct sim_plan {
    uint64_t seed;
    uint64_t chance; /* seed of all delays */
    uint32_t active_count, node_count, slot_count, first_node;
    enum core_park park;
    uint32_t respawn_max;
    uint64_t goal; /* the program's last step */
    uint64_t latency_ns, pace_ns;
    uint64_t heal_ns; /* since the start: no fault from then on */
    bool only_suspends;
    bool is_calm; /* no delay but the network's: 50 us */
    uint32_t fault_count;
    struct sim_fault faults[SIM_FAULTS_MAX];
};

/* node_count, slot_count: 0: as the seed wants it. */
struct sim_sizes {
    uint32_t node_count, slot_count;
};
struct sim_plan sim_plan_of(uint64_t seed, struct sim_sizes sizes);

/* ---- the world */

enum sim_state {
    SIM_STARTING,
    SIM_PARKED,
    SIM_IN_RECOVER,
    SIM_RUNNING,
    SIM_LOADING,
    SIM_IN_RELOADED,
    SIM_IN_FINISH,
    SIM_LEAVING
};

struct sim_program {
    enum sim_state state;
    bool alive, hangs, has_state, promoted, told_commit;
    bool has_gradients; /* of all ranks: it may commit, whatever becomes of them */
    uint32_t rank, incarnation;
    uint32_t timer; /* older timers of this slot are void */
    uint64_t step, epoch;
    uint64_t pull_step; /* while it pulls */
    uint32_t pull_count, *pull_ranks;
};

struct sim_node {
    struct core *core; /* NULL: no helper lives here */
    uint32_t id;
    bool off, held, ended;
    bool leads; /* as of its last step */
    bool up;    /* its connection to the leader, which is that of node `leader` */
    uint32_t leader, view;
    uint32_t exit_code;
    uint32_t connection;              /* counts them: what was sent over an older one is lost */
    uint64_t frozen_ns, suspended_ns; /* until then: the helper; the programs too */
    uint64_t lease_end_ns;            /* by its clock */
    uint64_t tick_ns;
    uint64_t clock_ns; /* what its clock is ahead */
    int32_t drift_ppm;
    uint64_t last_ns[2]; /* of the last message to and from the leader */
    uint64_t heard_ns;   /* programs' words come to the helper in order */
    struct sim_program *programs;
};

struct sim_cut {
    uint64_t from, to, until_ns;
};

enum sim_event_type {
    SIM_MESSAGE,
    SIM_TICK,
    SIM_TIMER,
    SIM_WORD, /* of a program or its keeper, to the helper */
    SIM_CONNECT,
    SIM_SUCCESSOR,
    SIM_FAULT,
    SIM_SUSPEND, /* number: the fault; node */
    SIM_HEAL
};

struct sim_event {
    uint64_t at_ns, sequence;
    enum sim_event_type type;
    uint32_t node, slot;
    uint32_t number;   /* connection, timer, fault, or the id of the helper meant */
    uint32_t from, to; /* MESSAGE: nodes; node is the member's, whose connection it takes */
    bool is_now;       /* FAULT: what it waited for has come */
    bool is_alone;     /* MESSAGE: over no connection of a member with its leader */
    struct core_event *word;
    uint8_t *bytes; /* MESSAGE */
    size_t byte_count;
};

struct sim_queue {
    struct sim_event *events; /* a heap by time, then sequence */
    size_t count, capacity;
    uint64_t sequence;
};
void queue_push(struct sim_queue *queue, struct sim_event event);
/* As queue_push, and before what has been pushed for that time since: what has waited keeps its place. */
void queue_push_back(struct sim_queue *queue, struct sim_event event);
struct sim_event queue_pop(struct sim_queue *queue);
void queue_fini(struct sim_queue *queue);

/* What the first has said of an epoch or a view, to be compared. */
struct sim_known {
    uint64_t number, hash;
};

struct sim {
    const struct sim_plan *plan;
    uint64_t chance, now_ns, start_ns;
    uint32_t node_count, active_count, slot_count, rank_count, first_node;
    bool verbose, over, healed;
    struct core_config config;
    struct wire_member *members;
    struct sim_node *nodes;
    struct sim_queue queue;
    struct wire_arena arena;
    uint8_t *scratch;
    size_t scratch_bytes;
    struct sim_cut cuts[SIM_CUTS_MAX];
    uint32_t cut_count;
    uint32_t armed_count, armed[SIM_FAULTS_MAX]; /* faults that wait for a message */
    uint64_t happened_count;                     /* events */
    const char *failure;                         /* what the judge found; NULL: nothing */
    bool slurm_ends;
    bool knows_leader, is_led; /* of helper_leader, helper_is_led */
    uint32_t leader;
    /* The judge's notes. */
    uint32_t node_losses; /* as the leader told them, spares included */
    uint64_t planned_epoch, resumed_epoch, resumed_step;
    uint32_t resumed_count;                 /* ranks that have resumed in it */
    uint64_t complete_epoch, complete_step; /* all ranks have done it: whoever needs it has its gradients */
    uint64_t *committed_epoch, *committer;  /* by rank */
    uint64_t *held_step;                    /* scratch: by rank */
    uint32_t *held_node;
    struct sim_known known_views[SIM_KNOWN_MAX], known_epochs[SIM_KNOWN_MAX];
    uint32_t straggler; /* rank that gradients were last waiting for: a hint */
    bool quorum_lost;   /* more nodes of a view have been off at once than it can lose */
    struct sim_meter *meter;
};

/* ns of CPU to encrypt and send, or to receive and decrypt, one record; 0: OpenSSL will not. */
struct record_cost {
    double send_ns, receive_ns;
};

/* What a world of thousands costs (cost.c). */
struct sim_meter {
    struct record_cost *records; /* of a small one, and of one of 16 KiB */
    uint64_t *busy_ns;           /* by node: until then it is at work */
    struct sim_traffic {
        uint64_t messages_in, messages_out, bytes;
    } * traffic; /* by node */
    uint64_t type_counts[WIRE_TYPE_COUNT];
    double step_ns, record_ns; /* of the leader */
    uint32_t leader;
    uint64_t sent_to_leader;
};
/* When it has left; bytes: with what TLS adds. */
uint64_t meter_on_send(struct sim *sim, uint32_t from, uint32_t to, enum wire_type type, size_t bytes);
void meter_on_arrival(struct sim *sim, uint32_t node, size_t bytes);
void meter_on_step(struct sim *sim, uint32_t node, double step_ns);

/* run.c */
void sim_init(struct sim *sim, const struct sim_plan *plan, bool verbose);
void sim_fini(struct sim *sim);
bool sim_advance(struct sim *sim, uint64_t until_ns); /* one event; false: there is none until then */
void sim_run(struct sim *sim);                        /* until the step is over, or the time, or the judge speaks */
uint64_t sim_random(struct sim *sim, uint64_t bound); /* 0 .. bound - 1 */
uint64_t sim_mix(uint64_t *state);
void sim_post(struct sim *sim, struct sim_event event, uint64_t delay_ns);
void sim_say(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_fail(struct sim *sim, const char *failure);

enum sim_outcome { SIM_ENDED, SIM_GAVE_UP, SIM_NO_QUORUM, SIM_FAILED, SIM_OUTCOME_COUNT };
/* One run; *ret_failure: what the judge said, or NULL. */
enum sim_outcome sim_judge(const struct sim_plan *plan, bool verbose, const char **ret_failure);

/* helper.c */
void helper_begin(struct sim *sim, uint32_t node);
struct core *helper_new_core(struct sim *sim, uint32_t node);
void helper_step(struct sim *sim, uint32_t node, struct core_event event);
void helper_dies(struct sim *sim, uint32_t node); /* and all that runs there */
uint64_t helper_clock(const struct sim *sim, uint32_t node);
uint32_t helper_node(const struct sim *sim, uint32_t id);
uint32_t helper_leader(struct sim *sim); /* node of the newest leader that is on */
bool helper_is_led(struct sim *sim);     /* that one leads the newest view that there is */

/* net.c */
void net_send(struct sim *sim, uint32_t from, const struct core_action *action);
void net_arrive(struct sim *sim, struct sim_event *event);
void net_seek(struct sim *sim, uint32_t node); /* its leader is another one, or its connection has broken */
void net_connect(struct sim *sim, uint32_t node, uint32_t connection);
void net_break(struct sim *sim, uint32_t node);
void net_cut(struct sim *sim, struct sim_cut cut);
uint64_t net_cut_until(const struct sim *sim, uint32_t from, uint32_t to); /* 0: open */
void net_successor_joins(struct sim *sim, uint32_t node, uint32_t dead);
/* The successor that has just asked has its id, and is there for what is sent to it at once. */
void net_welcome(struct sim *sim, uint32_t id);

/* program.c */
void program_on_action(struct sim *sim, uint32_t node, const struct core_action *action);
void program_on_timer(struct sim *sim, uint32_t node, uint32_t slot);
bool program_needs_helper(const struct sim *sim, uint32_t node, uint32_t slot); /* for what its timer is for */
void program_dies(struct sim *sim, uint32_t node, uint32_t slot, uint8_t cause, uint32_t detail);
void program_recovers(struct sim *sim, uint32_t node, uint32_t slot);
struct sim_program *program_of_rank(struct sim *sim, uint32_t rank, uint32_t *ret_node); /* the leader's seat; NULL */

/* fault.c */
void fault_arms(struct sim *sim, uint32_t index); /* its time has come */
void fault_happens(struct sim *sim, uint32_t index);
void fault_suspends(struct sim *sim, uint32_t index, uint32_t node);
void fault_on_message(struct sim *sim, enum wire_type type);
void fault_heal(struct sim *sim);
void fault_print(const struct sim_fault *fault, uint32_t index);

/* check.c: each is called where it might be broken */
void check_plan(struct sim *sim, const struct core_actions *actions);
void check_recovered(struct sim *sim, const struct sim_program *program, const struct core_action *action);
void check_started(struct sim *sim, uint32_t node, uint32_t slot);
void check_commit(struct sim *sim, uint32_t node, uint32_t slot);
void check_finished(struct sim *sim, const struct sim_program *program);
void check_end(struct sim *sim);
void check_view(struct sim *sim, uint32_t node);
void check_epoch(struct sim *sim, uint32_t node, uint64_t epoch);
void check_disturbed(struct sim *sim, const struct core_trace *trace);
void check_over(struct sim *sim); /* at the end of the time */
void check_note_quorum(struct sim *sim);

/* shrink.c */
int shrink_seed(const struct sim_plan *plan);

/* cost.c, record.c */
int cost_report(struct sim_sizes sizes);
struct record_cost record_measure(uint32_t bytes);
double record_now_ns(void); /* without a system call */

#endif
