/* The judge: what must hold in every run, one invariant a function. It looks, and changes nothing but its notes. */
#include "sim/sim.h"

static void must(struct sim *sim, bool holds, const char *otherwise) {
    if (!holds) {
        sim_fail(sim, otherwise);
    }
}

/* ---- agreement */

static uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x100000001b3ull; /* FNV-1a, by words */
}

/* The first one who has it says what it is; the others must say the same. */
static void must_agree(struct sim *sim, struct sim_known *known, uint64_t number, uint64_t hash,
                       const char *otherwise) {
    struct sim_known *entry = &known[(number ^ number >> 32) % SIM_KNOWN_MAX]; /* an epoch: view and counter */
    if (entry->number < number) {
        *entry = (struct sim_known){ .number = number, .hash = hash };
    }
    must(sim, entry->number != number || entry->hash == hash, otherwise);
}

/* One number, one view. */
void check_view(struct sim *sim, uint32_t node) {
    const uint32_t *ids = NULL;
    uint32_t number = 0, count = core_view(sim->nodes[node].core, &number, &ids);
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++) {
        hash = mix(hash, ids[i]);
    }
    must_agree(sim, sim->known_views, number, hash, "two views have one number");
}

/* One content per epoch, for those who are in its view. */
void check_epoch(struct sim *sim, uint32_t node, uint64_t epoch) {
    const struct core *core = sim->nodes[node].core;
    uint64_t hash = core_ordinal(core);
    for (uint32_t rank = 0; rank < sim->rank_count; rank++) {
        struct core_seat_info seat = core_seat(core, rank);
        hash = mix(mix(mix(hash, seat.helper), seat.slot), seat.incarnation);
    }
    must(sim, epoch != 0, "an epoch without a number");
    must_agree(sim, sim->known_epochs, epoch, hash, "an epoch has two contents");
}

/* ---- state */

/* The highest step that living programs in their seats hold on two nodes. */
static bool held_on_two(struct sim *sim, uint64_t *ret_step) {
    uint32_t count = 0;
    bool found = false;
    for (uint32_t rank = 0; rank < sim->rank_count; rank++) {
        const struct sim_program *program = program_of_rank(sim, rank, &sim->held_node[count]);
        if (program != NULL && program->has_state) {
            sim->held_step[count++] = program->step;
        }
    }
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = 0; b < a && (!found || sim->held_step[a] > *ret_step); b++) {
            if (sim->held_step[a] == sim->held_step[b] && sim->held_node[a] != sim->held_node[b]) {
                found = true;
                *ret_step = sim->held_step[a];
            }
        }
    }
    return found;
}

static bool held_by_anyone(struct sim *sim) {
    for (uint32_t rank = 0; rank < sim->rank_count; rank++) {
        uint32_t node = 0;
        const struct sim_program *program = program_of_rank(sim, rank, &node);
        if (program != NULL && program->has_state) {
            return true;
        }
    }
    return false;
}

/* A step that lives on two nodes is never lost; what anyone holds is not loaded again. At the moment at which the
 * leader plans: nothing has been overwritten yet. */
void check_plan(struct sim *sim, const struct core_actions *actions) {
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct core_action *action = &actions->list[i];
        bool sent = action->type == CORE_ACTION_SEND && action->message.type == WIRE_PLAN;
        bool own = action->type == CORE_ACTION_PULL || action->type == CORE_ACTION_SERVE;
        bool reloads = (sent && action->message.plan.kind == WIRE_PLAN_RELOAD) ||
                       (action->type == CORE_ACTION_ANSWER_RECOVER && action->result == CKPTLESS_RELOAD);
        uint64_t epoch = sent ? action->message.epoch : action->epoch;
        /* Lesser ones: of a leader who has been left behind, to those who were with it. */
        if ((!sent && !own && !reloads) || epoch <= sim->planned_epoch) {
            continue;
        }
        sim->planned_epoch = epoch;
        uint64_t step = 0;
        if (reloads) {
            must(sim, !held_by_anyone(sim), "all reload although someone holds the state");
        } else if (held_on_two(sim, &step)) {
            must(sim, (sent ? action->message.plan.step : action->step) >= step, "a step that two nodes hold is lost");
        }
    }
}

/* All ranks resume from the same step, with the state of that step. */
void check_recovered(struct sim *sim, const struct sim_program *program, const struct core_action *action) {
    if (action->result != CKPTLESS_OK) {
        must(sim, action->result == CKPTLESS_RELOAD, "recover answered with an error");
        return;
    }
    must(sim, program->has_state && program->step == action->step, "a rank resumes from a step that it does not hold");
    if (sim->resumed_epoch == action->epoch) {
        must(sim, sim->resumed_step == action->step, "two ranks resume one epoch from different steps");
        sim->resumed_count++;
    } else if (action->epoch > sim->resumed_epoch) {
        sim->resumed_epoch = action->epoch;
        sim->resumed_step = action->step;
        sim->resumed_count = 1;
    }
}

/* ---- one holder of a rank */

static bool may_commit(const struct sim *sim, uint32_t node, const struct sim_program *program) {
    return program->alive && program->state == SIM_RUNNING && program->has_gradients && !program->hangs &&
           !sim->nodes[node].held && helper_clock(sim, node) < sim->nodes[node].lease_end_ns;
}

static bool is_in_view(const struct core *core, uint32_t helper) {
    const uint32_t *ids = NULL;
    uint32_t count = core_members(core, &ids);
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == helper) {
            return true;
        }
    }
    return false;
}

