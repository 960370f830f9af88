/*
 * Signals at the keeper. The keeper blocks all that can be handled and reads them one by one with their senders,
 * because the same signal may have gone to the program already:
 *   - proctrack/cgroup signals the tasks only, proctrack/linuxproc the whole tree; both send from slurmstepd;
 *   - a task's process above several keepers passes on to them what it would have passed on to a program;
 *   - a terminal signals its whole foreground group, in which the program is too;
 *   - kill(0, ...) by a program of the same group reaches the keeper by accident.
 */
#include <stdio.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"
#include "spank_plugin/keeper_tree.h"

bool keeper_signal_init(struct keeper *keeper) {
    static const int own_faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
    sigset_t handled;
    sigfillset(&handled);
    for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++) {
        sigdelset(&handled, own_faults[i]);
    }
    if (sigprocmask(SIG_SETMASK, &handled, &keeper->mask_before) != 0) {
        return false;
    }
    keeper->signal_fd = descriptors_raise(signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
    if (keeper->signal_fd < 0) {
        keeper_signal_restore(keeper);
        return false;
    }
    return true;
}

/* From a process of the step itself, by kill(0, ...) or on purpose: the keeper was not meant. */
static bool is_from_inside(const struct keeper *keeper, pid_t sender) {
    return sender > 0 && (getpgid(sender) == getpgrp() || keeper_tree_contains(keeper->pid, sender));
}

enum keeper_signal_meaning keeper_signal_judge(const struct keeper *keeper, const struct signalfd_siginfo *info,
                                               bool *ret_is_ending) {
    pid_t sender = (pid_t)info->ssi_pid;
    int number = (int)info->ssi_signo;
    *ret_is_ending = false;
    if (number == SIGCHLD) {
        return KEEPER_SIGNAL_CHILD;
    }
    if (info->ssi_code == SI_KERNEL) {
        *ret_is_ending = number == SIGHUP; /* the terminal is gone */
        return number == SIGINT || number == SIGQUIT ? KEEPER_SIGNAL_KNOWN : KEEPER_SIGNAL_SILENT;
    }
    bool from_stepd = sender == keeper->config->stepd_pid, from_parent = sender == keeper->config->parent_pid;
    if (!from_stepd && !from_parent && is_from_inside(keeper, sender)) {
        return KEEPER_SIGNAL_SILENT;
    }
    *ret_is_ending = number == SIGTERM || number == SIGINT || number == SIGQUIT || number == SIGHUP;
    return from_stepd && keeper->config->everyone_is_signalled ? KEEPER_SIGNAL_KNOWN : KEEPER_SIGNAL_FORWARD;
}

void keeper_signal_park(char *ret_list, size_t capacity) {
    static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGCONT };
    sigset_t parked, before;
    size_t used = 0;
    sigemptyset(&parked);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(&parked, numbers[i]);
    }
    ret_list[0] = '\0';
    if (sigprocmask(SIG_BLOCK, &parked, &before) != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && used < capacity; i++) {
        if (!sigismember(&before, numbers[i])) {
            used += (size_t)snprintf(ret_list + used, capacity - used, "%s%d", used ? "," : "", numbers[i]);
        }
    }
}

void keeper_signal_restore(const struct keeper *keeper) {
    (void)sigprocmask(SIG_SETMASK, &keeper->mask_before, NULL);
}
