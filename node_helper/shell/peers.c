/*
 * Connections between helpers: a star around the leader. Turns frames into the core's events, or hands them to the part
 * of the shell that they are for. Knows which connection is whose, nothing of what is said.
 */
#include <stdio.h>
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

static void stamp(struct shell *shell, struct wire_message *message) {
    message->from = shell->nodes[shell->launch.node].member.id;
    message->epoch = core_epoch(shell->core);
}

void peers_send_up(struct shell *shell, struct wire_message *message) {
    stamp(shell, message);
    if (shell->leader_is_up) {
        peers_send(shell, shell->leader, message);
    }
}

void peers_send_down(struct shell *shell, struct wire_message *message) {
    stamp(shell, message);
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
    if (gather_is_waiting(shell)) {
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_UNSETTLED });
    }
}

/* Also when the last keeper of a successor has come. */
void rollcall_join_when_ready(struct shell *shell) {
    if (!shell->leader_is_up || (shell->core == NULL && shell->keepers_up < shell->slot_count)) {
        return;
    }
    bool is_successor = shell->core == NULL;
    struct wire_message join = { .type = WIRE_JOIN,
                                 .from = shell->nodes[shell->launch.node].member.id,
                                 .hello = shell->join_hello };
    join.hello.predecessor = is_successor ? join.from : WIRE_NONE;
    peers_send(shell, shell->leader, &join);
    if (is_successor) {
        return; /* until WELCOME */
    }
    if (shell->leader_is_new && gather_is_waiting(shell)) {
        peers_send_up(shell, &(struct wire_message){ .type = WIRE_UNSETTLED });
    }
    pulls_send_address(shell);
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        tables_send(shell, &shell->slots[i]);
    }
    tables_ask_again(shell);
    gather_say_again(shell);
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = core_leader(shell->core) });
}

static void on_open(void *arg, struct net_peer *peer) {
    struct shell *shell = arg;
    if (peer == shell->launcher) {
        rollcall_on_open(shell);
    } else if (peer == shell->leader) {
        shell->leader_is_up = true;
        shell->reconnect_ms = RECONNECT_MS_MIN;
        rollcall_join_when_ready(shell);
    }
}

/* All members as they are now; false: no memory. */
static bool send_members(struct shell *shell, struct net_peer *peer, enum wire_type type, uint32_t your_id) {
    struct wire_member *members = calloc(shell->node_count, sizeof(*members));
    if (members == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < shell->node_count; i++) {
        members[i] = shell->nodes[i].member;
    }
    struct wire_message message = { .type = type,
                                    .roster = { .your_id = your_id,
                                                .member_count = shell->node_count,
                                                .members = members,
                                                .active_nodes = shell->active_nodes,
                                                .leader = core_leader(shell->core) } };
    stamp(shell, &message);
    peers_send(shell, peer, &message);
    free(members);
    return true;
}

void peers_welcome(struct shell *shell, uint32_t id) {
    uint32_t index = shell_node_of(shell, id);
    struct node *node = &shell->nodes[index];
    if (shell->joining == NULL) {
        return;
    }
    node->member.id = id;
    node->member.port = shell->join_hello.port;
    node->fabric_helper = WIRE_NONE;
    if (node->peer != NULL && node->peer != shell->joining) {
        net_close(node->peer);
    }
    node->peer = shell->joining;
    net_set_user(node->peer, (void *)(uintptr_t)(index + 1u));
    net_set_frame_max(node->peer, WIRE_FRAME_BYTES_MAX);
    if (send_members(shell, node->peer, WIRE_WELCOME, id)) {
        pulls_send_known(shell, node->peer);
    }
    for (uint32_t i = 0; i < shell->node_count; i++) { /* the others must be able to find it */
        if (i != index && shell->nodes[i].peer != NULL) {
            (void)send_members(shell, shell->nodes[i].peer, WIRE_ROSTER, id);
        }
    }
}

