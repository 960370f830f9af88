/*
 * A message as a whole: its header, the table that says which payload a type has, and the arena that decoded arrays
 * live in. Knows no payload's fields; those are in wire_rollcall.c, wire_recovery.c and wire_bulk.c.
 */
#include "node_helper/wire/wire_message.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_codec.h"

struct codec {
    wire_encode_fn *encode;
    wire_decode_fn *decode;
};

static void encode_nothing(struct wire_writer *writer, const struct wire_message *message) {
    (void)writer;
    (void)message;
}

static void decode_nothing(struct wire_decoder *decoder, struct wire_message *ret_message) {
    (void)decoder;
    (void)ret_message;
}

#define PAYLOAD(name)                                                                                                  \
    { wire_##name##_encode, wire_##name##_decode }

static const struct codec codecs[WIRE_TYPE_COUNT] = {
    [WIRE_HELLO] = PAYLOAD(hello),
    [WIRE_ROSTER] = PAYLOAD(roster),
    [WIRE_REFUSE] = PAYLOAD(end),
    [WIRE_REPORT] = PAYLOAD(report),
    [WIRE_RESULT] = PAYLOAD(end),
    [WIRE_PING] = PAYLOAD(heartbeat),
    [WIRE_JOIN] = PAYLOAD(hello),
    [WIRE_WELCOME] = PAYLOAD(roster),
    [WIRE_HEARTBEAT] = PAYLOAD(heartbeat),
    [WIRE_HEARTBEAT_ACK] = PAYLOAD(heartbeat),
    [WIRE_LOSS] = PAYLOAD(loss),
    [WIRE_STOP] = PAYLOAD(stop),
    [WIRE_ARRIVED] = PAYLOAD(arrivals),
    [WIRE_PLAN] = PAYLOAD(plan),
    [WIRE_READY] = PAYLOAD(rank_step),
    [WIRE_GO] = { encode_nothing, decode_nothing },
    [WIRE_RELOADED] = PAYLOAD(rank_step),
    [WIRE_RELOAD_RESULT] = PAYLOAD(reload_result),
    [WIRE_COMMITTED] = PAYLOAD(commits),
    [WIRE_FINISHED] = PAYLOAD(rank_step),
    [WIRE_END] = PAYLOAD(end),
    [WIRE_WARM] = { encode_nothing, decode_nothing },
    [WIRE_ATTACHED] = PAYLOAD(rank_step),
    [WIRE_ENDING] = PAYLOAD(end),
    [WIRE_EVICTED] = PAYLOAD(end),
    [WIRE_TABLE] = PAYLOAD(table),
    [WIRE_REGION_QUERY] = PAYLOAD(region_query),
    [WIRE_REGION_ANSWER] = PAYLOAD(region_query),
    [WIRE_ADDRESS] = PAYLOAD(address),
    [WIRE_GATHER] = PAYLOAD(gather),
    [WIRE_GATHERED] = PAYLOAD(gather),
    [WIRE_STAYS] = PAYLOAD(rank_step),
    [WIRE_PRESENT] = PAYLOAD(rank_step),
    [WIRE_VIEW_PREPARE] = PAYLOAD(view),
    [WIRE_VIEW_PROMISE] = PAYLOAD(view),
    [WIRE_VIEW_ACCEPT] = PAYLOAD(view),
    [WIRE_VIEW_ACCEPTED] = PAYLOAD(view),
    [WIRE_VIEW_REFUSE] = PAYLOAD(view),
    [WIRE_VIEW_DECIDED] = PAYLOAD(view),
    [WIRE_SLOT] = PAYLOAD(slot),
    [WIRE_VISIT] = PAYLOAD(hello),
    [WIRE_DEAD] = { encode_nothing, decode_nothing },
    [WIRE_USAGE] = PAYLOAD(usage),
    [WIRE_UNSETTLED] = { encode_nothing, decode_nothing },
    [WIRE_OTHERWISE] = { encode_nothing, decode_nothing },
    [WIRE_ENDED] = { encode_nothing, decode_nothing },
};

/* NULL: no such type. */
static const struct codec *find_codec(uint32_t type) {
    return type < WIRE_TYPE_COUNT && codecs[type].encode != NULL ? &codecs[type] : NULL;
}

static size_t encode_into(struct wire_writer *writer, const struct wire_message *message) {
    const struct codec *codec = find_codec(message->type);

    if (codec == NULL) {
        return 0;
    }
    wire_write_u8(writer, WIRE_VERSION);
    wire_write_u8(writer, (uint8_t)message->type);
    wire_write_u32(writer, message->from);
    wire_write_u64(writer, message->epoch);
    codec->encode(writer, message);
    return writer->failed ? 0 : writer->length;
}

size_t wire_message_encode(const struct wire_message *message, uint8_t *ret_bytes, size_t capacity) {
    struct wire_writer writer = { .bytes = ret_bytes,
                                  .capacity = capacity < WIRE_FRAME_BYTES_MAX ? capacity : WIRE_FRAME_BYTES_MAX };

    return ret_bytes == NULL ? 0 : encode_into(&writer, message);
}

size_t wire_message_bound(const struct wire_message *message) {
    struct wire_writer counter = { .bytes = NULL, .capacity = WIRE_FRAME_BYTES_MAX };

    return encode_into(&counter, message);
}

bool wire_message_decode(const uint8_t *bytes, size_t count, struct wire_arena *arena,
                         struct wire_message *ret_message) {
    struct wire_decoder decoder = { .reader = { .bytes = bytes, .length = count }, .arena = arena };

    if (count > WIRE_FRAME_BYTES_MAX) {
        return false;
    }
    memset(ret_message, 0, sizeof(*ret_message));
    uint8_t version = wire_read_u8(&decoder.reader);
    uint8_t type = wire_read_u8(&decoder.reader);
    const struct codec *codec = find_codec(type);
    if (version != WIRE_VERSION || codec == NULL) {
        return false;
    }
    ret_message->type = (enum wire_type)type;
    ret_message->from = wire_read_u32(&decoder.reader);
    ret_message->epoch = wire_read_u64(&decoder.reader);
    codec->decode(&decoder, ret_message);
    return wire_reader_done(&decoder.reader);
}

void wire_arena_fini(struct wire_arena *arena) {
    free(arena->bytes);
    arena->bytes = NULL;
    arena->capacity = 0;
}

static size_t align_up(size_t bytes) {
    return (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

size_t wire_arena_need(size_t count, size_t bytes) {
    return align_up(count * bytes);
}

bool wire_arena_reserve(struct wire_decoder *decoder, size_t bytes) {
    struct wire_arena *arena = decoder->arena;

    if (decoder->reader.failed) {
        return false;
    }
    if (bytes > arena->capacity) {
        wire_arena_fini(arena); /* nothing in it is needed any more: no copy */
        arena->bytes = malloc(bytes);
        if (arena->bytes == NULL) {
            decoder->reader.failed = true;
            return false;
        }
        arena->capacity = bytes;
    }
    return true;
}

void *wire_arena_take(struct wire_decoder *decoder, size_t count, size_t bytes) {
    size_t need = wire_arena_need(count, bytes);

    if (decoder->reader.failed || count == 0) {
        return NULL;
    }
    if (need > decoder->arena->capacity - decoder->taken) {
        decoder->reader.failed = true;
        return NULL;
    }
    void *at = decoder->arena->bytes + decoder->taken;
    decoder->taken += need;
    return at;
}

uint32_t wire_decode_count(struct wire_reader *reader, uint32_t bound, size_t item_bytes_min) {
    uint32_t count = wire_read_count(reader, bound);

    if (reader->failed || count > (reader->length - reader->offset) / item_bytes_min) {
        reader->failed = true;
        return 0;
    }
    return count;
}

bool wire_encode_count(struct wire_writer *writer, uint32_t count, uint32_t bound) {
    if (count > bound) {
        writer->failed = true;
    }
    wire_write_u32(writer, count);
    return !writer->failed;
}

void wire_encode_text(struct wire_writer *writer, const char *text, size_t capacity) {
    size_t length = strnlen(text, capacity);

    if (length == capacity) {
        writer->failed = true;
        return;
    }
    wire_write_u32(writer, (uint32_t)length);
    wire_write_bytes(writer, text, length);
}

void wire_encode_bool(struct wire_writer *writer, bool value) {
    wire_write_u8(writer, value ? 1 : 0);
}

bool wire_decode_bool(struct wire_reader *reader) {
    uint8_t value = wire_read_u8(reader);

    if (value > 1) {
        reader->failed = true;
    }
    return value == 1;
}

void wire_encode_ascending(struct wire_writer *writer, const uint32_t *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && values[i] <= values[i - 1]) {
            writer->failed = true;
        }
        wire_write_u32(writer, values[i]);
    }
}

const uint32_t *wire_decode_ascending(struct wire_decoder *decoder, uint32_t count) {
    uint32_t *values = wire_arena_take(decoder, count, sizeof(*values));

    for (uint32_t i = 0; values != NULL && i < count; i++) {
        values[i] = wire_read_u32(&decoder->reader);
        if (i > 0 && values[i] <= values[i - 1]) {
            decoder->reader.failed = true;
        }
    }
    return values;
}

void wire_encode_runs(struct wire_writer *writer, const uint32_t *values, uint32_t count) {
    uint32_t run_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && values[i] <= values[i - 1]) {
            writer->failed = true;
        }
        run_count += i == 0 || values[i] != values[i - 1] + 1;
    }
    wire_write_u32(writer, run_count);
    for (uint32_t i = 0, first = 0; i < count; i++) {
        if (i + 1 == count || values[i + 1] != values[i] + 1) {
            wire_write_u32(writer, values[first]);
            wire_write_u32(writer, i + 1 - first);
            first = i + 1;
        }
    }
}

