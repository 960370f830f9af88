/*
 * The commit of a step: the only call on the critical path. It looks at the shared page (stop, lease), calls the
 * program's function between step_begun and step_done, and copies the regions that change between updates. The helper
 * is told of the first commit in a world only, by the library's thread.
 *
 * An interruption that comes after step_begun changes nothing: the step is applied whole, and the plan that follows
 * goes by what each rank has.
 */
#include <inttypes.h>

#include "libckptless/context.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"
#include "libckptless/update.h"

/* On the library's thread, or in update_flush. What the helper answers does not matter: an older epoch is dropped. */
static void tell_helper(void *arg) {
    struct ckptless *ctx = arg;
    struct wire_rpc_request request = {
        .type = WIRE_RPC_COMMITTED,
        .epoch = ctx->commit_epoch,
        .step = ctx->commit_step,
    };
    enum ckptless_result result = rpc_simple(ctx, "ckptless_update", &request);
    (void)result;
}

void update_flush(struct ckptless *ctx) {
    if (interrupt_withdraw(ctx->interrupt)) {
        tell_helper(ctx);
    }
}

static void announce(struct ckptless *ctx) {
    ctx->announced = true;
    if (!ctx->ordinary) {
        ctx->commit_epoch = atomic_load(&ctx->epoch);
        ctx->commit_step = ctx->step;
        interrupt_post(ctx->interrupt, tell_helper, ctx, 0);
    }
}

/* fn failed in the middle: the regions hold neither this step nor the one before. */
static enum ckptless_result tear(struct ckptless *ctx, uint64_t step, enum ckptless_result result) {
    ctx->torn = true;
    if (result == CKPTLESS_INTERRUPTED) {
        return context_tell(ctx);
    }
    say_line(ctx,
             "ckptless_update: the function for step %" PRIu64
             " failed with result %d (%s); this rank's state will be pulled",
             step, (int)result, ckptless_strerror(result));
    return CKPTLESS_ERR_UPDATE;
}

static enum ckptless_result check_step(struct ckptless *ctx, uint64_t step, ckptless_update_fn *fn) {
    enum ckptless_result result = context_gate(ctx, "ckptless_update", CONTEXT_RUNNING);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!fn) {
        say_line(ctx, "ckptless_update: fn is NULL; pass the function that applies step %" PRIu64, step);
        return CKPTLESS_ERR_INVALID;
    }
    if (step != ctx->step + 1) {
        say_line(ctx,
                 "ckptless_update: step %" PRIu64 " given, but the last committed step is %" PRIu64
                 ": the next one is %" PRIu64,
                 step, ctx->step, ctx->step + 1);
        return CKPTLESS_ERR_INVALID;
    }
    return CKPTLESS_OK;
}

enum ckptless_result ckptless_update(struct ckptless *ctx, uint64_t step, ckptless_update_fn *fn, void *arg) {
    uint64_t entered_ns = context_now_ns();
    enum ckptless_result result = check_step(ctx, step, fn);
    if (result != CKPTLESS_OK) {
        return result;
    }
    struct wire_page *page = ctx->page;
    ctx->applying = true;
    ctx->has_state = false; /* also for whoever leaves fn by a jump or an exception, and recovers then */
    atomic_store(&page->step_begun, step);
    uint64_t begun_ns = context_now_ns();
    result = fn(arg, step);
    uint64_t applied_ns = context_now_ns();
    if (!ctx->applying) {
        say_line(ctx,
                 "ckptless_update: ckptless_recover() was called inside the function for step %" PRIu64
                 "; return from it first",
                 step);
        return CKPTLESS_ERR_STATE;
    }
    ctx->applying = false;
    if (result != CKPTLESS_OK) {
        return tear(ctx, step, result);
    }
    regions_commit(&ctx->regions);
    ctx->step = step;
    ctx->has_state = true;
    atomic_store(&page->step_done, step);
    if (!ctx->announced) {
        announce(ctx);
    }
    /* Only this thread writes the two: no need for the bus to be locked. */
    uint64_t count = atomic_load_explicit(&page->update_count, memory_order_relaxed);
    atomic_store_explicit(&page->update_count, count + 1, memory_order_relaxed);
    uint64_t spent_ns = atomic_load_explicit(&page->library_ns, memory_order_relaxed);
    spent_ns += begun_ns - entered_ns + context_now_ns() - applied_ns;
    atomic_store_explicit(&page->library_ns, spent_ns, memory_order_relaxed);
    return CKPTLESS_OK;
}
