/*
 * What the files of the Slurm plugin tell each other. Each Slurm context has a file of its own; plugin.c only
 * dispatches. Nothing here may abort, exit, block without a bound or leave a signal handler behind: the callers are
 * srun, sbatch, salloc and slurmstepd. Without --ckptless nothing is done at all.
 */
#ifndef CKPTLESS_PLUGIN_H
#define CKPTLESS_PLUGIN_H

#include <slurm/slurm.h>
#include <slurm/spank.h>
#include <stdbool.h>

#include "node_helper/wire/wire_settings.h"

#define PLUGIN_PATH_BYTES 1024u
#define PLUGIN_EXIT_CODE 93 /* the step was given up by ckptless, not by the program */
/* What a hook of srun, sbatch or salloc returns to end it: Slurm up to 24.11 tests for less than zero, later ones for
 * not zero, and ESPANK_ERROR is greater. */
#define PLUGIN_REFUSED (-1)

/* How srun hands the rendezvous to the nodes. The prefix SLURM_ passes --export=NONE. */
#define PLUGIN_ENV_PORT "SLURM_CKPTLESS_PORT"
#define PLUGIN_ENV_SECRET "SLURM_CKPTLESS_SECRET" /* sealed: node_helper/seal */
#define PLUGIN_ENV_TOKEN "SLURM_CKPTLESS_TOKEN"
#define PLUGIN_ENV_ENDS "SLURM_CKPTLESS_ENDS" /* "K:W": the user's --kill-on-bad-exit and --wait */
/* srun's limit on address space. The nodes get one under which nothing can be executed, and beside it the true one,
 * which the plugin there puts back: a node without the plugin does not begin a program that would know of no other
 * rank. */
#define PLUGIN_ENV_LIMIT "SLURM_RLIMIT_AS"
#define PLUGIN_ENV_TRUE_LIMIT "SLURM_CKPTLESS_RLIMIT_AS"
#define PLUGIN_NO_LIMIT "4096"

struct plugin_option {
    bool given;                    /* --ckptless was given and is not "off" */
    const char *text;              /* its value, "" for none */
    struct wire_settings settings; /* parsed */
};

/* Registers --ckptless; to be called from slurm_spank_init. */
int option_register(spank_t spank);
/* What the user asked for. The answer lives as long as the plugin. */
const struct plugin_option *option_get(void);

/* Path of one of our programs: libexecdir=DIR of plugstack.conf, else where it was installed. False: too long. */
bool plugin_program_path(int argc, char **argv, const char *name, char *ret_path, size_t capacity);

/* Whether this Slurm authenticates with munge. ret_socket: of munged, "": where munge has it by default. */
bool plugin_has_munge(char *ret_socket, size_t capacity);

/* srun, before it reads its environment: in a job with spares the job's counts become those of the active nodes.
 * sbatch, salloc: what an outer job has noted is not theirs. */
void allocator_prepare(void);
/* sbatch, salloc, srun, when all options are known, also without ours: adds the spares, sets what Slurm must not do.
 * Non-zero: refused, one line was printed; Slurm submits nothing (the plugin is `required` in plugstack.conf). */
int allocator_post_opt(void);
/* True in an srun that made its allocation itself. Valid after allocator_post_opt. */
bool allocator_owns_job(void);

/* What the user of this srun wants when a task ends before the others. Valid after allocator_post_opt. */
struct allocator_ends {
    bool kill_on_bad_exit;
    uint32_t wait_s; /* 0: no bound */
};
struct allocator_ends allocator_ends(void);

/* srun, when the step exists: starts ckptless-launch and puts the rendezvous into the environment. Non-zero: the step
 * cannot start; one line was printed. Waits at most five seconds. */
int srun_start(spank_t spank, int argc, char **argv);
/* srun's end: lets ckptless-launch end; waits at most 300 ms. May be called without srun_start. */
void srun_stop(void);

/* slurmstepd, in a batch script before it begins: its environment names the active nodes only. Nothing in other tasks.
 */
void batch_task_init(spank_t spank);

/* slurmstepd, before there are tasks. Non-zero: the step cannot start; one line was printed. */
int stepd_init(void);
/* slurmstepd, in each task before it becomes the program: stays as the keeper and does not return, but in the children
 * that become the program. When it cannot begin, it prints one line and ends the task with PLUGIN_EXIT_CODE. */
int stepd_task_init(spank_t spank, int argc, char **argv);

#endif
