/*
 * ckptless_exchange(): the node's ranks give their blocks, the nodes gather them, and each rank gets all blocks in rank
 * order. One at a time: a rank begins the next only when it has the answer of the last.
 *
 * A node's part of the gather is a row of blocks, each u32 rank, u32 bytes and the bytes; joined parts are one too.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/blocks.h"
#include "node_helper/shell/shell.h"
#include "node_helper/wire/wire_cursor.h"

#define EXCHANGE_KEY 0u /* no fence has it */

struct block {
    uint32_t bytes;
    uint8_t *data; /* NULL: not given */
};

struct exchange {
    struct block *blocks; /* by rank: what own ranks gave */
    uint32_t count;
    size_t bytes;
    uint64_t sequence; /* within the epoch */
};

static void clear(struct exchange *exchange, uint32_t rank_count) {
    for (uint32_t rank = 0; rank < rank_count; rank++) {
        free(exchange->blocks[rank].data);
        exchange->blocks[rank] = (struct block){ 0 };
    }
    exchange->count = 0;
    exchange->bytes = 0;
}

bool exchange_init(struct shell *shell) {
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    shell->exchange = exchange;
    if (exchange == NULL) {
        return false;
    }
    exchange->blocks = calloc(core_rank_count(shell->core) + 1u, sizeof(*exchange->blocks));
    return exchange->blocks != NULL;
}

void exchange_fini(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    if (exchange == NULL) {
        return;
    }
    if (exchange->blocks != NULL) {
        clear(exchange, core_rank_count(shell->core));
    }
    free(exchange->blocks);
    free(exchange);
    shell->exchange = NULL;
}

void exchange_reset(struct shell *shell) {
    clear(shell->exchange, core_rank_count(shell->core));
    shell->exchange->sequence = 0;
}

/* False: no memory, or this rank has given its block already. */
static bool keep(struct exchange *exchange, uint32_t rank, const struct wire_rpc_request *request) {
    uint8_t *copy = exchange->blocks[rank].data ? NULL : malloc(request->data_bytes + 1u);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, request->data, request->data_bytes);
    exchange->blocks[rank] = (struct block){ .bytes = request->data_bytes, .data = copy };
    exchange->count++;
    exchange->bytes += request->data_bytes + BLOCK_HEADER_BYTES;
    return true;
}

/* Own ranks that live in this epoch. */
static uint32_t own_ranks(const struct shell *shell) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        count += core_slot_rank(shell->core, i) != WIRE_NONE;
    }
    return count;
}

static void answer_own(struct shell *shell, struct wire_rpc_answer *answer) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        if (core_slot_rank(shell->core, i) != WIRE_NONE) {
            rpc_answer(shell, &shell->slots[i], WIRE_RPC_EXCHANGE, answer);
        }
    }
}

static void on_gathered(struct shell *shell, void *arg, const uint8_t *data, size_t bytes) {
    size_t all_bytes = 0;
    (void)arg;
    if (data == NULL) {
        return; /* the ranks are being interrupted */
    }
    uint8_t *all = blocks_order(data, bytes, core_rank_count(shell->core), &all_bytes);
    struct wire_rpc_answer answer = { .result = all ? CKPTLESS_OK : CKPTLESS_ERR_NO_MEMORY,
                                      .data_bytes = all ? (uint32_t)all_bytes : 0,
                                      .data = all };
    clear(shell->exchange, core_rank_count(shell->core));
    shell->exchange->sequence++;
    answer_own(shell, &answer);
    free(all);
}

/* Nodes with ranks, ascending; free(). */
static uint32_t *world_nodes(const struct shell *shell, uint32_t *ret_count) {
    uint32_t *nodes = calloc(shell->node_count + 1u, sizeof(*nodes));
    bool *has_ranks = calloc(shell->node_count + 1u, sizeof(*has_ranks));
    *ret_count = 0;
    for (uint32_t rank = 0; has_ranks != NULL && rank < core_rank_count(shell->core); rank++) {
        has_ranks[core_seat(shell->core, rank).node] = true;
    }
    for (uint32_t node = 0; nodes != NULL && has_ranks != NULL && node < shell->node_count; node++) {
        if (has_ranks[node]) {
            nodes[(*ret_count)++] = node;
        }
    }
    free(has_ranks);
    return nodes;
}

/* True: the gather is under way. */
static bool send_own(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    uint32_t node_count = 0;
    uint32_t *nodes = world_nodes(shell, &node_count);
    uint8_t *bytes = malloc(exchange->bytes + 1);
    struct wire_writer writer = { .bytes = bytes, .capacity = exchange->bytes };
    for (uint32_t rank = 0; bytes != NULL && rank < core_rank_count(shell->core); rank++) {
        const struct block *block = &exchange->blocks[rank];
        if (block->data != NULL) {
            wire_write_u32(&writer, rank);
            wire_write_u32(&writer, block->bytes);
            wire_write_bytes(&writer, block->data, block->bytes);
        }
    }
    const struct gather_part part = {
        .key = EXCHANGE_KEY, .nodes = nodes, .node_count = node_count, .data = bytes, .bytes = writer.length
    };
    bool begun = nodes != NULL && bytes != NULL && gather_begin(shell, &part, on_gathered, NULL);
    free(nodes);
    free(bytes);
    return begun;
}

void exchange_contribute(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request) {
    struct exchange *exchange = shell->exchange;
    uint32_t rank = core_slot_rank(shell->core, slots_index(shell, slot));
    if (rank == WIRE_NONE || request->epoch != core_epoch(shell->core)) {
        rpc_answer_result(shell, slot, WIRE_RPC_EXCHANGE, CKPTLESS_INTERRUPTED, NULL);
        return;
    }
    if (request->sequence != exchange->sequence || !keep(exchange, rank, request)) {
        rpc_answer_result(shell, slot, WIRE_RPC_EXCHANGE, CKPTLESS_ERR_STATE,
                          "ckptless_exchange: not the same calls on every rank");
        return;
    }
    if (exchange->count == own_ranks(shell) && !send_own(shell)) {
        struct wire_rpc_answer answer = { .result = CKPTLESS_ERR_NO_MEMORY };
        answer_own(shell, &answer);
    }
}
