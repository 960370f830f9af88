/*
 * Codec of the messages between a keeper and the helper of its node. Knows no socket; linked into the Slurm plugin.
 */
#include "node_helper/wire/wire_keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node_helper/wire/wire_codec.h"

#define KEEPER_VERSION 1u

/* Only START and SAY have an environment, and all of it must be strings. */
static bool environment_fits(uint32_t type, const void *environment, uint32_t bytes) {
    if (type == WIRE_KEEPER_SAY) {
        return bytes > 1 && bytes <= WIRE_KEEPER_LINE_BYTES_MAX &&
               memchr(environment, '\0', bytes) == (const char *)environment + bytes - 1;
    }
    if (type != WIRE_KEEPER_START) {
        return bytes == 0;
    }
    return bytes <= WIRE_KEEPER_ENVIRONMENT_BYTES_MAX && wire_environment_valid(environment, bytes);
}

size_t wire_keeper_encode(const struct wire_keeper_message *message, uint8_t *ret_bytes, size_t capacity) {
    struct wire_writer writer = { .bytes = ret_bytes,
                                  .capacity = capacity < WIRE_KEEPER_PACKET_BYTES_MAX ? capacity
                                                                                      : WIRE_KEEPER_PACKET_BYTES_MAX };

    if (ret_bytes == NULL || message->type < WIRE_KEEPER_HELLO || message->type > WIRE_KEEPER_SAY ||
        !environment_fits(message->type, message->environment, message->environment_bytes)) {
        return 0;
    }
    wire_write_u8(&writer, KEEPER_VERSION);
    wire_write_u8(&writer, (uint8_t)message->type);
    wire_write_u32(&writer, message->slot);
    wire_write_u32(&writer, message->incarnation);
    wire_write_u32(&writer, message->pid);
    wire_write_u32(&writer, (uint32_t)message->status);
    wire_write_u32(&writer, message->environment_bytes);
    wire_write_bytes(&writer, message->environment, message->environment_bytes);
    return writer.failed ? 0 : writer.length;
}

bool wire_keeper_decode(const uint8_t *bytes, size_t count, struct wire_keeper_message *ret_message) {
    struct wire_reader reader = { .bytes = bytes, .length = count };

    memset(ret_message, 0, sizeof(*ret_message));
    uint8_t version = wire_read_u8(&reader);
    uint8_t type = wire_read_u8(&reader);
    if (count > WIRE_KEEPER_PACKET_BYTES_MAX || version != KEEPER_VERSION || type < WIRE_KEEPER_HELLO ||
        type > WIRE_KEEPER_SAY) {
        return false;
    }
    ret_message->type = (enum wire_keeper_type)type;
    ret_message->slot = wire_read_u32(&reader);
    ret_message->incarnation = wire_read_u32(&reader);
    ret_message->pid = wire_read_u32(&reader);
    ret_message->status = (int32_t)wire_read_u32(&reader);
    ret_message->environment_bytes = wire_read_count(&reader, WIRE_KEEPER_ENVIRONMENT_BYTES_MAX);
    const uint8_t *environment = wire_read_span(&reader, ret_message->environment_bytes);
    if (!wire_reader_done(&reader) || !environment_fits(type, environment, ret_message->environment_bytes)) {
        return false;
    }
    ret_message->environment = (const char *)environment;
    return true;
}

void wire_keeper_address(const char *token, uint32_t node, char *ret_name, size_t capacity) {
    snprintf(ret_name, capacity, "ckptless.%s.%" PRIu32, token, node);
}
