/*
 * Lost nodes leave the job's allocation, by way of ckptless-shrink: a node that starts again before slurmctld has
 * missed it would make srun abort the step, and one that does not would keep the job from ending. When the step has
 * resumed, and a second after the loss at the latest: what is lost at once goes at once, for Slurm 22.05 without
 * slurmdbd shrinks a job only one time. One run at a time; nothing waits for it. A refusal that may not last is tried
 * again. What a leader before has lost, and perhaps not asked for, a new one asks for a second after it has come up: by
 * then a node whose helper merely died has another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/shell/shell.h"

#define SHRINK_MS_MAX 30000 /* slurmctld answers in milliseconds, or in the seconds of its own time-outs */
#define SOON_MS 1000
#define AGAIN_MS 5000 /* after a refusal, and ever later */
#define AGAIN_DOUBLED_MAX 6u
#define EXIT_LATER 3    /* of ckptless-shrink: it may work later */
#define FAREWELL_MS 150 /* for a run that is under way when the helper ends */

enum place { IN_JOB, ASKED, STAYS, HAS_LEFT }; /* of a lost node; STAYS: and the user knows it */

struct shrink {
    pid_t pid; /* 0: none runs */
    int fd;    /* its stderr */
    struct event *readable, *limit, *soon;
    char said[256];
    size_t said_bytes;
    uint32_t refusals;
    enum place *places; /* by node */
};

extern char **environ;

/* Names of the nodes at a place, "n2,n4", cut short where the line would be too long; moves them to the place `to`. */
static bool move(struct shell *shell, enum place from, enum place to, char *ret_hosts, size_t capacity) {
    size_t used = 0;
    ret_hosts[0] = '\0';
    bool any = false;
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (shell->shrink->places[node] != from) {
            continue;
        }
        const char *host = shell->nodes[node].member.host;
        if (used + strlen(host) + 2 < capacity) {
            used += (size_t)snprintf(ret_hosts + used, capacity - used, "%s%s", used > 0 ? "," : "", host);
        }
        shell->shrink->places[node] = to;
        any = true;
    }
    return any;
}

static void warn(struct shell *shell, const char *text) {
    rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
}

/* Once for each node. */
static void say_refused(struct shell *shell, const char *why) {
    char text[WIRE_TEXT_BYTES], hosts[WIRE_TEXT_BYTES / 2];
    if (move(shell, ASKED, STAYS, hosts, sizeof(hosts))) {
        snprintf(
            text, sizeof(text),
            "%s cannot leave the job (%s): a return before slurmctld finds it down (SlurmdTimeout) ends the step, and "
            "the job's end waits for that",
            hosts, why);
        warn(shell, text);
    }
}

static void note_success(struct shell *shell) {
    char text[WIRE_TEXT_BYTES], hosts[WIRE_TEXT_BYTES / 2];
    if (move(shell, STAYS, HAS_LEFT, hosts, sizeof(hosts))) {
        snprintf(text, sizeof(text), "%s has left the job now", hosts);
        warn(shell, text);
    }
    (void)move(shell, ASKED, HAS_LEFT, hosts, sizeof(hosts));
}

/* status: as of waitpid(2). */
static void judge(struct shell *shell, int status) {
    struct shrink *shrink = shell->shrink;
    if (status == 0) {
        shrink->refusals = 0;
        note_success(shell);
        return;
    }
    say_refused(shell, shrink->said[0] ? shrink->said : "ckptless-shrink has failed");
    if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_LATER) {
        shell_timer_ms(shrink->soon, (uint64_t)AGAIN_MS << shrink->refusals);
        shrink->refusals += shrink->refusals < AGAIN_DOUBLED_MAX ? 1 : 0;
    }
}

static void ask(struct shell *shell, bool again);

static void end_run(struct shell *shell, bool is_late) {
    struct shrink *shrink = shell->shrink;
    int status = 0;
    (void)event_del(shrink->readable);
    (void)event_del(shrink->limit);
    event_free(shrink->readable);
    close(shrink->fd);
    if (is_late) {
        (void)kill(shrink->pid, SIGKILL);
    }
    (void)waitpid(shrink->pid, &status, 0); /* else it has closed its last descriptor: it ends at once */
    shrink->pid = 0;
    shrink->said[strcspn(shrink->said, "\n")] = '\0';
    log_line("ckptless-shrink: status %d %s", status, shrink->said);
    judge(shell, status);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    struct shrink *shrink = shell->shrink;
    (void)what;
    char text[256];
    ssize_t count = read(fd, text, sizeof(text));
    if (count > 0) {
        size_t room = sizeof(shrink->said) - 1 - shrink->said_bytes;
        size_t taken = (size_t)count < room ? (size_t)count : room;
        memcpy(shrink->said + shrink->said_bytes, text, taken);
        shrink->said_bytes += taken;
    } else if (count == 0 || errno != EINTR) {
        end_run(shell, false);
        ask(shell, false); /* what was lost meanwhile */
    }
}

static void on_late(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    snprintf(shell->shrink->said, sizeof(shell->shrink->said), "slurmctld does not answer");
    end_run(shell, true);
}

