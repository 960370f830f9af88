/*
 * Every message type: encoded, cut at every byte, followed by a byte too many, flipped, and decoded again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/wire/wire_message.h"
#include "tests/unit/test_seed.h"

#define BODY_BYTES_MAX 8192u
#define HEADER_BYTES 14u

static const struct wire_member members[] = {
    { .id = 1, .node = 0, .slot_count = 2, .port = 4711, .host = "n1", .address = "10.0.0.1" },
    { .id = 7, .node = 3, .slot_count = 1024, .port = 65535, .host = "n4", .address = "fe80::1" },
};
static const struct wire_seat seats[] = { { 1, 0, 5, 2 }, { 7, 1, 1, 0 }, { 7, 0, 1, 0 } };
static const uint32_t ascending[] = { 1, 7, 4000000000u };
static const struct wire_region regions[] = { { .name = "model", .shard = 0, .bytes = 4096 },
                                              { .name = "rng", .shard = 9, .bytes = UINT64_MAX } };
static const uint32_t nodes[] = { 0, 2, 8191 };
static const uint32_t ranks[] = { 1, 2, 7 };
static const struct wire_arrived arrivals[] = { { 1, 2, true, true, 413, { 0x1122334455667788, 99 } },
                                                { 7, 1, false, false, 0, { 1, 2 } } };
static const struct wire_commit commits[] = { { 1, 2 }, { 7, 1 } };

#define HELLO                                                                                                          \
    {                                                                                                                  \
        .hello = {                                                                                                     \
            .node = 2,                                                                                                 \
            .node_count = 5,                                                                                           \
            .slot_count = 4,                                                                                           \
            .spare_nodes = 1,                                                                                          \
            .predecessor = WIRE_NONE,                                                                                  \
            .port = 3030,                                                                                              \
            .host = "n3",                                                                                              \
            .version = "1.2"                                                                                           \
        }                                                                                                              \
    }
#define ROSTER                                                                                                         \
    {                                                                                                                  \
        .roster = {.your_id = 7, .member_count = 2, .members = members, .active_nodes = 4, .leader = 6 }               \
    }
#define HEARTBEAT                                                                                                      \
    {                                                                                                                  \
        .heartbeat = {.sent_ns = 123456789012345, .lease_ns = 400000000, .leader_ns = 987654321 }                      \
    }
#define RANK_STEP                                                                                                      \
    {                                                                                                                  \
        .rank_step = { 4, 1, 414, 1u << 30, 6 }                                                                        \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        .end = { 93, true, "no progress" }                                                                             \
    }
#define REGION                                                                                                         \
    {                                                                                                                  \
        .region_query = { 17, true, { .name = "rng", .shard = 9, .bytes = UINT64_MAX } }                               \
    }
#define VIEW                                                                                                           \
    {                                                                                                                  \
        .view = { 3, 1ull << 32 | 7, 1ull << 33, 400000000, 3, ascending }                                             \
    }
#define GATHER                                                                                                         \
    {                                                                                                                  \
        .gather = { 0x1234567890abcdef, 8, 3, nodes, 5, (const uint8_t *)"de\0fg" }                                    \
    }

/* Every field away from zero. */
static const struct wire_message samples[WIRE_TYPE_COUNT] = {
    [WIRE_HELLO] = HELLO,
    [WIRE_JOIN] = HELLO,
    [WIRE_ROSTER] = ROSTER,
    [WIRE_WELCOME] = ROSTER,
    [WIRE_REPORT] = { .report = { .line = "lost n2", .json = "{\"event\":\"loss\"}" } },
    [WIRE_PING] = HEARTBEAT,
    [WIRE_USAGE] = { .usage = { 414, 123456789 } },
    [WIRE_HEARTBEAT] = HEARTBEAT,
    [WIRE_HEARTBEAT_ACK] = HEARTBEAT,
    [WIRE_LOSS] = { .loss = { 3, 2, WIRE_CAUSE_ASKED, 11, true, "bad memory" } },
    [WIRE_STOP] = { .stop = { 2, 1, 10, 77, 3, ranks, seats, 3, ascending, true, 5 } },
    [WIRE_ARRIVED] = { .arrivals = { 2, arrivals } },
    [WIRE_PLAN] = { .plan = { WIRE_PLAN_RESUME, 413, "0123456789abcde", 1, 2, 3, ranks, 1, ranks } },
    [WIRE_READY] = RANK_STEP,
    [WIRE_RELOADED] = RANK_STEP,
    [WIRE_COMMITTED] = { .commits = { 2, commits } },
    [WIRE_FINISHED] = RANK_STEP,
    [WIRE_ATTACHED] = RANK_STEP,
    [WIRE_RELOAD_RESULT] = { .reload_result = { true, 5, 1, 2, 3, 4 } },
    [WIRE_REFUSE] = END,
    [WIRE_RESULT] = END,
    [WIRE_END] = END,
    [WIRE_ENDING] = END,
    [WIRE_EVICTED] = END,
    [WIRE_TABLE] = { .table = { 3, 2, regions } },
    [WIRE_REGION_QUERY] = REGION,
    [WIRE_REGION_ANSWER] = REGION,
    [WIRE_ADDRESS] = { .address = { 7, 4, "addr" } },
    [WIRE_GATHER] = GATHER,
    [WIRE_GATHERED] = GATHER,
    [WIRE_STAYS] = RANK_STEP,
    [WIRE_PRESENT] = RANK_STEP,
    [WIRE_VIEW_PREPARE] = VIEW,
    [WIRE_VIEW_PROMISE] = VIEW,
    [WIRE_VIEW_ACCEPT] = VIEW,
    [WIRE_VIEW_ACCEPTED] = VIEW,
    [WIRE_VIEW_REFUSE] = VIEW,
    [WIRE_VIEW_DECIDED] = VIEW,
    [WIRE_SLOT] = { .slot = { 1, 2, 65537, 4, 5, 6, WIRE_SLOT_ATTACHED } },
    [WIRE_VISIT] = HELLO,
};

