/*
 * The note that a job with spares leaves for its steps: what is no note is not believed, and what is not the job's
 * stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "spank_plugin/job_note.h"

static void what_is_no_note_is_not_believed(void **state) {
    static const char *const texts[] = {
        "",        "x",        "1:2:1",     "1:2:1:",         "1:2:1:2:",     "1:2:1:2 ", "0:1:1:1",
        "2:1:1:1", "1:1:0:0",  "1:1:-1:1",  "1:1:2:1",        "1:1:1:1:1",    "1;1;1;1",  "99999999999:1:1:1",
        "1:2:3",   "-1:2:1:2", "1:2:1:2\n", "4:5:8:10 spare", "1:2:1:2x3:4:5"
    };
    (void)state;
    assert_false(job_note_parse(NULL, &(struct job_note){ 0 }));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct job_note note;
        if (job_note_parse(texts[i], &note)) {
            fail_msg("taken for a note: %s", texts[i]);
        }
    }
}

static void a_note_is_read_as_it_was_written(void **state) {
    struct job_note note = { .nodes = 4, .all_nodes = 6, .tasks = 8, .all_tasks = 12 }, read;
    char text[64], small[8];
    (void)state;
    assert_false(job_note_format(&note, small, sizeof(small)));
    assert_true(job_note_format(&note, text, sizeof(text)));
    assert_true(job_note_parse(text, &read));
    assert_memory_equal(&read, &note, sizeof(note));
}

static void only_the_jobs_counts_are_translated(void **state) {
    static const struct {
        const char *name, *value, *wanted; /* wanted NULL: stays */
    } cases[] = {
        { "SLURM_NNODES", "6", "4" },    { "SLURM_JOB_NUM_NODES", "6", "4" },
        { "SLURM_NTASKS", "12", "8" },   { "SLURM_NPROCS", "12", "8" },
        { "SLURM_NNODES", "4", NULL },   { "SLURM_NNODES", "2", NULL },
        { "SLURM_NNODES", "2-6", NULL }, { "SLURM_NTASKS", "8", NULL },
        { "SLURM_NTASKS", "6", NULL },   { "SLURM_JOB_NODES", "6", NULL },
        { "HOME", "6", NULL },           { "SLURM_NNODES", "", NULL },
        { "SLURM_NTASKS", "12 ", NULL },
    };
    struct job_note note = { .nodes = 4, .all_nodes = 6, .tasks = 8, .all_tasks = 12 };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char value[16] = "";
        bool changed = job_note_translate(&note, cases[i].name, cases[i].value, value, sizeof(value));
        if (changed != (cases[i].wanted != NULL) || (changed && strcmp(value, cases[i].wanted) != 0)) {
            fail_msg("%s=%s: %s", cases[i].name, cases[i].value, changed ? value : "stays");
        }
    }
}

static void the_first_counts_of_a_list(void **state) {
    static const struct {
        const char *list;
        long nodes;
        const char *wanted; /* NULL: refused */
    } cases[] = {
        { "2(x5)", 4, "2(x4)" },
        { "2(x5)", 1, "2" },
        { "2(x5)", 5, "2(x5)" },
        { "1", 1, "1" },
        { "1,2,3", 2, "1,2" },
        { "3(x2),1", 3, "3(x2),1" },
        { "3(x2),1(x4)", 4, "3(x2),1(x2)" },
        { "2(x5)", 6, NULL },
        { "", 1, NULL },
        { "x", 1, NULL },
        { "2(x", 2, NULL },
        { "2(x5", 3, NULL },
        { "2(x0)", 1, NULL },
        { "-1", 1, NULL },
        { "1,", 2, NULL },
        { "2(x5)", 0, NULL },
    };
    char list[64];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool ok = job_note_first_counts(cases[i].list, cases[i].nodes, list, sizeof(list));
        if (ok != (cases[i].wanted != NULL) || (ok && strcmp(list, cases[i].wanted) != 0)) {
            fail_msg("%s, %ld nodes: %s", cases[i].list, cases[i].nodes, ok ? list : "refused");
        }
    }
    assert_false(job_note_first_counts("100000(x5),200000", 6, list, 12));
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_note_is_not_believed),
        cmocka_unit_test(a_note_is_read_as_it_was_written),
        cmocka_unit_test(only_the_jobs_counts_are_translated),
        cmocka_unit_test(the_first_counts_of_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
