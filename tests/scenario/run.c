/*
 * Runs a scenario: real cores, one per node, a network without delay, programs that do what a well-written one does. A
 * scenario file holds commands; each is followed by the transcript that it must give, in lines that begin with "> ".
 *
 *     run FILE...             compares, one TAP point a file; says the first difference
 *     run                     all of $srcdir/tests/scenario (or the directory of the source, .)
 *     run --update FILE...    writes the transcripts that they give into the files
 *
 * Commands: world nodes=N spares=S slots=K [park=cold|warm|auto] [respawn=R] [restarts=R] [library=no]
 *   start (all helpers connect), join NODE (one does) | advance MS | commit (every rank) | commit RANK... | kill RANK |
 * exit RANK CODE end-again RANK (the end of the program before, once more) | hang RANK (ignores interrupts) | recover
 * RANK (unasked) finish [RANK] | ending NODE | layout RANK (its programs register other regions) | loads RANK STEP (it
 * reloads that step) power-off NODE | cut NODE, heal NODE (messages wait) | reset NODE (the connection breaks: what was
 * on its way is lost) freeze NODE, thaw NODE (its helper stands still) | helper-dies NODE (and its successor joins) |
 * stranger NODE (a second helper that cannot say that the first is dead) | warm-dies NODE (the parked program of its
 * slot 0) hold-starts, hold-pulls, hold-reloads, release-starts, release-pulls, release-reloads | fail-pull RANK
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/ckptless.h"
#include "node_helper/core/core.h"

#define NODES_MAX 16u
#define SLOTS_MAX 8u
#define NS_PER_MS 1000000ull
#define PENDING_MAX 4096u

struct program {
    bool alive, hangs, has_state, in_recover, running, starting, pull_waits, reload_waits;
    uint32_t incarnation;
    uint64_t step, epoch, pull_step;
};

struct node {
    struct core *core;
    uint32_t id;
    bool on, linked, frozen, held;
    struct program programs[SLOTS_MAX];
};

struct packet {
    uint32_t from_node, to_node;
    struct wire_arena arena;
    struct wire_message message;
};

static struct node nodes[NODES_MAX];
static uint32_t node_count, spare_count, slot_count;
static struct core_config config;
static uint64_t now_ns;
static bool hold_starts, hold_pulls, hold_reloads, uses_library;
static uint32_t odd_layout_rank;
static uint64_t load_step[NODES_MAX * SLOTS_MAX];
static struct packet *packets[PENDING_MAX];
static uint32_t packet_count;
static char *transcript;
static size_t transcript_bytes;
static FILE *out;

static void handle(uint32_t node, struct core_event event);

static void send_packet(uint32_t from, const struct core_action *action) {
    uint32_t to = action->peer % node_count;
    if (!nodes[to].on || nodes[to].id != action->peer) {
        return;
    }
    size_t bound = wire_message_bound(&action->message);
    uint8_t *bytes = malloc(bound);
    size_t length = wire_message_encode(&action->message, bytes, bound);
    struct packet *packet = calloc(1, sizeof *packet);
    packet->from_node = from;
    packet->to_node = to;
    if (length == 0 || packet_count == PENDING_MAX ||
        !wire_message_decode(bytes, length, &packet->arena, &packet->message)) {
        fprintf(stderr, "scenario: message %s cannot be carried\n", wire_type_name(action->message.type));
        exit(2);
    }
    free(bytes);
    packets[packet_count++] = packet;
}

static void program_event(uint32_t node, uint32_t slot, enum core_event_type type, uint64_t epoch) {
    struct program *program = &nodes[node].programs[slot];
    handle(node, (struct core_event){ .type = type,
                                      .slot = slot,
                                      .incarnation = program->incarnation,
                                      .has_state = program->has_state,
                                      .step = program->step,
                                      .layout = { core_slot_rank(nodes[node].core, slot) == odd_layout_rank, 0 },
                                      .epoch = epoch,
                                      .bytes = 1000 });
}

static void program_starts(uint32_t node, uint32_t slot) {
    nodes[node].programs[slot].starting = false;
    if (!uses_library) {
        return;
    }
    program_event(node, slot, CORE_EVENT_ATTACHED, 0);
    if (core_slot_rank(nodes[node].core, slot) != WIRE_NONE) {
        nodes[node].programs[slot].in_recover = true;
        program_event(node, slot, CORE_EVENT_ARRIVED, 0);
    }
}

static void program_recovers(uint32_t node, uint32_t slot) {
    struct program *program = &nodes[node].programs[slot];
    program->running = false;
    program->in_recover = true;
    program_event(node, slot, CORE_EVENT_ARRIVED, program->epoch);
}

static void print_list(const uint32_t *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "%s%d", i > 0 ? "," : "", (int)list[i]);
    }
}

static void print_trace(const struct core_trace *trace) {
    char why[256];
    switch (trace->type) {
    case CORE_TRACE_START:
        fprintf(out, "start %u ranks\n", trace->rank_count);
        break;
    case CORE_TRACE_LOSS:
        wire_cause_describe(trace->cause, trace->detail, trace->text, why, sizeof why);
        fprintf(out, "loss %s n%u: %s; ranks ", trace->node_lost ? "of" : "on", trace->node, why);
        print_list(trace->ranks, trace->rank_count);
        fprintf(out, " -> ");
        print_list(trace->target_nodes, trace->rank_count);
        fprintf(out, "\n");
        break;
    case CORE_TRACE_EPOCH:
        fprintf(out, "epoch %u\n", trace->ordinal);
        break;
    case CORE_TRACE_RESUME:
        fprintf(out, "resumed at step %llu, epoch %u, %llu bytes pulled\n", (unsigned long long)trace->step,
                trace->ordinal, (unsigned long long)trace->bytes);
        break;
    case CORE_TRACE_SPARE:
        fprintf(out, "spare n%u: %s\n", trace->node, trace->text);
        break;
    case CORE_TRACE_WARNING:
        fprintf(out, "warning: %s\n", trace->text);
        break;
    case CORE_TRACE_END:
        fprintf(out, "end %u: %s\n", trace->exit_code, trace->text);
        break;
    }
}

static void say(uint32_t node, const struct core_action *action, const char *what) {
    fprintf(out, "> %6llu n%u %s", (unsigned long long)(now_ns / NS_PER_MS), node, what);
    if (action->rank != WIRE_NONE) {
        fprintf(out, " rank %u", action->rank);
    }
    fprintf(out, " slot %u.%u\n", action->slot, action->incarnation);
}

static void on_start(uint32_t node, const struct core_action *action) {
    say(node, action, "START");
    nodes[node].programs[action->slot] =
        (struct program){ .alive = true, .incarnation = action->incarnation, .starting = true };
    if (!hold_starts) {
        program_starts(node, action->slot);
    }
}

static void on_pull(uint32_t node, const struct core_action *action) {
    struct program *program = &nodes[node].programs[action->slot];
    fprintf(out, "> %6llu n%u PULL rank %u step %llu from ", (unsigned long long)(now_ns / NS_PER_MS), node,
            action->rank, (unsigned long long)action->step);
    print_list(action->ranks, action->rank_count);
    fprintf(out, "\n");
    program->pull_step = action->step;
    program->pull_waits = true;
    if (!hold_pulls) {
        program->pull_waits = false;
        program_event(node, action->slot, CORE_EVENT_PULLED, 0);
    }
}

static void on_recovered(uint32_t node, const struct core_action *action) {
    struct program *program = &nodes[node].programs[action->slot];
    static const char *const names[] = { "OK", "INTERRUPTED", "RELOAD" };
    fprintf(out, "> %6llu n%u recover rank %u: %s\n", (unsigned long long)(now_ns / NS_PER_MS), node, action->rank,
            action->result <= 2 ? names[action->result] : "error");
    program->in_recover = false;
    program->epoch = action->epoch;
    program->running = action->result == CKPTLESS_OK;
    if (action->result == CKPTLESS_OK) {
        program->has_state = true;
        program->step = action->step;
    } else if (action->result == CKPTLESS_RELOAD) {
        program->has_state = false;
        program->step = load_step[action->rank];
        program->reload_waits = true;
        if (!hold_reloads) {
            program->reload_waits = false;
            program_event(node, action->slot, CORE_EVENT_RELOADED, program->epoch);
        }
    }
}

static void on_interrupt(uint32_t node, const struct core_action *action) {
    struct program *program = &nodes[node].programs[action->slot];
    say(node, action, "INTERRUPT");
    if ((program->running || program->reload_waits) && !program->hangs) {
        program->reload_waits = false;
        program_recovers(node, action->slot);
    }
}

static void carry_out(uint32_t node, const struct core_action *action) {
    struct program *program = &nodes[node].programs[action->slot];
    switch (action->type) {
    case CORE_ACTION_SEND:
        send_packet(node, action);
        break;
    case CORE_ACTION_START:
        on_start(node, action);
        break;
    case CORE_ACTION_PROMOTE:
        say(node, action, "PROMOTE");
        if (!program->starting) {
            program_starts(node, action->slot);
        }
        break;
    case CORE_ACTION_KILL:
        say(node, action, "KILL");
        program->alive = program->running = program->starting = program->pull_waits = false;
        break;
    case CORE_ACTION_INTERRUPT:
        on_interrupt(node, action);
        break;
    case CORE_ACTION_PULL:
        on_pull(node, action);
        break;
    case CORE_ACTION_CANCEL_PULL:
        say(node, action, "CANCEL-PULL");
        program->pull_waits = false;
        break;
    case CORE_ACTION_ANSWER_RECOVER:
        on_recovered(node, action);
        break;
    case CORE_ACTION_ANSWER_RELOADED:
        if (action->result > CKPTLESS_RELOAD) {
            fprintf(out, "> %6llu n%u reloaded rank %u: error\n", (unsigned long long)(now_ns / NS_PER_MS), node,
                    action->rank);
        }
        program->running = program->has_state = action->result == CKPTLESS_OK;
        if (action->result == CKPTLESS_INTERRUPTED) {
            program_recovers(node, action->slot);
        }
        break;
    case CORE_ACTION_ANSWER_FINISH:
        fprintf(out, "> %6llu n%u finish rank %u: %s\n", (unsigned long long)(now_ns / NS_PER_MS), node, action->rank,
                action->result == CKPTLESS_OK ? "OK" : "INTERRUPTED");
        program->running = false;
        if (action->result != CKPTLESS_OK) {
            program_recovers(node, action->slot);
        }
        break;
    case CORE_ACTION_HOLD:
    case CORE_ACTION_CONTINUE:
        nodes[node].held = action->type == CORE_ACTION_HOLD;
        fprintf(out, "> %6llu n%u %s\n", (unsigned long long)(now_ns / NS_PER_MS), node,
                action->type == CORE_ACTION_HOLD ? "HOLD" : "CONTINUE");
        break;
    case CORE_ACTION_END:
        fprintf(out, "> %6llu n%u END %u%s\n", (unsigned long long)(now_ns / NS_PER_MS), node, action->exit_code,
                action->kill ? " kill" : "");
        break;
    case CORE_ACTION_TRACE:
        fprintf(out, "> %6llu n%u ", (unsigned long long)(now_ns / NS_PER_MS), node);
        print_trace(&action->trace);
        break;
    case CORE_ACTION_WELCOME:
    case CORE_ACTION_REFUSE:
        fprintf(out, "> %6llu n%u %s\n", (unsigned long long)(now_ns / NS_PER_MS), node,
                action->type == CORE_ACTION_WELCOME ? "WELCOME" : "REFUSE");
        break;
    default:
        break;
    }
}

/* Actions are copied first: programs react at once, with further steps of the same core. */
static void handle(uint32_t node, struct core_event event) {
    if (!nodes[node].on || nodes[node].core == NULL) {
        return;
    }
    event.now_ns = now_ns;
    struct core_actions actions = core_step(nodes[node].core, &event);
    struct core_action *list = malloc((actions.count + 1) * sizeof *list);
    uint32_t **copies = calloc(actions.count + 1, sizeof *copies);
    memcpy(list, actions.list, actions.count * sizeof *list);
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

static bool may_arrive(const struct packet *packet) {
    return nodes[packet->from_node].linked && nodes[packet->to_node].linked && !nodes[packet->to_node].frozen;
}

static struct packet *take_packet(uint32_t index) {
    struct packet *packet = packets[index];
    memmove(&packets[index], &packets[index + 1], (--packet_count - index) * sizeof packets[0]);
    return packet;
}

static void free_packet(struct packet *packet) {
    wire_arena_fini(&packet->arena);
    free(packet);
}

static void deliver(void) {
    for (uint32_t i = 0; i < packet_count;) {
        if (!may_arrive(packets[i])) {
            i++;
            continue;
        }
        struct packet *packet = take_packet(i);
        handle(packet->to_node, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &packet->message });
        free_packet(packet);
        i = 0;
    }
}

