/*
 * Connections between helpers that do not lead each other: made when views are agreed on, for that and nothing else.
 * Who makes one says first who it is (VISIT); both ends may then say what belongs to an agreement. They are closed when
 * another leader is known.
 */
#include "node_helper/shell/shell.h"

static bool is_about_views(enum wire_type type) {
    return (type >= WIRE_VIEW_PREPARE && type <= WIRE_VIEW_DECIDED) || type == WIRE_END || type == WIRE_EVICTED ||
           type == WIRE_DEAD;
}

static bool begin(struct shell *shell, struct node *node) {
    struct wire_message visit = { .type = WIRE_VISIT,
                                  .from = shell->nodes[shell->launch.node].member.id,
                                  .hello = shell->join_hello };
    enum net_result result = net_connect(shell->net, node->member.address, node->member.port, &node->visit);
    if (result != NET_OK) {
        node->visit = NULL;
        log_line("visit to %s: %s", node->member.address, net_strerror(result));
        return false;
    }
    net_set_frame_max(node->visit, WIRE_FRAME_BYTES_MAX);
    peers_send(shell, node->visit, &visit);
    return true;
}

void visits_send(struct shell *shell, uint32_t id, const struct wire_message *message) {
    struct node *node = &shell->nodes[shell_node_of(shell, id)];
    if (!is_about_views(message->type) || node->member.id != id || shell->is_leaving) {
        return;
    }
    struct net_peer *peer = node->visit != NULL ? node->visit : node->visitor;
    if (peer == NULL && begin(shell, node)) {
        peer = node->visit;
    }
    if (peer != NULL) {
        peers_send(shell, peer, message);
    }
}

bool visits_on_first(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    uint32_t index = message->hello.node;
    if (message->type != WIRE_VISIT || index >= shell->node_count || message->from != shell->nodes[index].member.id) {
        return false;
    }
    struct node *node = &shell->nodes[index];
    if (node->visitor != NULL) {
        net_close(node->visitor);
    }
    node->visitor = peer;
    net_set_user(peer, (void *)(uintptr_t)(index + 1u));
    net_set_frame_max(peer, WIRE_FRAME_BYTES_MAX);
    return true;
}

/* The node whose visit, either way, this is; NULL: none. */
static struct node *find(struct shell *shell, const struct net_peer *peer) {
    for (uint32_t i = 0; i < shell->node_count; i++) {
        if (shell->nodes[i].visit == peer || shell->nodes[i].visitor == peer) {
            return &shell->nodes[i];
        }
    }
    return NULL;
}

bool visits_on_frame(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    const struct node *node = find(shell, peer);
    if (node == NULL) {
        return false;
    }
    if (message->from == node->member.id && is_about_views(message->type)) {
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_MESSAGE, .message = message });
    }
    return true;
}

bool visits_on_close(struct shell *shell, struct net_peer *peer) {
    struct node *node = find(shell, peer);
    if (node == NULL) {
        return false;
    }
    node->visit = node->visit == peer ? NULL : node->visit;
    node->visitor = node->visitor == peer ? NULL : node->visitor;
    return true;
}

bool visits_any(const struct shell *shell) {
    for (uint32_t i = 0; shell->nodes != NULL && i < shell->node_count; i++) {
        if (shell->nodes[i].visit != NULL || shell->nodes[i].visitor != NULL) {
            return true;
        }
    }
    return false;
}

void visits_close(struct shell *shell) {
    for (uint32_t i = 0; shell->nodes != NULL && i < shell->node_count; i++) {
        if (shell->nodes[i].visit != NULL) {
            net_close(shell->nodes[i].visit);
            shell->nodes[i].visit = NULL; /* what still comes over it is of no interest */
        }
    }
}
