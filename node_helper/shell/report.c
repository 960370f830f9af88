/*
 * Lines and JSON objects; see report.h. Users' scripts read both: words and keys are a contract.
 */
#include "node_helper/shell/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const phase_names[CORE_PHASE_COUNT] = {
    [CORE_PHASE_DETECT] = "detect", [CORE_PHASE_AGREE] = "agree",     [CORE_PHASE_START] = "start",
    [CORE_PHASE_PULL] = "pull",     [CORE_PHASE_CONNECT] = "connect",
};

static const char *host_of(const struct report_facts *facts, uint32_t node) {
    return node < facts->node_count ? facts->hosts[node] : "?";
}

static double phase_ms(const struct core_trace *trace, uint32_t phase) {
    return (double)trace->phase_ns[phase] / 1e6;
}

static double total_ms(const struct core_trace *trace) {
    double total = 0;
    for (uint32_t phase = 0; phase < CORE_PHASE_COUNT; phase++) {
        total += phase_ms(trace, phase);
    }
    return total;
}

static const char *plural(uint32_t count) {
    return count == 1 ? "" : "s";
}

static void write_start(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    uint32_t spares = facts->node_count - facts->active_nodes;
    (void)trace;
    fprintf(out, "step %" PRIu32 ".%" PRIu32 ": %" PRIu32 " node%s, %" PRIu32 " rank%s, %" PRIu32 " spare%s",
            facts->job, facts->step, facts->active_nodes, plural(facts->active_nodes), facts->rank_count,
            plural(facts->rank_count), spares, plural(spares));
    for (uint32_t i = 0; i < spares; i++) {
        fprintf(out, "%s%s", i ? "," : " (", host_of(facts, facts->active_nodes + i));
    }
    fputs(spares ? ")" : "", out);
}

/* "rank 2" or "ranks 2,3": entries first .. first + count - 1 of the trace. */
static void write_ranks(FILE *out, const struct core_trace *trace, uint32_t first, uint32_t count) {
    fprintf(out, "rank%s ", plural(count));
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "%s%" PRIu32, i ? "," : "", trace->ranks[first + i]);
    }
}

/* Slurm's number of the task whose slot this is; WIRE_NONE: not known. All nodes of a step with spares have as many
 * tasks, and those of this node show how they are dealt out: a run of so many to a node, then to the next one. */
static uint32_t task_of(const struct report_facts *facts, uint32_t node, uint32_t slot) {
    uint32_t task = WIRE_NONE, first = 0, run = 0;
    const char *text = facts->own_tasks;
    for (uint32_t i = 0; text && facts->slots_per_task > 0; i++) {
        char *end;
        uint32_t number = (uint32_t)strtoul(text, &end, 10);
        if (end == text) {
            return WIRE_NONE;
        }
        first = i == 0 ? number : first;
        run += number == first + i && run == i ? 1 : 0;
        task = i == slot / facts->slots_per_task ? number : task;
        text = *end == ',' ? end + 1 : NULL;
    }
    bool is_even = first == facts->own_node * run;
    return task == WIRE_NONE || !is_even ? WIRE_NONE : task - first + node * run;
}

/* Slurm's task for an entry of a loss that goes to another node; WIRE_NONE: it stays where its output went before. */
static uint32_t new_task(const struct report_facts *facts, const struct core_trace *trace, uint32_t entry) {
    uint32_t node = trace->target_nodes ? trace->target_nodes[entry] : WIRE_NONE;
    return node == WIRE_NONE || node == trace->node || !trace->target_slots
               ? WIRE_NONE
               : task_of(facts, node, trace->target_slots[entry]);
}

/* " (task 4)": where Slurm has the output of these entries from now on; once, when it is the same for all. */
static void write_tasks(FILE *out, const struct report_facts *facts, const struct core_trace *trace, uint32_t first,
                        uint32_t count) {
    if (new_task(facts, trace, first) == WIRE_NONE) {
        return;
    }
    uint32_t same = 1;
    while (same < count && new_task(facts, trace, first + same) == new_task(facts, trace, first)) {
        same++;
    }
    count = same == count ? 1 : count;
    fprintf(out, " (task%s ", plural(count));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t task = new_task(facts, trace, first + i);
        char number[16] = "?";
        if (task != WIRE_NONE) {
            snprintf(number, sizeof(number), "%" PRIu32, task);
        }
        fprintf(out, "%s%s", i ? "," : "", number);
    }
    fputs(")", out);
}

