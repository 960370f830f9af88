/*
 * Every message between helpers, and between a helper and ckptless-launch, as a plain struct; wire_message_encode and
 * _decode turn it into a frame body and back. A frame on a connection is u32 length (of the body), then the body:
 * u8 version, u8 type, u32 from, u64 epoch, then the type's own fields. Pure; fuzzed; no bound can be exceeded.
 *
 * Arrays inside a message are borrowed: by encode from the caller, by decode from the reader's arena (struct
 * wire_arena), until the next decode into the same arena.
 */
#ifndef CKPTLESS_WIRE_MESSAGE_H
#define CKPTLESS_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1u
#define WIRE_FRAME_BYTES_MAX (64u << 20) /* body; after authentication. Before it: WIRE_HELLO_BYTES_MAX */
#define WIRE_HELLO_BYTES_MAX 65536u
#define WIRE_NODES_MAX 8192u
#define WIRE_SLOTS_PER_NODE_MAX 1024u
#define WIRE_RANKS_MAX (1u << 20)
#define WIRE_NAME_BYTES 256u     /* host names, addresses; with the NUL */
#define WIRE_TEXT_BYTES 1024u    /* reasons, lines; with the NUL */
#define WIRE_REGIONS_MAX 4096u   /* of one rank */
#define WIRE_REGION_NAME_BYTES 64u
#define WIRE_FABRIC_ADDRESS_BYTES 512u
#define WIRE_EXCHANGE_BYTES_MAX 65536u     /* of one rank */
#define WIRE_GATHER_BYTES_MAX (48u << 20) /* of one node; of all */

#define WIRE_NONE UINT32_MAX      /* no helper, rank, slot, node */
#define WIRE_NOT_FOLLOWING UINT64_MAX
#define WIRE_LAUNCHER (UINT32_MAX - 1) /* `from` of ckptless-launch */

/* Epoch = (view, counter), packed: compares as a number, newer is greater. 0: before the first. */
static inline uint64_t wire_epoch_pack(uint32_t view, uint32_t counter) {
    return (uint64_t)view << 32 | counter;
}

enum wire_type {
    /* roll call: helper <-> ckptless-launch */
    WIRE_HELLO = 1, /* helper -> launcher, first message */
    WIRE_ROSTER,    /* launcher -> helper: everybody is there */
    WIRE_REFUSE,    /* launcher or leader -> helper: end the step's part here; text says why */
    WIRE_REPORT,    /* leader -> launcher, member -> leader: a line for the user and its JSON object */
    WIRE_RESULT,    /* leader -> launcher: the step's exit code (END was decided) */
    WIRE_PING,      /* leader -> launcher: the leader's node lives */
    /* helper <-> helper */
    WIRE_JOIN,      /* member -> leader, first message on a connection */
    WIRE_WELCOME,   /* leader -> a successor: its new id and the roster */
    WIRE_HEARTBEAT, /* member -> leader */
    WIRE_HEARTBEAT_ACK,
    WIRE_LOSS,      /* member -> leader: a rank of mine has ended */
    WIRE_STOP,      /* leader -> all: epoch e begins: who is where */
    WIRE_ARRIVED,   /* member -> leader: ranks of mine stand in recover */
    WIRE_PLAN,      /* leader -> all: resume step and pulls */
    WIRE_READY,     /* member -> leader: a rank of mine holds the state of the resume step */
    WIRE_GO,        /* leader -> all */
    WIRE_RELOADED,  /* member -> leader: a rank of mine has loaded its state */
    WIRE_RELOAD_RESULT, /* leader -> all */
    WIRE_COMMITTED, /* member -> leader: first commits of ranks in this epoch */
    WIRE_FINISHED,  /* member -> leader: a rank of mine has called finish */
    WIRE_END,       /* leader -> all: the step ends */
    WIRE_WARM,      /* leader -> members with parked slots: start the parked programs */
    WIRE_ATTACHED,  /* member -> leader: a rank or parked slot of mine has called ckptless_init */
    WIRE_ENDING,    /* member -> leader: Slurm is ending the step (a keeper got TERM): no more recoveries */
    WIRE_EVICTED,   /* leader -> a helper that is no longer in: kill your ranks */
    /* bulk, between the shells: never seen by the core */
    WIRE_TABLE,     /* member -> leader: the regions of a rank */
    WIRE_REGION_QUERY, /* member -> leader: what do the holders have under this name? */
    WIRE_REGION_ANSWER,
    WIRE_ADDRESS,   /* both ways: the fabric address of a helper */
    WIRE_GATHER,    /* member -> leader: one node's part of an all-gather */
    WIRE_GATHERED,  /* leader -> the nodes that take part: everybody's */
    /* of the core again */
    WIRE_STAYS,     /* member -> leader: a rank of mine has said through PMIx that it survives the loss of others */
    WIRE_PRESENT,   /* leader -> all: the replacement of a rank that was lost has said so */
    /* agreement on the next view: any member <-> any member */
    WIRE_VIEW_PREPARE,
    WIRE_VIEW_PROMISE,
    WIRE_VIEW_ACCEPT,
    WIRE_VIEW_ACCEPTED,
    WIRE_VIEW_REFUSE,
    WIRE_VIEW_DECIDED,
    WIRE_SLOT,  /* member -> a new leader: what there is in a slot */
    WIRE_VISIT, /* first message between two helpers of which neither leads the other */
    WIRE_DEAD,  /* in the name of a helper that is dead, and its ranks with it: its successor, to the others */
    WIRE_USAGE, /* member -> leader: what a rank of mine that calls finish has had of the library; shells only */
    WIRE_UNSETTLED, /* member -> a new leader: it waits for something that is gone with the one before; shells only */
    WIRE_OTHERWISE, /* member -> leader, also each new one: a task of mine has ended otherwise than its ranks; shells only */
    WIRE_ENDED, /* member -> leader, also each new one: END is known here; shells only */
    WIRE_TYPE_COUNT
};

