/*
 * Payloads by which helpers, leader and ckptless-launch know of each other: who is there, that they live, what to tell
 * the user, and how the step ends. Encode and decode of one payload stand next to each other.
 */
#include <string.h>

#include "node_helper/wire/wire_codec.h"

#define MEMBER_BYTES_MIN 22u /* on the wire, with empty names */

/* Numbers within what the codec bounds; whether they fit the step is for the receiver to judge. */
static bool hello_in_bounds(const struct wire_hello *hello) {
    return hello->node < WIRE_NODES_MAX && hello->node_count <= WIRE_NODES_MAX &&
           hello->slot_count <= WIRE_SLOTS_PER_NODE_MAX && hello->spare_nodes <= WIRE_NODES_MAX;
}

void wire_hello_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_hello *hello = &message->hello;

    wire_write_u32(writer, hello->node);
    wire_write_u32(writer, hello->node_count);
    wire_write_u32(writer, hello->slot_count);
    wire_write_u32(writer, hello->spare_nodes);
    wire_write_u32(writer, hello->predecessor);
    wire_write_u16(writer, hello->port);
    wire_encode_text(writer, hello->host, sizeof(hello->host));
    wire_encode_text(writer, hello->version, sizeof(hello->version));
    if (!hello_in_bounds(hello)) {
        writer->failed = true;
    }
}

void wire_hello_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_hello *hello = &ret_message->hello;

    hello->node = wire_read_u32(reader);
    hello->node_count = wire_read_u32(reader);
    hello->slot_count = wire_read_u32(reader);
    hello->spare_nodes = wire_read_u32(reader);
    hello->predecessor = wire_read_u32(reader);
    hello->port = wire_read_u16(reader);
    wire_read_string(reader, hello->host, sizeof(hello->host));
    wire_read_string(reader, hello->version, sizeof(hello->version));
    if (!hello_in_bounds(hello)) {
        reader->failed = true;
    }
}

static void encode_member(struct wire_writer *writer, const struct wire_member *member) {
    wire_write_u32(writer, member->id);
    wire_write_u32(writer, member->node);
    wire_write_u32(writer, member->slot_count);
    wire_write_u16(writer, member->port);
    wire_encode_text(writer, member->host, sizeof(member->host));
    wire_encode_text(writer, member->address, sizeof(member->address));
    if (member->node >= WIRE_NODES_MAX || member->slot_count > WIRE_SLOTS_PER_NODE_MAX) {
        writer->failed = true;
    }
}

static void decode_member(struct wire_reader *reader, struct wire_member *ret_member) {
    memset(ret_member, 0, sizeof(*ret_member));
    ret_member->id = wire_read_u32(reader);
    ret_member->node = wire_read_u32(reader);
    ret_member->slot_count = wire_read_u32(reader);
    ret_member->port = wire_read_u16(reader);
    wire_read_string(reader, ret_member->host, sizeof(ret_member->host));
    wire_read_string(reader, ret_member->address, sizeof(ret_member->address));
    if (ret_member->node >= WIRE_NODES_MAX || ret_member->slot_count > WIRE_SLOTS_PER_NODE_MAX) {
        reader->failed = true;
    }
}

void wire_roster_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_roster *roster = &message->roster;

    wire_write_u32(writer, roster->your_id);
    wire_write_u32(writer, roster->active_nodes);
    wire_write_u32(writer, roster->leader);
    if (!wire_encode_count(writer, roster->member_count, WIRE_NODES_MAX) || roster->active_nodes > WIRE_NODES_MAX) {
        writer->failed = true;
        return;
    }
    for (uint32_t i = 0; i < roster->member_count; i++) {
        encode_member(writer, &roster->members[i]);
    }
}

void wire_roster_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_roster *roster = &ret_message->roster;

    roster->your_id = wire_read_u32(reader);
    roster->active_nodes = wire_read_count(reader, WIRE_NODES_MAX);
    roster->leader = wire_read_u32(reader);
    roster->member_count = wire_decode_count(reader, WIRE_NODES_MAX, MEMBER_BYTES_MIN);
    if (!wire_arena_reserve(decoder, wire_arena_need(roster->member_count, sizeof(struct wire_member)))) {
        return;
    }
    struct wire_member *members = wire_arena_take(decoder, roster->member_count, sizeof(*members));
    for (uint32_t i = 0; i < roster->member_count && !reader->failed; i++) {
        decode_member(reader, &members[i]);
    }
    roster->members = members;
}

void wire_report_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_string(writer, message->report.line);
    wire_write_string(writer, message->report.json);
}

/* A string of any length that fits into the frame, copied into the reserved arena. */
static const char *decode_long_string(struct wire_decoder *decoder) {
    struct wire_reader ahead = decoder->reader;
    size_t capacity = (size_t)wire_read_u32(&ahead) + 1;

    if (ahead.failed || capacity - 1 > ahead.length - ahead.offset) {
        decoder->reader.failed = true;
        return NULL;
    }
    char *text = wire_arena_take(decoder, capacity, 1);
    if (text != NULL) {
        wire_read_string(&decoder->reader, text, capacity);
    }
    return text;
}

void wire_report_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    /* Both strings together are shorter than what is left to read; two NULs and two paddings come on top. */
    if (!wire_arena_reserve(decoder, decoder->reader.length - decoder->reader.offset + 2 * wire_arena_need(1, 17))) {
        return;
    }
    ret_message->report.line = decode_long_string(decoder);
    ret_message->report.json = decode_long_string(decoder);
}

void wire_usage_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_u64(writer, message->usage.commits);
    wire_write_u64(writer, message->usage.library_ns);
}

void wire_usage_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    ret_message->usage.commits = wire_read_u64(&decoder->reader);
    ret_message->usage.library_ns = wire_read_u64(&decoder->reader);
}

void wire_heartbeat_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_u64(writer, message->heartbeat.sent_ns);
    wire_write_u64(writer, message->heartbeat.lease_ns);
    wire_write_u64(writer, message->heartbeat.leader_ns);
}

void wire_heartbeat_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    ret_message->heartbeat.sent_ns = wire_read_u64(&decoder->reader);
    ret_message->heartbeat.lease_ns = wire_read_u64(&decoder->reader);
    ret_message->heartbeat.leader_ns = wire_read_u64(&decoder->reader);
}

void wire_end_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_u32(writer, message->end.exit_code);
    wire_encode_bool(writer, message->end.kill);
    wire_encode_text(writer, message->end.text, sizeof(message->end.text));
}

void wire_end_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    ret_message->end.exit_code = wire_read_u32(&decoder->reader);
    ret_message->end.kill = wire_decode_bool(&decoder->reader);
    wire_read_string(&decoder->reader, ret_message->end.text, sizeof(ret_message->end.text));
}
