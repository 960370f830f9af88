/*
 * A slot is where a rank's program runs: a keeper that starts and ends it, a page shared with it, a bell that tells its
 * death, a name at the PMIx server. Every START has a page and a serial of its own, so that nothing of a predecessor
 * that is still dying is taken for the successor's.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/shell/process.h"
#include "node_helper/shell/shell.h"

#define PROBE_MS_MAX 16      /* after a ring: 1, 2, 4, 8, 16 ms */
#define DISCONNECTED_MS 1000 /* a program that ends loses its connection too, and is soon known to have ended */

uint32_t slots_index(const struct shell *shell, const struct slot *slot) {
    return (uint32_t)(slot - shell->slots);
}

struct slot *slots_by_pmix(struct shell *shell, uint32_t pmix_rank, uint32_t pmix_serial) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        struct slot *slot = &shell->slots[i];
        if (slot->serial != 0 && slot->pmix_rank == pmix_rank && slot->pmix_serial == pmix_serial && !slot->ended) {
            return slot;
        }
    }
    return NULL;
}

void slots_report_ended(struct shell *shell, struct slot *slot, uint8_t cause, uint32_t detail, const char *text) {
    if (slot->ended) {
        return;
    }
    slot->ended = true;
    log_line("slot %u: serial %u has ended: cause %u, %u", slots_index(shell, slot), slot->serial, cause, detail);
    rpc_forget(shell, slot);
    pulls_cancel(shell, slots_index(shell, slot));
    result_on_end(shell, cause);
    shell_event(shell, &(struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                             .slot = slots_index(shell, slot),
                                             .incarnation = slot->serial,
                                             .cause = cause,
                                             .detail = detail,
                                             .text = shell->in_step ? NULL : text });
}

/* The world's variables, then PMIx's; free(). 0: no memory. */
static size_t make_environment(struct shell *shell, struct slot *slot, char **ret_block) {
    char *world = NULL, *pmix = NULL, *block = NULL;
    size_t world_bytes = slot->rank == WIRE_NONE ? world_environment_parked(&world)
                                                 : world_environment(&shell->world, slot->rank, &world);
    size_t pmix_bytes = 0, bytes = 0;
    if (world_bytes > 0 && pmixsrv_environment(shell->pmix, slot->pmix_rank, &pmix, &pmix_bytes) == PMIXSRV_OK) {
        /* PMIx's list has an empty string at its end, which the keeper's packet does not want. */
        pmix_bytes -= pmix_bytes > 0 && (pmix_bytes == 1 || pmix[pmix_bytes - 2] == '\0') ? 1 : 0;
        block = malloc(world_bytes + pmix_bytes);
    }
    if (block != NULL) {
        memcpy(block, world, world_bytes);
        memcpy(block + world_bytes, pmix, pmix_bytes);
        bytes = world_bytes + pmix_bytes;
    }
    free(world);
    free(pmix);
    *ret_block = block;
    return bytes;
}

static void send_start(struct shell *shell, struct slot *slot) {
    char *block = NULL;
    slot->start_waits = false;
    if (pmixsrv_register_client(shell->pmix, slot->pmix_rank, &slot->pmix_serial) != PMIXSRV_OK) {
        slots_report_ended(shell, slot, WIRE_CAUSE_VANISHED, 0, NULL);
        return;
    }
    size_t bytes = make_environment(shell, slot, &block);
    struct wire_keeper_message message = { .type = WIRE_KEEPER_START,
                                           .incarnation = slot->serial,
                                           .status = slot->rank == WIRE_NONE ? 1 : 0,
                                           .environment_bytes = (uint32_t)bytes,
                                           .environment = block };
    if (bytes == 0) {
        slots_report_ended(shell, slot, WIRE_CAUSE_VANISHED, 0, NULL);
    } else if (!keepers_send(shell, slot, &message, slot->page->fd)) {
        verdict_on_keeper_gone(slot);
    } else {
        slot->running = true;
    }
    free(block);
}

void slots_start_waiting(struct shell *shell) {
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        struct slot *slot = &shell->slots[i];
        if (!slot->start_waits || !shell->pmix_is_open) {
            continue;
        }
        if (slot->keeper_gone) {
            slot->start_waits = false;
            verdict_on_keeper_gone(slot);
        } else if (slot->keeper != NULL) {
            send_start(shell, slot);
        }
    }
}

/* What belongs to one program only. */
static void let_go(struct shell *shell, struct slot *slot) {
    rpc_forget(shell, slot);
    pulls_cancel(shell, slots_index(shell, slot));
    bell_destroy(slot->bell);
    slot->bell = NULL;
    page_release(slot->page);
    slot->page = NULL;
    (void)event_del(slot->probe);
    verdict_reset(slot);
    table_fini(&slot->table);
    slot->table_sent = false;
    slot->pid = slot->holder = 0;
    slot->disconnected = slot->finalized = slot->attached = slot->stays = slot->running = false;
}

