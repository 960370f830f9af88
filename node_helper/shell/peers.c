/*
 * Connections between helpers: a star around the leader. Turns frames into the core's events, or hands them to the part
 * of the shell that they are for. Knows which connection is whose, nothing of what is said.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

#define RECONNECT_MS_MIN 5
#define RECONNECT_MS_MAX 500

/* net_user() of a connection: 0 unknown (nothing said yet), else node index + 1. */
static uint32_t peer_node(const struct net_peer *peer) {
    return (uint32_t)(uintptr_t)net_user(peer) - 1u;
}

static bool leads(const struct shell *shell) {
    return shell->core != NULL && core_is_leader(shell->core);
}

void peers_send(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    size_t bound = wire_message_bound(message);
    uint8_t *bytes = malloc(bound + 1);
    size_t count = bytes ? wire_message_encode(message, bytes, bound + 1) : 0;
    if (count > 0) {
        net_send(peer, bytes, count);
    } else {
        log_line("message %s cannot be encoded", wire_type_name(message->type));
    }
    free(bytes);
    (void)shell;
}

void peers_send_id(struct shell *shell, uint32_t id, const struct wire_message *message) {
    const struct node *node = &shell->nodes[shell_node_of(shell, id)];
    struct net_peer *peer = leads(shell) && node->member.id == id           ? node->peer
                            : shell->leader_is_up && shell->leader_id == id ? shell->leader
                                                                            : NULL;
    if (log_enabled() && message->type != WIRE_HEARTBEAT && message->type != WIRE_HEARTBEAT_ACK) {
        log_line("-> %u %s%s", id, wire_type_name(message->type), peer ? "" : " (not connected)");
    }
    if (peer != NULL) {
        peers_send(shell, peer, message);
    } else {
        visits_send(shell, id, message);
    }
}

void peers_stamp(struct shell *shell, struct wire_message *message) {
    message->from = shell->nodes[shell->launch.node].member.id;
    message->epoch = core_epoch(shell->core);
}

void peers_send_up(struct shell *shell, struct wire_message *message) {
    peers_stamp(shell, message);
    if (shell->leader_is_up) {
        peers_send(shell, shell->leader, message);
    }
}

void peers_send_down(struct shell *shell, struct wire_message *message) {
    peers_stamp(shell, message);
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (shell->nodes[node].peer != NULL) {
            peers_send(shell, shell->nodes[node].peer, message);
        }
    }
}

void peers_connect_leader(struct shell *shell) {
    const struct wire_member *leader = &shell->nodes[shell_node_of(shell, shell->leader_id)].member;
    if (shell->leader != NULL || shell->is_over || leader->node == shell->launch.node) {
        return;
    }
    enum net_result result = net_connect(shell->net, leader->address, leader->port, &shell->leader);
    if (result != NET_OK) {
        shell->leader = NULL;
        log_line("leader %s: %s", leader->address, net_strerror(result));
        shell_timer_ms(shell->reconnect, RECONNECT_MS_MAX);
        return;
    }
    net_set_frame_max(shell->leader, WIRE_FRAME_BYTES_MAX);
}

void peers_follow(struct shell *shell, uint32_t leader) {
    struct net_peer *former = shell->leader;
    log_line("helper %u leads", leader);
    shell->leader = NULL;
    shell->leader_is_up = shell->leader_answers = false;
    shell->leader_id = leader;
    shell->reconnect_ms = RECONNECT_MS_MIN;
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        shell->slots[i].table_sent = false;
    }
    if (former != NULL) {
        net_close(former);
    }
    visits_close(shell);
    shell->leader_is_new = true;
    if (leader != shell->nodes[shell->launch.node].member.id) {
        peers_connect_leader(shell);
        return;
    }
    rollcall_lead(shell);
    gather_lead(shell);
    tables_lead(shell);
    shrink_lead(shell);
    if (gather_is_waiting(shell)) {
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_UNSETTLED });
    }
}

static void on_open(void *arg, struct net_peer *peer) {
    struct shell *shell = arg;
    if (peer == shell->launcher) {
        rollcall_on_open(shell);
    } else if (peer == shell->leader) {
        shell->leader_is_up = true;
        shell->reconnect_ms = RECONNECT_MS_MIN;
        join_when_ready(shell);
    }
}

static void dispatch(struct shell *shell, const struct wire_message *message) {
    switch (message->type) {
    case WIRE_ROSTER:
        join_on_roster(shell, &message->roster);
        return;
    case WIRE_TABLE:
        tables_on_table(shell, message);
        return;
    case WIRE_REGION_QUERY:
        tables_on_query(shell, message);
        return;
    case WIRE_REGION_ANSWER:
        tables_on_answer(shell, message);
        return;
    case WIRE_ADDRESS:
        pulls_on_address(shell, message);
        return;
    case WIRE_GATHER:
        gather_on_part(shell, message);
        return;
    case WIRE_GATHERED:
        gather_on_answer(shell, message);
        return;
    case WIRE_REPORT:
        rollcall_forward(shell, &message->report);
        return;
    case WIRE_USAGE:
        if (message->epoch == core_epoch(shell->core)) {
            usage_add(shell, &message->usage);
        }
        return;
    case WIRE_ENDED:
        if (core_is_leader(shell->core)) {
            farewell_on_ended(shell, shell_node_of(shell, message->from));
        }
        return;
    case WIRE_OTHERWISE:
        shell->task_ended_otherwise = true;
        return;
    case WIRE_UNSETTLED:
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_UNSETTLED });
        return;
    case WIRE_ARRIVED:
        for (uint32_t i = 0; i < message->arrivals.count; i++) {
            tables_on_arrived(shell, message->arrivals.list[i].rank, message->arrivals.list[i].has_state);
        }
        break;
    case WIRE_COMMITTED:
        for (uint32_t i = 0; i < message->commits.count; i++) {
            tables_on_committed(shell, message->commits.list[i].rank);
        }
        break;
    default:
        break;
    }
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_MESSAGE, .message = message });
}

