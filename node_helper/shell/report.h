/*
 * What a trace of the core says to people and to programs: a line for srun's stderr and a JSON object. Pure: facts go
 * in, text comes out.
 */
#ifndef CKPTLESS_SHELL_REPORT_H
#define CKPTLESS_SHELL_REPORT_H

#include <stdint.h>

#include "node_helper/core/core.h"

struct report_usage {
    uint64_t helper_cpu_ms, helper_rss_kib; /* of the leader's helper */
    double library_ms;                      /* inside ckptless_update, of the programs that have called finish */
    uint64_t commits;                       /* theirs, of all ranks together */
    uint64_t wall_ms;
};

struct report_facts {
    uint32_t job, step;
    uint32_t node_count;   /* of the step */
    uint32_t active_nodes; /* 0 .. active_nodes - 1 held the ranks at first; START */
    uint32_t rank_count;
    const char *const *hosts; /* by node */
    const char *own_tasks;    /* SLURM_GTIDS of own_node: by its tasks, Slurm's numbers of them; NULL: not known */
    uint32_t own_node;
    uint32_t slots_per_task;   /* 0: not known */
    uint64_t time_ms;          /* since 1970, UTC */
    struct report_usage usage; /* END */
};

/* The line (without "ckptless: "; "" for none) into ret_line. The JSON object: free(); NULL: no memory. */
char *report_format(const struct report_facts *facts, const struct core_trace *trace, char *ret_line, size_t capacity);

#endif
