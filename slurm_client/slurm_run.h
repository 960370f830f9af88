/*
 * Runs ckptless-slurm beside the calling program, without waiting: what it says and how it ends comes by a callback
 * from the loop. For the loop's thread.
 */
#ifndef CKPTLESS_SLURM_RUN_H
#define CKPTLESS_SLURM_RUN_H

#include <stdint.h>

struct event_base;
struct slurm_run;

#define SLURM_RUN_LATER 3 /* exit status: it may work later */

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
