/*
 * Any bytes as a request for a chunk (first byte even) or as the reply to one (odd): an accepted request must encode to
 * the same bytes again and be within its bounds; a reply is good only when its digest is that of its data.
 */
#include <stdlib.h>
#include <string.h>

#include "state_plane/request.h"

#define CHUNK_BYTES 16u
#define OFFSET 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const uint8_t *data, size_t size) {
    struct request request;
    uint8_t again[REQUEST_BYTES_MAX];

    if (!request_decode(data, size, &request)) {
        return;
    }
    if (request.length == 0 || request.length > REQUEST_CHUNK_BYTES_MAX ||
        memchr(request.name, '\0', sizeof(request.name)) == NULL ||
        request_encode(&request, again, sizeof(again)) != size || memcmp(again, data, size) != 0) {
        abort();
    }
}

static void check_reply(const uint8_t *data, size_t size) {
    uint8_t digest[REQUEST_DIGEST_BYTES];
    uint32_t status = 0;
    enum request_verdict verdict = request_check_reply(data, size, OFFSET, CHUNK_BYTES, &status);

    if (verdict == REQUEST_NOT_SENT && (status == REQUEST_OK || status >= REQUEST_STATUS_COUNT)) {
        abort();
    }
    if (verdict == REQUEST_GOOD) {
        request_digest(data, CHUNK_BYTES, digest);
        if (size != CHUNK_BYTES + REQUEST_TRAILER_BYTES ||
            memcmp(digest, data + size - REQUEST_DIGEST_BYTES, sizeof(digest)) != 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] % 2 == 0) {
        check_request(data + 1, size - 1);
    } else if (size > 0) {
        check_reply(data + 1, size - 1);
    }
    return 0;
}
