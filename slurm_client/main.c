/* ckptless-slurm VERB ARGUMENT...; see client.h. */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <string.h>

#include "slurm_client/client.h"

int client_fail(const char *what) {
    (void)fprintf(stderr, "%s: %s\n", what, slurm_strerror(slurm_get_errno()));
    return CLIENT_EXIT_LATER;
}

const job_info_t *client_load_job(uint32_t job, job_info_msg_t **ret_jobs) {
    *ret_jobs = NULL;
    if (slurm_load_job(ret_jobs, job, SHOW_ALL) == SLURM_SUCCESS) {
        for (uint32_t i = 0; i < (*ret_jobs)->record_count; i++) {
            if ((*ret_jobs)->job_array[i].job_id == job) {
                return &(*ret_jobs)->job_array[i];
            }
        }
    }
    (void)client_fail("the job cannot be looked up");
    return NULL;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*fn)(int argc, char **argv);
    } verbs[] = { { "shrink", client_shrink }, { "state", client_state }, { "complete", client_complete } };
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(*verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            slurm_init(NULL);
            return verbs[i].fn(argc - 1, argv + 1);
        }
    }
    (void)fputs("usage: ckptless-slurm shrink [--again] JOB HOST... | state JOB STEP | complete JOB STEP HOST CODE "
                "fail|complete\n",
                stderr);
    return CLIENT_EXIT_USAGE;
}
