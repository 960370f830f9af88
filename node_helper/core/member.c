/*
 * A helper as a member: carries out what the leader says for its own slots (STOP, PLAN, GO, ...). Everything is
 * idempotent: the leader says it again after a reconnection.
 */
#include "node_helper/core/core_internal.h"

#include "include/ckptless.h"

void member_reset_epoch(struct member_slot *slot) {
    slot->pulling = false;
    slot->committed = false;
    slot->commit_due = slot->arrival_due = slot->is_new = false;
}

/* What a call under way gets when its world has ended; recover goes on waiting. */
static void interrupt_call(struct core *core, uint32_t index) {
    struct member_slot *slot = &core->slots[index];
    if (slot->call == MEMBER_CALL_RELOADED || slot->call == MEMBER_CALL_FINISH) {
        enum core_action_type type =
            slot->call == MEMBER_CALL_RELOADED ? CORE_ACTION_ANSWER_RELOADED : CORE_ACTION_ANSWER_FINISH;
        emit_slot(core, type, index)->result = CKPTLESS_INTERRUPTED;
        slot->call = MEMBER_CALL_NONE;
    }
}

static void start_slot(struct core *core, uint32_t index, uint32_t rank, uint32_t incarnation) {
    core->slots[index] =
        (struct member_slot){ .rank = rank, .incarnation = incarnation, .alive = true, .is_new = true };
    emit_slot(core, CORE_ACTION_START, index);
}

static void cancel_pull(struct core *core, uint32_t index) {
    if (core->slots[index].pulling) {
        core->slots[index].pulling = false;
        core->slots[index].has_state = false; /* torn */
        emit_slot(core, CORE_ACTION_CANCEL_PULL, index);
    }
}

/* Brings one slot to what the epoch wants of it. */
static void seat_slot(struct core *core, uint32_t index, uint32_t rank, uint32_t incarnation) {
    struct member_slot *slot = &core->slots[index];
    cancel_pull(core, index);
    if (rank == WIRE_NONE) {
        if (slot->alive && slot->rank != WIRE_NONE) {
            emit_slot(core, CORE_ACTION_KILL, index);
            slot->alive = false;
        }
        slot->rank = WIRE_NONE;
        return;
    }
    if (slot->incarnation < incarnation) {
        start_slot(core, index, rank, incarnation);
        return;
    }
    if (slot->rank == WIRE_NONE && slot->alive) {
        slot->rank = rank;
        slot->attach_told = false;
        emit_slot(core, CORE_ACTION_PROMOTE, index);
    } else if (slot->alive) {
        interrupt_call(core, index);
        emit_slot(core, CORE_ACTION_INTERRUPT, index);
    }
    slot->rank = rank;
    member_reset_epoch(slot);
    member_report(core, index);
}

static void take_seats(struct core *core, const struct wire_stop *stop) {
    if (stop->base == 0) {
        seating_fill_first(core, core->seats);
    }
    for (uint32_t i = 0; i < stop->changed_count; i++) {
        core->seats[stop->changed[i]] = stop->seats[i];
    }
    for (uint32_t i = 0; i < stop->member_count; i++) {
        core->members[i] = stop->members[i];
    }
    /* The first view is that of the roll call. */
    core->view_count = stop->member_count > 0 ? stop->member_count
                       : core->view_count > 0 ? core->view_count
                                              : core->node_count;
}

static void on_stop(struct core *core, const struct wire_message *message) {
    const struct wire_stop *stop = &message->stop;
    if (message->epoch < core->epoch || stop->base > core->epoch || stop->rank_count != core->rank_count ||
        stop->member_count > core->node_count) {
        return;
    }
    core->epoch = message->epoch;
    core->ordinal = stop->ordinal;
    core->stopped_ns = core->now_ns;
    core->generation = stop->generation;
    core->committed_once = core->committed_once || stop->committed_once;
    core->restarts = stop->restarts;
    take_seats(core, stop);
    emit(core, CORE_ACTION_EPOCH);
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        uint32_t rank = 0;
        while (rank < core->rank_count && (core->seats[rank].helper != core->self || core->seats[rank].slot != slot)) {
            rank++;
        }
        if (rank < core->rank_count) {
            seat_slot(core, slot, rank, core->seats[rank].incarnation);
        } else {
            seat_slot(core, slot, WIRE_NONE, 0);
        }
    }
}

/* Sources in the order in which this puller tries them: own node first, the others from a place that differs by rank.
 */
static uint32_t order_sources(struct core *core, uint32_t index, const uint32_t **ret_order) {
    uint32_t *order = core->order + (size_t)index * core->rank_count;
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->source_count; i++) {
        if (core->seats[core->sources[i]].helper == core->self) {
            order[count++] = core->sources[i];
        }
    }
    for (uint32_t i = 0; i < core->source_count; i++) {
        uint32_t source = core->sources[(i + core->slots[index].rank) % core->source_count];
        if (core->seats[source].helper != core->self) {
            order[count++] = source;
        }
    }
    *ret_order = order;
    return count;
}

static bool contains(const uint32_t *list, uint32_t count, uint32_t value) {
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == value) {
            return true;
        }
    }
    return false;
}

static void answer_recover(struct core *core, uint32_t index, uint32_t result) {
    struct core_action *action = emit_slot(core, CORE_ACTION_ANSWER_RECOVER, index);
    action->result = result;
    action->step = core->plan_step;
    core->slots[index].call = MEMBER_CALL_NONE;
}