static struct wire_message sample(enum wire_type type) {
    struct wire_message message = samples[type];
    message.type = type;
    message.from = 42;
    message.epoch = wire_epoch_pack(3, 9);
    return message;
}

static size_t encode_sample(enum wire_type type, uint8_t *ret_bytes) {
    struct wire_message message = sample(type);
    size_t bound = wire_message_bound(&message);
    size_t count = wire_message_encode(&message, ret_bytes, BODY_BYTES_MAX);

    assert_true(count >= HEADER_BYTES);
    assert_true(bound >= count);
    assert_int_equal(wire_message_encode(&message, ret_bytes, count), count);
    assert_int_equal(wire_message_encode(&message, ret_bytes, count - 1), 0);
    return wire_message_encode(&message, ret_bytes, BODY_BYTES_MAX);
}

/* Decodes from a heap copy of exactly that size, so that a sanitizer sees a read past the end. */
static bool decode_copy(const uint8_t *bytes, size_t count, struct wire_arena *arena,
                        struct wire_message *ret_message) {
    uint8_t *copy = malloc(count + 1);

    assert_non_null(copy);
    memcpy(copy, bytes, count);
    uint8_t *exact = realloc(copy, count == 0 ? 1 : count);
    assert_non_null(exact);
    bool ok = wire_message_decode(exact, count, arena, ret_message);
    free(exact);
    return ok;
}

static void truncated_messages_are_refused(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX];

    (void)state;
    for (int type = 1; type < WIRE_TYPE_COUNT; type++) {
        size_t count = encode_sample((enum wire_type)type, bytes);
        for (size_t cut = 0; cut < count; cut++) {
            assert_false(decode_copy(bytes, cut, &arena, &message));
        }
    }
    wire_arena_fini(&arena);
}

static void trailing_bytes_are_refused(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX];

    (void)state;
    for (int type = 1; type < WIRE_TYPE_COUNT; type++) {
        size_t count = encode_sample((enum wire_type)type, bytes);
        bytes[count] = 0;
        assert_false(decode_copy(bytes, count + 1, &arena, &message));
    }
    wire_arena_fini(&arena);
}

static void wrong_versions_and_types_are_refused(void **state) {
    static const struct {
        uint8_t version, type;
    } rows[] = { { 0, WIRE_GO },      { WIRE_VERSION + 1, WIRE_GO },     { 255, WIRE_GO },
                 { WIRE_VERSION, 0 }, { WIRE_VERSION, WIRE_TYPE_COUNT }, { WIRE_VERSION, 255 } };
    struct wire_arena arena = { 0 };
    struct wire_message message = { .type = WIRE_TYPE_COUNT };
    uint8_t bytes[BODY_BYTES_MAX];

    (void)state;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message.type = (enum wire_type)0;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t count = encode_sample(WIRE_GO, bytes);
        bytes[0] = rows[i].version;
        bytes[1] = rows[i].type;
        assert_false(decode_copy(bytes, count, &arena, &message));
    }
}

