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

/* "step 12.0 ended with 3; ": the code, or -1. A requeued job has its comment still, and other steps of the same names.
 */
static long noted_code(const job_info_t *job, uint32_t step) {
    char text[96];
    snprintf(text, sizeof(text), "step %u.%u of start %u ended with ", job->job_id, step, job->restart_cnt);
    const char *found = job->comment ? strstr(job->comment, text) : NULL;
    return found ? strtol(found + strlen(text), NULL, 10) : -1;
}

static int note(const job_info_t *job, uint32_t step, uint32_t code) {
    const char *before = job->comment ? job->comment : "";
    size_t capacity = strlen(before) + 256;
    job_desc_msg_t request;
    char *text = malloc(capacity);
    if (text == NULL) {
        return SLURM_ERROR;
    }
    slurm_init_job_desc_msg(&request);
    request.job_id = job->job_id;
    request.comment = text;
    snprintf(text, capacity, "%sstep %u.%u of start %u ended with %u; %s", strstr(before, NOTE) ? "" : NOTE,
             job->job_id, step, job->restart_cnt, code, before);
    int result = slurm_update_job(&request);
    free(text);
    return result;
}

/* Refusals of slurmctld stay what they are; that it cannot be reached does not. */
static int fail_to(const char *what) {
    int number = slurm_get_errno();
    (void)client_fail(what);
    return number >= ESLURM_INVALID_PARTITION_NAME && number < SLURM_PROTOCOL_SOCKET_IMPL_ZERO_RECV_LENGTH
               ? CLIENT_EXIT_NEVER
               : CLIENT_EXIT_LATER;
}

/* Not that this helper's node cannot reach it: that slurmctld cannot. */
static bool is_gone(const char *host) {
    node_info_msg_t *nodes = NULL;
    if (slurm_load_node_single(&nodes, (char *)(uintptr_t)host, SHOW_ALL) != SLURM_SUCCESS) {
        return false;
    }
    bool answer = nodes->record_count == 1 && ((nodes->node_array[0].node_state & NODE_STATE_NO_RESPOND) != 0 ||
                                               (nodes->node_array[0].node_state & NODE_STATE_BASE) == NODE_STATE_DOWN);
    slurm_free_node_info_msg(nodes);
    return answer;
}

/* The worst code of its steps; -1: one of them has not ended. */
static long worst_of_all(const job_info_t *job, const job_step_info_response_msg_t *steps, long worst) {
    for (uint32_t i = 0; i < steps->job_step_count; i++) {
        uint32_t step = steps->job_steps[i].step_id.step_id;
        /* Asked for the job that an array is named after, slurmctld tells of the steps of all its tasks. */
        if (step > SLURM_MAX_NORMAL_STEP_ID || steps->job_steps[i].step_id.job_id != job->job_id) {
            continue;
        }
        long code = noted_code(job, step);
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
    if ((info->job_state & JOB_STATE_BASE) != JOB_RUNNING) {
        return 0; /* it ends already */
    }
    if (!is_gone(info->batch_host)) {
        (void)fprintf(stderr, "slurmctld does not miss %s yet\n", info->batch_host);
        return CLIENT_EXIT_LATER;
    }
    if (noted_code(info, step) < 0) {
        if (note(info, step, code) != SLURM_SUCCESS) {
            return fail_to("the job's comment cannot be written");
        }
        (void)fprintf(stderr, "noted\n");
        return CLIENT_EXIT_LATER; /* and looked at again: others may write at the same moment */
    }
    if (slurm_get_job_steps(0, job, NO_VAL, &steps, SHOW_ALL) != SLURM_SUCCESS) {
        return client_fail("the job's steps cannot be looked up");
    }
    long worst = worst_of_all(info, steps, code);
    slurm_free_job_step_info_response_msg(steps);
    if (worst < 0) {
        (void)fprintf(stderr, "another step of the job goes on\n");
        return CLIENT_EXIT_LATER;
    }
    uint32_t end = worst != 0 ? (uint32_t)worst & 0xff : as_failed ? NOT_DONE_CODE : 0;
    if (slurm_complete_job(job, end << 8) != SLURM_SUCCESS && slurm_get_errno() != ESLURM_ALREADY_DONE) {
        return fail_to("slurmctld does not complete the job");
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
    const job_info_t *info = client_load_job(job, &jobs);
    int result = CLIENT_EXIT_NEVER;
    if (info == NULL) {
        result = CLIENT_EXIT_LATER;
    } else if (is_batch_job_of(info, argv[3])) {
        result = complete(info, step, code, strcmp(argv[5], "fail") == 0);
    } else {
        (void)fprintf(stderr, "the job has no batch script on %s\n", argv[3]);
    }
    slurm_free_job_info_msg(jobs);
    return result;
}
