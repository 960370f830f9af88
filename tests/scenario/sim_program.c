/* What a program does: a loop of recover, reload, steps and finish. A step is done once every rank has done the one
 * before. */
#include <string.h>

#include "tests/scenario/sim.h"

static struct sim_program *program_at(struct sim *sim, uint32_t node, uint32_t slot) {
    return &sim->nodes[node].programs[slot];
}

static void wake(struct sim *sim, uint32_t node, uint32_t slot, uint64_t delay_ns) {
    struct sim_program *program = program_at(sim, node, slot);
    sim_post(sim, (struct sim_event){ .type = SIM_TIMER, .node = node, .slot = slot, .number = ++program->timer },
             delay_ns);
}

static void tell(struct sim *sim, uint32_t node, uint32_t slot, enum core_event_type type) {
    const struct sim_program *program = program_at(sim, node, slot);
    sim_core(sim, node,
             (struct core_event){ .type = type,
                                  .slot = slot,
                                  .incarnation = program->incarnation,
                                  .epoch = program->epoch,
                                  .has_state = program->has_state,
                                  .step = program->step,
                                  .bytes = 1 });
}

void program_dies(struct sim *sim, uint32_t node, uint32_t slot, uint8_t cause, uint32_t detail) {
    struct sim_program *program = program_at(sim, node, slot);
    if (!program->alive) {
        return;
    }
    sim_say(sim, "n%u slot %u.%u ends, cause %u %u", node, slot, program->incarnation, cause, detail);
    program->alive = program->has_state = false;
    program->timer++;
    sim_post(sim,
             (struct sim_event){ .type = SIM_ENDED,
                                 .node = node,
                                 .slot = slot,
                                 .number = program->incarnation,
                                 .helper = sim->nodes[node].id,
                                 .cause = cause,
                                 .detail = detail },
             sim_random(sim, 3 * SIM_MS));
}

struct sim_program *program_of_rank(struct sim *sim, uint32_t rank, uint32_t *ret_node) {
    struct core_seat_info seat = core_seat(sim->nodes[sim_leader(sim)].core, rank);
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
    struct sim_program *program = program_at(sim, node, slot);
    program->state = SIM_PARKED;
    uint32_t incarnation = program->incarnation;
    tell(sim, node, slot, CORE_EVENT_ATTACHED);
    if (program->alive && program->incarnation == incarnation && program->state == SIM_PARKED && program->promoted) {
        program_recovers(sim, node, slot);
    }
}

/* Has every rank of this world done the step that this one has done? */
static bool gradients_are_there(const struct sim *sim, const struct sim_program *mine) {
    uint32_t found = 0;
    for (uint32_t node = 0; node < sim->node_count; node++) {
        for (uint32_t slot = 0; slot < sim->slot_count; slot++) {
            const struct sim_program *peer = &sim->nodes[node].programs[slot];
            found += peer->alive && peer->rank != WIRE_NONE && peer->epoch == mine->epoch && peer->step >= mine->step &&
                     (peer->state == SIM_RUNNING || peer->state == SIM_IN_FINISH) && !peer->hangs;
        }
    }
    return found >= sim->rank_count;
}

static void steps(struct sim *sim, uint32_t node, uint32_t slot) {
    struct sim_program *program = program_at(sim, node, slot);
    if (program->step >= sim->goal) {
        program->state = SIM_IN_FINISH;
        tell(sim, node, slot, CORE_EVENT_FINISHED);
        return;
    }
    wake(sim, node, slot, 5 * SIM_MS + sim_random(sim, 15 * SIM_MS));
    if (sim->now_ns < sim->nodes[node].lease_end_ns && gradients_are_there(sim, program)) {
        program->step++;
        check_commit(sim, node, slot);
        if (!program->told_commit) {
            program->told_commit = true;
            tell(sim, node, slot, CORE_EVENT_COMMITTED);
        }
    }
}

