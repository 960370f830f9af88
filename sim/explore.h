/*
 * A world small enough to look at all of it.
 *
 *   explore.c         every state, once
 *   explore_world.c   what can happen next, and what must hold
 *   explore_memory.c  where the cores' state lies: saved, restored and hashed as bytes
 */
#ifndef CKPTLESS_SIM_EXPLORE_H
#define CKPTLESS_SIM_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_NODES_MAX 5u
#define WORLD_CHOICES_MAX 64u

struct world_bounds {
    uint32_t node_count, spare_count;
    uint32_t kills, losses; /* of programs, of nodes */
    uint32_t early;         /* timers that run out while something is on its way */
};

enum world_choice_kind { WORLD_DELIVER, WORLD_CONNECT, WORLD_COMMIT, WORLD_TIME, WORLD_KILL, WORLD_LOSE };

struct world_choice {
    enum world_choice_kind kind;
    uint32_t from, to; /* nodes */
};

void world_create(const struct world_bounds *bounds); /* all have committed a step */
uint32_t world_choices(struct world_choice *ret_choices);
void world_do(const struct world_choice *choice);
void world_check_end(void); /* nothing can happen any more */
const char *world_failure(void);
void world_print(const struct world_choice *choice);

void *world_save(void);
void world_restore(const void *saved);
uint64_t world_hash(void);

/* explore_memory.c */
void *memory_take(size_t bytes); /* zeroed, part of the state */

#endif
