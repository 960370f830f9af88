/*
 * A job whose batch script has died with its node would stay RUNNING for ever: its own user may complete it. What a
 * step has ended with is noted in the job's comment first, and the last one to note it completes the job: with the
 * worst code, or, unless told otherwise, as failed, for what the script still had to do was not done.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slurm_client/client.h"

#define NOTE "ckptless: batch script lost with its node; "
#define NOT_DONE_CODE 93u
#define COMMENT_BYTES 4096u

/* "step 12.0 ended with 3; ": the code, or -1. */
static long noted_code(const char *comment, uint32_t job, uint32_t step) {
    char text[64];
    snprintf(text, sizeof(text), "step %u.%u ended with ", job, step);
    const char *found = comment ? strstr(comment, text) : NULL;
    return found ? strtol(found + strlen(text), NULL, 10) : -1;
}

static int note(const char *comment, uint32_t job, uint32_t step, uint32_t code) {
    char text[COMMENT_BYTES];
    job_desc_msg_t request;
    slurm_init_job_desc_msg(&request);
    request.job_id = job;
    snprintf(text, sizeof(text), "%s%sstep %u.%u ended with %u; ", comment ? comment : "",
             comment && strstr(comment, NOTE) ? "" : NOTE, job, step, code);
    request.comment = text;
    return slurm_update_job(&request);
}

/* The worst code of its steps; -1: one of them has not ended. */
static long worst_of_all(const char *comment, const job_step_info_response_msg_t *steps, uint32_t job, long worst) {
    for (uint32_t i = 0; i < steps->job_step_count; i++) {
        uint32_t step = steps->job_steps[i].step_id.step_id;
        if (step > SLURM_MAX_NORMAL_STEP_ID) {
            continue;
        }
        long code = noted_code(comment, job, step);
        if (code < 0) {
            return -1;
        }
        worst = code > worst ? code : worst;
    }
    return worst;
}

static bool is_batch_job_of(const job_info_t *job, const char *host) {
    return job->batch_flag != 0 && job->batch_host != NULL && strcmp(job->batch_host, host) == 0;
}

static int complete(const job_info_t *info, uint32_t step, uint32_t code, bool as_failed) {
    job_step_info_response_msg_t *steps = NULL;
    uint32_t job = info->job_id;
    if (noted_code(info->comment, job, step) < 0) {
        if (note(info->comment, job, step, code) != SLURM_SUCCESS) {
            return client_fail("the job's comment cannot be written");
        }
        (void)fprintf(stderr, "noted\n");
        return CLIENT_EXIT_LATER; /* and looked at again: others may write at the same moment */
    }
    if (slurm_get_job_steps(0, job, NO_VAL, &steps, SHOW_ALL) != SLURM_SUCCESS) {
        return client_fail("the job's steps cannot be looked up");
    }
    long worst = worst_of_all(info->comment, steps, job, code);
    slurm_free_job_step_info_response_msg(steps);
    if (worst < 0) {
        (void)fprintf(stderr, "another step of the job goes on\n");
        return CLIENT_EXIT_LATER;
    }
    uint32_t end = worst != 0 ? (uint32_t)worst & 0xff : as_failed ? NOT_DONE_CODE : 0;
    if (slurm_complete_job(job, end << 8) != SLURM_SUCCESS && slurm_get_errno() != ESLURM_ALREADY_DONE) {
        return client_fail("slurmctld does not complete the job");
    }
    return 0;
}

int client_complete(int argc, char **argv) {
    job_info_msg_t *jobs = NULL;
    if (argc != 6 || (strcmp(argv[5], "fail") != 0 && strcmp(argv[5], "complete") != 0)) {
        return CLIENT_EXIT_USAGE;
    }
    uint32_t job = (uint32_t)strtoul(argv[1], NULL, 10), step = (uint32_t)strtoul(argv[2], NULL, 10);
    uint32_t code = (uint32_t)strtoul(argv[4], NULL, 10) & 0xff;
    if (slurm_load_job(&jobs, job, SHOW_ALL) != SLURM_SUCCESS || jobs->record_count == 0) {
        return client_fail("the job cannot be looked up");
    }
    int result = CLIENT_EXIT_NEVER;
    if (is_batch_job_of(&jobs->job_array[0], argv[3])) {
        result = complete(&jobs->job_array[0], step, code, strcmp(argv[5], "fail") == 0);
    } else {
        (void)fprintf(stderr, "the job has no batch script on %s\n", argv[3]);
    }
    slurm_free_job_info_msg(jobs);
    return result;
}
