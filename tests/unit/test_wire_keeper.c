/*
 * Messages between a keeper and its helper: bad packets first, then every type there and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_keeper.h"
#include "tests/unit/test_seed.h"

static const char environment[] = "RANK=3\0SLURM_PROCID=3\0EMPTY=\0GONE";

static struct wire_keeper_message sample(int type) {
    struct wire_keeper_message message = {
        .type = (enum wire_keeper_type)type, .slot = 1, .incarnation = 7, .pid = 4242, .status = -9
    };

    if (type == WIRE_KEEPER_START) {
        message.environment = environment;
        message.environment_bytes = sizeof(environment);
    } else if (type == WIRE_KEEPER_SAY) {
        message.environment = "a line";
        message.environment_bytes = sizeof("a line");
    }
    return message;
}

static bool decode_copy(const uint8_t *bytes, size_t count, struct wire_keeper_message *ret_message) {
    uint8_t *exact = malloc(count == 0 ? 1 : count);

    assert_non_null(exact);
    memcpy(exact, bytes, count);
    bool ok = wire_keeper_decode(exact, count, ret_message);
    free(exact);
    return ok;
}

static void bad_packets_are_refused(void **state) {
    struct wire_keeper_message message;
    uint8_t bytes[256], bad[256];

    (void)state;
    for (int type = WIRE_KEEPER_HELLO; type <= WIRE_KEEPER_SAY; type++) {
        struct wire_keeper_message given = sample(type);
        size_t count = wire_keeper_encode(&given, bytes, sizeof(bytes) - 1);
        for (size_t cut = 0; cut < count; cut++) {
            assert_false(decode_copy(bytes, cut, &message));
        }
        bytes[count] = 0;
        assert_false(decode_copy(bytes, count + 1, &message));
        static const uint8_t wrong[] = { 0, 2, 14, 255 };
        for (size_t i = 0; i < sizeof(wrong); i++) {
            memcpy(bad, bytes, count);
            bad[0] = wrong[i];
            assert_false(decode_copy(bad, count, &message));
            memcpy(bad, bytes, count);
            bad[1] = wrong[i];
            if (wrong[i] != 2) {
                assert_false(decode_copy(bad, count, &message));
            }
        }
        memcpy(bad, bytes, count);
        memset(bad + 18, 0xff, 4); /* bytes of the environment */
        assert_false(decode_copy(bad, count, &message));
    }
}

static void bad_environments_are_refused(void **state) {
    static const struct {
        const char *bytes;
        uint32_t count;
    } rows[] = { { "A=1", 3 }, { "", 1 }, { "A=1\0", 5 }, { "=1", 3 }, { "A=1\0=2", 7 } };
    uint8_t bytes[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_keeper_message message = { .type = WIRE_KEEPER_START,
                                               .environment = rows[i].bytes,
                                               .environment_bytes = rows[i].count };
        assert_int_equal(wire_keeper_encode(&message, bytes, sizeof(bytes)), 0);
    }
    struct wire_keeper_message message = sample(WIRE_KEEPER_START);
    message.type = WIRE_KEEPER_KILL;
    assert_int_equal(wire_keeper_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_KEEPER_START);
    size_t count = wire_keeper_encode(&message, bytes, sizeof(bytes));
    assert_true(count > 0);
    assert_int_equal(wire_keeper_encode(&message, bytes, count - 1), 0);
    bytes[count - 1] = 'x'; /* no final NUL */
    assert_false(decode_copy(bytes, count, &message));
}

static void a_line_is_one_string(void **state) {
    static char long_line[WIRE_KEEPER_LINE_BYTES_MAX + 1];
    static const struct {
        const char *bytes;
        uint32_t count;
    } rows[] = { { "", 0 }, { "", 1 }, { "ab", 2 }, { "a\0b", 4 }, { long_line, sizeof(long_line) } };
    uint8_t bytes[2048];

    (void)state;
    memset(long_line, 'x', sizeof(long_line) - 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_keeper_message message = { .type = WIRE_KEEPER_SAY,
                                               .environment = rows[i].bytes,
                                               .environment_bytes = rows[i].count };
        assert_int_equal(wire_keeper_encode(&message, bytes, sizeof(bytes)), 0);
    }
}

static void every_type_round_trips(void **state) {
    uint8_t bytes[256];

    (void)state;
    for (int type = WIRE_KEEPER_HELLO; type <= WIRE_KEEPER_SAY; type++) {
        struct wire_keeper_message given = sample(type), got;
        size_t count = wire_keeper_encode(&given, bytes, sizeof(bytes));
        assert_true(count > 0);
        test_seed("wire_keeper", -1, bytes, count);
        assert_true(wire_keeper_decode(bytes, count, &got));
        assert_int_equal(got.type, type);
        assert_int_equal(got.slot, 1);
        assert_int_equal(got.incarnation, 7);
        assert_int_equal(got.pid, 4242);
        assert_int_equal(got.status, -9);
        assert_int_equal(got.environment_bytes, given.environment_bytes);
        if (given.environment_bytes > 0) {
            assert_memory_equal(got.environment, given.environment, given.environment_bytes);
        }
    }
}

static void the_address_fits_a_socket_name(void **state) {
    char name[107];

    (void)state;
    wire_keeper_address("0123456789abcdef0123456789abcdef", UINT32_MAX, name, sizeof(name));
    assert_string_equal(name, "ckptless.0123456789abcdef0123456789abcdef.4294967295");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_packets_are_refused),        cmocka_unit_test(bad_environments_are_refused),
        cmocka_unit_test(a_line_is_one_string),           cmocka_unit_test(every_type_round_trips),
        cmocka_unit_test(the_address_fits_a_socket_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
