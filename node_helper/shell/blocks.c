/* See blocks.h. */
#include "node_helper/shell/blocks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_cursor.h"

struct block {
    uint32_t bytes;
    const uint8_t *data; /* NULL: not there */
};

uint8_t *blocks_order(const uint8_t *data, size_t bytes, uint32_t rank_count, size_t *ret_bytes) {
    struct wire_reader reader = { .bytes = data, .length = bytes };
    struct block *blocks = calloc(rank_count + 1u, sizeof(*blocks));
    uint8_t *ordered = malloc(bytes + 1);
    bool complete = blocks != NULL && ordered != NULL;
    size_t used = 0;

    while (complete && reader.offset < reader.length) {
        uint32_t rank = wire_read_u32(&reader), count = wire_read_u32(&reader);
        const uint8_t *span = wire_read_span(&reader, count);
        complete = !reader.failed && rank < rank_count && blocks[rank].data == NULL;
        if (complete) {
            blocks[rank] = (struct block){ .bytes = count, .data = span };
        }
    }
    for (uint32_t rank = 0; complete && rank < rank_count; rank++) {
        complete = blocks[rank].data != NULL;
        if (complete) {
            memcpy(ordered + used, blocks[rank].data, blocks[rank].bytes);
            used += blocks[rank].bytes;
        }
    }
    free(blocks);
    if (!complete) {
        free(ordered);
        return NULL;
    }
    *ret_bytes = used;
    return ordered;
}