/* Why a rank, slot or node was lost. */
enum wire_cause {
    WIRE_CAUSE_NONE = 0,
    WIRE_CAUSE_SIGNAL,      /* detail: signal number */
    WIRE_CAUSE_EXIT,        /* detail: exit code */
    WIRE_CAUSE_VANISHED,    /* the process is gone, its status not known yet */
    WIRE_CAUSE_ASKED,       /* ckptless_fail(); text has the reason */
    WIRE_CAUSE_DISCONNECTED,/* the program closed the library's descriptors */
    WIRE_CAUSE_SILENT,      /* node: no heartbeat; detail: ms */
    WIRE_CAUSE_HELPER_DIED, /* node: its helper died, a successor says so */
    WIRE_CAUSE_LATE,        /* did not come to recover within the grace time; detail: ms */
    WIRE_CAUSE_PULL_FAILED, /* no source could give it the state */
    WIRE_CAUSE_RECOVER,     /* called recover and no loss was found: a new epoch is begun for it */
    WIRE_CAUSE_ABORTED,     /* called PMIx_Abort, for all; detail: exit code, not 0 */
    WIRE_CAUSE_SIGNALLED,   /* by a signal that Slurm has sent; detail: its number */
    WIRE_CAUSE_MEMORY,      /* killed by the kernel for want of memory; detail: signal number */
    WIRE_CAUSE_KEEPER_DIED, /* what starts and ends it: its slot is of no use any more */
    WIRE_CAUSE_COUNT
};

struct wire_member {
    uint32_t id;         /* of the helper */
    uint32_t node;       /* index among the step's nodes (SLURM_NODEID) */
    uint32_t slot_count; /* ranks it can hold */
    uint16_t port;       /* its helper's TCP port */
    char host[WIRE_NAME_BYTES];    /* Slurm's name of the node */
    char address[WIRE_NAME_BYTES]; /* numeric IP */
};

struct wire_hello {       /* also JOIN, VISIT */
    uint32_t node, node_count; /* the step's */
    uint32_t slot_count;
    uint32_t spare_nodes;
    uint32_t predecessor;  /* JOIN: id of the helper of this node that has died, and its ranks with it; else WIRE_NONE */
    uint16_t port;
    char host[WIRE_NAME_BYTES];
    char version[32];      /* package version: must be equal on all nodes */
};

