/*
 * slurmstepd's side of a batch script: before it begins, what it can read about its job is made to name the active
 * nodes and tasks only. Its sruns add the spares again. Nothing here can fail the script: what cannot be done is left
 * as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank_plugin/job_note.h"
#include "spank_plugin/plugin.h"

#define VALUE_BYTES 65536

/* The first nodes of a list as Slurm writes it; free(). NULL: there are fewer, or no memory. */
static char *first_hosts(const char *list, long nodes) {
    __auto_type all = slurm_hostlist_create(list); /* a pointer of other type in later versions */
    __auto_type first = slurm_hostlist_create(NULL);
    char *text = NULL;
    long taken = 0;
    for (; all && first && taken < nodes; taken++) {
        char *host = slurm_hostlist_shift(all);
        if (host == NULL) {
            break;
        }
        (void)slurm_hostlist_push_host(first, host);
        free(host);
    }
    if (taken == nodes) {
        text = slurm_hostlist_ranged_string_malloc(first);
    }
    if (all) {
        slurm_hostlist_destroy(all);
    }
    if (first) {
        slurm_hostlist_destroy(first);
    }
    return text;
}

static void translate_hosts(spank_t spank, const struct job_note *note, char *value, char *changed) {
    static const char *const names[] = { "SLURM_NODELIST", "SLURM_JOB_NODELIST" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (spank_getenv(spank, names[i], value, VALUE_BYTES) != ESPANK_SUCCESS) {
            continue;
        }
        char *list = first_hosts(value, note->nodes);
        int length = list ? snprintf(changed, VALUE_BYTES, "%s/%s", list, value) : -1;
        /* Without the job's list its sruns would be lost. */
        if (length > 0 && length < VALUE_BYTES &&
            spank_setenv(spank, JOB_NOTE_NODELIST_VARIABLE, changed, 1) == ESPANK_SUCCESS) {
            (void)spank_setenv(spank, names[i], list, 1);
        }
        free(list);
    }
}

static void translate_counts(spank_t spank, const struct job_note *note, char *value, char *changed) {
    static const char *const names[] = { "SLURM_TASKS_PER_NODE", "SLURM_JOB_CPUS_PER_NODE" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (spank_getenv(spank, names[i], value, VALUE_BYTES) == ESPANK_SUCCESS &&
            job_note_first_counts(value, note->nodes, changed, VALUE_BYTES)) {
            (void)spank_setenv(spank, names[i], changed, 1);
        }
    }
    for (size_t i = 0; job_note_name(i); i++) {
        const char *name = job_note_name(i);
        if (spank_getenv(spank, name, value, VALUE_BYTES) == ESPANK_SUCCESS &&
            job_note_translate(note, name, value, changed, VALUE_BYTES)) {
            (void)spank_setenv(spank, name, changed, 1);
        }
    }
}

void batch_task_init(spank_t spank) {
    struct job_note note;
    uint32_t step = 0;
    char *value = malloc(VALUE_BYTES), *changed = malloc(VALUE_BYTES);
    if (value && changed && spank_get_item(spank, S_JOB_STEPID, &step) == ESPANK_SUCCESS &&
        step == SLURM_BATCH_SCRIPT && spank_getenv(spank, JOB_NOTE_VARIABLE, value, VALUE_BYTES) == ESPANK_SUCCESS &&
        job_note_parse(value, &note)) {
        translate_hosts(spank, &note, value, changed);
        translate_counts(spank, &note, value, changed);
    }
    free(value);
    free(changed);
}
