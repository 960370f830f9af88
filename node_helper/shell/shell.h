/*
 * The one object of ckptlessd, and what its files are to each other. Everything runs on the event base's thread; other
 * threads (PMIx, the state plane, bells) hand over through descriptors.
 *
 *   main.c      reads what the keeper wrote, builds the parts, runs the loop, takes them down
 *   step.c      events into the core, its actions out of it, its deadline
 *   act.c       what each action means here
 *   rollcall.c  ckptless-launch: HELLO and ROSTER, then (leader) reports, pings and the result
 *   peers.c     connections between helpers: a star around the leader
 *   visits.c    ... and those between others, to agree on a view
 *   unsaid.c    reports without a way out
 *   keepers.c   the keepers' socket
 *   slots.c     a slot's program: page, bell, start, end
 *   verdict.c   how a program ended: by itself, by a fault, or by Slurm
 *   rpc.c       what programs ask through PMIx, and the answers
 *   gather.c    all-gathers among nodes
 *   exchange.c  ckptless_exchange
 *   fence.c     PMIx_Fence
 *   stays.c     programs without the library that survive the loss of others
 *   tables.c    region tables at the leader: mismatches, ckptless_region_bytes
 *   pulls.c     the state plane
 *   shrink.c    lost nodes leave the job
 */
#ifndef CKPTLESS_SHELL_SHELL_H
#define CKPTLESS_SHELL_SHELL_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/ckptless.h"
#include "node_helper/core/core.h"
#include "node_helper/net/net.h"
#include "node_helper/shell/bell.h"
#include "node_helper/shell/log.h"
#include "node_helper/shell/memory.h"
#include "node_helper/shell/page.h"
#include "node_helper/shell/table.h"
#include "node_helper/shell/world.h"
#include "node_helper/wire/wire_helper.h"
#include "node_helper/wire/wire_launch.h"
#include "node_helper/wire/wire_rpc.h"
#include "node_helper/wire/wire_settings.h"
#include "pmix_glue/server/pmixsrv.h"
#include "state_plane/plane.h"

#define SHELL_EXIT_CODE 93 /* of a step that ckptless ends, and of a helper that cannot do its part */

struct keeper; /* a keeper's connection, keepers.c */

/* A pull that waits for the address of a holder's fabric. */
struct slot_pull {
    uint8_t token[16];
    uint64_t step, until_ns;
    uint32_t rank_count;
    uint32_t *ranks; /* holders, in the order to try */
    struct event *retry;
};

struct slot {
    struct shell *shell;
    struct keeper *keeper; /* NULL: not connected */
    bool keeper_gone;      /* it was, and no other comes */
    pid_t keeper_pid;
    bool keeper_is_second; /* Slurm's signals reach the program first */
    uint32_t moments;      /* how often the verdict has waited for slurmstepd */
    uint32_t serial;       /* incarnation of the program that the core wants; 0: none yet */
    uint32_t rank;         /* at its START: the program's first rank; WIRE_NONE: parked */
    bool start_waits;      /* START is to be sent as soon as keeper and PMIx are there */
    bool running;          /* START was sent, EXITED has not come */
    bool ended;            /* the core knows that `serial` has ended, or wants to hear nothing of it */
    bool attached;         /* called ckptless_init */
    bool stays;            /* has no library, and has said that it survives the loss of others */
    bool finalized;        /* the program has taken leave of PMIx: losing its connection means nothing */
    pid_t pid;             /* root of the rank's tree; 0: not known */
    pid_t attached_pid;    /* who called ckptless_init, by its own word */
    pid_t holder;          /* the process in it that called ckptless_init and holds the regions; 0: not known */
    struct memory_watch memory;
    int status; /* of the last program that ended, as of waitpid(2) */
    bool end_sent;
    uint32_t pmix_rank, pmix_serial;
    struct page *page;
    struct bell *bell;
    struct event *probe; /* looks again after a ring, or after a lost PMIx connection */
    uint32_t probe_ms;
    bool disconnected;
    struct event *verdict; /* pending: how the program ended (`end_status`) is known, and is told a little later */
    int end_status;        /* as of waitpid(2); VERDICT_UNKNOWN: its keeper is gone */
    uint64_t signalled;    /* bit N - 1: Slurm has sent the program signal N */

    void *reply; /* of the call that the program blocks in; NULL: none */
    enum wire_rpc_type call;
    struct wire_region asked; /* REGION_BYTES */
    struct table table;       /* of its last recover */
    bool table_sent;          /* to this leader, over this connection */
    struct slot_pull *pull;   /* NULL: none waits */
    uint32_t pull_id;         /* under way; 0: none */
};

