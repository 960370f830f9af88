/* Trace records of the leader: facts for users' lines and the timeline. Decides nothing. */
#include "node_helper/core/core_internal.h"

static struct core_trace *trace(struct core *core, enum core_trace_type type) {
    struct leader *leader = core->leader;
    struct core_action *action = emit(core, CORE_ACTION_TRACE);
    action->trace = (struct core_trace){ .type = type,
                                         .epoch = wire_epoch_pack(leader->view, leader->counter),
                                         .ordinal = leader->ordinal,
                                         .node = WIRE_NONE };
    return &action->trace;
}

void report_start(struct core *core) {
    trace(core, CORE_TRACE_START)->rank_count = core->rank_count;
}

/* One record a loss; its ranks and their targets stand in a stretch of trace_ranks, trace_targets and trace_slots. */
void report_losses(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t used = 0;
    for (uint32_t i = 0; i < leader->loss_count; i++) {
        const struct lead_loss *loss = &leader->losses[i];
        struct core_trace *record = trace(core, CORE_TRACE_LOSS);
        record->node = loss->node;
        record->node_lost = loss->node_lost;
        record->cause = loss->cause;
        record->detail = loss->detail;
        record->text = loss->text;
        record->ranks = &leader->trace_ranks[used];
        record->target_nodes = &leader->trace_targets[used];
        record->target_slots = &leader->trace_slots[used];
        for (uint32_t rank = 0; rank < core->rank_count; rank++) {
            if (leader->ranks[rank].loss == i) {
                leader->trace_ranks[used] = rank;
                leader->trace_slots[used] = leader->ranks[rank].seat.slot;
                leader->trace_targets[used++] = core_node_of(core, leader->ranks[rank].seat.helper);
                record->rank_count++;
            }
        }
    }
}

void report_epoch(struct core *core) {
    trace(core, CORE_TRACE_EPOCH);
}

static uint64_t span(uint64_t from_ns, uint64_t to_ns) {
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

void report_resume(struct core *core) {
    struct leader *leader = core->leader;
    struct core_trace *record = trace(core, CORE_TRACE_RESUME);
    record->step = leader->resume_step;
    record->bytes = leader->pulled_bytes;
    record->phase_ns[CORE_PHASE_DETECT] = leader->detect_ns;
    uint64_t survivors_ns = leader->survivors_ns != 0 ? leader->survivors_ns : leader->arrived_ns;
    record->phase_ns[CORE_PHASE_AGREE] = span(leader->loss_ns, survivors_ns);
    record->phase_ns[CORE_PHASE_START] = span(survivors_ns, leader->arrived_ns);
    record->phase_ns[CORE_PHASE_PULL] = span(leader->arrived_ns, leader->go_ns);
    record->phase_ns[CORE_PHASE_CONNECT] = span(leader->go_ns, core->now_ns);
}

static struct core_trace *trace_spare(struct core *core, uint32_t node, const char *text) {
    struct core_trace *record = trace(core, CORE_TRACE_SPARE);
    record->node = node;
    record->text = text;
    return record;
}

void report_spare(struct core *core, uint32_t node, const char *text) {
    (void)trace_spare(core, node, text);
}

void report_spare_lost(struct core *core, uint32_t node, uint8_t cause) {
    const char *text = cause == WIRE_CAUSE_SILENT ? "spare lost: silent" : "spare lost: helper died";
    struct core_trace *record = trace_spare(core, node, text);
    record->node_lost = true;
    record->cause = cause;
}

void report_leader(struct core *core) {
    struct core_trace *record = trace(core, CORE_TRACE_LEADER);
    record->node = core_node_of(core, core->self);
}

void report_end(struct core *core) {
    struct core_trace *record = trace(core, CORE_TRACE_END);
    record->exit_code = core->leader->end_code;
    record->text = core->leader->end_text;
}
