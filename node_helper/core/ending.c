/*
 * How a step ends: every rank has finished; every program has ended by itself; the program failed by its own fault;
 * nothing is left to go on with; or Slurm ends it. END is decided by the leader; after it nothing is a loss.
 */
#include "node_helper/core/core_internal.h"

static struct wire_message end_message(const struct core *core) {
    const struct leader *leader = core->leader;
    struct wire_message message = { .type = WIRE_END,
                                    .epoch = wire_epoch_pack(leader->view, leader->counter),
                                    .end = { .exit_code = leader->by_slurm ? CORE_EXIT_TERMINATED : leader->end_code,
                                             .kill = leader->end_kill } };
    core_copy_text(message.end.text, sizeof message.end.text, leader->end_text);
    return message;
}

void ending_send(struct core *core, uint32_t peer) {
    struct wire_message message = end_message(core);
    emit_send(core, peer, &message);
}

/* Its helper is out, and it has not been started again yet: a takeover is under way. */
static bool is_gone(const struct core *core, const struct lead_rank *rank) {
    const struct lead_member *member = leader_member(core->leader, rank->seat.helper);
    return core->leader->phase != LEAD_ASSEMBLING && (member == NULL || !member->alive);
}

static void decide(struct core *core, uint32_t exit_code, bool kill, const char *text) {
    struct leader *leader = core->leader;
    if (leader->phase >= LEAD_ENDING) {
        return;
    }
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &leader->ranks[i];
        rank->exited = rank->exited || rank->pending || leader->phase == LEAD_ASSEMBLING || rank->loss != WIRE_NONE ||
                       is_gone(core, rank);
        rank->pending = false;
        rank->judge_ns = CORE_NEVER;
    }
    takeover_end_muster(core);
    leader->phase = kill ? LEAD_ENDED : LEAD_ENDING;
    leader->epoch_wanted = false;
    late_stop(leader);
    leader->asked_ns = leader->linger_ns = leader->waited_ns = CORE_NEVER;
    leader->end_kill = kill;
    leader->end_code = exit_code;
    core_copy_text(leader->end_text, sizeof leader->end_text, text);
    if (kill) {
        report_end(core);
    }
    struct wire_message message = end_message(core);
    emit_to_all(core, &message);
}

void ending_give_up(struct core *core, uint32_t exit_code, const char *text) {
    decide(core, exit_code, true, text);
}

void ending_by_slurm(struct core *core) {
    if (core->leader->phase >= LEAD_ENDING) {
        return;
    }
    /* How long programs that run may take for their end is between Slurm and them. But of a program that was about to
     * be started no end may ever be told; nor to a leader that has taken over of one that moved in an epoch it missed.
     */
    struct leader *leader = core->leader;
    bool all_run = leader->serial_floor == 0 &&
                   (leader->phase == LEAD_RUNNING ||
                    (leader->phase != LEAD_ASSEMBLING && !leader->library_seen && !leader->recovering));
    leader->by_slurm = true;
    decide(core, 0, false, "Slurm ends the step");
    leader->linger_ns = all_run ? CORE_NEVER : core->now_ns + CORE_KILL_WAIT_NS;
}

void ending_of_all(struct core *core) {
    bool failed = false;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        struct lead_rank *rank = &core->leader->ranks[i];
        rank->exited = true; /* decide() has done with the rest */
        failed = failed || rank->exit_code != 0;
    }
    decide(core, 0, false,
           failed && core->leader->library_seen ? "the program has ended by itself with an error"
                                                : "every program has ended");
}

static bool has_finished(const struct lead_rank *rank) {
    return rank->finished;
}

static bool has_come_to_its_end(const struct lead_rank *rank) {
    return rank->finished || rank->exited;
}

static bool has_exited(const struct lead_rank *rank) {
    return rank->exited;
}

/* Slurm has asked for the end, and every rank has come to finish: they are done after all. */
static void finish_by_slurm(struct core *core) {
    struct leader *leader = core->leader;
    if (!plan_is_done_by_all(core, has_finished)) {
        return;
    }
    leader->by_slurm = false;
    struct wire_message message = end_message(core);
    emit_to_all(core, &message);
}

