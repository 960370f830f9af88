/*
 * A job whose batch script has died with its node would stay RUNNING for ever: its own user may complete it. The state
 * is COMPLETED with code 0, else FAILED.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdlib.h>

#include "slurm_client/client.h"

int client_complete(int argc, char **argv) {
    if (argc != 3) {
        return CLIENT_EXIT_USAGE;
    }
    uint32_t job = (uint32_t)strtoul(argv[1], NULL, 10), code = (uint32_t)strtoul(argv[2], NULL, 10) & 0xff;
    if (slurm_complete_job(job, code << 8) != SLURM_SUCCESS && slurm_get_errno() != ESLURM_ALREADY_DONE) {
        return client_fail("slurmctld does not complete the job");
    }
    return 0;
}
