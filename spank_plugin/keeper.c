/*
 * The keeper's state and main loop. Each round: carry out what is due (a tree to clear, a helper to reach, a START or
 * END that waited for the tree), sleep in poll, take in what came. See keeper.h.
 */
#include "spank_plugin/keeper.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"
#include "spank_plugin/keeper_tree.h"

#define RECONNECT_MS_MAX 10000
#define CONNECT_PAUSE_MS_MAX 16
#define CONNECT_QUICK_ATTEMPTS 300 /* a millisecond apart */
#define CLEARING_MS_MAX 64
#define ENDING_MS_MAX 1000  /* ending, program gone: for the helper's END */
#define FAREWELL_MS_MAX 200 /* for the helper's end after ours */
#define FINAL_CLEARING_MS_MAX 5000
#define STARTS_IN_VAIN_MAX 3
#define KEPT_MAX 7

int64_t keeper_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A line for the user; waits for nothing but the stderr that the program itself would write to. */
static void tell(const char *line, const char *detail) {
    char text[1400];
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1);
    int length = snprintf(text, sizeof(text), "ckptless: %.*s: %s%s%s\n", (int)strcspn(host, "."), host, line,
                          detail[0] ? ": " : "", detail);
    (void)!write(2, text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
}

static void wait_readable(int fd, int timeout_ms) {
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    if (fd >= 0) {
        (void)poll(&pollfd, 1, timeout_ms);
    }
}

/* Ends the keeper; the tree is gone or has had its SIGKILL. The helper ends with its last keeper: Slurm would otherwise
 * wait a second for a process that is about to end. But where Slurm is ending the step its SIGKILL may be on the way
 * (after a second Ctrl-C, at once), and what counts is how the program has ended. */
static void finish(struct keeper *keeper, int status) __attribute__((noreturn));
static void finish(struct keeper *keeper, int status) {
    keeper_link_close(keeper);
    if (!keeper->is_ending) {
        wait_readable(keeper->helper_fd, FAREWELL_MS_MAX);
    }
    keeper_exit_like(keeper->config, status);
}

/* Without the helper: kills everything, waits a bounded time, ends. */
static void give_up(struct keeper *keeper, int status) __attribute__((noreturn));
static void give_up(struct keeper *keeper, int status) {
    int64_t deadline_ms = keeper_now_ms() + FINAL_CLEARING_MS_MAX;
    bool left = true;
    while (left && keeper_now_ms() < deadline_ms) {
        (void)keeper_tree_kill(keeper->pid, false);
        pid_t pid = 1;
        while (pid > 0) {
            pid = waitpid(-1, NULL, WNOHANG);
        }
        left = pid == 0;
        if (left) {
            wait_readable(keeper->signal_fd, 10);
        }
    }
    keeper_exit_like(keeper->config, status);
}

/* Who writes its core may do so for a while, except when the step ends: whoever asked for cores wants a whole one. */
static void kill_tree(struct keeper *keeper) {
    bool spares_dumps = !keeper->is_ending && !keeper->end_is_pending && keeper_now_ms() < keeper->dump_deadline_ms;
    (void)keeper_tree_kill(keeper->pid, spares_dumps);
}

static void begin_clearing(struct keeper *keeper) {
    if (keeper->is_dirty) {
        if (!keeper->is_clearing) {
            keeper->dump_deadline_ms = keeper_now_ms() + keeper->config->dump_ms_max;
        }
        keeper->is_clearing = true;
        keeper->clearing_ms = 1;
        kill_tree(keeper);
    }
}

static void lose_helper(struct keeper *keeper);

static void report(struct keeper *keeper, enum wire_keeper_type type, pid_t pid, int status) {
    if (keeper->socket_fd >= 0 && keeper_link_send(keeper, type, (uint32_t)pid, status) == LINK_LOST) {
        lose_helper(keeper);
    }
}

