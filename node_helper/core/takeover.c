/*
 * A member becomes the leader: what it knows from the last epoch, and what it waits for: every member's word, for a
 * while. Ranks whose helper is not in the new view are lost, and an epoch begins in which they start again. Where no
 * rank is lost, and all have committed in the last epoch, it goes on: they need not know that the leader was lost.
 */
#include <string.h>

#include "node_helper/core/core_internal.h"

#define SERIALS_PER_VIEW 65536u /* of a slot */

static void fill_members(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        struct lead_member *member = &leader->members[i];
        member->id = core->last_ids[i];
        member->alive = view_contains(&core->view, member->id);
        member->joined = member->id == core->self || !member->alive;
        member->warmed = member->was_spare = member->node >= core->config.active_nodes;
        member->is_new = member->wants_stop = member->strays = false;
        member->echo_ns = member->epoch = 0;
        member->heard_ns = core->now_ns;
        for (uint32_t s = 0; s < member->slot_count; s++) {
            leader->slots[member->slot_first + s] = (struct lead_slot){ .rank = WIRE_NONE };
        }
    }
}

/* Whose start this helper has missed would have the seats of the first one. */
static void fill_first_seats(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < leader->member_count && leader->members[i].node < core->config.active_nodes; i++) {
        for (uint32_t s = 0; s < leader->members[i].slot_count; s++) {
            leader->ranks[rank++].seat =
                (struct wire_seat){ .helper = leader->members[i].id, .slot = s, .incarnation = 1 };
        }
    }
}

static void fill_ranks(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        leader->ranks[rank] = (struct lead_rank){
            .seat = core->seats[rank], .loss = WIRE_NONE, .judge_ns = CORE_NEVER, .seat_epoch = core->epoch
        };
    }
    if (core->epoch == 0) {
        fill_first_seats(core);
    }
    seating_fill_first(core, leader->moved_seats);
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        bool has_moved = memcmp(&leader->moved_seats[rank], &core->seats[rank], sizeof(struct wire_seat)) != 0;
        leader->ranks[rank].moved = has_moved ? core->epoch : 0;
    }
    leader->known_from = core->epoch;
}

static void unseat(struct core *core, uint32_t rank) {
    struct wire_loss loss = { .rank = rank, .cause = WIRE_CAUSE_VANISHED };
    leader_lose_rank(core, rank, &loss);
}

/* The slots of the ranks, once the seats are known. Where two have the same one, the newer epoch is right: where the
 * other has gone nobody says, so it is lost. */
static void fill_slots(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        const struct wire_seat *seat = &leader->ranks[rank].seat;
        struct lead_member *member = seat->helper == WIRE_NONE ? NULL : leader_member(leader, seat->helper);
        if (member == NULL || seat->slot >= member->slot_count) {
            continue;
        }
        struct lead_slot *slot = &leader->slots[member->slot_first + seat->slot];
        uint32_t other = slot->rank;
        if (other != WIRE_NONE && leader->ranks[other].seat_epoch > leader->ranks[rank].seat_epoch) {
            unseat(core, rank);
            continue;
        }
        *slot = (struct lead_slot){ .rank = rank, .serial = seat->incarnation };
        if (other != WIRE_NONE) {
            unseat(core, other);
        }
    }
}

/* Ranks of helpers that the view has gone on without: one loss a node. */
static void lose_left(struct core *core) {
    struct leader *leader = core->leader;
    uint64_t silent_ns = core->now_ns - core->followed_at_ns;
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        uint32_t helper = leader->ranks[rank].seat.helper;
        struct lead_member *member = helper == WIRE_NONE ? NULL : leader_member(leader, helper);
        if (leader->ranks[rank].loss != WIRE_NONE || (member != NULL && member->alive)) {
            continue;
        }
        if (member != NULL) {
            bool has_died = core->leader_died && helper == core->former_leader;
            leader_lose_member(core, member, has_died ? WIRE_CAUSE_HELPER_DIED : WIRE_CAUSE_SILENT,
                               has_died ? 0 : silent_ns); /* and all its other ranks */
        } else {                                          /* its node has another helper by now */
            struct wire_loss loss = { .rank = rank, .cause = WIRE_CAUSE_HELPER_DIED };
            leader_lose_rank(core, rank, &loss);
            judge_on_fault(core, rank);
        }
    }
}

/* Those where nobody lived. */
static void lose_spares(struct core *core) {
    const struct view_members *former = &core->view.former;
    for (uint32_t i = 0; i < former->count; i++) {
        bool lived = false;
        for (uint32_t rank = 0; rank < core->rank_count; rank++) {
            lived = lived || core->leader->ranks[rank].seat.helper == former->ids[i];
        }
        if (!lived && !view_contains(&core->view, former->ids[i])) {
            const struct lead_member *member = &core->leader->members[core_node_of(core, former->ids[i])];
            bool has_died =
                member->id != former->ids[i] || (core->leader_died && former->ids[i] == core->former_leader);
            report_spare_lost(core, core_node_of(core, former->ids[i]),
                              has_died ? WIRE_CAUSE_HELPER_DIED : WIRE_CAUSE_SILENT);
        }
    }
}

