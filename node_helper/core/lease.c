/*
 * Heartbeats and leases of a member. A lease ends at the send time of the last heartbeat that the leader answered, plus
 * 80 % of dead-after. A member whose lease has ended holds its programs (a timeout never kills) until the leader
 * answers again, or says that the view went on without it; only when nobody has answered for CORE_HELD_MAX_NS it ends.
 * The leader itself has no lease in this version: its loss ends the step.
 */
#include "node_helper/core/core_internal.h"

void lease_send(struct core *core) {
    struct wire_message message = { .type = WIRE_HEARTBEAT, .heartbeat = { .sent_ns = core->now_ns } };
    emit_to_leader(core, &message);
    core->heartbeat_next_ns = core->now_ns + core->config.heartbeat_ns;
}

void lease_begin(struct core *core) {
    if (core->leader == NULL && core->lease_end_ns == CORE_NEVER && !core->ended) {
        core->lease_end_ns = core->now_ns + core->config.dead_after_ns / 5 * 4;
        core->held_ns = CORE_NEVER;
        emit(core, CORE_ACTION_LEASE)->until_ns = core->lease_end_ns;
    }
}

void lease_on_ack(struct core *core, const struct wire_message *message) {
    uint64_t lease_ns = core->config.dead_after_ns / 5 * 4;
    lease_ns = message->heartbeat.lease_ns < lease_ns ? message->heartbeat.lease_ns : lease_ns;
    uint64_t end_ns = message->heartbeat.sent_ns + lease_ns;
    if (message->heartbeat.sent_ns > core->now_ns || end_ns <= core->now_ns) {
        return;
    }
    core->lease_end_ns = end_ns;
    core->held_ns = CORE_NEVER;
    emit(core, CORE_ACTION_LEASE)->until_ns = end_ns;
    if (core->held) {
        core->held = false;
        emit(core, CORE_ACTION_CONTINUE);
        emit_warning(core, "the leader answers again: the programs of this node go on");
    }
}

static uint64_t hold_ns(const struct core *core) {
    return core->lease_end_ns > core->patience_ns ? core->lease_end_ns : core->patience_ns;
}

void lease_on_tick(struct core *core) {
    if (core->leader != NULL || core->killed) {
        return;
    }
    /* The whole step may have been suspended: the answer to a heartbeat of now tells. */
    if (core->now_ns - core->ticked_ns > core->config.dead_after_ns / 2) {
        core->patience_ns = core->now_ns + core->config.heartbeat_ns;
        core->heartbeat_next_ns = core->now_ns;
    }
    if (core->now_ns >= core->heartbeat_next_ns) {
        lease_send(core); /* after END too: the leader waits for the exit codes of those who live */
    }
    if (core->ended) {
        return;
    }
    if (!core->held && core->now_ns >= hold_ns(core)) {
        core->held = true;
        core->held_ns = core->now_ns;
        emit(core, CORE_ACTION_HOLD);
        emit_warning(core, "the leader does not answer: the programs of this node are held");
    }
    if (core->lease_end_ns == CORE_NEVER && core->held_ns == CORE_NEVER) {
        core->held_ns = core->now_ns; /* no connection yet: waits no longer than a held one */
    }
    if (core->held_ns != CORE_NEVER && core->now_ns - core->held_ns >= CORE_HELD_MAX_NS) {
        emit_warning(core, "the leader is gone: this node's part of the step ends");
        member_end(core, CORE_EXIT_GAVE_UP, true);
    }
}

uint64_t lease_next_deadline(const struct core *core) {
    if (core->leader != NULL || core->killed) {
        return CORE_NEVER;
    }
    uint64_t deadline = core->heartbeat_next_ns;
    if (core->ended) {
        return deadline;
    }
    if (!core->held && hold_ns(core) < deadline) {
        deadline = hold_ns(core);
    }
    if (core->held_ns != CORE_NEVER && core->held_ns + CORE_HELD_MAX_NS < deadline) {
        deadline = core->held_ns + CORE_HELD_MAX_NS;
    }
    return deadline;
}