/* What is known of a node: its last helper. */
struct node {
    struct wire_member member;        /* strings included */
    struct net_peer *peer;            /* leader: the connection of this node's helper; NULL: none */
    struct net_peer *visit, *visitor; /* visits.c: made by us, by it; NULL: none */
    uint32_t fabric_helper;           /* whose address this is; WIRE_NONE: none known */
    uint32_t fabric_bytes;
    uint8_t fabric[WIRE_FABRIC_ADDRESS_BYTES];
    bool was_silent, helper_died; /* leader: a loss of its own finding */
    bool knows_end;               /* leader: its helper has said ENDED */
};

struct exchange; /* exchange.c */
struct unsaid;   /* unsaid.c */
struct gather;   /* gather.c */
struct tables;   /* tables.c */
struct shrink;   /* shrink.c */
struct orphan;   /* orphan.c */
struct stays;    /* stays.c */

struct shell {
    struct wire_launch launch;
    uint8_t secret[WIRE_SECRET_BYTES]; /* of the step, until the connections have it */
    uint64_t token_seed;               /* derived from it, like the next */
    char pmix_tag[33]; /* hex; part of the names of the step's PMIx namespaces, which strangers cannot guess */
    struct wire_settings settings;
    struct event_base *base;
    struct event *deadline;     /* the core's */
    struct event *launch_limit; /* for the roll call */
    struct event *unheard;      /* the launcher has not been reached for most of that time */
    char launcher_why[128];     /* how the last try ended; "": has not ended */
    struct event *stepd_gone;
    int stepd_fd;

    struct core *core; /* NULL until the roster is there */
    bool in_step;
    uint32_t deferred_count;
    struct core_event deferred[64];

    uint32_t node_count, active_nodes;
    uint32_t first_node; /* see wire_helper.h */
    struct node *nodes;  /* by node index; NULL until the roster is there */
    const char **hosts;  /* by node index: points into nodes */
    struct world world;  /* of the core's epoch */
    bool has_world;
    char said_master[WIRE_NAME_BYTES]; /* leader: what has replaced the user's MASTER_ADDR, as the user was told last */

    struct net *net;
    uint16_t port;
    struct net_peer *launcher, *leader; /* connections under way or up; NULL: none */
    bool launcher_is_up, leader_is_up;
    bool leader_answers;   /* something has come over this connection: it has taken our JOIN */
    bool leader_is_new;    /* and has not been told what this helper waits for */
    uint32_t leader_id;    /* whom `leader` is, or is to be, connected to */
    struct unsaid *unsaid; /* list, oldest first */
    uint32_t unsaid_count;
    struct event *reconnect;
    uint32_t reconnect_ms;
    struct event *ping;
    uint64_t launcher_heard_ns; /* leader: when the last message came from it */
    struct wire_arena arena;
    struct net_peer *joining; /* leader: a successor asks to join, within one core_step */
    struct wire_hello join_hello;

    int keeper_listen_fd;
    struct event *keeper_listen;
    struct event *keeper_retry; /* the name is still taken by a helper that is dying */
    uint32_t keeper_retries;
    struct keeper *keepers;
    uint32_t keepers_up;

    uint32_t slot_count;
    struct slot *slots;
    uint64_t lease_end_ns;
    int ring_read_fd, ring_write_fd;
    struct event *ring;

    struct pmixsrv *pmix;
    bool pmix_is_open;
    char pmix_directory[128], session_directory[128];
    struct event *pmix_ready;

    struct plane *plane;
    struct event *plane_ready, *plane_open;
    bool plane_open_is_due;
    uint32_t next_pull_id;

    struct exchange *exchange;
    struct gather *gathers; /* list */
    struct tables *tables;
    struct stays *stays;
    struct shrink *shrink; /* leader; NULL: no node was lost */
    struct orphan *orphan; /* leader; NULL: there is an srun, as far as is known */

    bool is_over; /* END has come: nothing is started any more */
    bool end_kills, end_has_killed;
    bool has_result;             /* leader: for ckptless-launch */
    struct event *farewell_wait; /* leader: for members to say ENDED, since */
    uint64_t farewell_began_ns;
    bool is_leaving;
    uint32_t end_code;
    struct wire_usage usage;   /* leader: of the ranks that have called finish in this epoch */
    bool task_ended_otherwise; /* than its ranks; leader: also a task of another node. See result.c */
    uint64_t began_ns;
    struct event *farewell;
    struct event *give_up; /* this helper cannot do its part, and its word is on its way */
    int exit_code;
};

