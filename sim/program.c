/* What a program does: a loop of recover, reload, steps and finish. A step is done once every rank has done the one
 * before; a rank that knows so commits, if its lease still runs, whatever has become of the others meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

static struct sim_program *program_at(struct sim *sim, uint32_t node, uint32_t slot) {
    return &sim->nodes[node].programs[slot];
}

static void wake(struct sim *sim, uint32_t node, uint32_t slot, uint64_t delay_ns) {
    struct sim_program *program = program_at(sim, node, slot);
    sim_post(sim, (struct sim_event){ .type = SIM_TIMER, .node = node, .slot = slot, .number = ++program->timer },
             delay_ns);
}

/* To the helper that lives there now, in the order in which things were said. */
static void say(struct sim *sim, uint32_t node, struct core_event word, uint64_t delay_ns) {
    uint64_t at_ns = sim->now_ns + delay_ns, *heard_ns = &sim->nodes[node].heard_ns;
    *heard_ns = at_ns = at_ns > *heard_ns ? at_ns : *heard_ns;
    struct core_event *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        abort();
    }
    *copy = word;
    sim_post(sim, (struct sim_event){ .type = SIM_WORD, .node = node, .number = sim->nodes[node].id, .word = copy },
             at_ns - sim->now_ns);
}

static struct core_event word_of(struct sim *sim, uint32_t node, uint32_t slot, enum core_event_type type) {
    const struct sim_program *program = program_at(sim, node, slot);
    return (struct core_event){ .type = type,
                                .slot = slot,
                                .incarnation = program->incarnation,
                                .epoch = program->epoch,
                                .has_state = program->has_state,
                                .step = program->step,
                                .bytes = 1 };
}

static void tell(struct sim *sim, uint32_t node, uint32_t slot, enum core_event_type type) {
    say(sim, node, word_of(sim, node, slot, type), sim_random(sim, 200000));
}

void program_dies(struct sim *sim, uint32_t node, uint32_t slot, uint8_t cause, uint32_t detail) {
    struct sim_program *program = program_at(sim, node, slot);
    if (!program->alive) {
        return;
    }
    sim_say(sim, "n%u slot %u.%u ends, cause %u %u", node, slot, program->incarnation, cause, detail);
    struct core_event word = word_of(sim, node, slot, CORE_EVENT_SLOT_ENDED);
    word.cause = cause;
    word.detail = detail;
    program->alive = program->has_state = false;
    program->timer++;
    say(sim, node, word, sim_random(sim, 3 * SIM_MS));
}

struct sim_program *program_of_rank(struct sim *sim, uint32_t rank, uint32_t *ret_node) {
    struct core_seat_info seat = core_seat(sim->nodes[helper_leader(sim)].core, rank);
    if (seat.node == WIRE_NONE || sim->nodes[seat.node].id != seat.helper) {
        return NULL;
    }
    struct sim_program *program = program_at(sim, seat.node, seat.slot);
    *ret_node = seat.node;
    return program->alive && program->incarnation == seat.incarnation ? program : NULL;
}

void program_recovers(struct sim *sim, uint32_t node, uint32_t slot) {
    program_at(sim, node, slot)->state = SIM_IN_RECOVER;
    program_at(sim, node, slot)->timer++;
    tell(sim, node, slot, CORE_EVENT_ARRIVED);
}

static void started(struct sim *sim, uint32_t node, uint32_t slot) {
    program_at(sim, node, slot)->state = SIM_PARKED;
    tell(sim, node, slot, CORE_EVENT_ATTACHED);
    if (program_at(sim, node, slot)->promoted) {
        program_recovers(sim, node, slot);
    }
}

/* Where nothing else happens, the program of an older epoch is one that has not come yet. */
static bool lags(const struct sim *sim, const struct sim_program *peer, const struct sim_program *mine) {
    bool works = (peer->state == SIM_RUNNING || peer->state == SIM_IN_FINISH) && !peer->hangs;
    if (!peer->alive || peer->rank == WIRE_NONE) {
        return false;
    }
    return peer->epoch == mine->epoch ? peer->step < mine->step || !works : sim->plan->is_calm;
}

