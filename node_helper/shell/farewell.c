/*
 * The leader stays until every member knows that the step is over. One that does not would hear of it from nobody: it
 * would take the leader's end for a loss, and wait for a quorum that has gone home. Members tell the leader that they
 * know (ENDED); its keepers, with which it ends itself, wait for that. Not for ever: a member that is not connected has
 * a moment to come back, one that is has dead-after.
 */
#include "node_helper/shell/shell.h"

#define RETURN_MS 100

void farewell_tell_leader(struct shell *shell) {
    if (shell->is_over && shell->core != NULL && !core_is_leader(shell->core)) {
        peers_send_up(shell, &(struct wire_message){ .type = WIRE_ENDED });
    }
}

void farewell_on_ended(struct shell *shell, uint32_t node) {
    shell->nodes[node].knows_end = true;
    act_check_end(shell);
}

/* Of those that do not know. */
static bool is_any_left(const struct shell *shell, bool only_connected) {
    uint32_t number = 0;
    const uint32_t *ids = NULL;
    uint32_t count = core_view(shell->core, &number, &ids);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = shell_node_of(shell, ids[i]);
        const struct node *node = &shell->nodes[index];
        if (index != shell->launch.node && !node->knows_end && (!only_connected || node->peer != NULL)) {
            return true;
        }
    }
    return false;
}

static void on_time(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    act_check_end(arg);
}

bool farewell_waits(struct shell *shell) {
    if (!shell->is_over || !shell->has_result || !is_any_left(shell, false)) {
        return false;
    }
    if (shell->farewell_wait == NULL) {
        shell->farewell_wait = shell_event_new(shell, -1, 0, on_time, shell);
        shell->farewell_began_ns = shell_now_ns();
        shell_timer_ms(shell->farewell_wait, RETURN_MS);
    }
    uint64_t limit_ms = is_any_left(shell, true) ? shell->settings.dead_after_ms : RETURN_MS;
    uint64_t waited_ms = (shell_now_ns() - shell->farewell_began_ns) / 1000000u;
    if (waited_ms < limit_ms) {
        shell_timer_ms(shell->farewell_wait, limit_ms - waited_ms);
        return true;
    }
    return false;
}
