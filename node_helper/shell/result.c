/*
 * What ckptless-launch is told at the end: the step's exit code, and whether Slurm will have another one. It has, where
 * a node was lost, for then it waits for tasks of which it never hears; and where a task has ended otherwise than its
 * ranks: one was out of memory and has been started again, its keeper was killed and they have gone on elsewhere. Of
 * its own tasks each helper knows that, and tells every leader.
 */
#include <stdio.h>

#include "node_helper/shell/shell.h"

static bool is_in(const struct shell *shell, uint32_t node) {
    uint32_t number = 0;
    const uint32_t *ids = NULL;
    uint32_t count = core_view(shell->core, &number, &ids);
    for (uint32_t i = 0; i < count; i++) {
        if (shell_node_of(shell, ids[i]) == node) {
            return true;
        }
    }
    return false;
}

/* Of a node whose helper died Slurm hears by itself. How a leader before has lost a node is not known. */
bool result_is_lost(const struct shell *shell, uint32_t node) {
    return shell->nodes[node].was_silent || (!shell->nodes[node].helper_died && !is_in(shell, node));
}

static void send_result(struct shell *shell) {
    struct wire_message message = { .type = WIRE_RESULT,
                                    .from = core_leader(shell->core),
                                    .end = { .exit_code = shell->end_code } };
    char *text = message.end.text;
    size_t used = 0, capacity = sizeof(message.end.text);
    for (uint32_t node = 0; node < shell->node_count && used + 24 < capacity; node++) {
        if (result_is_lost(shell, node)) {
            used += (size_t)snprintf(text + used, capacity - used, "%s%u", used ? "," : "", node);
        }
    }
    if (shell->task_ended_otherwise) {
        snprintf(text + used, capacity - used, "%sotherwise", used ? "," : "");
    }
    peers_send(shell, shell->launcher, &message);
}

void result_say(struct shell *shell) {
    if (shell->has_result && shell->launcher_is_up) {
        send_result(shell);
    }
}

void result_is(struct shell *shell, uint32_t exit_code) {
    shell->has_result = true;
    shell->end_code = exit_code;
    result_say(shell);
}

void result_on_trace(struct shell *shell, const struct core_trace *trace) {
    if (trace->node_lost && trace->node < shell->node_count) {
        struct node *node = &shell->nodes[trace->node];
        node->was_silent = node->was_silent || trace->cause != WIRE_CAUSE_HELPER_DIED;
        node->helper_died = node->helper_died || trace->cause == WIRE_CAUSE_HELPER_DIED;
    }
}

void result_tell_leader(struct shell *shell) {
    if (shell->task_ended_otherwise && !core_is_leader(shell->core)) {
        peers_send_up(shell, &(struct wire_message){ .type = WIRE_OTHERWISE });
    }
}

void result_on_end(struct shell *shell, uint8_t cause) {
    if (cause == WIRE_CAUSE_MEMORY || cause == WIRE_CAUSE_KEEPER_DIED) {
        shell->task_ended_otherwise = true;
        result_tell_leader(shell);
    }
}
