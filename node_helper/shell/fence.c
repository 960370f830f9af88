/*
 * PMIx_Fence of programs across nodes: PMIx gathers the local participants' data, the nodes gather each other's. An
 * epoch that begins meanwhile ends it, for someone who takes part may be gone.
 */
#include <stdlib.h>
#include <xxhash.h>

#include "node_helper/shell/shell.h"

static void on_gathered(struct shell *shell, void *arg, const uint8_t *data, size_t bytes) {
    if (shell->pmix != NULL) {
        pmixsrv_fence_done(shell->pmix, arg, data != NULL, data, bytes);
    }
}

/* Of the list of participants and their world; never that of exchanges. */
static uint64_t key_of(const struct pmixsrv_event *event) {
    uint64_t key = XXH3_64bits_withSeed(event->ranks, event->rank_count * sizeof(*event->ranks), event->world);
    return key == 0 ? 1 : key;
}

/* The nodes where participants live, ascending; free(). NULL: no memory, or a rank that nobody has. */
static uint32_t *participant_nodes(const struct shell *shell, const struct pmixsrv_event *event, uint32_t *ret_count) {
    uint32_t world = core_rank_count(shell->core), count = event->rank_count == 0 ? world : event->rank_count;
    uint32_t *nodes = calloc(shell->node_count + 1u, sizeof(*nodes));
    bool *takes_part = calloc(shell->node_count + 1u, sizeof(*takes_part));
    bool known = nodes != NULL && takes_part != NULL;
    for (uint32_t i = 0; known && i < count; i++) {
        uint32_t rank = event->rank_count == 0 ? i : event->ranks[i];
        known = rank < world;
        if (known) {
            takes_part[core_seat(shell->core, rank).node] = true;
        }
    }
    *ret_count = 0;
    for (uint32_t node = 0; known && node < shell->node_count; node++) {
        if (takes_part[node]) {
            nodes[(*ret_count)++] = node;
        }
    }
    free(takes_part);
    if (!known) {
        free(nodes);
        return NULL;
    }
    return nodes;
}

void fence_begin(struct shell *shell, const struct pmixsrv_event *event) {
    struct gather_part part = { .key = key_of(event), .data = event->data, .bytes = event->bytes };
    uint32_t *nodes = participant_nodes(shell, event, &part.node_count);
    part.nodes = nodes;
    bool is_over = event->world != 0 && event->world != stays_world(shell);
    if (nodes == NULL || is_over || !gather_begin(shell, &part, on_gathered, event->reply)) {
        pmixsrv_fence_done(shell->pmix, event->reply, false, NULL, 0);
    }
    free(nodes);
}
