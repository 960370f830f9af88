/*
 * Requests of the library and their answers: cut, too long, with false counts; then there and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_rpc.h"
#include "tests/unit/test_seed.h"

#define BYTES_MAX 4096u

static const struct wire_rpc_region regions[] = { { "model", 0, 4096, 0x7f0000001000 }, { "rng", 1, 32, 4096 } };
static const char environment[] = "RANK=1\0MASTER_ADDR=n1\0OLD";

static struct wire_rpc_request request_sample(int type) {
    return (struct wire_rpc_request){ .type = (enum wire_rpc_type)type,
                                      .incarnation = 9,
                                      .epoch = wire_epoch_pack(2, 3),
                                      .pid = 77,
                                      .can_shrink = true,
                                      .has_state = true,
                                      .step = 413,
                                      .sequence = 5,
                                      .region_count = 2,
                                      .regions = regions,
                                      .data_bytes = 6,
                                      .data = (const uint8_t *)"a\0bcde" };
}

static struct wire_rpc_answer answer_sample(void) {
    return (struct wire_rpc_answer){ .result = 1,
                                     .epoch = 2,
                                     .step = 3,
                                     .bytes = 4,
                                     .rank = 5,
                                     .size = 6,
                                     .local_rank = 7,
                                     .local_size = 8,
                                     .node = 9,
                                     .nodes = 10,
                                     .incarnation = 11,
                                     .ordinal = 12,
                                     .master_port = 13,
                                     .master_addr = "n1",
                                     .environment_bytes = sizeof(environment),
                                     .environment = environment,
                                     .data_bytes = 3,
                                     .data = (const uint8_t *)"xyz",
                                     .text = "it broke" };
}

static bool decode_request(const uint8_t *bytes, size_t count, struct wire_arena *arena,
                           struct wire_rpc_request *ret_request) {
    uint8_t *exact = malloc(count == 0 ? 1 : count);

    assert_non_null(exact);
    memcpy(exact, bytes, count);
    bool ok = wire_rpc_request_decode(exact, count, arena, ret_request);
    free(exact);
    return ok;
}

static void bad_requests_are_refused(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_rpc_request request = request_sample(WIRE_RPC_RECOVER), got;
    uint8_t bytes[BYTES_MAX], bad[BYTES_MAX];
    size_t count = wire_rpc_request_encode(&request, bytes, sizeof(bytes));

    (void)state;
    assert_true(count > 0);
    for (size_t cut = 0; cut < count; cut++) {
        assert_false(decode_request(bytes, cut, &arena, &got));
        assert_int_equal(wire_rpc_request_encode(&request, bad, cut), 0);
    }
    bytes[count] = 0;
    assert_false(decode_request(bytes, count + 1, &arena, &got));
    const struct {
        size_t offset, width;
        uint8_t value;
    } rows[] = { { 0, 1, 0 },  { 0, 1, 2 },    { 1, 1, 0 },    { 1, 1, 11 },   { 18, 1, 2 },          { 19, 1, 255 },
                 { 36, 1, 3 }, { 36, 4, 255 }, { 36, 2, 255 }, { 40, 4, 255 }, { count - 10, 4, 255 } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(bad, bytes, count);
        memset(bad + rows[i].offset, rows[i].value, rows[i].width);
        assert_false(decode_request(bad, count, &arena, &got));
        assert_true(arena.capacity < 2 * BYTES_MAX);
    }
    request.data_bytes = WIRE_EXCHANGE_BYTES_MAX + 1;
    assert_int_equal(wire_rpc_request_encode(&request, bytes, sizeof(bytes)), 0);
    request = request_sample(0);
    assert_int_equal(wire_rpc_request_encode(&request, bytes, sizeof(bytes)), 0);
    wire_arena_fini(&arena);
}

static void bad_answers_are_refused(void **state) {
    struct wire_rpc_answer answer = answer_sample(), got;
    uint8_t bytes[BYTES_MAX];
    size_t count = wire_rpc_answer_encode(&answer, bytes, sizeof(bytes));

    (void)state;
    assert_true(count > 0);
    for (size_t cut = 0; cut < count; cut++) {
        uint8_t *exact = malloc(cut == 0 ? 1 : cut);
        assert_non_null(exact);
        memcpy(exact, bytes, cut);
        assert_false(wire_rpc_answer_decode(exact, cut, &got));
        free(exact);
    }
    bytes[count] = 0;
    assert_false(wire_rpc_answer_decode(bytes, count + 1, &got));
    bytes[0] = 2;
    assert_false(wire_rpc_answer_decode(bytes, count, &got));
    answer.environment_bytes--; /* loses its NUL */
    assert_int_equal(wire_rpc_answer_encode(&answer, bytes, sizeof(bytes)), 0);
    answer = answer_sample();
    memset(answer.text, 'x', sizeof(answer.text));
    assert_int_equal(wire_rpc_answer_encode(&answer, bytes, sizeof(bytes)), 0);
}

static void every_request_round_trips(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_rpc_request got;
    uint8_t bytes[BYTES_MAX];

    (void)state;
    for (int type = WIRE_RPC_INIT; type <= WIRE_RPC_RESUME; type++) {
        struct wire_rpc_request request = request_sample(type);
        size_t count = wire_rpc_request_encode(&request, bytes, sizeof(bytes));
        test_seed("wire_rpc", 0, bytes, count);
        test_seed("table", -1, bytes, count);
        assert_true(wire_rpc_request_bound(&request) >= count);
        assert_true(decode_request(bytes, count, &arena, &got));
        assert_int_equal(got.type, type);
        assert_true(got.epoch == request.epoch && got.pid == 77 && got.can_shrink && got.has_state);
        assert_true(got.step == 413 && got.sequence == 5);
        assert_int_equal(got.region_count, 2);
        assert_memory_equal(got.regions, regions, sizeof(regions));
        assert_int_equal(got.data_bytes, 6);
        assert_memory_equal(got.data, "a\0bcde", 6);
        request.region_count = 0;
        request.data_bytes = 0;
        count = wire_rpc_request_encode(&request, bytes, sizeof(bytes));
        assert_true(decode_request(bytes, count, &arena, &got));
    }
    wire_arena_fini(&arena);
}

static void an_answer_round_trips(void **state) {
    struct wire_rpc_answer answer = answer_sample(), got;
    uint8_t bytes[BYTES_MAX];
    size_t count = wire_rpc_answer_encode(&answer, bytes, sizeof(bytes));

    (void)state;
    test_seed("wire_rpc", 1, bytes, count);
    assert_true(wire_rpc_answer_bound(&answer) >= count);
    assert_true(wire_rpc_answer_decode(bytes, count, &got));
    assert_true(got.result == 1 && got.epoch == 2 && got.step == 3 && got.bytes == 4 && got.rank == 5);
    assert_true(got.size == 6 && got.local_rank == 7 && got.local_size == 8 && got.node == 9 && got.nodes == 10);
    assert_true(got.incarnation == 11 && got.ordinal == 12 && got.master_port == 13);
    assert_string_equal(got.master_addr, "n1");
    assert_string_equal(got.text, "it broke");
    assert_int_equal(got.environment_bytes, sizeof(environment));
    assert_memory_equal(got.environment, environment, sizeof(environment));
    assert_int_equal(got.data_bytes, 3);
    assert_memory_equal(got.data, "xyz", 3);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(bad_answers_are_refused),
        cmocka_unit_test(every_request_round_trips),
        cmocka_unit_test(an_answer_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
