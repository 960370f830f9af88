/*
 * Codec of the library's requests to its helper and of the answers. Knows no PMIx: both sides hand it bytes.
 */
#include "node_helper/wire/wire_rpc.h"

#include <string.h>

#include "node_helper/wire/wire_codec.h"
#include "node_helper/wire/wire_keeper.h"

#define RPC_REGION_BYTES_MIN 24u /* on the wire, with an empty name */

static size_t request_into(struct wire_writer *writer, const struct wire_rpc_request *request) {
    if (request->type < WIRE_RPC_INIT || request->type > WIRE_RPC_RESUME) {
        return 0;
    }
    wire_write_u8(writer, WIRE_RPC_VERSION);
    wire_write_u8(writer, (uint8_t)request->type);
    wire_write_u64(writer, request->epoch);
    wire_write_u32(writer, request->incarnation);
    wire_write_u32(writer, request->pid);
    wire_encode_bool(writer, request->can_shrink);
    wire_encode_bool(writer, request->has_state);
    wire_write_u64(writer, request->step);
    wire_write_u64(writer, request->sequence);
    if (!wire_encode_count(writer, request->region_count, WIRE_REGIONS_MAX)) {
        return 0;
    }
    for (uint32_t i = 0; i < request->region_count; i++) {
        wire_encode_text(writer, request->regions[i].name, sizeof(request->regions[i].name));
        wire_write_u32(writer, request->regions[i].shard);
        wire_write_u64(writer, request->regions[i].bytes);
        wire_write_u64(writer, request->regions[i].address);
    }
    if (!wire_encode_count(writer, request->data_bytes, WIRE_EXCHANGE_BYTES_MAX)) {
        return 0;
    }
    wire_write_bytes(writer, request->data, request->data_bytes);
    return writer->failed ? 0 : writer->length;
}

size_t wire_rpc_request_bound(const struct wire_rpc_request *request) {
    struct wire_writer counter = { .bytes = NULL, .capacity = WIRE_RPC_BYTES_MAX };

    return request_into(&counter, request);
}

size_t wire_rpc_request_encode(const struct wire_rpc_request *request, uint8_t *ret_bytes, size_t capacity) {
    struct wire_writer writer = { .bytes = ret_bytes,
                                  .capacity = capacity < WIRE_RPC_BYTES_MAX ? capacity : WIRE_RPC_BYTES_MAX };

    return ret_bytes == NULL ? 0 : request_into(&writer, request);
}

static void decode_regions(struct wire_decoder *decoder, struct wire_rpc_request *ret_request) {
    struct wire_reader *reader = &decoder->reader;

    ret_request->region_count = wire_decode_count(reader, WIRE_REGIONS_MAX, RPC_REGION_BYTES_MIN);
    size_t rest = reader->failed ? 0 : reader->length - reader->offset; /* covers the data that follows */
    if (rest > WIRE_EXCHANGE_BYTES_MAX) {
        rest = WIRE_EXCHANGE_BYTES_MAX;
    }
    if (!wire_arena_reserve(decoder, wire_arena_need(ret_request->region_count, sizeof(struct wire_rpc_region)) +
                                         wire_arena_need(rest, 1))) {
        return;
    }
    struct wire_rpc_region *regions = wire_arena_take(decoder, ret_request->region_count, sizeof(*regions));
    for (uint32_t i = 0; i < ret_request->region_count && !reader->failed; i++) {
        memset(&regions[i], 0, sizeof(regions[i]));
        wire_read_string(reader, regions[i].name, sizeof(regions[i].name));
        regions[i].shard = wire_read_u32(reader);
        regions[i].bytes = wire_read_u64(reader);
        regions[i].address = wire_read_u64(reader);
    }
    ret_request->regions = regions;
}

bool wire_rpc_request_decode(const uint8_t *bytes, size_t count, struct wire_arena *arena,
                             struct wire_rpc_request *ret_request) {
    struct wire_decoder decoder = { .reader = { .bytes = bytes, .length = count }, .arena = arena };
    struct wire_reader *reader = &decoder.reader;

    memset(ret_request, 0, sizeof(*ret_request));
    uint8_t version = wire_read_u8(reader);
    uint8_t type = wire_read_u8(reader);
    if (count > WIRE_RPC_BYTES_MAX || version != WIRE_RPC_VERSION || type < WIRE_RPC_INIT || type > WIRE_RPC_RESUME) {
        return false;
    }
    ret_request->type = (enum wire_rpc_type)type;
    ret_request->epoch = wire_read_u64(reader);
    ret_request->incarnation = wire_read_u32(reader);
    ret_request->pid = wire_read_u32(reader);
    ret_request->can_shrink = wire_decode_bool(reader);
    ret_request->has_state = wire_decode_bool(reader);
    ret_request->step = wire_read_u64(reader);
    ret_request->sequence = wire_read_u64(reader);
    decode_regions(&decoder, ret_request);
    ret_request->data_bytes = wire_decode_count(reader, WIRE_EXCHANGE_BYTES_MAX, 1);
    uint8_t *data = wire_arena_take(&decoder, ret_request->data_bytes, 1);
    if (data != NULL) {
        wire_read_bytes(reader, data, ret_request->data_bytes);
    }
    ret_request->data = data;
    return wire_reader_done(reader);
}