/* The side that the view goes on without has stopped its ranks before the other side starts them. */
void check_started(struct sim *sim, uint32_t node, uint32_t slot) {
    uint32_t rank = sim->nodes[node].programs[slot].rank;
    for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
        uint32_t other = i / sim->slot_count;
        const struct sim_program *program = &sim->nodes[other].programs[i % sim->slot_count];
        if (program->rank == rank && may_commit(sim, other, program)) {
            must(sim, sim->nodes[other].off || is_in_view(sim->nodes[node].core, sim->nodes[other].id),
                 "a rank starts while the side without a quorum may still commit as it");
        }
    }
}

/* One program commits as a rank of an epoch, and none of an epoch that is over for it. */
static void check_one_committer(struct sim *sim, uint32_t node, uint32_t slot) {
    const struct sim_program *program = &sim->nodes[node].programs[slot];
    uint64_t *epoch = &sim->committed_epoch[program->rank], *committer = &sim->committer[program->rank];
    uint64_t who = (uint64_t)sim->nodes[node].id << 40 | (uint64_t)slot << 32 | program->incarnation;
    must(sim, program->epoch >= *epoch, "a rank commits in an epoch that is over for it");
    must(sim, program->epoch != *epoch || *committer == who, "two programs commit as one rank of an epoch");
    *epoch = program->epoch;
    *committer = who;
}

/* A program whose rank has another seat never commits. */
static void check_not_fenced(struct sim *sim, uint32_t node, uint32_t slot) {
    const struct sim_program *program = &sim->nodes[node].programs[slot];
    if (helper_is_led(sim)) {
        struct core_seat_info seat = core_seat(sim->nodes[helper_leader(sim)].core, program->rank);
        must(sim, seat.helper == sim->nodes[node].id && seat.slot == slot && seat.incarnation == program->incarnation,
             "a fenced program commits");
    }
}

void check_commit(struct sim *sim, uint32_t node, uint32_t slot) {
    must(sim, sim->nodes[node].programs[slot].has_state, "a rank commits without state");
    check_one_committer(sim, node, slot);
    check_not_fenced(sim, node, slot);
}

/* ---- the end */

/* Nobody hears OK from finish before every rank is at the last step: in its epoch, for a leader that is lost with its
 * END on the way may leave the others to do the last steps once more. */
void check_finished(struct sim *sim, const struct sim_program *program) {
    must(sim, program->step == sim->plan->goal && program->has_state, "finish answered OK before the last step");
    bool is_led = helper_is_led(sim) && core_epoch(sim->nodes[helper_leader(sim)].core) == program->epoch;
    for (uint32_t rank = 0; rank < sim->rank_count && is_led; rank++) {
        uint32_t node = 0;
        const struct sim_program *peer = program_of_rank(sim, rank, &node);
        must(sim, peer == NULL || peer->step == sim->plan->goal, "finish answered OK while a rank is behind");
    }
}

/* Can what is left of the newest view still decide one? */
void check_note_quorum(struct sim *sim) {
    const uint32_t *ids = NULL, *newest = NULL;
    uint32_t count = 0, highest = 0, living = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t number = 0;
        uint32_t members = sim->nodes[i].core != NULL ? core_view(sim->nodes[i].core, &number, &ids) : 0;
        if (number > highest) {
            highest = number;
            newest = ids;
            count = members;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_node *node = &sim->nodes[helper_node(sim, newest[i])];
        living += !node->off && !node->ended && node->id == newest[i];
    }
    if (count == 0) {
        return;
    }
    const struct sim_node *lowest = &sim->nodes[helper_node(sim, newest[0])];
    bool has_lowest = !lowest->off && lowest->id == newest[0];
    sim->quorum_lost = sim->quorum_lost || 2 * living < count || (2 * living == count && !has_lowest);
}

/* The leader's END: nobody gives up without need. */
void check_end(struct sim *sim) {
    const struct sim_node *leader = &sim->nodes[helper_leader(sim)];
    if (leader->exit_code != 93) {
        return;
    }
    const uint32_t *ids = NULL;
    uint32_t number = 0;
    bool spares_short = sim->node_losses > sim->node_count - sim->active_count ||
                        core_view(leader->core, &number, &ids) < sim->active_count;
    bool never_started = core_ordinal(leader->core) == 0;
    must(sim, spares_short || never_started || sim->quorum_lost || core_ordinal(leader->core) > sim->config.restart_max,
         "gave up although nothing forced it");
}

/* A suspended step loses nothing, and interrupts nobody. */
void check_disturbed(struct sim *sim, const struct core_trace *trace) {
    bool begins = trace->type == CORE_TRACE_EPOCH && trace->ordinal > 1;
    bool loses = trace->type == CORE_TRACE_LOSS || (trace->type == CORE_TRACE_SPARE && trace->node_lost);
    must(sim, !sim->plan->only_suspends || !(begins || loses || trace->type == CORE_TRACE_LEADER),
         "a suspended step has lost something");
}

/* Once faults are over the step goes on, and ends; nobody outlives it. */
void check_over(struct sim *sim) {
    for (uint32_t node = 0; node < sim->node_count; node++) {
        must(sim, sim->nodes[node].off || sim->nodes[node].ended,
             sim->over ? "a helper outlives the step" : "neither went on nor ended");
    }
    must(sim, !sim->plan->only_suspends || sim->nodes[helper_leader(sim)].exit_code == 0,
         "a suspended step has failed");
}