static void drop_packets(uint32_t node) {
    for (uint32_t i = 0; i < packet_count;) {
        if (packets[i]->from_node == node || packets[i]->to_node == node) {
            free_packet(take_packet(i));
        } else {
            i++;
        }
    }
}

static bool ticks(uint32_t node) {
    return nodes[node].on && !nodes[node].frozen && nodes[node].core != NULL;
}

static void advance(uint64_t until_ns) {
    deliver();
    for (;;) {
        uint64_t next = until_ns;
        for (uint32_t i = 0; i < node_count; i++) {
            uint64_t deadline = ticks(i) ? core_next_deadline(nodes[i].core) : UINT64_MAX;
            next = deadline < next ? deadline : next;
        }
        now_ns = next > now_ns ? next : now_ns;
        if (now_ns >= until_ns) {
            now_ns = until_ns;
            return;
        }
        for (uint32_t i = 0; i < node_count; i++) {
            if (ticks(i) && core_next_deadline(nodes[i].core) <= now_ns) {
                handle(i, (struct core_event){ .type = CORE_EVENT_TICK });
            }
        }
        deliver();
    }
}

static struct core *new_core(uint32_t self, uint32_t node) {
    static struct wire_member members[NODES_MAX];
    for (uint32_t i = 0; i < node_count; i++) {
        members[i] = (struct wire_member){ .id = i == node ? self : nodes[i].id, .node = i, .slot_count = slot_count };
    }
    config.self = self;
    config.members = members;
    struct core *core = NULL;
    if (core_create(&core, &config) != CORE_OK) {
        fprintf(stderr, "scenario: core_create failed\n");
        exit(2);
    }
    return core;
}

