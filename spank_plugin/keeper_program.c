/*
 * Starting the rank's program out of the keeper, and ending the keeper as the program ended. Knows nothing of the
 * helper.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"

#define NAME_BYTES 256

/* START's strings: "NAME=value" sets, "NAME" removes. The last one is ended by NUL: the decoder has seen to it. */
static void apply_environment(const struct keeper *keeper) {
    const struct keeper_config *config = keeper->config;
    const char *text = keeper->start.environment, *end = text + keeper->start.environment_bytes;
    char name[NAME_BYTES], number[16];
    for (; text < end; text += strnlen(text, (size_t)(end - text)) + 1) {
        const char *equals = strchr(text, '=');
        int length = equals ? (int)(equals - text) : (int)strlen(text);
        if (length > 0 && length < NAME_BYTES) {
            snprintf(name, sizeof(name), "%.*s", length, text);
            config->set_environment(config->argument, name, equals ? equals + 1 : NULL);
        }
    }
    snprintf(number, sizeof(number), "%d", keeper->page_fd);
    config->set_environment(config->argument, "CKPTLESS_PAGE_FD", number);
    snprintf(number, sizeof(number), "%d", (int)keeper->pid);
    config->set_environment(config->argument, "CKPTLESS_KEEPER_PID", number);
    snprintf(number, sizeof(number), "%d", (int)getpid());
    config->set_environment(config->argument, "SLURM_TASK_PID", number);
}

/* A file of the slot's own, and not of the rank's: a program that waits on a spare has none yet. */
static void redirect_output(const struct keeper *keeper) {
    char path[KEEPER_PATH_BYTES], line[KEEPER_PATH_BYTES + 256];
    if (keeper->config->output == NULL) {
        return;
    }
    snprintf(path, sizeof(path), "%s%u.out", keeper->config->output, keeper->config->slot);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0 && dup2(fd, 1) == 1 && dup2(fd, 2) == 2) {
        close(fd);
        return;
    }
    int length = snprintf(line, sizeof(line), "ckptless: rank-output=file: %s: %s; the task's output has it\n", path,
                          strerror(errno));
    (void)!write(2, line, (size_t)length);
}

static void park(const struct keeper *keeper) {
    char list[64] = "";
    if (keeper->is_parked) {
        keeper_signal_park(list, sizeof(list));
    }
    keeper->config->set_environment(keeper->config->argument, "CKPTLESS_SIGNALS_HELD", list[0] ? list : NULL);
}

/* When memory is short the program's processes are killed before the helper, which would take all ranks of the node
 * with it. A process may only raise its score. */
static void raise_memory_score(const struct keeper *keeper) {
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0) {
        long score = strtol(text, NULL, 10) + keeper->config->memory_score;
        int length = snprintf(text, sizeof(text), "%ld", score > 1000 ? 1000 : score);
        (void)!pwrite(fd, text, (size_t)length, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
}

void keeper_leave_group(void) {
    if (tcgetpgrp(0) != getpgrp()) {
        (void)setpgid(0, 0);
    }
}

bool keeper_program_fork(struct keeper *keeper) {
    if (keeper->page_fd >= 0) {
        close(keeper->page_fd);
    }
    /* Not close-on-exec: the program inherits it. */
    keeper->page_fd = keeper->start_page_fd < 0 ? -1 : fcntl(keeper->start_page_fd, F_DUPFD, DESCRIPTORS_FIRST);
    if (keeper->page_fd < 0 && keeper->start_page_fd >= 0) {
        keeper->page_fd = fcntl(keeper->start_page_fd, F_DUPFD, 3);
    }
    if (keeper->start_page_fd >= 0) {
        close(keeper->start_page_fd);
        keeper->start_page_fd = -1;
    }
    keeper_lease_take(keeper);
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed keeper leaves no program behind */
        if (getppid() != keeper->pid) {
            _exit(1);
        }
        keeper_leave_group();
        keeper_signal_restore(keeper);
        raise_memory_score(keeper);
        apply_environment(keeper);
        redirect_output(keeper);
        park(keeper);
        return true;
    }
    keeper->program = child > 0 ? child : 0;
    return false;
}

void keeper_exit_like(const struct keeper_config *config, int status) {
    if (config->has_ended) {
        *config->has_ended = true;
    }
    if (WIFSIGNALED(status)) {
        struct rlimit no_core = { 0 };
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t none;
        int number = WTERMSIG(status);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)prctl(PR_SET_DUMPABLE, 0);
        (void)sigaction(number, &action, NULL);
        sigemptyset(&none);
        (void)kill(getpid(), number);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        _exit(128 + number);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