/* Parked programs have names above the world's. */
static uint32_t parked_name(const struct shell *shell, uint32_t index) {
    uint32_t name = core_rank_count(shell->core);
    for (uint32_t node = shell->active_nodes; node < shell->launch.node; node++) {
        name += shell->nodes[node].member.slot_count;
    }
    return name + index;
}

void slots_start(struct shell *shell, const struct core_action *action) {
    struct slot *slot = &shell->slots[action->slot];
    let_go(shell, slot);
    slot->serial = action->incarnation;
    slot->rank = action->rank;
    slot->ended = false;
    slot->pmix_rank = action->rank == WIRE_NONE ? parked_name(shell, action->slot) : action->rank;
    slot->pmix_serial = 0;
    slot->page = page_create(slot->serial, UINT64_MAX);
    if (slot->page == NULL) {
        slots_report_ended(shell, slot, WIRE_CAUSE_VANISHED, 0, NULL);
        return;
    }
    atomic_store(&slot->page->shared->lease_end_ns, shell->lease_end_ns);
    atomic_store(&slot->page->shared->stop_epoch, core_epoch(shell->core));
    slot->start_waits = true;
    slots_start_waiting(shell);
}

void slots_kill(struct shell *shell, uint32_t index) {
    struct slot *slot = &shell->slots[index];
    struct wire_keeper_message message = { .type = WIRE_KEEPER_KILL, .incarnation = slot->serial };
    slot->ended = true;
    slot->start_waits = false;
    rpc_forget(shell, slot);
    pulls_cancel(shell, index);
    (void)keepers_send(shell, slot, &message, -1);
}

void slots_on_started(struct shell *shell, struct slot *slot, const struct wire_keeper_message *message) {
    if (message->incarnation != slot->serial || slot->page == NULL) {
        return;
    }
    slot->pid = (pid_t)message->pid;
    if (slot->attached) {
        slots_attach(slot, slot->attached_pid); /* it called before its keeper's word was read */
    }
    memory_watch_begin(&slot->memory, slot->pid);
    struct bell_ring ring = { .slot = slots_index(shell, slot), .serial = slot->serial };
    slot->bell = bell_create(slot->page, shell->ring_write_fd, ring);
}

void slots_on_exited(struct shell *shell, struct slot *slot, const struct wire_keeper_message *message) {
    if (message->incarnation != slot->serial) {
        return;
    }
    slot->running = false;
    slot->status = message->status;
    verdict_on_end(slot, message->status, true);
    act_check_end(shell);
}

void slots_on_keeper_gone(struct shell *shell, struct slot *slot) {
    slot->keeper_gone = true;
    slot->running = false;
    if (!shell->is_over && slot->serial != 0) {
        verdict_on_keeper_gone(slot);
    }
}

void slots_ask_end(struct shell *shell, struct slot *slot, const char *text) {
    struct wire_keeper_message message = { .type = WIRE_KEEPER_KILL, .incarnation = slot->serial };
    (void)keepers_send(shell, slot, &message, -1);
    slots_report_ended(shell, slot, WIRE_CAUSE_ASKED, 0, text);
}

void slots_promoted(struct shell *shell, struct slot *slot) {
    struct wire_keeper_message message = { .type = WIRE_KEEPER_PROMOTED, .incarnation = slot->serial };
    (void)keepers_send(shell, slot, &message, -1);
}

void slots_attach(struct slot *slot, pid_t pid) {
    slot->attached = true;
    slot->attached_pid = pid;
    /* Not what a program says, but what is in its tree; a process of another pid namespace is not found. */
    slot->holder = pid > 0 && slot->pid > 0 && process_is_below(pid, slot->pid) ? pid : 0;
}

pid_t slots_holder(const struct slot *slot) {
    return slot->holder > 0 ? slot->holder : slot->pid;
}

/* ENDED: the verdict has it. */
static enum bell_verdict look(struct slot *slot) {
    uint32_t crash = slot->page != NULL ? atomic_load(&slot->page->shared->crash_signal) : 0;
    int status = 0;
    if (crash > 0 && crash < NSIG) {
        verdict_on_end(slot, (int)crash, false); /* /proc says nothing before the core is written */
        return BELL_ENDED;
    }
    enum bell_verdict verdict = slot->pid > 0 ? bell_probe(slots_holder(slot), &status) : BELL_UNKNOWN;
    if (verdict == BELL_ENDED) {
        verdict_on_end(slot, status, false);
    }
    return verdict;
}

