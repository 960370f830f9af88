/* The judge: what must hold in every run. It looks, and changes nothing but its notes. */
#include "tests/scenario/sim.h"

static void must(struct sim *sim, bool holds, const char *otherwise) {
    if (!holds && sim->failure == NULL) {
        sim->failure = otherwise;
    }
}

/* The highest step that living programs in their seats hold on two nodes. */
static bool held_on_two(struct sim *sim, uint64_t *ret_step) {
    bool found = false;
    for (uint32_t a = 0; a < sim->rank_count; a++) {
        for (uint32_t b = 0; b < a; b++) {
            uint32_t node_a = 0;
            uint32_t node_b = 0;
            const struct sim_program *one = program_of_rank(sim, a, &node_a);
            const struct sim_program *two = program_of_rank(sim, b, &node_b);
            if (one != NULL && two != NULL && one->has_state && two->has_state && node_a != node_b &&
                one->step == two->step && (!found || one->step > *ret_step)) {
                found = true;
                *ret_step = one->step;
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

/* The moment at which the leader plans: nothing has been overwritten yet. */
void check_plan(struct sim *sim, const struct core_actions *actions) {
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct core_action *action = &actions->list[i];
        bool sent = action->type == CORE_ACTION_SEND && action->message.type == WIRE_PLAN;
        bool own = action->type == CORE_ACTION_PULL || action->type == CORE_ACTION_SERVE;
        bool reloads = (sent && action->message.plan.kind == WIRE_PLAN_RELOAD) ||
                       (action->type == CORE_ACTION_ANSWER_RECOVER && action->result == CKPTLESS_RELOAD);
        uint64_t epoch = sent ? action->message.epoch : action->epoch;
        if ((!sent && !own && !reloads) || epoch == sim->planned_epoch) {
            continue;
        }
        if (epoch < sim->planned_epoch) { /* of a leader who has been left behind, to those who were with it */
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

void check_recovered(struct sim *sim, const struct sim_program *program, const struct core_action *action) {
    if (action->result != CKPTLESS_OK) {
        must(sim, action->result == CKPTLESS_RELOAD, "recover answered with an error");
        return;
    }
    must(sim, program->has_state && program->step == action->step, "a rank resumes from a step that it does not hold");
    if (sim->resumed_epoch == action->epoch) {
        must(sim, sim->resumed_step == action->step, "two ranks resume one epoch from different steps");
    } else if (action->epoch > sim->resumed_epoch) {
        sim->resumed_epoch = action->epoch;
        sim->resumed_step = action->step;
    }
}

void check_commit(struct sim *sim, uint32_t node, uint32_t slot) {
    const struct sim_program *program = &sim->nodes[node].programs[slot];
    uint32_t rank = program->rank;
    uint64_t who = (uint64_t)sim->nodes[node].id << 32 | (uint64_t)slot << 24 | program->incarnation;
    must(sim, program->has_state, "a rank commits without state");
    must(sim, program->epoch >= sim->committed_epoch[rank], "a rank commits in an epoch that is over for it");
    must(sim, program->epoch != sim->committed_epoch[rank] || sim->committer[rank] == who,
         "two programs commit as one rank of an epoch");
    sim->committed_epoch[rank] = program->epoch;
    sim->committer[rank] = who;
    if (sim_is_led(sim)) {
        struct core_seat_info seat = core_seat(sim->nodes[sim_leader(sim)].core, rank);
        must(sim, seat.helper == sim->nodes[node].id && seat.slot == slot && seat.incarnation == program->incarnation,
             "a fenced program commits");
    }
}

void check_finished(struct sim *sim, const struct sim_program *program) {
    must(sim, program->step == sim->goal && program->has_state, "finish answered OK before the last step");
    for (uint32_t rank = 0; rank < sim->rank_count && sim_is_led(sim); rank++) {
        uint32_t node = 0;
        const struct sim_program *peer = program_of_rank(sim, rank, &node);
        must(sim, peer == NULL || peer->step == sim->goal, "finish answered OK while a rank is behind");
    }
}

/* The leader's END. */
void check_end(struct sim *sim) {
    const struct sim_node *leader = &sim->nodes[sim_leader(sim)];
    uint32_t code = leader->exit_code;
    if (code == 93) {
        const uint32_t *ids = NULL;
        uint32_t number = 0;
        bool spares_short = sim->node_losses > sim->node_count - sim->active_count ||
                            core_view(leader->core, &number, &ids) < sim->active_count;
        bool never_started = core_ordinal(leader->core) == 0;
        must(sim,
             spares_short || never_started || sim->quorum_lost || core_ordinal(leader->core) > sim->config.restart_max,
             "gave up although nothing forced it");
    }
    sim->over = true;
}

void check_over(struct sim *sim) {
    for (uint32_t node = 0; node < sim->node_count && !sim->over; node++) {
        must(sim, sim->nodes[node].off || sim->nodes[node].ended, "neither went on nor ended");
    }
}
