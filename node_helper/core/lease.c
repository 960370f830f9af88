/*
 * Heartbeats and leases. A member's lease ends at the send time of the last heartbeat that the leader answered, plus
 * 80 % of dead-after, or sooner when the leader's own right to lead does; the leader's at what a quorum has echoed
 * (quorum.c). Who has no lease left holds its programs (a timeout never kills) until it has one again, or hears that
 * the view went on without it; only when that takes CORE_HELD_MAX_NS it ends.
 */
#include "node_helper/core/core_internal.h"

#define ASKS_MAX 3u /* heartbeats out of turn between two */

void lease_send(struct core *core) {
    member_flush(core, true);
    bool strays = core->view.promised > VIEW_BALLOT_LEADER;
    struct wire_message message = { .type = WIRE_HEARTBEAT,
                                    .heartbeat = { .sent_ns = core->now_ns,
                                                   .leader_ns = strays ? WIRE_NOT_FOLLOWING : core->followed_ns } };
    emit_to_leader(core, &message);
    core->heartbeat_next_ns = core->now_ns + core->config.heartbeat_ns;
}

void lease_begin(struct core *core) {
    if (core->view.number > 0 && core->followed_at_ns == 0) { /* the roll call has made it our leader */
        (void)view_follow(&core->view, core->now_ns);
        core->followed_at_ns = core->now_ns;
    }
    if (core->leader == NULL && core->lease_end_ns == CORE_NEVER && !core->ended) {
        core->lease_end_ns = core->now_ns + core->config.dead_after_ns / 5 * 4;
        core->held_ns = CORE_NEVER;
        emit(core, CORE_ACTION_LEASE)->until_ns = core->lease_end_ns;
    }
}

static void go_on(struct core *core, uint64_t end_ns, const char *text) {
    core->lease_end_ns = end_ns;
    core->held_ns = CORE_NEVER;
    emit(core, CORE_ACTION_LEASE)->until_ns = end_ns;
    if (core->held) {
        core->held = false;
        emit(core, CORE_ACTION_CONTINUE);
        if (core->held_by == core->leader_id) { /* else another leader has come: one line, not one from each node */
            emit_warning(core, text);
        }
    }
}

/* A leader that has only just begun to lead can give but little before we have echoed its clock. */
static void ask_again(struct core *core, uint64_t lease_ns) {
    bool is_little = lease_ns < core->config.dead_after_ns / 5 * 2;
    if (is_little && core->asked_again < ASKS_MAX) {
        core->asked_again++;
        lease_send(core);
    }
}

void lease_on_ack(struct core *core, const struct wire_message *message) {
    uint64_t lease_ns = core->config.dead_after_ns / 5 * 4;
    if (view_follow(&core->view, core->now_ns)) {
        core->followed_ns = message->heartbeat.leader_ns;
        core->followed_at_ns = core->now_ns;
    }
    lease_ns = message->heartbeat.lease_ns < lease_ns ? message->heartbeat.lease_ns : lease_ns;
    uint64_t end_ns = message->heartbeat.sent_ns + lease_ns;
    if (message->heartbeat.sent_ns <= core->now_ns && end_ns > core->now_ns &&
        (core->held || end_ns > core->lease_end_ns)) {
        go_on(core, end_ns, "the leader answers again: the programs of this node go on");
    }
    ask_again(core, lease_ns);
}

void lease_renew(struct core *core, uint64_t end_ns) {
    bool worth_it = core->lease_end_ns == CORE_NEVER || end_ns == CORE_NEVER || core->held ||
                    end_ns > core->lease_end_ns + core->config.heartbeat_ns / 4;
    if (end_ns > core->now_ns && end_ns != core->lease_end_ns && worth_it && !core->ended) {
        go_on(core, end_ns, "enough nodes answer again: the programs of this node go on");
    }
}

static const char *why_held(const struct core *core) {
    return core->leader == NULL ? "the leader does not answer: the programs of this node are held"
                                : "too few nodes answer: the programs of this node are held";
}

/* No connection to the leader yet; or leads, and no quorum has come in time for a lease. */
static bool is_alone(const struct core *core) {
    const struct leader *leader = core->leader;
    bool assembles = leader != NULL && leader->phase == LEAD_ASSEMBLING && core->now_ns < leader->assemble_ns;
    return leader == NULL || (leader->quorum_end_ns != CORE_NEVER && !assembles);
}

/* The whole step may have been suspended: the answer to a heartbeat of now tells. The other nodes, the leader's too,
 * may be let go some seconds later: so long nobody runs for leader, and the leader judges nobody. Time that was slept
 * through has not been waited. */
void lease_after_stall(struct core *core) {
    uint64_t dead_after_ns = core->config.dead_after_ns;
    bool was_suspended = core->now_ns - core->ticked_ns > dead_after_ns;
    core->patience_ns = core->now_ns + core->config.heartbeat_ns;
    core->heartbeat_next_ns = core->leader == NULL ? core->now_ns : core->heartbeat_next_ns;
    core->listens_ns = core->now_ns + (was_suspended ? CORE_RESUMED_NS : 0);
    core->held_ns = core->held_ns != CORE_NEVER && was_suspended ? core->now_ns : core->held_ns;
    view_be_patient(&core->view, core->listens_ns + dead_after_ns);
}

static uint64_t hold_ns(const struct core *core) {
    return core->lease_end_ns > core->patience_ns ? core->lease_end_ns : core->patience_ns;
}

void lease_on_tick(struct core *core) {
    if (core->killed) {
        return;
    }
    if (core->leader == NULL && core->now_ns >= core->heartbeat_next_ns) {
        core->asked_again = 0;
        lease_send(core); /* after END too: the leader waits for the exit codes of those who live */
    }
    if (core->ended) {
        return;
    }
    if (!core->held && core->now_ns >= hold_ns(core)) {
        core->held = true;
        core->held_ns = core->now_ns;
        core->held_by = core->leader_id;
        emit(core, CORE_ACTION_HOLD);
        emit_warning(core, why_held(core));
    }
    if (core->lease_end_ns == CORE_NEVER && core->held_ns == CORE_NEVER && is_alone(core)) {
        core->held_ns = core->now_ns; /* waits no longer than a held one */
    }
    if (core->held_ns != CORE_NEVER && core->now_ns - core->held_ns >= CORE_HELD_MAX_NS) {
        emit_warning(core, core->leader == NULL ? "the leader is gone: this node's part of the step ends"
                                                : "too few nodes are left: this node's part of the step ends");
        /* Whom no view has ever had nobody misses. */
        member_end(core, core->was_in ? CORE_EXIT_GAVE_UP : 0, true);
        if (core->leader != NULL) {
            core->leader->phase = LEAD_ENDED;
        }
    }
}

uint64_t lease_next_deadline(const struct core *core) {
    if (core->killed) {
        return CORE_NEVER;
    }
    uint64_t deadline = core->leader == NULL ? core->heartbeat_next_ns : CORE_NEVER;
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
