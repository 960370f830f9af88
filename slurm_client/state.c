/*
 * What slurmctld thinks of a step: who hears nothing of it wants to know whether Slurm has stopped it, or is ending it.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "slurm_client/client.h"

static const char *describe(const job_info_t *job, const job_step_info_response_msg_t *steps) {
    if (job->job_state == JOB_SUSPENDED) {
        return "suspended";
    }
    /* Asked for the job that an array is named after, slurmctld tells of the steps of all its tasks. */
    for (uint32_t i = 0; i < steps->job_step_count && job->job_state == JOB_RUNNING; i++) {
        const job_step_info_t *step = &steps->job_steps[i];
        if (step->step_id.job_id == job->job_id) {
            return step->state == JOB_RUNNING ? "running" : step->state == JOB_SUSPENDED ? "suspended" : "ending";
        }
    }
    return "ending";
}

int client_state(int argc, char **argv) {
    job_info_msg_t *jobs = NULL;
    job_step_info_response_msg_t *steps = NULL;
    if (argc != 3) {
        return CLIENT_EXIT_USAGE;
    }
    uint32_t job = (uint32_t)strtoul(argv[1], NULL, 10), step = (uint32_t)strtoul(argv[2], NULL, 10);
    const job_info_t *info = client_load_job(job, &jobs);
    if (info == NULL) {
        slurm_free_job_info_msg(jobs);
        return CLIENT_EXIT_LATER;
    }
    if (slurm_get_job_steps(0, job, step, &steps, SHOW_ALL) != SLURM_SUCCESS) {
        return client_fail("the step cannot be looked up");
    }
    (void)puts(describe(info, steps));
    slurm_free_job_step_info_response_msg(steps);
    slurm_free_job_info_msg(jobs);
    return 0;
}
