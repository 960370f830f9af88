/*
 * Payloads between the shells that the protocol core never sees: region tables, fabric addresses, and what programs
 * exchange. Encode and decode stand next to each other.
 */
#include <string.h>

#include "node_helper/wire/wire_codec.h"

#define REGION_BYTES_MIN 16u /* on the wire, with an empty name */

static void encode_region(struct wire_writer *writer, const struct wire_region *region) {
    wire_encode_text(writer, region->name, sizeof(region->name));
    wire_write_u32(writer, region->shard);
    wire_write_u64(writer, region->bytes);
}

static void decode_region(struct wire_reader *reader, struct wire_region *ret_region) {
    memset(ret_region, 0, sizeof(*ret_region));
    wire_read_string(reader, ret_region->name, sizeof(ret_region->name));
    ret_region->shard = wire_read_u32(reader);
    ret_region->bytes = wire_read_u64(reader);
}

void wire_table_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_table *table = &message->table;

    wire_write_u32(writer, table->rank);
    if (!wire_encode_count(writer, table->region_count, WIRE_REGIONS_MAX)) {
        return;
    }
    for (uint32_t i = 0; i < table->region_count; i++) {
        encode_region(writer, &table->regions[i]);
    }
}

void wire_table_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_table *table = &ret_message->table;

    table->rank = wire_read_u32(reader);
    table->region_count = wire_decode_count(reader, WIRE_REGIONS_MAX, REGION_BYTES_MIN);
    if (!wire_arena_reserve(decoder, wire_arena_need(table->region_count, sizeof(struct wire_region)))) {
        return;
    }
    struct wire_region *regions = wire_arena_take(decoder, table->region_count, sizeof(*regions));
    for (uint32_t i = 0; i < table->region_count && !reader->failed; i++) {
        decode_region(reader, &regions[i]);
    }
    table->regions = regions;
}

void wire_region_query_encode(struct wire_writer *writer, const struct wire_message *message) {
    wire_write_u32(writer, message->region_query.token);
    wire_encode_bool(writer, message->region_query.found);
    encode_region(writer, &message->region_query.region);
}

void wire_region_query_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    ret_message->region_query.token = wire_read_u32(&decoder->reader);
    ret_message->region_query.found = wire_decode_bool(&decoder->reader);
    decode_region(&decoder->reader, &ret_message->region_query.region);
}

void wire_address_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_address *address = &message->address;

    wire_write_u32(writer, address->helper);
    if (wire_encode_count(writer, address->bytes, WIRE_FABRIC_ADDRESS_BYTES)) {
        wire_write_bytes(writer, address->address, address->bytes);
    }
}

void wire_address_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_address *address = &ret_message->address;

    address->helper = wire_read_u32(&decoder->reader);
    address->bytes = wire_read_count(&decoder->reader, WIRE_FABRIC_ADDRESS_BYTES);
    wire_read_bytes(&decoder->reader, address->address, address->bytes);
}

void wire_gather_encode(struct wire_writer *writer, const struct wire_message *message) {
    const struct wire_gather *gather = &message->gather;

    wire_write_u64(writer, gather->key);
    wire_write_u32(writer, gather->sequence);
    if (!wire_encode_count(writer, gather->node_count, WIRE_NODES_MAX)) {
        return;
    }
    wire_encode_ascending(writer, gather->nodes, gather->node_count);
    if (wire_encode_count(writer, gather->bytes, WIRE_GATHER_BYTES_MAX)) {
        wire_write_bytes(writer, gather->data, gather->bytes);
    }
}

void wire_gather_decode(struct wire_decoder *decoder, struct wire_message *ret_message) {
    struct wire_reader *reader = &decoder->reader;
    struct wire_gather *gather = &ret_message->gather;

    gather->key = wire_read_u64(reader);
    gather->sequence = wire_read_u32(reader);
    gather->node_count = wire_decode_count(reader, WIRE_NODES_MAX, sizeof(uint32_t));
    /* The data is copied, so that the frame may go: it is shorter than what is left to read. */
    size_t rest = reader->failed ? 0 : reader->length - reader->offset;
    if (!wire_arena_reserve(decoder, wire_arena_need(gather->node_count, sizeof(uint32_t)) + wire_arena_need(rest, 1))) {
        return;
    }
    gather->nodes = wire_decode_ascending(decoder, gather->node_count);
    gather->bytes = wire_decode_count(reader, WIRE_GATHER_BYTES_MAX, 1);
    uint8_t *data = wire_arena_take(decoder, gather->bytes, 1);
    if (data != NULL) {
        wire_read_bytes(reader, data, gather->bytes);
    }
    gather->data = data;
}
