/*
 * From STOP to the first commits: who has arrived with which state, from which step all go on, who pulls.
 * Resume step: the highest step that live ranks on two nodes hold, else the highest that one holds, of nodes that can
 * give it to others; if there is none of these, of any node; if no one holds any state, the programs load it themselves
 * (RELOAD).
 */
#include "node_helper/core/core_internal.h"

struct lead_rank *plan_current_rank(struct core *core, const struct wire_message *message, uint32_t rank,
                                    uint32_t incarnation) {
    if (rank >= core->rank_count) {
        return NULL;
    }
    struct lead_rank *found = &core->leader->ranks[rank];
    bool same = found->seat.helper == message->from && found->seat.incarnation == incarnation && !found->exited &&
                found->loss == WIRE_NONE;
    return same ? found : NULL;
}

bool plan_is_done_by_all(struct core *core, bool (*is_done)(const struct lead_rank *rank)) {
    struct leader *leader = core->leader;
    if (!is_done(&leader->ranks[leader->awaited])) {
        return false;
    }
    for (uint32_t i = 0; i < core->rank_count; i++) {
        if (!is_done(&leader->ranks[i])) {
            leader->awaited = i;
            return false;
        }
    }
    return true;
}

static bool has_arrived(const struct lead_rank *rank) {
    return rank->arrived;
}

static bool has_survived(const struct lead_rank *rank) {
    return rank->arrived || rank->newcomer;
}

static bool needs_no_pull(const struct lead_rank *rank) {
    return !rank->pulls || rank->ready;
}

void plan_begin_gathering(struct core *core) {
    struct leader *leader = core->leader;
    leader->phase = LEAD_GATHERING;
    leader->began_ns = core->now_ns;
    leader->survivors_ns = 0;
    leader->asked_ns = CORE_NEVER;
    leader->pulled_bytes = 0;
    leader->loss_count = 0;
    leader->reserve = WIRE_NONE;
    late_begin(core);
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &leader->ranks[i];
        rank->loss = WIRE_NONE;
        rank->arrived = rank->has_state = rank->pulls = rank->ready = false;
        rank->reloaded = rank->committed = rank->finished = false;
    }
}

static bool gives(const struct lead_rank *rank, bool also_out_of_reach) {
    return rank->has_state && (also_out_of_reach || !rank->is_out_of_reach);
}

static uint32_t other_node_holders(const struct core *core, uint32_t first, bool also_out_of_reach) {
    const struct leader *leader = core->leader;
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        if (gives(rank, also_out_of_reach) && rank->step == leader->ranks[first].step &&
            rank->seat.helper != leader->ranks[first].seat.helper) {
            count++;
        }
    }
    return count;
}

/* False: none of these holds any state. */
static bool find_step_of(const struct core *core, bool also_out_of_reach, uint64_t *ret_step) {
    const struct leader *leader = core->leader;
    bool found = false;
    bool found_on_two = false;
    uint64_t highest = 0;
    uint64_t highest_on_two = 0;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        if (!gives(rank, also_out_of_reach)) {
            continue;
        }
        if (!found || rank->step > highest) {
            found = true;
            highest = rank->step;
        }
        if ((!found_on_two || rank->step > highest_on_two) && other_node_holders(core, i, also_out_of_reach) > 0) {
            found_on_two = true;
            highest_on_two = rank->step;
        }
    }
    *ret_step = found_on_two ? highest_on_two : highest;
    return found;
}

static bool find_resume_step(const struct core *core, uint64_t *ret_step) {
    return find_step_of(core, false, ret_step) || find_step_of(core, true, ret_step);
}

static void make_token(struct leader *leader, uint64_t epoch, uint8_t *ret_token) {
    for (uint32_t i = 0; i < 16; i++) {
        /* splitmix64 (Steele, Lea, Flood 2014) over the secret's hash and the epoch */
        leader->token_state += 0x9e3779b97f4a7c15ull;
        uint64_t mixed = leader->token_state ^ epoch;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
        ret_token[i] = (uint8_t)((mixed ^ (mixed >> 31)) >> 24);
    }
}

static void send_go(struct core *core) {
    struct leader *leader = core->leader;
    leader->phase = LEAD_RUNNING;
    leader->go_ns = core->now_ns;
    emit_to_all(core, &(struct wire_message){ .type = WIRE_GO });
}

static bool same_layout(const struct core *core, uint32_t *ret_other) {
    const struct lead_rank *ranks = core->leader->ranks;
    for (uint32_t i = 1; i < core->rank_count; i++) {
        if (ranks[i].layout[0] != ranks[0].layout[0] || ranks[i].layout[1] != ranks[0].layout[1]) {
            *ret_other = i;
            return false;
        }
    }
    return true;
}

