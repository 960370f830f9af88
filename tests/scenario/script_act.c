/*
 * What a core's actions do to the programs, and what the transcript says of them; see script.h.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script.h"

void script_program_event(uint32_t node, uint32_t slot, enum core_event_type type, uint64_t epoch) {
    struct script_program *program = &script.nodes[node].programs[slot];
    script_handle(node, (struct core_event){
                            .type = type,
                            .slot = slot,
                            .incarnation = program->incarnation,
                            .has_state = program->has_state,
                            .step = program->step,
                            .layout = { core_slot_rank(script.nodes[node].core, slot) == script.odd_layout_rank, 0 },
                            .epoch = epoch,
                            .bytes = 1000 });
}

void script_program_starts(uint32_t node, uint32_t slot) {
    script.nodes[node].programs[slot].starting = false;
    if (!script.uses_library) {
        return;
    }
    script_program_event(node, slot, CORE_EVENT_ATTACHED, 0);
    if (core_slot_rank(script.nodes[node].core, slot) != WIRE_NONE) {
        script.nodes[node].programs[slot].in_recover = true;
        script_program_event(node, slot, CORE_EVENT_ARRIVED, 0);
    }
}

void script_program_recovers(uint32_t node, uint32_t slot) {
    struct script_program *program = &script.nodes[node].programs[slot];
    program->running = false;
    program->in_recover = true;
    script_program_event(node, slot, CORE_EVENT_ARRIVED, program->epoch);
}

static uint64_t script_ms(void) {
    return (script.now_ns - SCRIPT_BOOT_NS) / NS_PER_MS;
}

static void begin_line(uint32_t node) {
    fprintf(script.out, "> %6" PRIu64 " n%u ", script_ms(), node);
}

static void print_list(const uint32_t *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        fprintf(script.out, "%s%d", i > 0 ? "," : "", (int)list[i]);
    }
}

static void print_trace(const struct core_trace *trace) {
    char why[256];
    switch (trace->type) {
    case CORE_TRACE_START:
        fprintf(script.out, "start %u ranks\n", trace->rank_count);
        break;
    case CORE_TRACE_LOSS:
        wire_cause_describe(trace->cause, trace->detail, trace->text, why, sizeof why);
        fprintf(script.out, "loss %s n%u: %s; ranks ", trace->node_lost ? "of" : "on", trace->node, why);
        print_list(trace->ranks, trace->rank_count);
        fprintf(script.out, " -> ");
        print_list(trace->target_nodes, trace->rank_count);
        fprintf(script.out, "\n");
        break;
    case CORE_TRACE_EPOCH:
        fprintf(script.out, "epoch %u\n", trace->ordinal);
        break;
    case CORE_TRACE_RESUME:
        fprintf(script.out, "resumed at step %llu, epoch %u, %llu bytes pulled\n", (unsigned long long)trace->step,
                trace->ordinal, (unsigned long long)trace->bytes);
        break;
    case CORE_TRACE_SPARE:
        fprintf(script.out, "spare n%u: %s\n", trace->node, trace->text);
        break;
    case CORE_TRACE_LEADER:
        fprintf(script.out, "leads\n");
        break;
    case CORE_TRACE_WARNING:
        fprintf(script.out, "warning: %s\n", trace->text);
        break;
    case CORE_TRACE_END:
        fprintf(script.out, "end %u: %s\n", trace->exit_code, trace->text);
        break;
    }
}

static void say(uint32_t node, const struct core_action *action, const char *what) {
    begin_line(node);
    fprintf(script.out, "%s", what);
    if (action->rank != WIRE_NONE) {
        fprintf(script.out, " rank %u", action->rank);
    }
    fprintf(script.out, " slot %u.%u", action->slot, action->incarnation);
    uint32_t generation = core_generation(script.nodes[node].core);
    if (action->type == CORE_ACTION_START && generation > 0) {
        fprintf(script.out, " generation %u", generation);
    }
    fprintf(script.out, "\n");
}

static void on_start(uint32_t node, const struct core_action *action) {
    say(node, action, "START");
    script.nodes[node].programs[action->slot] =
        (struct script_program){ .alive = true, .incarnation = action->incarnation, .starting = true };
    if (!script.hold_starts) {
        script_program_starts(node, action->slot);
    }
}

static void on_pull(uint32_t node, const struct core_action *action) {
    struct script_program *program = &script.nodes[node].programs[action->slot];
    fprintf(script.out, "> %6" PRIu64 " n%u PULL rank %u step %llu from ", script_ms(), node, action->rank,
            (unsigned long long)action->step);
    print_list(action->ranks, action->rank_count);
    fprintf(script.out, "\n");
    program->pull_step = action->step;
    program->pull_waits = true;
    if (!script.hold_pulls) {
        program->pull_waits = false;
        script_program_event(node, action->slot, CORE_EVENT_PULLED, 0);
    }
}

static void on_recovered(uint32_t node, const struct core_action *action) {
    struct script_program *program = &script.nodes[node].programs[action->slot];
    static const char *const names[] = { "OK", "INTERRUPTED", "RELOAD" };
    begin_line(node);
    fprintf(script.out, "recover rank %u: %s\n", action->rank, action->result <= 2 ? names[action->result] : "error");
    program->in_recover = false;
    program->epoch = action->epoch;
    program->running = action->result == CKPTLESS_OK;
    if (action->result == CKPTLESS_OK) {
        program->has_state = true;
        program->step = action->step;
    } else if (action->result == CKPTLESS_RELOAD) {
        program->has_state = false;
        program->step = script.load_step[action->rank];
        program->reload_waits = true;
        if (!script.hold_reloads) {
            program->reload_waits = false;
            script_program_event(node, action->slot, CORE_EVENT_RELOADED, program->epoch);
        }
    }
}

static void on_interrupt(uint32_t node, const struct core_action *action) {
    struct script_program *program = &script.nodes[node].programs[action->slot];
    say(node, action, "INTERRUPT");
    if ((program->running || program->reload_waits) && !program->hangs) {
        program->reload_waits = false;
        script_program_recovers(node, action->slot);
    }
}

static void on_reloaded(uint32_t node, const struct core_action *action) {
    struct script_program *program = &script.nodes[node].programs[action->slot];
    if (action->result > CKPTLESS_RELOAD) {
        begin_line(node);
        fprintf(script.out, "reloaded rank %u: error\n", action->rank);
    }
    program->running = program->has_state = action->result == CKPTLESS_OK;
    if (action->result == CKPTLESS_INTERRUPTED) {
        script_program_recovers(node, action->slot);
    }
}

static void on_finished(uint32_t node, const struct core_action *action) {
    bool ok = action->result == CKPTLESS_OK;
    begin_line(node);
    fprintf(script.out, "finish rank %u: %s\n", action->rank, ok ? "OK" : "INTERRUPTED");
    script.nodes[node].programs[action->slot].running = false;
    if (!ok) {
        script_program_recovers(node, action->slot);
    }
}

static void on_promoted(uint32_t node, const struct core_action *action) {
    say(node, action, "PROMOTE");
    if (!script.nodes[node].programs[action->slot].starting) {
        script_program_starts(node, action->slot);
    }
}

/* Of the helper itself. */
static void carry_out_helpers(uint32_t node, const struct core_action *action) {
    switch (action->type) {
    case CORE_ACTION_SEND:
        script_send(node, action);
        return;
    case CORE_ACTION_LEADER:
        script.nodes[node].seeks = action->peer != script.nodes[node].id;
        return;
    case CORE_ACTION_HOLD:
    case CORE_ACTION_CONTINUE:
        script.nodes[node].held = action->type == CORE_ACTION_HOLD;
        begin_line(node);
        fprintf(script.out, "%s\n", script.nodes[node].held ? "HOLD" : "CONTINUE");
        return;
    case CORE_ACTION_END:
        begin_line(node);
        fprintf(script.out, "END %u%s\n", action->exit_code, action->kill ? " kill" : "");
        return;
    case CORE_ACTION_PRESENT:
        begin_line(node);
        fprintf(script.out, "PRESENT rank %u\n", action->rank);
        return;
    case CORE_ACTION_TRACE:
        begin_line(node);
        print_trace(&action->trace);
        return;
    case CORE_ACTION_WELCOME:
    case CORE_ACTION_REFUSE:
        begin_line(node);
        fprintf(script.out, "%s\n", action->type == CORE_ACTION_WELCOME ? "WELCOME" : "REFUSE");
        return;
    default:
        return;
    }
}

