/* How a fault is carried out, and how it reads. */
#include <stdio.h>

#include "sim/sim.h"

#define SPREAD_NS (5000 * SIM_MS) /* a suspended step is let go within this time, node after node */
#define SUSPEND_NS (100 * SIM_MS) /* and stopped within this one */

/* ---- programs */

static void hit_program(struct sim *sim, const struct sim_fault *fault) {
    uint32_t node = 0;
    struct sim_program *program = program_of_rank(sim, fault->rank % sim->rank_count, &node);
    if (program == NULL || sim->nodes[node].off) {
        return;
    }
    uint32_t slot = (uint32_t)(program - sim->nodes[node].programs);
    if (fault->kind == SIM_FAULT_KILL) {
        program_dies(sim, node, slot, WIRE_CAUSE_SIGNAL, 9);
    } else if (fault->kind == SIM_FAULT_EXIT) {
        program_dies(sim, node, slot, WIRE_CAUSE_EXIT, fault->number);
    } else if (fault->kind == SIM_FAULT_HANG) {
        program->hangs = program->state == SIM_RUNNING;
    } else if (program->state == SIM_RUNNING && !program->hangs) {
        program_recovers(sim, node, slot);
    }
}

/* ---- nodes */

static uint64_t bounded_span(const struct sim *sim, uint64_t span_ns) {
    uint64_t heal_ns = sim->start_ns + sim->plan->heal_ns;
    uint64_t left_ns = heal_ns > sim->now_ns ? heal_ns - sim->now_ns : 0;
    return span_ns < left_ns ? span_ns : left_ns;
}

/* Never sooner than was said before: what waits already would be overtaken by what comes then. */
static void extend(uint64_t *until_ns, uint64_t end_ns) {
    *until_ns = end_ns > *until_ns ? end_ns : *until_ns;
}

static void hit_node(struct sim *sim, const struct sim_fault *fault, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    uint64_t until_ns = sim->now_ns + bounded_span(sim, fault->span_ns);
    if (fault->kind == SIM_FAULT_DRIFT) {
        node->drift_ppm = (int32_t)fault->number;
    }
    if (node->off || node->ended) {
        return;
    }
    switch (fault->kind) {
    case SIM_FAULT_PARKED:
        if (node->programs[0].alive && node->programs[0].rank == WIRE_NONE) {
            program_dies(sim, index, 0, WIRE_CAUSE_SIGNAL, 9);
        }
        break;
    case SIM_FAULT_OFF:
        helper_dies(sim, index);
        break;
    case SIM_FAULT_HELPER:
        helper_dies(sim, index);
        sim_post(sim, (struct sim_event){ .type = SIM_SUCCESSOR, .node = index, .number = node->id }, fault->span_ns);
        break;
    case SIM_FAULT_BREAK:
        net_break(sim, index);
        break;
    case SIM_FAULT_FREEZE:
        extend(&node->frozen_ns, until_ns);
        break;
    case SIM_FAULT_STILL:
        extend(&node->suspended_ns, until_ns);
        break;
    default:
        break;
    }
}

static void cut(struct sim *sim, enum sim_fault_kind kind, uint64_t nodes, uint64_t span_ns) {
    uint64_t until_ns = sim->now_ns + bounded_span(sim, span_ns);
    if (kind != SIM_FAULT_CUT_IN) {
        net_cut(sim, (struct sim_cut){ .from = nodes, .to = ~nodes, .until_ns = until_ns });
    }
    if (kind != SIM_FAULT_CUT_OUT) {
        net_cut(sim, (struct sim_cut){ .from = ~nodes, .to = nodes, .until_ns = until_ns });
    }
}

/* ---- all */

static void suspend(struct sim *sim, uint32_t index) {
    uint64_t state = sim->plan->faults[index].number;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_post(sim, (struct sim_event){ .type = SIM_SUSPEND, .node = i, .number = index },
                 sim_mix(&state) % SUSPEND_NS);
    }
}

void fault_suspends(struct sim *sim, uint32_t index, uint32_t node) {
    const struct sim_fault *fault = &sim->plan->faults[index];
    uint64_t state = (uint64_t)fault->number << 32 | node;
    uint64_t span_ns = bounded_span(sim, fault->span_ns + sim_mix(&state) % SPREAD_NS);
    extend(&sim->nodes[node].suspended_ns, sim->now_ns + span_ns);
    sim_say(sim, "n%u suspended for %.3f ms", node, (double)span_ns / 1e6);
}

static void slurm_ends(struct sim *sim, uint32_t first) {
    sim->slurm_ends = true;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        helper_step(sim, (first + i) % sim->node_count, (struct core_event){ .type = CORE_EVENT_ENDING });
    }
    for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
        program_dies(sim, i / sim->slot_count, i % sim->slot_count, WIRE_CAUSE_SIGNAL, 15);
    }
}