struct wire_roster { /* ROSTER (from the leader: as it is now), WELCOME */
    uint32_t your_id;
    uint32_t member_count;
    const struct wire_member *members; /* WELCOME: as they are now, the receiver included */
    uint32_t active_nodes; /* the world was laid out over nodes 0 .. active_nodes - 1 */
    uint32_t leader;       /* id of the helper that leads, as far as the sender knows */
};

struct wire_usage {
    uint64_t commits, library_ns;
};

struct wire_report {
    const char *line; /* what the user sees, without "ckptless: "; "" for none */
    const char *json; /* one object; "" for none */
};

struct wire_heartbeat {
    uint64_t sent_ns;   /* sender's clock; the answer echoes it */
    uint64_t lease_ns;  /* answer: how long after sent_ns the lease ends */
    uint64_t leader_ns; /* answer: the leader's clock; heartbeat: that of the last answer which has bound the sender to the
                           leader, 0: none yet, WIRE_NOT_FOLLOWING: it has promised itself to another proposer */
};

struct wire_loss {
    uint32_t rank, incarnation;
    uint8_t cause;  /* enum wire_cause */
    uint32_t detail;
    bool attached;  /* the process had called ckptless_init */
    char text[WIRE_TEXT_BYTES]; /* reason given by the program, or "" */
};

/* Where one rank lives in an epoch. A slot whose running incarnation differs kills it and starts this one. */
struct wire_seat {
    uint32_t helper, slot;
    uint32_t incarnation; /* serial of the process within the slot; grows */
    uint32_t starts;      /* how often this rank has been started before, as users see it */
};

struct wire_stop {
    uint32_t ordinal;    /* of the epoch, as users see it */
    uint32_t generation; /* how often all programs have been started again together */
    uint32_t rank_count;
    uint64_t base;       /* the seats are those of this epoch (0: of the first start), or of a later one, but for these: */
    uint32_t changed_count;
    const uint32_t *changed;       /* ranks, ascending */
    const struct wire_seat *seats; /* theirs */
    uint32_t member_count;         /* the view; 0: as in the last epoch that the receiver knows */
    const uint32_t *members;       /* helper ids, ascending */
    bool committed_once;           /* a rank has committed a step, in this epoch or before */
    uint32_t restarts;             /* recoveries in a row without progress */
};

struct wire_arrived { /* one rank's */
    uint32_t rank, incarnation;
    bool has_state;
    bool is_out_of_reach; /* its helper cannot give the state to other nodes */
    uint64_t step;       /* when has_state */
    uint64_t layout[2];  /* XXH3-128 of the rank's region table (names, shards, sizes, sorted) */
};

struct wire_arrivals { /* of ranks of one node */
    uint32_t count;
    const struct wire_arrived *list;
};

enum wire_plan_kind { WIRE_PLAN_RESUME = 1, WIRE_PLAN_RELOAD, WIRE_PLAN_REGION_MISMATCH };

struct wire_plan {
    uint8_t kind;
    uint64_t step;
    uint8_t token[16]; /* who shows it may read the holders' memory in this epoch */
    uint32_t rank_a, rank_b; /* REGION_MISMATCH: two ranks that differ */
    uint32_t source_count;
    const uint32_t *sources; /* ranks that hold the state of `step`, ascending */
    uint32_t puller_count;
    const uint32_t *pullers; /* ranks that must pull, ascending */
};

struct wire_commits { /* of ranks of one node */
    uint32_t count;
    const struct wire_commit {
        uint32_t rank, incarnation;
    } *list;
};

struct wire_rank_step { /* READY, RELOADED, FINISHED, STAYS, PRESENT: rank and incarnation; ATTACHED: rank or WIRE_NONE */
    uint32_t rank, incarnation;
    uint64_t step;
    uint64_t bytes;   /* READY: pulled */
    uint32_t slot;    /* ATTACHED of a parked slot */
};

struct wire_reload_result {
    bool ok;
    uint64_t step;
    uint32_t rank_a, rank_b; /* not ok: two ranks that differ */
    uint64_t step_a, step_b;
};

struct wire_end {
    uint32_t exit_code;
    bool kill;        /* the programs do not end by themselves: kill them */
    char text[WIRE_TEXT_BYTES];
};

struct wire_region {
    char name[WIRE_REGION_NAME_BYTES];
    uint32_t shard;
    uint64_t bytes;
};

