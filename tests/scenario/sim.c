/* Time and helpers of the simulator. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/sim.h"

uint64_t sim_random(struct sim *sim, uint64_t bound) {
    sim->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t mixed = sim->random;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    return bound > 0 ? (mixed ^ (mixed >> 31)) % bound : 0;
}

void sim_say(const struct sim *sim, const char *format, ...) {
    if (!sim->verbose) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("# %9.3f ", (double)sim->now_ns / 1e6);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

static void push(struct sim *sim, struct sim_event event) {
    if (sim->event_count == sim->event_capacity) {
        sim->event_capacity = sim->event_capacity * 2 + 64;
        sim->events = realloc(sim->events, sim->event_capacity * sizeof *sim->events);
    }
    size_t at = sim->event_count++;
    for (; at > 0 && before(&event, &sim->events[(at - 1) / 2]); at = (at - 1) / 2) {
        sim->events[at] = sim->events[(at - 1) / 2];
    }
    sim->events[at] = event;
}

static struct sim_event pop(struct sim *sim) {
    struct sim_event first = sim->events[0];
    struct sim_event last = sim->events[--sim->event_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->event_count) {
            break;
        }
        child += child + 1 < sim->event_count && before(&sim->events[child + 1], &sim->events[child]);
        if (!before(&sim->events[child], &last)) {
            break;
        }
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = last;
    return first;
}

void sim_post(struct sim *sim, struct sim_event event, uint64_t delay_ns) {
    event.at_ns = sim->now_ns + delay_ns;
    event.sequence = ++sim->sequence;
    push(sim, event);
}

uint32_t sim_node_of(const struct sim *sim, uint32_t helper) {
    return wire_helper_node(helper, sim->node_count, sim->first_node);
}

struct core *sim_new_core(struct sim *sim, uint32_t node) {
    struct wire_member members[SIM_NODES_MAX];
    for (uint32_t i = 0; i < sim->node_count; i++) {
        members[i] = (struct wire_member){ .id = sim->nodes[i].id, .node = i, .slot_count = sim->slot_count };
    }
    sim->config.self = sim->nodes[node].id;
    sim->config.leader = sim->nodes[node].id < sim->node_count ? 0 : sim->nodes[sim_leader(sim)].id;
    sim->config.members = members;
    struct core *core = NULL;
    if (core_create(&core, &sim->config) != CORE_OK) {
        abort();
    }
    return core;
}

void sim_init(struct sim *sim, uint64_t seed, bool verbose) {
    *sim = (struct sim){ .seed = seed, .random = seed, .verbose = verbose };
    sim->active_count = 1 + (uint32_t)sim_random(sim, 4);
    sim->node_count = sim->active_count + (uint32_t)sim_random(sim, 4);
    sim->slot_count = 1 + (uint32_t)sim_random(sim, 3);
    sim->first_node = sim_random(sim, 2) == 0 ? sim->node_count - 1 : 0;
    sim->rank_count = sim->active_count * sim->slot_count;
    sim->goal = 10 + sim_random(sim, 60);
    sim->faults_end_ns = (500 + sim_random(sim, 3500)) * SIM_MS;
    sim->latency_ns = (1 + sim_random(sim, 3) * sim_random(sim, 20)) * SIM_MS;
    sim->pause_ns = (100 + sim_random(sim, 3) * 800) * SIM_MS;
    sim->favourite = sim_random(sim, 8);
    sim->now_ns = 1000 * SIM_MS;
    sim->faults_end_ns += sim->now_ns;
    sim->config = (struct core_config){ .member_count = sim->node_count,
                                        .active_nodes = sim->active_count,
                                        .park = (enum core_park)sim_random(sim, 3),
                                        .heartbeat_ns = 100 * SIM_MS,
                                        .dead_after_ns = 500 * SIM_MS,
                                        .grace_ns = 1500 * SIM_MS,
                                        .respawn_max = (uint32_t)sim_random(sim, 4),
                                        .restart_max = 40,
                                        .seed = seed };
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t id = wire_helper_id(i, sim->node_count, sim->first_node);
        sim->nodes[i] =
            (struct sim_node){ .id = id, .off = true, .connection = 1, .lease_end_ns = id == 0 ? UINT64_MAX : 0 };
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i].core = sim_new_core(sim, i);
        sim->nodes[i].off = false;
        sim_post(sim, (struct sim_event){ .type = SIM_TICK, .node = i, .number = sim->nodes[i].id }, 0);
        sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = i, .number = sim->nodes[i].id == 0 ? 0 : 1 },
                 sim_random(sim, 100 * SIM_MS));
    }
    sim_post(sim, (struct sim_event){ .type = SIM_FAULT }, sim_random(sim, 1000 * SIM_MS));
}

void sim_fini(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++) {
        core_destroy(sim->nodes[i].core);
    }
    for (size_t i = 0; i < sim->event_count; i++) {
        free(sim->events[i].bytes);
    }
    free(sim->events);
}

uint32_t sim_leader(const struct sim *sim) {
    uint32_t found = sim->node_count;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (!node->off && core_is_leader(node->core) && (found == sim->node_count || node->id > sim->nodes[found].id)) {
            found = i;
        }
    }
    return found == sim->node_count ? 0 : found;
}

bool sim_is_led(const struct sim *sim) {
    const struct sim_node *leader = &sim->nodes[sim_leader(sim)];
    bool newest = !leader->off && core_is_leader(leader->core);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        newest = newest && sim->nodes[i].view <= leader->view;
    }
    return newest;
}

static void carry_out(struct sim *sim, uint32_t index, const struct core_action *action, const uint32_t *ranks) {
    struct sim_node *node = &sim->nodes[index];
    switch (action->type) {
    case CORE_ACTION_HOLD:
    case CORE_ACTION_CONTINUE:
        node->held = action->type == CORE_ACTION_HOLD;
        sim_say(sim, "n%u %s", index, node->held ? "HOLD" : "CONTINUE");
        break;
    case CORE_ACTION_LEASE:
        node->lease_end_ns = action->until_ns;
        break;
    case CORE_ACTION_END:
        sim_say(sim, "n%u END %u%s", index, action->exit_code, action->kill ? " kill" : "");
        node->ended = true;
        node->exit_code = action->exit_code;
        for (uint32_t slot = 0; slot < sim->slot_count && action->kill; slot++) {
            program_dies(sim, index, slot, WIRE_CAUSE_SIGNAL, 9);
        }
        if (core_is_leader(node->core) && index == sim_leader(sim)) {
            check_end(sim);
        }
        break;
    case CORE_ACTION_LEADER:
        sim_say(sim, "n%u has leader %u", index, action->peer);
        node->leader = sim_node_of(sim, action->peer);
        if (action->peer != node->id) {
            net_seek(sim, index);
        } else {
            node->up = false;
            node->connection++;
        }
        break;
    case CORE_ACTION_WELCOME:
        break;
    case CORE_ACTION_TRACE:
        sim->node_losses += (action->trace.type == CORE_TRACE_LOSS && action->trace.node_lost) ||
                            (action->trace.type == CORE_TRACE_SPARE && strstr(action->trace.text, "lost") != NULL);
        if (action->trace.type == CORE_TRACE_LOSS) {
            sim_say(sim, "n%u trace loss %s n%u cause %u", index, action->trace.node_lost ? "of" : "on",
                    action->trace.node, action->trace.cause);
        } else {
            sim_say(sim, "n%u trace %u epoch %u code %u %s", index, action->trace.type, action->trace.ordinal,
                    action->trace.exit_code, action->trace.text != NULL ? action->trace.text : "");
        }
        break;
    default:
        program_on_action(sim, index, action, ranks);
        break;
    }
}

static void arm(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    uint64_t deadline_ns = core_next_deadline(node->core);
    if (deadline_ns == UINT64_MAX || deadline_ns == node->tick_ns) {
        return;
    }
    node->tick_ns = deadline_ns;
    uint64_t delay_ns = deadline_ns > sim->now_ns ? deadline_ns - sim->now_ns : 0;
    sim_post(sim, (struct sim_event){ .type = SIM_TICK, .node = index, .number = node->id },
             delay_ns + sim_random(sim, SIM_MS));
}

static void note_quorum(struct sim *sim);

static void say_view(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    const uint32_t *ids = NULL;
    uint32_t number = 0, count = core_view(node->core, &number, &ids);
    char text[128] = "";
    for (uint32_t i = 0, used = 0; i < count && number != node->view; i++) {
        used += (uint32_t)snprintf(text + used, sizeof text - used, " %u", ids[i]);
    }
    if (number != node->view) {
        sim_say(sim, "n%u has view %u:%s", index, number, text);
        node->view = number;
        note_quorum(sim);
    }
}

void sim_core(struct sim *sim, uint32_t index, struct core_event event) {
    struct sim_node *node = &sim->nodes[index];
    if (node->core == NULL || node->off || sim->failure != NULL) {
        return;
    }
    event.now_ns = sim->now_ns;
    struct core_actions actions = core_step(node->core, &event);
    say_view(sim, index);
    if (core_is_leader(node->core) && index == sim_leader(sim)) {
        check_plan(sim, &actions);
    }
    struct core_action *copies = malloc((actions.count + 1) * sizeof *copies);
    uint32_t(*ranks)[SIM_RANKS_MAX] = malloc((actions.count + 1) * sizeof *ranks);
    memcpy(copies, actions.list, actions.count * sizeof *copies);
    for (uint32_t i = 0; i < actions.count; i++) {
        if (copies[i].type == CORE_ACTION_WELCOME) {
            net_welcome(sim, copies[i].peer);
        }
    }
    for (uint32_t i = 0; i < actions.count; i++) { /* what is borrowed is used or copied first */
        if (copies[i].type == CORE_ACTION_SEND) {
            net_send(sim, index, &copies[i]);
        } else if (copies[i].rank_count > 0) {
            memcpy(ranks[i], copies[i].ranks, copies[i].rank_count * sizeof(uint32_t));
        }
    }
    for (uint32_t i = 0; i < actions.count; i++) {
        if (copies[i].type != CORE_ACTION_SEND) {
            carry_out(sim, index, &copies[i], ranks[i]);
        }
    }
    free(copies);
    free(ranks);
    arm(sim, index);
}

