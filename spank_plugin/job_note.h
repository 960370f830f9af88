/*
 * What sbatch and salloc tell the steps of a job whose spare nodes they have asked for: a variable of the job's
 * environment. Slurm's own variables there count the spares too; -N of a step, and what a batch script reads, do not.
 */
#ifndef CKPTLESS_JOB_NOTE_H
#define CKPTLESS_JOB_NOTE_H

#include <stdbool.h>
#include <stddef.h>

/* "NODES:ALL-NODES:TASKS:ALL-TASKS". The prefix SLURM_ passes --export=NONE. */
#define JOB_NOTE_VARIABLE "SLURM_CKPTLESS_JOB"

/* "FIRST/ALL": in a batch script, the list of nodes that it reads and the job's, which srun must be told. */
#define JOB_NOTE_NODELIST_VARIABLE "SLURM_CKPTLESS_NODELIST"

struct job_note {
    long nodes, all_nodes; /* active; with the spares */
    long tasks, all_tasks; /* the same for tasks */
};

/* False: does not fit. */
bool job_note_format(const struct job_note *note, char *ret_text, size_t capacity);
/* False: NULL, or no note of this version. */
bool job_note_parse(const char *text, struct job_note *ret_note);

/* The value of a variable that counts all nodes or tasks, turned into one that counts the active ones. Variables that
 * the note does not speak of, and values that are not the job's, stay: false. */
bool job_note_translate(const struct job_note *note, const char *name, const char *value, char *ret_value,
                        size_t capacity);
/* Names of such variables; NULL after the last. */
const char *job_note_name(size_t index);

/* The first `nodes` nodes of "2(x3),1". False: there are fewer, it is no such list, or it does not fit. */
bool job_note_first_counts(const char *list, long nodes, char *ret_list, size_t capacity);

#endif
