/*
 * The leader: who lives, what was lost, and when an epoch begins. Losses found in one step are gathered into one epoch;
 * a further loss at any point begins another one, from the inventories.
 */
#include <string.h>

#include "node_helper/core/core_internal.h"
#include "node_helper/wire/wire_helper.h"

struct lead_member *leader_member(struct leader *leader, uint32_t id) {
    struct lead_member *member = &leader->members[wire_helper_node(id, leader->member_count, leader->first_node)];
    return member->id == id ? member : NULL;
}

void leader_reset(struct leader *leader) {
    leader->phase = LEAD_ASSEMBLING;
    leader->view = 1;
    leader->counter = leader->ordinal = 0;
    leader->epoch_wanted = leader->blocked = leader->counts = leader->stalled = leader->recovering = false;
    leader->library_seen = leader->stays_seen = leader->committed_once = leader->program_error = false;
    leader->loss_count = leader->restarts = leader->late_extended = 0;
    leader->late_ns = leader->start_late_ns = leader->asked_ns = leader->linger_ns = leader->waited_ns = CORE_NEVER;
    leader->fault_ns = leader->assemble_ns = leader->muster_ns = CORE_NEVER;
    leader->first_start_ns = leader->start_span_ns = leader->renew_ns = leader->quorum_end_ns = 0;
    leader->reserve = leader->fault_rank = WIRE_NONE;
    leader->end_kill = leader->by_slurm = leader->knows_start = leader->has_news = false;
    leader->settled_view = leader->awaited = leader->echoes = 0;
    leader->floor_ns = leader->silence_ns = 0;
    leader->judge_ns = CORE_NEVER;
    leader->known_from = 0;
}

void leader_want_epoch(struct core *core, uint64_t detect_ns) {
    struct leader *leader = core->leader;
    leader->epoch_wanted = true;
    if (!leader->recovering) {
        leader->recovering = true;
        leader->loss_ns = core->now_ns;
        leader->detect_ns = 0;
    }
    leader->detect_ns = detect_ns > leader->detect_ns ? detect_ns : leader->detect_ns;
}

static uint32_t record_loss(struct core *core, const struct wire_loss *loss, bool node_lost, uint32_t node,
                            uint64_t detect_ns) {
    struct leader *leader = core->leader;
    assert(leader->loss_count < leader->loss_capacity);
    struct lead_loss *record = &leader->losses[leader->loss_count];
    *record = (struct lead_loss){ .node_lost = node_lost,
                                  .node = node,
                                  .rank = loss->rank,
                                  .cause = loss->cause,
                                  .detail = loss->detail,
                                  .detect_ns = detect_ns };
    core_copy_text(record->text, sizeof record->text, loss->text);
    return leader->loss_count++;
}

void leader_lose_rank(struct core *core, uint32_t rank, const struct wire_loss *loss) {
    struct leader *leader = core->leader;
    struct lead_rank *lost = &leader->ranks[rank];
    if (lost->loss != WIRE_NONE || lost->exited) {
        return;
    }
    lost->loss = record_loss(core, loss, false, core_node_of(core, lost->seat.helper), 0);
    leader->counts = true;
    leader_want_epoch(core, 0);
}

void leader_lose_member(struct core *core, struct lead_member *member, uint8_t cause, uint64_t silent_ns) {
    struct leader *leader = core->leader;
    member->alive = false;
    leader->settled_view = 0;
    struct wire_loss loss = { .rank = WIRE_NONE, .cause = cause, .detail = (uint32_t)(silent_ns / CORE_NS_PER_MS) };
    if (cause == WIRE_CAUSE_SILENT) {
        loss.detail = (uint32_t)(core->config.dead_after_ns / CORE_NS_PER_MS);
    }
    uint32_t record = WIRE_NONE;
    for (uint32_t i = 0; i < member->slot_count; i++) {
        struct lead_slot *slot = &leader->slots[member->slot_first + i];
        uint32_t rank = slot->rank;
        *slot = (struct lead_slot){ .rank = WIRE_NONE };
        if (rank == WIRE_NONE || leader->ranks[rank].exited) {
            continue;
        }
        if (leader->phase == LEAD_ENDING) {
            leader->ranks[rank].exited = true;
            continue;
        }
        if (record == WIRE_NONE) {
            record = record_loss(core, &loss, true, member->node, silent_ns);
        }
        leader->ranks[rank].loss = record;
        leader->ranks[rank].pending = false;
        leader->ranks[rank].judge_ns = CORE_NEVER;
        leader->counts = true;
        leader_want_epoch(core, silent_ns);
    }
    if (record != WIRE_NONE) {
        judge_on_fault(core, WIRE_NONE);
    } else if (leader->phase != LEAD_ENDING) {
        report_spare_lost(core, member->node, cause);
    }
}

