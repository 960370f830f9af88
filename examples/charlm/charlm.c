/*
 * charlm: a character-level language model, trained data-parallel on a word list, that survives the loss of its
 * processes and nodes. The part to copy is main() and train(): what is state, when a step is committed, and what is
 * done when a rank is lost.
 */
#include <ckptless.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint.h"
#include "data.h"
#include "model.h"
#include "ring.h"

struct options {
    uint64_t steps, checkpoint_every, print_every;
    uint32_t batch, step_ms;
    const char *data, *checkpoint, *commit_log, *rendezvous;
};

struct job {
    struct options options;
    struct data data;
    struct ckptless *ctx;
    struct model model;       /* state */
    struct random random;     /* state; drawn from between two updates */
    struct gradient gradient; /* of the step under way */
    uint32_t samples;         /* over all ranks */
    int commit_fd;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Every rank draws the whole batch, so that the random numbers stay the same on all, and learns its own part. */
static void compute(struct job *job, const struct ckptless_world *world) {
    memset(&job->gradient, 0, sizeof(job->gradient));
    job->samples = job->options.batch * (uint32_t)world->size;
    for (uint32_t i = 0; i < job->samples; i++) {
        struct sample sample = data_draw(&job->data, &job->random);
        if (i / job->options.batch == (uint32_t)world->rank) {
            model_learn(&job->model.weights, &sample, &job->gradient);
        }
    }
}

/* The one place where the model changes. */
static enum ckptless_result apply(void *arg, uint64_t step) {
    struct job *job = arg;
    model_apply(&job->model, &job->gradient, job->samples, step);
    return CKPTLESS_OK;
}

static void pad(const struct job *job, uint64_t began_ns) {
    uint64_t until_ns = began_ns + (uint64_t)job->options.step_ms * 1000000u, now = now_ns();
    if (now < until_ns) {
        struct timespec rest = { .tv_sec = (time_t)((until_ns - now) / 1000000000u),
                                 .tv_nsec = (long)((until_ns - now) % 1000000000u) };
        nanosleep(&rest, NULL);
    }
}

/* For benchmarks: when did which rank commit which step? */
static void log_commit(struct job *job, int rank, uint64_t step) {
    char text[4096];
    if (job->options.commit_log == NULL) {
        return;
    }
    if (job->commit_fd < 0) {
        snprintf(text, sizeof(text), "%s.%d", job->options.commit_log, rank);
        job->commit_fd = open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    }
    int length = snprintf(text, sizeof(text), "%d %" PRIu64 " %" PRIu64 "\n", rank, step, now_ns());
    (void)!write(job->commit_fd, text, (size_t)length);
}

static void after_commit(struct job *job, const struct ckptless_world *world, uint64_t step) {
    const struct options *options = &job->options;
    log_commit(job, world->rank, step);
    if (world->rank != 0) {
        return;
    }
    if (step % options->print_every == 0) {
        printf("step %" PRIu64 " loss %.4f\n", step, (double)(job->gradient.loss / (float)job->samples));
        fflush(stdout);
    }
    if (options->checkpoint && options->checkpoint_every && step % options->checkpoint_every == 0) {
        (void)checkpoint_save(options->checkpoint, step, &job->model, &job->random);
    }
}

/* From `step` to the end. INTERRUPTED: a rank was lost; come back with the step that recover says. */
static enum ckptless_result train(struct job *job, uint64_t step) {
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    struct ring ring;
    ckptless_get_world(job->ctx, &world);
    enum ckptless_result rc = ring_open(&ring, job->ctx, job->options.rendezvous);
    if (rc != CKPTLESS_OK) {
        return rc;
    }
    while (rc == CKPTLESS_OK && step < job->options.steps) {
        uint64_t began_ns = now_ns();
        compute(job, &world);
        if (!ring_sum(&ring, (float *)&job->gradient, sizeof(job->gradient) / sizeof(float))) {
            rc = CKPTLESS_INTERRUPTED; /* a peer is gone */
            break;
        }
        pad(job, began_ns);
        rc = ckptless_update(job->ctx, step + 1, apply, job);
        if (rc == CKPTLESS_OK) {
            after_commit(job, &world, ++step);
        }
    }
    ring_close(&ring);
    return rc;
}

/* What the next step starts from, all of it. */
static enum ckptless_result register_state(struct job *job) {
    struct ckptless_region model = CKPTLESS_REGION_INIT, random = CKPTLESS_REGION_INIT;
    model.name = "model";
    model.data = &job->model;
    model.bytes = sizeof(job->model);
    random.name = "random";
    random.data = &job->random;
    random.bytes = sizeof(job->random);
    random.changes_between_updates = true;
    enum ckptless_result rc = ckptless_register(job->ctx, &model);
    return rc == CKPTLESS_OK ? ckptless_register(job->ctx, &random) : rc;
}

static uint64_t load_or_initialise(struct job *job) {
    uint64_t step = 0;
    if (job->options.checkpoint == NULL ||
        !checkpoint_load(job->options.checkpoint, &step, &job->model, &job->random)) {
        model_init(&job->model);
        job->random.state = 42;
    }
    return step;
}

static enum ckptless_result run(struct job *job) {
    uint64_t step = 0;
    enum ckptless_result rc = register_state(job);
    if (rc != CKPTLESS_OK) {
        return rc;
    }
    do {
        rc = ckptless_recover(job->ctx, &step);
        if (rc == CKPTLESS_RELOAD) {
            step = load_or_initialise(job);
            rc = ckptless_reloaded(job->ctx, step);
        }
        if (rc == CKPTLESS_OK) {
            rc = train(job, step);
        }
        if (rc == CKPTLESS_OK) {
            rc = ckptless_finish(job->ctx);
        }
    } while (rc == CKPTLESS_INTERRUPTED);
    return rc;
}

static void usage(void) {
    fputs("usage: charlm [--steps N] [--batch SAMPLES-PER-RANK] [--data FILE] [--print-every N]\n"
          "              [--checkpoint FILE] [--checkpoint-every N] [--step-ms N] [--commit-log PREFIX]\n"
          "              [--rendezvous-dir DIR]   (several ranks outside of ckptless)\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text, uint64_t min, uint64_t max) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || value < min || value > max) {
        fprintf(stderr, "charlm: '%s' is not a number from %" PRIu64 " to %" PRIu64 "\n", text, min, max);
        exit(2);
    }
    return value;
}

static void parse(struct options *options, int argc, char **argv) {
    enum { STEPS = 1, BATCH, DATA, PRINT, CHECKPOINT, EVERY, STEP_MS, COMMIT_LOG, RENDEZVOUS };
    static const struct option table[] = {
        { "steps", required_argument, NULL, STEPS },
        { "batch", required_argument, NULL, BATCH },
        { "data", required_argument, NULL, DATA },
        { "print-every", required_argument, NULL, PRINT },
        { "checkpoint", required_argument, NULL, CHECKPOINT },
        { "checkpoint-every", required_argument, NULL, EVERY },
        { "step-ms", required_argument, NULL, STEP_MS },
        { "commit-log", required_argument, NULL, COMMIT_LOG },
        { "rendezvous-dir", required_argument, NULL, RENDEZVOUS },
        { NULL, 0, NULL, 0 },
    };
    *options = (struct options){ .steps = 1000, .batch = 8, .print_every = 50, .data = "/usr/share/dict/words" };
    for (int key; (key = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (key) {
        case STEPS:
            options->steps = number(optarg, 0, UINT64_MAX);
            break;
        case BATCH:
            options->batch = (uint32_t)number(optarg, 1, 65536);
            break;
        case DATA:
            options->data = optarg;
            break;
        case PRINT:
            options->print_every = number(optarg, 1, UINT64_MAX);
            break;
        case CHECKPOINT:
            options->checkpoint = optarg;
            break;
        case EVERY:
            options->checkpoint_every = number(optarg, 1, UINT64_MAX);
            break;
        case STEP_MS:
            options->step_ms = (uint32_t)number(optarg, 0, 3600000);
            break;
        case COMMIT_LOG:
            options->commit_log = optarg;
            break;
        case RENDEZVOUS:
            options->rendezvous = optarg;
            break;
        default:
            usage();
        }
    }
    if (optind < argc) {
        usage();
    }
}

int main(int argc, char **argv) {
    static struct job job = { .commit_fd = -1 }; /* megabytes: not on the stack */
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    parse(&job.options, argc, argv);
    if (!data_load(&job.data, job.options.data)) {
        return 1;
    }
    enum ckptless_result rc = ckptless_init(&job.ctx, NULL);
    if (rc != CKPTLESS_OK) {
        return 1;
    }
    rc = run(&job);
    ckptless_get_world(job.ctx, &world);
    if (rc == CKPTLESS_OK && world.rank == 0) {
        printf("final step %" PRIu64 " loss %.4f weights %016" PRIx64 "\n", job.options.steps,
               (double)(job.gradient.loss / (float)job.samples), model_digest(&job.model));
    }
    if (rc != CKPTLESS_OK) {
        fprintf(stderr, "charlm: rank %d: %s\n", world.rank, ckptless_strerror(rc));
    }
    ckptless_finalize(job.ctx);
    data_free(&job.data);
    return rc == CKPTLESS_OK ? 0 : 1;
}