/* Counts stand at these offsets of the body; none may be believed, and none may make the arena large. */
static void oversized_counts_are_refused(void **state) {
    static const struct {
        enum wire_type type;
        size_t offset;
    } rows[] = {
        { WIRE_ROSTER, HEADER_BYTES + 12 },      { WIRE_STOP, HEADER_BYTES + 12 },   { WIRE_STOP, HEADER_BYTES + 16 },
        { WIRE_PLAN, HEADER_BYTES + 33 },        { WIRE_PLAN, HEADER_BYTES + 37 },   { WIRE_TABLE, HEADER_BYTES + 4 },
        { WIRE_ADDRESS, HEADER_BYTES + 4 },      { WIRE_GATHER, HEADER_BYTES + 12 }, { WIRE_GATHER, HEADER_BYTES + 28 },
        { WIRE_ARRIVED, HEADER_BYTES },          { WIRE_COMMITTED, HEADER_BYTES },   { WIRE_REPORT, HEADER_BYTES },
        { WIRE_VIEW_ACCEPT, HEADER_BYTES + 28 },
    };
    static const uint32_t counts[] = { 4, 100, 8192, 8193, 65537, 1u << 20, 0x10000001, UINT32_MAX };
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            size_t count = encode_sample(rows[i].type, bytes);
            for (size_t byte = 0; byte < 4; byte++) {
                bytes[rows[i].offset + byte] = (uint8_t)(counts[j] >> (8 * byte));
            }
            if (rows[i].type == WIRE_ADDRESS && counts[j] == 4) {
                continue; /* the true one */
            }
            assert_false(decode_copy(bytes, count, &arena, &message));
            assert_true(arena.capacity <= 4 * BODY_BYTES_MAX);
        }
    }
    wire_arena_fini(&arena);
}

static void out_of_bounds_fields_are_not_encoded(void **state) {
    static const uint32_t falling[] = { 7, 1 };
    uint8_t bytes[BODY_BYTES_MAX];
    struct wire_message message = sample(WIRE_LOSS);

    (void)state;
    message.loss.cause = WIRE_CAUSE_COUNT;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_LOSS);
    memset(message.loss.text, 'x', sizeof(message.loss.text));
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_STOP);
    message.stop.rank_count = WIRE_RANKS_MAX + 1;
    assert_int_equal(wire_message_bound(&message), 0);
    message = sample(WIRE_STOP);
    message.stop.members = falling;
    message.stop.member_count = 2;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_PLAN);
    message.plan.kind = 0;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_ADDRESS);
    message.address.bytes = WIRE_FABRIC_ADDRESS_BYTES + 1;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
    message = sample(WIRE_HELLO);
    message.hello.node_count = WIRE_NODES_MAX + 1;
    assert_int_equal(wire_message_encode(&message, bytes, sizeof(bytes)), 0);
}

/* A decoder may refuse a flipped byte or read another message, which must then encode to the same bytes. */
static void every_flipped_byte_is_refused_or_canonical(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX], again[BODY_BYTES_MAX];

    (void)state;
    for (int type = 1; type < WIRE_TYPE_COUNT; type++) {
        size_t count = encode_sample((enum wire_type)type, bytes);
        for (size_t at = 0; at < count * 8; at++) {
            bytes[at / 8] ^= (uint8_t)(1u << (at % 8));
            if (decode_copy(bytes, count, &arena, &message)) {
                assert_int_equal(wire_message_encode(&message, again, sizeof(again)), count);
                assert_memory_equal(again, bytes, count);
            }
            bytes[at / 8] ^= (uint8_t)(1u << (at % 8));
        }
    }
    wire_arena_fini(&arena);
}

static void every_type_round_trips(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX], again[BODY_BYTES_MAX];

    (void)state;
    for (int type = 1; type < WIRE_TYPE_COUNT; type++) {
        size_t count = encode_sample((enum wire_type)type, bytes);
        test_seed("wire_message", -1, bytes, count);
        test_seed("leader", -1, bytes, count);
        assert_true(decode_copy(bytes, count, &arena, &message));
        assert_int_equal(message.type, type);
        assert_int_equal(message.from, 42);
        assert_true(message.epoch == wire_epoch_pack(3, 9));
        assert_int_equal(wire_message_encode(&message, again, sizeof(again)), count);
        assert_memory_equal(again, bytes, count);
        assert_string_not_equal(wire_type_name((enum wire_type)type), "UNKNOWN");
    }
    assert_string_equal(wire_type_name(WIRE_TYPE_COUNT), "UNKNOWN");
    wire_arena_fini(&arena);
}