void takeover_begin(struct core *core) {
    struct leader *leader = core->leader_room;
    core->leader = leader;
    core->former_leader = core->leader_id;
    core->leader_id = core->self;
    core->connected = false;
    leader_reset(leader);
    leader->view = (uint32_t)(core->epoch >> 32);
    leader->counter = (uint32_t)core->epoch;
    leader->takeover_ns = core->now_ns;
    leader->ordinal = core->ordinal;
    leader->generation = core->generation;
    leader->library_seen = core->plan_epoch != 0;
    leader->committed_once = core->committed_once;
    leader->restarts = core->restarts;
    leader->start_span_ns = core->start_span_ns;
    leader->serial_floor = core->view.number * SERIALS_PER_VIEW;
    leader->phase = LEAD_RUNNING;
    leader->knows_start = core->epoch != 0;
    fill_members(core);
    emit(core, CORE_ACTION_LEADER)->peer = core->self;
    report_leader(core);
    fill_ranks(core);
    leader->muster_ns = core->now_ns + core->config.dead_after_ns / 2;
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        member_send_slot(core, slot);
        core->slots[slot].attach_told = false;
        member_report(core, slot); /* as the others do when they connect */
    }
    member_send_ending(core);
}

void takeover_end_muster(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t i = 0; i < leader->member_count && leader->muster_ns != CORE_NEVER; i++) {
        leader->members[i].joined = true; /* its silence is judged from now on */
    }
    leader->muster_ns = CORE_NEVER;
    leader->silence_ns = 0;
}

/* Every rank is where we know it, in the epoch that we know; it has committed there, or uses no library; and nobody
 * waits for anything. */
static bool is_settled(const struct core *core) {
    const struct leader *leader = core->leader;
    bool all = !leader->epoch_wanted && leader->asked_ns == CORE_NEVER && core->epoch != 0;
    for (uint32_t i = 0; i < core->rank_count && all; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        bool is_done = !leader->library_seen || (rank->committed && rank->attached);
        all = is_done && rank->told && !rank->arrived && !rank->exited && !rank->pending;
    }
    return all;
}

/* They may have missed the last STOP, and have to lead one day. */
static void tell_the_rankless(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        struct lead_member *member = &leader->members[i];
        bool has_rank = false;
        for (uint32_t s = 0; s < member->slot_count; s++) {
            has_rank = has_rank || leader->slots[member->slot_first + s].rank != WIRE_NONE;
        }
        member->wants_stop = !has_rank && member->alive && member->id != core->self;
        leader->has_news = true;
    }
}

bool takeover_is_mustering(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->muster_ns == CORE_NEVER) {
        return false;
    }
    for (uint32_t i = 0; i < leader->member_count && core->now_ns < leader->muster_ns; i++) {
        if (!leader->members[i].joined) {
            return true;
        }
    }
    if (!leader->knows_start) { /* as far as anyone has heard, no program was ever started */
        leader->muster_ns = CORE_NEVER;
        leader->phase = LEAD_ASSEMBLING;
        return false;
    }
    takeover_end_muster(core);
    fill_slots(core);
    lose_left(core);
    lose_spares(core);
    if (!is_settled(core)) {
        leader_want_epoch(core, leader->takeover_ns - core->followed_at_ns);
        leader->loss_ns = leader->takeover_ns;
    } else {
        tell_the_rankless(core);
    }
    return false;
}

/* A rank lives where the newest epoch that anyone knows has put it; this helper may have missed that one. */
static void on_seat(struct core *core, const struct wire_message *message) {
    const struct wire_slot *said = &message->slot;
    struct lead_rank *rank = &core->leader->ranks[said->rank];
    if (message->epoch > rank->seat_epoch) {
        rank->seat_epoch = message->epoch;
        rank->seat = (struct wire_seat){
            .helper = message->from, .slot = said->slot, .incarnation = said->incarnation, .starts = said->starts
        };
    }
    rank->told = rank->seat.helper == message->from && rank->seat_epoch == message->epoch &&
                 message->epoch == core->epoch && rank->seat.incarnation == said->incarnation;
    rank->attached = rank->attached || (rank->seat.helper == message->from && said->state == WIRE_SLOT_ATTACHED);
}

void takeover_on_slot(struct core *core, const struct lead_member *member, const struct wire_message *message) {
    struct leader *leader = core->leader;
    const struct wire_slot *said = &message->slot;
    if (leader->muster_ns == CORE_NEVER || said->slot >= member->slot_count) {
        return;
    }
    leader->knows_start = leader->knows_start || message->epoch != 0; /* this helper may have missed the first STOP */
    leader->library_seen = leader->library_seen || said->state == WIRE_SLOT_ATTACHED;
    leader->ordinal = said->ordinal > leader->ordinal ? said->ordinal : leader->ordinal;
    leader->generation = said->generation > leader->generation ? said->generation : leader->generation;
    struct lead_slot *slot = &leader->slots[member->slot_first + said->slot];
    slot->serial = said->incarnation;
    slot->parked = said->rank == WIRE_NONE && said->state != WIRE_SLOT_ENDED;
    slot->warm = said->rank == WIRE_NONE && said->state == WIRE_SLOT_ATTACHED;
    if (said->rank < core->rank_count) {
        on_seat(core, message);
    }
}
