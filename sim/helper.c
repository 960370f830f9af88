/* A node's helper: its core, its clock, and what its core tells it to do. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

uint32_t helper_node(const struct sim *sim, uint32_t id) {
    return wire_helper_node(id, sim->node_count, sim->first_node);
}

uint64_t helper_clock(const struct sim *sim, uint32_t index) {
    const struct sim_node *node = &sim->nodes[index];
    int64_t ahead_ns = (int64_t)(sim->now_ns - sim->start_ns) * node->drift_ppm / 1000000;
    return sim->now_ns + node->clock_ns + (uint64_t)ahead_ns;
}

/* A bit late, as timers are. */
static uint64_t ns_until(const struct sim *sim, uint32_t index, uint64_t clock_ns) {
    uint64_t now_ns = helper_clock(sim, index), rate = (uint64_t)(1000000 + sim->nodes[index].drift_ppm);
    return clock_ns > now_ns ? (clock_ns - now_ns) * 1000000 / rate + 2 : 0;
}

struct core *helper_new_core(struct sim *sim, uint32_t index) {
    const struct sim_node *node = &sim->nodes[index];
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->members[i].id = sim->nodes[i].id;
    }
    sim->config.self = node->id;
    sim->config.leader = node->id < sim->node_count ? 0 : sim->nodes[helper_leader(sim)].id;
    sim->config.members = sim->members;
    struct core *core = NULL;
    if (core_create(&core, &sim->config) != CORE_OK) {
        abort();
    }
    return core;
}

void helper_begin(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    node->core = helper_new_core(sim, index);
    node->off = false;
    sim->knows_leader = false;
    sim_post(sim, (struct sim_event){ .type = SIM_TICK, .node = index, .number = node->id }, 0);
    sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = index, .number = node->id == 0 ? 0 : 1 },
             sim_random(sim, 100 * SIM_MS));
}

static uint32_t find_leader(const struct sim *sim) {
    uint32_t found = sim->node_count;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (!node->off && core_is_leader(node->core) && (found == sim->node_count || node->id > sim->nodes[found].id)) {
            found = i;
        }
    }
    return found == sim->node_count ? 0 : found;
}

static bool leads_newest_view(const struct sim *sim, uint32_t index) {
    const struct sim_node *leader = &sim->nodes[index];
    bool newest = leader->core != NULL && !leader->off && core_is_leader(leader->core);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        newest = newest && sim->nodes[i].view <= leader->view;
    }
    return newest;
}

/* Asked for at every commit: looked for when it may have changed. */
static void look_for_leader(struct sim *sim) {
    if (!sim->knows_leader) {
        sim->leader = find_leader(sim);
        sim->is_led = leads_newest_view(sim, sim->leader);
        sim->knows_leader = true;
    }
}

uint32_t helper_leader(struct sim *sim) {
    look_for_leader(sim);
    return sim->leader;
}

bool helper_is_led(struct sim *sim) {
    look_for_leader(sim);
    return sim->is_led;
}

static void on_end(struct sim *sim, uint32_t index, const struct core_action *action) {
    struct sim_node *node = &sim->nodes[index];
    sim_say(sim, "n%u END %u%s", index, action->exit_code, action->kill ? " kill" : "");
    node->ended = true;
    node->exit_code = action->exit_code;
    for (uint32_t slot = 0; slot < sim->slot_count && action->kill; slot++) {
        program_dies(sim, index, slot, WIRE_CAUSE_SIGNAL, 9);
    }
    if (core_is_leader(node->core) && index == helper_leader(sim) && !sim->over) {
        check_end(sim);
        sim->over = true;
    }
}

static void on_leader(struct sim *sim, uint32_t index, const struct core_action *action) {
    struct sim_node *node = &sim->nodes[index];
    sim_say(sim, "n%u has leader %u", index, action->peer);
    node->leader = helper_node(sim, action->peer);
    if (action->peer != node->id) {
        net_seek(sim, index);
    } else {
        node->up = false;
        node->connection++;
    }
}

