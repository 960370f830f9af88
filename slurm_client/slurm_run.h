/*
 * Runs ckptless-slurm beside the calling program, without waiting: what it says and how it ends comes by a callback
 * from the loop. For the loop's thread.
 */
#ifndef CKPTLESS_SLURM_RUN_H
#define CKPTLESS_SLURM_RUN_H

#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct slurm_run;

#define SLURM_RUN_LATER 3 /* exit status: it may work later */

/* Starts a client of Slurm's, by its path or by a name that PATH finds: nothing to read, both outputs to out_fd,
 * signals as a new process has them. arguments: its name first, NULL at the end. 0, or an errno. */
int slurm_spawn(const char *program, char *const *arguments, int out_fd, pid_t *ret_pid)
    __attribute__((warn_unused_result));

/* exit_status: of the program; -1: it has been ended by a signal, or was late. said: its first line, "" for none. The
 * run is gone by then. */
typedef void slurm_run_end_fn(void *arg, int exit_status, const char *said);

/* arguments: without the program's name, NULL at the end; copied. Ends it after limit_ms. 0, or an errno: nothing was
 * started. */
int slurm_run_begin(struct slurm_run **ret_run, struct event_base *base, const char *const *arguments,
                    uint64_t limit_ms, slurm_run_end_fn *on_end, void *arg) __attribute__((warn_unused_result));
/* Waits for it, patience_ms at most, then ends it; on_end is not called. NULL is allowed. */
void slurm_run_destroy(struct slurm_run *run, int patience_ms);

#endif