void ending_on_finished(struct core *core, const struct wire_message *message) {
    struct leader *leader = core->leader;
    uint32_t index = message->rank_step.rank;
    if (index >= core->rank_count || leader->ranks[index].seat.helper != message->from ||
        leader->ranks[index].seat.incarnation != message->rank_step.incarnation) {
        return;
    }
    leader->ranks[index].finished = true;
    if (leader->phase == LEAD_ENDING && leader->by_slurm) {
        finish_by_slurm(core);
        return;
    }
    ending_check_finished(core);
}

/* Only who still leads for certain may say that all is done: another leader may have begun anew. */
void ending_check_finished(struct core *core) {
    const struct leader *leader = core->leader;
    if (leader->phase != LEAD_RUNNING || !plan_is_done_by_all(core, has_come_to_its_end)) {
        return;
    }
    bool any = false;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        any = any || leader->ranks[i].finished;
    }
    if (any && quorum_leads(core)) {
        decide(core, 0, false, "finished");
    }
}

static uint32_t code_of(const struct wire_loss *loss) {
    bool is_exit = loss->cause == WIRE_CAUSE_EXIT || loss->cause == WIRE_CAUSE_ABORTED;
    bool is_signal =
        loss->cause == WIRE_CAUSE_SIGNAL || loss->cause == WIRE_CAUSE_SIGNALLED || loss->cause == WIRE_CAUSE_MEMORY;
    return is_exit ? loss->detail : is_signal ? 128 + loss->detail : 1;
}

void ending_on_exit(struct core *core, uint32_t index, const struct wire_loss *loss) {
    struct leader *leader = core->leader;
    struct lead_rank *rank = &leader->ranks[index];
    rank->exited = true;
    rank->exit_code = code_of(loss);
    if (leader->phase >= LEAD_ENDING) {
        /* What Slurm ends may take its grace time, each rank its own; who dies meanwhile falls silent. */
        if (leader->linger_ns == CORE_NEVER && !leader->by_slurm) {
            leader->linger_ns = core->now_ns + CORE_LINGER_NS;
        }
        return;
    }
    bool ends_all = leader->library_seen || core->config.kill_on_bad_exit || loss->cause == WIRE_CAUSE_ABORTED;
    if (rank->exit_code != 0 && ends_all) {
        /* The others would wait for it for ever. Their own ends, under way at the same moment, do not count. */
        decide(core, rank->exit_code, true,
               loss->cause == WIRE_CAUSE_ABORTED ? "the program has aborted"
                                                 : "the program has ended by itself with an error");
        return;
    }
    for (uint32_t i = 0; i < core->rank_count; i++) {
        if (!leader->ranks[i].exited) {
            leader->waited_ns = core->config.wait_ns != 0 && leader->waited_ns == CORE_NEVER
                                    ? core->now_ns + core->config.wait_ns
                                    : leader->waited_ns;
            return;
        }
    }
    decide(core, 0, false, "every program has ended");
}

/* The user's bound on waiting for the others: as srun, which would send them SIGKILL. */
static void check_wait(struct core *core) {
    if (core->now_ns >= core->leader->waited_ns) {
        decide(core, 128 + 9, true, "the others have not ended within --wait of the first");
    }
}

void ending_check(struct core *core) {
    struct leader *leader = core->leader;
    check_wait(core);
    if (leader->phase != LEAD_ENDING) {
        return;
    }
    if (core->now_ns < leader->linger_ns && !plan_is_done_by_all(core, has_exited)) {
        return;
    }
    uint32_t worst = leader->end_code;
    for (uint32_t i = 0; i < core->rank_count; i++) {
        worst = leader->ranks[i].exit_code > worst ? leader->ranks[i].exit_code : worst;
    }
    leader->phase = LEAD_ENDED;
    leader->end_code = worst;
    report_end(core);
    struct core_action *action = emit(core, CORE_ACTION_END);
    action->exit_code = worst;
    action->kill = false;
}
