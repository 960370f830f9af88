/*
 * Starting ckptlessd from a task of the step: the user's rights, the step's cgroup, a session of its own, and nothing
 * inherited but the launch text. Knows no Slurm and no protocol.
 */
#ifndef CKPTLESS_HELPER_START_H
#define CKPTLESS_HELPER_START_H

#include <sys/types.h>

#include "node_helper/wire/wire_launch.h"

enum helper_start_result {
    HELPER_START_OK = 0,
    HELPER_START_SYSTEM, /* no process, pipe or memory; ret_errno */
    HELPER_START_EXEC,   /* the program cannot be executed; ret_errno */
};

struct helper_start {
    char path[1024];           /* of ckptlessd */
    char log_path[1024];       /* its stderr is appended there; "": /dev/null */
    struct wire_launch launch; /* carries the secret: never printed */
    char **environment;        /* of ckptlessd, without LD_*; ended by NULL; the caller's */
};

/* Returns when the program has been executed, within 10 s. ret_pid: its pid; it is nobody's child here. While this runs
 * the caller is not a subreaper, and is again afterwards if it was: the helper must not be part of a rank's tree. */
enum helper_start_result helper_start(const struct helper_start *start, pid_t *ret_pid, int *ret_errno);

#endif