static uint64_t value(const char *line, const char *key, uint64_t otherwise) {
    const char *found = strstr(line, key);
    return found != NULL ? strtoull(found + strlen(key), NULL, 10) : otherwise;
}

static void make_world(const char *line) {
    uses_library = strstr(line, "library=no") == NULL;
    uint32_t active = (uint32_t)value(line, "nodes=", 2);
    spare_count = (uint32_t)value(line, "spares=", 0);
    slot_count = (uint32_t)value(line, "slots=", 1);
    node_count = active + spare_count;
    config = (struct core_config){ .member_count = node_count,
                                   .active_nodes = active,
                                   .park = strstr(line, "park=cold")   ? CORE_PARK_COLD
                                           : strstr(line, "park=warm") ? CORE_PARK_WARM
                                                                       : CORE_PARK_AUTO,
                                   .heartbeat_ns = 100 * NS_PER_MS,
                                   .dead_after_ns = 500 * NS_PER_MS,
                                   .grace_ns = 10000 * NS_PER_MS,
                                   .respawn_max = (uint32_t)value(line, "respawn=", 3),
                                   .restart_max = (uint32_t)value(line, "restarts=", 10),
                                   .seed = 1 };
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i] = (struct node){ .id = i, .on = true, .linked = true };
    }
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i].core = new_core(i, i);
    }
}

