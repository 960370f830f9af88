/*
 * Looks at every state that a small world can come to: real cores, every order in which messages of different
 * connections can arrive, and a kill of a program and a loss of a node at every moment.
 *
 *     explore [--nodes N] [--spares S] [--kills K] [--losses L] [--early E] [--states MILLIONS]
 *
 * A state is the memory of the cores (they allocate only when they are created: explore_memory.c), what is on its way,
 * the programs, and the time. Two ways to one state are one. Time goes on to the next deadline of anybody when nothing
 * is on its way; and E times before that, so that a timer runs out while a message travels.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/explore.h"

static struct {
    uint64_t *table; /* hashes of states, open addressing */
    uint64_t capacity, count, transitions, ends, deepest;
    uint64_t states_max;
    bool is_full;
} seen;

static bool is_new(uint64_t hash) {
    hash += hash == 0;
    for (uint64_t at = hash % seen.capacity;; at = (at + 1) % seen.capacity) {
        if (seen.table[at] == hash) {
            return false;
        }
        if (seen.table[at] == 0) {
            seen.table[at] = hash;
            seen.count++;
            seen.is_full = seen.count >= seen.states_max;
            return true;
        }
    }
}

/* The way here, to be told when something is wrong. */
#define DEPTH_MAX 4096u
static struct world_choice path[DEPTH_MAX];

static void tell(uint32_t depth) {
    printf("# %s\n", world_failure());
    for (uint32_t i = 0; i < depth; i++) {
        world_print(&path[i]);
    }
}

static bool explore(uint32_t depth) {
    struct world_choice choices[WORLD_CHOICES_MAX];
    uint32_t count = world_choices(choices);
    seen.deepest = depth > seen.deepest ? depth : seen.deepest;
    if (count == 0 || depth == DEPTH_MAX) {
        seen.ends++;
        world_check_end();
        if (world_failure() != NULL) {
            tell(depth);
            return false;
        }
        return true;
    }
    void *saved = world_save();
    bool holds = true;
    for (uint32_t i = 0; i < count && holds && !seen.is_full; i++) {
        path[depth] = choices[i];
        world_do(&choices[i]);
        seen.transitions++;
        if (world_failure() != NULL) {
            tell(depth + 1);
            holds = false;
        } else if (is_new(world_hash())) {
            holds = explore(depth + 1);
        }
        if (holds) {
            world_restore(saved);
        }
    }
    free(saved);
    return holds;
}

static bool parse(int argc, char **argv, struct world_bounds *bounds, uint64_t *ret_millions) {
    static const struct option options[] = { { "nodes", required_argument, NULL, 'n' },
                                             { "spares", required_argument, NULL, 's' },
                                             { "kills", required_argument, NULL, 'k' },
                                             { "losses", required_argument, NULL, 'l' },
                                             { "early", required_argument, NULL, 'e' },
                                             { "states", required_argument, NULL, 'm' },
                                             { NULL, 0, NULL, 0 } };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint32_t value = optarg != NULL ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (option) {
        case 'n':
            bounds->node_count = value;
            break;
        case 's':
            bounds->spare_count = value;
            break;
        case 'k':
            bounds->kills = value;
            break;
        case 'l':
            bounds->losses = value;
            break;
        case 'e':
            bounds->early = value;
            break;
        case 'm':
            *ret_millions = value;
            break;
        default:
            return false;
        }
    }
    return optind == argc && bounds->node_count > 0 && bounds->node_count <= WORLD_NODES_MAX &&
           bounds->spare_count < bounds->node_count;
}

int main(int argc, char **argv) {
    struct world_bounds bounds = { .node_count = 3, .spare_count = 1, .kills = 1, .losses = 1, .early = 0 };
    uint64_t millions = 10;
    if (!parse(argc, argv, &bounds, &millions) || millions == 0) {
        fprintf(stderr,
                "usage: explore [--nodes N] [--spares S] [--kills K] [--losses L] [--early E] [--states MILLIONS]\n");
        return 2;
    }
    seen.states_max = millions * 1000000;
    seen.capacity = seen.states_max * 3 / 2 + 1;
    seen.table = calloc(seen.capacity, sizeof *seen.table);
    if (seen.table == NULL) {
        return 2;
    }
    printf("1..1\n");
    world_create(&bounds);
    bool holds = world_failure() == NULL && is_new(world_hash()) && explore(0);
    printf("# %u nodes (%u spare), %u kills, %u losses, %u early: %llu states, %llu transitions, %llu ends, depth "
           "%llu%s\n",
           bounds.node_count, bounds.spare_count, bounds.kills, bounds.losses, bounds.early,
           (unsigned long long)seen.count, (unsigned long long)seen.transitions, (unsigned long long)seen.ends,
           (unsigned long long)seen.deepest, seen.is_full ? "; not all" : "");
    holds = holds && !seen.is_full;
    printf("%s 1 - every state holds what must hold\n", holds ? "ok" : "not ok");
    free(seen.table);
    return holds ? 0 : 1;
}