/* main.c */
uint64_t shell_now_ns(void);
static inline uint32_t shell_node_of(const struct shell *shell, uint32_t helper) {
    return wire_helper_node(helper, shell->node_count, shell->first_node);
}
/* The helper's part is over: sends what is queued, ends the loop. */
void shell_leave(struct shell *shell, int exit_code);
/* Ends all keepers with this code, and then the helper. reason: for the log. */
void shell_end_with(struct shell *shell, const char *reason, uint32_t exit_code);
/* Ends all keepers (with 93; those of a spare, which nobody misses, with 0), and then the helper. reason: for the log.
 */
void shell_abandon(struct shell *shell, const char *reason);
/* As shell_abandon, after one line for the user. */
void shell_give_up(struct shell *shell, const char *reason);
/* A timer or descriptor event of the base; NULL only when memory is out, which ends the process. */
struct event *shell_event_new(struct shell *shell, int fd, short what, event_callback_fn fn, void *arg);
void shell_timer_ms(struct event *timer, uint64_t ms);

/* step.c */
void shell_event(struct shell *shell, struct core_event *event); /* fills in now_ns; deferred inside a step */
void step_begin(struct shell *shell);                            /* the core exists: first tick */

/* act.c */
void act_all(struct shell *shell, struct core_actions actions);
void act_check_end(struct shell *shell); /* after an END: tells the keepers whose programs have ended */

/* rollcall.c */
bool rollcall_begin(struct shell *shell);
void rollcall_on_open(struct shell *shell);
void rollcall_on_frame(struct shell *shell, const struct wire_message *message);
void rollcall_on_close(struct shell *shell, const char *why);
void rollcall_report(struct shell *shell, const struct core_trace *trace);
void rollcall_warn(struct shell *shell, const char *text);                    /* about this node; any helper */
void rollcall_forward(struct shell *shell, const struct wire_report *report); /* leader: a member's */
void rollcall_say_unsaid(struct shell *shell);                                /* there is a way out again */
void rollcall_lead(struct shell *shell);                                      /* this helper leads, from now on */
/* roster or WELCOME: makes the core and everything that needs to know the world. */
bool rollcall_take_roster(struct shell *shell, const struct wire_roster *roster);

/* farewell.c */
void farewell_tell_leader(struct shell *shell); /* END has come, or there is a connection to a leader again */
void farewell_on_ended(struct shell *shell, uint32_t node); /* leader */
bool farewell_waits(struct shell *shell); /* leader: somebody does not know yet that the step is over */

/* result.c */
bool result_is_lost(const struct shell *shell, uint32_t node);             /* leader: with what Slurm runs there */
void result_on_trace(struct shell *shell, const struct core_trace *trace); /* leader */
void result_on_end(struct shell *shell, uint8_t cause);                    /* of a program of this node */
void result_tell_leader(struct shell *shell);                              /* it is another one, or connected again */
void result_is(struct shell *shell, uint32_t exit_code);                   /* leader: known now */
void result_say(struct shell *shell);                                      /* leader: there is a way out again */

/* orphan.c */
void orphan_check(struct shell *shell);           /* leader: now and then */
bool orphan_is_likely(const struct shell *shell); /* leader: srun's node is lost, and it has not answered for a while */
void orphan_srun_answers(struct shell *shell);    /* leader */
bool orphan_is_srun(const struct shell *shell, uint32_t node); /* srun runs there */
void orphan_report(struct shell *shell, const struct wire_report *report);
bool orphan_holds_end(struct shell *shell); /* the keepers must not end yet: the job is being completed */
void orphan_fini(struct shell *shell);

/* peers.c */
bool peers_init(struct shell *shell);
/* Closes all connections once what is queued has left; true: one is still open. */
bool peers_close_all(struct shell *shell);
bool peers_any_open(const struct shell *shell);
void peers_fini(struct shell *shell);
void peers_connect_leader(struct shell *shell);          /* to leader_id */
void peers_follow(struct shell *shell, uint32_t leader); /* the core's leader is another one now; oneself too */
void peers_send(struct shell *shell, struct net_peer *peer, const struct wire_message *message);
/* To a helper by id; dropped when it is not connected (its reconnection makes the core say it again). */
void peers_send_id(struct shell *shell, uint32_t id, const struct wire_message *message);
/* Leader: to all that are connected; member: to the leader. `from` and `epoch` are filled in. */
void peers_send_up(struct shell *shell, struct wire_message *message);
void peers_send_down(struct shell *shell, struct wire_message *message);
void peers_stamp(struct shell *shell, struct wire_message *message); /* from, epoch */