/* Reaps whoever has ended; true when no child at all is left. */
static bool reap(struct keeper *keeper) {
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            return pid < 0 && errno == ECHILD;
        }
        if (pid == keeper->program) {
            keeper->program = 0;
            keeper->last_status = status;
            report(keeper, WIRE_KEEPER_EXITED, pid, status);
            begin_clearing(keeper);
            if (keeper->is_ending && !keeper->end_deadline_ms) {
                keeper->end_deadline_ms = keeper_now_ms() + ENDING_MS_MAX;
            }
        }
    }
}

static void start_successor(struct keeper *keeper) {
    struct helper_start *start = keeper->config->start;
    pid_t pid = 0;
    int error = 0;
    if (keeper->starts_in_vain >= STARTS_IN_VAIN_MAX) {
        tell("the helper of this node ends again and again before it starts anything", "");
        give_up(keeper, KEEPER_EXIT_CODE << 8);
    }
    uint32_t next = (keeper->address_index + 1) % KEEPER_ADDRESSES;
    keeper->address_index = keeper->config->addresses[next][0] ? next : 0;
    snprintf(start->launch.keepers, sizeof(start->launch.keepers), "%s",
             keeper->config->addresses[keeper->address_index]);
    start->launch.predecessor = keeper->was_connected ? 1 : 0;
    if (helper_start(start, &pid, &error) != HELPER_START_OK) {
        tell("the helper of this node cannot be started again", strerror(error));
        give_up(keeper, KEEPER_EXIT_CODE << 8);
    }
    keeper->starts_in_vain++;
    keeper->helper_pid = pid;
    keeper->helper_fd = descriptors_raise((int)syscall(SYS_pidfd_open, pid, 0));
}

/* Fencing: without its helper a rank does not live. Then the successor, at once; the keepers' HELLO tells it, when it
 * comes, that their trees are gone. */
static void lose_helper(struct keeper *keeper) {
    keeper_link_close(keeper);
    if (keeper->helper_fd >= 0) {
        close(keeper->helper_fd);
        keeper->helper_fd = -1;
    }
    keeper->start_is_pending = false;
    begin_clearing(keeper);
    if (keeper->is_ending) {
        if (!keeper->end_is_pending) {
            keeper->end_is_pending = true;
            keeper->end_status = keeper->program ? SIGTERM : keeper->last_status;
        }
        return;
    }
    if (keeper->config->start && !keeper->end_is_pending) {
        start_successor(keeper);
    }
    if (keeper->was_connected) {
        keeper->connect_deadline_ms = keeper_now_ms() + RECONNECT_MS_MAX;
    }
    keeper->connect_pause_ms = 1;
    keeper->connect_attempts = 0;
}

static void try_connect(struct keeper *keeper) {
    enum link_result result = keeper_link_connect(keeper);
    if (result == LINK_OK) {
        keeper->was_connected = true;
        return;
    }
    keeper_link_close(keeper);
    if (keeper_now_ms() >= keeper->connect_deadline_ms) {
        tell(keeper->was_connected ? "no successor of this node's helper could be reached"
                                   : "the helper of this node could not be reached within launch-timeout",
             "");
        give_up(keeper, KEEPER_EXIT_CODE << 8);
    }
    /* Quick while it should be there any moment. */
    if (keeper->connect_attempts < CONNECT_QUICK_ATTEMPTS) {
        keeper->connect_attempts++;
    } else if (keeper->connect_pause_ms < CONNECT_PAUSE_MS_MAX) {
        keeper->connect_pause_ms *= 2;
    }
}

/* True in the child. */
static bool start_program(struct keeper *keeper) {
    keeper->start_is_pending = false;
    keeper->incarnation = keeper->start.incarnation;
    keeper->is_parked = keeper->start.status == 1;
    keeper->starts_in_vain = 0;
    keeper->is_dirty = true;
    if (keeper_program_fork(keeper)) {
        return true;
    }
    if (keeper->program) {
        report(keeper, WIRE_KEEPER_STARTED, keeper->program, 0);
    } else {
        report(keeper, WIRE_KEEPER_EXITED, 0, KEEPER_EXIT_CODE << 8); /* no process to be had */
        begin_clearing(keeper);
    }
    return false;
}

