/*
 * Region tables of all ranks, at the leader: to say where two ranks differ, and what the holders of a shard have
 * (ckptless_region_bytes). A query waits until every rank that held state has said what it has in this epoch, or asks
 * itself: its table of the epoch before counts then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

struct rank_table {
    struct table table;
    bool holds;   /* the rank had whole state when it last arrived */
    bool settled; /* has arrived or asked in this epoch */
};

struct query {
    struct query *next;
    uint32_t helper; /* who asked; own id: the slot below */
    struct wire_region_query ask;
};

struct tables {
    struct rank_table *ranks;
    struct query *queries;
    bool diff_said;
};

bool tables_init(struct shell *shell) {
    shell->tables = calloc(1, sizeof(*shell->tables));
    if (shell->tables == NULL) {
        return false;
    }
    shell->tables->ranks = calloc(core_rank_count(shell->core), sizeof(*shell->tables->ranks));
    return shell->tables->ranks != NULL;
}

void tables_fini(struct shell *shell) {
    struct tables *tables = shell->tables;
    if (tables == NULL) {
        return;
    }
    for (uint32_t rank = 0; tables->ranks != NULL && rank < core_rank_count(shell->core); rank++) {
        table_fini(&tables->ranks[rank].table);
    }
    while (tables->queries != NULL) {
        struct query *query = tables->queries;
        tables->queries = query->next;
        free(query);
    }
    free(tables->ranks);
    free(tables);
    shell->tables = NULL;
}

void tables_reset(struct shell *shell) {
    shell->tables->diff_said = false;
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        shell->tables->ranks[rank].settled = false;
    }
}

static uint32_t own_id(const struct shell *shell) {
    return shell->nodes[shell->launch.node].member.id;
}

void tables_send(struct shell *shell, struct slot *slot) {
    uint32_t rank = core_slot_rank(shell->core, slots_index(shell, slot));
    if (slot->table_sent || rank == WIRE_NONE || slot->ended || slot->table.regions == NULL) {
        return;
    }
    struct wire_region *regions = table_wire(&slot->table);
    struct wire_message message = {
        .type = WIRE_TABLE,
        .table = { .rank = rank, .region_count = regions ? slot->table.count : 0, .regions = regions }
    };
    if (core_is_leader(shell->core)) {
        tables_on_table(shell, &message);
    } else {
        slot->table_sent = shell->leader_is_up;
        peers_send_up(shell, &message);
    }
    free(regions);
}

void tables_on_table(struct shell *shell, const struct wire_message *message) {
    if (core_is_leader(shell->core) && message->table.rank < core_rank_count(shell->core)) {
        (void)table_set_wire(&shell->tables->ranks[message->table.rank].table, message->table.regions,
                             message->table.region_count);
    }
}

/* The slots of this helper that wait for an answer about this region. */
static void answer_own(struct shell *shell, const struct wire_region_query *answer) {
    if (answer->token >= shell->slot_count) {
        return;
    }
    struct wire_rpc_answer reply = { .result = answer->found ? CKPTLESS_OK : CKPTLESS_ERR_NOT_FOUND,
                                     .bytes = answer->region.bytes };
    rpc_answer(shell, &shell->slots[answer->token], WIRE_RPC_REGION_BYTES, &reply);
}

/* Every rank that lives in its former process has arrived or asked; newcomers have nothing to say. */
static bool is_settled(const struct shell *shell) {
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        const struct rank_table *entry = &shell->tables->ranks[rank];
        if (entry->holds && !entry->settled) {
            return false;
        }
    }
    return true;
}

static void answer_query(struct shell *shell, const struct query *query) {
    struct wire_region_query answer = query->ask;
    answer.found = false;
    for (uint32_t rank = 0; rank < core_rank_count(shell->core) && !answer.found; rank++) {
        const struct rank_table *entry = &shell->tables->ranks[rank];
        const struct plane_region *region =
            entry->holds ? table_find(&entry->table, answer.region.name, answer.region.shard) : NULL;
        if (region != NULL) {
            answer.found = true;
            answer.region.bytes = region->bytes;
        }
    }
    if (query->helper == own_id(shell)) {
        answer_own(shell, &answer);
        return;
    }
    struct wire_message message = { .type = WIRE_REGION_ANSWER, .from = own_id(shell), .region_query = answer };
    message.epoch = core_epoch(shell->core);
    peers_send_id(shell, query->helper, &message);
}

