/*
 * What a program says about its own progress: none for now, some again, none ever more.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libckptless/context.h"
#include "libckptless/rpc.h"
#include "libckptless/say.h"

#define FAIL_SECONDS 10
#define EXIT_NOT_KILLED 1

static struct wire_rpc_request request_with_reason(const struct ckptless *ctx, enum wire_rpc_type type,
                                                   const char *reason) {
    uint64_t epoch = atomic_load(&ctx->epoch);
    struct wire_rpc_request request = {
        .type = type,
        .epoch = epoch == UINT64_MAX ? 0 : epoch,
        .data_bytes = reason ? (uint32_t)strnlen(reason, WIRE_TEXT_BYTES - 1) : 0,
        .data = (const uint8_t *)reason,
    };
    return request;
}

static enum ckptless_result say_progress(struct ckptless *ctx, const char *call, enum wire_rpc_type type,
                                         const char *reason) {
    enum ckptless_result result = context_check(ctx, call);
    if (result != CKPTLESS_OK || ctx->ordinary) {
        return result;
    }
    struct wire_rpc_request request = request_with_reason(ctx, type, reason);
    return rpc_simple(ctx, call, &request);
}

enum ckptless_result ckptless_pause(struct ckptless *ctx, const char *reason) {
    return say_progress(ctx, "ckptless_pause", WIRE_RPC_PAUSE, reason ? reason : "");
}

enum ckptless_result ckptless_resume(struct ckptless *ctx) {
    return say_progress(ctx, "ckptless_resume", WIRE_RPC_RESUME, NULL);
}

/* Nobody kills a process whose helper is stuck: it then ends by itself. */
static void *end_late(void *arg) {
    struct timespec left = { .tv_sec = FAIL_SECONDS };
    (void)arg;
    (void)nanosleep(&left, NULL);
    _exit(EXIT_NOT_KILLED);
}

static void start_watchdog(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, end_late, NULL) == 0) {
        (void)pthread_detach(thread);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum ckptless_result ckptless_fail(struct ckptless *ctx, const char *reason) {
    enum ckptless_result result = context_check(ctx, "ckptless_fail");
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (ctx->ordinary) {
        say_line(ctx, "ckptless_fail: nobody replaces a rank outside a ckptless step (reason: %.200s)",
                 reason ? reason : "none");
        return CKPTLESS_ERR_STATE;
    }
    struct wire_rpc_request request = request_with_reason(ctx, WIRE_RPC_FAIL, reason ? reason : "");
    start_watchdog();
    result = rpc_simple(ctx, "ckptless_fail", &request);
    if (result != CKPTLESS_OK && result != CKPTLESS_INTERRUPTED) {
        return result;
    }
    for (;;) {
        (void)pause(); /* until killed, or until the watchdog */
    }
}