static void plan_slot(struct core *core, uint32_t index, const struct wire_plan *plan) {
    struct member_slot *slot = &core->slots[index];
    if (slot->rank == WIRE_NONE || !slot->alive || slot->call != MEMBER_CALL_RECOVER || slot->pulling) {
        return;
    }
    if (plan->kind != WIRE_PLAN_RESUME) {
        slot->has_state = false;
        answer_recover(core, index, plan->kind == WIRE_PLAN_RELOAD ? CKPTLESS_RELOAD : CKPTLESS_ERR_REGION_MISMATCH);
    } else if (contains(plan->pullers, plan->puller_count, slot->rank)) {
        slot->pulling = true;
        slot->has_state = false;
        struct core_action *action = emit_slot(core, CORE_ACTION_PULL, index);
        action->step = plan->step;
        action->rank_count = order_sources(core, index, &action->ranks);
        __builtin_memcpy(action->token, plan->token, sizeof action->token);
    } else if (contains(plan->sources, plan->source_count, slot->rank)) {
        struct core_action *action = emit_slot(core, CORE_ACTION_SERVE, index);
        action->step = plan->step;
        __builtin_memcpy(action->token, plan->token, sizeof action->token);
    }
}

static void on_plan(struct core *core, const struct wire_message *message) {
    const struct wire_plan *plan = &message->plan;
    if (plan->source_count > core->rank_count || plan->puller_count > core->rank_count) {
        return;
    }
    core->start_span_ns = core->start_span_ns != 0 ? core->start_span_ns : core->now_ns - core->stopped_ns + 1;
    core->plan_step = plan->step;
    core->plan_epoch = message->epoch;
    core->source_count = plan->source_count;
    for (uint32_t i = 0; i < plan->source_count; i++) {
        if (plan->sources[i] >= core->rank_count) {
            return;
        }
        core->sources[i] = plan->sources[i];
    }
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        plan_slot(core, slot, plan);
    }
}

static void on_go(struct core *core) {
    if (core->plan_epoch != core->epoch) {
        return;
    }
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        if (core->slots[slot].call == MEMBER_CALL_RECOVER && core->slots[slot].rank != WIRE_NONE) {
            core->slots[slot].pulling = false;
            answer_recover(core, slot, CKPTLESS_OK);
        }
    }
}

static void on_reload_result(struct core *core, const struct wire_message *message) {
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        if (core->slots[slot].call == MEMBER_CALL_RELOADED) {
            struct core_action *action = emit_slot(core, CORE_ACTION_ANSWER_RELOADED, slot);
            action->result = message->reload_result.ok ? CKPTLESS_OK : CKPTLESS_ERR_STEP_MISMATCH;
            action->message = *message;
            core->slots[slot].call = MEMBER_CALL_NONE;
        }
    }
}

static void finish_all(struct core *core) {
    core->finished = true;
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        if (core->slots[slot].call == MEMBER_CALL_FINISH) {
            emit_slot(core, CORE_ACTION_ANSWER_FINISH, slot)->result = CKPTLESS_OK;
            core->slots[slot].call = MEMBER_CALL_NONE;
        }
    }
}

void member_end(struct core *core, uint32_t exit_code, bool kill) {
    if (!kill && exit_code == 0) {
        finish_all(core);
    }
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        cancel_pull(core, slot);
    }
    core->ended = true;
    core->killed = kill;
    core->end_code = exit_code;
    if (!kill) { /* what is killed must not run on before that, nor with a lease */
        core->lease_end_ns = CORE_NEVER;
        emit(core, CORE_ACTION_LEASE)->until_ns = CORE_NEVER;
        if (core->held) {
            emit(core, CORE_ACTION_CONTINUE);
        }
        core->held = false;
    }
    if (core->leader == NULL || kill) {
        struct core_action *action = emit(core, CORE_ACTION_END);
        action->exit_code = exit_code;
        action->kill = kill;
    }
}

static void on_present(struct core *core, const struct wire_rank_step *present) {
    if (present->rank < core->rank_count && core->seats[present->rank].incarnation == present->incarnation) {
        struct core_action *action = emit(core, CORE_ACTION_PRESENT);
        action->rank = present->rank;
        action->incarnation = present->incarnation;
    }
}

static void on_warm(struct core *core) {
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        if (core->slots[slot].rank == WIRE_NONE && core->slots[slot].incarnation == 0) {
            start_slot(core, slot, WIRE_NONE, 1);
        }
    }
}

void member_on_message(struct core *core, const struct wire_message *message) {
    if (core->ended) {
        /* Every rank stood in finish when the end had been asked for. */
        if (message->type == WIRE_END && !core->killed && message->end.exit_code == 0) {
            finish_all(core);
        }
        return;
    }
    bool current = message->epoch == core->epoch;
    switch (message->type) {
    case WIRE_HEARTBEAT_ACK:
        lease_on_ack(core, message);
        break;
    case WIRE_STOP:
        on_stop(core, message);
        break;
    case WIRE_PLAN:
        if (current) {
            on_plan(core, message);
        }
        break;
    case WIRE_GO:
        if (current) {
            on_go(core);
        }
        break;
    case WIRE_RELOAD_RESULT:
        if (current) {
            on_reload_result(core, message);
        }
        break;
    case WIRE_PRESENT:
        if (current) {
            on_present(core, &message->rank_step);
        }
        break;
    case WIRE_WARM:
        on_warm(core);
        break;
    case WIRE_END:
        member_end(core, message->end.exit_code, message->end.kill);
        break;
    case WIRE_EVICTED:
        emit_warning(core, "the step has gone on without this node: its programs are ended");
        member_end(core, 0, true);
        break;
    default:
        break;
    }
}
