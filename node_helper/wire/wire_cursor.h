/*
 * Cursors over bytes: every byte that crosses a process or a wire is written and read through these. Little-endian.
 * A cursor that has failed stays failed: callers encode or decode a whole message and test once, at the end.
 * Pure: libc only (it is also linked into the Slurm plugin).
 */
#ifndef CKPTLESS_WIRE_CURSOR_H
#define CKPTLESS_WIRE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_writer {
    uint8_t *bytes;  /* the caller's */
    size_t capacity; /* bytes of room */
    size_t length;   /* bytes written */
    bool failed;     /* something did not fit; length no longer grows */
};

struct wire_reader {
    const uint8_t *bytes;
    size_t length;
    size_t offset; /* next byte to read */
    bool failed;   /* read past the end, or a bound was exceeded */
};

void wire_write_u8(struct wire_writer *writer, uint8_t value);
void wire_write_u16(struct wire_writer *writer, uint16_t value);
void wire_write_u32(struct wire_writer *writer, uint32_t value);
void wire_write_u64(struct wire_writer *writer, uint64_t value);
void wire_write_bytes(struct wire_writer *writer, const void *bytes, size_t count);
/* u32 length, then the characters without the final NUL; NULL is written as the empty string. */
void wire_write_string(struct wire_writer *writer, const char *text);

/* Reads answer 0 after a failure. */
uint8_t wire_read_u8(struct wire_reader *reader);
uint16_t wire_read_u16(struct wire_reader *reader);
uint32_t wire_read_u32(struct wire_reader *reader);
uint64_t wire_read_u64(struct wire_reader *reader);
void wire_read_bytes(struct wire_reader *reader, void *ret_bytes, size_t count);
/* Points into the reader's bytes; NULL after a failure. */
const uint8_t *wire_read_span(struct wire_reader *reader, size_t count);
/* Copies at most capacity - 1 characters and a NUL; a longer string, or one that holds a NUL, fails the reader. */
void wire_read_string(struct wire_reader *reader, char *ret_text, size_t capacity);
/* A u32 count that must be <= bound, else the reader fails and 0 is answered. */
uint32_t wire_read_count(struct wire_reader *reader, uint32_t bound);
/* True when nothing failed and every byte was read. */
bool wire_reader_done(const struct wire_reader *reader);

#endif
