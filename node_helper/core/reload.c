/*
 * After RELOAD every rank says which step it has loaded; they must be equal. And the end of a recovery: the first
 * commit of every rank.
 */
#include "node_helper/core/core_internal.h"

static bool has_reloaded(const struct lead_rank *rank) {
    return rank->reloaded;
}

static bool has_committed(const struct lead_rank *rank) {
    return rank->committed;
}

void reload_on_reloaded(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = plan_current_rank(core, message, message->rank_step.rank, message->rank_step.incarnation);
    if (rank == NULL || leader->phase != LEAD_RELOADING) {
        return;
    }
    rank->reloaded = true;
    rank->step = message->rank_step.step;
    if (!plan_is_done_by_all(core, has_reloaded)) {
        return;
    }
    struct wire_message answer = { .type = WIRE_RELOAD_RESULT,
                                   .reload_result = { .ok = true, .step = leader->ranks[0].step } };
    for (uint32_t i = 0; i < core->rank_count; i++) {
        if (leader->ranks[i].step != leader->ranks[0].step && answer.reload_result.ok) {
            answer.reload_result = (struct wire_reload_result){ .rank_b = i,
                                                                .step_a = leader->ranks[0].step,
                                                                .step_b = leader->ranks[i].step };
        }
    }
    leader->program_error = !answer.reload_result.ok;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        leader->ranks[i].reloaded = false;
    }
    if (answer.reload_result.ok) {
        leader->phase = LEAD_RUNNING;
        leader->go_ns = core->now_ns;
        leader->resume_step = answer.reload_result.step;
    }
    emit_to_all(core, &answer);
}

void reload_on_committed(struct core *core, const struct wire_message *message, const struct wire_commit *commit) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = plan_current_rank(core, message, commit->rank, commit->incarnation);
    if (rank == NULL || leader->phase != LEAD_RUNNING || rank->committed) {
        return;
    }
    leader->committed_once = true;
    rank->committed = true;
    if (!plan_is_done_by_all(core, has_committed)) {
        return;
    }
    leader->restarts = 0;
    if (leader->ordinal > 1 && leader->recovering) {
        report_resume(core);
    }
    leader->recovering = false;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        leader->ranks[i].respawns = 0;
        leader->ranks[i].newcomer = false;
    }
}