static void on_trace(struct sim *sim, uint32_t index, const struct core_trace *trace) {
    sim->node_losses += trace->node_lost;
    check_disturbed(sim, trace);
    if (trace->type == CORE_TRACE_LOSS) {
        sim_say(sim, "n%u trace loss %s n%u cause %u", index, trace->node_lost ? "of" : "on", trace->node,
                trace->cause);
    } else {
        sim_say(sim, "n%u trace %u epoch %u code %u %s", index, trace->type, trace->ordinal, trace->exit_code,
                trace->text != NULL ? trace->text : "");
    }
}

static void carry_out(struct sim *sim, uint32_t index, const struct core_action *action) {
    struct sim_node *node = &sim->nodes[index];
    switch (action->type) {
    case CORE_ACTION_SEND:
        net_send(sim, index, action);
        break;
    case CORE_ACTION_HOLD:
    case CORE_ACTION_CONTINUE:
        node->held = action->type == CORE_ACTION_HOLD;
        sim_say(sim, "n%u %s", index, node->held ? "HOLD" : "CONTINUE");
        break;
    case CORE_ACTION_LEASE:
        node->lease_end_ns = action->until_ns;
        break;
    case CORE_ACTION_END:
        on_end(sim, index, action);
        break;
    case CORE_ACTION_LEADER:
        on_leader(sim, index, action);
        break;
    case CORE_ACTION_WELCOME: /* before all others: what is sent to it comes first in the list */
        break;
    case CORE_ACTION_TRACE:
        on_trace(sim, index, &action->trace);
        break;
    case CORE_ACTION_EPOCH:
        check_epoch(sim, index, action->epoch);
        break;
    default:
        program_on_action(sim, index, action);
        break;
    }
}

static void arm(struct sim *sim, uint32_t index, uint64_t deadline_ns) {
    struct sim_node *node = &sim->nodes[index];
    if (deadline_ns == UINT64_MAX || deadline_ns == node->tick_ns) {
        return;
    }
    node->tick_ns = deadline_ns;
    sim_post(sim, (struct sim_event){ .type = SIM_TICK, .node = index, .number = node->id },
             ns_until(sim, index, deadline_ns) + sim_random(sim, SIM_MS));
}

static void note_view(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    const uint32_t *ids = NULL;
    uint32_t number = 0, count = core_view(node->core, &number, &ids);
    if (number == node->view) {
        return;
    }
    node->view = number;
    sim->knows_leader = false;
    char text[512] = "";
    for (uint32_t i = 0, used = 0; i < count && used + 12 < sizeof text && sim->verbose; i++) {
        used += (uint32_t)snprintf(text + used, sizeof text - used, " %u", ids[i]);
    }
    sim_say(sim, "n%u has view %u:%s", index, number, text);
    check_view(sim, index);
    check_note_quorum(sim);
}

void helper_step(struct sim *sim, uint32_t index, struct core_event event) {
    struct sim_node *node = &sim->nodes[index];
    if (node->core == NULL || node->off || sim->failure != NULL) {
        return;
    }
    event.now_ns = helper_clock(sim, index);
    double begin_ns = sim->meter != NULL ? record_now_ns() : 0;
    struct core_actions actions = core_step(node->core, &event);
    uint64_t deadline_ns = core_next_deadline(node->core);
    bool leads = core_is_leader(node->core);
    sim->knows_leader = sim->knows_leader && leads == node->leads;
    node->leads = leads;
    if (sim->meter != NULL) {
        meter_on_step(sim, index, record_now_ns() - begin_ns);
    }
    note_view(sim, index);
    if (leads && index == helper_leader(sim)) {
        check_plan(sim, &actions);
    }
    for (uint32_t i = 0; i < actions.count; i++) {
        if (actions.list[i].type == CORE_ACTION_WELCOME) {
            net_welcome(sim, actions.list[i].peer);
        }
    }
    for (uint32_t i = 0; i < actions.count; i++) {
        carry_out(sim, index, &actions.list[i]);
    }
    arm(sim, index, deadline_ns);
}

void helper_dies(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    node->off = true;
    node->up = false;
    node->connection++;
    sim->knows_leader = false;
    for (uint32_t slot = 0; slot < sim->slot_count; slot++) {
        struct sim_program *program = &node->programs[slot];
        *program = (struct sim_program){ .pull_ranks = program->pull_ranks, .timer = program->timer + 1 };
    }
    check_note_quorum(sim);
}