static void on_heartbeat(struct core *core, struct lead_member *member, const struct wire_message *message) {
    member->joined = member->joined || core->leader->muster_ns != CORE_NEVER;
    quorum_on_heartbeat(core->leader, member, &message->heartbeat);
    quorum_renew(core);
    struct wire_message ack = { .type = WIRE_HEARTBEAT_ACK,
                                .heartbeat = { .sent_ns = message->heartbeat.sent_ns,
                                               .lease_ns = quorum_lease_ns(core),
                                               .leader_ns = core->now_ns } };
    emit_send(core, message->from, &ack);
}

static void on_loss(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    uint32_t index = message->loss.rank;
    if (index >= core->rank_count) {
        return;
    }
    struct lead_rank *rank = &leader->ranks[index];
    if (rank->seat.helper != message->from || rank->seat.incarnation != message->loss.incarnation ||
        rank->loss != WIRE_NONE || rank->exited || rank->pending) {
        return;
    }
    judge_on_loss(core, index, &message->loss);
}

/* Every program that waits there is in ckptless_init. */
static bool is_warm(const struct leader *leader, const struct lead_member *member) {
    for (uint32_t i = 0; i < member->slot_count; i++) {
        const struct lead_slot *slot = &leader->slots[member->slot_first + i];
        if (slot->parked && !slot->warm) {
            return false;
        }
    }
    return true;
}

static void on_attached(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    const struct wire_rank_step *at = &message->rank_step;
    leader->library_seen = true;
    if (at->rank < core->rank_count) {
        struct lead_rank *rank = &leader->ranks[at->rank];
        if (rank->seat.helper == message->from && rank->seat.incarnation == at->incarnation) {
            rank->attached = true;
        }
        return;
    }
    struct lead_member *member = leader_member(leader, message->from);
    if (member == NULL || at->slot >= member->slot_count) {
        return;
    }
    struct lead_slot *slot = &leader->slots[member->slot_first + at->slot];
    if (slot->parked && slot->serial == at->incarnation && !slot->warm) {
        slot->warm = true;
        if (is_warm(leader, member)) {
            report_spare(core, member->node, "spare is warm");
        }
    }
}

static void on_stays(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = plan_current_rank(core, message, message->rank_step.rank, message->rank_step.incarnation);
    leader->stays_seen = true;
    if (rank == NULL) {
        return;
    }
    rank->stays = true;
    if (rank->seat.starts > 0) {
        struct wire_message present = { .type = WIRE_PRESENT, .rank_step = message->rank_step };
        emit_to_all(core, &present);
    }
}

void leader_on_message(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    struct lead_member *member = leader_member(leader, message->from);
    if (core->killed) {
        return; /* it has given up: nobody is to follow it */
    }
    if (member != NULL && !member->alive && view_contains(&core->view, member->id)) {
        return; /* lost in our eyes, but its vote counts until a view has gone on without it */
    }
    if (member == NULL || !member->alive) {
        struct wire_message evicted = { .type = WIRE_EVICTED, .epoch = wire_epoch_pack(leader->view, leader->counter) };
        emit_send(core, message->from, &evicted);
        return;
    }
    member->heard_ns = core->now_ns;
    member->epoch = message->epoch > member->epoch ? message->epoch : member->epoch;
    bool current = message->epoch == wire_epoch_pack(leader->view, leader->counter) && !leader->epoch_wanted;
    switch (message->type) {
    case WIRE_HEARTBEAT:
        on_heartbeat(core, member, message);
        break;
    case WIRE_SLOT:
        takeover_on_slot(core, member, message);
        break;
    case WIRE_LOSS:
        on_loss(core, message);
        break;
    case WIRE_ATTACHED:
        on_attached(core, message);
        break;
    case WIRE_STAYS:
        on_stays(core, message);
        break;
    case WIRE_ENDING:
        ending_by_slurm(core);
        break;
    case WIRE_ARRIVED:
        for (uint32_t i = 0; i < message->arrivals.count && current; i++) {
            plan_on_arrived(core, message, &message->arrivals.list[i]);
        }
        break;
    case WIRE_READY:
        if (current) {
            plan_on_ready(core, message);
        }
        break;
    case WIRE_RELOADED:
        if (current) {
            reload_on_reloaded(core, message);
        }
        break;
    case WIRE_COMMITTED:
        leader->committed_once = true; /* whichever epoch it was in */
        for (uint32_t i = 0; i < message->commits.count && current; i++) {
            reload_on_committed(core, message, &message->commits.list[i]);
        }
        break;
    case WIRE_FINISHED:
        if (current) {
            ending_on_finished(core, message);
        }
        break;
    default:
        break;
    }
}

