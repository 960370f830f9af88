/* What views are agreed on with, and what members tell the leader of a new one. */
#include "node_helper/wire/wire_codec.h"

void wire_view_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_view *view = &message->view;

    wire_write_u32(writer, view->number);
    wire_write_u64(writer, view->ballot);
    wire_write_u64(writer, view->accepted);
    wire_write_u64(writer, view->wait_ns);
    if (wire_encode_count(writer, view->member_count, WIRE_NODES_MAX)) {
        wire_encode_ascending(writer, view->members, view->member_count);
    }
}

void wire_view_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_view *view = &ret_message->view;

    view->number = wire_read_u32(reader);
    view->ballot = wire_read_u64(reader);
    view->accepted = wire_read_u64(reader);
    view->wait_ns = wire_read_u64(reader);
    view->member_count = wire_decode_count(reader, WIRE_NODES_MAX, sizeof(uint32_t));
    if (wire_arena_reserve(decoder, wire_arena_need(view->member_count, sizeof(uint32_t)))) {
        view->members = wire_decode_ascending(decoder, view->member_count);
    }
}

void wire_slot_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_slot *slot = &message->slot;

    wire_write_u32(writer, slot->slot);
    wire_write_u32(writer, slot->rank);
    wire_write_u32(writer, slot->incarnation);
    wire_write_u32(writer, slot->starts);
    wire_write_u32(writer, slot->ordinal);
    wire_write_u32(writer, slot->generation);
    wire_write_u8(writer, slot->state);
}

void wire_slot_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_slot *slot = &ret_message->slot;

    slot->slot = wire_read_u32(reader);
    slot->rank = wire_read_u32(reader);
    slot->incarnation = wire_read_u32(reader);
    slot->starts = wire_read_u32(reader);
    slot->ordinal = wire_read_u32(reader);
    slot->generation = wire_read_u32(reader);
    slot->state = wire_read_u8(reader);
    if (slot->state > WIRE_SLOT_ATTACHED) {
        reader->failed = true;
    }
}