static void write_loss(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    char cause[WIRE_TEXT_BYTES + 64];
    wire_cause_describe(trace->cause, trace->detail, trace->text, cause, sizeof(cause));
    fputs("lost ", out);
    if (!trace->node_lost && trace->rank_count > 0) {
        write_ranks(out, trace, 0, trace->rank_count);
        fputs(" on ", out);
    }
    fprintf(out, "%s: %s", host_of(facts, trace->node), cause);
    for (uint32_t i = 0, run; i < trace->rank_count; i += run) {
        uint32_t target = trace->target_nodes ? trace->target_nodes[i] : WIRE_NONE;
        for (run = 1; i + run < trace->rank_count && trace->target_nodes && trace->target_nodes[i + run] == target;
             run++) {
        }
        run = trace->target_nodes ? run : trace->rank_count;
        fputs(i ? ", " : "; ", out);
        write_ranks(out, trace, i, run);
        fprintf(out, " -> %s", target == WIRE_NONE ? "nowhere" : host_of(facts, target));
        write_tasks(out, facts, trace, i, run);
    }
}

static void write_resume(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    (void)facts;
    fprintf(out, "resumed at step %" PRIu64 ", epoch %" PRIu32 ", %.0f ms after the loss (", trace->step,
            trace->ordinal, total_ms(trace));
    for (uint32_t phase = 0; phase < CORE_PHASE_COUNT; phase++) {
        fprintf(out, "%s%s %.1f", phase ? ", " : "", phase_names[phase], phase_ms(trace, phase));
    }
    fputs(")", out);
}

static void write_spare(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    if (trace->text && trace->text[0]) {
        fprintf(out, "spare %s: %s", host_of(facts, trace->node), trace->text);
    }
}

#define LEADS_TEXT "leads now: the helper that led is lost"

static void write_leader(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    fprintf(out, "%s " LEADS_TEXT, host_of(facts, trace->node));
}

static void add_leader(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    json_object_set_new(object, "host", json_string(host_of(facts, trace->node)));
    json_object_set_new(object, "text", json_sprintf("%s " LEADS_TEXT, host_of(facts, trace->node)));
}

static void write_warning(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    fputs("warning: ", out);
    if (trace->node != WIRE_NONE) {
        fprintf(out, "%s: ", host_of(facts, trace->node));
    }
    fputs(trace->text ? trace->text : "", out);
}

static void write_end(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    bool has_text = trace->text && trace->text[0];
    (void)facts;
    if (trace->exit_code != 0) {
        fprintf(out, "ended with exit code %" PRIu32 "%s%s", trace->exit_code, has_text ? ": " : "",
                has_text ? trace->text : "");
    }
}

static void write_nothing(FILE *out, const struct report_facts *facts, const struct core_trace *trace) {
    (void)out;
    (void)facts;
    (void)trace;
}

static void add_ranks(json_t *object, const struct core_trace *trace) {
    json_t *ranks = json_array();
    for (uint32_t i = 0; i < trace->rank_count; i++) {
        json_array_append_new(ranks, json_integer(trace->ranks[i]));
    }
    json_object_set_new(object, "ranks", ranks);
}

static void add_start(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    json_t *active = json_array(), *spares = json_array();
    (void)trace;
    for (uint32_t node = 0; node < facts->node_count; node++) {
        json_array_append_new(node < facts->active_nodes ? active : spares, json_string(facts->hosts[node]));
    }
    json_object_set_new(object, "hosts", active);
    json_object_set_new(object, "spares", spares);
    json_object_set_new(object, "ranks", json_integer(facts->rank_count));
}

static void add_loss(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    char cause[WIRE_TEXT_BYTES + 64];
    json_t *targets = json_array(), *tasks = json_array();
    wire_cause_describe(trace->cause, trace->detail, trace->text, cause, sizeof(cause));
    add_ranks(object, trace);
    json_object_set_new(object, "host", json_string(host_of(facts, trace->node)));
    json_object_set_new(object, "node_lost", json_boolean(trace->node_lost));
    json_object_set_new(object, "cause", json_string(cause));
    for (uint32_t i = 0; i < trace->rank_count; i++) {
        uint32_t node = trace->target_nodes ? trace->target_nodes[i] : WIRE_NONE;
        json_array_append_new(targets, node == WIRE_NONE ? json_null() : json_string(host_of(facts, node)));
        uint32_t task = new_task(facts, trace, i);
        json_array_append_new(tasks, task == WIRE_NONE ? json_null() : json_integer(task));
    }
    json_object_set_new(object, "target_hosts", targets);
    json_object_set_new(object, "target_tasks", tasks);
}

