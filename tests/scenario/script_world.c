/*
 * Cores, the messages between them, and time, which goes from deadline to deadline; see script.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script.h"

struct script script;

void script_send(uint32_t from, const struct core_action *action) {
    uint32_t to = script_node_of(action->peer);
    if (!script.nodes[to].on || script.nodes[to].id != action->peer) {
        return;
    }
    size_t bound = wire_message_bound(&action->message);
    uint8_t *bytes = malloc(bound);
    size_t length = wire_message_encode(&action->message, bytes, bound);
    struct script_packet *packet = calloc(1, sizeof *packet);
    packet->from_node = from;
    packet->to_node = to;
    if (length == 0 || script.packet_count == PENDING_MAX ||
        !wire_message_decode(bytes, length, &packet->arena, &packet->message)) {
        fprintf(stderr, "scenario: message %s cannot be carried\n", wire_type_name(action->message.type));
        exit(2);
    }
    free(bytes);
    script.packets[script.packet_count++] = packet;
}

static bool may_arrive(const struct script_packet *packet) {
    return script.nodes[packet->from_node].linked && script.nodes[packet->to_node].linked &&
           !script.nodes[packet->to_node].frozen;
}

static struct script_packet *take_packet(uint32_t index) {
    struct script_packet *packet = script.packets[index];
    memmove(&script.packets[index], &script.packets[index + 1],
            (--script.packet_count - index) * sizeof script.packets[0]);
    return packet;
}

static void free_packet(struct script_packet *packet) {
    wire_arena_fini(&packet->arena);
    free(packet);
}

uint32_t script_leader(void) {
    uint32_t found = WIRE_NONE;
    for (uint32_t i = 0; i < script.node_count; i++) {
        const struct script_node *node = &script.nodes[i];
        bool leads = node->on && node->core != NULL && core_is_leader(node->core);
        if (leads && (found == WIRE_NONE || node->id > script.nodes[found].id)) {
            found = i;
        }
    }
    return found == WIRE_NONE ? 0 : found;
}

/* Whoever seeks its leader finds it as soon as that one leads and can be reached. */
static bool connect_seekers(void) {
    for (uint32_t i = 0; i < script.node_count; i++) {
        struct script_node *node = &script.nodes[i];
        if (!node->on || !node->seeks || node->frozen || !node->linked) {
            continue;
        }
        struct script_node *leader = &script.nodes[script_node_of(core_leader(node->core))];
        if (leader->on && leader->linked && !leader->frozen && leader->core != NULL && core_is_leader(leader->core)) {
            node->seeks = false;
            script_handle(i, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = leader->id });
            script_handle((uint32_t)(leader - script.nodes),
                          (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = node->id });
            return true;
        }
    }
    return false;
}

static void deliver_packets(void) {
    for (uint32_t i = 0; i < script.packet_count;) {
        if (!may_arrive(script.packets[i])) {
            i++;
            continue;
        }
        struct script_packet *packet = take_packet(i);
        script_handle(packet->to_node, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &packet->message });
        free_packet(packet);
        i = 0;
    }
}

void script_drop_packets(uint32_t node) {
    for (uint32_t i = 0; i < script.packet_count;) {
        if (script.packets[i]->from_node == node || script.packets[i]->to_node == node) {
            free_packet(take_packet(i));
        } else {
            i++;
        }
    }
}

void script_deliver(void) {
    do {
        deliver_packets();
    } while (connect_seekers());
}

static bool ticks(uint32_t node) {
    return script.nodes[node].on && !script.nodes[node].frozen && script.nodes[node].core != NULL;
}