static void decoded_fields_are_the_encoded_ones(void **state) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint8_t bytes[BODY_BYTES_MAX];

    (void)state;
    assert_true(decode_copy(bytes, encode_sample(WIRE_ROSTER, bytes), &arena, &message));
    assert_int_equal(message.roster.active_nodes, 4);
    assert_memory_equal(message.roster.members, members, sizeof(members));
    assert_true(decode_copy(bytes, encode_sample(WIRE_STOP, bytes), &arena, &message));
    assert_memory_equal(message.stop.seats, seats, sizeof(seats));
    assert_memory_equal(message.stop.members, ascending, sizeof(ascending));
    assert_true(message.stop.committed_once);
    assert_int_equal(message.stop.restarts, 5);
    assert_true(decode_copy(bytes, encode_sample(WIRE_VIEW_PROMISE, bytes), &arena, &message));
    assert_int_equal(message.view.number, 3);
    assert_true(message.view.ballot == (1ull << 32 | 7) && message.view.accepted == 1ull << 33);
    assert_int_equal(message.view.wait_ns, 400000000);
    assert_memory_equal(message.view.members, ascending, sizeof(ascending));
    assert_true(decode_copy(bytes, encode_sample(WIRE_SLOT, bytes), &arena, &message));
    assert_int_equal(message.slot.incarnation, 65537);
    assert_int_equal(message.slot.generation, 6);
    assert_int_equal(message.slot.state, WIRE_SLOT_ATTACHED);
    assert_true(decode_copy(bytes, encode_sample(WIRE_GATHER, bytes), &arena, &message));
    assert_memory_equal(message.gather.nodes, nodes, sizeof(nodes));
    assert_int_equal(message.gather.bytes, 5);
    assert_memory_equal(message.gather.data, "de\0fg", 5);
    assert_true(decode_copy(bytes, encode_sample(WIRE_REPORT, bytes), &arena, &message));
    assert_string_equal(message.report.line, "lost n2");
    assert_string_equal(message.report.json, "{\"event\":\"loss\"}");
    wire_arena_fini(&arena);
}

static void causes_have_sentences(void **state) {
    static const struct {
        uint8_t cause;
        uint32_t detail;
        const char *text, *sentence;
    } rows[] = {
        { WIRE_CAUSE_SIGNAL, 9, "", "killed by signal 9 (Killed)" },
        { WIRE_CAUSE_MEMORY, 9, "", "killed by signal 9 (Killed), out of memory" },
        { WIRE_CAUSE_SIGNAL, 4000000000u, "", "killed by signal 4000000000 (unknown signal)" },
        { WIRE_CAUSE_EXIT, 3, "", "exited with code 3" },
        { WIRE_CAUSE_ASKED, 0, "bad memory", "asked to be replaced: bad memory" },
        { WIRE_CAUSE_ASKED, 0, NULL, "asked to be replaced" },
        { WIRE_CAUSE_SILENT, 500, "", "no heartbeat for 500 ms" },
        { 200, 0, "", "unknown cause 200" },
    };
    char text[64], tiny[5];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        wire_cause_describe(rows[i].cause, rows[i].detail, rows[i].text, text, sizeof(text));
        assert_string_equal(text, rows[i].sentence);
        wire_cause_describe(rows[i].cause, rows[i].detail, rows[i].text, tiny, sizeof(tiny));
        assert_int_equal(strlen(tiny), 4);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_messages_are_refused),
        cmocka_unit_test(trailing_bytes_are_refused),
        cmocka_unit_test(wrong_versions_and_types_are_refused),
        cmocka_unit_test(oversized_counts_are_refused),
        cmocka_unit_test(out_of_bounds_fields_are_not_encoded),
        cmocka_unit_test(every_flipped_byte_is_refused_or_canonical),
        cmocka_unit_test(every_type_round_trips),
        cmocka_unit_test(decoded_fields_are_the_encoded_ones),
        cmocka_unit_test(causes_have_sentences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
