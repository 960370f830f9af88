/*
 * The roll call's table; see rollcall.h. Everybody here has shown the secret, so a HELLO that does not fit is not an
 * attack but a mixed installation: it ends the launch with a line that names the node, instead of a timeout.
 */
#include "step_launcher/rollcall.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "node_helper/net/net.h"
#include "node_helper/wire/wire_helper.h"
#include "step_launcher/hostlist.h"

#define LEADERS_NODES_MIN 3u /* of two nodes the second cannot know whether it is the last */
#define NAMED_MAX 8u         /* missing nodes that are named; of the others the count is given */

static const char *name_of(const struct wire_hello *hello) {
    return hello->host[0] != '\0' ? hello->host : "a node without a name";
}

/* True: with this one the step cannot come together; ret_why says why. */
static bool find_misfit(const struct rollcall *rollcall, const struct wire_hello *hello, char *ret_why,
                        size_t capacity) {
    const char *host = name_of(hello);

    if (strcmp(hello->version, PACKAGE_VERSION) != 0) {
        snprintf(ret_why, capacity, "%s has ckptless %s, the host of srun %s: all need the same", host, hello->version,
                 PACKAGE_VERSION);
    } else if (hello->node >= hello->node_count || hello->spare_nodes >= hello->node_count) {
        snprintf(ret_why, capacity, "%s reports as node %u of %u with %u spares: this cannot be", host, hello->node,
                 hello->node_count, hello->spare_nodes);
    } else if (rollcall->node_count != 0 &&
               (hello->node_count != rollcall->node_count || hello->spare_nodes != rollcall->spare_nodes)) {
        snprintf(ret_why, capacity, "%s knows of %u nodes and %u spares, the others of %u and %u", host,
                 hello->node_count, hello->spare_nodes, rollcall->node_count, rollcall->spare_nodes);
    } else {
        return false;
    }
    return true;
}

static bool make_table(struct rollcall *rollcall, const struct wire_hello *hello) {
    if (rollcall->nodes == NULL) {
        rollcall->nodes = calloc(hello->node_count, sizeof(*rollcall->nodes));
        rollcall->node_count = rollcall->nodes == NULL ? 0 : hello->node_count;
        rollcall->spare_nodes = hello->spare_nodes;
    }
    return rollcall->nodes != NULL;
}

uint32_t rollcall_first_leader(const struct rollcall *rollcall) {
    bool on_spare = rollcall->spare_nodes > 0 && rollcall->node_count >= LEADERS_NODES_MIN;
    return on_spare ? rollcall->node_count - 1 : 0;
}

/* The roster is fixed: it is asked for again, or a successor asks. */
static enum rollcall_verdict accept_late(const struct rollcall *rollcall, struct rollcall_node *node,
                                         const struct wire_hello *hello, char *ret_why, size_t why_capacity) {
    if (hello->predecessor != WIRE_NONE && hello->node == 0 && rollcall->node_count < LEADERS_NODES_MIN) {
        snprintf(ret_why, why_capacity, "the helper of %s has died, and nobody else can lead", name_of(hello));
        return ROLLCALL_LEADER_DIED;
    }
    if (hello->predecessor != WIRE_NONE) {
        node->hello.port = hello->port; /* that of the node's helper from now on */
    } else if (hello->port != node->hello.port) {
        snprintf(ret_why, why_capacity, "node %u (%s) has reported before; the step has begun", hello->node,
                 name_of(hello));
        return ROLLCALL_REFUSED;
    }
    return ROLLCALL_ROSTER;
}

enum rollcall_verdict rollcall_accept(struct rollcall *rollcall, const struct wire_hello *hello, struct net_peer *peer,
                                      struct rollcall_node **ret_node, struct net_peer **ret_replaced, char *ret_why,
                                      size_t why_capacity) {
    enum rollcall_verdict verdict = ROLLCALL_TAKEN;

    if (find_misfit(rollcall, hello, ret_why, why_capacity)) {
        return rollcall->is_complete ? ROLLCALL_REFUSED : ROLLCALL_MISFIT;
    }
    if (!make_table(rollcall, hello)) {
        snprintf(ret_why, why_capacity, "out of memory for %u nodes", hello->node_count);
        return ROLLCALL_MISFIT;
    }
    struct rollcall_node *node = &rollcall->nodes[hello->node];
    if (rollcall->is_complete) {
        verdict = accept_late(rollcall, node, hello, ret_why, why_capacity);
        if (verdict != ROLLCALL_ROSTER) {
            return verdict;
        }
    } else if (hello->predecessor != WIRE_NONE && hello->node == rollcall_first_leader(rollcall)) {
        snprintf(ret_why, why_capacity, "the helper of %s has died during the launch", name_of(hello));
        return ROLLCALL_MISFIT;
    } else if (node->peer != NULL && hello->predecessor == WIRE_NONE && hello->port != node->hello.port) {
        snprintf(ret_why, why_capacity, "node %u has reported already, as %s", hello->node, name_of(&node->hello));
        return ROLLCALL_REFUSED;
    }
    *ret_replaced = node->peer != peer ? node->peer : NULL;
    *ret_node = node;
    rollcall->reported_count += node->has_reported ? 0 : 1;
    node->has_reported = true;
    node->peer = peer;
    if (!rollcall->is_complete) {
        node->hello = *hello;
        net_peer_address(peer, node->address, sizeof(node->address));
    }
    return verdict;
}