void script_advance(uint64_t until_ns) {
    script_deliver();
    for (;;) {
        uint64_t next = until_ns;
        for (uint32_t i = 0; i < script.node_count; i++) {
            uint64_t deadline = ticks(i) ? core_next_deadline(script.nodes[i].core) : UINT64_MAX;
            next = deadline < next ? deadline : next;
        }
        script.now_ns = next > script.now_ns ? next : script.now_ns;
        if (script.now_ns >= until_ns) {
            script.now_ns = until_ns;
            return;
        }
        for (uint32_t i = 0; i < script.node_count; i++) {
            if (ticks(i) && core_next_deadline(script.nodes[i].core) <= script.now_ns) {
                script_handle(i, (struct core_event){ .type = CORE_EVENT_TICK });
            }
        }
        script_deliver();
    }
}

uint32_t script_node_of(uint32_t helper) {
    return wire_helper_node(helper, script.node_count, script.first_node);
}

struct core *script_new_core(uint32_t self, uint32_t node) {
    static struct wire_member members[NODES_MAX];
    for (uint32_t i = 0; i < script.node_count; i++) {
        members[i] = (struct wire_member){ .id = i == node ? self : script.nodes[i].id,
                                           .node = i,
                                           .slot_count = script.slot_count };
    }
    script.config.self = self;
    script.config.leader = self < script.node_count ? 0 : script.nodes[script_leader()].id;
    script.config.members = members;
    struct core *core = NULL;
    if (core_create(&core, &script.config) != CORE_OK) {
        fprintf(stderr, "scenario: core_create failed\n");
        exit(2);
    }
    return core;
}

static uint64_t value(const char *line, const char *key, uint64_t otherwise) {
    const char *found = strstr(line, key);
    return found != NULL ? strtoull(found + strlen(key), NULL, 10) : otherwise;
}

void script_make_world(const char *line) {
    script.uses_library = strstr(line, "library=no") == NULL;
    uint32_t active = (uint32_t)value(line, "nodes=", 2);
    script.spare_count = (uint32_t)value(line, "spares=", 0);
    script.slot_count = (uint32_t)value(line, "slots=", 1);
    script.node_count = active + script.spare_count;
    script.first_node = (uint32_t)value(line, "leads=", 0);
    script.config = (struct core_config){ .member_count = script.node_count,
                                          .active_nodes = active,
                                          .park = strstr(line, "park=cold")   ? CORE_PARK_COLD
                                                  : strstr(line, "park=warm") ? CORE_PARK_WARM
                                                                              : CORE_PARK_AUTO,
                                          .heartbeat_ns = 100 * NS_PER_MS,
                                          .dead_after_ns = 500 * NS_PER_MS,
                                          .grace_ns = 10000 * NS_PER_MS,
                                          .respawn_max = (uint32_t)value(line, "respawn=", 3),
                                          .restart_max = (uint32_t)value(line, "restarts=", 10),
                                          .kill_on_bad_exit = value(line, "bad-exit=", 0) != 0,
                                          .wait_ns = value(line, "wait=", 0) * NS_PER_MS,
                                          .seed = 1 };
    for (uint32_t i = 0; i < script.node_count; i++) {
        uint32_t id = wire_helper_id(i, script.node_count, script.first_node);
        script.nodes[i] = (struct script_node){ .id = id, .on = true, .linked = true };
    }
    for (uint32_t i = 0; i < script.node_count; i++) {
        script.nodes[i].core = script_new_core(script.nodes[i].id, i);
    }
}

void script_connect(uint32_t node) {
    uint32_t leader = script_leader();
    script_handle(node, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = script.nodes[leader].id });
    script_handle(leader, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = script.nodes[node].id });
    script_deliver();
}

void script_forget(void) {
    for (uint32_t i = 0; i < script.node_count; i++) {
        core_destroy(script.nodes[i].core);
    }
    while (script.packet_count > 0) {
        free_packet(take_packet(0));
    }
    memset(script.nodes, 0, sizeof script.nodes);
    memset(script.load_step, 0, sizeof script.load_step);
    script.node_count = 0;
    script.now_ns = SCRIPT_BOOT_NS;
    script.hold_starts = script.hold_pulls = script.hold_reloads = false;
    script.odd_layout_rank = WIRE_NONE - 1;
}