struct wire_table {
    uint32_t rank;
    uint32_t region_count;
    const struct wire_region *regions;
};

struct wire_region_query { /* and ANSWER */
    uint32_t token; /* the asker's */
    bool found;
    struct wire_region region;
};

struct wire_address {
    uint32_t helper;
    uint32_t bytes;
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
};

struct wire_gather { /* and GATHERED, without nodes */
    uint64_t key;      /* what is gathered for: the world's exchanges, or a PMIx fence of certain ranks */
    uint32_t sequence; /* counts gathers of this key within the epoch */
    uint32_t node_count;
    const uint32_t *nodes; /* that take part, ascending */
    uint32_t bytes;
    const uint8_t *data; /* one node's; GATHERED: everybody's, joined in the order of the nodes */
};

struct wire_view {
    uint32_t number;   /* of the view that is to be decided, or is */
    uint64_t ballot;   /* the proposer's */
    uint64_t accepted; /* PROMISE: the ballot by which `members` were accepted, 0: none; REFUSE: what has been promised */
    uint64_t wait_ns;  /* REFUSE: the sender is bound to its leader for so long */
    uint32_t member_count;
    const uint32_t *members; /* PROMISE, ACCEPT, DECIDED: helper ids, ascending */
};

enum wire_slot_state { WIRE_SLOT_ENDED, WIRE_SLOT_STARTED, WIRE_SLOT_ATTACHED };

struct wire_slot { /* as of the message's epoch */
    uint32_t slot;
    uint32_t rank;           /* WIRE_NONE: parked, or nobody's any more */
    uint32_t incarnation;    /* of its last program */
    uint32_t starts;         /* of the rank, as in its seat */
    uint32_t ordinal;        /* of the epoch */
    uint32_t generation;     /* of the programs */
    uint8_t state;           /* enum wire_slot_state */
};

struct wire_message {
    enum wire_type type;
    uint32_t from;  /* helper id */
    uint64_t epoch; /* packed; 0 where it has none */
    union {
        struct wire_hello hello;               /* HELLO, JOIN */
        struct wire_roster roster;             /* ROSTER, WELCOME */
        struct wire_report report;             /* REPORT */
        struct wire_usage usage;               /* USAGE */
        struct wire_heartbeat heartbeat;       /* HEARTBEAT, HEARTBEAT_ACK, PING */
        struct wire_loss loss;                 /* LOSS */
        struct wire_stop stop;                 /* STOP */
        struct wire_arrivals arrivals;         /* ARRIVED */
        struct wire_commits commits;           /* COMMITTED */
        struct wire_plan plan;                 /* PLAN */
        struct wire_rank_step rank_step;       /* READY, RELOADED, FINISHED, ATTACHED, STAYS, PRESENT */
        struct wire_reload_result reload_result;
        struct wire_end end;                   /* END, RESULT, REFUSE, EVICTED, ENDING */
        struct wire_table table;
        struct wire_region_query region_query; /* REGION_QUERY, REGION_ANSWER */
        struct wire_address address;
        struct wire_gather gather;             /* GATHER, GATHERED */
        struct wire_view view;                 /* VIEW_* */
        struct wire_slot slot;                 /* SLOT */
    };
};

/* Memory for the arrays of one decoded message; grows as needed up to what WIRE_FRAME_BYTES_MAX allows. */
struct wire_arena {
    uint8_t *bytes;
    size_t capacity;
};
void wire_arena_fini(struct wire_arena *arena);

/* Bytes of the body, or 0 when it does not fit into capacity or a bound is exceeded. */
size_t wire_message_encode(const struct wire_message *message, uint8_t *ret_bytes, size_t capacity);
/* An upper bound of the encoded size of this message, for allocating the buffer. */
size_t wire_message_bound(const struct wire_message *message);
/* False: not a well-formed message of this version (nothing in *ret_message may be used). */
bool wire_message_decode(const uint8_t *bytes, size_t count, struct wire_arena *arena, struct wire_message *ret_message);
const char *wire_type_name(enum wire_type type);
/* "killed by signal 9 (Killed)", "exited with code 3", "no heartbeat for 500 ms", ...; ret_text is always ended. */
void wire_cause_describe(uint8_t cause, uint32_t detail, const char *text, char *ret_text, size_t capacity);

#endif
