/*
 * signals: says what reaches it, for system tests. Each process writes to a file of its own, PREFIX.RANK, or
 * PREFIX.spare while it is parked, a line "up PID", then a line for each signal that it gets: its name. Nothing ends it
 * but SIGKILL, unless:
 *
 *     signals [--library]      trains through the library, a step each 10 ms
 *             [--ends NAME]    ends when that signal has come (with the library: by ckptless_finish), with
 *             [--code N]       that exit code
 *             PREFIX
 */
#include <ckptless.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} known[] = { { SIGHUP, "HUP" },   { SIGINT, "INT" },   { SIGQUIT, "QUIT" }, { SIGUSR1, "USR1" },
              { SIGUSR2, "USR2" }, { SIGTERM, "TERM" }, { SIGCONT, "CONT" }, { SIGALRM, "ALRM" } };
#define KNOWN (sizeof(known) / sizeof(known[0]))

static volatile sig_atomic_t out_fd = -1, last_signal, has_come;

static void on_signal(int number) {
    char line[16] = "?\n";
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i].number == number) {
            strcat(strcpy(line, known[i].name), "\n");
        }
    }
    (void)!write(out_fd, line, strlen(line));
    if (number == last_signal) {
        has_come = 1;
    }
}

static void catch_all(const char *ends) {
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < KNOWN; i++) {
        (void)sigaction(known[i].number, &action, NULL);
        last_signal = ends && strcmp(ends, known[i].name) == 0 ? known[i].number : last_signal;
    }
}

/* Where this process writes from now on. */
static void open_own(const char *prefix, const char *name) {
    char path[4096], line[32];
    snprintf(path, sizeof(path), "%s.%s", prefix, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644), old = out_fd;
    out_fd = fd;
    close(old);
    (void)!write(fd, line, (size_t)snprintf(line, sizeof(line), "up %d\n", (int)getpid()));
}

static void nap(void) {
    const struct timespec pause = { .tv_nsec = 10000000 };
    (void)nanosleep(&pause, NULL);
}

static enum ckptless_result apply(void *argument, uint64_t step) {
    *(uint64_t *)argument += step;
    return CKPTLESS_OK;
}

static enum ckptless_result train(struct ckptless *ctx) {
    static uint64_t sum;
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    uint64_t step = 0;
    region.name = "sum";
    region.data = &sum;
    region.bytes = sizeof(sum);
    enum ckptless_result rc = ckptless_register(ctx, &region);
    if (rc != CKPTLESS_OK) {
        return rc;
    }
    do {
        rc = ckptless_recover(ctx, &step);
        rc = rc == CKPTLESS_RELOAD ? ckptless_reloaded(ctx, step = 0) : rc;
        while (rc == CKPTLESS_OK && !has_come) {
            nap();
            rc = ckptless_update(ctx, ++step, apply, &sum);
        }
        rc = rc == CKPTLESS_OK ? ckptless_finish(ctx) : rc;
    } while (rc == CKPTLESS_INTERRUPTED);
    return rc;
}

static int run_with_library(const char *prefix, int code) {
    struct ckptless *ctx = NULL;
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    char name[16];
    bool was_parked = getenv("RANK") == NULL;
    enum ckptless_result rc = ckptless_init(&ctx, NULL);
    if (rc == CKPTLESS_OK && was_parked) {
        ckptless_get_world(ctx, &world);
        snprintf(name, sizeof(name), "%d", world.rank);
        open_own(prefix, name);
    }
    rc = rc == CKPTLESS_OK ? train(ctx) : rc;
    ckptless_finalize(ctx);
    if (rc != CKPTLESS_OK) {
        fprintf(stderr, "signals: %s\n", ckptless_strerror(rc));
    }
    return rc == CKPTLESS_OK ? code : 1;
}

int main(int argc, char **argv) {
    static const struct option table[] = { { "library", no_argument, NULL, 'l' },
                                           { "ends", required_argument, NULL, 'e' },
                                           { "code", required_argument, NULL, 'c' },
                                           { NULL, 0, NULL, 0 } };
    bool uses_library = false;
    const char *ends = NULL;
    int code = 0;
    for (int key; (key = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        uses_library = uses_library || key == 'l';
        ends = key == 'e' ? optarg : ends;
        code = key == 'c' ? atoi(optarg) : code;
        if (key == '?') {
            return 2;
        }
    }
    const char *rank = getenv("RANK") ? getenv("RANK") : getenv("CKPTLESS_PAGE_FD") ? "spare" : getenv("SLURM_PROCID");
    if (optind >= argc || rank == NULL) {
        return 2;
    }
    catch_all(ends);
    open_own(argv[optind], rank);
    if (uses_library && getenv("CKPTLESS_PAGE_FD")) {
        return run_with_library(argv[optind], code);
    }
    while (!has_come) {
        nap();
    }
    return code;
}
