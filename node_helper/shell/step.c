/*
 * Around the core: one event at a time goes in, its actions are carried out at once and in order, and the core's next
 * deadline is kept. What an action itself brings about waits until the step is over.
 */
#include "node_helper/shell/shell.h"

static void arm_deadline(struct shell *shell) {
    uint64_t deadline_ns = core_next_deadline(shell->core), now_ns = shell_now_ns();
    if (deadline_ns == UINT64_MAX) {
        (void)event_del(shell->deadline);
        return;
    }
    uint64_t wait_us = deadline_ns > now_ns ? (deadline_ns - now_ns + 999) / 1000 : 0;
    struct timeval wait = { .tv_sec = (time_t)(wait_us / 1000000), .tv_usec = (suseconds_t)(wait_us % 1000000) };
    (void)event_add(shell->deadline, &wait);
}

static void run_one(struct shell *shell, struct core_event *event) {
    event->now_ns = shell_now_ns();
    shell->in_step = true;
    act_all(shell, core_step(shell->core, event));
    shell->in_step = false;
}

void shell_event(struct shell *shell, struct core_event *event) {
    if (shell->core == NULL) {
        return;
    }
    if (shell->in_step) {
        if (shell->deferred_count < sizeof(shell->deferred) / sizeof(shell->deferred[0])) {
            shell->deferred[shell->deferred_count++] = *event;
        } else {
            log_line("too many events out of one step"); /* more slots than any node has; the grace time finds it */
        }
        return;
    }
    run_one(shell, event);
    for (uint32_t i = 0; i < shell->deferred_count; i++) {
        struct core_event deferred = shell->deferred[i];
        run_one(shell, &deferred);
    }
    shell->deferred_count = 0;
    act_check_end(shell);
    arm_deadline(shell);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    shell_event(arg, &(struct core_event){ .type = CORE_EVENT_TICK });
}

void step_begin(struct shell *shell) {
    shell->deadline = shell_event_new(shell, -1, 0, on_deadline, shell);
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_TICK });
}
