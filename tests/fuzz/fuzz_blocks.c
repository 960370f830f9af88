/*
 * Any bytes as the joined parts of an exchange, between as many ranks as the first byte says: what is accepted is all
 * of it but the headers.
 */
#include <stdlib.h>

#include "node_helper/shell/blocks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t bytes = 0;

    if (size == 0) {
        return 0;
    }
    uint32_t rank_count = data[0] % 8u;
    uint8_t *ordered = blocks_order(data + 1, size - 1, rank_count, &bytes);
    if (ordered != NULL && bytes + (size_t)rank_count * BLOCK_HEADER_BYTES != size - 1) {
        abort();
    }
    free(ordered);
    return 0;
}
