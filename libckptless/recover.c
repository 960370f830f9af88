/*
 * From one world into the next: ckptless_recover, ckptless_reloaded, ckptless_finish, and what holders have. Who waits
 * for whom and who pulls from whom is the helpers' business: here it is one request that is answered when the state of
 * the resume step lies in the regions.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libckptless/context.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"
#include "libckptless/update.h"
#include "libckptless/world.h"

#define UNWANTED_NAP_NS 10000000
#define UNWANTED_NS 5000000000ull

/* The regions hold the state of `step`, whole: what they are now is what a loss goes back to. */
static void hold_state(struct ckptless *ctx, uint64_t step) {
    ctx->step = step;
    ctx->has_state = true;
    ctx->phase = CONTEXT_RUNNING;
    atomic_store(&ctx->page->step_begun, step);
    atomic_store(&ctx->page->step_done, step);
}

static enum ckptless_result request_world(struct ckptless *ctx, struct rpc_reply *reply) {
    struct wire_rpc_request request = {
        .type = WIRE_RPC_RECOVER,
        .epoch = atomic_load(&ctx->epoch),
        .has_state = ctx->has_state,
        .step = ctx->step,
    };
    struct wire_rpc_region *table = regions_table(&ctx->regions, &request.region_count);
    if (!table && request.region_count > 0) {
        say_line(ctx, "ckptless_recover: no memory for the table of %u regions", request.region_count);
        return CKPTLESS_ERR_NO_MEMORY;
    }
    request.regions = table;
    request.epoch = request.epoch == UINT64_MAX ? 0 : request.epoch;
    enum ckptless_result result = rpc_call(ctx, "ckptless_recover", &request, reply);
    free(table);
    return result;
}

/* The helper lets a survivor wait through further losses. It answers INTERRUPTED only to a process that it no longer
 * takes for a rank and is about to kill: that waits here, its memory belongs to nobody any more. */
static enum ckptless_result await_world(struct ckptless *ctx, struct rpc_reply *reply) {
    const struct timespec nap = { .tv_nsec = UNWANTED_NAP_NS };
    uint64_t began_ns = context_now_ns();
    enum ckptless_result result;
    while ((result = request_world(ctx, reply)) == CKPTLESS_INTERRUPTED) {
        rpc_reply_fini(reply);
        ctx->has_state = false;
        if (context_now_ns() - began_ns > UNWANTED_NS) {
            say_line(ctx, "ckptless_recover: ckptlessd no longer takes this process for a rank; end it");
            return CKPTLESS_ERR_HELPER;
        }
        (void)nanosleep(&nap, NULL);
    }
    if (result != CKPTLESS_OK && result != CKPTLESS_ERR_NO_MEMORY && result != CKPTLESS_ERR_STATE) {
        ctx->has_state = false; /* a pull may have begun and been given up */
    }
    return result;
}

static enum ckptless_result enter_world(struct ckptless *ctx, enum ckptless_result result,
                                        const struct wire_rpc_answer *answer, uint64_t *ret_step) {
    enum ckptless_result entered = world_enter(ctx, "ckptless_recover", answer);
    if (entered != CKPTLESS_OK) {
        return entered;
    }
    ctx->sequence = 0;
    ctx->announced = false;
    ctx->torn = ctx->applying = false;
    if (result == CKPTLESS_RELOAD) {
        ctx->phase = CONTEXT_RELOAD;
        return result;
    }
    regions_restore(&ctx->regions);
    hold_state(ctx, answer->step);
    *ret_step = answer->step;
    return result;
}

