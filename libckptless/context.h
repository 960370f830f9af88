/*
 * The one object of the library: what a process knows about its place in the step. Owned by the program's thread; the
 * library's thread (interrupt.h) reads none of it but through the jobs that it is given. Not a public header.
 */
#ifndef CKPTLESS_CONTEXT_H
#define CKPTLESS_CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "include/ckptless.h"
#include "libckptless/interrupt.h"
#include "libckptless/memory.h"
#include "libckptless/regions.h"
#include "node_helper/wire/wire_page.h"
#include "pmix_glue/client/pmixcli.h"

/* How far the program has come. An interruption leaves the phase as it is: `told_epoch` stands beside it. */
enum context_phase {
    CONTEXT_NEW = 0,  /* no world entered yet, or recover failed */
    CONTEXT_RELOAD,   /* recover said RELOAD: the program loads its state */
    CONTEXT_RUNNING,  /* steps can be committed */
    CONTEXT_FINISHED, /* finish said OK */
};

struct ckptless {
    pid_t pid;     /* who called init: a forked child must not touch anything */
    bool ordinary; /* outside a ckptless step: no helper, no PMIx, no thread */
    enum context_phase phase;
    bool has_state;        /* the regions hold the state of `step`, whole */
    bool applying;         /* in an update function, or it was left by a jump or an exception */
    bool torn;             /* an update function failed in this world */
    bool announced;        /* COMMITTED of this epoch has been posted */
    uint64_t step;         /* last committed */
    uint64_t sequence;     /* of the next exchange in this epoch */
    uint64_t commit_epoch; /* what the posted COMMITTED says */
    uint64_t commit_step;
    _Atomic uint64_t epoch;      /* packed; of the program's world; UINT64_MAX: none yet */
    _Atomic uint64_t told_epoch; /* of the world whose end was last told: `epoch` while between two worlds */
    struct wire_page *page;      /* shared with helper and keeper; ordinary: own_page */
    struct wire_page own_page;
    struct ckptless_world world;
    struct regions regions;
    struct memory memory;
    struct pmixcli *client;      /* NULL: ordinary */
    struct interrupt *interrupt; /* NULL: ordinary */
};

/* OK, or a line and: INVALID (ctx NULL), STATE (a forked child, or the program has finished). call: the public name. */
enum ckptless_result context_check(const struct ckptless *ctx, const char *call);

/* The gate of every call that acts on a running world. first: the earliest phase in which the call fits.
 * OK; INTERRUPTED (noted as told); STATE with a line. After OK the lease held a moment ago. */
enum ckptless_result context_gate(struct ckptless *ctx, const char *call, enum context_phase first);

/* Notes that the program is being told that its world has ended; answers INTERRUPTED. The program's thread. */
enum ckptless_result context_tell(struct ckptless *ctx);

/* True from then on until the next world. */
static inline bool context_is_told(const struct ckptless *ctx) {
    return atomic_load(&ctx->told_epoch) == atomic_load(&ctx->epoch);
}

/* True when the bytes of a caller's struct beyond what this library knows are all zero; else a line. */
bool context_check_struct(const struct ckptless *ctx, const char *call, const void *given, size_t given_bytes,
                          size_t bytes_min, size_t known_bytes);

static inline uint64_t context_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Outside a ckptless step (ordinary.c). */

/* Fills ctx's world from the environment. INVALID with a line when a variable is not a number or out of range. */
enum ckptless_result ordinary_init(struct ckptless *ctx);
/* RELOAD the first time, STATE with a line later. */
enum ckptless_result ordinary_recover(struct ckptless *ctx);

#endif
