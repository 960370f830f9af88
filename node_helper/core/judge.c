/*
 * Whose fault an exit was. A program whose peer has died often ends with an error itself, before anybody else knows of
 * the loss. So a non-zero exit before the first commit (without the library: early in the first start) is held for a
 * while, and is the program's own only when no fault elsewhere explains it; after it, a recovery begins at once, and
 * the exit is taken off the rank's account when a fault elsewhere turns up in that time. An abort is the program's own
 * word at any time, if nothing explains it. exit(0) before the first commit is an end, but where the others are still
 * waiting for that rank after the grace time, it was a loss.
 */
#include "node_helper/core/core_internal.h"

static uint64_t window_ns(const struct core *core) {
    return core->config.dead_after_ns + 200 * CORE_NS_PER_MS;
}

static bool explained(const struct core *core, uint32_t index) {
    const struct leader *leader = core->leader;
    return leader->fault_ns != CORE_NEVER && leader->fault_rank != index &&
           core->now_ns - leader->fault_ns <= window_ns(core);
}

static void judge_at(struct leader *leader, struct lead_rank *rank, uint64_t at_ns) {
    rank->judge_ns = at_ns;
    leader->judge_ns = at_ns < leader->judge_ns ? at_ns : leader->judge_ns;
}

/* May an exit now still be the program's own word, and not a loss? */
static bool may_be_own(const struct core *core, const struct lead_rank *rank) {
    const struct leader *leader = core->leader;
    if (leader->library_seen) {
        return leader->program_error || !leader->committed_once;
    }
    return rank->seat.starts == 0 && core->now_ns - leader->first_start_ns < CORE_EARLY_NS;
}

/* What a pending rank has ended with. */
static struct wire_loss held_loss(const struct core *core, uint32_t index) {
    const struct lead_rank *rank = &core->leader->ranks[index];
    return (struct wire_loss){ .rank = index,
                               .cause = rank->aborted     ? WIRE_CAUSE_ABORTED
                                        : rank->signalled ? WIRE_CAUSE_SIGNALLED
                                                          : WIRE_CAUSE_EXIT,
                               .detail = rank->signalled ? rank->exit_code - 128 : rank->exit_code };
}

static void pass_on(struct core *core, uint32_t index) {
    struct lead_rank *rank = &core->leader->ranks[index];
    struct wire_loss loss = held_loss(core, index);
    rank->pending = false;
    rank->judge_ns = CORE_NEVER;
    ending_on_exit(core, index, &loss);
}

/* Nobody is left who could explain it. */
static bool nobody_runs(const struct core *core) {
    for (uint32_t i = 0; i < core->rank_count; i++) {
        if (!core->leader->ranks[i].pending && !core->leader->ranks[i].exited) {
            return false;
        }
    }
    return true;
}

static void hold(struct core *core, uint32_t index, const struct wire_loss *loss) {
    struct lead_rank *rank = &core->leader->ranks[index];
    rank->pending = true;
    rank->aborted = loss->cause == WIRE_CAUSE_ABORTED;
    rank->signalled = loss->cause == WIRE_CAUSE_SIGNALLED;
    rank->exit_code = rank->signalled ? 128 + loss->detail : loss->detail;
    judge_at(core->leader, rank, core->now_ns + window_ns(core));
    if (nobody_runs(core)) {
        ending_of_all(core);
    }
}

/* The others have survived the signal: it was meant for them, and this one could not take it. */
static void lose_signalled(struct core *core, uint32_t index) {
    struct wire_loss loss = held_loss(core, index);
    core->leader->ranks[index].pending = false;
    leader_lose_rank(core, index, &loss);
}

void judge_on_loss(struct core *core, uint32_t index, const struct wire_loss *loss) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = &leader->ranks[index];
    bool exit = loss->cause == WIRE_CAUSE_EXIT;
    bool is_word = loss->cause == WIRE_CAUSE_ABORTED || loss->cause == WIRE_CAUSE_SIGNALLED;
    if (leader->phase >= LEAD_ENDING ||
        (exit && loss->detail == 0 && (!leader->committed_once || leader->program_error))) {
        ending_on_exit(core, index, loss);
        judge_at(leader, rank, leader->phase < LEAD_ENDING ? core->now_ns + core->config.grace_ns : CORE_NEVER);
    } else if (!is_word && (!exit || loss->detail == 0)) {
        rank->judge_ns = CORE_NEVER;
        leader_lose_rank(core, index, loss);
        judge_on_fault(core, index);
    } else if (explained(core, index)) {
        rank->excused = true;
        leader_lose_rank(core, index, loss);
    } else if (is_word || may_be_own(core, rank)) {
        hold(core, index, loss);
    } else {
        leader_lose_rank(core, index, loss);
        judge_at(leader, rank, core->now_ns + window_ns(core));
    }
}

void judge_on_fault(struct core *core, uint32_t index) {
    struct leader *leader = core->leader;
    leader->fault_ns = core->now_ns;
    leader->fault_rank = index;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &leader->ranks[i];
        if (rank->judge_ns == CORE_NEVER || rank->exited) {
            continue;
        }
        rank->judge_ns = CORE_NEVER;
        if (rank->pending) {
            struct wire_loss loss = held_loss(core, i);
            rank->pending = false;
            rank->excused = true;
            leader_lose_rank(core, i, &loss);
        } else if (rank->loss != WIRE_NONE) {
            rank->excused = true; /* not yet seated */
        } else if (rank->respawns > 0) {
            rank->respawns--;
        }
    }
}

static void judge_rank(struct core *core, uint32_t index) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = &leader->ranks[index];
    rank->judge_ns = CORE_NEVER;
    if (rank->pending && rank->signalled) {
        lose_signalled(core, index);
    } else if (rank->pending) {
        pass_on(core, index);
    } else if (rank->exited && leader->library_seen) {
        struct wire_loss loss = { .rank = index, .cause = WIRE_CAUSE_EXIT, .detail = 0 };
        rank->exited = false;
        leader_lose_rank(core, index, &loss);
    } else if (rank->exited) {
        judge_at(leader, rank, core->now_ns + core->config.grace_ns);
    }
}

void judge_on_tick(struct core *core) {
    struct leader *leader = core->leader;
    if (leader->phase == LEAD_ASSEMBLING || leader->judge_ns == CORE_NEVER ||
        (core->now_ns < leader->judge_ns && !leader->stalled)) {
        return;
    }
    leader->judge_ns = CORE_NEVER;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &leader->ranks[i];
        if (leader->stalled && rank->judge_ns != CORE_NEVER) {
            judge_at(leader, rank, core->now_ns + window_ns(core)); /* what explains it may still lie in a socket */
        } else if (core->now_ns >= rank->judge_ns) {
            judge_rank(core, i);
        } else {
            judge_at(leader, rank, rank->judge_ns);
        }
    }
}

uint64_t judge_next_deadline(const struct core *core) {
    return core->leader->phase != LEAD_ASSEMBLING ? core->leader->judge_ns : CORE_NEVER;
}
