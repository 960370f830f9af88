/*
 * Random faults against the simulator; after the last one the step must go on, or end. Each seed is one run.
 *
 *     random [COUNT [FIRST]]   COUNT seeds from FIRST (2000 from 1); one TAP point a hundred
 *     random -v SEED           one seed, told in full
 *
 * A seed that finds a bug becomes a scenario.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/sim.h"

#define BATCH 100u

static uint32_t living_node(struct sim *sim) {
    return (uint32_t)sim_random(sim, sim->node_count);
}

static void hit_program(struct sim *sim, uint64_t kind) {
    uint32_t node = 0;
    uint32_t rank = (uint32_t)sim_random(sim, sim->rank_count);
    struct sim_program *program = program_of_rank(sim, rank, &node);
    if (program == NULL || sim->nodes[node].off) {
        return;
    }
    uint32_t slot = (uint32_t)(program - sim->nodes[node].programs);
    if (kind < 6) {
        program_dies(sim, node, slot, WIRE_CAUSE_SIGNAL, 9);
    } else if (kind < 8) {
        program_dies(sim, node, slot, WIRE_CAUSE_EXIT, kind == 6 ? 1 : 0);
    } else if (kind < 9) {
        program->hangs = program->state == SIM_RUNNING;
        sim_say(sim, "rank %u hangs", rank);
    } else if (program->state == SIM_RUNNING && !program->hangs) {
        sim_say(sim, "rank %u recovers early", rank);
        program_recovers(sim, node, slot);
    }
}

/* Never sooner than was said before: what waits already would be overtaken by what comes then. */
static void extend(const struct sim *sim, uint64_t *until_ns, uint64_t span_ns) {
    uint64_t end_ns = sim->now_ns + span_ns;
    *until_ns = end_ns > *until_ns ? end_ns : *until_ns;
}

static void hit_node(struct sim *sim, uint64_t kind) {
    uint32_t index = sim_random(sim, 3) == 0 ? sim_leader(sim) : living_node(sim);
    struct sim_node *node = &sim->nodes[index];
    if (kind == 5 || kind == 6) { /* a helper stands still, the leader's too */
        index = (uint32_t)sim_random(sim, sim->node_count);
        extend(sim, &sim->nodes[index].frozen_until_ns, sim_random(sim, 900 * SIM_MS));
        sim_say(sim, "n%u helper frozen until %llu", index,
                (unsigned long long)sim->nodes[index].frozen_until_ns / SIM_MS);
        return;
    }
    if (node->off || node->ended) {
        return;
    }
    switch (kind) {
    case 0:
        sim_off(sim, index);
        break;
    case 1:
        sim_helper_dies(sim, index, true);
        break;
    case 2:
    case 3:
        extend(sim, &node->cut_until_ns, sim_random(sim, 1200 * SIM_MS));
        sim_say(sim, "n%u cut until %llu", index, (unsigned long long)node->cut_until_ns / SIM_MS);
        break;
    case 4:
        sim_break(sim, index);
        break;
    case 7:
        if (node->programs[0].alive && node->programs[0].rank == WIRE_NONE) {
            program_dies(sim, index, 0, WIRE_CAUSE_SIGNAL, 9);
        }
        break;
    default:
        break;
    }
}

/* Nothing in this version finds a hanging program: in the end somebody kills it. So does Slurm with all programs of a
 * step that it ends. */
static void end_of_faults(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
        uint32_t node = i / sim->slot_count, slot = i % sim->slot_count;
        if (sim->slurm_ends || sim->nodes[node].programs[slot].hangs) {
            program_dies(sim, node, slot, WIRE_CAUSE_SIGNAL, 9);
        }
    }
    sim_say(sim, "faults are over");
}

void fault_happens(struct sim *sim) {
    if (sim->now_ns >= sim->faults_end_ns) {
        end_of_faults(sim);
        return;
    }
    uint64_t kind = sim_random(sim, 200);
    if (kind == 0) {
        sim->slurm_ends = true;
        for (uint32_t i = 0, node = living_node(sim); i < sim->node_count; i++, node = (node + 1) % sim->node_count) {
            sim_core(sim, node, (struct core_event){ .type = CORE_EVENT_ENDING });
        }
        for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
            program_dies(sim, i / sim->slot_count, i % sim->slot_count, WIRE_CAUSE_SIGNAL, 15);
        }
    } else if (kind < 120) {
        hit_program(sim, sim_random(sim, 10));
    } else {
        hit_node(sim, sim_random(sim, 2) == 0 ? sim->favourite : sim_random(sim, 8));
    }
    uint64_t pause_ns = sim_random(sim, 2) == 0 ? 50 * SIM_MS : sim->pause_ns; /* some come close together */
    sim_post(sim, (struct sim_event){ .type = SIM_FAULT }, sim_random(sim, pause_ns));
}

static const char *run_seed(uint64_t seed, bool verbose, uint32_t *codes) {
    struct sim sim;
    sim_init(&sim, seed, verbose);
    sim_say(&sim, "seed %llu: %u active nodes, %u spares, %u slots, goal %llu", (unsigned long long)seed,
            sim.active_count, sim.node_count - sim.active_count, sim.slot_count, (unsigned long long)sim.goal);
    sim_run(&sim, sim.faults_end_ns + 120000 * SIM_MS);
    if (sim.failure == NULL) {
        check_over(&sim);
    }
    const char *failure = sim.failure;
    uint32_t code = sim.nodes[sim_leader(&sim)].exit_code;
    codes[failure != NULL ? 3 : sim.quorum_lost ? 2 : code == 93 ? 1 : 0]++;
    if (verbose) {
        sim_say(&sim, "%s", failure != NULL ? failure : "well");
    }
    sim_fini(&sim);
    return failure;
}

int main(int argc, char **argv) {
    uint32_t codes[4] = { 0 };
    if (argc == 3 && strcmp(argv[1], "-v") == 0) {
        return run_seed(strtoull(argv[2], NULL, 10), true, codes) != NULL;
    }
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t batches = (count + BATCH - 1) / BATCH;
    printf("1..%llu\n", (unsigned long long)batches);
    for (uint64_t batch = 0; batch < batches; batch++) {
        uint32_t bad = 0;
        uint64_t begin = first + batch * BATCH;
        uint64_t end = begin + BATCH < first + count ? begin + BATCH : first + count;
        for (uint64_t seed = begin; seed < end; seed++) {
            const char *failure = run_seed(seed, false, codes);
            if (failure != NULL) {
                bad++;
                printf("# seed %llu: %s\n", (unsigned long long)seed, failure);
            }
        }
        printf("%s %llu - seeds %llu to %llu\n", bad > 0 ? "not ok" : "ok", (unsigned long long)batch + 1,
               (unsigned long long)begin, (unsigned long long)end - 1);
        fflush(stdout);
    }
    printf("# ended %u, gave up %u, quorum lost %u, failed %u\n", codes[0], codes[1], codes[2], codes[3]);
    return codes[3] > 0;
}
