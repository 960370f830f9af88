/*
 * Any bytes as a packet between keeper and helper: what is accepted must encode to the same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_keeper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t again[WIRE_KEEPER_PACKET_BYTES_MAX];
    struct wire_keeper_message message;

    if (wire_keeper_decode(data, size, &message) &&
        (wire_keeper_encode(&message, again, sizeof(again)) != size || memcmp(again, data, size) != 0)) {
        abort();
    }
    return 0;
}
