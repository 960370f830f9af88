/*
 * ckptless: recovery of a training job inside its living processes.
 *
 * The only public header of libckptless. A program keeps its training state in regions, commits each step
 * through ckptless_update(), and calls ckptless_recover() in a loop. When a rank is lost, the survivors are
 * interrupted, a replacement pulls its regions out of a survivor's memory, and the lost step is done again.
 *
 * The shape of every program:
 *
 *     ckptless_init(&ctx, NULL); ckptless_register(ctx, &region);
 *     do {
 *         rc = ckptless_recover(ctx, &step);
 *         if (rc == CKPTLESS_RELOAD) {
 *             step = load_checkpoint_or_initialise();
 *             rc = ckptless_reloaded(ctx, step);
 *         }
 *         if (rc == CKPTLESS_OK) rc = train(ctx, step);
 *         if (rc == CKPTLESS_OK) rc = ckptless_finish(ctx);
 *     } while (rc == CKPTLESS_INTERRUPTED);
 *     ckptless_finalize(ctx);
 *
 * Outside a ckptless step the same program runs as an ordinary one: the world comes from the environment
 * (RANK/WORLD_SIZE, else SLURM_PROCID/SLURM_NTASKS, else one rank), ckptless_recover() returns
 * CKPTLESS_RELOAD once and nothing is ever interrupted.
 *
 * Threads: one thread of the program (the one that called ckptless_init) makes all calls, except
 * ckptless_interrupted(), ckptless_watch_fd() and ckptless_unwatch_fd(), which any thread may call.
 */
#ifndef CKPTLESS_H
#define CKPTLESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CKPTLESS_MUST_CHECK __attribute__((warn_unused_result))
#define CKPTLESS_API __attribute__((visibility("default")))

/* What a call answers. Everything but OK, INTERRUPTED and RELOAD is an error; ckptless_strerror() has a sentence
 * for each, and the call has written one line with the particulars to stderr. */
enum ckptless_result {
    CKPTLESS_OK = 0,
    CKPTLESS_INTERRUPTED,         /* a rank was lost: unwind and call ckptless_recover() */
    CKPTLESS_RELOAD,              /* no one holds the state: load or initialise it, then ckptless_reloaded() */
    CKPTLESS_ERR_INVALID,         /* an argument is out of its range */
    CKPTLESS_ERR_NO_MEMORY,       /* allocation failed */
    CKPTLESS_ERR_STATE,           /* the call does not fit here (recover before init ended, update before recover) */
    CKPTLESS_ERR_REGION_MISMATCH, /* ranks registered different regions, or one with different sizes */
    CKPTLESS_ERR_STEP_MISMATCH,   /* ranks called reloaded() with different steps */
    CKPTLESS_ERR_NOT_FOUND,       /* no such region */
    CKPTLESS_ERR_HELPER,          /* ckptlessd or the PMIx library cannot be reached */
    CKPTLESS_ERR_VERSION,         /* library and helper do not speak the same version */
    CKPTLESS_ERR_UPDATE,          /* the program's update function failed */
    CKPTLESS_ERR_UNSUPPORTED,     /* known to the contract, not to this build (device memory without CUDA) */
};

enum ckptless_memory { CKPTLESS_HOST = 0, CKPTLESS_CUDA = 1 };

enum ckptless_redundancy {
    CKPTLESS_REDUNDANCY_DEFAULT = 0, /* the job's */
    CKPTLESS_REPLICA = 1,            /* other ranks hold the same shard: nothing is copied in advance */
};

struct ckptless; /* one per process */

struct ckptless_config {
    size_t struct_size;
    bool gradients_are_barriered; /* the program's own collective ends only when every rank has its gradients */
    bool can_shrink;              /* the program can go on with fewer ranks */
};
#define CKPTLESS_CONFIG_INIT { .struct_size = sizeof(struct ckptless_config) }

#define CKPTLESS_ADDR_BYTES_MAX 256

struct ckptless_world {
    size_t struct_size;
    int rank, size;             /* 0 <= rank < size */
    int local_rank, local_size; /* among the active ranks of this node */
    int node, nodes;            /* index of this node among the active ones, and their count */
    uint64_t epoch;             /* ordinal of this world: 1 at the first start, one more after each recovery */
    uint32_t incarnation;       /* how often this rank has been started: 0 for the first process */
    char master_addr[CKPTLESS_ADDR_BYTES_MAX]; /* name of rank 0's node */
    int master_port;
};
#define CKPTLESS_WORLD_INIT { .struct_size = sizeof(struct ckptless_world) }

#define CKPTLESS_REGION_NAME_MAX 63 /* characters, without the final NUL */

struct ckptless_region {
    size_t struct_size;
    const char *name; /* copied; 1 to CKPTLESS_REGION_NAME_MAX characters */
    uint32_t shard;   /* regions with the same name and shard on several ranks are replicas of each other */
    void *data;       /* belongs to the caller until unregister or finalize */
    size_t bytes;     /* > 0; the same on every holder */
    enum ckptless_memory memory;
    enum ckptless_redundancy redundancy;
    bool changes_between_updates; /* RNG, data position, running statistics: copied at each commit, put back by
                                     recover on every rank */
};
#define CKPTLESS_REGION_INIT { .struct_size = sizeof(struct ckptless_region) }

