/*
 * steps: the smallest program that uses the library, for system tests: a region, a step that changes it, and no word
 * between ranks unless it is asked for. On request it does one thing wrong: that is what it is for.
 *
 *     steps [--steps N] [--step-ms MS] [--bytes N]
 *           [--until FILE]           once FILE exists, steps take no time: a test that has seen enough makes it
 *           [--print-every N]        rank 0 says "step N"
 *           [--lines N]              each rank says N lines "line RANK PID NUMBER ...", of 100 bytes, in each step
 *           [--exchange]             before each step the ranks tell each other where they are
 *           [--environment PREFIX]   in each world, its environment goes to PREFIX.EPOCH.RANK
 *           [--listen PORT]          each rank listens there, and cannot begin while somebody else does
 *           [--odd-rank R]           the rank (of the first start) that does what follows:
 *           [--odd-once DIR]         only if it can make that directory
 *           [--odd-bytes N]          registers its region with that size
 *           [--odd-step N]           calls ckptless_reloaded with that step
 *           [--odd-close init|recover|step]   closes every descriptor just before that
 *           [--odd-memory N]         has N bytes more, and has written to all of them
 *           [--odd-exit N]           ends with that code before its third step, each time that it is started
 */
#include <ckptless.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ODD_STEP 3u
#define LINE_BYTES 100u

extern char **environ;

enum close_when { CLOSE_NEVER, CLOSE_INIT, CLOSE_RECOVER, CLOSE_STEP };

struct options {
    uint64_t steps, step_ms, bytes, print_every, lines, listen, odd_bytes, odd_step, odd_memory;
    const char *environment, *until, *odd_once;
    bool exchange;
    int odd_rank, odd_exit; /* -1: none */
    enum close_when odd_close;
};

struct state {
    uint64_t *words;
    size_t count;
};

/* A word a page and a few more: a large region costs little, and each step changes all parts of it. */
static enum ckptless_result apply(void *arg, uint64_t step) {
    struct state *state = arg;
    for (size_t i = step % 512; i < state->count; i += 512) {
        state->words[i] = (state->words[i] ^ step) * 0x9e3779b97f4a7c15u + i;
    }
    return CKPTLESS_OK;
}

static uint64_t digest(const struct state *state) {
    uint64_t sum = 0;
    for (size_t i = 0; i < state->count; i++) {
        sum = (sum ^ state->words[i]) * 0x100000001b3u;
    }
    return sum;
}

static void close_all(const struct options *options, bool is_odd, enum close_when now) {
    if (is_odd && options->odd_close == now) {
        (void)close_range(0, ~0u, 0);
    }
}

static void write_environment(const char *prefix, const struct ckptless_world *world) {
    char path[4096];
    if (prefix == NULL) {
        return;
    }
    snprintf(path, sizeof(path), "%s.%" PRIu64 ".%d.new", prefix, world->epoch, world->rank);
    FILE *file = fopen(path, "w");
    for (char **variable = environ; file && *variable; variable++) {
        fprintf(file, "%s\n", *variable);
    }
    if (file && fclose(file) == 0) {
        char *final = strdup(path);
        final[strlen(final) - strlen(".new")] = '\0'; /* whoever sees it sees all of it */
        (void)rename(path, final);
        free(final);
    }
}

/* Whole lines in each write, and no more of them than a pipe takes at once: one that is killed leaves none half done.
 */
static void say_lines(int rank, uint64_t count) {
    static uint64_t number;
    char text[LINE_BYTES * 40 + 1];
    size_t used = 0;
    for (uint64_t i = 0; i < count; i++) {
        int length = snprintf(text + used, LINE_BYTES, "line %d %d %" PRIu64 " ", rank, (int)getpid(), number++);
        memset(text + used + length, 'x', LINE_BYTES - (size_t)length - 1);
        used += LINE_BYTES;
        text[used - 1] = '\n';
        if (used + LINE_BYTES >= sizeof(text) || i + 1 == count) {
            if (write(1, text, used) != (ssize_t)used) {
                perror("steps: write");
            }
            used = 0;
        }
    }
}

