/*
 * What /proc says about a process of this node.
 */
#ifndef CKPTLESS_SHELL_PROCESS_H
#define CKPTLESS_SHELL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process_state {
    char state; /* as in ps(1) */
    pid_t parent;
    unsigned long flags; /* of its main thread: PF_* of the kernel */
    int status;          /* as of waitpid(2), once the process has begun to end, to its owner; else 0 */
};

/* False: there is none, not even a zombie. */
bool process_read(pid_t pid, struct process_state *ret_state);
/* A SIGKILL is pending for the whole process: it is not taken off before its end. */
bool process_kill_is_pending(pid_t pid);
/* One of its threads has something to do at this moment. */
bool process_is_busy(pid_t pid);
/* `pid` is `root` or one of its living descendants. */
bool process_is_below(pid_t pid, pid_t root);
/* SIGKILL to every process whose environment names this keeper (CKPTLESS_KEEPER_PID), and to all below them: what a
 * keeper that was itself killed has left. Answers how many. Bound: 4096 processes. */
size_t process_kill_left_by(pid_t keeper);

#endif
