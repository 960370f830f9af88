/*
 * What each action of the core means on this node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

/* Every rank's place, and so its variables, as of the core's epoch. */
static void enter_epoch(struct shell *shell) {
    uint32_t rank_count = core_rank_count(shell->core);
    const uint32_t *members = NULL;
    uint32_t member_count = core_members(shell->core, &members);
    uint32_t *rank_nodes = calloc(rank_count + 1u, sizeof(*rank_nodes));
    const char **addresses = calloc(shell->node_count + 1u, sizeof(*addresses));
    bool *is_live = calloc(shell->node_count + 1u, sizeof(*is_live));
    if (rank_nodes == NULL || addresses == NULL || is_live == NULL) {
        abort(); /* the keepers start a successor */
    }
    for (uint32_t rank = 0; rank < rank_count; rank++) {
        rank_nodes[rank] = core_seat(shell->core, rank).node;
    }
    for (uint32_t node = 0; node < shell->node_count; node++) {
        addresses[node] = shell->nodes[node].member.address;
    }
    for (uint32_t i = 0; i < member_count; i++) {
        is_live[shell_node_of(shell, members[i])] = true;
    }
    const struct world_facts facts = {
        .job = shell->launch.job,
        .step = shell->launch.step,
        .ordinal = core_ordinal(shell->core),
        .node_count = shell->node_count,
        .rank_count = rank_count,
        .rank_nodes = rank_nodes,
        .hosts = shell->hosts,
        .addresses = addresses,
        .node_is_live = is_live,
        .user_master_addr = shell->launch.user_master_addr,
        .user_master_port = shell->launch.user_master_port,
    };
    world_fini(&shell->world);
    shell->has_world = world_init(&shell->world, &facts);
    free(rank_nodes);
    free(addresses);
    free(is_live);
    if (!shell->has_world) {
        abort();
    }
    usage_reset(shell);
    rpc_enter_world(shell);
    stays_enter_epoch(shell);
    gather_reset(shell);
    exchange_reset(shell);
    tables_reset(shell);
    pulls_unserve(shell);
    pulls_open_soon(shell);
}

static void say_master_replaced(struct shell *shell) {
    char text[WIRE_TEXT_BYTES];
    if (!core_is_leader(shell->core) || !shell->world.master_replaced ||
        strcmp(shell->said_master, shell->world.master_addr) == 0) {
        return;
    }
    snprintf(shell->said_master, sizeof(shell->said_master), "%s", shell->world.master_addr);
    snprintf(text, sizeof(text), "MASTER_ADDR=%s is gone: the programs get %s", shell->launch.user_master_addr,
             shell->world.master_addr);
    rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
}

static void interrupt(struct shell *shell, const struct core_action *action) {
    struct slot *slot = &shell->slots[action->slot];
    if (slot->page != NULL) {
        atomic_store(&slot->page->shared->stop_epoch, action->epoch);
    }
    rpc_answer_result(shell, slot, WIRE_RPC_EXCHANGE, CKPTLESS_INTERRUPTED, NULL);
    if (slot->attached && shell->pmix != NULL) {
        pmixsrv_interrupt(shell->pmix, slot->pmix_rank, action->epoch);
    }
}

/* The leader tells the user once; the programs' own answers carry no line. */
static void answer_recover(struct shell *shell, const struct core_action *action) {
    struct slot *slot = &shell->slots[action->slot];
    if (action->result == CKPTLESS_OK || action->result == CKPTLESS_RELOAD) {
        pulls_unserve(shell);
        rpc_answer_world(shell, slot, WIRE_RPC_RECOVER, action->result, action->step);
        return;
    }
    rpc_answer_result(shell, slot, WIRE_RPC_RECOVER, action->result, NULL);
}

static void answer_reloaded(struct shell *shell, const struct core_action *action) {
    char text[WIRE_TEXT_BYTES] = "";
    const struct wire_reload_result *result = &action->message.reload_result;
    if (action->result == CKPTLESS_ERR_STEP_MISMATCH && action->rank == result->rank_a) {
        snprintf(text, sizeof(text),
                 "ckptless_reloaded: rank %u has loaded step %llu but rank %u step %llu; load the same checkpoint on "
                 "every rank",
                 result->rank_a, (unsigned long long)result->step_a, result->rank_b,
                 (unsigned long long)result->step_b);
    }
    rpc_answer_result(shell, &shell->slots[action->slot], WIRE_RPC_RELOADED, action->result, text);
}

static void tell_keepers(struct shell *shell, enum wire_keeper_type type) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        struct wire_keeper_message message = { .type = type };
        (void)keepers_send(shell, &shell->slots[i], &message, -1);
    }
}

