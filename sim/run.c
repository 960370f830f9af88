/* One run: events in order of time; faults until all is healed, then the step has a bounded time to go on, and end. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

#define LIVE_NS (120000 * SIM_MS) /* after the healing */
#define OUTLIVE_NS                                                                                                     \
    (70000 * SIM_MS)          /* of the leader's END by another helper: 30 s without a leader, and what comes before */
#define HEARTBEATS_MAX 20000u /* a second, of all nodes */
#define EVENTS_MAX 20000000u

uint64_t sim_mix(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15ull; /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    return mixed ^ (mixed >> 31);
}

uint64_t sim_random(struct sim *sim, uint64_t bound) {
    return bound > 0 && !sim->plan->is_calm ? sim_mix(&sim->chance) % bound : 0;
}

void sim_say(const struct sim *sim, const char *format, ...) {
    if (!sim->verbose) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("%10.3f ", (double)(sim->now_ns - sim->start_ns) / 1e6);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

void sim_fail(struct sim *sim, const char *failure) {
    if (sim->failure == NULL) {
        sim->failure = failure;
        sim_say(sim, "FAILED: %s", failure);
    }
}

void sim_post(struct sim *sim, struct sim_event event, uint64_t delay_ns) {
    event.at_ns = sim->now_ns + delay_ns;
    queue_push(&sim->queue, event);
}

static void *zeroed(size_t count, size_t bytes) {
    void *memory = calloc(count > 0 ? count : 1, bytes);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void post_faults(struct sim *sim) {
    for (uint32_t i = 0; i < sim->plan->fault_count; i++) {
        if (sim->plan->faults[i].kind == SIM_FAULT_DRIFT) {
            fault_happens(sim, i);
        } else {
            sim_post(sim, (struct sim_event){ .type = SIM_FAULT, .number = i }, sim->plan->faults[i].at_ns);
        }
    }
    sim_post(sim, (struct sim_event){ .type = SIM_HEAL }, sim->plan->heal_ns);
}

void sim_init(struct sim *sim, const struct sim_plan *plan, bool verbose) {
    *sim = (struct sim){ .plan = plan, .chance = plan->chance, .verbose = verbose };
    sim->active_count = plan->active_count;
    sim->node_count = plan->node_count;
    sim->slot_count = plan->slot_count;
    sim->first_node = plan->first_node;
    sim->rank_count = sim->active_count * sim->slot_count;
    sim->start_ns = sim->now_ns = 1000 * SIM_MS;
    sim->nodes = zeroed(sim->node_count, sizeof *sim->nodes);
    sim->members = zeroed(sim->node_count, sizeof *sim->members);
    sim->committed_epoch = zeroed(sim->rank_count, sizeof(uint64_t));
    sim->committer = zeroed(sim->rank_count, sizeof(uint64_t));
    sim->held_step = zeroed(sim->rank_count, sizeof(uint64_t));
    sim->held_node = zeroed(sim->rank_count, sizeof(uint32_t));
    uint64_t heartbeat_ns = 100 * SIM_MS, least_ns = sim->node_count * 1000000000ull / HEARTBEATS_MAX;
    heartbeat_ns = least_ns > heartbeat_ns ? least_ns : heartbeat_ns;
    sim->config = (struct core_config){ .member_count = sim->node_count,
                                        .active_nodes = sim->active_count,
                                        .park = plan->park,
                                        .heartbeat_ns = heartbeat_ns,
                                        .dead_after_ns = 5 * heartbeat_ns,
                                        .grace_ns = 1500 * SIM_MS,
                                        .respawn_max = plan->respawn_max,
                                        .restart_max = 40,
                                        .seed = plan->seed };
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t id = wire_helper_id(i, sim->node_count, sim->first_node);
        sim->nodes[i] = (struct sim_node){ .id = id,
                                           .off = true,
                                           .connection = 1,
                                           .clock_ns = sim_random(sim, 1000000 * SIM_MS),
                                           .lease_end_ns = id == 0 ? UINT64_MAX : 0,
                                           .programs = zeroed(sim->slot_count, sizeof *sim->nodes->programs) };
        sim->members[i] = (struct wire_member){ .id = id, .node = i, .slot_count = sim->slot_count };
    }
    post_faults(sim);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        helper_begin(sim, i);
    }
}

