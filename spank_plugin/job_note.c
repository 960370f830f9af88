/*
 * See job_note.h. Pure; knows no Slurm but the names of its variables.
 */
#include "spank_plugin/job_note.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool counts_tasks;
} variables[] = {
    { "SLURM_NNODES", false },
    { "SLURM_JOB_NUM_NODES", false },
    { "SLURM_NTASKS", true },
    { "SLURM_NPROCS", true },
};

bool job_note_format(const struct job_note *note, char *ret_text, size_t capacity) {
    int length =
        snprintf(ret_text, capacity, "%ld:%ld:%ld:%ld", note->nodes, note->all_nodes, note->tasks, note->all_tasks);
    return length > 0 && (size_t)length < capacity;
}

bool job_note_parse(const char *text, struct job_note *ret_note) {
    struct job_note note = { 0 };
    int end = 0;
    if (text == NULL ||
        sscanf(text, "%9ld:%9ld:%9ld:%9ld%n", &note.nodes, &note.all_nodes, &note.tasks, &note.all_tasks, &end) != 4) {
        return false;
    }
    *ret_note = note;
    return text[end] == '\0' && note.nodes > 0 && note.nodes <= note.all_nodes && note.tasks > 0 &&
           note.tasks <= note.all_tasks;
}

const char *job_note_name(size_t index) {
    return index < sizeof(variables) / sizeof(variables[0]) ? variables[index].name : NULL;
}

bool job_note_translate(const struct job_note *note, const char *name, const char *value, char *ret_value,
                        size_t capacity) {
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        char all[32];
        if (strcmp(name, variables[i].name) != 0) {
            continue;
        }
        snprintf(all, sizeof(all), "%ld", variables[i].counts_tasks ? note->all_tasks : note->all_nodes);
        if (strcmp(value, all) != 0) {
            return false;
        }
        int length = snprintf(ret_value, capacity, "%ld", variables[i].counts_tasks ? note->tasks : note->nodes);
        return length > 0 && (size_t)length < capacity;
    }
    return false;
}

bool job_note_first_counts(const char *list, long nodes, char *ret_list, size_t capacity) {
    size_t used = 0;
    while (nodes > 0) {
        int end = 0;
        long count = 0, times = 1;
        if (sscanf(list, "%9ld%n", &count, &end) != 1 || count < 0) {
            return false;
        }
        list += end;
        end = 0;
        if (*list == '(' && (sscanf(list, "(x%9ld)%n", &times, &end) != 1 || end == 0)) {
            return false;
        }
        list += end;
        times = times < nodes ? times : nodes;
        if (times < 1 || (times < nodes && *list != ',')) {
            return false;
        }
        list += *list == ',';
        nodes -= times;
        int length = times > 1
                         ? snprintf(ret_list + used, capacity - used, "%s%ld(x%ld)", used ? "," : "", count, times)
                         : snprintf(ret_list + used, capacity - used, "%s%ld", used ? "," : "", count);
        if (length < 0 || (size_t)length >= capacity - used) {
            return false;
        }
        used += (size_t)length;
    }
    return used > 0;
}