void rollcall_forget(struct rollcall *rollcall, struct rollcall_node *node) {
    node->peer = NULL;
    if (!rollcall->is_complete && node->has_reported) {
        node->has_reported = false;
        rollcall->reported_count--;
    }
}

bool rollcall_is_full(const struct rollcall *rollcall) {
    return rollcall->node_count > 0 && rollcall->reported_count == rollcall->node_count;
}

bool rollcall_is_even(const struct rollcall *rollcall, char *ret_why, size_t why_capacity) {
    const struct rollcall_node *nodes = rollcall->nodes;
    for (uint32_t i = 1; rollcall->spare_nodes > 0 && i < rollcall->node_count; i++) {
        if (nodes[i].hello.slot_count != nodes[0].hello.slot_count) {
            snprintf(
                ret_why, why_capacity,
                "%s holds %u ranks but %s %u: with spares each node needs the same number; allocate the nodes with "
                "--ntasks-per-node",
                name_of(&nodes[0].hello), nodes[0].hello.slot_count, name_of(&nodes[i].hello),
                nodes[i].hello.slot_count);
            return false;
        }
    }
    return true;
}

/* It had reported and its connection closed: its own word. Else the job's list of nodes in srun's environment, where
 * the step has all of the job's nodes; a smaller step, or one laid out by hand, could be named wrongly. */
static void name_missing(const struct rollcall *rollcall, uint32_t index, char *ret_name, size_t capacity) {
    const char *own = rollcall->nodes[index].hello.host, *list = getenv("SLURM_JOB_NODELIST");
    const char *distribution = getenv("SLURM_DISTRIBUTION");
    bool by_hand = getenv("SLURM_HOSTFILE") != NULL || (distribution && strncmp(distribution, "arbitrary", 9) == 0);

    list = list ? list : getenv("SLURM_NODELIST");
    if (own[0] != '\0') {
        snprintf(ret_name, capacity, "%s", own);
    } else if (list == NULL || by_hand || !hostlist_name(list, rollcall->node_count, index, ret_name, capacity)) {
        snprintf(ret_name, capacity, "node %u", index);
    }
}

void rollcall_name_missing(const struct rollcall *rollcall, char *ret_text, size_t capacity) {
    uint32_t missing = rollcall->node_count - rollcall->reported_count, named = 0;

    if (rollcall->node_count == 0) {
        snprintf(ret_text, capacity, "no node has");
        return;
    }
    size_t used = (size_t)snprintf(ret_text, capacity, "%u of %u nodes (", missing, rollcall->node_count);
    for (uint32_t i = 0; i < rollcall->node_count && named < NAMED_MAX && used < capacity; i++) {
        const struct rollcall_node *node = &rollcall->nodes[i];
        if (node->has_reported) {
            continue;
        }
        char name[WIRE_NAME_BYTES];
        name_missing(rollcall, i, name, sizeof(name));
        used += (size_t)snprintf(ret_text + used, capacity - used, "%s%.64s", named++ ? ", " : "", name);
    }
    if (used < capacity && missing > named) {
        used += (size_t)snprintf(ret_text + used, capacity - used, " and %u more", missing - named);
    }
    if (used < capacity) {
        snprintf(ret_text + used, capacity - used, ") %s", missing == 1 ? "has not" : "have not");
    }
}

static bool is_loopback(const char *address) {
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* A helper on srun's own host may have come over loopback, where the others cannot reach it: its host's name has an
 * address that they can. */
static void replace_loopback(struct wire_member *member) {
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char address[sizeof(member->address)];

    if (getaddrinfo(member->host, NULL, &hints, &list) != 0) {
        return;
    }
    for (const struct addrinfo *item = list; item != NULL; item = item->ai_next) {
        if (getnameinfo(item->ai_addr, item->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0 &&
            !is_loopback(address)) {
            memcpy(member->address, address, sizeof(address));
            break;
        }
    }
    freeaddrinfo(list);
}

struct wire_member *rollcall_members(const struct rollcall *rollcall) {
    struct wire_member *members = calloc(rollcall->node_count, sizeof(*members));
    uint32_t loopback_count = 0;

    for (uint32_t i = 0; members != NULL && i < rollcall->node_count; i++) {
        const struct rollcall_node *node = &rollcall->nodes[i];
        members[i].id = wire_helper_id(i, rollcall->node_count, rollcall_first_leader(rollcall));
        members[i].node = i;
        members[i].slot_count = node->hello.slot_count;
        members[i].port = node->hello.port;
        memcpy(members[i].host, node->hello.host, sizeof(members[i].host));
        memcpy(members[i].address, node->address, sizeof(members[i].address));
        loopback_count += is_loopback(node->address) ? 1 : 0;
    }
    for (uint32_t i = 0; members != NULL && loopback_count < rollcall->node_count && i < rollcall->node_count; i++) {
        if (is_loopback(members[i].address)) {
            replace_loopback(&members[i]);
        }
    }
    return members;
}

void rollcall_fini(struct rollcall *rollcall) {
    free(rollcall->nodes);
    rollcall->nodes = NULL;
}
