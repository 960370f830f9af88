/* Connections of the simulator: each member's with its leader, in order; and messages of an agreement, by themselves.
 */
#include <stdlib.h>

#include "tests/scenario/sim.h"

static void encode(struct sim *sim, const struct core_action *action, struct sim_event *event) {
    size_t bound = wire_message_bound(&action->message);
    event->bytes = malloc(bound);
    event->byte_count = wire_message_encode(&action->message, event->bytes, bound);
    if (event->byte_count == 0) {
        sim->failure = "a message cannot be encoded";
        sim_say(sim, "%s to helper %u", wire_type_name(action->message.type), action->peer);
    }
}

/* Over the connection of a member with its leader, in order; or, what views are agreed on with, by itself. */
void net_send(struct sim *sim, uint32_t from, const struct core_action *action) {
    uint32_t to = sim_node_of(sim, action->peer);
    struct sim_event event = { .type = SIM_MESSAGE, .from = from, .to = to };
    if (sim->nodes[to].id != action->peer) {
        return;
    }
    uint64_t at_ns = sim->now_ns + 20000 + sim_random(sim, sim_random(sim, 20) == 0 ? 80 * SIM_MS : sim->latency_ns);
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
    sim_post(sim, event, at_ns - sim->now_ns);
}

void net_seek(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    node->connection++;
    node->up = false;
    sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = index, .number = node->connection },
             sim_random(sim, 20 * SIM_MS));
}

void net_welcome(struct sim *sim, uint32_t id) {
    uint32_t index = sim_node_of(sim, id);
    struct sim_node *node = &sim->nodes[index];
    struct core *old = node->core;
    node->up = true;
    node->leader = sim_leader(sim);
    node->id = id;
    node->core = sim_new_core(sim, index);
    node->off = false;
    core_destroy(old);
    sim_say(sim, "n%u successor %u", index, id);
}

void sim_break(struct sim *sim, uint32_t index) {
    struct sim_node *node = &sim->nodes[index];
    if (!node->up) {
        return;
    }
    struct sim_node *leader = &sim->nodes[node->leader];
    sim_say(sim, "n%u connection breaks", index);
    net_seek(sim, index);
    sim_core(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = leader->id });
    if (leader->frozen_until_ns <= sim->now_ns) {
        sim_core(sim, node->leader, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = node->id });
    }
}

void net_successor_joins(struct sim *sim, uint32_t index, uint32_t dead) {
    uint32_t leader = sim_leader(sim);
    struct sim_node *node = &sim->nodes[index];
    if (sim->nodes[leader].ended) {
        return;
    }
    if (!core_is_leader(sim->nodes[leader].core) || leader == index || sim->nodes[leader].off) { /* nobody leads yet */
        sim_post(sim, (struct sim_event){ .type = SIM_SUCCESSOR, .node = index, .number = dead }, 20 * SIM_MS);
        return;
    }
    uint32_t connection = node->connection + 1;
    struct core *old = node->core;
    *node = (struct sim_node){ .id = WIRE_NONE, .off = true, .connection = connection, .leader = leader };
    node->core = old;
    sim_core(sim, leader,
             (struct core_event){
                 .type = CORE_EVENT_SUCCESSOR, .node = index, .peer = dead, .slot_count = sim->slot_count });
    if (node->id == WIRE_NONE) { /* refused */
        node->id = dead;
        return;
    }
    sim_core(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = sim->nodes[leader].id });
}

void net_connect(struct sim *sim, uint32_t index, uint32_t connection) {
    struct sim_node *node = &sim->nodes[index];
    if (node->off || node->connection != connection) {
        return;
    }
    uint32_t id = core_leader(node->core);
    struct sim_node *leader = &sim->nodes[sim_node_of(sim, id)];
    if (leader->off || leader->id != id || !core_is_leader(leader->core)) { /* not yet, or not any more */
        sim_post(sim, (struct sim_event){ .type = SIM_CONNECT, .node = index, .number = connection }, 20 * SIM_MS);
        return;
    }
    node->leader = sim_node_of(sim, id);
    node->up = true;
    sim_core(sim, node->leader, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = node->id });
    sim_core(sim, index, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = id });
}

void net_arrive(struct sim *sim, struct sim_event *event) {
    struct wire_arena arena = { 0 };
    struct wire_message message;
    if (event->is_alone || sim->nodes[event->node].connection == event->number) {
        if (!wire_message_decode(event->bytes, event->byte_count, &arena, &message)) {
            sim->failure = "a message cannot be decoded";
        } else {
            sim_core(sim, event->to, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &message });
        }
    }
    wire_arena_fini(&arena);
    free(event->bytes);
    event->bytes = NULL;
}
