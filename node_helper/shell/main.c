/*
 * ckptlessd: one per node and step, with the user's rights. Reads from descriptor 0 what the keeper that started it
 * wrote, and ends with the last keeper or with slurmstepd. See shell.h for the parts.
 */
#include <errno.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "node_helper/seal/seal.h"
#include "node_helper/shell/shell.h"

#define SLICE_NS 200000u
#define GIVE_UP_MS 500 /* for a line to the user, over a connection that may only be coming up */
#define END_SECONDS_MAX 3
#define FAREWELL_MS 1000 /* for what is queued to peers when all is over */

uint64_t shell_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct event *shell_event_new(struct shell *shell, int fd, short what, event_callback_fn fn, void *arg) {
    struct event *event = event_new(shell->base, fd, what, fn, arg);
    if (event == NULL) {
        log_line("no memory for an event");
        abort();
    }
    return event;
}

void shell_timer_ms(struct event *timer, uint64_t ms) {
    struct timeval wait = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
    (void)event_add(timer, &wait);
}

static void on_farewell(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(shell->base);
}

void shell_leave(struct shell *shell, int exit_code) {
    if (shell->farewell != NULL) {
        return;
    }
    log_line("leaves with code %d", exit_code);
    shell->exit_code = exit_code;
    shell->is_leaving = true;
    shell->farewell = shell_event_new(shell, -1, 0, on_farewell, shell);
    bool waits = peers_close_all(shell);
    shell_timer_ms(shell->farewell, waits ? FAREWELL_MS : 0);
}

/* Its keepers may not be here yet: first the trees of its predecessor must be gone. */
void shell_end_with(struct shell *shell, const char *reason, uint32_t exit_code) {
    log_line("ends its keepers with %u: %s", exit_code, reason);
    shell->is_over = true;
    shell->end_kills = true;
    shell->end_code = exit_code;
    act_check_end(shell);
}

void shell_abandon(struct shell *shell, const char *reason) {
    bool is_spare = shell->nodes != NULL && shell->launch.node >= shell->active_nodes;
    shell_end_with(shell, reason, is_spare ? 0 : SHELL_EXIT_CODE);
    if (shell->keepers_up == 0) {
        shell_leave(shell, SHELL_EXIT_CODE);
    }
}

static void on_give_up(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    shell_abandon(arg, "it cannot do its part");
}

void shell_give_up(struct shell *shell, const char *reason) {
    rollcall_warn(shell, reason);
    if (shell->give_up == NULL) {
        shell->give_up = shell_event_new(shell, -1, 0, on_give_up, shell);
        shell_timer_ms(shell->give_up, GIVE_UP_MS);
    }
}

static void on_stepd_gone(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    log_line("slurmstepd has ended");
    shell_leave(arg, SHELL_EXIT_CODE);
}

/* All of descriptor 0, up to its end. */
static bool read_launch(struct wire_launch *ret_launch) {
    static char text[WIRE_LAUNCH_BYTES_MAX];
    size_t used = 0;
    ssize_t count = 1;
    while (count != 0 && used < sizeof(text)) {
        count = read(0, text + used, sizeof(text) - used);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        used += count > 0 ? (size_t)count : 0;
    }
    bool parsed = wire_launch_parse(text, used, ret_launch);
    explicit_bzero(text, sizeof(text));
    return parsed;
}

/* The step secret, and what else only those know who know it. */
static bool open_secret(struct shell *shell) {
    char error[256];
    uint8_t tag[(sizeof(shell->pmix_tag) - 1) / 2];
    if (!seal_open(shell->launch.secret, shell->launch.munge_socket, shell->secret, error, sizeof(error))) {
        log_line("the step's secret cannot be opened: %s", error);
        return false;
    }
    if (seal_is_plain(shell->launch.secret)) {
        log_line(
            "the step's secret came unsealed (Slurm's AuthType is not auth/munge): who reads Slurm's messages has it");
    }
    explicit_bzero(shell->launch.secret, sizeof(shell->launch.secret));
    seal_derive(shell->secret, "tokens", (uint8_t *)&shell->token_seed, sizeof(shell->token_seed));
    seal_derive(shell->secret, "pmix", tag, sizeof(tag));
    for (size_t i = 0; i < sizeof(tag); i++) {
        snprintf(shell->pmix_tag + 2 * i, 3, "%02x", tag[i]);
    }
    return true;
}

