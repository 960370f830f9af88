/*
 * Requests of libckptless to the helper of its node and their answers: bytes inside a PMIx job-control call
 * (PMIx_Job_control, directive WIRE_RPC_KEY; the answer comes as result WIRE_RPC_KEY). Shared by pmix_glue's client and
 * server side users; knows no PMIx. Pure; fuzzed.
 */
#ifndef CKPTLESS_WIRE_RPC_H
#define CKPTLESS_WIRE_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire_message.h"

#define WIRE_RPC_KEY "ckptless.rpc"
#define WIRE_RPC_VERSION 1u
#define WIRE_RPC_BYTES_MAX (WIRE_FRAME_BYTES_MAX)
/* The PMIx event by which an epoch's end reaches programs; its info WIRE_RPC_EPOCH_KEY (uint64) is the new packed epoch. */
#define WIRE_RPC_EPOCH_KEY "ckptless.epoch"

enum wire_rpc_type {
    WIRE_RPC_INIT = 1,    /* blocks on a parked slot until it has a rank */
    WIRE_RPC_RECOVER,     /* blocks until GO, RELOAD or an error */
    WIRE_RPC_RELOADED,    /* collective */
    WIRE_RPC_EXCHANGE,    /* collective */
    WIRE_RPC_COMMITTED,   /* first commit of an epoch; answered at once */
    WIRE_RPC_FINISH,      /* collective */
    WIRE_RPC_REGION_BYTES,
    WIRE_RPC_FAIL,        /* not answered: the process is killed */
    WIRE_RPC_PAUSE,
    WIRE_RPC_RESUME,
};

struct wire_rpc_region {
    char name[WIRE_REGION_NAME_BYTES];
    uint32_t shard;
    uint64_t bytes;
    uint64_t address; /* in the caller's address space: where recover puts the state, and where peers read it from
                         (for regions that change between updates: the copy made at the last commit) */
};

struct wire_rpc_request {
    enum wire_rpc_type type;
    uint64_t epoch;       /* packed; the caller's current one, 0 before the first recover */
    uint32_t incarnation; /* as the page says: requests of a predecessor that is still being read are dropped */
    uint32_t pid;         /* INIT: of the process that holds the regions */
    bool can_shrink;      /* INIT */
    bool has_state;       /* RECOVER: the regions hold the state of `step`, whole */
    uint64_t step;        /* RECOVER, RELOADED, COMMITTED */
    uint64_t sequence;    /* EXCHANGE: counts within the epoch, from 0 */
    uint32_t region_count;
    const struct wire_rpc_region *regions; /* RECOVER: all; REGION_BYTES: one (name, shard) */
    uint32_t data_bytes;
    const uint8_t *data;  /* EXCHANGE: mine; FAIL, PAUSE: reason, without NUL */
};

/* The same numbers as enum ckptless_result where they overlap. */
struct wire_rpc_answer {
    uint32_t result;      /* enum ckptless_result */
    uint64_t epoch;       /* RECOVER (OK and RELOAD), INIT: packed */
    uint64_t step;        /* RECOVER: resume step */
    uint64_t bytes;       /* REGION_BYTES */
    /* INIT, RECOVER: the world */
    uint32_t rank, size, local_rank, local_size, node, nodes, incarnation;
    uint64_t ordinal;     /* of the epoch, as users see it */
    uint16_t master_port;
    char master_addr[WIRE_NAME_BYTES];
    uint32_t environment_bytes;
    const char *environment; /* INIT, RECOVER: "NAME=value\0..." to set ("NAME\0": to unset) */
    uint32_t data_bytes;
    const uint8_t *data;  /* EXCHANGE: size blocks in rank order */
    char text[WIRE_TEXT_BYTES]; /* errors: the line for the user, without "ckptless: " */
};

size_t wire_rpc_request_bound(const struct wire_rpc_request *request);
size_t wire_rpc_request_encode(const struct wire_rpc_request *request, uint8_t *ret_bytes, size_t capacity);
bool wire_rpc_request_decode(const uint8_t *bytes, size_t count, struct wire_arena *arena,
                             struct wire_rpc_request *ret_request);
size_t wire_rpc_answer_bound(const struct wire_rpc_answer *answer);
size_t wire_rpc_answer_encode(const struct wire_rpc_answer *answer, uint8_t *ret_bytes, size_t capacity);
bool wire_rpc_answer_decode(const uint8_t *bytes, size_t count, struct wire_rpc_answer *ret_answer); /* borrows bytes */

#endif