enum ckptless_result ckptless_recover(struct ckptless *ctx, uint64_t *ret_step) {
    struct rpc_reply reply = { .bytes = NULL };
    enum ckptless_result result = context_check(ctx, "ckptless_recover");
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!ret_step) {
        say_line(ctx, "ckptless_recover: ret_step is NULL; pass the address of a uint64_t");
        return CKPTLESS_ERR_INVALID;
    }
    if (ctx->phase == CONTEXT_FINISHED) {
        say_line(ctx, "ckptless_recover: called after ckptless_finish(); only ckptless_finalize() is left to do");
        return CKPTLESS_ERR_STATE;
    }
    if (ctx->ordinary) {
        return ordinary_recover(ctx);
    }
    if (ckptless_interrupted(ctx)) {
        (void)interrupt_withdraw(ctx->interrupt); /* it would be about a world that has ended */
    } else {
        update_flush(ctx);
    }
    ctx->phase = CONTEXT_NEW;
    result = await_world(ctx, &reply);
    if (result == CKPTLESS_OK || result == CKPTLESS_RELOAD) {
        result = enter_world(ctx, result, &reply.answer, ret_step);
    } else if (result == CKPTLESS_ERR_NOT_FOUND) {
        say_line(ctx, "ckptless_recover: %s", reply.answer.text);
    }
    rpc_reply_fini(&reply);
    return result;
}

enum ckptless_result ckptless_reloaded(struct ckptless *ctx, uint64_t step) {
    enum ckptless_result result = context_gate(ctx, "ckptless_reloaded", CONTEXT_RELOAD);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (ctx->phase != CONTEXT_RELOAD) {
        say_line(ctx, "ckptless_reloaded: ckptless_recover() did not ask to reload: the state is that of step %" PRIu64,
                 ctx->step);
        return CKPTLESS_ERR_STATE;
    }
    if (!ctx->ordinary) {
        struct wire_rpc_request request = {
            .type = WIRE_RPC_RELOADED,
            .epoch = atomic_load(&ctx->epoch),
            .step = step,
        };
        result = rpc_simple(ctx, "ckptless_reloaded", &request);
    }
    if (result == CKPTLESS_OK) {
        regions_commit(&ctx->regions);
        hold_state(ctx, step);
    } else if (result == CKPTLESS_INTERRUPTED) {
        result = context_tell(ctx);
    }
    return result;
}

enum ckptless_result ckptless_finish(struct ckptless *ctx) {
    enum ckptless_result result = context_gate(ctx, "ckptless_finish", CONTEXT_RUNNING);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!ctx->ordinary) {
        struct wire_rpc_request request = {
            .type = WIRE_RPC_FINISH,
            .epoch = atomic_load(&ctx->epoch),
            .step = ctx->step,
        };
        update_flush(ctx);
        result = rpc_simple(ctx, "ckptless_finish", &request);
    }
    if (result == CKPTLESS_OK) {
        ctx->phase = CONTEXT_FINISHED;
    } else if (result == CKPTLESS_INTERRUPTED) {
        result = context_tell(ctx);
    }
    return result;
}

enum ckptless_result ckptless_region_bytes(struct ckptless *ctx, const char *name, uint32_t shard, size_t *ret_bytes) {
    struct wire_rpc_region region = { .shard = shard };
    struct rpc_reply reply;
    enum ckptless_result result = context_check(ctx, "ckptless_region_bytes");
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!regions_name_ok(name) || !ret_bytes) {
        say_line(ctx, "ckptless_region_bytes: needs a name of 1 to %d characters and a place for the answer",
                 CKPTLESS_REGION_NAME_MAX);
        return CKPTLESS_ERR_INVALID;
    }
    if (ctx->ordinary) {
        return CKPTLESS_ERR_NOT_FOUND;
    }
    strcpy(region.name, name); /* its length was checked */
    uint64_t epoch = atomic_load(&ctx->epoch);
    struct wire_rpc_request request = {
        .type = WIRE_RPC_REGION_BYTES,
        .epoch = epoch == UINT64_MAX ? 0 : epoch,
        .region_count = 1,
        .regions = &region,
    };
    result = rpc_call(ctx, "ckptless_region_bytes", &request, &reply);
    if (result == CKPTLESS_OK) {
        *ret_bytes = reply.answer.bytes;
    }
    rpc_reply_fini(&reply);
    return result;
}