static bool watch_stepd(struct shell *shell) {
    shell->stepd_fd = (int)syscall(SYS_pidfd_open, (pid_t)shell->launch.stepd_pid, 0);
    if (shell->stepd_fd < 0) {
        return false;
    }
    shell->stepd_gone = shell_event_new(shell, shell->stepd_fd, EV_READ, on_stepd_gone, shell);
    return event_add(shell->stepd_gone, NULL) == 0;
}

static bool begin(struct shell *shell) {
    shell->base = event_base_new(); /* milliseconds are enough, and half a system call a turn less */
    return shell->base != NULL && watch_stepd(shell) && slots_init(shell) && keepers_init(shell) && peers_init(shell) &&
           pulls_init(shell) && rollcall_begin(shell);
}

static void free_event(struct event *event) {
    if (event != NULL) {
        event_free(event);
    }
}

/* False: a thread was left behind. */
static bool end(struct shell *shell) {
    rpc_fini(shell);
    bool is_clean = pulls_fini(shell);
    shrink_fini(shell);
    orphan_fini(shell);
    keepers_fini(shell);
    slots_fini(shell);
    peers_fini(shell);
    gather_reset(shell);
    exchange_fini(shell);
    stays_fini(shell);
    tables_fini(shell);
    core_destroy(shell->core);
    world_fini(&shell->world);
    free_event(shell->deadline);
    free_event(shell->launch_limit);
    free_event(shell->unheard);
    free_event(shell->stepd_gone);
    free_event(shell->farewell);
    free_event(shell->farewell_wait);
    free_event(shell->give_up);
    unsaid_fini(shell);
    free(shell->nodes);
    free(shell->hosts);
    if (shell->base != NULL) {
        event_base_free(shell->base);
    }
    return is_clean;
}

/* The ranks keep all CPUs busy, and what the helper does is short and urgent: a small slice gets it onto a CPU at its
 * wake-up (EEVDF, Linux 6.12 and later; needs no right; elsewhere it changes nothing). Threads inherit it. */
static void ask_for_short_slices(void) {
    struct sched_attr {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } attr = { 0 };
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) == 0 && attr.policy == 0 /* SCHED_OTHER */) {
        attr.runtime_ns = SLICE_NS;
        (void)syscall(SYS_sched_setattr, 0, &attr, 0);
    }
}

/* A page of ours that was reclaimed comes back from a disk that may be busy for half a second: long enough to be taken
 * for dead. Only what is touched is locked, but every mapping counts against the limit, so not where there is one. */
static void lock_memory(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) {
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    }
}

int main(void) {
    static struct shell shell; /* large, and there is one */
    char error[256];
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_NAME, "ckptlessd");
    /* The secret in our memory is nobody else's. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    ask_for_short_slices();
    lock_memory();
    shell.began_ns = shell_now_ns();
    shell.stepd_fd = shell.keeper_listen_fd = shell.ring_read_fd = shell.ring_write_fd = -1;
    if (!read_launch(&shell.launch)) {
        (void)!write(2, "ckptlessd: is started by the Slurm plugin, with its orders on descriptor 0\n", 75);
        return SHELL_EXIT_CODE;
    }
    log_open(shell.launch.host);
    if (!wire_settings_parse(shell.launch.option, &shell.settings, error, sizeof(error))) {
        log_line("option: %s", error);
        return SHELL_EXIT_CODE;
    }
    shell.exit_code = SHELL_EXIT_CODE;
    if (open_secret(&shell) && begin(&shell)) {
        (void)event_base_dispatch(shell.base);
    }
    /* PMIx and libfabric take their own time to end, in rare cases for ever: nothing stays behind for that. */
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(END_SECONDS_MAX);
    if (!end(&shell)) {
        _exit(shell.exit_code);
    }
    return shell.exit_code;
}