/* The newest epoch whose seats all of them (or one, `peer`) know, and this leader too; 0: but those of the first
 * start. */
static uint64_t common_base(const struct core *core, uint32_t peer) {
    const struct leader *leader = core->leader;
    uint64_t base = core->epoch;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        const struct lead_member *member = &leader->members[i];
        if (!member->alive || member->id == core->self || (peer != WIRE_NONE && member->id != peer)) {
            continue;
        }
        base = member->epoch < base ? member->epoch : base;
        if (member->epoch < leader->known_from || member->epoch > core->epoch) {
            return 0; /* of a leader before: what that epoch was nobody has told us */
        }
    }
    return base;
}

static void send_stop(struct core *core, uint32_t peer, uint64_t base) {
    struct leader *leader = core->leader;
    uint64_t epoch = wire_epoch_pack(leader->view, leader->counter);
    struct wire_message message = { .type = WIRE_STOP,
                                    .epoch = epoch,
                                    .stop = { .ordinal = leader->ordinal,
                                              .generation = leader->generation,
                                              .rank_count = core->rank_count,
                                              .base = base,
                                              .changed = leader->moved,
                                              .seats = leader->moved_seats,
                                              .committed_once = leader->committed_once,
                                              .restarts = leader->restarts } };
    if (core->epoch == 0) {
        seating_fill_first(core, core->seats);
    }
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        struct lead_rank *at = &leader->ranks[rank];
        if (peer == WIRE_NONE && memcmp(&core->seats[rank], &at->seat, sizeof at->seat) != 0) {
            core->seats[rank] = at->seat;
            at->moved = epoch;
        }
        if (at->moved > base) {
            leader->moved_seats[message.stop.changed_count] = core->seats[rank];
            leader->moved[message.stop.changed_count++] = rank;
        }
    }
    if (base >> 32 != epoch >> 32 && epoch >> 32 > 1) { /* else they know the view */
        message.stop.member_count = core->view.members.count;
        message.stop.members = core->view.members.ids;
    }
    if (peer != WIRE_NONE) {
        emit_send(core, peer, &message);
    } else {
        emit_to_all(core, &message);
    }
}

/* Everybody's silence is judged at once; after a stall of our own nobody is, for one dead-after. */
static void check_silence(struct core *core) {
    struct leader *leader = core->leader;
    uint64_t dead_after_ns = core->config.dead_after_ns;
    /* Who cannot lead cannot know either whether they are silent or we are cut off. */
    leader->stalled = core->now_ns - core->ticked_ns > dead_after_ns / 2 || core->now_ns < core->listens_ns ||
                      (leader->phase < LEAD_ENDING && !quorum_leads(core));
    leader->floor_ns = leader->stalled ? core->now_ns : leader->floor_ns;
    if (core->now_ns < leader->silence_ns || leader->stalled || leader->muster_ns != CORE_NEVER) {
        return;
    }
    leader->silence_ns = core->now_ns + dead_after_ns;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        struct lead_member *member = &leader->members[i];
        if (!member->alive || !member->joined || member->id == core->self) {
            continue;
        }
        uint64_t heard_ns = member->heard_ns > leader->floor_ns ? member->heard_ns : leader->floor_ns;
        if (core->now_ns - heard_ns >= dead_after_ns) {
            leader_lose_member(core, member, WIRE_CAUSE_SILENT, core->now_ns - heard_ns);
        } else if (heard_ns + dead_after_ns < leader->silence_ns) {
            leader->silence_ns = heard_ns + dead_after_ns;
        }
    }
}

/* Programs that cannot be interrupted start again in place: those that do not use the library, when any of them is
 * lost, but not who has said that it survives that; and those that had ended already, when all others begin anew. */
static void start_again(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->phase == LEAD_ASSEMBLING) {
        return;
    }
    bool plain = !leader->library_seen && leader->loss_count > 0;
    bool all = plain && !leader->stays_seen;
    leader->generation += all;
    for (uint32_t index = 0; index < core->rank_count; index++) {
        struct lead_rank *rank = &leader->ranks[index];
        bool again = leader->library_seen ? rank->exited : all || (plain && !rank->stays && !rank->exited);
        if (!again || rank->loss != WIRE_NONE) {
            continue;
        }
        struct lead_member *member = leader_member(leader, rank->seat.helper);
        rank->exited = rank->pending = false;
        leader->waited_ns = CORE_NEVER;
        rank->judge_ns = CORE_NEVER;
        rank->excused = true;
        rank->loss = CORE_LOSS_UNTOLD;
        if (member != NULL && member->alive) {
            seating_renew(core, index);
            rank->loss = WIRE_NONE;
        }
    }
}

