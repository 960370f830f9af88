/*
 * All-gathers of an epoch: each helper collects what its ranks give, the leader joins everybody's and sends the whole
 * to all. One at a time: a rank begins the next only when it has the answer of the last.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

struct exchange {
    /* By rank: what it gave; own ranks on a member, all on the leader. */
    struct wire_gather_item *items;
    uint64_t own_sequence, all_sequence;
    uint32_t own_count; /* contributions of own ranks to own_sequence */
    uint32_t all_count; /* leader: of all ranks to all_sequence */
    struct wire_gather_item *all;
};

static void free_items(struct wire_gather_item *items, uint32_t count) {
    for (uint32_t i = 0; items != NULL && i < count; i++) {
        free((void *)(uintptr_t)items[i].data);
        items[i] = (struct wire_gather_item){ .rank = i };
    }
}

bool exchange_init(struct shell *shell) {
    uint32_t count = core_rank_count(shell->core);
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    shell->exchange = exchange;
    if (exchange == NULL) {
        return false;
    }
    exchange->items = calloc(count, sizeof(*exchange->items));
    exchange->all = calloc(count, sizeof(*exchange->all));
    if (exchange->items == NULL || exchange->all == NULL) {
        return false;
    }
    exchange_reset(shell);
    return true;
}

void exchange_fini(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    if (exchange == NULL) {
        return;
    }
    free_items(exchange->items, core_rank_count(shell->core));
    free_items(exchange->all, core_rank_count(shell->core));
    free(exchange->items);
    free(exchange->all);
    free(exchange);
    shell->exchange = NULL;
}

static void reset(struct wire_gather_item *items, uint32_t rank_count, uint32_t *ret_count) {
    free_items(items, rank_count);
    *ret_count = 0;
}

void exchange_reset(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    uint32_t rank_count = core_rank_count(shell->core);
    reset(exchange->items, rank_count, &exchange->own_count);
    reset(exchange->all, rank_count, &exchange->all_count);
    exchange->own_sequence = exchange->all_sequence = 0;
}

static bool keep(struct wire_gather_item *items, uint32_t *count, uint32_t rank, const uint8_t *data, uint32_t bytes) {
    uint8_t *copy = malloc(bytes + 1u);
    if (copy == NULL || items[rank].data != NULL) {
        free(copy);
        return false;
    }
    memcpy(copy, data, bytes);
    items[rank] = (struct wire_gather_item){ .rank = rank, .bytes = bytes, .data = copy };
    (*count)++;
    return true;
}

/* Everybody's blocks, in rank order, to the own ranks that wait. */
static void answer_own(struct shell *shell, const struct wire_gather *gathered) {
    size_t bytes = 0, used = 0;
    for (uint32_t i = 0; i < gathered->item_count; i++) {
        bytes += gathered->items[i].bytes;
    }
    uint8_t *joined = malloc(bytes + 1);
    for (uint32_t i = 0; joined != NULL && i < gathered->item_count; i++) {
        memcpy(joined + used, gathered->items[i].data, gathered->items[i].bytes);
        used += gathered->items[i].bytes;
    }
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        struct wire_rpc_answer answer = { .result = joined ? CKPTLESS_OK : CKPTLESS_ERR_NO_MEMORY,
                                          .data_bytes = joined ? (uint32_t)used : 0,
                                          .data = joined };
        if (core_slot_rank(shell->core, i) != WIRE_NONE) {
            rpc_answer(shell, &shell->slots[i], WIRE_RPC_EXCHANGE, &answer);
        }
    }
    free(joined);
    reset(shell->exchange->items, core_rank_count(shell->core), &shell->exchange->own_count);
    shell->exchange->own_sequence = gathered->sequence + 1;
}

static void check_all(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    uint32_t rank_count = core_rank_count(shell->core);
    if (exchange->all_count < rank_count) {
        return;
    }
    struct wire_message message = {
        .type = WIRE_GATHERED,
        .gather = { .sequence = exchange->all_sequence, .item_count = rank_count, .items = exchange->all }
    };
    peers_send_down(shell, &message);
    answer_own(shell, &message.gather);
    reset(exchange->all, rank_count, &exchange->all_count);
    exchange->all_sequence++;
}

static void take_all(struct shell *shell, const struct wire_gather *gather) {
    struct exchange *exchange = shell->exchange;
    if (gather->sequence != exchange->all_sequence) {
        return;
    }
    for (uint32_t i = 0; i < gather->item_count; i++) {
        const struct wire_gather_item *item = &gather->items[i];
        if (item->rank < core_rank_count(shell->core)) {
            (void)keep(exchange->all, &exchange->all_count, item->rank, item->data, item->bytes);
        }
    }
    check_all(shell);
}

/* Own ranks that live in this epoch. */
static uint32_t own_ranks(const struct shell *shell) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        count += core_slot_rank(shell->core, i) != WIRE_NONE;
    }
    return count;
}

static void send_own(struct shell *shell) {
    struct exchange *exchange = shell->exchange;
    struct wire_gather_item *items = calloc(exchange->own_count, sizeof(*items));
    struct wire_message message = { .type = WIRE_GATHER,
                                    .gather = { .sequence = exchange->own_sequence, .items = items } };
    for (uint32_t rank = 0; items != NULL && rank < core_rank_count(shell->core); rank++) {
        if (exchange->items[rank].data != NULL) {
            items[message.gather.item_count++] = exchange->items[rank];
        }
    }
    if (core_is_leader(shell->core)) {
        take_all(shell, &message.gather);
    } else {
        peers_send_up(shell, &message);
    }
    free(items);
}

void exchange_contribute(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request) {
    struct exchange *exchange = shell->exchange;
    uint32_t rank = core_slot_rank(shell->core, slots_index(shell, slot));
    if (rank == WIRE_NONE || request->epoch != core_epoch(shell->core)) {
        rpc_answer_result(shell, slot, WIRE_RPC_EXCHANGE, CKPTLESS_INTERRUPTED, NULL);
        return;
    }
    if (request->sequence != exchange->own_sequence ||
        !keep(exchange->items, &exchange->own_count, rank, request->data, request->data_bytes)) {
        rpc_answer_result(shell, slot, WIRE_RPC_EXCHANGE, CKPTLESS_ERR_STATE,
                          "ckptless_exchange: not the same calls on every rank");
        return;
    }
    if (exchange->own_count == own_ranks(shell)) {
        send_own(shell);
    }
}

void exchange_on_gather(struct shell *shell, const struct wire_message *message) {
    if (core_is_leader(shell->core) && message->epoch == core_epoch(shell->core)) {
        take_all(shell, &message->gather);
    }
}

void exchange_on_gathered(struct shell *shell, const struct wire_message *message) {
    if (!core_is_leader(shell->core) && message->epoch == core_epoch(shell->core) &&
        message->gather.sequence == shell->exchange->own_sequence) {
        answer_own(shell, &message->gather);
    }
}