bool wire_skip_runs(struct wire_reader *reader, uint32_t count) {
    uint32_t run_count = wire_decode_count(reader, count, 2 * sizeof(uint32_t));
    uint64_t total = 0;

    for (uint32_t i = 0; i < run_count && !reader->failed; i++) {
        (void)wire_read_u32(reader);
        total += wire_read_u32(reader);
    }
    return !reader->failed && total == count;
}

const uint32_t *wire_decode_runs(struct wire_decoder *decoder, uint32_t count, uint32_t bound) {
    struct wire_reader *reader = &decoder->reader;
    uint32_t *values = wire_arena_take(decoder, count, sizeof(*values));
    uint32_t run_count = wire_decode_count(reader, count, 2 * sizeof(uint32_t)), used = 0;

    for (uint32_t i = 0; i < run_count && !reader->failed; i++) {
        uint32_t first = wire_read_u32(reader), length = wire_read_u32(reader);
        /* Neither empty, nor one that could have been told with the run before: one encoding each. */
        if (length == 0 || length > count - used || first >= bound || length > bound - first ||
            (used > 0 && first <= values[used - 1] + 1)) {
            reader->failed = true;
            break;
        }
        for (uint32_t j = 0; j < length; j++) {
            values[used++] = first + j;
        }
    }
    if (used != count) {
        reader->failed = true;
    }
    return values;
}

bool wire_environment_valid(const uint8_t *bytes, size_t count) {
    size_t start = 0;

    if (count == 0) {
        return true;
    }
    if (bytes[count - 1] != '\0') {
        return false;
    }
    while (start < count) {
        if (bytes[start] == '\0' || bytes[start] == '=') {
            return false;
        }
        start += strlen((const char *)bytes + start) + 1;
    }
    return true;
}