/* Applies step `step` to the regions from what the program has computed. Local: it does not communicate. */
typedef enum ckptless_result ckptless_update_fn(void *arg, uint64_t step);

/* Told once per loss, on a thread of the library. `epoch` is the ordinal of the world that has ended. */
typedef void ckptless_interrupt_fn(void *arg, uint64_t epoch);

/* Joins the step. config: NULL for the defaults. On a parked spare it blocks until the process is given a rank,
 * and then sets the rank's variables (RANK, WORLD_SIZE, SLURM_PROCID, ...) in the environment.
 * *ret_ctx is set on OK only, and belongs to the caller until ckptless_finalize(). */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_init(struct ckptless **ret_ctx,
                                                                    const struct ckptless_config *config);

/* Says that all steps are done and waits until every rank says so. INTERRUPTED: one was lost first, recover again. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_finish(struct ckptless *ctx);

/* Frees ctx (NULL is allowed). Without a finish before it, this rank is given up as lost. */
CKPTLESS_API void ckptless_finalize(struct ckptless *ctx);

/* The world as of the last init or recover. ret_world->struct_size must be set (CKPTLESS_WORLD_INIT). */
CKPTLESS_API void ckptless_get_world(const struct ckptless *ctx, struct ckptless_world *ret_world);

/* Makes a region part of the state. Registering a name and shard again moves the region; a new size is allowed
 * before recover/reloaded and, on all holders alike, between two updates. A region registered after recover is part
 * of the state from the next commit on. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_register(struct ckptless *ctx,
                                                                        const struct ckptless_region *region);

CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_unregister(struct ckptless *ctx, const char *name,
                                                                          uint32_t shard);

/* Enters the next world: waits until all ranks are there and the regions hold the state of *ret_step.
 * OK: the state is that of *ret_step, the last committed step. RELOAD: no one holds the state (also at the first
 * start); *ret_step is untouched. May be called without an interruption (a peer's socket failed first): it then waits
 * for the loss to be found. Refreshes RANK, MASTER_ADDR, ... in the environment. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_recover(struct ckptless *ctx, uint64_t *ret_step);

/* After RELOAD: the regions now hold the state of `step` (0: initial state, no step done). Collective.
 * STEP_MISMATCH: ranks named different steps, the line names them. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_reloaded(struct ckptless *ctx, uint64_t step);

/* All-gather in rank order: ret_all holds world.size blocks of `bytes` (1 to 65536) bytes, which with 8 bytes for each
 * rank are at most 48 MiB. Collective. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_exchange(struct ckptless *ctx, const void *mine,
                                                                        size_t bytes, void *ret_all);

/* True from the moment when this world has ended until ckptless_recover(). Any thread; costs one load. */
CKPTLESS_API bool ckptless_interrupted(const struct ckptless *ctx);

/* fn runs on a library thread, once per loss; NULL takes it away (and waits for a call under way). */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_on_interrupt(struct ckptless *ctx,
                                                                            ckptless_interrupt_fn *fn, void *arg);

/* Sockets, before connect/accept: shut down (both ways) at an interrupt, so that a blocked call returns.
 * INTERRUPTED (and fd shut) when one is pending. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_watch_fd(struct ckptless *ctx, int fd);

/* Before close(fd); waits for a shutdown that is under way. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_unwatch_fd(struct ckptless *ctx, int fd);

/* Commits step `step` (the one after the last committed): calls fn, which applies it to the regions. INTERRUPTED: the
 * step was not applied. ERR_UPDATE: fn failed; this rank's copy is torn and will be pulled at the next recover. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_update(struct ckptless *ctx, uint64_t step,
                                                                      ckptless_update_fn *fn, void *arg);

/* No progress is expected until ckptless_resume(): evaluation, checkpoint. `reason` shows in the status. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_pause(struct ckptless *ctx, const char *reason);
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_resume(struct ckptless *ctx);

/* This rank asks to be replaced; it is killed. Returns only on error. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_fail(struct ckptless *ctx, const char *reason);

/* Memory for a region that outlives the process on a healthy node. Freed by ckptless_free or with the step. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_alloc(struct ckptless *ctx, const char *name,
                                                                     uint32_t shard, size_t bytes, void **ret_data);
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_free(struct ckptless *ctx, void *data);

/* What the living holders have under this name and shard, in bytes: for state that appears late. A replacement asks
 * before it registers. NOT_FOUND: no one holds it. */
CKPTLESS_API CKPTLESS_MUST_CHECK enum ckptless_result ckptless_region_bytes(struct ckptless *ctx, const char *name,
                                                                            uint32_t shard, size_t *ret_bytes);

/* A sentence, never NULL, static. */
CKPTLESS_API const char *ckptless_strerror(enum ckptless_result result);

#ifdef __cplusplus
}
#endif
#endif
