/*
 * ckptless-launch when the ways out are blocked: nobody reads its lines, the file of the timeline cannot be had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test_launcher_bench.h"

#define FILE_NAME "ckptless-12.3.jsonl"

static void nobody_reading_the_lines_blocks_nothing(void **state) {
    struct bench *bench = *state;
    char line[4000];
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    event_del(bench->user.readable);
    memset(line, 'y', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    for (int i = 0; i < 24; i++) { /* more than a pipe holds */
        snprintf(line, 8, "%06d", i);
        line[6] = ' ';
        line[7] = 'y';
        bench_report(bench, line, "{}");
    }
    bench_result(bench, 5, "");
    bench_wait_text(bench, &bench->answers, "\nexit code=5 lost=0\n"); /* it has not hung */
    event_add(bench->user.readable, NULL);
    bench_wait_text(bench, &bench->user, "ckptless: 000023 ");
    const char *at = bench->user.text;
    for (int i = 0; i < 24; i++) {
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "ckptless: %06d ", i);
        assert_int_equal(strncmp(at, wanted, strlen(wanted)), 0);
        at = strchr(at, '\n') + 1;
    }
    assert_true(bench_end_srun(bench) < 1000);
}

static void the_end_comes_although_nobody_reads_the_lines(void **state) {
    struct bench *bench = *state;
    char line[4000];
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    event_del(bench->user.readable);
    memset(line, 'z', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    for (int i = 0; i < 100; i++) { /* more than waits for a reader either */
        bench_report(bench, line, "");
    }
    bench_result(bench, 5, "");
    bench_wait_text(bench, &bench->answers, "\nexit code=5 lost=0\n");
    assert_true(bench_end_srun(bench) < 1000);
    assert_int_equal(bench->exit_code, 0);
}

/* Two reports with objects; one line about the file; the step goes on. */
static void expect_one_complaint(struct bench *bench, const char *reason) {
    char complaint[256];
    bench_begin_step(bench, 2);
    bench_report(bench, "one", "{\"event\":\"start\",\"padding\":\"0123456789012345678901234567890\"}");
    bench_report(bench, "two", "{\"event\":\"loss\",\"padding\":\"01234567890123456789012345678901\"}");
    bench_report(bench, "three", "{\"event\":\"end\"}");
    bench_wait_text(bench, &bench->user, "ckptless: three\n");
    snprintf(complaint, sizeof(complaint), "ckptless: events are missing in ");
    char *found = strstr(bench->user.text, complaint);
    assert_non_null(found);
    assert_non_null(strstr(found, reason));
    assert_null(strstr(found + 1, complaint));
    bench_result(bench, 0, "");
    bench_wait_text(bench, &bench->answers, "\nexit code=0 lost=0\n");
    assert_true(bench_end_srun(bench) < 1000);
}

static void a_symbolic_link_in_the_files_place_is_left_alone(void **state) {
    struct bench *bench = *state;
    char path[256], target[256], content[256];
    snprintf(path, sizeof(path), "%s/" FILE_NAME, bench->directory);
    snprintf(target, sizeof(target), "%s/target", bench->directory);
    assert_int_equal(symlink(target, path), 0);
    bench_start(bench, "spares=1", 0, 0);
    expect_one_complaint(bench, "it is a symbolic link");
    bench_read_file(bench, "target", content, sizeof(content));
    assert_string_equal(content, "");
}

static void a_fifo_in_the_files_place_hangs_nobody(void **state) {
    struct bench *bench = *state;
    char path[256];
    snprintf(path, sizeof(path), "%s/" FILE_NAME, bench->directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    bench_start(bench, "spares=1", 0, 0);
    expect_one_complaint(bench, "it is not a regular file");
}

static void a_directory_that_is_not_there_costs_one_line(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1,log-dir=not/there", 0, 0);
    expect_one_complaint(bench, "/not/there/" FILE_NAME ": No such file or directory");
}

static void a_full_disk_costs_one_line_and_leaves_whole_objects(void **state) {
    struct bench *bench = *state;
    char content[256];
    bench->file_bytes_max = 100;
    bench_start(bench, "spares=1", 0, 0);
    expect_one_complaint(bench, "No space left on device");
    bench_read_file(bench, FILE_NAME, content, sizeof(content));
    assert_string_equal(content, "{\"event\":\"start\",\"padding\":\"0123456789012345678901234567890\"}\n"
                                 "{\"event\":\"end\"}\n");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        T(nobody_reading_the_lines_blocks_nothing),          T(the_end_comes_although_nobody_reads_the_lines),
        T(a_symbolic_link_in_the_files_place_is_left_alone), T(a_fifo_in_the_files_place_hangs_nobody),
        T(a_directory_that_is_not_there_costs_one_line),     T(a_full_disk_costs_one_line_and_leaves_whole_objects),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
