/*
 * Cursors over bytes: the only place that turns numbers into little-endian bytes and back, and the only place that
 * compares an offset with a length. Knows no message.
 */
#include "node_helper/wire/wire_cursor.h"

#include <string.h>

/* Room for `count` more bytes; NULL when the writer only counts (no bytes) or has failed. */
static uint8_t *claim(struct wire_writer *writer, size_t count) {
    if (writer->failed || count > writer->capacity - writer->length) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *at = writer->bytes == NULL ? NULL : writer->bytes + writer->length;
    writer->length += count;
    return at;
}

static void write_number(struct wire_writer *writer, uint64_t value, size_t count) {
    uint8_t *at = claim(writer, count);

    for (size_t i = 0; at != NULL && i < count; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

void wire_write_u8(struct wire_writer *writer, uint8_t value) {
    write_number(writer, value, 1);
}

void wire_write_u16(struct wire_writer *writer, uint16_t value) {
    write_number(writer, value, 2);
}

void wire_write_u32(struct wire_writer *writer, uint32_t value) {
    write_number(writer, value, 4);
}

void wire_write_u64(struct wire_writer *writer, uint64_t value) {
    write_number(writer, value, 8);
}

void wire_write_bytes(struct wire_writer *writer, const void *bytes, size_t count) {
    uint8_t *at = claim(writer, count);

    if (at != NULL && count > 0) {
        memcpy(at, bytes, count);
    }
}

void wire_write_string(struct wire_writer *writer, const char *text) {
    size_t length = text == NULL ? 0 : strlen(text);

    if (length > UINT32_MAX) {
        writer->failed = true;
        return;
    }
    wire_write_u32(writer, (uint32_t)length);
    wire_write_bytes(writer, text, length);
}

const uint8_t *wire_read_span(struct wire_reader *reader, size_t count) {
    if (reader->failed || count > reader->length - reader->offset) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->bytes + reader->offset;
    reader->offset += count;
    return at;
}

static uint64_t read_number(struct wire_reader *reader, size_t count) {
    const uint8_t *at = wire_read_span(reader, count);
    uint64_t value = 0;

    for (size_t i = 0; at != NULL && i < count; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

uint8_t wire_read_u8(struct wire_reader *reader) {
    return (uint8_t)read_number(reader, 1);
}

uint16_t wire_read_u16(struct wire_reader *reader) {
    return (uint16_t)read_number(reader, 2);
}

uint32_t wire_read_u32(struct wire_reader *reader) {
    return (uint32_t)read_number(reader, 4);
}

uint64_t wire_read_u64(struct wire_reader *reader) {
    return read_number(reader, 8);
}

void wire_read_bytes(struct wire_reader *reader, void *ret_bytes, size_t count) {
    const uint8_t *at = wire_read_span(reader, count);

    if (at != NULL && count > 0) {
        memcpy(ret_bytes, at, count);
    } else if (count > 0) {
        memset(ret_bytes, 0, count);
    }
}

void wire_read_string(struct wire_reader *reader, char *ret_text, size_t capacity) {
    uint32_t length = wire_read_u32(reader);

    if (capacity == 0) {
        reader->failed = true;
        return;
    }
    ret_text[0] = '\0';
    if (length >= capacity) {
        reader->failed = true;
        return;
    }
    const uint8_t *at = wire_read_span(reader, length);
    if (at == NULL) {
        return;
    }
    if (length > 0 && memchr(at, '\0', length) != NULL) {
        reader->failed = true;
        return;
    }
    memcpy(ret_text, at, length);
    ret_text[length] = '\0';
}

uint32_t wire_read_count(struct wire_reader *reader, uint32_t bound) {
    uint32_t count = wire_read_u32(reader);

    if (count > bound) {
        reader->failed = true;
        return 0;
    }
    return count;
}

bool wire_reader_done(const struct wire_reader *reader) {
    return !reader->failed && reader->offset == reader->length;
}
