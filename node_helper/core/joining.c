/*
 * Who comes in: the helpers of the roll call before the first epoch, those whose connection broke, and successors of
 * helpers that have died.
 */
#include "node_helper/core/core_internal.h"
#include "node_helper/wire/wire_helper.h"

/* What was on its way when a connection broke is lost. Where that may have been something of this epoch, another one is
 * begun; a member without ranks is told again. (What the member had to say, it says again by itself.) */
static void say_again(struct core *core, struct lead_member *member) {
    const struct leader *leader = core->leader;
    bool parked = false;
    bool seated = false;
    for (uint32_t i = 0; i < member->slot_count; i++) {
        const struct lead_slot *slot = &leader->slots[member->slot_first + i];
        parked = parked || slot->parked;
        if (slot->rank == WIRE_NONE || leader->ranks[slot->rank].exited) {
            continue;
        }
        seated = true;
        if (leader->phase != LEAD_RUNNING || !leader->ranks[slot->rank].committed) {
            leader_want_epoch(core, 0);
            return;
        }
    }
    member->wants_stop = !seated;
    core->leader->has_news = true;
    if (parked) {
        emit_send(core, member->id, &(struct wire_message){ .type = WIRE_WARM });
    }
}

void joining_on_peer_opened(struct core *core, uint32_t peer) {
    struct leader *leader = core->leader;
    struct lead_member *member = leader_member(leader, peer);
    if (member == NULL || !member->alive) {
        return;
    }
    member->heard_ns = core->now_ns;
    if (core->view.number > 1) {
        struct wire_message decided = view_decided_message(&core->view);
        emit_send(core, peer, &decided);
    }
    if (leader->muster_ns != CORE_NEVER) {
        return; /* its first heartbeat says that it has told everything */
    }
    if (leader->phase >= LEAD_ENDING) {
        ending_send(core, peer);
    } else if (member->joined && leader->phase != LEAD_ASSEMBLING) {
        say_again(core, member);
    }
    member->joined = true;
}

void joining_on_successor(struct core *core, const struct core_event *event) {
    struct leader *leader = core->leader;
    if (event->node >= leader->member_count || event->node == core_node_of(core, core->self) ||
        leader->phase >= LEAD_ENDING || leader->members[event->node].slot_count != event->slot_count) {
        emit(core, CORE_ACTION_REFUSE)->text = "the step does not take this node (again)";
        return;
    }
    struct lead_member *member = &leader->members[event->node];
    if (member->alive && (event->peer == WIRE_NONE || event->peer > member->id)) {
        emit(core, CORE_ACTION_REFUSE)->text = "the helper before this one is not known to be dead";
        return;
    }
    if (member->alive) {
        leader_lose_member(core, member, WIRE_CAUSE_HELPER_DIED, 0);
    }
    /* An id is never given again: views count on, and the next one cannot have less. */
    uint32_t serial = member->id / leader->member_count, known = core->view.number - 1;
    member->id = wire_helper_id(event->node, leader->member_count, leader->first_node) +
                 leader->member_count * ((serial > known ? serial : known) + 1);
    member->alive = true;
    member->joined = true;
    member->warmed = true; /* its slots are started when they are needed */
    member->heard_ns = core->now_ns;
    emit(core, CORE_ACTION_WELCOME)->peer = member->id;
    member->is_new = true;
    member->epoch = 0;
    leader->has_news = true;
    leader->settled_view = 0;
    member->wants_stop = leader->phase != LEAD_ASSEMBLING; /* it may have to lead one day */
}

void joining_settle(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->assemble_ns == CORE_NEVER) {
        leader->assemble_ns = core->now_ns + CORE_ASSEMBLE_NS;
    }
    leader->settled_view = 0;
    for (uint32_t i = 0; i < leader->member_count && core->now_ns >= leader->assemble_ns; i++) {
        leader->members[i].alive = leader->members[i].alive && leader->members[i].joined;
        leader->members[i].joined = true;
    }
    for (uint32_t i = 0; i < leader->member_count; i++) {
        if (!leader->members[i].joined) {
            return;
        }
        if (!leader->members[i].alive && leader->members[i].node < core->config.active_nodes) {
            ending_give_up(core, CORE_EXIT_GAVE_UP, "a node was lost before the programs were started");
            return;
        }
    }
    if (!quorum_leads(core)) {
        return; /* they have not said yet that they follow: no program may run by a lease that nobody knows of */
    }
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        leader->ranks[rank] = (struct lead_rank){ .loss = WIRE_NONE, .judge_ns = CORE_NEVER };
    }
    seating_first(core);
    leader->epoch_wanted = true;
    leader->loss_ns = leader->first_start_ns = core->now_ns;
    leader->counts = false; /* a helper that came and went while all assembled has cost nobody anything */
}
