/*
 * Takes lost nodes out of a job's allocation, so that Slurm neither waits for them at the job's end nor is surprised by
 * their return. Nothing to do is no error.
 *
 * After a change of its nodes a job waits for a new index from slurmdbd, and until it has it slurmctld refuses the next
 * change: without slurmdbd for ever. --again says that this is such a next change. Where it is refused for ever it is
 * not asked for: slurmctld takes 5 s to say so, and the step may be over by then.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slurm_client/client.h"

/* Known of 22.05, and that 24.11 does not do so; what lies between is asked. */
static const bool may_refuse_for_ever = SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(23, 2, 0);

static bool is_lost(const char *host, char **lost, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(host, lost[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The job's nodes without the lost ones; free(). NULL: none of them is in it (any more), or no other would be left. */
static char *survivors(const char *nodes, char **lost, int count) {
    hostlist_t all = slurm_hostlist_create(nodes), rest = slurm_hostlist_create(NULL);
    int before = all ? slurm_hostlist_count(all) : 0;
    char *host = NULL, *text = NULL;
    while (all && rest && (host = slurm_hostlist_shift(all)) != NULL) {
        if (!is_lost(host, lost, count)) {
            (void)slurm_hostlist_push_host(rest, host);
        }
        free(host);
    }
    if (rest && slurm_hostlist_count(rest) > 0 && slurm_hostlist_count(rest) < before) {
        text = slurm_hostlist_ranged_string_malloc(rest);
    }
    slurm_hostlist_destroy(all);
    slurm_hostlist_destroy(rest);
    return text;
}

static bool has_slurmdbd(void) {
    slurm_conf_t *conf = NULL;
    bool answer = true; /* if even that is not to be had, it may work later */
    if (slurm_load_ctl_conf(0, &conf) == SLURM_SUCCESS) {
        answer = conf->accounting_storage_type != NULL && strstr(conf->accounting_storage_type, "slurmdbd") != NULL;
        slurm_free_ctl_conf(conf);
    }
    return answer;
}

static int fail_for_ever(void) {
    (void)fprintf(stderr, "without slurmdbd, Slurm lets nodes leave a job only once\n");
    return CLIENT_EXIT_NEVER;
}

static int shrink(uint32_t job, char *nodes, bool again) {
    job_desc_msg_t request;
    if (again && may_refuse_for_ever && !has_slurmdbd()) {
        return fail_for_ever();
    }
    slurm_init_job_desc_msg(&request);
    request.job_id = job;
    request.req_nodes = nodes;
    if (slurm_update_job(&request) == SLURM_SUCCESS) {
        return EXIT_SUCCESS;
    }
    if (slurm_get_errno() != ESLURM_JOB_SETTING_DB_INX) {
        return client_fail("slurmctld refuses to shrink the job");
    }
    if (has_slurmdbd()) {
        (void)fprintf(stderr, "slurmctld waits for slurmdbd\n");
        return CLIENT_EXIT_LATER;
    }
    return fail_for_ever();
}

int client_shrink(int argc, char **argv) {
    job_info_msg_t *jobs = NULL;
    int result = EXIT_SUCCESS;
    bool again = argc > 1 && strcmp(argv[1], "--again") == 0;
    argc -= again;
    argv += again;
    if (argc < 3) {
        return CLIENT_EXIT_USAGE;
    }
    uint32_t job = (uint32_t)strtoul(argv[1], NULL, 10);
    const job_info_t *info = client_load_job(job, &jobs);
    if (info == NULL) {
        slurm_free_job_info_msg(jobs);
        return CLIENT_EXIT_LATER;
    }
    char *nodes = survivors(info->nodes, argv + 2, argc - 2);
    if (nodes != NULL) {
        result = shrink(job, nodes, again);
    }
    free(nodes);
    slurm_free_job_info_msg(jobs);
    return result;
}
