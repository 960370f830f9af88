/*
 * What a keeper hands to its helper: bad texts first, then there and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_launch.h"
#include "tests/unit/test_seed.h"

static struct wire_launch sample(void) {
    return (struct wire_launch){ .job = 12,
                                 .step = 0,
                                 .node = 4,
                                 .node_count = 5,
                                 .task_count = 2,
                                 .stepd_pid = UINT32_MAX,
                                 .predecessor = 1,
                                 .kill_on_bad_exit = 1,
                                 .wait_s = 30,
                                 .launcher_port = 65535,
                                 .launcher_address = "10.0.0.1",
                                 .host = "n5",
                                 .token = "0123456789abcdef0123456789abcdef",
                                 .keepers = "ckptless.fedcba9876543210fedcba9876543210.4",
                                 .secret = "MUNGE:AwQDAAB+/=:",
                                 .munge_socket = "/run/munge/munge.socket.2",
                                 .option = "spares=1,log-dir=/a=b",
                                 .directory = "/home/x y",
                                 .user_master_addr = "",
                                 .user_master_port = "29500" };
}

static void a_cut_text_is_refused_at_every_byte(void **state) {
    char text[WIRE_LAUNCH_BYTES_MAX];
    struct wire_launch launch = sample(), got;
    size_t count = wire_launch_format(&launch, text, sizeof(text));

    (void)state;
    assert_true(count > 0);
    for (size_t cut = 0; cut < count; cut++) {
        char *exact = malloc(cut == 0 ? 1 : cut);
        assert_non_null(exact);
        memcpy(exact, text, cut);
        assert_false(wire_launch_parse(exact, cut, &got));
        free(exact);
    }
}

/* Each row replaces `from` in the good text by `to`. */
static void bad_lines_are_refused(void **state) {
    static const struct {
        const char *from, *to;
    } rows[] = {
        { "job=12\n", "" },
        { "job=12\n", "job=12\njob=12\n" },
        { "job=12\n", "job=\n" },
        { "job=12\n", "job=-1\n" },
        { "job=12\n", "job= 12\n" },
        { "job=12\n", "job=12x\n" },
        { "job=12\n", "job=4294967296\n" },
        { "job=12\n", "job=99999999999999999999\n" },
        { "job=12\n", "\n" },
        { "job=12\n", "job\n" },
        { "job=12\n", "jobs=12\n" },
        { "launcher_port=65535", "launcher_port=65536" },
        { "token=0", "token=00" },
        { "token=0", "token=" },
        { "token=0", "token=G" },
        { "secret=MUNGE", "secrets=MUNGE" },
        { "user_master_port=29500", "user_master_port=1234567890123456" },
    };
    struct wire_launch launch = sample(), got;
    char good[WIRE_LAUNCH_BYTES_MAX], bad[WIRE_LAUNCH_BYTES_MAX];

    (void)state;
    assert_true(wire_launch_format(&launch, good, sizeof(good)) > 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *at = strstr(good, rows[i].from);
        assert_non_null(at);
        int count =
            snprintf(bad, sizeof(bad), "%.*s%s%s", (int)(at - good), good, rows[i].to, at + strlen(rows[i].from));
        assert_false(wire_launch_parse(bad, (size_t)count, &got));
    }
    assert_false(wire_launch_parse(good, WIRE_LAUNCH_BYTES_MAX + 1, &got));
}

static void what_cannot_stand_in_a_line_is_not_formatted(void **state) {
    char text[WIRE_LAUNCH_BYTES_MAX];
    struct wire_launch launch = sample();
    size_t count = wire_launch_format(&launch, text, sizeof(text));

    (void)state;
    for (size_t capacity = 0; capacity <= count; capacity++) {
        assert_int_equal(wire_launch_format(&launch, text, capacity), 0);
    }
    strcpy(launch.option, "spares=1\nsecret=00");
    assert_int_equal(wire_launch_format(&launch, text, sizeof(text)), 0);
    launch = sample();
    memset(launch.host, 'x', sizeof(launch.host));
    assert_int_equal(wire_launch_format(&launch, text, sizeof(text)), 0);
    launch = sample();
    strcpy(launch.token, "short");
    assert_int_equal(wire_launch_format(&launch, text, sizeof(text)), 0);
}

static void a_launch_round_trips(void **state) {
    char text[WIRE_LAUNCH_BYTES_MAX];
    struct wire_launch launch = sample(), got;
    size_t count = wire_launch_format(&launch, text, sizeof(text));

    (void)state;
    test_seed("wire_launch", -1, text, count);
    assert_int_equal(count, strlen(text));
    assert_true(wire_launch_parse(text, count, &got));
    assert_int_equal(got.job, 12);
    assert_int_equal(got.node_count, 5);
    assert_int_equal(got.stepd_pid, UINT32_MAX);
    assert_int_equal(got.launcher_port, 65535);
    assert_string_equal(got.secret, launch.secret);
    assert_string_equal(got.munge_socket, launch.munge_socket);
    assert_string_equal(got.token, launch.token);
    assert_string_equal(got.option, launch.option);
    assert_string_equal(got.user_master_addr, "");
    assert_string_equal(got.user_master_port, "29500");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_text_is_refused_at_every_byte),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(what_cannot_stand_in_a_line_is_not_formatted),
        cmocka_unit_test(a_launch_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
