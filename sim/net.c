/* Connections: each member's with its leader, in order; and messages of an agreement, by themselves. A connection loses
 * nothing but by its end: what is cut waits, as TCP says it again. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define CALM_NS 50000u

static void encode(struct sim *sim, const struct core_action *action, struct sim_event *event) {
    size_t bound = wire_message_bound(&action->message);
    if (bound > sim->scratch_bytes) {
        free(sim->scratch);
        sim->scratch = malloc(bound);
        sim->scratch_bytes = bound;
    }
    event->byte_count = wire_message_encode(&action->message, sim->scratch, bound);
    event->bytes = malloc(event->byte_count + 1);
    if (event->byte_count == 0 || event->bytes == NULL) {
        sim_say(sim, "%s to helper %u", wire_type_name(action->message.type), action->peer);
        sim_fail(sim, "a message cannot be encoded");
        return;
    }
    memcpy(event->bytes, sim->scratch, event->byte_count);
}

/* Over the connection of a member with its leader, in order; or, what views are agreed on with, by itself. */
void net_send(struct sim *sim, uint32_t from, const struct core_action *action) {
    uint32_t to = helper_node(sim, action->peer);
    struct sim_event event = { .type = SIM_MESSAGE, .from = from, .to = to };
    if (sim->nodes[to].id != action->peer) {
        return;
    }
    uint64_t slowest_ns = sim_random(sim, 20) == 0 ? 80 * SIM_MS : sim->plan->latency_ns;
    uint64_t at_ns = sim->now_ns + (sim->plan->is_calm ? CALM_NS : 20000) + sim_random(sim, slowest_ns);
    if (sim->nodes[from].up && sim->nodes[from].leader == to) {
        event.node = from;
    } else if (sim->nodes[to].up && sim->nodes[to].leader == from) {
        event.node = to;
    } else if (action->message.type >= WIRE_VIEW_PREPARE || action->message.type == WIRE_END ||
               action->message.type == WIRE_EVICTED) {
        event.node = to;
        event.is_alone = true;
    } else {
        return;
    }
    if (!event.is_alone) {
        uint64_t *last_ns = &sim->nodes[event.node].last_ns[event.node == from];
        *last_ns = at_ns = at_ns > *last_ns ? at_ns : *last_ns;
    }
    event.number = sim->nodes[event.node].connection;
    encode(sim, action, &event);
    if (sim->meter != NULL) {
        at_ns = meter_on_send(sim, from, to, action->message.type, event.byte_count) + CALM_NS;
    }
    sim_post(sim, event, at_ns - sim->now_ns);
    if (sim->armed_count > 0) {
        fault_on_message(sim, action->message.type);
    }
}

void net_arrive(struct sim *sim, struct sim_event *event) {
    struct wire_message message;
    if (sim->meter != NULL) {
        meter_on_arrival(sim, event->to, event->byte_count);
    }
    if (event->is_alone || sim->nodes[event->node].connection == event->number) {
        if (!wire_message_decode(event->bytes, event->byte_count, &sim->arena, &message)) {
            sim_fail(sim, "a message cannot be decoded");
        } else {
            helper_step(sim, event->to, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &message });
        }
    }
    free(event->bytes);
    event->bytes = NULL;
}

void net_cut(struct sim *sim, struct sim_cut cut) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < sim->cut_count; i++) { /* those that are over make room */
        if (sim->cuts[i].until_ns > sim->now_ns) {
            sim->cuts[used++] = sim->cuts[i];
        }
    }
    if (used < SIM_CUTS_MAX) {
        sim->cuts[used++] = cut;
    }
    sim->cut_count = used;
}

uint64_t net_cut_until(const struct sim *sim, uint32_t from, uint32_t to) {
    uint64_t until_ns = 0;
    for (uint32_t i = 0; i < sim->cut_count; i++) {
        const struct sim_cut *cut = &sim->cuts[i];
        if ((cut->from >> from & 1) != 0 && (cut->to >> to & 1) != 0 && cut->until_ns > until_ns) {
            until_ns = cut->until_ns;
        }
    }
    return until_ns;
}

void net_seek(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    node->connection++;
    node->up = false;
    sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = index, .number = node->connection },
             sim_random(sim, 20 * SIM_MS));
}

void net_welcome(struct sim *sim, uint32_t id) {
    uint32_t index = helper_node(sim, id);
    struct sim_node *node = &sim->nodes[index];
    struct core *old = node->core;
    node->up = true;
    node->leader = helper_leader(sim);
    node->id = id;
    node->core = helper_new_core(sim, index);
    node->off = false;
    sim->knows_leader = false;
    core_destroy(old);
    sim_say(sim, "n%u successor %u", index, id);
}

static bool stands_still(const struct sim *sim, uint32_t node) {
    return sim->nodes[node].frozen_ns > sim->now_ns || sim->nodes[node].suspended_ns > sim->now_ns;
}

void net_break(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    if (!node->up) {
        return;
    }
    const struct sim_node *leader = &sim->nodes[node->leader];
    uint32_t peer = node->leader;
    sim_say(sim, "n%u connection breaks", index);
    net_seek(sim, index);
    if (!stands_still(sim, index)) {
        helper_step(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = leader->id });
    }
    if (!stands_still(sim, peer)) {
        helper_step(sim, peer, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = node->id });
    }
}

void net_successor_joins(struct sim *sim, uint32_t index, uint32_t dead) {
    uint32_t leader = helper_leader(sim);
    struct sim_node *node = &sim->nodes[index];
    if (sim->nodes[leader].ended || node->id != dead || !node->off) {
        return;
    }
    if (!core_is_leader(sim->nodes[leader].core) || leader == index || sim->nodes[leader].off) { /* nobody leads yet */
        sim_post(sim, (struct sim_event){ .type = SIM_SUCCESSOR, .node = index, .number = dead }, 20 * SIM_MS);
        return;
    }
    *node = (struct sim_node){ .id = WIRE_NONE,
                               .off = true,
                               .connection = node->connection + 1,
                               .leader = leader,
                               .core = node->core,
                               .suspended_ns = node->suspended_ns,
                               .clock_ns = node->clock_ns,
                               .drift_ppm = node->drift_ppm,
                               .programs = node->programs };
    sim->knows_leader = false;
    helper_step(sim, leader,
                (struct core_event){
                    .type = CORE_EVENT_SUCCESSOR, .node = index, .peer = dead, .slot_count = sim->slot_count });
    if (node->id == WIRE_NONE) { /* refused */
        node->id = dead;
        return;
    }
    helper_step(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = sim->nodes[leader].id });
}

void net_connect(struct sim *sim, uint32_t index, uint32_t connection) {
    struct sim_node *node = &sim->nodes[index];
    if (node->off || node->connection != connection) {
        return;
    }
    uint32_t id = core_leader(node->core);
    struct sim_node *leader = &sim->nodes[helper_node(sim, id)];
    if (leader->off || leader->id != id || !core_is_leader(leader->core)) { /* not yet, or not any more */
        sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = index, .number = connection }, 20 * SIM_MS);
        return;
    }
    node->leader = helper_node(sim, id);
    node->up = true;
    helper_step(sim, node->leader, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = node->id });
    helper_step(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = id });
}
