/*
 * ckptless_alloc: memory for regions.
 */
#ifndef CKPTLESS_MEMORY_H
#define CKPTLESS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "include/ckptless.h"

struct memory_block {
    char name[CKPTLESS_REGION_NAME_MAX + 1];
    uint32_t shard;
    void *data;
    size_t bytes; /* as mapped */
};

struct memory {
    struct memory_block *list;
    size_t count, capacity;
};

/* Forgets the blocks; the memory itself stays until the process ends: the program may still be writing it out. */
void memory_fini(struct memory *memory);

#endif