/* All are at the same step. */
static enum ckptless_result meet(struct ckptless *ctx, uint64_t step) {
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    ckptless_get_world(ctx, &world);
    uint64_t *all = calloc((size_t)world.size, sizeof(*all));
    enum ckptless_result rc = ckptless_exchange(ctx, &step, sizeof(step), all);
    for (int i = 0; rc == CKPTLESS_OK && i < world.size; i++) {
        if (all[i] != step) {
            fprintf(stderr, "steps: rank %d is at step %" PRIu64 ", not %" PRIu64 "\n", i, all[i], step);
            exit(1);
        }
    }
    free(all);
    return rc;
}

static enum ckptless_result train(struct ckptless *ctx, const struct options *options, struct state *state, bool is_odd,
                                  int rank, uint64_t step) {
    const struct timespec pause = { .tv_sec = (time_t)(options->step_ms / 1000),
                                    .tv_nsec = (long)(options->step_ms % 1000) * 1000000 };
    enum ckptless_result rc = CKPTLESS_OK;
    bool is_hurried = false;
    while (rc == CKPTLESS_OK && step < options->steps) {
        is_hurried = is_hurried || (options->until != NULL && access(options->until, F_OK) == 0);
        if (!is_hurried) {
            nanosleep(&pause, NULL);
        }
        if (is_odd && options->odd_exit >= 0 && step + 1 >= ODD_STEP) {
            _exit(options->odd_exit);
        }
        if (step + 1 == ODD_STEP) {
            close_all(options, is_odd, CLOSE_STEP);
        }
        say_lines(rank, options->lines);
        rc = options->exchange ? meet(ctx, step) : CKPTLESS_OK;
        rc = rc == CKPTLESS_OK ? ckptless_update(ctx, step + 1, apply, state) : rc;
        step += rc == CKPTLESS_OK;
        if (rc == CKPTLESS_OK && rank == 0 && options->print_every && step % options->print_every == 0) {
            printf("step %" PRIu64 "\n", step);
            fflush(stdout);
        }
    }
    return rc;
}

static enum ckptless_result run(struct ckptless *ctx, const struct options *options, struct state *state, bool is_odd) {
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    uint64_t step = 0;
    region.name = "state";
    region.data = state->words;
    region.bytes = state->count * sizeof(*state->words);
    enum ckptless_result rc = ckptless_register(ctx, &region);
    if (rc != CKPTLESS_OK) {
        return rc;
    }
    close_all(options, is_odd, CLOSE_RECOVER);
    do {
        rc = ckptless_recover(ctx, &step);
        ckptless_get_world(ctx, &world);
        if (rc == CKPTLESS_OK || rc == CKPTLESS_RELOAD) {
            write_environment(options->environment, &world);
        }
        if (rc == CKPTLESS_RELOAD) {
            memset(state->words, 0, region.bytes);
            step = is_odd ? options->odd_step : 0;
            rc = ckptless_reloaded(ctx, step);
        }
        if (rc == CKPTLESS_OK) {
            rc = train(ctx, options, state, is_odd, world.rank, step);
        }
        if (rc == CKPTLESS_OK) {
            rc = ckptless_finish(ctx);
        }
    } while (rc == CKPTLESS_INTERRUPTED);
    return rc;
}

static bool listen_on(uint64_t port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = port ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (port && (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 8) != 0)) {
        perror("steps: listen");
        return false;
    }
    return true;
}

/* In small pages, as most programs' memory is: it takes the kernel longest to take them back. */
static void fill_memory(uint64_t bytes) {
    char *memory = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
    if (memory == MAP_FAILED) {
        perror("steps: mmap");
        exit(1);
    }
    if (memory) {
        (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
        memset(memory, 1, bytes);
    }
}

static enum close_when parse_close(const char *text) {
    static const char *const names[] = { "never", "init", "recover", "step" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum close_when)i;
        }
    }
    fprintf(stderr, "steps: --odd-close %s?\n", text);
    exit(2);
}

