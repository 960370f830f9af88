/*
 * All-gathers among nodes, by way of the leader: each node gives its part once, the leader joins the parts in the order
 * of the nodes and sends the whole to the nodes that take part. Whatever is gathered for has a key of its own, and one
 * gather of a key is under way at a time. All of it belongs to one epoch: the next one ends it.
 *
 * A connection that breaks may take a part or an answer with it: a node says its part again when it is connected
 * again, and the leader keeps the last answer of each key for those who missed it.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

struct part {
    bool is_there;
    uint32_t bytes;
    uint8_t *data;
};

struct gather {
    struct gather *next;
    uint64_t key;
    uint32_t node_count;
    uint32_t *nodes; /* ascending */

    /* This node's part of number `sequence`; done: NULL when there is none under way. */
    uint32_t sequence;
    struct part own;
    gather_done_fn *done;
    void *arg;

    /* The leader's: number `lead_sequence` is being collected, `last` is the answer of the one before. */
    uint32_t lead_sequence, part_count;
    struct part *parts; /* by entry of nodes */
    struct part last;
};

static void clear_part(struct part *part) {
    free(part->data);
    *part = (struct part){ 0 };
}

/* False: no memory, or it is there already. */
static bool set_part(struct part *part, const uint8_t *data, size_t bytes) {
    uint8_t *copy = part->is_there ? NULL : malloc(bytes + 1);
    if (copy == NULL) {
        return false;
    }
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    *part = (struct part){ .is_there = true, .bytes = (uint32_t)bytes, .data = copy };
    return true;
}

static void free_gather(struct gather *gather) {
    for (uint32_t i = 0; gather->parts != NULL && i < gather->node_count; i++) {
        clear_part(&gather->parts[i]);
    }
    clear_part(&gather->own);
    clear_part(&gather->last);
    free(gather->parts);
    free(gather->nodes);
    free(gather);
}

/* The gather of this key, made when it is the first; NULL: no memory, or others take part than before. */
static struct gather *find(struct shell *shell, uint64_t key, const uint32_t *nodes, uint32_t node_count) {
    struct gather *gather = shell->gathers;
    while (gather != NULL && gather->key != key) {
        gather = gather->next;
    }
    if (gather != NULL) {
        bool same = gather->node_count == node_count && memcmp(gather->nodes, nodes, node_count * sizeof(*nodes)) == 0;
        return same ? gather : NULL;
    }
    gather = calloc(1, sizeof(*gather));
    if (gather == NULL) {
        return NULL;
    }
    gather->key = key;
    gather->node_count = node_count;
    gather->nodes = calloc(node_count + 1u, sizeof(*gather->nodes));
    gather->parts = calloc(node_count + 1u, sizeof(*gather->parts));
    if (gather->nodes == NULL || gather->parts == NULL) {
        free_gather(gather);
        return NULL;
    }
    memcpy(gather->nodes, nodes, node_count * sizeof(*nodes));
    gather->next = shell->gathers;
    shell->gathers = gather;
    return gather;
}

/* The own part has its answer; NULL: the epoch has ended. */
static void finish_own(struct shell *shell, struct gather *gather, const struct part *all) {
    gather_done_fn *done = gather->done;
    if (done == NULL) {
        return;
    }
    gather->done = NULL;
    gather->sequence++;
    clear_part(&gather->own);
    done(shell, gather->arg, all ? all->data : NULL, all ? all->bytes : 0);
}

static void send_answer(struct shell *shell, const struct gather *gather, uint32_t node) {
    struct wire_message message = { .type = WIRE_GATHERED,
                                    .from = shell->nodes[shell->launch.node].member.id,
                                    .epoch = core_epoch(shell->core),
                                    .gather = { .key = gather->key,
                                                .sequence = gather->lead_sequence - 1,
                                                .bytes = gather->last.bytes,
                                                .data = gather->last.data } };
    peers_send_id(shell, shell->nodes[node].member.id, &message);
}

/* False: no memory, or more than a message holds; who waits is then late in the program's own terms. */
static bool join_parts(struct gather *gather) {
    size_t bytes = 0, used = 0;
    for (uint32_t i = 0; i < gather->node_count; i++) {
        bytes += gather->parts[i].bytes;
    }
    clear_part(&gather->last);
    uint8_t *joined = bytes <= WIRE_GATHER_BYTES_MAX ? malloc(bytes + 1) : NULL;
    if (joined == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < gather->node_count; i++) {
        memcpy(joined + used, gather->parts[i].data, gather->parts[i].bytes);
        used += gather->parts[i].bytes;
        clear_part(&gather->parts[i]);
    }
    gather->last = (struct part){ .is_there = true, .bytes = (uint32_t)bytes, .data = joined };
    return true;
}

