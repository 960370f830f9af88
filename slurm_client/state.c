/*
 * What slurmctld thinks of a step: who hears nothing of it wants to know whether Slurm has stopped it, or is ending it.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "slurm_client/client.h"

static const char *describe(uint32_t job_state, const job_step_info_response_msg_t *steps) {
    if (job_state == JOB_SUSPENDED) {
        return "suspended";
    }
    if (job_state != JOB_RUNNING || steps->job_step_count == 0) {
        return "ending";
    }
    uint32_t step_state = steps->job_steps[0].state;
    return step_state == JOB_RUNNING ? "running" : step_state == JOB_SUSPENDED ? "suspended" : "ending";
}

int client_state(int argc, char **argv) {
    job_info_msg_t *jobs = NULL;
    job_step_info_response_msg_t *steps = NULL;
    if (argc != 3) {
        return CLIENT_EXIT_USAGE;
    }
    uint32_t job = (uint32_t)strtoul(argv[1], NULL, 10), step = (uint32_t)strtoul(argv[2], NULL, 10);
    if (slurm_load_job(&jobs, job, SHOW_ALL) != SLURM_SUCCESS || jobs->record_count == 0) {
        return client_fail("the job cannot be looked up");
    }
    if (slurm_get_job_steps(0, job, step, &steps, SHOW_ALL) != SLURM_SUCCESS) {
        return client_fail("the step cannot be looked up");
    }
    (void)puts(describe(jobs->job_array[0].job_state, steps));
    slurm_free_job_step_info_response_msg(steps);
    slurm_free_job_info_msg(jobs);
    return 0;
}