static void announce_new(struct core *core) {
    struct leader *leader = core->leader;
    for (uint32_t i = 0; i < leader->member_count && leader->has_news; i++) {
        if (leader->members[i].is_new) {
            leader->members[i].is_new = false;
            report_spare(core, leader->members[i].node, "a new helper has joined");
        }
    }
    leader->has_news = false;
}

/* To those who have missed it; none before the first epoch. All STOPs of a step have borrowed the same lists, so they
 * tell the same. */
static void send_stops_again(struct core *core) {
    struct leader *leader = core->leader;
    bool may = leader->phase != LEAD_ASSEMBLING && !leader->epoch_wanted;
    uint64_t base = core->epoch;
    for (uint32_t i = 0; i < leader->member_count && leader->has_news; i++) {
        const struct lead_member *member = &leader->members[i];
        if (member->wants_stop && member->alive) {
            uint64_t known = common_base(core, member->id);
            base = known < base ? known : base;
        }
    }
    for (uint32_t i = 0; i < leader->member_count && leader->has_news; i++) {
        if (leader->members[i].wants_stop && leader->members[i].alive && may) {
            send_stop(core, leader->members[i].id, base);
        }
        leader->members[i].wants_stop = false;
    }
}

static void settle(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->phase == LEAD_ASSEMBLING && !leader->epoch_wanted) {
        joining_settle(core);
    }
    leader->blocked = true;
    if (leader->phase >= LEAD_ENDING || takeover_is_mustering(core) || !succession_settle(core)) {
        return;
    }
    leader->blocked = false;
    send_stops_again(core);
    if (!leader->epoch_wanted || leader->phase >= LEAD_ENDING) {
        return;
    }
    leader->epoch_wanted = false;
    bool first = leader->phase == LEAD_ASSEMBLING;
    start_again(core);
    if (!seating_assign(core)) {
        report_losses(core);
        ending_give_up(core, CORE_EXIT_GAVE_UP, "no spare is left for the lost ranks");
        return;
    }
    if (leader->counts && ++leader->restarts > core->config.restart_max) {
        report_losses(core);
        ending_give_up(core, CORE_EXIT_GAVE_UP, "no progress over the last recoveries (restarts)");
        return;
    }
    leader->counts = false;
    leader->view = core->view.number;
    leader->counter++;
    leader->ordinal++;
    if (first) {
        report_start(core);
    } else {
        report_losses(core);
        report_epoch(core);
    }
    plan_begin_gathering(core);
    send_stop(core, WIRE_NONE, common_base(core, WIRE_NONE));
    if (core->config.park == CORE_PARK_WARM) {
        seating_warm(core);
    }
}

void leader_settle(struct core *core) {
    settle(core);
    if (core->leader != NULL && !core->leader->blocked) { /* the loss that a new helper comes with is told first */
        announce_new(core);
    }
}

void leader_on_tick(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->phase == LEAD_ENDED) {
        return;
    }
    check_silence(core);
    ending_check_finished(core);
    judge_on_tick(core);
    late_on_tick(core);
}

uint64_t leader_next_deadline(const struct core *core) {
    const struct leader *leader = core->leader;
    if (leader->phase == LEAD_ENDED) {
        return CORE_NEVER;
    }
    if (leader->epoch_wanted && !leader->blocked && leader->phase < LEAD_ENDING && leader->phase != LEAD_ASSEMBLING) {
        return core->now_ns;
    }
    uint64_t deadline = late_next_deadline(core);
    deadline = leader->muster_ns < deadline ? leader->muster_ns : deadline;
    if (leader->phase == LEAD_ASSEMBLING && leader->assemble_ns < deadline && core->now_ns < leader->assemble_ns) {
        deadline = leader->assemble_ns;
    }
    uint64_t judged = judge_next_deadline(core);
    deadline = judged < deadline ? judged : deadline;
    deadline = leader->linger_ns < deadline ? leader->linger_ns : deadline;
    deadline = leader->waited_ns < deadline ? leader->waited_ns : deadline;
    /* A tick of its own, so that a stall of this process can be told from the silence of others. */
    uint64_t own = core->ticked_ns + core->config.heartbeat_ns;
    deadline = own < deadline ? own : deadline;
    bool judges = leader->muster_ns == CORE_NEVER && !leader->stalled && leader->silence_ns > core->now_ns;
    return judges && leader->silence_ns < deadline ? leader->silence_ns : deadline;
}
