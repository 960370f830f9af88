/*
 * Who does not come to recover. A survivor has the grace time; a newcomer three times what the longest first start
 * took, and a margin. Who is late is lost: killed and started again. But while fewer than two have come with state,
 * late survivors may be its last holders and get more time, three times.
 */
#include "node_helper/core/core_internal.h"

#define MARGIN_NS (5000u * CORE_NS_PER_MS)
#define EXTENSIONS 3u

void late_begin(struct core *core) {
    struct leader *leader = core->leader;
    uint64_t grace_ns = core->config.grace_ns;
    uint64_t start_ns = 3 * leader->start_span_ns + MARGIN_NS;
    leader->late_extended = 0;
    leader->late_ns = core->now_ns + grace_ns;
    leader->start_late_ns = core->now_ns + (start_ns > grace_ns ? start_ns : grace_ns);
    if (leader->start_span_ns == 0) { /* nobody knows yet how long a start takes */
        leader->start_late_ns = CORE_NEVER;
    }
}

void late_stop(struct leader *leader) {
    leader->late_ns = leader->start_late_ns = CORE_NEVER;
}

static void lose_late(struct core *core, bool newcomers) {
    struct leader *leader = core->leader;
    struct wire_loss late = { .cause = WIRE_CAUSE_LATE,
                              .detail = (uint32_t)((core->now_ns - leader->began_ns) / CORE_NS_PER_MS) };
    for (uint32_t i = 0; i < core->rank_count; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        if (!rank->arrived && !rank->exited && !rank->pending && rank->newcomer == newcomers) {
            late.rank = i;
            leader_lose_rank(core, i, &late);
            judge_on_fault(core, i);
        }
    }
}

static void check_survivors(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t holders = 0;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        const struct lead_rank *rank = &leader->ranks[i];
        holders += rank->arrived && rank->has_state;
        missing += !rank->arrived && !rank->newcomer;
    }
    if (missing > 0 && holders < 2 && leader->late_extended < EXTENSIONS) {
        leader->late_extended++;
        leader->late_ns = core->now_ns + core->config.grace_ns;
        return;
    }
    leader->late_ns = CORE_NEVER;
    if (leader->library_seen) {
        lose_late(core, false);
    }
}

void late_on_tick(struct core *core) {
    struct leader *leader = core->leader;
    uint64_t at_least_ns = core->now_ns + core->config.dead_after_ns;
    if (leader->stalled) { /* they may have come while we slept */
        uint64_t *deadlines[] = { &leader->late_ns, &leader->start_late_ns, &leader->asked_ns };
        for (uint32_t i = 0; i < 3; i++) {
            *deadlines[i] = *deadlines[i] < at_least_ns ? at_least_ns : *deadlines[i];
        }
    }
    if (core->now_ns >= leader->late_ns) {
        check_survivors(core);
    }
    if (core->now_ns >= leader->start_late_ns) {
        leader->start_late_ns = CORE_NEVER;
        lose_late(core, true);
    }
    if (core->now_ns >= leader->asked_ns) {
        leader->asked_ns = CORE_NEVER;
        leader->counts = true;
        emit_warning(core, "a rank asked for recovery and no loss was found: all start a new epoch");
        leader_want_epoch(core, 0);
    }
}

uint64_t late_next_deadline(const struct core *core) {
    const struct leader *leader = core->leader;
    uint64_t deadline = leader->late_ns < leader->start_late_ns ? leader->late_ns : leader->start_late_ns;
    return leader->asked_ns < deadline ? leader->asked_ns : deadline;
}
