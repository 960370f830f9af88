/*
 * The value of --ckptless: each refusal names what was wrong and what would be right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_settings.h"
#include "tests/unit/test_seed.h"

static const struct {
    const char *text, *line; /* line: part of what is said */
} refused[] = {
    { "spare=1", "spare: no such key; did you mean spares?" },
    { "deadafter=1s", "did you mean dead-after?" },
    { "colour=red", "colour: no such key; there are spares" },
    { "x=1", "x: no such key; there are" },
    { "Spares=1", "did you mean spares?" },
    { "reserve=8192", "reserve=8192: must be a number of nodes from 0 to 8191" },
    { "reserve=1,reserve=1", "reserve: given twice" },
    { "standby=fork", "standby=fork: not in this version yet, which has standby=off only" },
    { "standby", "standby: needs a value: off" },
    { "standby=off,standby=off", "standby: given twice" },
    { "hang=auto", "hang=auto: not in this version yet, which has hang=off only" },
    { "hang=30s", "hang=30s: not in this version yet" },
    { "redundancy=rs:4+2", "redundancy=rs:4+2: not in this version yet, which has redundancy=replica only" },
    { "redundancy=mirror", "not in this version yet" },
    { "verify-every=9", "verify-every=9: not in this version yet, which has verify-every=0 only" },
    { "health-check=x", "health-check=x: not in this version yet, which has health-check=off only" },
    { "metrics=1", "metrics=1: not in this version yet, which has metrics=off only" },
    { "on-exhausted=wait", "on-exhausted=wait: not in this version yet, which has on-exhausted=fail only" },
    { "batch-lost=wait", "batch-lost=wait: must be fail or complete" },
    { "batch-lost", "batch-lost: needs a value: fail or complete" },
    { "spares=1,spares=1", "spares: given twice" },
    { "1,spares=1", "spares: given twice" },
    { "spares", "spares: needs a value: a number of nodes from 0 to 8191" },
    { "spares=", "spares: needs a value" },
    { "spares=-1", "spares=-1: must be a number of nodes from 0 to 8191" },
    { "spares= 1", "must be" },
    { "spares=1.5", "must be" },
    { "spares=0x1", "must be" },
    { "spares=8192", "must be" },
    { "spares=99999999999999999999999999", "must be" },
    { "8192", "spares=8192: must be" },
    { "1x", "spares=1x: must be" },
    { "ranks", "ranks: needs a value: a number of ranks from 1 to 1024" },
    { "ranks=0", "ranks=0: must be a number of ranks from 1 to 1024" },
    { "ranks=1025", "ranks=1025: must be" },
    { "ranks=2x", "must be" },
    { "restarts=0", "restarts=0: must be a number from 1" },
    { "respawn=1001", "must be" },
    { "rank-output=files", "rank-output=files: must be task or file" },
    { "rank-output", "rank-output: needs a value: task or file" },
    { "park=hot", "park=hot: must be auto, cold or warm" },
    { "heartbeat=100", "heartbeat=100: a duration needs a unit: ms, s, m or h, such as 100ms" },
    { "heartbeat=0.1", "needs a unit" },
    { "heartbeat=ms", "must be a duration from 10ms to 1m" },
    { "heartbeat=.1s", "must be a duration" },
    { "heartbeat=1.s", "must be a duration" },
    { "heartbeat=1..0s", "must be a duration" },
    { "heartbeat=1sec", "must be a duration" },
    { "heartbeat=1 s", "must be a duration" },
    { "heartbeat=-1s", "must be a duration" },
    { "heartbeat=9999999999s", "must be a duration" },
    { "grace=999999999h", "must be a duration from 100ms to 1h" },
    { "heartbeat=10.5ms", "whole number of milliseconds" },
    { "heartbeat=0.1000000s", "whole number of milliseconds" },
    { "heartbeat=9ms", "must be a duration" },
    { "dead-after=11m", "must be a duration from 50ms to 10m" },
    { "launch-timeout=999ms", "must be a duration from 1s to 1h" },
    { "heartbeat=251ms", "heartbeat=251ms does not fit dead-after=500ms: dead-after must be at least twice" },
    { "dead-after=199ms", "does not fit" },
    { "log-dir=", "needs a value" },
    { "log-dir=a\nb", "log-dir=a?b: must be" },
    { "interface=a/b", "must be a network interface's name" },
    { "interface=0123456789012345678901234567890123456789012345678901234567890123", "must be" },
    { "spares=8000,reserve=192", "spares=8000 and reserve=192: together at most 8191" },
    { "off=1", "off takes no value" },
    { "off,spares=1", "off: must stand alone" },
    { "spares=1,off", "off: must stand alone" },
    { "off,off", "off: given twice" },
    { ",", "empty item" },
    { "spares=1,", "empty item" },
    { ",spares=1", "empty item" },
    { "=1", "no such key" },
};

