/*
 * Joining the step and leaving it, and the checks that every call begins with.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libckptless/context.h"
#include "libckptless/crash.h"
#include "libckptless/leave.h"
#include "libckptless/page.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"
#include "libckptless/signals.h"
#include "libckptless/world.h"

#define NAP_NS 1000000
#define RETIRE_MS 50
#define LEAVE_MS 100
#define GIVE_UP_MS 1000 /* for a process without finish to end by itself, with its own exit code */

/* One context per process, and in a step no second one after it: the process's part is over with the first. */
enum joined { JOINED_NOT = 0, JOINED_NOW, JOINED_BEFORE };
static atomic_int joined = JOINED_NOT;

enum ckptless_result context_check(const struct ckptless *ctx, const char *call) {
    if (!ctx) {
        say_line(NULL, "%s: ctx is NULL; pass what ckptless_init() gave", call);
        return CKPTLESS_ERR_INVALID;
    }
    if (ctx->pid != getpid()) {
        say_line(ctx, "%s: called in process %d, a child of the one that called ckptless_init (%d); only that one may",
                 call, (int)getpid(), (int)ctx->pid);
        return CKPTLESS_ERR_STATE;
    }
    return CKPTLESS_OK;
}

enum ckptless_result context_tell(struct ckptless *ctx) {
    atomic_store(&ctx->told_epoch, atomic_load(&ctx->epoch));
    return CKPTLESS_INTERRUPTED;
}

/* A lease that has ended is no loss yet: the helper asks, and either the lease is renewed, or the world ends, or this
 * process is killed. Naps until one of them has happened. */
static enum ckptless_result await_lease(struct ckptless *ctx) {
    const struct timespec nap = { .tv_nsec = NAP_NS };
    for (;;) {
        if (ctx->phase != CONTEXT_NEW && ckptless_interrupted(ctx)) {
            return context_tell(ctx);
        }
        if (context_now_ns() < atomic_load(&ctx->page->lease_end_ns)) {
            return CKPTLESS_OK;
        }
        (void)nanosleep(&nap, NULL);
    }
}

enum ckptless_result context_gate(struct ckptless *ctx, const char *call, enum context_phase first) {
    enum ckptless_result result = context_check(ctx, call);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (ctx->phase == CONTEXT_FINISHED) {
        say_line(ctx, "%s: called after ckptless_finish(); only ckptless_finalize() is left to do", call);
        return CKPTLESS_ERR_STATE;
    }
    if (ctx->phase != CONTEXT_NEW && ckptless_interrupted(ctx)) {
        return context_tell(ctx);
    }
    if (ctx->phase < first) {
        say_line(ctx, "%s: called before %s; see the order of calls in ckptless.h", call,
                 ctx->phase == CONTEXT_NEW ? "ckptless_recover() has answered" : "ckptless_reloaded()");
        return CKPTLESS_ERR_STATE;
    }
    if (ctx->torn || ctx->applying) {
        say_line(ctx, "%s: the function for step %llu %s, so this rank holds no whole state; %s", call,
                 (unsigned long long)ctx->step + 1, ctx->torn ? "failed" : "has not returned",
                 ctx->torn ? "call ckptless_recover()" : "make the call outside of it, or call ckptless_recover()");
        return CKPTLESS_ERR_STATE;
    }
    return await_lease(ctx);
}

bool context_check_struct(const struct ckptless *ctx, const char *call, const void *given, size_t given_bytes,
                          size_t bytes_min, size_t known_bytes) {
    if (given_bytes < bytes_min || given_bytes > (size_t)1 << 20) {
        say_line(ctx, "%s: struct_size is %zu; set the struct up with the CKPTLESS_..._INIT of ckptless.h", call,
                 given_bytes);
        return false;
    }
    for (size_t i = known_bytes; i < given_bytes; i++) {
        if (((const uint8_t *)given)[i] != 0) {
            say_line(ctx,
                     "%s: the struct asks for something that only a newer libckptless knows (byte %zu is set); "
                     "update the library",
                     call, i);
            return false;
        }
    }
    return true;
}

/* PMIx's thread. arg: the library's thread, which is never freed in a step that was joined. */
static void on_event(void *arg, uint64_t epoch) {
    interrupt_notify(arg, epoch);
}

/* Waits on a parked spare until the process has a rank. */
static enum ckptless_result ask_for_world(struct ckptless *ctx, const struct ckptless_config *config) {
    struct rpc_reply reply;
    struct wire_rpc_request request = {
        .type = WIRE_RPC_INIT,
        .pid = (uint32_t)ctx->pid,
        .can_shrink = config->can_shrink,
    };
    enum ckptless_result result = rpc_call(ctx, "ckptless_init", &request, &reply);
    if (result == CKPTLESS_OK) {
        signals_release();
        result = world_enter(ctx, "ckptless_init", &reply.answer);
    } else if (result == CKPTLESS_INTERRUPTED || result == CKPTLESS_RELOAD || result == CKPTLESS_ERR_NOT_FOUND) {
        say_line(ctx, "ckptless_init: the answer of ckptlessd does not fit (result %d)", (int)result);
        result = CKPTLESS_ERR_HELPER;
    }
    rpc_reply_fini(&reply);
    return result;
}

