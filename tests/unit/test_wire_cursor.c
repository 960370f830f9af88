/*
 * The cursors: nothing is read or written past an end, and a failure sticks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_cursor.h"

static void read_past_the_end_fails_and_sticks(void **state) {
    static const uint8_t bytes[] = { 1, 2, 3 };
    struct wire_reader reader = { .bytes = bytes, .length = sizeof(bytes) };

    (void)state;
    assert_int_equal(wire_read_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(wire_read_u8(&reader), 0);
    assert_null(wire_read_span(&reader, 0));
    assert_false(wire_reader_done(&reader));
}

static void spans_cannot_overflow(void **state) {
    static const uint8_t bytes[] = { 1, 2, 3 };
    struct wire_reader reader = { .bytes = bytes, .length = sizeof(bytes) };

    (void)state;
    assert_int_equal(wire_read_u8(&reader), 1);
    assert_null(wire_read_span(&reader, SIZE_MAX));
    assert_true(reader.failed);
}

static void bad_strings_are_refused(void **state) {
    static const struct {
        uint8_t bytes[12];
        size_t length;
    } rows[] = {
        { { 0 }, 0 },
        { { 1, 0, 0 }, 3 },                        /* length cut */
        { { 4, 0, 0, 0, 'a' }, 5 },                /* longer than what is left */
        { { 4, 0, 0, 0, 'a', 'b', 'c', 'd' }, 8 }, /* does not fit into 4 with its NUL */
        { { 2, 0, 0, 0, 'a', 0 }, 6 },             /* holds a NUL */
        { { 255, 255, 255, 255, 'a', 'b', 'c' }, 7 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_reader reader = { .bytes = rows[i].bytes, .length = rows[i].length };
        char text[4] = "???";
        wire_read_string(&reader, text, sizeof(text));
        assert_true(reader.failed);
        assert_string_equal(text, "");
    }
}

static void a_count_over_its_bound_fails(void **state) {
    static const uint8_t bytes[] = { 5, 0, 0, 0 };
    struct wire_reader over = { .bytes = bytes, .length = sizeof(bytes) };
    struct wire_reader at = over;

    (void)state;
    assert_int_equal(wire_read_count(&over, 4), 0);
    assert_true(over.failed);
    assert_int_equal(wire_read_count(&at, 5), 5);
    assert_true(wire_reader_done(&at));
}

static void a_full_writer_fails_and_writes_no_more(void **state) {
    uint8_t bytes[6] = { 0, 0, 0, 0, 0, 9 };
    struct wire_writer writer = { .bytes = bytes, .capacity = 5 };

    (void)state;
    wire_write_u32(&writer, 1);
    wire_write_u16(&writer, 0xffff);
    assert_true(writer.failed);
    wire_write_u8(&writer, 7);
    assert_int_equal(writer.length, 4);
    assert_int_equal(bytes[4], 0);
    assert_int_equal(bytes[5], 9);
}

static void everything_round_trips_little_endian(void **state) {
    uint8_t bytes[64];
    char text[8];
    uint8_t raw[3];
    struct wire_writer writer = { .bytes = bytes, .capacity = sizeof(bytes) };
    struct wire_writer counter = { .bytes = NULL, .capacity = sizeof(bytes) };

    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        struct wire_writer *to = pass == 0 ? &writer : &counter;
        wire_write_u8(to, 0x12);
        wire_write_u16(to, 0x3456);
        wire_write_u32(to, 0x789abcde);
        wire_write_u64(to, 0x0102030405060708);
        wire_write_bytes(to, "xyz", 3);
        wire_write_string(to, "seven c");
        wire_write_string(to, NULL);
    }
    assert_false(writer.failed);
    assert_int_equal(counter.length, writer.length);
    assert_int_equal(bytes[1], 0x56);
    assert_int_equal(bytes[3], 0xde);

    struct wire_reader reader = { .bytes = bytes, .length = writer.length };
    assert_int_equal(wire_read_u8(&reader), 0x12);
    assert_int_equal(wire_read_u16(&reader), 0x3456);
    assert_int_equal(wire_read_u32(&reader), 0x789abcde);
    assert_true(wire_read_u64(&reader) == 0x0102030405060708);
    wire_read_bytes(&reader, raw, sizeof(raw));
    assert_memory_equal(raw, "xyz", 3);
    wire_read_string(&reader, text, sizeof(text));
    assert_string_equal(text, "seven c");
    assert_false(wire_reader_done(&reader));
    wire_read_string(&reader, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(wire_reader_done(&reader));
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_past_the_end_fails_and_sticks),
        cmocka_unit_test(spans_cannot_overflow),
        cmocka_unit_test(bad_strings_are_refused),
        cmocka_unit_test(a_count_over_its_bound_fails),
        cmocka_unit_test(a_full_writer_fails_and_writes_no_more),
        cmocka_unit_test(everything_round_trips_little_endian),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
