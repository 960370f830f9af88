/*
 * The lines that users read and the objects that their scripts read, word for word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "node_helper/shell/report.h"

static const char *const hosts[] = { "n1", "n2", "n3", "n4", "n5" };
static const struct report_facts facts = {
    .job = 12,
    .step = 0,
    .node_count = 5,
    .active_nodes = 4,
    .rank_count = 8,
    .hosts = hosts,
    .own_tasks = "0,1",
    .slots_per_task = 1,
    .time_ms = 1700000000123u,
};
static const uint32_t ranks[] = { 2, 3 }, targets[] = { 4, 4 }, split[] = { 4, 0 },
                      nowhere[] = { WIRE_NONE, WIRE_NONE };

static const struct {
    struct core_trace trace;
    const char *line;
} rows[] = {
    { { .type = CORE_TRACE_START, .node = WIRE_NONE }, "step 12.0: 4 nodes, 8 ranks, 1 spare (n5)" },
    { { .type = CORE_TRACE_LOSS,
        .node = 1,
        .node_lost = true,
        .rank_count = 2,
        .ranks = ranks,
        .target_nodes = targets,
        .cause = WIRE_CAUSE_SILENT,
        .detail = 500 },
      "lost n2: no heartbeat for 500 ms; ranks 2,3 -> n5" },
    { { .type = CORE_TRACE_LOSS,
        .node = 1,
        .node_lost = true,
        .rank_count = 2,
        .ranks = ranks,
        .target_nodes = split,
        .cause = WIRE_CAUSE_SILENT,
        .detail = 500 },
      "lost n2: no heartbeat for 500 ms; rank 2 -> n5, rank 3 -> n1" },
    { { .type = CORE_TRACE_LOSS,
        .node = 1,
        .node_lost = true,
        .rank_count = 2,
        .ranks = ranks,
        .target_nodes = nowhere,
        .cause = WIRE_CAUSE_SILENT,
        .detail = 500 },
      "lost n2: no heartbeat for 500 ms; ranks 2,3 -> nowhere" },
    { { .type = CORE_TRACE_RESUME,
        .ordinal = 2,
        .step = 413,
        .phase_ns = { 900000, 3100000, 22400000, 41000000, 17500000 } },
      "resumed at step 413, epoch 2, 85 ms after the loss (detect 0.9, agree 3.1, start 22.4, pull 41.0, connect "
      "17.5)" },
    { { .type = CORE_TRACE_END, .node = WIRE_NONE, .exit_code = 0, .text = "" }, "" },
};

static void lines_are_as_documented(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char line[1024];
        char *json = report_format(&facts, &rows[i].trace, line, sizeof(line));
        assert_string_equal(line, rows[i].line);
        json_t *object = json_loads(json, 0, NULL);
        assert_true(json_is_object(object));
        assert_true(json_is_string(json_object_get(object, "event")));
        assert_string_equal(json_string_value(json_object_get(object, "time")), "2023-11-14T22:13:20.123Z");
        assert_null(strchr(json, '\n'));
        json_decref(object);
        free(json);
    }
}

/* The loss of both ranks of n2, which go to slots 0 and 1 of n5. */
static void a_loss_names_the_tasks_that_go_on_with_its_output(void **state) {
    static const uint32_t slots[] = { 0, 1 }, in_place[] = { 1, 1 };
    static const struct {
        const char *own_tasks;
        uint32_t slots_per_task;
        const uint32_t *nodes;
        const char *end;
        uint32_t own_node;
    } cases[] = {
        { "0,1", 1, targets, "; ranks 2,3 -> n5 (tasks 8,9)", 0 },
        { "0,5", 1, targets, "; ranks 2,3 -> n5 (tasks 4,9)", 0 }, /* --distribution=cyclic */
        { "0,1,10,11", 1, targets, "; ranks 2,3 -> n5 (tasks 8,9)", 0 },
        { "0", 2, targets, "; ranks 2,3 -> n5 (task 4)", 0 },
        { "0,1", 1, split, "; rank 2 -> n5 (task 8), rank 3 -> n1 (task 1)", 0 },
        { "0,1", 1, in_place, "; ranks 2,3 -> n2", 0 },
        { "0,1", 1, nowhere, "; ranks 2,3 -> nowhere", 0 },
        { "0", 1, targets, "; ranks 2,3 -> n5 (tasks 4,?)", 0 },
        { "", 1, targets, "; ranks 2,3 -> n5", 0 },
        { NULL, 1, targets, "; ranks 2,3 -> n5", 0 },
        { "0,1", 0, targets, "; ranks 2,3 -> n5", 0 },
        { "6,7", 1, targets, "; ranks 2,3 -> n5 (tasks 8,9)", 3 },
        { "3,8", 1, targets, "; ranks 2,3 -> n5 (tasks 4,9)", 3 },
        { "6,7,16,17", 1, targets, "; ranks 2,3 -> n5 (tasks 8,9)", 3 },
        { "5,6", 1, targets, "; ranks 2,3 -> n5", 3 }, /* dealt out by hand */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct report_facts here = facts;
        struct core_trace trace = rows[1].trace;
        char line[1024];
        here.own_tasks = cases[i].own_tasks;
        here.own_node = cases[i].own_node;
        here.slots_per_task = cases[i].slots_per_task;
        trace.target_nodes = cases[i].nodes;
        trace.target_slots = slots;
        free(report_format(&here, &trace, line, sizeof(line)));
        assert_string_equal(strchr(line, ';'), cases[i].end);
    }
}

static void a_resume_has_its_phases(void **state) {
    char line[1024];
    char *json = report_format(&facts, &rows[4].trace, line, sizeof(line));
    json_t *object = json_loads(json, 0, NULL);
    (void)state;
    const json_t *ms = json_object_get(object, "ms");
    assert_true(json_is_object(ms));
    assert_true(json_real_value(json_object_get(ms, "pull")) > 40.9);
    json_decref(object);
    free(json);
}

static void a_line_that_is_too_long_is_cut(void **state) {
    char line[16];
    char *json = report_format(&facts, &rows[1].trace, line, sizeof(line));
    (void)state;
    assert_true(strlen(line) < sizeof(line));
    free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_as_documented),
        cmocka_unit_test(a_loss_names_the_tasks_that_go_on_with_its_output),
        cmocka_unit_test(a_resume_has_its_phases),
        cmocka_unit_test(a_line_that_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
