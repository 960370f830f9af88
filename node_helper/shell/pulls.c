/*
 * Between the core's plan and the state plane: which process's memory may be read, who reads where, and the fabric
 * addresses of all helpers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

#define STALL_MS_MIN 500
#define OPEN_MS 500 /* after the first epoch: a step that is over by then needs no fabric */
#define ADDRESS_WAIT_MS                                                                                                \
    5000 /* for holders whose fabric is being opened; a helper that dies meanwhile is found by others */
#define ADDRESS_RETRY_MS 5

static void on_event(struct shell *shell, const struct plane_event *event) {
    log_line("plane: event %d: %s", (int)event->type, event->text);
    if (event->type == PLANE_EVENT_UNAVAILABLE) {
        char text[WIRE_TEXT_BYTES];
        snprintf(text, sizeof(text), "%.800s; its ranks cannot get state from other nodes, nor give it", event->text);
        rollcall_warn(shell, text);
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_OUT_OF_REACH });
        return;
    }
    if (event->type == PLANE_EVENT_READY) {
        pulls_send_address(shell);
        return;
    }
    for (uint32_t i = 0; event->pull_id != 0 && i < shell->slot_count; i++) {
        struct slot *slot = &shell->slots[i];
        bool failed = event->type == PLANE_EVENT_PULL_FAILED;
        if (slot->pull_id != event->pull_id || (!failed && event->type != PLANE_EVENT_PULLED)) {
            continue;
        }
        slot->pull_id = 0;
        if (failed && slots_is_ending(slot)) {
            return; /* nobody could have written into it */
        }
        shell_event(shell, &(struct core_event){ .type = failed ? CORE_EVENT_PULL_FAILED : CORE_EVENT_PULLED,
                                                 .slot = i,
                                                 .incarnation = slot->serial,
                                                 .bytes = event->bytes,
                                                 .text = failed ? event->text : NULL });
        return;
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    struct plane_event event;
    (void)fd;
    (void)what;
    while (plane_poll(shell->plane, &event)) {
        on_event(shell, &event);
    }
}

static void on_open(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    plane_open(shell->plane);
}

void pulls_open_soon(struct shell *shell) {
    if (!shell->plane_open_is_due) {
        shell->plane_open_is_due = true;
        shell_timer_ms(shell->plane_open, OPEN_MS);
    }
}

bool pulls_init(struct shell *shell) {
    if (plane_create(&shell->plane, shell->settings.interface) != PLANE_OK) {
        log_line("the state plane cannot be made");
        return false;
    }
    shell->plane_open = shell_event_new(shell, -1, 0, on_open, shell);
    shell->plane_ready = shell_event_new(shell, plane_fd(shell->plane), EV_READ | EV_PERSIST, on_ready, shell);
    return event_add(shell->plane_ready, NULL) == 0;
}

static void keep_address(struct shell *shell, const struct wire_address *address) {
    struct node *node = &shell->nodes[shell_node_of(shell, address->helper)];
    node->fabric_helper = address->helper;
    node->fabric_bytes = address->bytes;
    memcpy(node->fabric, address->address, address->bytes);
}

void pulls_send_address(struct shell *shell) {
    struct wire_message message = { .type = WIRE_ADDRESS };
    if (shell->core == NULL) {
        return;
    }
    message.address.helper = shell->nodes[shell->launch.node].member.id;
    message.address.bytes =
        (uint32_t)plane_address(shell->plane, message.address.address, sizeof(message.address.address));
    if (message.address.bytes == 0) {
        return;
    }
    keep_address(shell, &message.address);
    if (core_is_leader(shell->core)) {
        peers_send_down(shell, &message);
    } else {
        peers_send_up(shell, &message);
    }
}

void pulls_send_known(struct shell *shell, struct net_peer *peer) {
    for (uint32_t i = 0; i < shell->node_count; i++) {
        const struct node *node = &shell->nodes[i];
        if (node->fabric_helper != node->member.id) {
            continue;
        }
        struct wire_message message = { .type = WIRE_ADDRESS,
                                        .from = core_leader(shell->core),
                                        .epoch = core_epoch(shell->core),
                                        .address = { .helper = node->fabric_helper, .bytes = node->fabric_bytes } };
        memcpy(message.address.address, node->fabric, node->fabric_bytes);
        peers_send(shell, peer, &message);
    }
}

void pulls_on_address(struct shell *shell, const struct wire_message *message) {
    if (message->address.bytes > WIRE_FABRIC_ADDRESS_BYTES) {
        return;
    }
    keep_address(shell, &message->address);
    if (core_is_leader(shell->core)) {
        struct wire_message forward = *message;
        peers_send_down(shell, &forward);
    }
}

void pulls_serve(struct shell *shell, const struct core_action *action) {
    struct slot *slot = &shell->slots[action->slot];
    plane_open(shell->plane);
    if (slots_holder(slot) > 0 && plane_serve(shell->plane, action->token, action->rank, (uint32_t)slots_holder(slot),
                                              slot->table.regions, slot->table.count) != PLANE_OK) {
        log_line("rank %" PRIu32 " cannot be served", action->rank);
    }
}

void pulls_unserve(struct shell *shell) {
    plane_unserve(shell->plane);
}