void fault_happens(struct sim *sim, uint32_t index) {
    const struct sim_fault *fault = &sim->plan->faults[index];
    if (sim->healed) {
        return; /* the message that it waited for came last */
    }
    uint32_t leader = sim->nodes[0].core != NULL ? helper_leader(sim) : 0;
    bool many = (fault->nodes & (fault->nodes - 1)) != 0;
    uint64_t nodes = fault->hits_leader ? (many ? fault->nodes : 0) | 1ull << leader : fault->nodes;
    if (sim->verbose) {
        sim_say(sim, "fault %u:", index);
        fault_print(fault, index);
    }
    switch (fault->kind) {
    case SIM_FAULT_KILL:
    case SIM_FAULT_EXIT:
    case SIM_FAULT_HANG:
    case SIM_FAULT_RECOVER:
        hit_program(sim, fault);
        break;
    case SIM_FAULT_CUT:
    case SIM_FAULT_CUT_OUT:
    case SIM_FAULT_CUT_IN:
        cut(sim, fault->kind, nodes, fault->span_ns);
        break;
    case SIM_FAULT_SUSPEND:
        suspend(sim, index);
        break;
    case SIM_FAULT_SLURM_ENDS:
        slurm_ends(sim, fault->number);
        break;
    default:
        for (uint32_t i = 0; i < sim->node_count; i++) {
            if ((nodes >> i & 1) != 0) {
                hit_node(sim, fault, i);
            }
        }
        break;
    }
}

/* ---- when */

void fault_arms(struct sim *sim, uint32_t index) {
    if (sim->plan->faults[index].after == 0) {
        fault_happens(sim, index);
    } else if (!sim->healed) {
        sim->armed[sim->armed_count++] = index;
    }
}

void fault_on_message(struct sim *sim, enum wire_type type) {
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < sim->armed_count; i++) {
        const struct sim_fault *fault = &sim->plan->faults[sim->armed[i]];
        if (fault->after == type) {
            sim_post(sim, (struct sim_event){ .type = SIM_FAULT, .number = sim->armed[i], .is_now = true },
                     fault->delay_ns);
        } else {
            sim->armed[waiting++] = sim->armed[i];
        }
    }
    sim->armed_count = waiting;
}

/* Nothing in the core finds a hanging program: in the end somebody kills it. So does Slurm with all programs of a step
 * that it ends. */
void fault_heal(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count * sim->slot_count; i++) {
        uint32_t node = i / sim->slot_count, slot = i % sim->slot_count;
        if (sim->slurm_ends || sim->nodes[node].programs[slot].hangs) {
            program_dies(sim, node, slot, WIRE_CAUSE_SIGNAL, 9);
        }
    }
    sim->healed = true;
    sim->armed_count = 0;
    sim_say(sim, "healed");
}

/* ---- text */

static const char *const names[SIM_FAULT_KIND_COUNT] = {
    [SIM_FAULT_KILL] = "kill rank",
    [SIM_FAULT_EXIT] = "exit of rank",
    [SIM_FAULT_HANG] = "hang of rank",
    [SIM_FAULT_RECOVER] = "unasked recover of rank",
    [SIM_FAULT_PARKED] = "death of the parked program on",
    [SIM_FAULT_OFF] = "power off",
    [SIM_FAULT_HELPER] = "death of the helper, with a successor, on",
    [SIM_FAULT_BREAK] = "broken connection of",
    [SIM_FAULT_CUT] = "cut around",
    [SIM_FAULT_CUT_OUT] = "cut of what leaves",
    [SIM_FAULT_CUT_IN] = "cut of what comes to",
    [SIM_FAULT_FREEZE] = "frozen helper on",
    [SIM_FAULT_STILL] = "frozen helper and programs on",
    [SIM_FAULT_SUSPEND] = "suspended step",
    [SIM_FAULT_SLURM_ENDS] = "end by Slurm",
    [SIM_FAULT_DRIFT] = "drifting clock of",
};

void fault_print(const struct sim_fault *fault, uint32_t index) {
    printf("# fault %u: at %.3f ms", index, (double)fault->at_ns / 1e6);
    if (fault->after != 0) {
        printf(", %.3f ms after the next %s", (double)fault->delay_ns / 1e6, wire_type_name(fault->after));
    }
    printf(": %s", names[fault->kind]);
    if (fault->kind <= SIM_FAULT_RECOVER) {
        printf(" %u", fault->rank);
    } else if (fault->kind != SIM_FAULT_SUSPEND && fault->kind != SIM_FAULT_SLURM_ENDS) {
        printf("%s", fault->hits_leader ? " the leader" : "");
        bool alone = fault->hits_leader && (fault->nodes & (fault->nodes - 1)) == 0;
        for (uint32_t i = 0; i < SIM_NODES_MAX && !alone; i++) {
            if ((fault->nodes >> i & 1) != 0) {
                printf(" n%u", i);
            }
        }
    }
    if (fault->kind == SIM_FAULT_EXIT) {
        printf(" code %u", fault->number);
    } else if (fault->kind == SIM_FAULT_DRIFT) {
        printf(" by %d ppm", (int)fault->number);
    } else if (fault->kind == SIM_FAULT_SUSPEND || fault->kind == SIM_FAULT_HELPER ||
               (fault->kind >= SIM_FAULT_CUT && fault->kind <= SIM_FAULT_STILL)) {
        printf(" %s %.3f ms", fault->kind == SIM_FAULT_HELPER ? "after" : "for", (double)fault->span_ns / 1e6);
    }
    printf("\n");
}