/* join.c */
void join_when_ready(struct shell *shell); /* the connection to the leader is up; successor: all keepers are here */
/* First message of a connection to the leader. */
void join_on_join(struct shell *shell, struct net_peer *peer, const struct wire_message *message);
void join_welcome(struct shell *shell, uint32_t id); /* the successor that asks to join gets this id */
void join_refuse(struct shell *shell, const char *text);
void join_on_welcome(struct shell *shell, const struct wire_message *message);
void join_on_roster(struct shell *shell, const struct wire_roster *roster); /* the leader has welcomed somebody */

/* visits.c. The on_ functions: false: not theirs. */
void visits_send(struct shell *shell, uint32_t id,
                 const struct wire_message *message); /* drops what is not about views */
bool visits_on_first(struct shell *shell, struct net_peer *peer, const struct wire_message *message);
bool visits_on_frame(struct shell *shell, struct net_peer *peer, const struct wire_message *message);
bool visits_on_close(struct shell *shell, struct net_peer *peer);
bool visits_any(const struct shell *shell);
void visits_close(struct shell *shell); /* those made by us */

/* unsaid.c */
void unsaid_keep(struct shell *shell, const struct wire_report *report);
void unsaid_say(struct shell *shell, void (*say)(struct shell *shell, const struct wire_report *report));
void unsaid_fini(struct shell *shell);

/* keepers.c */
bool keepers_init(struct shell *shell);
void keepers_fini(struct shell *shell);
bool keepers_send(struct shell *shell, struct slot *slot, struct wire_keeper_message *message, int fd);

/* slots.c */
bool slots_init(struct shell *shell);
void slots_fini(struct shell *shell);
void slots_start(struct shell *shell, const struct core_action *action);
void slots_kill(struct shell *shell, uint32_t slot);
void slots_start_waiting(struct shell *shell);
void slots_on_started(struct shell *shell, struct slot *slot, const struct wire_keeper_message *message);
void slots_on_exited(struct shell *shell, struct slot *slot, const struct wire_keeper_message *message);
void slots_on_keeper_gone(struct shell *shell, struct slot *slot);
void slots_on_disconnected(struct shell *shell, struct slot *slot);
void slots_abort(struct shell *shell, struct slot *slot, int code);           /* PMIx_Abort() */
void slots_ask_end(struct shell *shell, struct slot *slot, const char *text); /* ckptless_fail() */
/* The core is told, once a program, how it ended. */
void slots_report_ended(struct shell *shell, struct slot *slot, uint8_t cause, uint32_t detail, const char *text);
/* Its program has ended, or is about to: how, is told soon. */
bool slots_is_ending(struct slot *slot);
void slots_promoted(struct shell *shell, struct slot *slot); /* the parked program has a rank */
/* The process `pid` has called ckptless_init. */
void slots_attach(struct slot *slot, pid_t pid);
/* Whose memory and whose end count: the holder, else the root of the tree; 0: none. */
pid_t slots_holder(const struct slot *slot);
void slots_set_lease(struct shell *shell, uint64_t until_ns);
uint32_t slots_index(const struct shell *shell, const struct slot *slot);
struct slot *slots_by_pmix(struct shell *shell, uint32_t pmix_rank, uint32_t pmix_serial);

/* verdict.c */
#define VERDICT_UNKNOWN (-1)
void verdict_init(struct slot *slot);
void verdict_fini(struct slot *slot);
void verdict_reset(struct slot *slot); /* another program */
/* The program has ended as `status` says. is_final: by the keeper's word; else seen, and the keeper's may be better. */
void verdict_on_end(struct slot *slot, int status, bool is_final);
void verdict_on_signal(struct slot *slot, int number); /* Slurm has sent it */
void verdict_on_keeper_gone(struct slot *slot);

/* rpc.c */
bool rpc_init(struct shell *shell); /* needs the roster */
void rpc_fini(struct shell *shell);
void rpc_enter_world(struct shell *shell); /* an epoch has begun, or the PMIx server has come up in it */
void rpc_on_request(struct shell *shell, struct slot *slot, const struct pmixsrv_event *event);
/* Answers the call that the slot's program blocks in, if it is this one. */
void rpc_answer(struct shell *shell, struct slot *slot, enum wire_rpc_type call, struct wire_rpc_answer *answer);
void rpc_answer_result(struct shell *shell, struct slot *slot, enum wire_rpc_type call, uint32_t result,
                       const char *text);
