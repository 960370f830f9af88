/*
 * What two planes say to each other: a request for one chunk, and the reply, which is the chunk itself followed by a
 * trailer of 32 bytes (a refusal is a trailer alone). Pure; everything that a peer can send is judged here.
 *
 *   request  u32 magic, u8 version, 16 token, u32 rank, u32 shard, string name, u64 region_bytes, u64 offset,
 *            u32 length, u64 tag, u32 count, count bytes of the asker's fabric address
 *   trailer  u32 magic, u32 status, u64 offset, 16 XXH3-128 of the chunk, canonical
 */
#ifndef CKPTLESS_PLANE_REQUEST_H
#define CKPTLESS_PLANE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"

#define REQUEST_VERSION 1u
#define REQUEST_BYTES_MAX 768u
#define REQUEST_CHUNK_BYTES_MAX (1u << 20) /* of data in one reply */
#define REQUEST_TRAILER_BYTES 32u
#define REQUEST_DIGEST_BYTES 16u
#define REQUEST_TOKEN_BYTES 16u

enum request_status {
    REQUEST_OK = 0,
    REQUEST_REFUSED,    /* no such token for this rank */
    REQUEST_NO_REGION,  /* the rank holds no region of this name and shard */
    REQUEST_OTHER_SIZE, /* it does, with another size */
    REQUEST_BOUNDS,     /* offset and length are not inside the region */
    REQUEST_GONE,       /* the process has ended */
    REQUEST_DENIED,     /* its memory may not be read */
    REQUEST_FAULT,      /* it has no memory there */
    REQUEST_BUSY,       /* too many requests wait */
    REQUEST_STATUS_COUNT
};

struct request {
    uint8_t token[REQUEST_TOKEN_BYTES];
    uint32_t rank, shard;
    char name[WIRE_REGION_NAME_BYTES];
    uint64_t region_bytes; /* the whole region's size at the asker */
    uint64_t offset;       /* of the chunk in the region */
    uint32_t length;       /* of the chunk: 1 .. REQUEST_CHUNK_BYTES_MAX */
    uint64_t tag;          /* which the reply must carry */
    uint32_t address_bytes;
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES]; /* where the reply goes */
};

struct request_trailer {
    uint32_t status; /* enum request_status */
    uint64_t offset;
    uint8_t digest[REQUEST_DIGEST_BYTES];
};

/* What a received reply is worth. */
enum request_verdict {
    REQUEST_GOOD = 0, /* the chunk, and its digest is right */
    REQUEST_NOT_SENT, /* a well-formed refusal: *ret_status says why */
    REQUEST_GARBLED,  /* not a reply to what was asked */
    REQUEST_MISMATCH, /* the digest is not that of the data */
};

/* Bytes written; 0 when it does not fit. */
size_t request_encode(const struct request *request, uint8_t *ret_bytes, size_t capacity);
bool request_decode(const uint8_t *bytes, size_t count, struct request *ret_request);
/* Writes REQUEST_TRAILER_BYTES bytes. */
void request_trailer_encode(const struct request_trailer *trailer, uint8_t *ret_bytes);
bool request_trailer_decode(const uint8_t *bytes, struct request_trailer *ret_trailer);
/* XXH3-128, canonical byte order. */
void request_digest(const void *bytes, size_t count, uint8_t ret_digest[REQUEST_DIGEST_BYTES]);
/* Judges `count` received bytes as the reply to a request for `length` bytes at `offset`. */
enum request_verdict request_check_reply(const uint8_t *bytes, size_t count, uint64_t offset, uint32_t length,
                                         uint32_t *ret_status);
/* In a time that does not depend on where the tokens differ. */
bool request_token_equal(const uint8_t a[REQUEST_TOKEN_BYTES], const uint8_t b[REQUEST_TOKEN_BYTES]);
/* A phrase that follows "rank 3": "does not hold it", ... */
const char *request_status_describe(uint32_t status);

#endif
