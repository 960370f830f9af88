/*
 * How a program hears of an interruption: asking, being called, having its sockets shut. The work is the library's
 * thread's (interrupt.c).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "libckptless/context.h"
#include "libckptless/say.h"

bool ckptless_interrupted(const struct ckptless *ctx) {
    if (!ctx) {
        return false;
    }
    return atomic_load_explicit(&ctx->page->stop_epoch, memory_order_acquire) >
           atomic_load_explicit(&ctx->epoch, memory_order_relaxed);
}

enum ckptless_result ckptless_on_interrupt(struct ckptless *ctx, ckptless_interrupt_fn *fn, void *arg) {
    enum ckptless_result result = context_check(ctx, "ckptless_on_interrupt");
    if (result == CKPTLESS_OK && !ctx->ordinary) {
        interrupt_set_function(ctx->interrupt, fn, arg);
    }
    return result;
}

static enum ckptless_result check_fd(const struct ckptless *ctx, const char *call, int fd) {
    enum ckptless_result result = context_check(ctx, call);
    if (result == CKPTLESS_OK && fd < 0) {
        say_line(ctx, "%s: descriptor %d: pass an open socket", call, fd);
        result = CKPTLESS_ERR_INVALID;
    }
    return result;
}

enum ckptless_result ckptless_watch_fd(struct ckptless *ctx, int fd) {
    int type = 0;
    socklen_t bytes = sizeof(type);
    enum ckptless_result result = check_fd(ctx, "ckptless_watch_fd", fd);
    if (result != CKPTLESS_OK) {
        return result;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) != 0) {
        say_line(ctx, "ckptless_watch_fd: descriptor %d: %s; only open sockets can be watched", fd, strerror(errno));
        return CKPTLESS_ERR_INVALID;
    }
    if (ctx->ordinary) {
        return CKPTLESS_OK;
    }
    uint64_t epoch = atomic_load(&ctx->epoch); /* the program may be entering the next world meanwhile */
    result = interrupt_watch(ctx->interrupt, fd);
    if (result == CKPTLESS_INTERRUPTED) {
        atomic_store(&ctx->told_epoch, epoch);
    } else if (result != CKPTLESS_OK) {
        say_line(ctx, "ckptless_watch_fd: no memory to watch descriptor %d", fd);
    }
    return result;
}

enum ckptless_result ckptless_unwatch_fd(struct ckptless *ctx, int fd) {
    enum ckptless_result result = check_fd(ctx, "ckptless_unwatch_fd", fd);
    if (result == CKPTLESS_OK && !ctx->ordinary) {
        interrupt_unwatch(ctx->interrupt, fd);
    }
    return result;
}
