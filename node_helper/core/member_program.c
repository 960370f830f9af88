/* What the programs in a helper's own slots do, and what of it the leader is told. */
#include "node_helper/core/core_internal.h"

#include "include/ckptless.h"

static void send_rank_step(struct core *core, enum wire_type type, const struct member_slot *slot, uint32_t index,
                           uint64_t bytes) {
    struct wire_message message = { .type = type,
                                    .rank_step = { .rank = slot->rank,
                                                   .incarnation = slot->incarnation,
                                                   .step = slot->step,
                                                   .bytes = bytes,
                                                   .slot = index } };
    emit_to_leader(core, &message);
}

/* The leader can do nothing with a part of a node's ranks: those that have lived on are told of together, and so are
 * those that were started. With the next heartbeat at the latest, and before anything is said that may hang on it. */
static bool are_waited_for(const struct core *core, bool new_ones) {
    for (uint32_t i = 0; i < core->slot_count; i++) {
        const struct member_slot *slot = &core->slots[i];
        if (slot->alive && slot->rank != WIRE_NONE && slot->is_new == new_ones && slot->call != MEMBER_CALL_RECOVER) {
            return true;
        }
    }
    return false;
}

static void send_arrivals(struct core *core, bool all) {
    bool wait[2] = { !all && are_waited_for(core, false), !all && are_waited_for(core, true) };
    struct wire_message message = { .type = WIRE_ARRIVED, .arrivals = { .list = core->arrivals } };
    for (uint32_t i = 0; i < core->slot_count; i++) {
        struct member_slot *slot = &core->slots[i];
        if (!slot->arrival_due || wait[slot->is_new]) {
            continue;
        }
        slot->arrival_due = false;
        core->arrivals[message.arrivals.count++] =
            (struct wire_arrived){ .rank = slot->rank,
                                   .incarnation = slot->incarnation,
                                   .has_state = slot->has_state,
                                   .is_out_of_reach = core->is_out_of_reach,
                                   .step = slot->step,
                                   .layout = { slot->layout[0], slot->layout[1] } };
    }
    if (message.arrivals.count > 0) {
        core->arrivals_said = core->leader_id != core->self;
        emit_to_leader(core, &message);
    }
}

static void send_commits(struct core *core, bool all) {
    struct wire_message message = { .type = WIRE_COMMITTED, .commits = { .list = core->commits } };
    for (uint32_t i = 0; i < core->slot_count; i++) {
        const struct member_slot *slot = &core->slots[i];
        if (!all && slot->alive && slot->rank != WIRE_NONE && !slot->committed) {
            return;
        }
    }
    for (uint32_t i = 0; i < core->slot_count; i++) {
        struct member_slot *slot = &core->slots[i];
        if (slot->commit_due) {
            slot->commit_due = false;
            core->commits[message.commits.count++] =
                (struct wire_commit){ .rank = slot->rank, .incarnation = slot->incarnation };
        }
    }
    if (message.commits.count > 0) {
        core->commits_said = core->leader_id != core->self;
        emit_to_leader(core, &message);
    }
}

void member_flush(struct core *core, bool all) {
    if (!core->has_due) {
        return;
    }
    if (!core->commits_said) {
        send_commits(core, all || core->leader != NULL);
    }
    if (!core->arrivals_said) {
        send_arrivals(core, all || core->leader != NULL);
    }
    core->has_due = false;
    for (uint32_t i = 0; i < core->slot_count; i++) {
        core->has_due = core->has_due || core->slots[i].arrival_due || core->slots[i].commit_due;
    }
}

static void send_loss(struct core *core, struct member_slot *slot) {
    slot->ended_reported = true;
    member_flush(core, true);
    struct wire_message message = { .type = WIRE_LOSS, .loss = slot->end };
    message.loss.rank = slot->rank;
    message.loss.incarnation = slot->incarnation; /* also of one that was killed */
    emit_to_leader(core, &message);
}

void member_send_slot(struct core *core, uint32_t index) {
    const struct member_slot *slot = &core->slots[index];
    if (slot->incarnation == 0) {
        return;
    }
    uint8_t state = !slot->alive ? WIRE_SLOT_ENDED : slot->attached ? WIRE_SLOT_ATTACHED : WIRE_SLOT_STARTED;
    struct wire_message message = { .type = WIRE_SLOT,
                                    .slot = { .slot = index,
                                              .rank = slot->rank,
                                              .incarnation = slot->incarnation,
                                              .starts = slot->rank == WIRE_NONE ? 0 : core->seats[slot->rank].starts,
                                              .ordinal = core->ordinal,
                                              .generation = core->generation,
                                              .state = state } };
    emit_to_leader(core, &message);
}

void member_send_ending(struct core *core) {
    if (core->is_ending) {
        emit_to_leader(core, &(struct wire_message){ .type = WIRE_ENDING });
    }
}