static size_t answer_into(struct wire_writer *writer, const struct wire_rpc_answer *answer) {
    if (!wire_environment_valid((const uint8_t *)answer->environment, answer->environment_bytes)) {
        return 0;
    }
    wire_write_u8(writer, WIRE_RPC_VERSION);
    wire_write_u32(writer, answer->result);
    wire_write_u64(writer, answer->epoch);
    wire_write_u64(writer, answer->step);
    wire_write_u64(writer, answer->bytes);
    wire_write_u32(writer, answer->rank);
    wire_write_u32(writer, answer->size);
    wire_write_u32(writer, answer->local_rank);
    wire_write_u32(writer, answer->local_size);
    wire_write_u32(writer, answer->node);
    wire_write_u32(writer, answer->nodes);
    wire_write_u32(writer, answer->incarnation);
    wire_write_u64(writer, answer->ordinal);
    wire_write_u16(writer, answer->master_port);
    wire_encode_text(writer, answer->master_addr, sizeof(answer->master_addr));
    wire_encode_text(writer, answer->text, sizeof(answer->text));
    if (!wire_encode_count(writer, answer->environment_bytes, WIRE_KEEPER_ENVIRONMENT_BYTES_MAX)) {
        return 0;
    }
    wire_write_bytes(writer, answer->environment, answer->environment_bytes);
    wire_write_u32(writer, answer->data_bytes);
    wire_write_bytes(writer, answer->data, answer->data_bytes);
    return writer->failed ? 0 : writer->length;
}

size_t wire_rpc_answer_bound(const struct wire_rpc_answer *answer) {
    struct wire_writer counter = { .bytes = NULL, .capacity = WIRE_RPC_BYTES_MAX };

    return answer_into(&counter, answer);
}

size_t wire_rpc_answer_encode(const struct wire_rpc_answer *answer, uint8_t *ret_bytes, size_t capacity) {
    struct wire_writer writer = { .bytes = ret_bytes,
                                  .capacity = capacity < WIRE_RPC_BYTES_MAX ? capacity : WIRE_RPC_BYTES_MAX };

    return ret_bytes == NULL ? 0 : answer_into(&writer, answer);
}

bool wire_rpc_answer_decode(const uint8_t *bytes, size_t count, struct wire_rpc_answer *ret_answer) {
    struct wire_reader reader = { .bytes = bytes, .length = count };

    memset(ret_answer, 0, sizeof(*ret_answer));
    uint8_t version = wire_read_u8(&reader);
    if (count > WIRE_RPC_BYTES_MAX || version != WIRE_RPC_VERSION) {
        return false;
    }
    ret_answer->result = wire_read_u32(&reader);
    ret_answer->epoch = wire_read_u64(&reader);
    ret_answer->step = wire_read_u64(&reader);
    ret_answer->bytes = wire_read_u64(&reader);
    ret_answer->rank = wire_read_u32(&reader);
    ret_answer->size = wire_read_u32(&reader);
    ret_answer->local_rank = wire_read_u32(&reader);
    ret_answer->local_size = wire_read_u32(&reader);
    ret_answer->node = wire_read_u32(&reader);
    ret_answer->nodes = wire_read_u32(&reader);
    ret_answer->incarnation = wire_read_u32(&reader);
    ret_answer->ordinal = wire_read_u64(&reader);
    ret_answer->master_port = wire_read_u16(&reader);
    wire_read_string(&reader, ret_answer->master_addr, sizeof(ret_answer->master_addr));
    wire_read_string(&reader, ret_answer->text, sizeof(ret_answer->text));
    ret_answer->environment_bytes = wire_read_count(&reader, WIRE_KEEPER_ENVIRONMENT_BYTES_MAX);
    const uint8_t *environment = wire_read_span(&reader, ret_answer->environment_bytes);
    ret_answer->data_bytes = wire_read_count(&reader, WIRE_RPC_BYTES_MAX);
    ret_answer->data = wire_read_span(&reader, ret_answer->data_bytes);
    ret_answer->environment = (const char *)environment;
    return wire_reader_done(&reader) && wire_environment_valid(environment, ret_answer->environment_bytes);
}