void sim_fini(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++) {
        core_destroy(sim->nodes[i].core);
        for (uint32_t slot = 0; slot < sim->slot_count; slot++) {
            free(sim->nodes[i].programs[slot].pull_ranks);
        }
        free(sim->nodes[i].programs);
    }
    queue_fini(&sim->queue);
    wire_arena_fini(&sim->arena);
    free(sim->nodes);
    free(sim->members);
    free(sim->committed_epoch);
    free(sim->committer);
    free(sim->held_step);
    free(sim->held_node);
    free(sim->scratch);
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t stands_still_until(const struct sim *sim, uint32_t node) {
    return later(sim->nodes[node].frozen_ns, sim->nodes[node].suspended_ns);
}

/* Who stands still, and what is cut, lets events wait; their order is kept. */
static uint64_t waits_until(struct sim *sim, const struct sim_event *event) {
    uint32_t peer = 0;
    switch (event->type) {
    case SIM_MESSAGE:
        if (sim->meter != NULL) {
            return sim->meter->busy_ns[event->to];
        }
        return later(stands_still_until(sim, event->to), net_cut_until(sim, event->from, event->to));
    case SIM_TICK:
    case SIM_WORD:
        return stands_still_until(sim, event->node);
    case SIM_TIMER:
        return program_needs_helper(sim, event->node, event->slot) ? stands_still_until(sim, event->node)
                                                                   : sim->nodes[event->node].suspended_ns;
    case SIM_CONNECT:
    case SIM_SUCCESSOR:
        peer = event->type == SIM_CONNECT ? helper_node(sim, core_leader(sim->nodes[event->node].core))
                                          : helper_leader(sim);
        return later(later(stands_still_until(sim, event->node), stands_still_until(sim, peer)),
                     later(net_cut_until(sim, event->node, peer), net_cut_until(sim, peer, event->node)));
    case SIM_FAULT:
    case SIM_SUSPEND:
    case SIM_HEAL:
        break;
    }
    return 0;
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
            helper_step(sim, event->node, (struct core_event){ .type = CORE_EVENT_TICK });
        }
        break;
    case SIM_TIMER:
        if (node->programs[event->slot].alive && node->programs[event->slot].timer == event->number) {
            program_on_timer(sim, event->node, event->slot);
        }
        break;
    case SIM_WORD:
        if (node->id == event->number) {
            helper_step(sim, event->node, *event->word);
        }
        free(event->word);
        break;
    case SIM_CONNECT:
        net_connect(sim, event->node, event->number);
        break;
    case SIM_SUCCESSOR:
        net_successor_joins(sim, event->node, event->number);
        break;
    case SIM_FAULT:
        if (event->is_now) {
            fault_happens(sim, event->number);
        } else {
            fault_arms(sim, event->number);
        }
        break;
    case SIM_SUSPEND:
        fault_suspends(sim, event->number, event->node);
        break;
    case SIM_HEAL:
        fault_heal(sim);
        break;
    }
}

static bool all_have_ended(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!sim->nodes[i].off && !sim->nodes[i].ended) {
            return false;
        }
    }
    return true;
}

bool sim_advance(struct sim *sim, uint64_t until_ns) {
    if (sim->queue.count == 0 || sim->failure != NULL || sim->queue.events[0].at_ns > until_ns) {
        return false;
    }
    struct sim_event event = queue_pop(&sim->queue);
    sim->now_ns = later(event.at_ns, sim->now_ns);
    uint64_t waits_ns = waits_until(sim, &event);
    if (waits_ns > sim->now_ns) {
        event.at_ns = waits_ns;
        queue_push_back(&sim->queue, event);
    } else {
        happen(sim, &event);
    }
    return true;
}

void sim_run(struct sim *sim) {
    uint64_t until_ns = sim->start_ns + sim->plan->heal_ns + LIVE_NS;
    bool was_over = false;
    while (sim_advance(sim, until_ns)) {
        if (++sim->happened_count > EVENTS_MAX) {
            sim_fail(sim, "it never comes to rest");
        }
        if (sim->over && !was_over) {
            was_over = true;
            until_ns = later(sim->now_ns, sim->start_ns + sim->plan->heal_ns) + OUTLIVE_NS;
        }
        if (sim->over && all_have_ended(sim)) {
            return;
        }
    }
}

enum sim_outcome sim_judge(const struct sim_plan *plan, bool verbose, const char **ret_failure) {
    struct sim sim;
    sim_init(&sim, plan, verbose);
    sim_run(&sim);
    check_over(&sim);
    uint32_t code = sim.nodes[helper_leader(&sim)].exit_code;
    *ret_failure = sim.failure;
    enum sim_outcome outcome = sim.failure != NULL ? SIM_FAILED
                               : sim.quorum_lost   ? SIM_NO_QUORUM
                               : code == 93        ? SIM_GAVE_UP
                                                   : SIM_ENDED;
    sim_fini(&sim);
    return outcome;
}
