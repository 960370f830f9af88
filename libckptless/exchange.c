/*
 * Small blocks from everyone to everyone, through the helpers: addresses to connect to, above all.
 */
#include <string.h>

#include "libckptless/context.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"

#define BLOCK_HEADER_BYTES 8u /* on the way between the helpers */

static enum ckptless_result check_request(const struct ckptless *ctx, const void *mine, size_t bytes,
                                          const void *ret_all) {
    if (!mine || !ret_all || bytes < 1 || bytes > WIRE_EXCHANGE_BYTES_MAX) {
        say_line(ctx, "ckptless_exchange: mine %p, %zu bytes, ret_all %p: give two buffers and 1 to %u bytes", mine,
                 bytes, ret_all, WIRE_EXCHANGE_BYTES_MAX);
        return CKPTLESS_ERR_INVALID;
    }
    if ((bytes + BLOCK_HEADER_BYTES) * (size_t)ctx->world.size > WIRE_GATHER_BYTES_MAX) {
        say_line(ctx,
                 "ckptless_exchange: %zu bytes of each of %d ranks are above the bound of %u MiB in all; exchange less",
                 bytes, ctx->world.size, WIRE_GATHER_BYTES_MAX >> 20);
        return CKPTLESS_ERR_INVALID;
    }
    return CKPTLESS_OK;
}

static enum ckptless_result ask_helper(struct ckptless *ctx, const void *mine, size_t bytes, void *ret_all) {
    struct rpc_reply reply;
    size_t all_bytes = bytes * (size_t)ctx->world.size;
    struct wire_rpc_request request = {
        .type = WIRE_RPC_EXCHANGE,
        .epoch = atomic_load(&ctx->epoch),
        .sequence = ctx->sequence,
        .data_bytes = (uint32_t)bytes,
        .data = mine,
    };
    enum ckptless_result result = rpc_call(ctx, "ckptless_exchange", &request, &reply);
    if (result == CKPTLESS_INTERRUPTED) {
        result = context_tell(ctx);
    } else if (result == CKPTLESS_OK && reply.answer.data_bytes != all_bytes) {
        say_line(
            ctx,
            "ckptless_exchange: %u bytes came from all ranks together, %zu were expected: every rank must give the "
            "same number of bytes (here %zu)",
            reply.answer.data_bytes, all_bytes, bytes);
        result = CKPTLESS_ERR_INVALID;
    } else if (result == CKPTLESS_OK) {
        memcpy(ret_all, reply.answer.data, all_bytes);
    }
    ctx->sequence++;
    rpc_reply_fini(&reply);
    return result;
}

enum ckptless_result ckptless_exchange(struct ckptless *ctx, const void *mine, size_t bytes, void *ret_all) {
    enum ckptless_result result = context_gate(ctx, "ckptless_exchange", CONTEXT_RELOAD);
    if (result == CKPTLESS_OK) {
        result = check_request(ctx, mine, bytes, ret_all);
    }
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (ctx->world.size == 1) {
        memmove(ret_all, mine, bytes);
        return CKPTLESS_OK;
    }
    if (ctx->ordinary) {
        say_line(ctx,
                 "ckptless_exchange: no helper connects the %d ranks outside a ckptless step; start the program with "
                 "srun --ckptless, or as one rank",
                 ctx->world.size);
        return CKPTLESS_ERR_STATE;
    }
    return ask_helper(ctx, mine, bytes, ret_all);
}
