/*
 * How a program has ended, and when that may be said. Slurm ends a step by signals to its processes, and what it does
 * on purpose is no loss; but a program that dies at its word is seen before the keeper can tell of it:
 *   - a signal that asks for an end (not SIGKILL, not a fault) is told by the keeper, who knows whether Slurm has sent
 * it;
 *   - proctrack/linuxproc signals a program before its keeper: everything waits a moment, for the keeper's word or its
 * end;
 *   - a SIGKILL that has met the keeper too is Slurm's: with the last keeper the helper ends without a word. Where
 * other keepers live on, it was somebody else's after all.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "node_helper/shell/process.h"
#include "node_helper/shell/shell.h"

#define MOMENT_MS 2
#define MOMENTS_MAX 25u /* while slurmstepd is at something: between two signals, perhaps, on a busy machine */
#define OTHERS_MS 200   /* for the end of the other keepers */

/* Ranks may share a cgroup: what one was killed for is not told of another. */
static bool was_out_of_memory(struct slot *slot) {
    const struct shell *shell = slot->shell;
    bool was = memory_watch_look(&slot->memory);
    for (uint32_t i = 0; was && i < shell->slot_count; i++) {
        struct memory_watch *other = &shell->slots[i].memory;
        if (strcmp(other->path, slot->memory.path) == 0) {
            other->kills = slot->memory.kills;
        }
    }
    return was;
}

static void report(struct slot *slot) {
    int status = slot->end_status;
    if (slot->keeper_gone) {
        slots_report_ended(slot->shell, slot, WIRE_CAUSE_KEEPER_DIED, 0, NULL);
    } else if (status == VERDICT_UNKNOWN) {
        slots_report_ended(slot->shell, slot, WIRE_CAUSE_VANISHED, 0, NULL);
    } else if (!WIFSIGNALED(status)) {
        slots_report_ended(slot->shell, slot, WIRE_CAUSE_EXIT, (uint32_t)WEXITSTATUS(status), NULL);
    } else if (WTERMSIG(status) == SIGKILL && was_out_of_memory(slot)) {
        slots_report_ended(slot->shell, slot, WIRE_CAUSE_MEMORY, SIGKILL, NULL);
    } else {
        bool by_slurm = slot->signalled & (1ull << (WTERMSIG(status) - 1));
        slots_report_ended(slot->shell, slot, by_slurm ? WIRE_CAUSE_SIGNALLED : WIRE_CAUSE_SIGNAL,
                           (uint32_t)WTERMSIG(status), NULL);
    }
}

static bool keeper_is_dying(const struct slot *slot) {
    int status = 0;
    return slot->keeper == NULL || (slot->keeper_pid > 0 && bell_probe(slot->keeper_pid, &status) != BELL_ALIVE);
}

static void conclude(struct slot *slot) {
    bool was_killed = WIFSIGNALED(slot->end_status) && WTERMSIG(slot->end_status) == SIGKILL;
    if (was_killed && !slot->keeper_gone && keeper_is_dying(slot)) {
        shell_timer_ms(slot->verdict, OTHERS_MS);
        return;
    }
    report(slot);
}

static void on_verdict(evutil_socket_t fd, short what, void *arg) {
    struct slot *slot = arg;
    (void)fd;
    (void)what;
    if (slot->ended) {
        return;
    }
    bool waits = (slot->keeper_is_second || slot->keeper_gone) && !slot->shell->is_over;
    if (waits && slot->moments++ < MOMENTS_MAX && process_is_busy((pid_t)slot->shell->launch.stepd_pid)) {
        shell_timer_ms(slot->verdict, slot->keeper_gone ? 10 * MOMENT_MS : MOMENT_MS);
        return;
    }
    conclude(slot);
}

/* Sent by people and programs; nobody is in haste to hear of it. */
static bool is_request(int status) {
    if (!WIFSIGNALED(status)) {
        return false;
    }
    switch (WTERMSIG(status)) {
    case SIGKILL:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
        return false;
    default:
        return true;
    }
}

void verdict_on_end(struct slot *slot, int status, bool is_final) {
    bool keeper_tells = slot->keeper != NULL && slots_holder(slot) == slot->pid;
    if (slot->ended || event_pending(slot->verdict, EV_TIMEOUT, NULL) ||
        (!is_final && is_request(status) && keeper_tells)) {
        return;
    }
    slot->end_status = status;
    if (slot->keeper_is_second && !slot->shell->is_over) {
        shell_timer_ms(slot->verdict, MOMENT_MS);
    } else {
        conclude(slot);
    }
}

void verdict_on_signal(struct slot *slot, int number) {
    log_line("slot %u: Slurm sends signal %d", slots_index(slot->shell, slot), number);
    slot->signalled |= number > 0 && number <= 64 ? 1ull << (number - 1) : 0;
}

void verdict_on_keeper_gone(struct slot *slot) {
    if (!slot->ended && !event_pending(slot->verdict, EV_TIMEOUT, NULL)) {
        slot->end_status = VERDICT_UNKNOWN;
        shell_timer_ms(slot->verdict, OTHERS_MS);
    }
}

void verdict_reset(struct slot *slot) {
    (void)event_del(slot->verdict);
    slot->signalled = 0;
    slot->moments = 0;
}

void verdict_init(struct slot *slot) {
    slot->verdict = shell_event_new(slot->shell, -1, 0, on_verdict, slot);
}

void verdict_fini(struct slot *slot) {
    if (slot->verdict != NULL) {
        event_free(slot->verdict);
    }
}
