/*
 * A tiny simulator of one step: real cores, in-order connections with delays, programs that do what a well-written one
 * does, virtual time. Everything follows from one seed.
 *
 *   sim.c          time, helpers
 *   sim_net.c      connections
 *   sim_program.c  what a program does
 *   sim_check.c    the judge: invariants only, changes nothing
 *   random.c       which faults, and the test program
 */
#ifndef CKPTLESS_SIM_H
#define CKPTLESS_SIM_H

#include "include/ckptless.h"
#include "node_helper/core/core.h"
#include "node_helper/wire/wire_helper.h"

#define SIM_NODES_MAX 8u
#define SIM_SLOTS_MAX 4u
#define SIM_RANKS_MAX 16u
#define SIM_MS 1000000ull

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
    uint32_t rank, incarnation;
    uint32_t timer; /* older timers of this slot are void */
    uint64_t step, epoch;
    uint64_t pull_step; /* while it pulls */
    uint32_t pull_count, pull_ranks[SIM_RANKS_MAX];
};

struct sim_node {
    struct core *core; /* NULL: no helper lives here */
    uint32_t id;
    bool off, held, ended;
    bool up; /* its connection to the leader, which is that of node `leader` */
    uint32_t leader, view;
    uint32_t exit_code;
    uint32_t connection; /* counts them: what was sent over an older one is lost */
    uint64_t cut_until_ns, frozen_until_ns, lease_end_ns, tick_ns;
    uint64_t last_ns[2]; /* of the last message to and from the leader */
    struct sim_program programs[SIM_SLOTS_MAX];
};

enum sim_event_type { SIM_MESSAGE, SIM_TICK, SIM_TIMER, SIM_ENDED, SIM_CONNECT, SIM_SUCCESSOR, SIM_FAULT };

struct sim_event {
    uint64_t at_ns, sequence;
    enum sim_event_type type;
    uint32_t node, slot, number; /* number: connection, timer or incarnation */
    uint32_t helper;             /* ENDED: whom it is told */
    uint32_t from, to;           /* MESSAGE: nodes; node is the member's, whose connection it takes */
    bool is_alone;               /* MESSAGE: over no connection of a member with its leader */
    uint8_t cause;
    uint32_t detail;
    uint8_t *bytes; /* MESSAGE */
    size_t byte_count;
};

struct sim {
    uint64_t seed, random, now_ns, sequence;
    uint32_t node_count, active_count, slot_count, rank_count;
    uint32_t first_node; /* see wire_helper.h */
    uint64_t goal;       /* the program's last step */
    uint64_t faults_end_ns;
    uint64_t latency_ns, pause_ns; /* of a message; between faults: at most */
    uint64_t favourite;            /* kind of fault at nodes that comes most often */
    bool verbose, over;
    struct core_config config;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_event *events; /* a heap by time, then sequence */
    size_t event_count, event_capacity;
    uint32_t node_losses; /* as the leader told them, spares included */
    const char *failure;  /* what the judge found; NULL: nothing */
    /* the judge's notes */
    uint64_t planned_epoch, resumed_epoch, resumed_step;
    uint64_t committed_epoch[SIM_RANKS_MAX];
    uint64_t committer[SIM_RANKS_MAX];
    bool slurm_ends;
    bool quorum_lost; /* more nodes of a view have been off at once than it can lose */
};

/* sim.c */
void sim_init(struct sim *sim, uint64_t seed, bool verbose);
void sim_fini(struct sim *sim);
uint64_t sim_random(struct sim *sim, uint64_t bound); /* 0 .. bound - 1 */
void sim_post(struct sim *sim, struct sim_event event, uint64_t delay_ns);
uint32_t sim_leader(const struct sim *sim); /* node of the newest leader that is on */
uint32_t sim_node_of(const struct sim *sim, uint32_t helper);
bool sim_is_led(const struct sim *sim);           /* that one leads the newest view that there is */
void sim_run(struct sim *sim, uint64_t until_ns); /* until the step is over, or the time, or the judge speaks */
void sim_core(struct sim *sim, uint32_t node, struct core_event event);
void sim_break(struct sim *sim, uint32_t node); /* the connection of a node; it is made again soon */
void sim_off(struct sim *sim, uint32_t node);
void sim_helper_dies(struct sim *sim, uint32_t node, bool successor);
void sim_say(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct core *sim_new_core(struct sim *sim, uint32_t node);

/* sim_net.c */
void net_send(struct sim *sim, uint32_t from, const struct core_action *action);
void net_arrive(struct sim *sim, struct sim_event *event);
void net_seek(struct sim *sim, uint32_t node); /* its leader is another one, or its connection has broken */
void net_connect(struct sim *sim, uint32_t node, uint32_t connection);
void net_successor_joins(struct sim *sim, uint32_t node, uint32_t dead);
/* The successor that has just asked has its id, and is there for what is sent to it at once. */
void net_welcome(struct sim *sim, uint32_t id);

/* sim_program.c */
void program_on_action(struct sim *sim, uint32_t node, const struct core_action *action, const uint32_t *ranks);
void program_on_timer(struct sim *sim, uint32_t node, uint32_t slot);
void program_dies(struct sim *sim, uint32_t node, uint32_t slot, uint8_t cause, uint32_t detail);
void program_recovers(struct sim *sim, uint32_t node, uint32_t slot);
struct sim_program *program_of_rank(struct sim *sim, uint32_t rank, uint32_t *ret_node); /* the leader's seat; NULL */

/* sim_check.c */
void check_plan(struct sim *sim, const struct core_actions *actions);
void check_recovered(struct sim *sim, const struct sim_program *program, const struct core_action *action);
void check_commit(struct sim *sim, uint32_t node, uint32_t slot);
void check_finished(struct sim *sim, const struct sim_program *program);
void check_end(struct sim *sim);
void check_over(struct sim *sim); /* at the end of the time: the step must be */

/* random.c */
void fault_happens(struct sim *sim);

#endif