static void connect_node(uint32_t node) {
    handle(node, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = 0 });
    handle(0, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = nodes[node].id });
    deliver();
}

static bool find_rank(uint32_t rank, uint32_t *ret_node, uint32_t *ret_slot) {
    if (nodes[0].core == NULL || rank >= core_rank_count(nodes[0].core)) {
        return false;
    }
    struct core_seat_info seat = core_seat(nodes[0].core, rank);
    *ret_node = seat.node;
    *ret_slot = seat.slot;
    return seat.node != WIRE_NONE;
}

static void commit(uint32_t rank) {
    uint32_t node, slot;
    if (find_rank(rank, &node, &slot) && nodes[node].programs[slot].running && !nodes[node].held) {
        nodes[node].programs[slot].step++;
        program_event(node, slot, CORE_EVENT_COMMITTED, nodes[node].programs[slot].epoch);
    }
}

static void end_program(uint32_t rank, uint8_t cause, uint32_t detail) {
    uint32_t node, slot;
    if (find_rank(rank, &node, &slot)) {
        struct program *program = &nodes[node].programs[slot];
        program->alive = program->running = program->in_recover = false;
        handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                          .slot = slot,
                                          .incarnation = program->incarnation,
                                          .cause = cause,
                                          .detail = detail });
    }
}