void peers_refuse(struct shell *shell, const char *text) {
    struct wire_message refuse = { .type = WIRE_REFUSE };
    stamp(shell, &refuse);
    snprintf(refuse.end.text, sizeof(refuse.end.text), "%s", text ? text : "");
    if (shell->joining != NULL) {
        peers_send(shell, shell->joining, &refuse);
        net_close(shell->joining);
    }
}

/* First message of a connection to the leader. */
static void on_join(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    const struct wire_hello *hello = &message->hello;
    if (message->type != WIRE_JOIN || !leads(shell) || hello->node >= shell->node_count ||
        hello->node_count != shell->node_count || hello->node == shell->launch.node ||
        strcmp(hello->version, PACKAGE_VERSION) != 0) {
        net_close(peer);
        return;
    }
    struct node *node = &shell->nodes[hello->node];
    if (hello->predecessor != WIRE_NONE) {
        shell->joining = peer;
        shell->join_hello = *hello;
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_SUCCESSOR,
                                                 .peer = hello->predecessor,
                                                 .node = hello->node,
                                                 .slot_count = hello->slot_count });
        shell->joining = NULL;
        return;
    }
    if (message->from > node->member.id) { /* it was welcomed by a leader before us */
        node->member.id = message->from;
        node->member.port = hello->port;
    }
    if (message->from != node->member.id) {
        /* A helper that has a successor already. */
        struct wire_message evicted = { .type = WIRE_EVICTED };
        stamp(shell, &evicted);
        peers_send(shell, peer, &evicted);
        net_close(peer);
        return;
    }
    if (node->peer != NULL) {
        net_close(node->peer);
    }
    node->peer = peer;
    net_set_user(peer, (void *)(uintptr_t)(hello->node + 1u));
    net_set_frame_max(peer, WIRE_FRAME_BYTES_MAX);
    for (uint32_t i = 0; i < shell->node_count; i++) {
        if (shell->nodes[i].member.id >= shell->node_count) { /* there are successors: it may not have heard of them */
            (void)send_members(shell, peer, WIRE_ROSTER, message->from);
            break;
        }
    }
    pulls_send_known(shell, peer);
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = message->from });
}

static void on_welcome(struct shell *shell, const struct wire_message *message) {
    if (shell->core != NULL || !rollcall_take_roster(shell, &message->roster)) {
        return;
    }
    plane_open(shell->plane); /* a successor is not in a launch's way, and may be needed at any moment */
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = core_leader(shell->core) });
}

/* The leader has welcomed somebody. */
static void on_roster(struct shell *shell, const struct wire_roster *roster) {
    for (uint32_t i = 0; i < roster->member_count && i < shell->node_count; i++) {
        struct node *node = &shell->nodes[i];
        if (roster->members[i].node == i && roster->members[i].id > node->member.id) {
            node->member.id = roster->members[i].id;
            node->member.port = roster->members[i].port;
        }
    }
}

static void dispatch(struct shell *shell, const struct wire_message *message) {
    switch (message->type) {
    case WIRE_ROSTER:
        on_roster(shell, &message->roster);
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
    case WIRE_UNSETTLED:
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_UNSETTLED });
        return;
    case WIRE_ARRIVED:
        tables_on_arrived(shell, message->arrived.rank, message->arrived.has_state);
        break;
    case WIRE_COMMITTED:
        tables_on_committed(shell, message->rank_step.rank);
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
        on_welcome(shell, message);
    } else if (message->type == WIRE_REFUSE) {
        shell_abandon(shell, message->end.text);
    } else if (shell->core != NULL) {
        dispatch(shell, message);
    }
}

static void on_first(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    if (shell->core == NULL || !visits_on_first(shell, peer, message)) {
        on_join(shell, peer, message);
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
    enum net_result result = net_create(&shell->net, shell->base, shell->launch.secret, &callbacks, shell);
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