/* Leader: the part of one node. */
static void take_part(struct shell *shell, struct gather *gather, uint32_t sequence, uint32_t node, const uint8_t *data,
                      size_t bytes) {
    uint32_t own_node = shell->launch.node, index = 0;
    while (index < gather->node_count && gather->nodes[index] != node) {
        index++;
    }
    if (index == gather->node_count) {
        return;
    }
    if (sequence + 1 == gather->lead_sequence && gather->last.is_there) {
        send_answer(shell, gather, node); /* it has missed it */
        return;
    }
    if (sequence != gather->lead_sequence || !set_part(&gather->parts[index], data, bytes) ||
        ++gather->part_count < gather->node_count) {
        return;
    }
    if (!join_parts(gather)) {
        rollcall_warn(shell, "no memory for an all-gather: the programs wait in vain");
        return;
    }
    gather->part_count = 0;
    gather->lead_sequence++;
    for (uint32_t i = 0; i < gather->node_count; i++) {
        if (gather->nodes[i] != own_node) {
            send_answer(shell, gather, gather->nodes[i]);
        }
    }
    finish_own(shell, gather, &gather->last);
}

static void give(struct shell *shell, struct gather *gather) {
    if (core_is_leader(shell->core)) {
        take_part(shell, gather, gather->sequence, shell->launch.node, gather->own.data, gather->own.bytes);
        return;
    }
    struct wire_message message = { .type = WIRE_GATHER,
                                    .gather = { .key = gather->key,
                                                .sequence = gather->sequence,
                                                .node_count = gather->node_count,
                                                .nodes = gather->nodes,
                                                .bytes = gather->own.bytes,
                                                .data = gather->own.data } };
    peers_send_up(shell, &message);
}

bool gather_begin(struct shell *shell, const struct gather_part *part, gather_done_fn *done, void *arg) {
    struct gather *gather = find(shell, part->key, part->nodes, part->node_count);
    if (gather == NULL || gather->done != NULL || part->bytes > WIRE_GATHER_BYTES_MAX / part->node_count ||
        !set_part(&gather->own, part->data, part->bytes)) {
        return false;
    }
    gather->done = done;
    gather->arg = arg;
    give(shell, gather);
    return true;
}

void gather_on_part(struct shell *shell, const struct wire_message *message) {
    const struct wire_gather *part = &message->gather;
    if (!core_is_leader(shell->core) || message->epoch != core_epoch(shell->core) || part->node_count == 0 ||
        part->nodes[part->node_count - 1] >= shell->node_count) {
        return;
    }
    struct gather *gather = find(shell, part->key, part->nodes, part->node_count);
    if (gather != NULL) {
        bool is_new = gather->sequence == 0 && gather->part_count == 0 && !gather->last.is_there;
        gather->lead_sequence = is_new ? part->sequence : gather->lead_sequence; /* others were led by another one */
        take_part(shell, gather, part->sequence, shell_node_of(shell, message->from), part->data, part->bytes);
    }
}

void gather_lead(struct shell *shell) {
    for (struct gather *gather = shell->gathers; gather != NULL; gather = gather->next) {
        gather->lead_sequence = gather->sequence;
    }
}

bool gather_is_waiting(const struct shell *shell) {
    const struct gather *gather = shell->gathers;
    while (gather != NULL && gather->done == NULL) {
        gather = gather->next;
    }
    return gather != NULL;
}

void gather_on_answer(struct shell *shell, const struct wire_message *message) {
    struct gather *gather = shell->gathers;
    while (gather != NULL && gather->key != message->gather.key) {
        gather = gather->next;
    }
    if (gather == NULL || core_is_leader(shell->core) || message->epoch != core_epoch(shell->core) ||
        message->gather.sequence != gather->sequence) {
        return;
    }
    static uint8_t nothing[1]; /* a gather of no bytes at all is one too */
    struct part all = { .is_there = true,
                        .bytes = message->gather.bytes,
                        .data = message->gather.bytes ? (uint8_t *)(uintptr_t)message->gather.data : nothing };
    finish_own(shell, gather, &all);
}

void gather_say_again(struct shell *shell) {
    for (struct gather *gather = shell->gathers; gather != NULL; gather = gather->next) {
        if (gather->done != NULL) {
            give(shell, gather);
        }
    }
}

void gather_reset(struct shell *shell) {
    while (shell->gathers != NULL) {
        struct gather *gather = shell->gathers;
        shell->gathers = gather->next;
        finish_own(shell, gather, NULL);
        free_gather(gather);
    }
}
