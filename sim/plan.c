/* A world and its faults, from a seed. Draws everything here, so that a run with fewer faults is the same world. */
#include "sim/sim.h"

static uint64_t draw(uint64_t *state, uint64_t bound) {
    return bound > 0 ? sim_mix(state) % bound : 0;
}

static void draw_sizes(struct sim_plan *plan, uint64_t *state, struct sim_sizes sizes) {
    static const uint32_t most[] = { 8, 8, 12, 16, 24, 64 }; /* small worlds run quicker, and more often into trouble */
    uint32_t node_count = 5 + (uint32_t)draw(state, most[draw(state, 6)] - 4);
    if (draw(state, 4) == 0) {
        node_count = 1 + (uint32_t)draw(state, 7);
    }
    plan->node_count = sizes.node_count != 0 ? sizes.node_count : node_count;
    uint32_t spares_max = plan->node_count > 8 ? 1 + plan->node_count / 4 : 3;
    uint32_t spares = (uint32_t)draw(state, spares_max + 1);
    plan->active_count = spares < plan->node_count ? plan->node_count - spares : 1;
    plan->slot_count = 1 + (uint32_t)draw(state, plan->node_count > 16 ? 2 : 3);
    plan->slot_count = sizes.slot_count != 0 ? sizes.slot_count : plan->slot_count;
    plan->first_node = draw(state, 2) == 0 ? plan->node_count - 1 : 0;
}

static uint64_t one_node(const struct sim_plan *plan, uint64_t *state) {
    return 1ull << draw(state, plan->node_count);
}

/* Mostly one; else some at the same moment. */
static uint64_t some_nodes(const struct sim_plan *plan, uint64_t *state) {
    uint64_t nodes = one_node(plan, state);
    for (uint64_t i = draw(state, 4) == 0 ? 1 + draw(state, 1 + plan->node_count / 4) : 0; i > 0; i--) {
        nodes |= one_node(plan, state);
    }
    return nodes;
}

/* A side of a partition: one node, some, or about half of all. */
static uint64_t one_side(const struct sim_plan *plan, uint64_t *state) {
    uint64_t half = sim_mix(state) & (plan->node_count < 64 ? (1ull << plan->node_count) - 1 : UINT64_MAX);
    return draw(state, 4) == 0 ? half : some_nodes(plan, state);
}

static enum wire_type some_message(uint64_t *state) {
    static const enum wire_type types[] = { WIRE_STOP,         WIRE_ARRIVED,      WIRE_PLAN,        WIRE_READY,
                                            WIRE_GO,           WIRE_RELOADED,     WIRE_COMMITTED,   WIRE_FINISHED,
                                            WIRE_VIEW_PREPARE, WIRE_VIEW_PROMISE, WIRE_VIEW_ACCEPT, WIRE_VIEW_ACCEPTED,
                                            WIRE_VIEW_DECIDED, WIRE_SLOT,         WIRE_LOSS,        WIRE_WARM };
    return types[draw(state, sizeof types / sizeof types[0])];
}

static struct sim_fault draw_fault(const struct sim_plan *plan, uint64_t *state, enum sim_fault_kind favourite) {
    struct sim_fault fault = { .rank = (uint32_t)draw(state, (uint64_t)plan->active_count * plan->slot_count) };
    uint64_t kind = draw(state, 100);
    fault.hits_leader = draw(state, 3) == 0;
    fault.number = (uint32_t)sim_mix(state);
    fault.span_ns = draw(state, 1200 * SIM_MS);
    fault.nodes = some_nodes(plan, state);
    if (kind < 60) {
        static const enum sim_fault_kind kinds[] = {
            SIM_FAULT_KILL, SIM_FAULT_KILL, SIM_FAULT_KILL, SIM_FAULT_KILL,
            SIM_FAULT_EXIT, SIM_FAULT_EXIT, SIM_FAULT_HANG, SIM_FAULT_RECOVER
        };
        fault.kind = kinds[kind % 8];
        fault.number &= 1;
    } else if (kind < 61) {
        fault.kind = draw(state, 3) == 0 ? SIM_FAULT_SUSPEND : SIM_FAULT_SLURM_ENDS;
    } else {
        static const enum sim_fault_kind kinds[] = { SIM_FAULT_PARKED, SIM_FAULT_OFF,    SIM_FAULT_HELPER,
                                                     SIM_FAULT_BREAK,  SIM_FAULT_CUT,    SIM_FAULT_CUT_OUT,
                                                     SIM_FAULT_CUT_IN, SIM_FAULT_FREEZE, SIM_FAULT_STILL };
        fault.kind = kinds[draw(state, 9)];
        fault.kind = draw(state, 2) == 0 ? favourite : fault.kind;
        bool has_sides = fault.kind >= SIM_FAULT_CUT && fault.kind <= SIM_FAULT_CUT_IN;
        fault.nodes = has_sides ? one_side(plan, state) : fault.nodes;
    }
    if (fault.kind == SIM_FAULT_HELPER) {
        fault.span_ns = draw(state, draw(state, 4) == 0 ? 1500 * SIM_MS : 30 * SIM_MS);
    } else if (fault.kind == SIM_FAULT_SUSPEND) {
        fault.span_ns = draw(state, draw(state, 2) == 0 ? 60000 * SIM_MS : 3000 * SIM_MS);
    }
    if (draw(state, 3) == 0) { /* in the middle of something */
        fault.after = some_message(state);
        fault.delay_ns = draw(state, draw(state, 2) == 0 ? SIM_MS : 40 * SIM_MS);
    }
    return fault;
}

