/*
 * Any bytes as a message between helpers: what is accepted must encode to the same bytes again.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct wire_arena arena;
    struct wire_message message;

    if (!wire_message_decode(data, size, &arena, &message)) {
        return 0;
    }
    size_t bound = wire_message_bound(&message);
    uint8_t *again = malloc(bound);
    if (again == NULL || wire_message_encode(&message, again, bound) != size || memcmp(again, data, size) != 0) {
        abort();
    }
    free(again);
    return 0;
}
