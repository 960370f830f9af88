/* The list of actions of one step, and messages to helpers. Knows nothing of the protocol. */
#include "node_helper/core/core_internal.h"

struct core_action *emit(struct core *core, enum core_action_type type) {
    assert(core->action_count < core->action_capacity);
    struct core_action *action = &core->actions[core->action_count++];
    *action = (struct core_action){ .type = type, .peer = WIRE_NONE, .rank = WIRE_NONE, .epoch = core->epoch };
    return action;
}

struct core_action *emit_slot(struct core *core, enum core_action_type type, uint32_t slot) {
    assert(slot < core->slot_count);
    struct core_action *action = emit(core, type);
    action->slot = slot;
    action->incarnation = core->slots[slot].incarnation;
    action->rank = core->slots[slot].rank;
    return action;
}

void emit_send(struct core *core, uint32_t peer, struct wire_message *message) {
    message->from = core->self;
    if (message->epoch == 0) {
        message->epoch = core->epoch;
    }
    if (peer == core->self) {
        assert(core->queue_count < core->queue_capacity);
        core->queue[(core->queue_head + core->queue_count++) % core->queue_capacity] = *message;
        return;
    }
    struct core_action *action = emit(core, CORE_ACTION_SEND);
    action->peer = peer;
    action->message = *message;
}

void emit_to_leader(struct core *core, struct wire_message *message) {
    emit_send(core, core->leader_id, message);
}

void emit_to_all(struct core *core, struct wire_message *message) {
    struct leader *leader = core->leader;
    message->epoch = wire_epoch_pack(leader->view, leader->counter);
    for (uint32_t i = 0; i < leader->member_count; i++) {
        if (leader->members[i].alive && leader->members[i].id != core->self) {
            emit_send(core, leader->members[i].id, message);
        }
    }
    emit_send(core, core->self, message);
}

void emit_warning(struct core *core, const char *text) {
    struct core_action *action = emit(core, CORE_ACTION_TRACE);
    action->trace = (struct core_trace){
        .type = CORE_TRACE_WARNING, .epoch = core->epoch, .ordinal = core->ordinal, .node = WIRE_NONE, .text = text
    };
}

void core_copy_text(char *ret_text, size_t capacity, const char *text) {
    size_t length = 0;
    for (; text != NULL && text[length] != '\0' && length + 1 < capacity; length++) {
        ret_text[length] = text[length];
    }
    ret_text[length] = '\0';
}