static void add(struct sim_plan *plan, struct sim_fault fault) {
    if (plan->fault_count < SIM_FAULTS_MAX) {
        plan->faults[plan->fault_count++] = fault;
    }
}

static void draw_drift(struct sim_plan *plan, uint64_t *state) {
    for (uint32_t node = 0; node < plan->node_count && draw(state, 3) == 0; node += 1 + (uint32_t)draw(state, 4)) {
        add(plan, (struct sim_fault){ .kind = SIM_FAULT_DRIFT,
                                      .nodes = 1ull << node,
                                      .number = (uint32_t)((int32_t)draw(state, 19000) - 9500) });
    }
}

static void draw_faults(struct sim_plan *plan, uint64_t *state) {
    enum sim_fault_kind favourite = SIM_FAULT_PARKED + (enum sim_fault_kind)draw(state, 9);
    uint64_t pause_ns = (100 + draw(state, 3) * 800) * SIM_MS;
    uint64_t at_ns = draw(state, 1000 * SIM_MS), suspended_ns = 0;
    while (at_ns < plan->heal_ns && plan->fault_count < SIM_FAULTS_MAX) {
        struct sim_fault fault = draw_fault(plan, state, favourite);
        fault.at_ns = at_ns;
        add(plan, fault);
        at_ns += draw(state, draw(state, 2) == 0 ? 50 * SIM_MS : pause_ns); /* some come close together */
        if (fault.kind == SIM_FAULT_SUSPEND) {
            suspended_ns += fault.span_ns + 6000 * SIM_MS;
        }
    }
    plan->heal_ns += suspended_ns;
}

/* The whole step is suspended, more than once it may be, and nothing else happens to it. */
static void draw_suspends(struct sim_plan *plan, uint64_t *state) {
    uint64_t at_ns = (500 + draw(state, 2000)) * SIM_MS;
    for (uint64_t i = 1 + draw(state, 2); i > 0; i--) {
        uint64_t span_ns = (1000 + draw(state, 59000)) * SIM_MS;
        add(plan,
            (struct sim_fault){
                .kind = SIM_FAULT_SUSPEND, .at_ns = at_ns, .span_ns = span_ns, .number = (uint32_t)sim_mix(state) });
        at_ns += span_ns + (8000 + draw(state, 3000)) * SIM_MS;
    }
    plan->heal_ns = at_ns;
    plan->goal = 6000 * SIM_MS / plan->pace_ns;
}

struct sim_plan sim_plan_of(uint64_t seed, struct sim_sizes sizes) {
    struct sim_plan plan = { .seed = seed, .chance = seed };
    uint64_t state = seed;
    draw_sizes(&plan, &state, sizes);
    plan.only_suspends = draw(&state, 40) == 0;
    plan.park = (enum core_park)draw(&state, 3);
    plan.respawn_max = (uint32_t)draw(&state, 4);
    plan.goal = 10 + draw(&state, 60);
    plan.heal_ns = (500 + draw(&state, 3500)) * SIM_MS;
    plan.latency_ns = (1 + draw(&state, 3) * draw(&state, 20)) * SIM_MS;
    plan.pace_ns = (5 + draw(&state, plan.node_count > 16 ? 60 : 20)) * SIM_MS;
    draw_drift(&plan, &state);
    if (plan.only_suspends) {
        plan.latency_ns = SIM_MS;
        draw_suspends(&plan, &state);
    } else {
        draw_faults(&plan, &state);
    }
    return plan;
}