/* A new helper of this node says that helper `dead` is dead (WIRE_NONE: it cannot say). */
static void helper_joins(uint32_t node, uint32_t dead) {
    drop_packets(node);
    core_destroy(nodes[node].core);
    nodes[node] = (struct node){ .id = nodes[node].id + node_count, .on = true, .linked = true };
    nodes[node].core = new_core(nodes[node].id, node);
    handle(0,
           (struct core_event){ .type = CORE_EVENT_SUCCESSOR, .node = node, .peer = dead, .slot_count = slot_count });
    handle(node, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = 0 });
}

/* The connection breaks and is made again: what was on its way is lost. */
static void reset(uint32_t node) {
    drop_packets(node);
    handle(node, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = 0 });
    handle(0, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = nodes[node].id });
    connect_node(node);
}

static void release(const char *command, uint32_t node, uint32_t slot) {
    struct program *program = &nodes[node].programs[slot];
    if (strcmp(command, "release-starts") == 0 && program->starting) {
        program_starts(node, slot);
    } else if (strcmp(command, "release-pulls") == 0 && program->pull_waits) {
        program->pull_waits = false;
        program_event(node, slot, CORE_EVENT_PULLED, 0);
    } else if (strcmp(command, "release-reloads") == 0 && program->reload_waits) {
        program->reload_waits = false;
        program_event(node, slot, CORE_EVENT_RELOADED, program->epoch);
    }
}

static void finish(uint32_t node, uint32_t slot) {
    if (nodes[node].programs[slot].running) {
        program_event(node, slot, CORE_EVENT_FINISHED, nodes[node].programs[slot].epoch);
    }
}

static void each_slot(const char *command) {
    for (uint32_t node = 0; node < node_count; node++) {
        for (uint32_t slot = 0; slot < slot_count && nodes[node].on; slot++) {
            if (strcmp(command, "finish") == 0) {
                finish(node, slot);
            } else {
                release(command, node, slot);
            }
        }
    }
}

