/*
 * Lost nodes leave the job's allocation, by way of ckptless-shrink: a node that starts again before slurmctld has missed
 * it would make srun abort the step, and one that does not would keep the job from ending. When the step has resumed, and
 * a second after the loss at the latest: what is lost at once goes at once, for Slurm 22.05 without slurmdbd shrinks a job
 * only one time. One run at a time; nothing waits for it.
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
#define FAREWELL_MS 150 /* for a run that is under way when the helper ends */

struct shrink {
    pid_t pid; /* 0: none runs */
    int fd;    /* its stderr */
    struct event *readable, *limit, *soon;
    char said[256];
    size_t said_bytes;
    uint32_t asked; /* lost nodes that the run under way, or the last one, was told of */
};

extern char **environ;

static void say(struct shell *shell, const char *why) {
    char text[WIRE_TEXT_BYTES];
    snprintf(text, sizeof(text), "the lost nodes stay in the job (%s): it ends only when slurmctld gives them up", why);
    rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
}

static void shrink_now(struct shell *shell);

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
    if (status != 0) {
        say(shell, shrink->said[0] ? shrink->said : "ckptless-shrink has failed");
    }
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
        shrink_now(shell); /* what was lost meanwhile */
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
        say(shell, strerror(error));
        return;
    }
    shrink->fd = fds[0];
    memset(shrink->said, 0, sizeof(shrink->said));
    shrink->said_bytes = 0;
    shrink->readable = shell_event_new(shell, shrink->fd, EV_READ | EV_PERSIST, on_readable, shell);
    (void)event_add(shrink->readable, NULL);
    shell_timer_ms(shrink->limit, SHRINK_MS_MAX);
}

static void shrink_now(struct shell *shell) {
    struct shrink *shrink = shell->shrink;
    char **arguments = calloc(shell->node_count + 3u, sizeof(*arguments)), job[16];
    static char name[] = "ckptless-shrink";
    uint32_t count = 0;
    (void)event_del(shrink->soon);
    for (uint32_t node = 0; arguments != NULL && node < shell->node_count; node++) {
        if (shell->node_was_lost[node]) {
            arguments[2 + count++] = shell->nodes[node].member.host;
        }
    }
    if (shrink->pid == 0 && count > shrink->asked) {
        snprintf(job, sizeof(job), "%u", shell->launch.job);
        arguments[0] = name;
        arguments[1] = job;
        shrink->asked = count;
        start_run(shell, arguments);
    }
    free(arguments);
}

static void on_soon(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    shrink_now(arg);
}

static void shrink_soon(struct shell *shell) {
    if (shell->shrink == NULL) {
        shell->shrink = calloc(1, sizeof(*shell->shrink));
        if (shell->shrink == NULL) {
            return; /* the job ends late */
        }
        shell->shrink->limit = shell_event_new(shell, -1, 0, on_late, shell);
        shell->shrink->soon = shell_event_new(shell, -1, 0, on_soon, shell);
    }
    if (!event_pending(shell->shrink->soon, EV_TIMEOUT, NULL)) {
        shell_timer_ms(shell->shrink->soon, SOON_MS);
    }
}

void shrink_on_trace(struct shell *shell, const struct core_trace *trace) {
    if (trace->node_lost && trace->node < shell->node_count && shell->node_was_lost[trace->node]) {
        shrink_soon(shell);
    } else if (shell->shrink != NULL && (trace->type == CORE_TRACE_RESUME || trace->type == CORE_TRACE_END)) {
        shrink_now(shell);
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
    free(shrink);
    shell->shrink = NULL;
}
