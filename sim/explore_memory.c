/*
 * One stretch of memory for all that the state of a world is. The cores' calloc and free come here (the linker's
 * --wrap): they allocate only when they are created, so the stretch as bytes is their state. What is large is scratch
 * of one step, the actions and the queue, and no part of it.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sim/explore.h"

#define STATE_BYTES (1u << 20)
#define SCRATCH_BYTES 32768u

static _Alignas(64) unsigned char state[STATE_BYTES];
static size_t used;

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

void *memory_take(size_t bytes) {
    void *taken = state + used;
    used += (bytes + 15) & ~(size_t)15;
    return used <= STATE_BYTES ? taken : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes) {
    return count * bytes >= SCRATCH_BYTES ? __real_calloc(count, bytes) : memory_take(count * bytes);
}

void __wrap_free(void *memory) {
    uintptr_t at = (uintptr_t)memory, begin = (uintptr_t)state;
    if (at < begin || at >= begin + STATE_BYTES) {
        __real_free(memory);
    }
}

void *world_save(void) {
    void *saved = malloc(used);
    if (saved == NULL) {
        abort();
    }
    memcpy(saved, state, used);
    return saved;
}

void world_restore(const void *saved) {
    memcpy(state, saved, used);
}

uint64_t world_hash(void) {
    return XXH3_64bits(state, used);
}
