/*
 * ckptless-slurm: what a running step must ask slurmctld for, one verb a file. A program of its own, with the user's
 * rights, because neither the helper nor ckptless-launch may depend on libslurm. Ends with 0, or says a line on stderr.
 */
#ifndef CKPTLESS_SLURM_CLIENT_H
#define CKPTLESS_SLURM_CLIENT_H

#include <slurm/slurm.h>
#include <stdint.h>

#define CLIENT_EXIT_NEVER 1 /* refused for good */
#define CLIENT_EXIT_USAGE 2
#define CLIENT_EXIT_LATER 3 /* it may work later */

/* The job itself: an array's comes with all its tasks. NULL, after a line: it cannot be looked up. jobs: to be freed.
 */
const job_info_t *client_load_job(uint32_t job, job_info_msg_t **ret_jobs);
/* One line from Slurm's error number; CLIENT_EXIT_LATER. */
int client_fail(const char *what);

int client_shrink(int argc, char **argv);   /* [--again] JOB HOST... */
int client_state(int argc, char **argv);    /* JOB STEP: "running", "suspended" or "ending" on stdout */
int client_complete(int argc, char **argv); /* JOB STEP HOST CODE fail|complete */

#endif
