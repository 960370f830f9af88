/*
 * Which slot a rank gets. At the first start: slot after slot, node after node. A lost rank: in place up to respawn_max
 * times without a commit in between, else a free slot: warm spares first, then spares, then any node; in place again
 * when there is none. A rank that could get its state from nobody goes to a spare at once: most likely its node cannot.
 */
#include "node_helper/core/core_internal.h"
#include "node_helper/wire/wire_helper.h"

void seating_fill_first(const struct core *core, struct wire_seat *ret_seats) {
    const struct leader *room = core->leader_room;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < core->config.active_nodes; i++) {
        for (uint32_t s = 0; s < room->members[i].slot_count; s++) {
            ret_seats[rank++] = (struct wire_seat){ .helper = wire_helper_id(i, core->node_count, core->first_node),
                                                    .slot = s,
                                                    .incarnation = 1 };
        }
    }
}

void seating_first(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        struct lead_member *member = &leader->members[i];
        for (uint32_t s = 0; s < member->slot_count && member->node < core->config.active_nodes; s++) {
            struct lead_slot *slot = &leader->slots[member->slot_first + s];
            *slot = (struct lead_slot){ .rank = rank, .serial = 1 };
            leader->ranks[rank].seat = (struct wire_seat){ .helper = member->id, .slot = s, .incarnation = 1 };
            leader->ranks[rank].newcomer = true;
            rank++;
        }
    }
}

void seating_free(struct leader *leader, uint32_t rank) {
    const struct wire_seat *seat = &leader->ranks[rank].seat;
    struct lead_member *member = leader_member(leader, seat->helper);
    if (member != NULL && seat->slot < member->slot_count &&
        leader->slots[member->slot_first + seat->slot].rank == rank) {
        leader->slots[member->slot_first + seat->slot].rank = WIRE_NONE;
    }
}

/* Higher is better. */
enum merit { MERIT_NONE, MERIT_ANY, MERIT_SPARE, MERIT_PARKED, MERIT_WARM };

static enum merit merit(const struct lead_member *member, const struct lead_slot *slot) {
    if (!member->alive || slot->rank != WIRE_NONE || slot->is_closed) {
        return MERIT_NONE;
    }
    return slot->warm ? MERIT_WARM : slot->parked ? MERIT_PARKED : member->was_spare ? MERIT_SPARE : MERIT_ANY;
}

/* The best free slot; MERIT_NONE: there is none. */
static enum merit find_slot(const struct leader *leader, uint32_t *ret_member, uint32_t *ret_slot) {
    enum merit best = MERIT_NONE;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        const struct lead_member *member = &leader->members[i];
        for (uint32_t s = 0; s < member->slot_count; s++) {
            enum merit value = merit(member, &leader->slots[member->slot_first + s]);
            if (value > best) {
                best = value;
                *ret_member = i;
                *ret_slot = s;
            }
        }
    }
    return best;
}

static void take(struct leader *leader, uint32_t rank, struct lead_member *member, uint32_t slot_index) {
    struct lead_slot *slot = &leader->slots[member->slot_first + slot_index];
    struct lead_rank *moved = &leader->ranks[rank];
    slot->rank = rank;
    if (!slot->parked) {
        slot->serial = (slot->serial > leader->serial_floor ? slot->serial : leader->serial_floor) + 1;
    }
    moved->attached = slot->warm;
    slot->parked = slot->warm = false;
    moved->seat.helper = member->id;
    moved->seat.slot = slot_index;
    moved->seat.incarnation = slot->serial;
    moved->seat.starts++;
    moved->newcomer = true;
    moved->arrived = moved->has_state = moved->excused = moved->stays = false;
}

/* The same rank in the same slot, with a new program. */
void seating_renew(struct core *core, uint32_t rank) {
    struct leader *leader = core->leader;
    const struct wire_seat *seat = &leader->ranks[rank].seat;
    take(leader, rank, leader_member(leader, seat->helper), seat->slot);
}

static bool was_lost_by(const struct leader *leader, const struct lead_rank *lost, uint8_t cause) {
    return lost->loss < leader->loss_count && leader->losses[lost->loss].cause == cause;
}

static bool place(struct leader *leader, uint32_t rank, uint32_t respawn_max) {
    struct lead_rank *lost = &leader->ranks[rank];
    struct lead_member *home = leader_member(leader, lost->seat.helper);
    uint32_t home_slot = lost->seat.slot;
    uint32_t sits_there = home != NULL && home->alive ? leader->slots[home->slot_first + home_slot].rank : WIRE_NONE;
    /* To a new leader two ranks may have claimed one slot: who has lost it has no home any more. */
    bool at_home = home != NULL && home->alive && (sits_there == rank || sits_there == WIRE_NONE);
    uint32_t other = 0;
    uint32_t other_slot = 0;
    seating_free(leader, rank);
    if (at_home && was_lost_by(leader, lost, WIRE_CAUSE_KEEPER_DIED)) {
        leader->slots[home->slot_first + home_slot].is_closed = true;
        at_home = false;
    }
    if (at_home) { /* of the others: not the slot that keeps failing */
        leader->slots[home->slot_first + home_slot].rank = rank;
    }
    enum merit best = find_slot(leader, &other, &other_slot);
    seating_free(leader, rank);
    bool may_try_again =
        lost->respawns < respawn_max && !(best >= MERIT_SPARE && was_lost_by(leader, lost, WIRE_CAUSE_PULL_FAILED));
    if (at_home && (may_try_again || lost->excused)) {
        lost->respawns += lost->excused ? 0 : 1;
        take(leader, rank, home, home_slot);
    } else if (best > MERIT_NONE) {
        lost->respawns = 0;
        take(leader, rank, &leader->members[other], other_slot);
    } else if (at_home) {
        take(leader, rank, home, home_slot);
    }
    return at_home || best > MERIT_NONE;
}

bool seating_assign(struct core *core) {
    bool complete = true;
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        if (core->leader->ranks[rank].loss != WIRE_NONE && !place(core->leader, rank, core->config.respawn_max)) {
            core->leader->ranks[rank].seat.helper = WIRE_NONE;
            complete = false;
        }
    }
    return complete;
}

void seating_warm(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        struct lead_member *member = &leader->members[i];
        if (!member->alive || !member->was_spare || member->warmed || core->config.park == CORE_PARK_COLD) {
            continue;
        }
        member->warmed = true;
        for (uint32_t s = 0; s < member->slot_count; s++) {
            struct lead_slot *slot = &leader->slots[member->slot_first + s];
            if (slot->rank == WIRE_NONE && slot->serial == 0) {
                slot->serial = 1;
                slot->parked = true;
            }
        }
        emit_send(core, member->id, &(struct wire_message){ .type = WIRE_WARM });
    }
}