static void run_rank_command(const char *name, uint32_t number, uint32_t second) {
    uint32_t node = 0;
    uint32_t slot = 0;
    if (strcmp(name, "kill") == 0) {
        end_program(number, WIRE_CAUSE_SIGNAL, 9);
    } else if (strcmp(name, "exit") == 0) {
        end_program(number, WIRE_CAUSE_EXIT, second);
    } else if (strcmp(name, "layout") == 0) {
        odd_layout_rank = number;
    } else if (strcmp(name, "loads") == 0) {
        load_step[number] = second;
    } else if (find_rank(number, &node, &slot)) {
        if (strcmp(name, "hang") == 0) {
            nodes[node].programs[slot].hangs = true;
        } else if (strcmp(name, "recover") == 0) {
            program_recovers(node, slot);
        } else if (strcmp(name, "finish") == 0) {
            finish(node, slot);
        } else if (strcmp(name, "end-again") == 0) {
            handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                              .slot = slot,
                                              .incarnation = nodes[node].programs[slot].incarnation - 1,
                                              .cause = WIRE_CAUSE_SIGNAL,
                                              .detail = 9 });
        } else if (strcmp(name, "fail-pull") == 0) {
            nodes[node].programs[slot].pull_waits = false;
            program_event(node, slot, CORE_EVENT_PULL_FAILED, 0);
        } else {
            fprintf(stderr, "scenario: no command %s\n", name);
            exit(2);
        }
    }
}

static bool run_node_command(const char *name, uint32_t node) {
    if (node >= node_count) {
        return false;
    }
    if (strcmp(name, "power-off") == 0) {
        nodes[node].on = nodes[node].linked = false;
        drop_packets(node);
    } else if (strcmp(name, "cut") == 0) {
        nodes[node].linked = false;
    } else if (strcmp(name, "heal") == 0) {
        nodes[node].linked = true;
    } else if (strcmp(name, "helper-dies") == 0) {
        helper_joins(node, nodes[node].id);
    } else if (strcmp(name, "join") == 0) {
        connect_node(node);
    } else if (strcmp(name, "stranger") == 0) {
        handle(0, (struct core_event){
                      .type = CORE_EVENT_SUCCESSOR, .node = node, .peer = WIRE_NONE, .slot_count = slot_count });
    } else if (strcmp(name, "reset") == 0) {
        reset(node);
    } else if (strcmp(name, "freeze") == 0) {
        nodes[node].frozen = true;
    } else if (strcmp(name, "thaw") == 0) {
        nodes[node].frozen = false;
        handle(node, (struct core_event){ .type = CORE_EVENT_TICK });
    } else if (strcmp(name, "warm-dies") == 0) {
        handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                          .incarnation = nodes[node].programs[0].incarnation,
                                          .cause = WIRE_CAUSE_SIGNAL,
                                          .detail = 9 });
    } else if (strcmp(name, "ending") == 0) {
        handle(node, (struct core_event){ .type = CORE_EVENT_ENDING });
    } else {
        return false;
    }
    return true;
}