/* Has every rank of this world done the step that this one has done? */
static bool gradients_are_there(struct sim *sim, const struct sim_program *mine) {
    uint32_t found = 0, straggler = sim->straggler;
    if (sim->complete_epoch == mine->epoch && sim->complete_step >= mine->step) {
        return true;
    }
    if (lags(sim, &sim->nodes[straggler / sim->slot_count].programs[straggler % sim->slot_count], mine)) {
        return false;
    }
    for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
        const struct sim_program *peer = &sim->nodes[i / sim->slot_count].programs[i % sim->slot_count];
        if (lags(sim, peer, mine)) {
            sim->straggler = i;
            return false;
        }
        found += peer->alive && peer->rank != WIRE_NONE && peer->epoch == mine->epoch;
    }
    if (found >= sim->rank_count) {
        sim->complete_epoch = mine->epoch;
        sim->complete_step = mine->step;
    }
    return found >= sim->rank_count;
}

static void steps(struct sim *sim, uint32_t node, uint32_t slot) {
    struct sim_program *program = program_at(sim, node, slot);
    if (program->step >= sim->plan->goal) {
        program->state = SIM_IN_FINISH;
        tell(sim, node, slot, CORE_EVENT_FINISHED);
        return;
    }
    if (!program->has_gradients) {
        program->has_gradients = gradients_are_there(sim, program);
        bool lingers = program->has_gradients && sim_random(sim, 20 + 20 * (uint64_t)sim->rank_count) == 0;
        wake(sim, node, slot, (lingers ? sim_random(sim, 900 * SIM_MS) : sim_random(sim, sim->plan->pace_ns)) + SIM_MS);
        return;
    }
    if (helper_clock(sim, node) < sim->nodes[node].lease_end_ns) {
        program->has_gradients = false;
        program->step++;
        check_commit(sim, node, slot);
        if (!program->told_commit) {
            program->told_commit = true;
            tell(sim, node, slot, CORE_EVENT_COMMITTED);
        }
    }
    wake(sim, node, slot, sim->plan->pace_ns / 2 + sim_random(sim, sim->plan->pace_ns / 2));
}

static void pull_ends(struct sim *sim, uint32_t node, uint32_t slot) {
    struct sim_program *program = program_at(sim, node, slot);
    struct core_event word = word_of(sim, node, slot, CORE_EVENT_PULL_FAILED);
    for (uint32_t i = 0; i < program->pull_count; i++) {
        uint32_t from = 0;
        const struct sim_program *source = program_of_rank(sim, program->pull_ranks[i], &from);
        if (source != NULL && source->has_state && source->step == program->pull_step && sim_random(sim, 50) != 49 &&
            net_cut_until(sim, node, from) <= sim->now_ns && net_cut_until(sim, from, node) <= sim->now_ns) {
            program->has_state = true;
            program->step = program->pull_step;
            word.type = CORE_EVENT_PULLED;
            break;
        }
    }
    program->pull_count = 0;
    helper_step(sim, node, word); /* its own work: nothing lies in between */
}

bool program_needs_helper(const struct sim *sim, uint32_t node, uint32_t slot) {
    const struct sim_program *program = &sim->nodes[node].programs[slot];
    return program->state == SIM_IN_RECOVER && program->pull_count > 0;
}

void program_on_timer(struct sim *sim, uint32_t node, uint32_t slot) {
    struct sim_program *program = program_at(sim, node, slot);
    if (sim->nodes[node].held) {
        wake(sim, node, slot, 10 * SIM_MS);
        return;
    }
    switch (program->state) {
    case SIM_STARTING:
        started(sim, node, slot);
        break;
    case SIM_PARKED:
        program_recovers(sim, node, slot);
        break;
    case SIM_IN_RECOVER:
        if (program->pull_count > 0) {
            pull_ends(sim, node, slot);
        }
        break;
    case SIM_RUNNING:
        if (!program->hangs) {
            steps(sim, node, slot);
        }
        break;
    case SIM_LOADING:
        program->state = SIM_IN_RELOADED;
        program->step = 0;
        tell(sim, node, slot, CORE_EVENT_RELOADED);
        break;
    case SIM_LEAVING:
        program_dies(sim, node, slot, WIRE_CAUSE_EXIT, 0);
        break;
    default:
        break;
    }
}