static void on_leaders(struct shell *shell, const struct wire_message *message) {
    if (!shell->leader_answers && shell->core != NULL) {
        shell->leader_answers = true;
        shell->leader_is_new = false;
        rollcall_say_unsaid(shell);
    }
    if (message->type == WIRE_WELCOME) {
        join_on_welcome(shell, message);
    } else if (message->type == WIRE_REFUSE) {
        shell_abandon(shell, message->end.text);
    } else if (shell->core != NULL) {
        dispatch(shell, message);
    }
}

static void on_first(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    if (shell->core == NULL || !visits_on_first(shell, peer, message)) {
        join_on_join(shell, peer, message);
    }
}

static void on_frame(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes) {
    struct shell *shell = arg;
    struct wire_message message;
    if (!wire_message_decode(body, bytes, &shell->arena, &message)) {
        log_line("a message that is not understood");
        net_close(peer);
        return;
    }
    if (log_enabled() && message.type != WIRE_HEARTBEAT && message.type != WIRE_HEARTBEAT_ACK) {
        log_line("<- %u %s", message.from, wire_type_name(message.type));
    }
    if (peer == shell->launcher) {
        rollcall_on_frame(shell, &message);
    } else if (peer == shell->leader) {
        on_leaders(shell, &message);
    } else if (net_user(peer) != NULL && shell->nodes[peer_node(peer)].peer == peer) {
        if (message.from == shell->nodes[peer_node(peer)].member.id) {
            dispatch(shell, &message);
        }
    } else if (!visits_on_frame(shell, peer, &message) && net_user(peer) == NULL) {
        on_first(shell, peer, &message);
    }
}

static void leader_closed(struct shell *shell) {
    shell->leader = NULL;
    shell->leader_is_up = shell->leader_answers = false;
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        shell->slots[i].table_sent = false;
    }
    if (shell->core != NULL) {
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = shell->leader_id });
    }
    if (!shell->is_over) {
        shell_timer_ms(shell->reconnect, shell->reconnect_ms);
        shell->reconnect_ms = shell->reconnect_ms * 2 < RECONNECT_MS_MAX ? shell->reconnect_ms * 2 : RECONNECT_MS_MAX;
    }
}

static void on_close(void *arg, struct net_peer *peer, const char *why) {
    struct shell *shell = arg;
    if (peer == shell->launcher) {
        rollcall_on_close(shell, why);
    } else if (peer == shell->leader) {
        log_line("leader: closed: %s", why);
        leader_closed(shell);
    } else if (visits_on_close(shell, peer)) {
        log_line("a visit ends: %s", why);
    } else if (net_user(peer) != NULL && shell->nodes[peer_node(peer)].peer == peer) {
        struct node *node = &shell->nodes[peer_node(peer)];
        log_line("helper %u: closed: %s", node->member.id, why);
        node->peer = NULL;
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = node->member.id });
    }
    if (shell->farewell != NULL && !peers_any_open(shell)) {
        shell_timer_ms(shell->farewell, 0);
    }
}

bool peers_any_open(const struct shell *shell) {
    bool any = shell->launcher != NULL || shell->leader != NULL;
    for (uint32_t node = 0; shell->nodes != NULL && !any && node < shell->node_count; node++) {
        any = shell->nodes[node].peer != NULL;
    }
    return any || visits_any(shell);
}

bool peers_close_all(struct shell *shell) {
    if (shell->launcher != NULL) {
        net_close(shell->launcher);
    }
    if (shell->leader != NULL) {
        net_close(shell->leader);
    }
    for (uint32_t node = 0; shell->nodes != NULL && node < shell->node_count; node++) {
        struct net_peer *ends[] = { shell->nodes[node].peer, shell->nodes[node].visit, shell->nodes[node].visitor };
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            if (ends[i] != NULL) {
                net_close(ends[i]);
            }
        }
    }
    return peers_any_open(shell);
}

bool peers_init(struct shell *shell) {
    static const struct net_callbacks callbacks = { .on_open = on_open, .on_frame = on_frame, .on_close = on_close };
    shell->reconnect_ms = RECONNECT_MS_MIN;
    enum net_result result = net_create(&shell->net, shell->base, shell->secret, &callbacks, shell);
    explicit_bzero(shell->secret, sizeof(shell->secret));
    if (result == NET_OK) {
        result = net_listen(shell->net, 0, 0, &shell->port);
    }
    if (result != NET_OK) {
        log_line("network: %s", net_strerror(result));
    }
    return result == NET_OK;
}

void peers_fini(struct shell *shell) {
    net_destroy(shell->net);
    if (shell->reconnect != NULL) {
        event_free(shell->reconnect);
    }
    if (shell->ping != NULL) {
        event_free(shell->ping);
    }
    wire_arena_fini(&shell->arena);
}
