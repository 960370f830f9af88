/*
 * A row of blocks, each u32 rank, u32 bytes and the bytes: what the ranks give to an exchange, in whatever order the
 * nodes are. Pure.
 */
#ifndef CKPTLESS_SHELL_BLOCKS_H
#define CKPTLESS_SHELL_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_HEADER_BYTES 8u

/* The bytes in rank order, without headers; free(). NULL: no memory, or not one block of each rank and no other. */
uint8_t *blocks_order(const uint8_t *data, size_t bytes, uint32_t rank_count, size_t *ret_bytes);

#endif
