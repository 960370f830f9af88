/*
 * How a helper comes to the leader: JOIN, with what a leader that is new to it has to hear first; and at the leader,
 * who is taken, who is a successor, and how the others learn of it (WELCOME, ROSTER).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

void join_when_ready(struct shell *shell) {
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
    result_tell_leader(shell);
    farewell_tell_leader(shell);
    pulls_send_address(shell);
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        tables_send(shell, &shell->slots[i]);
    }
    tables_ask_again(shell);
    gather_say_again(shell);
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = core_leader(shell->core) });
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
    peers_stamp(shell, &message);
    peers_send(shell, peer, &message);
    free(members);
    return true;
}

void join_welcome(struct shell *shell, uint32_t id) {
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

void join_refuse(struct shell *shell, const char *text) {
    struct wire_message refuse = { .type = WIRE_REFUSE };
    peers_stamp(shell, &refuse);
    snprintf(refuse.end.text, sizeof(refuse.end.text), "%s", text ? text : "");
    if (shell->joining != NULL) {
        peers_send(shell, shell->joining, &refuse);
        net_close(shell->joining);
    }
}

void join_on_join(struct shell *shell, struct net_peer *peer, const struct wire_message *message) {
    const struct wire_hello *hello = &message->hello;
    if (message->type != WIRE_JOIN || shell->core == NULL || !core_is_leader(shell->core) ||
        hello->node >= shell->node_count || hello->node_count != shell->node_count ||
        hello->node == shell->launch.node || strcmp(hello->version, PACKAGE_VERSION) != 0) {
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
        peers_stamp(shell, &evicted);
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

void join_on_welcome(struct shell *shell, const struct wire_message *message) {
    if (shell->core != NULL || !rollcall_take_roster(shell, &message->roster)) {
        return;
    }
    plane_open(shell->plane); /* a successor is not in a launch's way, and may be needed at any moment */
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = core_leader(shell->core) });
}

void join_on_roster(struct shell *shell, const struct wire_roster *roster) {
    for (uint32_t i = 0; i < roster->member_count && i < shell->node_count; i++) {
        struct node *node = &shell->nodes[i];
        if (roster->members[i].node == i && roster->members[i].id > node->member.id) {
            node->member.id = roster->members[i].id;
            node->member.port = roster->members[i].port;
        }
    }
}