/* Beside the helper itself. */
static bool find_program(char *ret_path, size_t capacity) {
    static const char name[] = "ckptless-shrink";
    ssize_t length = readlink("/proc/self/exe", ret_path, capacity - 1);
    if (length <= 0) {
        return false;
    }
    ret_path[length] = '\0';
    char *slash = strrchr(ret_path, '/');
    if (slash == NULL || (size_t)(slash + 1 - ret_path) + sizeof(name) > capacity) {
        return false;
    }
    memcpy(slash + 1, name, sizeof(name));
    return true;
}

static int spawn(struct shell *shell, char **arguments, int error_fd) {
    posix_spawn_file_actions_t actions;
    char path[1024];
    if (!find_program(path, sizeof(path))) {
        return ENOENT;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, error_fd, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    int error = posix_spawn(&shell->shrink->pid, path, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void start_run(struct shell *shell, char **arguments) {
    struct shrink *shrink = shell->shrink;
    int fds[2], error = pipe2(fds, O_CLOEXEC) == 0 ? 0 : errno;
    if (error == 0) {
        error = spawn(shell, arguments, fds[1]);
        close(fds[1]);
        if (error != 0) {
            close(fds[0]);
        }
    }
    if (error != 0) {
        shrink->pid = 0;
        say_refused(shell, strerror(error));
        return;
    }
    shrink->fd = fds[0];
    memset(shrink->said, 0, sizeof(shrink->said));
    shrink->said_bytes = 0;
    shrink->readable = shell_event_new(shell, shrink->fd, EV_READ | EV_PERSIST, on_readable, shell);
    (void)event_add(shrink->readable, NULL);
    shell_timer_ms(shrink->limit, SHRINK_MS_MAX);
}

/* Asks when there is something new to ask, or when it is time to ask again. */
static void ask(struct shell *shell, bool is_due) {
    struct shrink *shrink = shell->shrink;
    char job[16], name[] = "ckptless-shrink", again[] = "--again";
    char **arguments = calloc(shell->node_count + 4u, sizeof(*arguments));
    uint32_t count = 0;
    bool any_new = is_due, any_left = false;
    if (arguments == NULL || shrink->pid != 0) {
        free(arguments);
        return; /* the end of that run asks again */
    }
    for (uint32_t node = 0; node < shell->node_count; node++) {
        enum place *place = &shrink->places[node];
        any_left = any_left || *place == HAS_LEFT;
        bool is_out = shell->nodes[node].was_silent || (is_due && result_is_lost(shell, node));
        if (is_out && *place != HAS_LEFT) {
            arguments[3 + count++] = shell->nodes[node].member.host;
            any_new = any_new || *place == IN_JOB;
            *place = *place == IN_JOB ? ASKED : *place;
        }
    }
    if (count > 0 && any_new) {
        (void)event_del(shrink->soon);
        snprintf(job, sizeof(job), "%u", shell->launch.job);
        arguments[0] = arguments[1] = any_left ? again : name;
        arguments[2] = job;
        start_run(shell, any_left ? arguments : arguments + 1);
    }
    free(arguments);
}

static void on_soon(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    ask(arg, true);
}

static void shrink_soon(struct shell *shell) {
    if (shell->shrink == NULL) {
        enum place *places = calloc(shell->node_count, sizeof(*places));
        struct shrink *shrink = places != NULL ? calloc(1, sizeof(*shrink)) : NULL;
        if (shrink == NULL) {
            free(places);
            return; /* the job ends late */
        }
        shrink->places = places;
        shell->shrink = shrink;
        shell->shrink->limit = shell_event_new(shell, -1, 0, on_late, shell);
        shell->shrink->soon = shell_event_new(shell, -1, 0, on_soon, shell);
    }
    if (!event_pending(shell->shrink->soon, EV_TIMEOUT, NULL)) {
        shell_timer_ms(shell->shrink->soon, SOON_MS);
    }
}

void shrink_on_trace(struct shell *shell, const struct core_trace *trace) {
    if (trace->node_lost && trace->node < shell->node_count && shell->nodes[trace->node].was_silent) {
        shrink_soon(shell);
    } else if (shell->shrink != NULL && (trace->type == CORE_TRACE_RESUME || trace->type == CORE_TRACE_END)) {
        ask(shell, trace->type == CORE_TRACE_END);
    }
}

void shrink_lead(struct shell *shell) {
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (result_is_lost(shell, node)) {
            shrink_soon(shell);
            return;
        }
    }
}

void shrink_fini(struct shell *shell) {
    struct shrink *shrink = shell->shrink;
    if (shrink == NULL) {
        return;
    }
    if (shrink->pid != 0) {
        struct pollfd pollfd = { .fd = shrink->fd, .events = POLLIN };
        (void)poll(&pollfd, 1, FAREWELL_MS);
        end_run(shell, true);
    }
    event_free(shrink->limit);
    event_free(shrink->soon);
    free(shrink->places);
    free(shrink);
    shell->shrink = NULL;
}