/* A source on this node by its process, another by its helper's address; false: it cannot be reached now. */
static bool describe_source(const struct shell *shell, uint32_t rank, struct plane_source *ret_source) {
    struct core_seat_info seat = core_seat(shell->core, rank);
    const struct node *node = &shell->nodes[seat.node];
    *ret_source = (struct plane_source){ .rank = rank };
    if (seat.helper == shell->nodes[shell->launch.node].member.id) {
        const struct slot *slot = &shell->slots[seat.slot];
        ret_source->pid = (uint32_t)slots_holder(slot);
        ret_source->regions = slot->table.regions;
        ret_source->region_count = slot->table.count;
        return ret_source->pid > 0 && !slot->ended;
    }
    ret_source->address = node->fabric;
    ret_source->address_bytes = node->fabric_bytes;
    return node->fabric_helper == seat.helper;
}

/* False: no holder can be reached, now or at all. */
static bool try_pull(struct shell *shell, struct slot *slot) {
    const struct slot_pull *wanted = slot->pull;
    struct plane_source *sources = calloc(wanted->rank_count + 1u, sizeof(*sources));
    struct plane_pull pull = { .pull_id = ++shell->next_pull_id,
                               .pid = (uint32_t)slots_holder(slot),
                               .regions = slot->table.regions,
                               .region_count = slot->table.count,
                               .sources = sources,
                               .stall_ms = shell->settings.dead_after_ms > STALL_MS_MIN ? shell->settings.dead_after_ms
                                                                                        : STALL_MS_MIN };
    memcpy(pull.token, wanted->token, sizeof(pull.token));
    for (uint32_t i = 0; sources != NULL && i < wanted->rank_count; i++) {
        pull.source_count += describe_source(shell, wanted->ranks[i], &sources[pull.source_count]);
    }
    bool begun = sources != NULL && pull.source_count > 0 && plane_pull(shell->plane, &pull) == PLANE_OK;
    if (begun) {
        slot->pull_id = pull.pull_id;
        log_line("slot %u pulls step %" PRIu64 " from %u of %u holders", slots_index(shell, slot), wanted->step,
                 pull.source_count, wanted->rank_count);
    }
    free(sources);
    return begun;
}

static void fail_pull(struct shell *shell, struct slot *slot) {
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_PULL_FAILED,
                                             .slot = slots_index(shell, slot),
                                             .incarnation = slot->serial,
                                             .text = "no source can be reached" });
}

static void forget_pull(struct slot *slot) {
    if (slot->pull != NULL) {
        (void)event_del(slot->pull->retry);
        event_free(slot->pull->retry);
        free(slot->pull->ranks);
        free(slot->pull);
        slot->pull = NULL;
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg) {
    struct slot *slot = arg;
    struct shell *shell = slot->shell;
    (void)fd;
    (void)what;
    if (try_pull(shell, slot)) {
        forget_pull(slot);
    } else if (shell_now_ns() >= slot->pull->until_ns) {
        forget_pull(slot);
        fail_pull(shell, slot);
    } else {
        shell_timer_ms(slot->pull->retry, ADDRESS_RETRY_MS);
    }
}

/* NULL: no memory. */
static struct slot_pull *keep_pull(struct shell *shell, struct slot *slot, const struct core_action *action) {
    struct slot_pull *pull = calloc(1, sizeof(*pull));
    uint32_t *ranks = calloc(action->rank_count + 1u, sizeof(*ranks));
    if (pull == NULL || ranks == NULL) {
        free(pull);
        free(ranks);
        return NULL;
    }
    memcpy(ranks, action->ranks, action->rank_count * sizeof(*ranks));
    *pull = (struct slot_pull){ .step = action->step,
                                .rank_count = action->rank_count,
                                .ranks = ranks,
                                .until_ns = shell_now_ns() + ADDRESS_WAIT_MS * 1000000ull,
                                .retry = shell_event_new(shell, -1, 0, on_retry, slot) };
    memcpy(pull->token, action->token, sizeof(pull->token));
    return pull;
}

void pulls_start(struct shell *shell, const struct core_action *action) {
    struct slot *slot = &shell->slots[action->slot];
    plane_open(shell->plane);
    forget_pull(slot);
    slot->pull = keep_pull(shell, slot, action);
    if (slot->pull == NULL) {
        fail_pull(shell, slot);
    } else if (try_pull(shell, slot)) {
        forget_pull(slot);
    } else {
        shell_timer_ms(slot->pull->retry, ADDRESS_RETRY_MS); /* holders' addresses are on their way */
    }
}

void pulls_cancel(struct shell *shell, uint32_t index) {
    struct slot *slot = &shell->slots[index];
    forget_pull(slot);
    if (slot->pull_id != 0) {
        plane_cancel(shell->plane, slot->pull_id);
        slot->pull_id = 0;
    }
}

bool pulls_fini(struct shell *shell) {
    if (shell->plane_ready != NULL) {
        event_free(shell->plane_ready);
        event_free(shell->plane_open);
    }
    for (uint32_t i = 0; shell->slots != NULL && i < shell->slot_count; i++) {
        forget_pull(&shell->slots[i]);
        shell->slots[i].pull_id = 0; /* it ends with the plane */
    }
    bool is_clean = plane_destroy(shell->plane);
    shell->plane = NULL;
    return is_clean;
}