static void pull_ends(struct sim *sim, uint32_t node, uint32_t slot) {
    struct sim_program *program = program_at(sim, node, slot);
    for (uint32_t i = 0; i < program->pull_count; i++) {
        uint32_t source_node = 0;
        const struct sim_program *source = program_of_rank(sim, program->pull_ranks[i], &source_node);
        if (source != NULL && source->has_state && source->step == program->pull_step &&
            sim->nodes[source_node].cut_until_ns <= sim->now_ns && sim_random(sim, 50) != 0) {
            program->has_state = true;
            program->step = program->pull_step;
            program->pull_count = 0;
            tell(sim, node, slot, CORE_EVENT_PULLED);
            return;
        }
    }
    program->pull_count = 0;
    tell(sim, node, slot, CORE_EVENT_PULL_FAILED);
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
        if (program->hangs) {
            break;
        }
        steps(sim, node, slot);
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
    uint32_t timer = program->timer;
    *program = (struct sim_program){ .state = SIM_STARTING,
                                     .alive = true,
                                     .rank = action->rank,
                                     .incarnation = action->incarnation,
                                     .promoted = action->rank != WIRE_NONE,
                                     .timer = timer };
    sim_say(sim, "n%u START slot %u.%u rank %d", node, action->slot, action->incarnation, (int)action->rank);
    wake(sim, node, action->slot, 1 * SIM_MS + sim_random(sim, sim_random(sim, 10) == 0 ? 400 * SIM_MS : 30 * SIM_MS));
    if (sim->slurm_ends &&
        sim->now_ns >= sim->faults_end_ns) { /* Slurm has killed all there were: keepers start none */
        program_dies(sim, node, action->slot, WIRE_CAUSE_SIGNAL, 9);
    }
}

static void on_interrupt(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    bool works = program->state == SIM_RUNNING || program->state == SIM_LOADING;
    if (program->alive && works && !program->hangs) {
        program->state = SIM_PARKED; /* unwinds, then calls recover */
        wake(sim, node, action->slot, sim_random(sim, sim_random(sim, 10) == 0 ? 300 * SIM_MS : 5 * SIM_MS));
    }
}

static void on_recovered(struct sim *sim, uint32_t node, const struct core_action *action) {
    struct sim_program *program = program_at(sim, node, action->slot);
    program->epoch = action->epoch;
    program->told_commit = false;
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

void program_on_action(struct sim *sim, uint32_t node, const struct core_action *action, const uint32_t *ranks) {
    struct sim_program *program = program_at(sim, node, action->slot);
    bool current = program->alive && program->incarnation == action->incarnation;
    switch (action->type) {
    case CORE_ACTION_START:
        on_start(sim, node, action);
        return;
    case CORE_ACTION_PROMOTE:
        if (current) {
            sim_say(sim, "n%u PROMOTE slot %u.%u rank %u", node, action->slot, action->incarnation, action->rank);
            program->rank = action->rank;
            program->promoted = true;
            if (program->state == SIM_PARKED) {
                wake(sim, node, action->slot, sim_random(sim, 2 * SIM_MS));
            }
        }
        return;
    case CORE_ACTION_KILL:
        program->alive = program->has_state = false;
        return;
    default:
        break;
    }
    if (!current) {
        return;
    }
    sim_say(sim, "n%u action %u slot %u.%u rank %d epoch %llx step %llu result %u", node, action->type, action->slot,
            action->incarnation, (int)action->rank, (unsigned long long)action->epoch, (unsigned long long)action->step,
            action->result);
    switch (action->type) {
    case CORE_ACTION_INTERRUPT:
        on_interrupt(sim, node, action);
        break;
    case CORE_ACTION_PULL:
        program->has_state = false; /* torn from here on */
        program->pull_step = action->step;
        program->pull_count = action->rank_count;
        memcpy(program->pull_ranks, ranks, action->rank_count * sizeof *ranks);
        wake(sim, node, action->slot, 1 * SIM_MS + sim_random(sim, 60 * SIM_MS));
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
