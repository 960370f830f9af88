/*
 * Several ranks in one task (ranks=K). The task's process forks a keeper for each, and each is what it would be as a
 * task of its own: subreaper of its rank's tree, with a slot, a page and a helper's connection, so that an orphan of
 * one rank never comes into another's tree. The process above them does two things: it passes Slurm's signals on, and
 * ends when all keepers have. Knows no helper and no program.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"

struct group {
    struct keeper *judge;     /* our own pid, signals and config: what they mean is the same here */
    int status;               /* of waitpid(2): of the keeper whose end counts most so far */
    int killed_status;        /* of one that was killed itself */
    volatile bool *has_ended; /* by keeper; shared with it */
    uint32_t living, ended, count;
    pid_t keepers[]; /* 0: has ended */
};

/* What a shell makes of it: the step's exit code is the highest of these. */
static int code_of(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A keeper that was killed itself says nothing about its rank, which has gone on elsewhere or has ended the step. */
static void end(struct group *group, uint32_t index, int status) {
    if (!group->has_ended[index]) {
        group->killed_status = status;
        return;
    }
    group->ended++;
    group->status = code_of(status) > code_of(group->status) ? status : group->status;
}

static void reap(struct group *group) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (uint32_t i = 0; i < group->count; i++) {
            if (group->keepers[i] == pid) {
                group->keepers[i] = 0;
                group->living--;
                end(group, i, status);
            }
        }
    }
}

static void on_signal(struct group *group) {
    struct signalfd_siginfo info;
    while (read(group->judge->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        bool is_ending;
        if (keeper_signal_judge(group->judge, &info, &is_ending) != KEEPER_SIGNAL_FORWARD) {
            continue;
        }
        for (uint32_t i = 0; i < group->count; i++) {
            if (group->keepers[i]) {
                (void)kill(group->keepers[i], (int)info.ssi_signo);
            }
        }
    }
    reap(group);
}

static void watch(struct group *group) __attribute__((noreturn));
static void watch(struct group *group) {
    struct pollfd pollfds[] = {
        { .fd = group->judge->signal_fd, .events = POLLIN },
        { .fd = group->judge->parent_fd, .events = POLLIN },
    };
    while (group->living > 0) {
        if (poll(pollfds, 2, -1) <= 0) {
            continue;
        }
        if (pollfds[1].revents) {
            _exit(1); /* slurmstepd is gone: the keepers see that we are, and take their trees with them */
        }
        on_signal(group);
    }
    keeper_exit_like(group->judge->config, group->ended ? group->status : group->killed_status);
}

/* A task has one input: its first rank reads it, or two would get half of it each. */
static void leave_input(void) {
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd > 0) {
        (void)dup2(null_fd, 0);
        close(null_fd);
    }
}

/* In the keeper's process, whose parent is `above`. */
static bool become_keeper(struct group *group, struct keeper_config *config, uint32_t index, pid_t above) {
    config->slot += index;
    config->has_ended = &group->has_ended[index];
    config->parent_pid = above;
    if (index > 0) {
        config->start = NULL;
        config->helper_pid = 0;
        leave_input();
    }
    keeper_leave_group();
    keeper_signal_restore(group->judge);
    free(group->judge);
    free(group);
    return keeper_run(config);
}

bool keeper_group_run(struct keeper_config *config, uint32_t ranks) {
    if (ranks <= 1) {
        return keeper_run(config);
    }
    struct group *group = calloc(1, sizeof(*group) + ranks * sizeof(*group->keepers));
    struct keeper *judge = calloc(1, sizeof(*judge));
    if (group == NULL || judge == NULL) {
        free(group);
        free(judge);
        return false;
    }
    group->judge = judge;
    judge->config = config;
    judge->pid = getpid();
    group->has_ended = mmap(NULL, ranks * sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    judge->parent_fd = descriptors_raise((int)syscall(SYS_pidfd_open, config->parent_pid, 0));
    if (group->has_ended == MAP_FAILED || judge->parent_fd < 0 || getppid() != config->parent_pid ||
        !keeper_signal_init(judge)) {
        return false;
    }
    for (; group->count < ranks; group->count++) {
        pid_t pid = fork();
        if (pid == 0) {
            return become_keeper(group, config, group->count, judge->pid);
        }
        if (pid < 0) {
            return false; /* the keepers that there are end with us */
        }
        group->keepers[group->count] = pid;
        group->living++;
    }
    (void)prctl(PR_SET_NAME, "ckptless-task"); /* proctrack/linuxproc spares what is named slurmstepd */
    const int kept[] = { judge->signal_fd, judge->parent_fd };
    descriptors_close_others(3, kept, 2);
    watch(group);
}
