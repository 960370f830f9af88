/* See request.h. Pure: libc, the wire's cursors and xxHash only. */
#include "state_plane/request.h"

#include <string.h>
#include <xxhash.h>

#include "node_helper/wire/wire_cursor.h"

#define REQUEST_MAGIC 0x31716b63u /* "ckq1" */
#define TRAILER_MAGIC 0x31746b63u /* "ckt1" */

size_t request_encode(const struct request *request, uint8_t *ret_bytes, size_t capacity) {
    struct wire_writer writer = { .bytes = ret_bytes, .capacity = capacity };

    wire_write_u32(&writer, REQUEST_MAGIC);
    wire_write_u8(&writer, REQUEST_VERSION);
    wire_write_bytes(&writer, request->token, sizeof(request->token));
    wire_write_u32(&writer, request->rank);
    wire_write_u32(&writer, request->shard);
    wire_write_string(&writer, request->name);
    wire_write_u64(&writer, request->region_bytes);
    wire_write_u64(&writer, request->offset);
    wire_write_u32(&writer, request->length);
    wire_write_u64(&writer, request->tag);
    wire_write_u32(&writer, request->address_bytes);
    wire_write_bytes(&writer, request->address, request->address_bytes);
    return writer.failed ? 0 : writer.length;
}

bool request_decode(const uint8_t *bytes, size_t count, struct request *ret_request) {
    struct wire_reader reader = { .bytes = bytes, .length = count };

    if (wire_read_u32(&reader) != REQUEST_MAGIC || wire_read_u8(&reader) != REQUEST_VERSION) {
        return false;
    }
    wire_read_bytes(&reader, ret_request->token, sizeof(ret_request->token));
    ret_request->rank = wire_read_u32(&reader);
    ret_request->shard = wire_read_u32(&reader);
    wire_read_string(&reader, ret_request->name, sizeof(ret_request->name));
    ret_request->region_bytes = wire_read_u64(&reader);
    ret_request->offset = wire_read_u64(&reader);
    ret_request->length = wire_read_u32(&reader);
    if (ret_request->length == 0 || ret_request->length > REQUEST_CHUNK_BYTES_MAX) {
        return false;
    }
    ret_request->tag = wire_read_u64(&reader);
    ret_request->address_bytes = wire_read_count(&reader, sizeof(ret_request->address));
    wire_read_bytes(&reader, ret_request->address, ret_request->address_bytes);
    return wire_reader_done(&reader);
}

void request_trailer_encode(const struct request_trailer *trailer, uint8_t *ret_bytes) {
    struct wire_writer writer = { .bytes = ret_bytes, .capacity = REQUEST_TRAILER_BYTES };

    wire_write_u32(&writer, TRAILER_MAGIC);
    wire_write_u32(&writer, trailer->status);
    wire_write_u64(&writer, trailer->offset);
    wire_write_bytes(&writer, trailer->digest, sizeof(trailer->digest));
}

bool request_trailer_decode(const uint8_t *bytes, struct request_trailer *ret_trailer) {
    struct wire_reader reader = { .bytes = bytes, .length = REQUEST_TRAILER_BYTES };
    uint32_t magic = wire_read_u32(&reader);

    ret_trailer->status = wire_read_u32(&reader);
    ret_trailer->offset = wire_read_u64(&reader);
    wire_read_bytes(&reader, ret_trailer->digest, sizeof(ret_trailer->digest));
    return magic == TRAILER_MAGIC && ret_trailer->status < REQUEST_STATUS_COUNT && wire_reader_done(&reader);
}

void request_digest(const void *bytes, size_t count, uint8_t ret_digest[REQUEST_DIGEST_BYTES]) {
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    _Static_assert(sizeof(canonical.digest) == REQUEST_DIGEST_BYTES, "XXH3-128 has 16 bytes");
    memcpy(ret_digest, canonical.digest, REQUEST_DIGEST_BYTES);
}

enum request_verdict request_check_reply(const uint8_t *bytes, size_t count, uint64_t offset, uint32_t length,
                                         uint32_t *ret_status) {
    struct request_trailer trailer;
    uint8_t digest[REQUEST_DIGEST_BYTES];

    *ret_status = REQUEST_OK;
    if (count < REQUEST_TRAILER_BYTES || !request_trailer_decode(bytes + count - REQUEST_TRAILER_BYTES, &trailer) ||
        trailer.offset != offset) {
        return REQUEST_GARBLED;
    }
    if (trailer.status != REQUEST_OK) {
        *ret_status = trailer.status;
        return count == REQUEST_TRAILER_BYTES ? REQUEST_NOT_SENT : REQUEST_GARBLED;
    }
    if (count != (size_t)length + REQUEST_TRAILER_BYTES) {
        return REQUEST_GARBLED;
    }
    request_digest(bytes, length, digest);
    return memcmp(digest, trailer.digest, sizeof(digest)) == 0 ? REQUEST_GOOD : REQUEST_MISMATCH;
}

bool request_token_equal(const uint8_t a[REQUEST_TOKEN_BYTES], const uint8_t b[REQUEST_TOKEN_BYTES]) {
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < REQUEST_TOKEN_BYTES; i++) {
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}

const char *request_status_describe(uint32_t status) {
    static const char *const phrases[REQUEST_STATUS_COUNT] = {
        [REQUEST_OK] = "sent it",
        [REQUEST_REFUSED] = "does not serve under this token",
        [REQUEST_NO_REGION] = "does not hold it",
        [REQUEST_OTHER_SIZE] = "holds it with another size",
        [REQUEST_BOUNDS] = "says that the chunk lies outside",
        [REQUEST_GONE] = "is gone (its process has ended)",
        [REQUEST_DENIED] = "may not be read (EPERM: ptrace scope, seccomp or another user)",
        [REQUEST_FAULT] = "has no memory there",
        [REQUEST_BUSY] = "is asked too much at once",
    };

    return status < REQUEST_STATUS_COUNT ? phrases[status] : "gave an unknown answer";
}