/* Can what is left of the newest view still decide one? */
static void note_quorum(struct sim *sim) {
    const uint32_t *ids = NULL, *newest = NULL;
    uint32_t count = 0, highest = 0, living = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t number = 0, members = core_view(sim->nodes[i].core, &number, &ids);
        if (number > highest) {
            highest = number;
            newest = ids;
            count = members;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_node *node = &sim->nodes[sim_node_of(sim, newest[i])];
        living += !node->off && !node->ended && node->id == newest[i];
    }
    bool has_lowest =
        !sim->nodes[sim_node_of(sim, newest[0])].off && sim->nodes[sim_node_of(sim, newest[0])].id == newest[0];
    sim->quorum_lost = sim->quorum_lost || 2 * living < count || (2 * living == count && !has_lowest);
}

void sim_off(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    sim_say(sim, "n%u power off", index);
    node->off = true;
    node->up = false;
    node->connection++;
    memset(node->programs, 0, sizeof node->programs);
    note_quorum(sim);
}

void sim_helper_dies(struct sim *sim, uint32_t index, bool successor) {
    sim_off(sim, index);
    if (successor) {
        sim_post(sim, (struct sim_event){ .type = SIM_SUCCESSOR, .node = index, .number = sim->nodes[index].id },
                 sim_random(sim, sim_random(sim, 4) == 0 ? 1500 * SIM_MS : 30 * SIM_MS));
    }
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Frozen helpers and cut links let events wait; their order is kept. */
static uint64_t waits_until(const struct sim *sim, const struct sim_event *event) {
    uint32_t helper = event->type == SIM_MESSAGE ? event->to : event->node;
    if (event->type == SIM_FAULT) {
        return 0;
    }
    uint64_t until_ns = sim->nodes[helper].frozen_until_ns;
    if (event->type == SIM_MESSAGE) {
        until_ns = later(until_ns, later(sim->nodes[event->from].cut_until_ns, sim->nodes[event->to].cut_until_ns));
    }
    if (event->type == SIM_CONNECT || event->type == SIM_SUCCESSOR) {
        const struct core *core = sim->nodes[event->node].core;
        uint32_t leader = event->type == SIM_CONNECT ? sim_node_of(sim, core_leader(core)) : sim_leader(sim);
        until_ns = later(until_ns, sim->nodes[leader].frozen_until_ns);
        until_ns = later(until_ns, later(sim->nodes[event->node].cut_until_ns, sim->nodes[leader].cut_until_ns));
    }
    return until_ns;
}

static void happen(struct sim *sim, struct sim_event *event) {
    struct sim_node *node = &sim->nodes[event->node];
    switch (event->type) {
    case SIM_MESSAGE:
        net_arrive(sim, event);
        break;
    case SIM_TICK:
        if (node->id == event->number) {
            node->tick_ns = 0;
            sim_core(sim, event->node, (struct core_event){ .type = CORE_EVENT_TICK });
        }
        break;
    case SIM_TIMER:
        if (node->programs[event->slot].alive && node->programs[event->slot].timer == event->number) {
            program_on_timer(sim, event->node, event->slot);
        }
        break;
    case SIM_ENDED:
        if (node->id != event->helper) {
            break;
        }
        sim_core(sim, event->node,
                 (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                      .slot = event->slot,
                                      .incarnation = event->number,
                                      .cause = event->cause,
                                      .detail = event->detail });
        break;
    case SIM_CONNECT:
        net_connect(sim, event->node, event->number);
        break;
    case SIM_SUCCESSOR:
        net_successor_joins(sim, event->node, event->number);
        break;
    case SIM_FAULT:
        fault_happens(sim);
        break;
    }
}

void sim_run(struct sim *sim, uint64_t until_ns) {
    while (sim->event_count > 0 && !sim->over && sim->failure == NULL) {
        struct sim_event event = pop(sim);
        if (event.at_ns > until_ns) {
            sim->now_ns = until_ns;
            free(event.bytes);
            return;
        }
        sim->now_ns = event.at_ns > sim->now_ns ? event.at_ns : sim->now_ns;
        uint64_t waits_ns = waits_until(sim, &event);
        if (waits_ns > sim->now_ns) {
            event.at_ns = waits_ns;
            push(sim, event);
            continue;
        }
        happen(sim, &event);
    }
}
