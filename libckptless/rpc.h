/*
 * Requests to the helper of this node and their answers.
 */
#ifndef CKPTLESS_RPC_H
#define CKPTLESS_RPC_H

#include <stdint.h>

#include "include/ckptless.h"
#include "node_helper/wire/wire_rpc.h"

struct rpc_reply {
    struct wire_rpc_answer answer; /* borrows bytes */
    uint8_t *bytes;
};

/* Sends the request and waits for the answer, however long. OK, INTERRUPTED or RELOAD as the helper says; NOT_FOUND;
 * any other result after a line: the helper's own words where it sent some. HELPER: it is gone (one line per process);
 * VERSION: its answer is not understood. call: the public name. The reply is for rpc_reply_fini() in every case. Any
 * thread. */
enum ckptless_result rpc_call(const struct ckptless *ctx, const char *call, const struct wire_rpc_request *request,
                              struct rpc_reply *ret_reply);

void rpc_reply_fini(struct rpc_reply *reply);

/* As rpc_call, for an answer that is nothing but its result. */
enum ckptless_result rpc_simple(const struct ckptless *ctx, const char *call, const struct wire_rpc_request *request);

#endif