/* ... with the world of the slot's rank. */
void rpc_answer_world(struct shell *shell, struct slot *slot, enum wire_rpc_type call, uint32_t result, uint64_t step);
void rpc_promoted(struct shell *shell, struct slot *slot);
/* The slot's program is gone: its call needs no answer any more. */
void rpc_forget(struct shell *shell, struct slot *slot);

/* exchange.c */
bool exchange_init(struct shell *shell);
void exchange_fini(struct shell *shell);
void exchange_reset(struct shell *shell); /* a new epoch */
void exchange_contribute(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request);

/* gather.c */
struct gather_part {
    uint64_t key;          /* of what is gathered for */
    const uint32_t *nodes; /* that take part, ascending, this one included */
    uint32_t node_count;
    const uint8_t *data; /* this node's part */
    size_t bytes;        /* <= WIRE_GATHER_BYTES_MAX / node_count, so that all fit into one message */
};
/* data: all nodes' parts, joined in the order of the nodes; borrowed. NULL: the epoch has ended first. */
typedef void gather_done_fn(struct shell *shell, void *arg, const uint8_t *data, size_t bytes);
/* part is copied; done is called once. False: it is not begun: no memory, too large, or one of this key is under way.
 */
bool gather_begin(struct shell *shell, const struct gather_part *part, gather_done_fn *done, void *arg);
void gather_on_part(struct shell *shell, const struct wire_message *message);
void gather_on_answer(struct shell *shell, const struct wire_message *message);
void gather_say_again(struct shell *shell); /* the connection to the leader is a new one */
void gather_lead(struct shell *shell);      /* this helper leads from now on */
bool gather_is_waiting(const struct shell *shell);
void gather_reset(struct shell *shell); /* a new epoch, or the end */

/* fence.c */
void fence_begin(struct shell *shell, const struct pmixsrv_event *event);

/* stays.c */
bool stays_init(struct shell *shell);
void stays_fini(struct shell *shell);
/* PMIXSRV_EVENT_STAYS of a slot's program; answers it. */
void stays_on_said(struct shell *shell, struct slot *slot, void *reply);
/* The world's number, as these programs know it: it grows with each loss. */
uint32_t stays_world(const struct shell *shell);
void stays_enter_epoch(struct shell *shell); /* tells own programs who is lost */
void stays_on_present(struct shell *shell, uint32_t rank, uint32_t incarnation);

/* tables.c */
bool tables_init(struct shell *shell);
void tables_fini(struct shell *shell);
void tables_reset(struct shell *shell); /* a new epoch */
void tables_send(struct shell *shell, struct slot *slot);
void tables_on_table(struct shell *shell, const struct wire_message *message);
void tables_on_arrived(struct shell *shell, uint32_t rank, bool has_state);
void tables_on_committed(struct shell *shell, uint32_t rank); /* it holds state */
void tables_lead(struct shell *shell);                        /* this helper leads from now on */
void tables_ask_again(struct shell *shell);                   /* the connection to the leader is a new one */
void tables_on_query(struct shell *shell, const struct wire_message *message);
void tables_on_answer(struct shell *shell, const struct wire_message *message);
void tables_ask(struct shell *shell, struct slot *slot, const struct wire_rpc_region *region);
bool tables_diff(struct shell *shell, uint32_t rank_a, uint32_t rank_b, char *ret_line, size_t capacity);

/* pulls.c */
bool pulls_init(struct shell *shell);
bool pulls_fini(struct shell *shell); /* false: as plane_destroy */
/* An epoch has begun: the fabric is opened, off the launch's way. */
void pulls_open_soon(struct shell *shell);
void pulls_send_address(struct shell *shell);                      /* own, to the leader or (leader) to all */
void pulls_send_known(struct shell *shell, struct net_peer *peer); /* leader: all, to one that has come */
void pulls_on_address(struct shell *shell, const struct wire_message *message);
void pulls_serve(struct shell *shell, const struct core_action *action);
void pulls_unserve(struct shell *shell);
void pulls_start(struct shell *shell, const struct core_action *action);
void pulls_cancel(struct shell *shell, uint32_t slot);

/* usage.c */
struct report_usage;
void usage_reset(struct shell *shell); /* a new epoch */
void usage_on_finish(struct shell *shell, const struct slot *slot);
void usage_add(struct shell *shell, const struct wire_usage *usage); /* leader */
void usage_fill(const struct shell *shell, struct report_usage *ret_usage);

/* shrink.c */
/* Leader, after the trace has been noted: a lost node leaves the job soon. */
void shrink_on_trace(struct shell *shell, const struct core_trace *trace);
void shrink_lead(struct shell *shell); /* this helper leads, from now on */
void shrink_fini(struct shell *shell); /* a run under way is soon cut short */

#endif
