/* See slurm_run.h. */
#include "slurm_client/slurm_run.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 4096u
#define LATE_TEXT "slurmctld does not answer"

struct slurm_run {
    pid_t pid;
    int fd; /* its stdout and stderr */
    struct event *readable, *limit;
    char said[256];
    size_t said_bytes;
    slurm_run_end_fn *on_end;
    void *arg;
};

extern char **environ;

/* Beside this program itself. */
static bool find_program(char *ret_path, size_t capacity) {
    static const char name[] = "ckptless-slurm";
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

int slurm_spawn(const char *program, char *const *arguments, int out_fd, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, out_fd, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int error = posix_spawnp(ret_pid, program, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int spawn(const char *const *arguments, int out_fd, pid_t *ret_pid) {
    char path[1024], name[] = "ckptless-slurm";
    size_t count = 0;
    while (arguments[count] != NULL) {
        count++;
    }
    char **list = count < ARGUMENTS_MAX ? calloc(count + 2, sizeof(*list)) : NULL;
    if (list == NULL) {
        return E2BIG;
    }
    list[0] = name;
    for (size_t i = 0; i < count; i++) {
        list[i + 1] = (char *)(uintptr_t)arguments[i]; /* posix_spawn does not write there */
    }
    int error = find_program(path, sizeof(path)) ? slurm_spawn(path, list, out_fd, ret_pid) : ENOENT;
    free(list);
    return error;
}

/* Reaps and frees it; its exit status, or -1. */
static int end_run(struct slurm_run *run, bool kills) {
    int status = 0;
    if (kills) {
        (void)kill(run->pid, SIGKILL);
    }
    /* Else it has closed its last descriptor: it ends at once. */
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
    }
    event_free(run->readable);
    event_free(run->limit);
    close(run->fd);
    free(run);
    return !kills && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void tell(struct slurm_run *run, bool is_late) {
    slurm_run_end_fn *on_end = run->on_end;
    void *arg = run->arg;
    char said[sizeof(run->said)];
    snprintf(said, sizeof(said), "%s", is_late ? LATE_TEXT : run->said);
    said[strcspn(said, "\n")] = '\0';
    on_end(arg, end_run(run, is_late), said);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct slurm_run *run = arg;
    char text[256];
    (void)what;
    ssize_t count = read(fd, text, sizeof(text));
    if (count > 0) {
        size_t room = sizeof(run->said) - 1 - run->said_bytes;
        size_t taken = (size_t)count < room ? (size_t)count : room;
        memcpy(run->said + run->said_bytes, text, taken);
        run->said_bytes += taken;
    } else if (count == 0 || errno != EINTR) {
        tell(run, false);
    }
}

static void on_limit(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    tell(arg, true);
}

int slurm_run_begin(struct slurm_run **ret_run, struct event_base *base, const char *const *arguments,
                    uint64_t limit_ms, slurm_run_end_fn *on_end, void *arg) {
    const struct timeval limit = { (time_t)(limit_ms / 1000), (suseconds_t)(limit_ms % 1000) * 1000 };
    int fds[2] = { -1, -1 };
    struct slurm_run *run = calloc(1, sizeof(*run));
    int error = run == NULL ? ENOMEM : pipe2(fds, O_CLOEXEC) != 0 ? errno : 0;
    if (error == 0) {
        run->fd = fds[0];
        run->on_end = on_end;
        run->arg = arg;
        run->readable = event_new(base, fds[0], EV_READ | EV_PERSIST, on_readable, run);
        run->limit = evtimer_new(base, on_limit, run);
        error = run->readable == NULL || run->limit == NULL ? ENOMEM : spawn(arguments, fds[1], &run->pid);
    }
    if (fds[1] >= 0) {
        close(fds[1]);
    }
    if (error == 0) {
        (void)event_add(run->readable, NULL);
        (void)event_add(run->limit, &limit);
        *ret_run = run;
        return 0;
    }
    if (run != NULL && run->readable != NULL) {
        event_free(run->readable);
    }
    if (run != NULL && run->limit != NULL) {
        event_free(run->limit);
    }
    if (fds[0] >= 0) {
        close(fds[0]);
    }
    free(run);
    return error;
}

void slurm_run_destroy(struct slurm_run *run, int patience_ms) {
    if (run != NULL) {
        struct pollfd pollfd = { .fd = run->fd, .events = POLLIN };
        bool has_ended = poll(&pollfd, 1, patience_ms) > 0;
        (void)end_run(run, !has_ended);
    }
}
