/*
 * The keeper: the process that Slurm takes for the task. It waits for, respawns and reports the rank's program,
 * forwards signals, hides deaths from srun, and fences: no helper, no rank. Knows no Slurm: what it needs of it comes
 * in the config. With several ranks in a task each has a keeper of its own, below the task's process.
 *
 *   keeper.c         state and main loop
 *   keeper_group.c   the task's process above several keepers
 *   keeper_program.c starting the program, ending like it
 *   keeper_link.c    the connection to the helper
 *   keeper_input.c   standard input that no program reads
 *   keeper_signal.c  signals: which ones are forwarded, which ones mean that the step is being ended
 *   keeper_tree.c    whole process trees
 */
#ifndef CKPTLESS_KEEPER_H
#define CKPTLESS_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node_helper/wire/wire_keeper.h"
#include "spank_plugin/helper_start.h"

#define KEEPER_EXIT_CODE 93
#define KEEPER_PATH_BYTES 1536u
#define KEEPER_ADDRESSES 16u

struct keeper_config {
    uint32_t slot;              /* on this node; keeper_group_run: of the task's first rank */
    pid_t stepd_pid;            /* slurmstepd */
    pid_t parent_pid;           /* our parent, with which the keeper ends: slurmstepd, or a task's process above us */
    bool is_spare;              /* the slot is parked at first */
    bool everyone_is_signalled; /* Slurm's signals reach the whole tree (proctrack/linuxproc), not only the task */
    int memory_score;           /* added to the program's oom_score_adj */
    uint32_t dump_ms_max;       /* how long a process of a tree that has to go may write its core */
    uint32_t launch_timeout_ms; /* for reaching the first helper */
    /* Names of the helper's socket: the first helper's, its successor's, and so on in a circle; "": no more. What a
     * name is can be read when it is in use, and whoever knows it beforehand can take it when a helper has died. */
    char addresses[KEEPER_ADDRESSES][WIRE_NAME_BYTES];
    struct helper_start *start; /* slot 0: how to start a successor; NULL: another keeper does */
    pid_t helper_pid;           /* slot 0: the helper that was started; else 0 */
    volatile bool
        *has_ended;     /* shared with the process above us, which learns by it that we were not killed; or NULL */
    const char *output; /* "DIR/NAME.": the programs' output is appended to DIR/NAME.SLOT.out; NULL: it is the task's */
    /* Sets (value) or removes (NULL) a variable of the program; called in the program's process, before it executes. */
    void (*set_environment)(void *argument, const char *name, const char *value);
    void *argument;
};

/* Stays as the keeper, and ends the process by _exit. Returns only in the processes it forks to become the program:
 * true there. False in the keeper: it could not begin; nothing was changed but descriptors closed, and *config still
 * holds. */
bool keeper_run(const struct keeper_config *config);

/* The same for a task of `ranks` ranks, one after the other from config->slot on. With more than one the caller becomes
 * the process above as many keepers, and ends by _exit when they have, like the one whose end counts most. True in the
 * programs' processes, false in any that could not begin: whoever gets false must end, and takes the others with it.
 * *config is the caller's own, and changed in the keepers. */
bool keeper_group_run(struct keeper_config *config, uint32_t ranks);

#endif