/* PMIx first, as its events go to the thread; what does not end in time stays as it is. */
static void leave_after_failure(struct ckptless *ctx) {
    if (leave_pmix(ctx->client, LEAVE_MS)) {
        interrupt_destroy(ctx->interrupt);
        page_unmap(ctx->page);
    } else {
        (void)interrupt_retire(ctx->interrupt, 0);
    }
}

static enum ckptless_result join_step(struct ckptless *ctx, const struct ckptless_config *config) {
    enum ckptless_result result = page_map(&ctx->page);
    if (result != CKPTLESS_OK) {
        return result;
    }
    result = interrupt_create(&ctx->interrupt, ctx->page);
    if (result != CKPTLESS_OK) {
        say_line(NULL, "ckptless_init: no memory for the library's thread, or no thread allowed (see ulimit -u)");
        goto out;
    }
    atomic_store(&ctx->page->attached_pid, (uint32_t)ctx->pid);
    crash_init(ctx->page);
    if (pmixcli_create(&ctx->client, on_event, ctx->interrupt) != PMIXCLI_OK) {
        say_line(NULL, "ckptless_init: %s", pmixcli_error());
        result = CKPTLESS_ERR_HELPER;
        goto out;
    }
    result = ask_for_world(ctx, config);
out:
    if (result != CKPTLESS_OK) {
        crash_fini();
        atomic_store(&ctx->page->attached_pid, 0);
        leave_after_failure(ctx);
    }
    return result;
}

static enum ckptless_result take_config(const struct ckptless_config *given, struct ckptless_config *ret_config) {
    *ret_config = (struct ckptless_config)CKPTLESS_CONFIG_INIT;
    if (!given) {
        return CKPTLESS_OK;
    }
    if (!context_check_struct(NULL, "ckptless_init", given, given->struct_size, sizeof(given->struct_size),
                              sizeof(*given))) {
        return CKPTLESS_ERR_INVALID;
    }
    memcpy(ret_config, given, given->struct_size < sizeof(*given) ? given->struct_size : sizeof(*given));
    return CKPTLESS_OK;
}

enum ckptless_result ckptless_init(struct ckptless **ret_ctx, const struct ckptless_config *config) {
    struct ckptless_config known;
    int before = JOINED_NOT;
    if (!ret_ctx) {
        say_line(NULL, "ckptless_init: ret_ctx is NULL; pass the address of a struct ckptless pointer");
        return CKPTLESS_ERR_INVALID;
    }
    enum ckptless_result result = take_config(config, &known);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (!atomic_compare_exchange_strong(&joined, &before, JOINED_NOW)) {
        say_line(NULL, "ckptless_init: called twice in this process; keep the first context%s",
                 before == JOINED_BEFORE ? " until the process ends" : "");
        return CKPTLESS_ERR_STATE;
    }
    struct ckptless *ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        atomic_store(&joined, JOINED_NOT);
        say_line(NULL, "ckptless_init: no memory");
        return CKPTLESS_ERR_NO_MEMORY;
    }
    ctx->pid = getpid();
    ctx->world.struct_size = sizeof(ctx->world);
    ctx->ordinary = !page_expected();
    atomic_store(&ctx->epoch, UINT64_MAX);
    result = ctx->ordinary ? ordinary_init(ctx) : join_step(ctx, &known);
    if (result != CKPTLESS_OK) {
        free(ctx);
        atomic_store(&joined, JOINED_NOT);
        return result;
    }
    *ret_ctx = ctx;
    return CKPTLESS_OK;
}

/* The library's thread, in a process that has not ended by itself after finalize without finish. */
static void give_up(void *arg) {
    static const char reason[] = "ckptless_finalize() without ckptless_finish()";
    const struct ckptless *ctx = arg;
    struct wire_rpc_request request = {
        .type = WIRE_RPC_FAIL,
        .epoch = atomic_load(&ctx->epoch),
        .data_bytes = sizeof(reason) - 1,
        .data = (const uint8_t *)reason,
    };
    enum ckptless_result result = rpc_simple(ctx, "ckptless_finalize", &request);
    (void)result; /* killed, or there is no helper left to do it */
}

/* False: the context is still in use. */
static bool leave_step(struct ckptless *ctx) {
    bool idle = interrupt_retire(ctx->interrupt, RETIRE_MS);
    crash_fini();
    if (ctx->phase != CONTEXT_FINISHED) {
        /* A process that ends now rings the bell, and its exit code says more than we could. */
        interrupt_post(ctx->interrupt, give_up, ctx, GIVE_UP_MS);
        return false;
    }
    if (idle) {
        (void)leave_pmix(ctx->client, LEAVE_MS);
    }
    return idle;
}

void ckptless_finalize(struct ckptless *ctx) {
    if (!ctx || ctx->pid != getpid()) {
        return; /* a forked child has nothing of its own here */
    }
    bool unused = ctx->ordinary || leave_step(ctx);
    atomic_store(&joined, ctx->ordinary ? JOINED_NOT : JOINED_BEFORE);
    regions_fini(&ctx->regions);
    memory_fini(&ctx->memory);
    if (unused) {
        free(ctx);
    }
}