/* What is due now. True in the child that becomes the program. */
static bool advance(struct keeper *keeper) {
    if (keeper->is_clearing) {
        kill_tree(keeper);
        if (reap(keeper)) {
            keeper->is_clearing = false;
            keeper->is_dirty = false;
            report(keeper, WIRE_KEEPER_CLEARED, 0, 0);
        }
    }
    if (keeper->end_is_pending && !keeper->is_dirty) {
        finish(keeper, keeper->end_status);
    }
    if (keeper->end_deadline_ms && keeper_now_ms() >= keeper->end_deadline_ms) {
        give_up(keeper, keeper->end_is_pending ? keeper->end_status : keeper->last_status);
    }
    if (keeper->socket_fd < 0 && !keeper->is_dirty) {
        try_connect(keeper);
    }
    if (keeper->start_is_pending && !keeper->is_dirty && keeper->socket_fd >= 0) {
        return start_program(keeper);
    }
    return false;
}

static void on_start(struct keeper *keeper, const struct wire_keeper_message *message, int page_fd) {
    if (keeper->start_page_fd >= 0) {
        close(keeper->start_page_fd);
    }
    keeper->start = *message;
    memcpy(keeper->start_packet, keeper->packet, sizeof(keeper->packet));
    if (message->environment_bytes > 0) {
        keeper->start.environment =
            (const char *)keeper->start_packet + (message->environment - (const char *)keeper->packet);
    }
    keeper->start_page_fd = descriptors_raise(page_fd);
    keeper->start_is_pending = true;
    begin_clearing(keeper);
}

static void on_message(struct keeper *keeper) {
    struct wire_keeper_message message;
    int fd;
    enum link_result result = keeper_link_receive(keeper, &message, &fd);
    if (result == LINK_LOST) {
        lose_helper(keeper);
    }
    if (result != LINK_OK) {
        return;
    }
    if (message.type == WIRE_KEEPER_START) {
        on_start(keeper, &message, fd);
        return;
    }
    if (fd >= 0) {
        close(fd);
    }
    switch (message.type) {
    case WIRE_KEEPER_SAY:
        tell(message.environment, "");
        break;
    case WIRE_KEEPER_KILL:
        keeper->start_is_pending = false;
        begin_clearing(keeper);
        break;
    case WIRE_KEEPER_PROMOTED:
        keeper->is_parked = false;
        break;
    case WIRE_KEEPER_HOLD:
        keeper_lease_hold(keeper, true);
        break;
    case WIRE_KEEPER_CONTINUE:
        keeper_lease_hold(keeper, false);
        break;
    case WIRE_KEEPER_END:
        keeper->start_is_pending = false;
        keeper->end_is_pending = true;
        keeper->end_status = message.status;
        keeper->end_deadline_ms = keeper_now_ms() + FINAL_CLEARING_MS_MAX;
        begin_clearing(keeper);
        break;
    default:
        break;
    }
}

static void begin_ending(struct keeper *keeper, int number) {
    if (keeper->socket_fd < 0) {
        give_up(keeper, number);
    }
    if (!keeper->is_ending) {
        keeper->is_ending = true;
        keeper->last_status = keeper->is_dirty ? keeper->last_status : number;
        report(keeper, WIRE_KEEPER_ENDING, 0, number);
    }
    if (keeper->is_dirty && !keeper->program && !keeper->end_deadline_ms) {
        keeper->end_deadline_ms = keeper_now_ms() + ENDING_MS_MAX;
    }
}