static void parse(struct options *options, int argc, char **argv) {
    enum {
        STEPS = 1,
        ONCE,
        STEP_MS,
        BYTES,
        PRINT,
        LINES,
        UNTIL,
        EXCHANGE,
        ENVIRONMENT,
        LISTEN,
        RANK,
        ODD_BYTES,
        ODD_MEMORY,
        ODD_STEP_AT,
        ODD_CLOSE,
        ODD_EXIT
    };
    static const struct option table[] = {
        { "steps", required_argument, NULL, STEPS },
        { "step-ms", required_argument, NULL, STEP_MS },
        { "bytes", required_argument, NULL, BYTES },
        { "print-every", required_argument, NULL, PRINT },
        { "lines", required_argument, NULL, LINES },
        { "until", required_argument, NULL, UNTIL },
        { "exchange", no_argument, NULL, EXCHANGE },
        { "environment", required_argument, NULL, ENVIRONMENT },
        { "listen", required_argument, NULL, LISTEN },
        { "odd-memory", required_argument, NULL, ODD_MEMORY },
        { "odd-rank", required_argument, NULL, RANK },
        { "odd-once", required_argument, NULL, ONCE },
        { "odd-bytes", required_argument, NULL, ODD_BYTES },
        { "odd-step", required_argument, NULL, ODD_STEP_AT },
        { "odd-close", required_argument, NULL, ODD_CLOSE },
        { "odd-exit", required_argument, NULL, ODD_EXIT },
        { NULL, 0, NULL, 0 },
    };
    *options = (struct options){ .steps = 20, .step_ms = 10, .bytes = 4096, .odd_rank = -1, .odd_exit = -1 };
    for (int key; (key = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (key) {
        case STEPS:
            options->steps = number;
            break;
        case STEP_MS:
            options->step_ms = number;
            break;
        case BYTES:
            options->bytes = number;
            break;
        case UNTIL:
            options->until = optarg;
            break;
        case PRINT:
            options->print_every = number;
            break;
        case LINES:
            options->lines = number;
            break;
        case EXCHANGE:
            options->exchange = true;
            break;
        case ENVIRONMENT:
            options->environment = optarg;
            break;
        case LISTEN:
            options->listen = number;
            break;
        case ODD_MEMORY:
            options->odd_memory = number;
            break;
        case RANK:
            options->odd_rank = (int)number;
            break;
        case ONCE:
            options->odd_once = optarg;
            break;
        case ODD_BYTES:
            options->odd_bytes = number;
            break;
        case ODD_STEP_AT:
            options->odd_step = number;
            break;
        case ODD_CLOSE:
            options->odd_close = parse_close(optarg);
            break;
        case ODD_EXIT:
            options->odd_exit = (int)number;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    struct options options;
    struct ckptless *ctx = NULL;
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    parse(&options, argc, argv);
    const char *rank = getenv("RANK");
    bool is_odd = rank && options.odd_rank >= 0 && atoi(rank) == options.odd_rank &&
                  (!options.odd_once || mkdir(options.odd_once, 0777) == 0);
    uint64_t bytes = is_odd && options.odd_bytes ? options.odd_bytes : options.bytes;
    struct state state = { .words = calloc(1, bytes), .count = bytes / sizeof(uint64_t) };
    if (!listen_on(options.listen)) {
        return 1;
    }
    fill_memory(is_odd ? options.odd_memory : 0);
    close_all(&options, is_odd, CLOSE_INIT);
    enum ckptless_result rc = ckptless_init(&ctx, NULL);
    if (rc == CKPTLESS_OK) {
        rc = run(ctx, &options, &state, is_odd);
        ckptless_get_world(ctx, &world);
    }
    if (rc == CKPTLESS_OK && world.rank == 0) {
        printf("final step %" PRIu64 " state %016" PRIx64 "\n", options.steps, digest(&state));
    }
    if (rc != CKPTLESS_OK) {
        fprintf(stderr, "steps: rank %s: %s\n", rank ? rank : "?", ckptless_strerror(rc));
    }
    ckptless_finalize(ctx);
    free(state.words);
    return rc == CKPTLESS_OK ? 0 : 1;
}