static void add_resume(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    json_t *ms = json_object();
    (void)facts;
    for (uint32_t phase = 0; phase < CORE_PHASE_COUNT; phase++) {
        json_object_set_new(ms, phase_names[phase], json_real(phase_ms(trace, phase)));
    }
    json_object_set_new(ms, "total", json_real(total_ms(trace)));
    json_object_set_new(object, "step_resumed", json_integer((json_int_t)trace->step));
    json_object_set_new(object, "bytes", json_integer((json_int_t)trace->bytes));
    json_object_set_new(object, "ms", ms);
}

static void add_text(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    if (trace->node != WIRE_NONE) {
        json_object_set_new(object, "host", json_string(host_of(facts, trace->node)));
    }
    json_object_set_new(object, "text", json_string(trace->text ? trace->text : ""));
}

static void add_end(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    const struct report_usage *usage = &facts->usage;
    json_object_set_new(object, "exit_code", json_integer(trace->exit_code));
    json_object_set_new(object, "text", json_string(trace->text ? trace->text : ""));
    json_object_set_new(object, "usage",
                        json_pack("{s:I, s:I, s:f, s:I, s:I}", "helper_cpu_ms", (json_int_t)usage->helper_cpu_ms,
                                  "helper_rss_kib", (json_int_t)usage->helper_rss_kib, "library_ms", usage->library_ms,
                                  "commits", (json_int_t)usage->commits, "wall_ms", (json_int_t)usage->wall_ms));
}

static void add_nothing(json_t *object, const struct report_facts *facts, const struct core_trace *trace) {
    (void)object;
    (void)facts;
    (void)trace;
}

static const struct {
    const char *event;
    void (*write_line)(FILE *out, const struct report_facts *facts, const struct core_trace *trace);
    void (*add)(json_t *object, const struct report_facts *facts, const struct core_trace *trace);
} kinds[] = {
    [CORE_TRACE_START] = { "start", write_start, add_start },
    [CORE_TRACE_LOSS] = { "loss", write_loss, add_loss },
    [CORE_TRACE_EPOCH] = { "epoch", write_nothing, add_nothing },
    [CORE_TRACE_RESUME] = { "resume", write_resume, add_resume },
    [CORE_TRACE_SPARE] = { "spare", write_spare, add_text },
    [CORE_TRACE_LEADER] = { "warning", write_leader, add_leader },
    [CORE_TRACE_WARNING] = { "warning", write_warning, add_text },
    [CORE_TRACE_END] = { "end", write_end, add_end },
};

static json_t *format_time(uint64_t time_ms) {
    char text[40];
    struct tm parts;
    time_t seconds = (time_t)(time_ms / 1000);
    gmtime_r(&seconds, &parts);
    size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, sizeof(text) - length, ".%03uZ", (unsigned)(time_ms % 1000));
    return json_string(text);
}

char *report_format(const struct report_facts *facts, const struct core_trace *trace, char *ret_line, size_t capacity) {
    ret_line[0] = '\0';
    if ((size_t)trace->type >= sizeof(kinds) / sizeof(kinds[0])) {
        return NULL;
    }
    FILE *out = fmemopen(ret_line, capacity, "w");
    if (out) {
        kinds[trace->type].write_line(out, facts, trace);
        fclose(out);
        ret_line[capacity - 1] = '\0';
    }
    json_t *object = json_object();
    json_object_set_new(object, "event", json_string(kinds[trace->type].event));
    json_object_set_new(object, "job", json_integer(facts->job));
    json_object_set_new(object, "step", json_integer(facts->step));
    json_object_set_new(object, "time", format_time(facts->time_ms));
    json_object_set_new(object, "epoch", json_integer(trace->ordinal));
    kinds[trace->type].add(object, facts, trace);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(object);
    return text;
}