static void answer_all(struct shell *shell) {
    struct tables *tables = shell->tables;
    while (is_settled(shell) && tables->queries != NULL) {
        struct query *query = tables->queries;
        tables->queries = query->next;
        answer_query(shell, query);
        free(query);
    }
}

void tables_on_arrived(struct shell *shell, uint32_t rank, bool has_state) {
    if (!core_is_leader(shell->core) || rank >= core_rank_count(shell->core)) {
        return;
    }
    shell->tables->ranks[rank].holds = has_state;
    shell->tables->ranks[rank].settled = true;
    answer_all(shell);
}

void tables_on_committed(struct shell *shell, uint32_t rank) {
    if (core_is_leader(shell->core) && rank < core_rank_count(shell->core)) {
        shell->tables->ranks[rank].holds = true;
    }
}

/* A rank that asks does not hold anyone up. Its helper is known, which of its ranks it is does not matter more. */
static void settle_asker(struct shell *shell, uint32_t helper, uint32_t slot) {
    for (uint32_t rank = 0; rank < core_rank_count(shell->core); rank++) {
        struct core_seat_info seat = core_seat(shell->core, rank);
        if (seat.helper == helper && seat.slot == slot) {
            shell->tables->ranks[rank].settled = true;
        }
    }
}

static void ask_leader(struct shell *shell, uint32_t helper, const struct wire_region_query *ask) {
    struct query *query = calloc(1, sizeof(*query));
    if (query == NULL) {
        return; /* the asker is late, and replaced */
    }
    *query = (struct query){ .next = shell->tables->queries, .helper = helper, .ask = *ask };
    shell->tables->queries = query;
    settle_asker(shell, helper, ask->token);
    answer_all(shell);
}

void tables_on_query(struct shell *shell, const struct wire_message *message) {
    if (core_is_leader(shell->core)) {
        ask_leader(shell, message->from, &message->region_query);
    }
}

void tables_on_answer(struct shell *shell, const struct wire_message *message) {
    answer_own(shell, &message->region_query);
}

static void ask(struct shell *shell, struct slot *slot) {
    struct wire_message message = { .type = WIRE_REGION_QUERY,
                                    .region_query = { .token = slots_index(shell, slot), .region = slot->asked } };
    if (core_is_leader(shell->core)) {
        ask_leader(shell, own_id(shell), &message.region_query);
    } else {
        peers_send_up(shell, &message);
    }
}

void tables_ask(struct shell *shell, struct slot *slot, const struct wire_rpc_region *region) {
    slot->asked = (struct wire_region){ .shard = region->shard };
    memcpy(slot->asked.name, region->name, sizeof(slot->asked.name));
    ask(shell, slot);
}

void tables_ask_again(struct shell *shell) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        if (shell->slots[i].reply != NULL && shell->slots[i].call == WIRE_RPC_REGION_BYTES) {
            ask(shell, &shell->slots[i]);
        }
    }
}

void tables_lead(struct shell *shell) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        struct slot *slot = &shell->slots[i];
        uint32_t rank = core_slot_rank(shell->core, i);
        tables_send(shell, slot);
        if (rank != WIRE_NONE && slot->page != NULL && atomic_load(&slot->page->shared->update_count) > 0) {
            tables_on_committed(shell, rank);
        }
    }
    tables_ask_again(shell);
}

/* Once an epoch: the plan comes by more than one way. */
bool tables_diff(struct shell *shell, uint32_t rank_a, uint32_t rank_b, char *ret_line, size_t capacity) {
    struct tables *tables = shell->tables;
    uint32_t rank_count = core_rank_count(shell->core);
    if (tables->diff_said || rank_a >= rank_count || rank_b >= rank_count) {
        return false;
    }
    tables->diff_said = true;
    if (!table_diff(&tables->ranks[rank_a].table, rank_a, &tables->ranks[rank_b].table, rank_b, ret_line, capacity)) {
        snprintf(ret_line, capacity, "ranks %u and %u have registered different regions", rank_a, rank_b);
    }
    return true;
}