/* PLAN of a resume: who serves, who pulls now. */
static void send_pulls(struct core *core) {
    struct leader *leader = core->leader;
    struct wire_message message = { .type = WIRE_PLAN };
    struct wire_plan *plan = &message.plan;
    plan->kind = WIRE_PLAN_RESUME;
    plan->step = leader->resume_step;
    plan->sources = leader->list_a;
    plan->pullers = leader->list_b;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &leader->ranks[i];
        if (rank->has_state && rank->step == plan->step) {
            leader->list_a[plan->source_count++] = i;
        } else if (i != leader->reserve) {
            rank->pulls = true;
            leader->list_b[plan->puller_count++] = i;
        }
    }
    __builtin_memcpy(plan->token, leader->token, sizeof plan->token);
    emit_to_all(core, &message);
    if (plan->puller_count == 0) {
        send_go(core);
    }
}

/* A complete older copy is not overwritten while one node alone holds the resume step: if another node is about to pull
 * it, one such copy waits for that. */
static uint32_t choose_reserve(const struct core *core) {
    const struct leader *leader = core->leader;
    uint32_t holder = WIRE_NONE;
    uint32_t reserve = WIRE_NONE;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        if (rank->has_state && rank->step == leader->resume_step) {
            if (holder != WIRE_NONE && leader->ranks[holder].seat.helper != rank->seat.helper) {
                return WIRE_NONE;
            }
            holder = i;
        } else if (rank->has_state && (reserve == WIRE_NONE || rank->step > leader->ranks[reserve].step)) {
            reserve = i;
        }
    }
    for (uint32_t i = 0; i < core->rank_count; i++) {
        if (i != reserve && leader->ranks[i].seat.helper != leader->ranks[holder].seat.helper) {
            return reserve;
        }
    }
    return WIRE_NONE;
}

static void make_plan(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t other = 0;
    late_stop(leader);
    leader->arrived_ns = core->now_ns;
    if (leader->start_span_ns == 0) {
        leader->start_span_ns = core->now_ns - leader->began_ns + 1;
    }
    make_token(leader, wire_epoch_pack(leader->view, leader->counter), leader->token);
    leader->program_error = !same_layout(core, &other);
    if (leader->program_error) {
        leader->phase = LEAD_RUNNING;
        emit_to_all(core, &(struct wire_message){ .type = WIRE_PLAN,
                                                  .plan = { .kind = WIRE_PLAN_REGION_MISMATCH, .rank_b = other } });
    } else if (!find_resume_step(core, &leader->resume_step)) {
        leader->phase = LEAD_RELOADING;
        emit_to_all(core, &(struct wire_message){ .type = WIRE_PLAN, .plan = { .kind = WIRE_PLAN_RELOAD } });
    } else {
        leader->phase = LEAD_PULLING;
        leader->reserve = choose_reserve(core);
        send_pulls(core);
    }
    seating_warm(core);
}

void plan_on_arrived(struct core *core, const struct wire_message *message, const struct wire_arrived *arrived) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = plan_current_rank(core, message, arrived->rank, arrived->incarnation);
    if (rank == NULL) {
        return;
    }
    rank->attached = true;
    if (leader->phase == LEAD_RUNNING || leader->phase == LEAD_RELOADING) {
        /* It found a loss before we did: a peer's socket has failed. */
        if (leader->asked_ns == CORE_NEVER) {
            leader->asked_ns = core->now_ns + core->config.dead_after_ns + 200 * CORE_NS_PER_MS;
        }
        return;
    }
    if (leader->phase != LEAD_GATHERING) {
        return;
    }
    rank->arrived = true;
    rank->has_state = arrived->has_state;
    rank->is_out_of_reach = arrived->is_out_of_reach;
    rank->step = arrived->step;
    rank->layout[0] = arrived->layout[0];
    rank->layout[1] = arrived->layout[1];
    if (leader->survivors_ns == 0) {
        leader->survivors_ns = plan_is_done_by_all(core, has_survived) ? core->now_ns : 0;
    }
    if (leader->survivors_ns != 0 && plan_is_done_by_all(core, has_arrived)) {
        make_plan(core);
    }
}

void plan_on_ready(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = plan_current_rank(core, message, message->rank_step.rank, message->rank_step.incarnation);
    if (rank == NULL || leader->phase != LEAD_PULLING || !rank->pulls || rank->ready) {
        return;
    }
    rank->ready = true;
    rank->has_state = true;
    rank->step = leader->resume_step;
    leader->pulled_bytes += message->rank_step.bytes;
    if (!plan_is_done_by_all(core, needs_no_pull)) {
        return;
    }
    if (leader->reserve != WIRE_NONE) {
        leader->reserve = WIRE_NONE;
        send_pulls(core);
    } else {
        send_go(core);
    }
}