static void bad_values_are_refused_with_a_line(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct wire_settings settings;
        char error[512] = "";
        test_seed("wire_settings", -1, refused[i].text, strlen(refused[i].text));
        if (wire_settings_parse(refused[i].text, &settings, error, sizeof(error))) {
            fail_msg("accepted: %s", refused[i].text);
        }
        if (strstr(error, refused[i].line) == NULL || strchr(error, '\n') != NULL) {
            fail_msg("%s: said: %s", refused[i].text, error);
        }
    }
}

static void a_long_item_and_a_small_error_buffer_are_harmless(void **state) {
    struct wire_settings settings;
    char text[5000], error[8];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_false(wire_settings_parse(text, &settings, error, sizeof(error)));
    assert_int_equal(strlen(error), sizeof(error) - 1);
    assert_false(wire_settings_parse(text, &settings, NULL, 0));
    memcpy(text, "log-dir=", 8);
    text[8 + 1024] = '\0';
    assert_false(wire_settings_parse(text, &settings, error, sizeof(error)));
    text[8 + 1023] = '\0';
    assert_true(wire_settings_parse(text, &settings, error, sizeof(error)));
    assert_int_equal(strlen(settings.log_dir), 1023);
}

static void nothing_given_means_the_defaults(void **state) {
    static const char *const texts[] = { NULL, "" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct wire_settings settings;
        char error[64] = "x";
        assert_true(wire_settings_parse(texts[i], &settings, error, sizeof(error)));
        assert_string_equal(error, "");
        assert_false(settings.off);
        assert_int_equal(settings.spares, 0);
        assert_int_equal(settings.reserve, 0);
        assert_int_equal(settings.ranks, 1);
        assert_int_equal(settings.rank_output, WIRE_RANK_OUTPUT_TASK);
        assert_int_equal(settings.park, WIRE_PARK_AUTO);
        assert_int_equal(settings.batch_lost, WIRE_BATCH_LOST_FAIL);
        assert_int_equal(settings.respawn, 3);
        assert_int_equal(settings.restarts, 10);
        assert_int_equal(settings.heartbeat_ms, 100);
        assert_int_equal(settings.dead_after_ms, 500);
        assert_int_equal(settings.grace_ms, 10000);
        assert_int_equal(settings.launch_timeout_ms, 60000);
        assert_string_equal(settings.log_dir, "");
        assert_string_equal(settings.interface, "");
    }
}