/* Its keeper cannot tell: the tree lives. */
static void end_slot(struct shell *shell, struct slot *slot, enum wire_cause cause, uint32_t detail) {
    struct wire_keeper_message message = { .type = WIRE_KEEPER_KILL, .incarnation = slot->serial };
    (void)keepers_send(shell, slot, &message, -1);
    slots_report_ended(shell, slot, (uint8_t)cause, detail, NULL);
}

void slots_abort(struct shell *shell, struct slot *slot, int code) {
    if (!slot->ended && !shell->is_over) {
        end_slot(shell, slot, WIRE_CAUSE_ABORTED, (code & 0xff) != 0 ? (uint32_t)code & 0xff : 1);
    }
}

static void on_probe(evutil_socket_t fd, short what, void *arg) {
    struct slot *slot = arg;
    struct shell *shell = slot->shell;
    (void)fd;
    (void)what;
    enum bell_verdict verdict = slot->ended ? BELL_ENDED : look(slot);
    if (verdict == BELL_ENDED || (verdict == BELL_UNKNOWN && slots_holder(slot) == slot->pid)) {
        return; /* UNKNOWN: the keeper's EXITED says how */
    }
    if (verdict == BELL_ALIVE && slot->disconnected) {
        end_slot(shell, slot, WIRE_CAUSE_DISCONNECTED, 0);
        return;
    }
    slot->probe_ms *= 2;
    if (slot->probe_ms <= PROBE_MS_MAX) {
        shell_timer_ms(slot->probe, slot->probe_ms);
    } else if (verdict == BELL_UNKNOWN) {
        end_slot(shell, slot, WIRE_CAUSE_VANISHED, 0); /* a wrapper goes on without it */
    }
}

void slots_on_disconnected(struct shell *shell, struct slot *slot) {
    (void)shell;
    if (!slot->finalized && !slot->ended && !shell->is_over) {
        slot->disconnected = true;
        slot->probe_ms = 1;
        shell_timer_ms(slot->probe, DISCONNECTED_MS);
    }
}

bool slots_is_ending(struct slot *slot) {
    if (slot->ended) {
        return true;
    }
    if (look(slot) == BELL_ALIVE) {
        return false;
    }
    if (!slot->disconnected) {
        slot->probe_ms = 1;
        shell_timer_ms(slot->probe, slot->probe_ms);
    }
    return true;
}

static void on_ring(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    struct bell_ring ring;
    (void)what;
    while (read(fd, &ring, sizeof(ring)) == (ssize_t)sizeof(ring)) {
        struct slot *slot = &shell->slots[ring.slot];
        if (ring.serial != slot->serial || slot->ended) {
            continue;
        }
        log_line("slot %u: the bell rings", ring.slot);
        if (look(slot) != BELL_ENDED && !slot->disconnected) {
            slot->probe_ms = 1;
            shell_timer_ms(slot->probe, slot->probe_ms);
        }
    }
}

void slots_set_lease(struct shell *shell, uint64_t until_ns) {
    until_ns = shell->is_over && !shell->end_kills ? UINT64_MAX : until_ns; /* programs that end take their time */
    shell->lease_end_ns = until_ns;
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        if (shell->slots[i].page != NULL) {
            atomic_store(&shell->slots[i].page->shared->lease_end_ns, until_ns);
        }
    }
}

bool slots_init(struct shell *shell) {
    int fds[2];
    shell->lease_end_ns = UINT64_MAX;
    shell->slot_count = shell->launch.task_count * shell->settings.ranks;
    shell->slots = calloc(shell->slot_count + 1u, sizeof(*shell->slots));
    if (shell->slots == NULL || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return false;
    }
    shell->ring_read_fd = fds[0];
    shell->ring_write_fd = fds[1];
    shell->ring = shell_event_new(shell, fds[0], EV_READ | EV_PERSIST, on_ring, shell);
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        shell->slots[i].shell = shell;
        shell->slots[i].rank = WIRE_NONE;
        shell->slots[i].probe = shell_event_new(shell, -1, 0, on_probe, &shell->slots[i]);
        verdict_init(&shell->slots[i]);
    }
    return event_add(shell->ring, NULL) == 0;
}

void slots_fini(struct shell *shell) {
    for (uint32_t i = 0; shell->slots != NULL && i < shell->slot_count; i++) {
        if (shell->slots[i].probe != NULL) {
            let_go(shell, &shell->slots[i]);
            event_free(shell->slots[i].probe);
            verdict_fini(&shell->slots[i]);
        }
    }
    free(shell->slots);
    if (shell->ring != NULL) {
        event_free(shell->ring);
        close(shell->ring_read_fd);
        close(shell->ring_write_fd);
    }
}
