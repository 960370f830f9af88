/*
 * What two planes say to each other: what a stranger or a broken wire can send comes first, then there and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state_plane/request.h"
#include "tests/unit/test_seed.h"

#define CHUNK_BYTES 16u
#define OFFSET 4096u
#define REPLY_BYTES (CHUNK_BYTES + REQUEST_TRAILER_BYTES)

static struct request sample(void) {
    return (struct request){ .token = "0123456789abcde",
                             .rank = 3,
                             .shard = 1,
                             .name = "model",
                             .region_bytes = 1u << 30,
                             .offset = OFFSET,
                             .length = REQUEST_CHUNK_BYTES_MAX,
                             .tag = 77,
                             .address_bytes = 16,
                             .address = "fifteen letters" };
}

static bool decode_copy(const uint8_t *bytes, size_t count, struct request *ret_request) {
    uint8_t *exact = malloc(count == 0 ? 1 : count);
    assert_non_null(exact);
    memcpy(exact, bytes, count);
    bool ok = request_decode(exact, count, ret_request);
    free(exact);
    return ok;
}

static void a_cut_or_longer_request_is_refused(void **state) {
    struct request request = sample(), got;
    uint8_t bytes[REQUEST_BYTES_MAX];
    size_t count = request_encode(&request, bytes, sizeof(bytes));
    (void)state;
    assert_true(count > 0);
    for (size_t cut = 0; cut < count; cut++) {
        assert_false(decode_copy(bytes, cut, &got));
    }
    bytes[count] = 0;
    assert_false(decode_copy(bytes, count + 1, &got));
    for (size_t capacity = 0; capacity < count; capacity++) {
        assert_int_equal(request_encode(&request, bytes, capacity), 0);
    }
}

static void a_request_for_nothing_or_too_much_is_refused(void **state) {
    static const uint32_t lengths[] = { 0, REQUEST_CHUNK_BYTES_MAX + 1, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct request request = sample(), got;
        uint8_t bytes[REQUEST_BYTES_MAX];
        request.length = lengths[i];
        assert_false(decode_copy(bytes, request_encode(&request, bytes, sizeof(bytes)), &got));
    }
}

static void other_versions_and_magics_are_refused(void **state) {
    struct request request = sample(), got;
    uint8_t bytes[REQUEST_BYTES_MAX];
    size_t count = request_encode(&request, bytes, sizeof(bytes));
    (void)state;
    for (size_t at = 0; at < 5; at++) {
        bytes[at] ^= 1;
        assert_false(decode_copy(bytes, count, &got));
        bytes[at] ^= 1;
    }
    assert_true(decode_copy(bytes, count, &got));
}

static void a_request_comes_back_as_it_was(void **state) {
    struct request request = sample(), got;
    uint8_t bytes[REQUEST_BYTES_MAX], again[REQUEST_BYTES_MAX];
    size_t count = request_encode(&request, bytes, sizeof(bytes));
    (void)state;
    test_seed("plane_request", 0, bytes, count);
    assert_true(decode_copy(bytes, count, &got));
    assert_int_equal(got.rank, 3);
    assert_int_equal(got.shard, 1);
    assert_string_equal(got.name, "model");
    assert_int_equal(got.region_bytes, 1u << 30);
    assert_int_equal(got.offset, OFFSET);
    assert_int_equal(got.length, REQUEST_CHUNK_BYTES_MAX);
    assert_int_equal(got.tag, 77);
    assert_int_equal(request_encode(&got, again, sizeof(again)), count);
    assert_memory_equal(again, bytes, count);
    assert_true(request_token_equal(got.token, request.token));
    for (size_t i = 0; i < REQUEST_TOKEN_BYTES; i++) {
        got.token[i] ^= 0x80;
        assert_false(request_token_equal(got.token, request.token));
        got.token[i] ^= 0x80;
    }
}

/* A whole reply: the chunk and its trailer. */
static void make_reply(uint8_t *ret_bytes) {
    struct request_trailer trailer = { .status = REQUEST_OK, .offset = OFFSET };
    memcpy(ret_bytes, "sixteen letters.", CHUNK_BYTES);
    request_digest(ret_bytes, CHUNK_BYTES, trailer.digest);
    request_trailer_encode(&trailer, ret_bytes + CHUNK_BYTES);
}

static void every_flipped_bit_of_a_reply_is_seen(void **state) {
    uint8_t bytes[REPLY_BYTES];
    uint32_t status = 99;
    (void)state;
    make_reply(bytes);
    test_seed("plane_request", 1, bytes, sizeof(bytes));
    assert_int_equal(request_check_reply(bytes, sizeof(bytes), OFFSET, CHUNK_BYTES, &status), REQUEST_GOOD);
    assert_int_equal(status, REQUEST_OK);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum request_verdict verdict = request_check_reply(bytes, sizeof(bytes), OFFSET, CHUNK_BYTES, &status);
        bool is_data = bit / 8 < CHUNK_BYTES || bit / 8 >= sizeof(bytes) - REQUEST_DIGEST_BYTES;
        assert_int_equal(verdict, is_data ? REQUEST_MISMATCH : REQUEST_GARBLED);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_reply_to_another_question_is_garbled(void **state) {
    uint8_t bytes[REPLY_BYTES];
    uint32_t status;
    (void)state;
    make_reply(bytes);
    for (size_t cut = 0; cut < sizeof(bytes); cut++) {
        assert_int_equal(request_check_reply(bytes, cut, OFFSET, CHUNK_BYTES, &status), REQUEST_GARBLED);
    }
    assert_int_equal(request_check_reply(bytes, sizeof(bytes), OFFSET + 1, CHUNK_BYTES, &status), REQUEST_GARBLED);
    assert_int_equal(request_check_reply(bytes, sizeof(bytes), OFFSET, CHUNK_BYTES + 1, &status), REQUEST_GARBLED);
}

static void a_refusal_says_why(void **state) {
    uint8_t bytes[REPLY_BYTES] = { 0 };
    uint32_t status;
    (void)state;
    for (uint32_t why = REQUEST_REFUSED; why < REQUEST_STATUS_COUNT; why++) {
        struct request_trailer trailer = { .status = why, .offset = OFFSET };
        request_trailer_encode(&trailer, bytes);
        assert_int_equal(request_check_reply(bytes, REQUEST_TRAILER_BYTES, OFFSET, CHUNK_BYTES, &status),
                         REQUEST_NOT_SENT);
        assert_int_equal(status, why);
        assert_non_null(request_status_describe(why));
        /* A refusal with data before it is nothing that we send. */
        request_trailer_encode(&trailer, bytes + CHUNK_BYTES);
        assert_int_equal(request_check_reply(bytes, sizeof(bytes), OFFSET, CHUNK_BYTES, &status), REQUEST_GARBLED);
    }
    assert_string_equal(request_status_describe(REQUEST_STATUS_COUNT), "gave an unknown answer");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_or_longer_request_is_refused),
        cmocka_unit_test(a_request_for_nothing_or_too_much_is_refused),
        cmocka_unit_test(other_versions_and_magics_are_refused),
        cmocka_unit_test(a_request_comes_back_as_it_was),
        cmocka_unit_test(every_flipped_bit_of_a_reply_is_seen),
        cmocka_unit_test(a_reply_to_another_question_is_garbled),
        cmocka_unit_test(a_refusal_says_why),
    };
    return cmocka_run_group_tests_name("plane_request", tests, NULL, NULL);
}