/* The helper first: the program may end by it at once. */
static void on_signal(struct keeper *keeper) {
    struct signalfd_siginfo info;
    while (read(keeper->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        bool is_ending;
        enum keeper_signal_meaning meaning = keeper_signal_judge(keeper, &info, &is_ending);
        if (is_ending) {
            begin_ending(keeper, (int)info.ssi_signo);
        } else if (meaning == KEEPER_SIGNAL_FORWARD || meaning == KEEPER_SIGNAL_KNOWN) {
            report(keeper, WIRE_KEEPER_SIGNALLED, 0, (int)info.ssi_signo);
        }
        if (meaning == KEEPER_SIGNAL_FORWARD && keeper->program && !keeper->is_parked) {
            (void)kill(keeper->program, (int)info.ssi_signo);
        }
    }
    (void)reap(keeper);
}

static int next_timeout_ms(struct keeper *keeper) {
    int64_t timeout_ms = -1, lease_ms = keeper_lease_check(keeper);
    if (keeper->is_clearing) {
        timeout_ms = keeper->clearing_ms;
        keeper->clearing_ms = keeper->clearing_ms < CLEARING_MS_MAX ? keeper->clearing_ms * 2 : CLEARING_MS_MAX;
    } else if (keeper->socket_fd < 0) {
        timeout_ms = keeper->connect_pause_ms;
    }
    if (keeper->end_deadline_ms) {
        int64_t left_ms = keeper->end_deadline_ms - keeper_now_ms();
        left_ms = left_ms > 0 ? left_ms : 0;
        timeout_ms = timeout_ms < 0 || left_ms < timeout_ms ? left_ms : timeout_ms;
    }
    timeout_ms = lease_ms >= 0 && (timeout_ms < 0 || lease_ms < timeout_ms) ? lease_ms : timeout_ms;
    return (int)(timeout_ms < INT32_MAX ? timeout_ms : INT32_MAX);
}

/* Returns in the child only. */
static void loop(struct keeper *keeper) {
    while (!advance(keeper)) {
        bool is_starting = keeper->socket_fd < 0 && keeper->config->start;
        struct pollfd pollfds[] = {
            { .fd = keeper->signal_fd, .events = POLLIN },
            { .fd = keeper->parent_fd, .events = POLLIN },
            { .fd = keeper->socket_fd, .events = POLLIN },
            { .fd = is_starting ? keeper->helper_fd : -1, .events = POLLIN },
            { .fd = keeper_input_unread(keeper), .events = POLLIN },
        };
        if (poll(pollfds, sizeof(pollfds) / sizeof(pollfds[0]), next_timeout_ms(keeper)) <= 0) {
            continue;
        }
        if (pollfds[1].revents) {
            give_up(keeper, 1 << 8);
        }
        if (pollfds[0].revents) {
            on_signal(keeper);
        }
        if (pollfds[2].revents && keeper->socket_fd >= 0) {
            on_message(keeper);
        }
        if (pollfds[4].revents) {
            keeper_input_read_away(keeper);
        }
        if (pollfds[3].revents && keeper->socket_fd < 0) {
            lose_helper(keeper); /* it died before we reached it */
        }
    }
}

bool keeper_run(const struct keeper_config *config) {
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        return false;
    }
    keeper->config = config;
    keeper->pid = getpid();
    keeper->socket_fd = keeper->helper_fd = keeper->page_fd = keeper->start_page_fd = -1;
    keeper->parent_fd = descriptors_raise((int)syscall(SYS_pidfd_open, config->parent_pid, 0));
    if (keeper->parent_fd < 0 || getppid() != config->parent_pid || !keeper_signal_init(keeper)) {
        free(keeper);
        return false;
    }
    keeper->helper_pid = config->helper_pid;
    if (config->helper_pid) {
        keeper->helper_fd = descriptors_raise((int)syscall(SYS_pidfd_open, config->helper_pid, 0));
    }
    (void)prctl(PR_SET_NAME, "ckptless-keep"); /* proctrack/linuxproc spares what is named slurmstepd */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)prctl(PR_SET_DUMPABLE, 1); /* the program may open the page through /proc/PID/fd */
    keeper_input_init(keeper);
    /* Slurm's log too: a program that cannot be executed ends with errno, which a failed line in the log would change.
     */
    int kept[KEPT_MAX] = { keeper->signal_fd, keeper->parent_fd, keeper->helper_fd, keeper->input_fd };
    size_t kept_count = 4 + descriptors_find_logs(kept + 4, KEPT_MAX - 4);
    descriptors_close_others(3, kept, kept_count);
    keeper->connect_deadline_ms = keeper_now_ms() + config->launch_timeout_ms;
    keeper->connect_pause_ms = 1;
    loop(keeper);
    return true; /* the child: its copy of *keeper goes with execve */
}
