/*
 * What the step has cost, for the end event: of the library what each rank says when it calls finish, of the helper
 * the leader's own.
 */
#include <sys/resource.h>

#include "node_helper/shell/report.h"
#include "node_helper/shell/shell.h"

void usage_add(struct shell *shell, const struct wire_usage *usage) {
    shell->usage.commits += usage->commits;
    shell->usage.library_ns += usage->library_ns;
}

void usage_reset(struct shell *shell) {
    shell->usage = (struct wire_usage){ 0 }; /* every rank will call finish once more */
}

void usage_on_finish(struct shell *shell, const struct slot *slot) {
    struct wire_message message = { .type = WIRE_USAGE };
    if (slot->page == NULL) {
        return;
    }
    message.usage.commits = atomic_load(&slot->page->shared->update_count);
    message.usage.library_ns = atomic_load(&slot->page->shared->library_ns);
    if (core_is_leader(shell->core)) {
        usage_add(shell, &message.usage);
    } else {
        peers_send_up(shell, &message);
    }
}

void usage_fill(const struct shell *shell, struct report_usage *ret_usage) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    ret_usage->helper_cpu_ms = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000u +
                               (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000u;
    ret_usage->helper_rss_kib = (uint64_t)usage.ru_maxrss;
    ret_usage->wall_ms = (shell_now_ns() - shell->began_ns) / 1000000u;
    ret_usage->library_ms = (double)shell->usage.library_ns / 1e6;
    ret_usage->commits = shell->usage.commits;
}