static void carry_out(uint32_t node, const struct core_action *action) {
    struct script_program *program = &script.nodes[node].programs[action->slot];
    switch (action->type) {
    case CORE_ACTION_START:
        on_start(node, action);
        return;
    case CORE_ACTION_PROMOTE:
        on_promoted(node, action);
        return;
    case CORE_ACTION_KILL:
        say(node, action, "KILL");
        program->alive = program->running = program->starting = program->pull_waits = false;
        return;
    case CORE_ACTION_INTERRUPT:
        on_interrupt(node, action);
        return;
    case CORE_ACTION_PULL:
        on_pull(node, action);
        return;
    case CORE_ACTION_CANCEL_PULL:
        say(node, action, "CANCEL-PULL");
        program->pull_waits = false;
        return;
    case CORE_ACTION_ANSWER_RECOVER:
        on_recovered(node, action);
        return;
    case CORE_ACTION_ANSWER_RELOADED:
        on_reloaded(node, action);
        return;
    case CORE_ACTION_ANSWER_FINISH:
        on_finished(node, action);
        return;
    default:
        carry_out_helpers(node, action);
    }
}

/* Actions are copied first: programs react at once, with further steps of the same core. */
void script_handle(uint32_t node, struct core_event event) {
    if (!script.nodes[node].on || script.nodes[node].core == NULL) {
        return;
    }
    event.now_ns = script.now_ns;
    struct core_actions actions = core_step(script.nodes[node].core, &event);
    struct core_action *list = malloc((actions.count + 1) * sizeof *list);
    uint32_t **copies = calloc(actions.count + 1, sizeof *copies);
    memcpy(list, actions.list, actions.count * sizeof *list);
    for (uint32_t i = 0; i < actions.count; i++) { /* whoever is welcomed is there for what is sent to it at once */
        if (list[i].type == CORE_ACTION_WELCOME) {
            uint32_t index = script_node_of(list[i].peer);
            script.nodes[index].id = list[i].peer;
            script.nodes[index].core = script_new_core(list[i].peer, index);
        }
    }
    for (uint32_t i = 0; i < actions.count; i++) { /* messages leave before anything else can change what they borrow */
        if (list[i].type == CORE_ACTION_SEND) {
            carry_out(node, &list[i]);
        } else if (list[i].ranks != NULL) {
            copies[i] = malloc((list[i].rank_count + 1) * sizeof **copies);
            memcpy(copies[i], list[i].ranks, list[i].rank_count * sizeof **copies);
            list[i].ranks = copies[i];
        } else if (list[i].type == CORE_ACTION_TRACE) {
            carry_out(node, &list[i]);
        }
    }
    for (uint32_t i = 0; i < actions.count; i++) {
        if (list[i].type != CORE_ACTION_SEND && list[i].type != CORE_ACTION_TRACE) {
            carry_out(node, &list[i]);
        }
        free(copies[i]);
    }
    free(copies);
    free(list);
}