void member_report(struct core *core, uint32_t index) {
    struct member_slot *slot = &core->slots[index];
    if (slot->incarnation == 0) {
        return;
    }
    if (!slot->alive) {
        if (slot->rank != WIRE_NONE) {
            send_loss(core, slot);
        }
        return;
    }
    slot->commit_due = slot->committed && slot->rank != WIRE_NONE;
    core->has_due = true;
    if (slot->attached && !slot->attach_told) {
        slot->attach_told = true;
        send_rank_step(core, WIRE_ATTACHED, slot, index, 0);
    }
    if (slot->rank == WIRE_NONE) {
        return;
    }
    if (slot->stays) {
        send_rank_step(core, WIRE_STAYS, slot, index, 0);
    }
    slot->arrival_due = slot->call == MEMBER_CALL_RECOVER;
    if (slot->call == MEMBER_CALL_RELOADED) {
        send_rank_step(core, WIRE_RELOADED, slot, index, 0);
    } else if (slot->call == MEMBER_CALL_FINISH) {
        send_rank_step(core, WIRE_FINISHED, slot, index, 0);
    }
}

static void on_ended(struct core *core, struct member_slot *slot, const struct core_event *event) {
    if (!slot->alive) {
        return;
    }
    slot->alive = false;
    slot->call = MEMBER_CALL_NONE;
    slot->pulling = slot->arrival_due = false;
    slot->end = (struct wire_loss){
        .incarnation = event->incarnation, .cause = event->cause, .detail = event->detail, .attached = slot->attached
    };
    core_copy_text(slot->end.text, sizeof slot->end.text, event->text);
    if (slot->rank != WIRE_NONE) {
        send_loss(core, slot);
    }
}

static void on_arrived(struct core *core, struct member_slot *slot, const struct core_event *event) {
    slot->attached = true;
    slot->call = MEMBER_CALL_RECOVER;
    slot->has_state = event->has_state;
    slot->step = event->step;
    slot->layout[0] = event->layout[0];
    slot->layout[1] = event->layout[1];
    slot->arrival_due = slot->rank != WIRE_NONE;
    core->has_due = true;
}

static void on_collective(struct core *core, struct member_slot *slot, const struct core_event *event) {
    bool reloaded = event->type == CORE_EVENT_RELOADED;
    enum core_action_type answer = reloaded ? CORE_ACTION_ANSWER_RELOADED : CORE_ACTION_ANSWER_FINISH;
    if (event->epoch != core->epoch || slot->rank == WIRE_NONE) {
        emit_slot(core, answer, event->slot)->result = CKPTLESS_INTERRUPTED;
        return;
    }
    if (core->finished && !reloaded) {
        emit_slot(core, answer, event->slot)->result = CKPTLESS_OK;
        return;
    }
    slot->call = reloaded ? MEMBER_CALL_RELOADED : MEMBER_CALL_FINISH;
    slot->step = reloaded ? event->step : slot->step;
    send_rank_step(core, reloaded ? WIRE_RELOADED : WIRE_FINISHED, slot, event->slot, 0);
}

static void on_pulled(struct core *core, struct member_slot *slot, const struct core_event *event) {
    if (!slot->pulling) {
        return;
    }
    slot->pulling = false;
    slot->has_state = true;
    slot->step = core->plan_step;
    send_rank_step(core, WIRE_READY, slot, event->slot, event->bytes);
}

static void on_pull_failed(struct core *core, struct member_slot *slot, const struct core_event *event) {
    if (!slot->pulling) {
        return;
    }
    struct core_event ended = *event;
    ended.cause = WIRE_CAUSE_PULL_FAILED;
    emit_slot(core, CORE_ACTION_KILL, event->slot);
    on_ended(core, slot, &ended);
}

void member_on_program(struct core *core, const struct core_event *event) {
    assert(event->slot < core->slot_count);
    struct member_slot *slot = &core->slots[event->slot];
    if (event->incarnation != slot->incarnation || slot->incarnation == 0) {
        return;
    }
    if (!slot->alive && event->type != CORE_EVENT_SLOT_ENDED) {
        return;
    }
    switch (event->type) {
    case CORE_EVENT_ATTACHED:
        slot->attached = slot->attach_told = true;
        send_rank_step(core, WIRE_ATTACHED, slot, event->slot, 0);
        break;
    case CORE_EVENT_STAYS:
        slot->stays = true;
        if (slot->rank != WIRE_NONE) {
            send_rank_step(core, WIRE_STAYS, slot, event->slot, 0);
        }
        break;
    case CORE_EVENT_ARRIVED:
        on_arrived(core, slot, event);
        break;
    case CORE_EVENT_PULLED:
        on_pulled(core, slot, event);
        break;
    case CORE_EVENT_PULL_FAILED:
        on_pull_failed(core, slot, event);
        break;
    case CORE_EVENT_RELOADED:
    case CORE_EVENT_FINISHED:
        on_collective(core, slot, event);
        break;
    case CORE_EVENT_COMMITTED:
        if (event->epoch == core->epoch && slot->rank != WIRE_NONE) {
            slot->committed = true;
            core->committed_once = true;
            slot->step = event->step;
            slot->commit_due = core->has_due = true;
        }
        break;
    case CORE_EVENT_SLOT_ENDED:
        on_ended(core, slot, event);
        break;
    default:
        break;
    }
}