static void every_key_is_taken(void **state) {
    static const char all[] =
        "2,ranks=8,rank-output=file,park=warm,respawn=0,restarts=1,heartbeat=0.05s,dead-after=100ms,grace=1.5m,"
        "launch-timeout=1h,log-dir=/tmp/a=b,interface=eth0.5,reserve=3,standby=off,hang=off,"
        "redundancy=replica,verify-every=0,health-check=off,metrics=off,on-exhausted=fail,"
        "batch-lost=complete";
    struct wire_settings settings;
    char error[256];

    (void)state;
    test_seed("wire_settings", -1, all, strlen(all));
    assert_true(wire_settings_parse(all, &settings, error, sizeof(error)));
    assert_int_equal(settings.spares, 2);
    assert_int_equal(settings.reserve, 3);
    assert_int_equal(wire_settings_spare_nodes(&settings), 5);
    assert_int_equal(settings.ranks, 8);
    assert_int_equal(settings.rank_output, WIRE_RANK_OUTPUT_FILE);
    assert_int_equal(settings.park, WIRE_PARK_WARM);
    assert_int_equal(settings.batch_lost, WIRE_BATCH_LOST_COMPLETE);
    assert_int_equal(settings.respawn, 0);
    assert_int_equal(settings.restarts, 1);
    assert_int_equal(settings.heartbeat_ms, 50);
    assert_int_equal(settings.dead_after_ms, 100);
    assert_int_equal(settings.grace_ms, 90000);
    assert_int_equal(settings.launch_timeout_ms, 3600000);
    assert_string_equal(settings.log_dir, "/tmp/a=b");
    assert_string_equal(settings.interface, "eth0.5");
    assert_true(wire_settings_parse("off", &settings, error, sizeof(error)));
    assert_true(settings.off);
    assert_true(wire_settings_parse("spares=8191", &settings, error, sizeof(error)));
    assert_int_equal(settings.spares, 8191);
}

/* The default that the help names must parse to what no option gives. */
static void the_help_tells_the_truth(void **state) {
    struct wire_settings defaults, given;
    char error[256], key[32], value[32], text[80];
    uint32_t count = 0;

    (void)state;
    assert_true(wire_settings_parse(NULL, &defaults, error, sizeof(error)));
    for (; wire_settings_help(count) != NULL; count++) {
        assert_int_equal(sscanf(wire_settings_help(count), "%31s %31s", key, value), 2);
        if (strcmp(value, "-") != 0) {
            snprintf(text, sizeof(text), "%s=%s", key, value);
            assert_true(wire_settings_parse(text, &given, error, sizeof(error)));
            assert_memory_equal(&given, &defaults, sizeof(given));
        }
    }
    assert_int_equal(count, 22);
    assert_null(wire_settings_help(UINT32_MAX));
}

/* The line of the manual's table, without the backslashes that troff wants before a minus. */
static bool manual_has(FILE *manual, const char *wanted) {
    char line[512];
    rewind(manual);
    while (fgets(line, sizeof(line), manual) != NULL) {
        size_t length = 0;
        for (const char *at = line; *at != '\0' && *at != '\n'; at++) {
            line[length] = *at;
            length += *at != '\\';
        }
        line[length] = '\0';
        if (strcmp(line, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static void the_manual_has_the_same_table(void **state) {
    const char *source = getenv("srcdir");
    char path[4096], wanted[256];
    (void)state;
    snprintf(path, sizeof(path), "%s/man/ckptless.7", source != NULL ? source : ".");
    FILE *manual = fopen(path, "r");
    assert_non_null(manual);
    for (uint32_t i = 0; wire_settings_help(i) != NULL; i++) {
        const char *at = wire_settings_help(i); /* columns are two spaces apart, the sixth is text */
        size_t length = 0;
        for (int column = 0; column < 5; column++) {
            const char *end = strstr(at, "  ");
            assert_non_null(end);
            length += (size_t)snprintf(wanted + length, sizeof(wanted) - length, "%s%.*s", column > 0 ? "\t" : "",
                                       (int)(end - at), at);
            at = end + 2;
        }
        if (!manual_has(manual, wanted)) {
            fail_msg("not in %s: %s", path, wanted);
        }
    }
    fclose(manual);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_values_are_refused_with_a_line),
        cmocka_unit_test(a_long_item_and_a_small_error_buffer_are_harmless),
        cmocka_unit_test(nothing_given_means_the_defaults),
        cmocka_unit_test(every_key_is_taken),
        cmocka_unit_test(the_help_tells_the_truth),
        cmocka_unit_test(the_manual_has_the_same_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