static void end(struct shell *shell, const struct core_action *action) {
    shell->is_over = true;
    shell->end_kills = action->kill;
    shell->end_code = action->exit_code;
    if (core_is_leader(shell->core)) {
        result_is(shell, action->exit_code);
    }
    if (!action->kill) {
        slots_set_lease(shell, UINT64_MAX);
    }
    farewell_tell_leader(shell);
}

/* The keepers stay for a while, what is not to go on does not. */
static void kill_all(struct shell *shell) {
    if (shell->end_kills && !shell->end_has_killed) {
        shell->end_has_killed = true;
        tell_keepers(shell, WIRE_KEEPER_KILL);
    }
}

void act_check_end(struct shell *shell) {
    if (orphan_holds_end(shell) || farewell_waits(shell)) {
        kill_all(shell);
        return;
    }
    for (uint32_t i = 0; shell->is_over && i < shell->slot_count; i++) {
        struct slot *slot = &shell->slots[i];
        bool holds_rank = shell->core != NULL && core_slot_rank(shell->core, i) != WIRE_NONE;
        if (slot->end_sent || (!shell->end_kills && slot->running && holds_rank)) {
            continue;
        }
        struct wire_keeper_message message = { .type = WIRE_KEEPER_END,
                                               .status = shell->end_kills ? (int32_t)(shell->end_code << 8)
                                                         : holds_rank     ? slot->status
                                                                          : 0 };
        slot->end_sent = keepers_send(shell, slot, &message, -1);
    }
}

static void trace(struct shell *shell, const struct core_trace *trace) {
    result_on_trace(shell, trace);
    rollcall_report(shell, trace);
    if (core_is_leader(shell->core)) {
        shrink_on_trace(shell, trace);
    }
    if (trace->type == CORE_TRACE_EPOCH || trace->type == CORE_TRACE_START) {
        say_master_replaced(shell);
    }
}

/* The plan says that two ranks differ: the leader has both tables. */
static void say_mismatch(struct shell *shell, const struct core_action *action) {
    char text[WIRE_TEXT_BYTES];
    const struct wire_plan *plan = &action->message.plan;
    if (core_is_leader(shell->core) && action->message.type == WIRE_PLAN && plan->kind == WIRE_PLAN_REGION_MISMATCH &&
        tables_diff(shell, plan->rank_a, plan->rank_b, text, sizeof(text))) {
        rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
    }
}

static void act(struct shell *shell, const struct core_action *action) {
    switch (action->type) {
    case CORE_ACTION_SEND:
        say_mismatch(shell, action);
        peers_send_id(shell, action->peer, &action->message);
        break;
    case CORE_ACTION_WELCOME:
        join_welcome(shell, action->peer);
        break;
    case CORE_ACTION_REFUSE:
        join_refuse(shell, action->text);
        break;
    case CORE_ACTION_START:
        slots_start(shell, action);
        break;
    case CORE_ACTION_PROMOTE:
        slots_promoted(shell, &shell->slots[action->slot]);
        rpc_promoted(shell, &shell->slots[action->slot]);
        break;
    case CORE_ACTION_KILL:
        slots_kill(shell, action->slot);
        break;
    case CORE_ACTION_INTERRUPT:
        interrupt(shell, action);
        break;
    case CORE_ACTION_SERVE:
        pulls_serve(shell, action);
        break;
    case CORE_ACTION_PULL:
        pulls_start(shell, action);
        break;
    case CORE_ACTION_CANCEL_PULL:
        pulls_cancel(shell, action->slot);
        break;
    case CORE_ACTION_ANSWER_RECOVER:
        say_mismatch(shell, action);
        answer_recover(shell, action);
        break;
    case CORE_ACTION_ANSWER_RELOADED:
        answer_reloaded(shell, action);
        break;
    case CORE_ACTION_ANSWER_FINISH:
        rpc_answer_result(shell, &shell->slots[action->slot], WIRE_RPC_FINISH, action->result, NULL);
        break;
    case CORE_ACTION_EPOCH:
        enter_epoch(shell);
        break;
    case CORE_ACTION_PRESENT:
        stays_on_present(shell, action->rank, action->incarnation);
        break;
    case CORE_ACTION_HOLD:
        tell_keepers(shell, WIRE_KEEPER_HOLD);
        break;
    case CORE_ACTION_CONTINUE:
        tell_keepers(shell, WIRE_KEEPER_CONTINUE);
        break;
    case CORE_ACTION_LEASE:
        slots_set_lease(shell, action->until_ns);
        break;
    case CORE_ACTION_LEADER:
        peers_follow(shell, action->peer);
        break;
    case CORE_ACTION_END:
        end(shell, action);
        break;
    case CORE_ACTION_TRACE:
        trace(shell, &action->trace);
        break;
    }
}

void act_all(struct shell *shell, struct core_actions actions) {
    for (uint32_t i = 0; i < actions.count; i++) {
        act(shell, &actions.list[i]);
    }
}