static void on_start(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    *program = (struct sim_program){ .state = SIM_STARTING,
                                     .alive = true,
                                     .rank = action->rank,
                                     .incarnation = action->incarnation,
                                     .promoted = action->rank != WIRE_NONE,
                                     .timer = program->timer,
                                     .pull_ranks = program->pull_ranks };
    sim_say(sim, "n%u START slot %u.%u rank %d", node, action->slot, action->incarnation, (int)action->rank);
    uint64_t slowest_ns = sim_random(sim, 10) == 0 ? 400 * SIM_MS : 30 * SIM_MS;
    wake(sim, node, action->slot, sim->plan->is_calm ? 0 : SIM_MS + sim_random(sim, slowest_ns));
    if (action->rank != WIRE_NONE) {
        check_started(sim, node, action->slot);
    }
    if (sim->slurm_ends && sim->healed) { /* Slurm has killed all there were: keepers start none */
        program_dies(sim, node, action->slot, WIRE_CAUSE_SIGNAL, 9);
    }
}

static void on_interrupt(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    bool works = program->state == SIM_RUNNING || program->state == SIM_LOADING;
    if (works && !program->hangs) {
        program->state = SIM_PARKED; /* unwinds, then calls recover */
        wake(sim, node, action->slot, sim_random(sim, sim_random(sim, 10) == 0 ? 300 * SIM_MS : 5 * SIM_MS));
    }
}

static void on_promote(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    sim_say(sim, "n%u PROMOTE slot %u.%u rank %u", node, action->slot, action->incarnation, action->rank);
    program->rank = action->rank;
    program->promoted = true;
    if (program->state == SIM_PARKED) {
        wake(sim, node, action->slot, sim_random(sim, 2 * SIM_MS));
    }
    check_started(sim, node, action->slot);
}

static void on_pull(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    if (program->pull_ranks == NULL) {
        program->pull_ranks = malloc(sim->rank_count * sizeof(uint32_t));
    }
    if (program->pull_ranks == NULL) {
        abort();
    }
    program->has_state = false; /* torn from here on */
    program->pull_step = action->step;
    program->pull_count = action->rank_count;
    memcpy(program->pull_ranks, action->ranks, action->rank_count * sizeof(uint32_t));
    wake(sim, node, action->slot, sim->plan->is_calm ? 0 : SIM_MS + sim_random(sim, 60 * SIM_MS));
}

static void on_recovered(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    program->epoch = action->epoch;
    program->told_commit = program->has_gradients = false;
    check_recovered(sim, program, action);
    program->state = action->result == CKPTLESS_RELOAD ? SIM_LOADING : SIM_RUNNING;
    wake(sim, node, action->slot, 1 * SIM_MS + sim_random(sim, 20 * SIM_MS));
}

static void on_answer(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    if (action->result == CKPTLESS_INTERRUPTED) {
        program->state = SIM_PARKED;
    } else if (action->type == CORE_ACTION_ANSWER_RELOADED) {
        program->has_state = true;
        program->state = SIM_RUNNING;
    } else {
        check_finished(sim, program);
        program->state = SIM_LEAVING;
    }
    wake(sim, node, action->slot, sim_random(sim, 10 * SIM_MS));
}

void program_on_action(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    if (action->type == CORE_ACTION_START) {
        on_start(sim, node, action);
        return;
    }
    if (!program->alive || program->incarnation != action->incarnation) {
        return;
    }
    sim_say(sim, "n%u action %u slot %u.%u rank %d epoch %llx step %llu result %u", node, action->type, action->slot,
            action->incarnation, (int)action->rank, (unsigned long long)action->epoch, (unsigned long long)action->step,
            action->result);
    switch (action->type) {
    case CORE_ACTION_PROMOTE:
        on_promote(sim, node, action);
        break;
    case CORE_ACTION_KILL:
        program->alive = program->has_state = false;
        break;
    case CORE_ACTION_INTERRUPT:
        on_interrupt(sim, node, action);
        break;
    case CORE_ACTION_PULL:
        on_pull(sim, node, action);
        break;
    case CORE_ACTION_CANCEL_PULL:
        program->pull_count = 0;
        program->timer++;
        break;
    case CORE_ACTION_ANSWER_RECOVER:
        on_recovered(sim, node, action);
        break;
    case CORE_ACTION_ANSWER_RELOADED:
    case CORE_ACTION_ANSWER_FINISH:
        on_answer(sim, node, action);
        break;
    default:
        break;
    }
}