static void run_command(char *line) {
    char name[32] = "";
    unsigned numbers[2] = { 0, 0 };
    int fields = sscanf(line, "%31s %u %u", name, &numbers[0], &numbers[1]);
    if (strcmp(name, "world") == 0) {
        make_world(line);
    } else if (strcmp(name, "start") == 0) {
        for (uint32_t i = 1; i < node_count; i++) {
            connect_node(i);
        }
        handle(0, (struct core_event){ .type = CORE_EVENT_TICK });
    } else if (strcmp(name, "advance") == 0) {
        advance(now_ns + numbers[0] * NS_PER_MS);
    } else if (strcmp(name, "commit") == 0) {
        for (uint32_t rank = 0; rank < core_rank_count(nodes[0].core); rank++) {
            if (fields == 1 || rank == numbers[0] || (fields == 3 && rank == numbers[1])) {
                commit(rank);
            }
        }
    } else if (strncmp(name, "hold-", 5) == 0) {
        hold_starts = hold_starts || strcmp(name, "hold-starts") == 0;
        hold_pulls = hold_pulls || strcmp(name, "hold-pulls") == 0;
        hold_reloads = hold_reloads || strcmp(name, "hold-reloads") == 0;
    } else if ((strcmp(name, "finish") == 0 && fields == 1) || strncmp(name, "release-", 8) == 0) {
        hold_starts = hold_starts && strcmp(name, "release-starts") != 0;
        hold_pulls = hold_pulls && strcmp(name, "release-pulls") != 0;
        hold_reloads = hold_reloads && strcmp(name, "release-reloads") != 0;
        each_slot(name);
    } else if (!run_node_command(name, numbers[0])) {
        run_rank_command(name, numbers[0], numbers[1]);
    }
    deliver();
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    char *text = NULL;
    size_t capacity = 0;
    if (getdelim(&text, &capacity, '\0', file) < 0) {
        text = calloc(1, 1);
    }
    fclose(file);
    return text;
}

static void first_difference(const char *path, const char *expected, const char *got) {
    unsigned line = 1;
    while (*expected != '\0' && *expected == *got) {
        line += *expected == '\n';
        expected++;
        got++;
    }
    while (got > transcript && got[-1] != '\n') {
        got--;
        expected--;
    }
    printf("# %s:%u: expected: %.*s\n#   got: %.*s\n", path, line, (int)strcspn(expected, "\n"), expected,
           (int)strcspn(got, "\n"), got);
}

static void forget_world(void) {
    for (uint32_t i = 0; i < node_count; i++) {
        core_destroy(nodes[i].core);
    }
    while (packet_count > 0) {
        free_packet(take_packet(0));
    }
    memset(nodes, 0, sizeof nodes);
    memset(load_step, 0, sizeof load_step);
    node_count = 0;
    now_ns = 0;
    hold_starts = hold_pulls = hold_reloads = false;
    odd_layout_rank = WIRE_NONE - 1;
}

/* True: the transcript is the expected one, or has been written. */
static bool run_file(const char *path, bool update) {
    char *script = read_file(path);
    char *copy = strdup(script);
    out = open_memstream(&transcript, &transcript_bytes);
    forget_world();
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] == '>') {
            continue;
        }
        fprintf(out, "%s\n", line);
        if (line[0] != '#') {
            run_command(line);
        }
    }
    fclose(out);
    forget_world();
    bool ok = update || strcmp(script, transcript) == 0;
    if (update) {
        FILE *file = fopen(path, "w");
        ok = file != NULL && fputs(transcript, file) >= 0;
        ok = file != NULL && fclose(file) == 0 && ok;
    } else if (!ok) {
        first_difference(path, script, transcript);
    }
    free(script);
    free(copy);
    free(transcript);
    return ok;
}

int main(int argc, char **argv) {
    bool update = argc > 1 && strcmp(argv[1], "--update") == 0;
    char **paths = argv + (update ? 2 : 1);
    size_t count = (size_t)argc - (update ? 2 : 1);
    glob_t found = { 0 };
    if (count == 0) {
        const char *source = getenv("srcdir");
        char pattern[4096];
        snprintf(pattern, sizeof pattern, "%s/tests/scenario/*.txt", source != NULL ? source : ".");
        if (glob(pattern, 0, NULL, &found) != 0) {
            fprintf(stderr, "usage: run [--update] [FILE...]\nscenario: nothing at %s\n", pattern);
            return 2;
        }
        paths = found.gl_pathv;
        count = found.gl_pathc;
    }
    size_t failed = 0;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        bool ok = run_file(paths[i], update);
        const char *name = strrchr(paths[i], '/');
        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, name != NULL ? name + 1 : paths[i]);
        failed += !ok;
    }
    globfree(&found);
    return failed > 0;
}
