/* What can happen next in a small world, and what must hold in each of its states. One slot a node; programs do at once
 * what they are told; a rank commits one step an epoch, at any moment after all have come to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "include/ckptless.h"
#include "node_helper/core/core.h"
#include "node_helper/wire/wire_helper.h"
#include "sim/explore.h"

#define MS 1000000ull
#define HEARTBEAT_NS (200 * MS)
#define DEAD_AFTER_NS (500 * MS)
#define FIRST_NS HEARTBEAT_NS       /* the first fault comes in this time: one round is as the next */
#define NEXT_NS (2 * DEAD_AFTER_NS) /* another one this long after it: a recovery is over by then */
#define LIVE_NS (6 * DEAD_AFTER_NS) /* after the last fault all is well again */
#define CHANNEL_MAX 48u
#define EVENTS_MAX 16u

struct program {
    bool alive, runs, recovers, has_state, has_committed;
    uint32_t rank, incarnation;
    uint64_t epoch, step;
};

struct node {
    struct core *core;
    uint32_t id, leader; /* leader: a node, by its connection when it is up */
    bool off, ended, held, up;
    uint64_t lease_end_ns;
    struct program program;
};

struct channel {
    uint32_t count, ids[CHANNEL_MAX]; /* of messages, in order */
};

static struct world {
    struct world_bounds bounds;
    uint64_t now_ns, begin_ns, fault_ns; /* the last fault */
    uint32_t losses;
    bool is_open; /* all have committed: what can happen is looked at from here on */
    struct node nodes[WORLD_NODES_MAX];
    struct channel channels[2][WORLD_NODES_MAX]
                           [WORLD_NODES_MAX]; /* 0: with the leader, 1: of those who agree on a view */
    uint64_t complete_epoch;                  /* all ranks have run in it */
    uint64_t resumed_epoch, resumed_step;
    uint64_t committed_epoch[WORLD_NODES_MAX], committer[WORLD_NODES_MAX]; /* by rank */
} * world;

static const char *failure;
static uint32_t rank_count;

static void must(bool holds, const char *otherwise) {
    failure = holds || failure != NULL ? failure : otherwise;
}

const char *world_failure(void) {
    return failure;
}

/* ---- messages: each once, told by a number */

#define MESSAGES_MAX (1u << 22)

static struct {
    uint8_t *bytes;
    size_t count;
} messages[MESSAGES_MAX]; /* by hash, open addressing */

static uint32_t message_id(const uint8_t *bytes, size_t count) {
    uint32_t at = (uint32_t)XXH3_64bits(bytes, count) % MESSAGES_MAX;
    while (messages[at].bytes != NULL &&
           (messages[at].count != count || memcmp(messages[at].bytes, bytes, count) != 0)) {
        at = (at + 1) % MESSAGES_MAX;
    }
    if (messages[at].bytes == NULL) {
        messages[at].bytes = malloc(count);
        messages[at].count = count;
        memcpy(messages[at].bytes, bytes, count);
    }
    return at;
}

static uint32_t node_of(uint32_t id) {
    return wire_helper_node(id, world->bounds.node_count, 0);
}

static void send(uint32_t from, const struct core_action *action) {
    uint8_t bytes[4096];
    uint32_t to = node_of(action->peer);
    enum wire_type type = action->message.type;
    bool is_led = (world->nodes[from].up && world->nodes[from].leader == to) ||
                  (world->nodes[to].up && world->nodes[to].leader == from);
    bool is_alone = type >= WIRE_VIEW_PREPARE || type == WIRE_END || type == WIRE_EVICTED;
    if (world->nodes[to].off || (!is_led && !is_alone)) {
        return;
    }
    struct channel *channel = &world->channels[is_led ? 0 : 1][from][to];
    size_t count = wire_message_encode(&action->message, bytes, sizeof bytes);
    must(count > 0 && channel->count < CHANNEL_MAX, "a message does not fit");
    if (failure == NULL) {
        channel->ids[channel->count++] = message_id(bytes, count);
    }
}

/* ---- programs */

struct events {
    uint32_t count;
    struct core_event list[EVENTS_MAX];
};

static void say(struct events *events, uint32_t node, enum core_event_type type) {
    const struct program *program = &world->nodes[node].program;
    must(events->count < EVENTS_MAX, "a program says too much");
    if (failure == NULL) {
        events->list[events->count++] = (struct core_event){ .type = type,
                                                             .incarnation = program->incarnation,
                                                             .epoch = program->epoch,
                                                             .has_state = program->has_state,
                                                             .step = program->step,
                                                             .bytes = 1 };
    }
}

static void recover(struct events *events, uint32_t node) {
    struct program *program = &world->nodes[node].program;
    program->runs = false;
    program->recovers = true;
    say(events, node, CORE_EVENT_ARRIVED);
}

static bool has_source(const struct core_action *action) {
    for (uint32_t node = 0; node < world->bounds.node_count; node++) {
        const struct program *program = &world->nodes[node].program;
        for (uint32_t i = 0; i < action->rank_count; i++) {
            if (program->alive && program->rank == action->ranks[i] && program->has_state &&
                program->step == action->step) {
                return true;
            }
        }
    }
    return false;
}

/* Does a living program that has a seat in this epoch hold any state? */
static bool is_held(const struct core *core) {
    for (uint32_t rank = 0; rank < rank_count; rank++) {
        struct core_seat_info seat = core_seat(core, rank);
        const struct program *program = &world->nodes[seat.node].program;
        if (program->alive && program->has_state && program->incarnation == seat.incarnation) {
            return true;
        }
    }
    return false;
}

/* All ranks resume from the same step, with its state. */
static void check_resumed(const struct program *program, const struct core_action *action) {
    must(program->has_state && program->step == action->step, "a rank resumes from a step that it does not hold");
    must(action->epoch != world->resumed_epoch || action->step == world->resumed_step,
         "two ranks resume one epoch from different steps");
    if (action->epoch > world->resumed_epoch) {
        world->resumed_epoch = action->epoch;
        world->resumed_step = action->step;
    }
}

static void note_complete(uint64_t epoch) {
    uint32_t found = 0;
    for (uint32_t node = 0; node < world->bounds.node_count; node++) {
        const struct program *program = &world->nodes[node].program;
        found += program->alive && program->runs && program->rank != WIRE_NONE && program->epoch == epoch;
    }
    world->complete_epoch = found == rank_count && epoch > world->complete_epoch ? epoch : world->complete_epoch;
}

static void on_recovered(struct events *events, uint32_t node, const struct core_action *action) {
    struct program *program = &world->nodes[node].program;
    program->recovers = program->has_committed = false;
    program->epoch = action->epoch;
    if (action->result == CKPTLESS_RELOAD) {
        must(!is_held(world->nodes[node].core), "all reload although someone holds the state");
        program->step = 0;
        say(events, node, CORE_EVENT_RELOADED);
        return;
    }
    must(action->result == CKPTLESS_OK, "recover answered with an error");
    check_resumed(program, action);
    program->runs = true;
    note_complete(program->epoch);
}

static void on_program(struct events *events, uint32_t node, const struct core_action *action) {
    struct program *program = &world->nodes[node].program;
    if (action->type == CORE_ACTION_START) {
        *program = (struct program){ .alive = true, .rank = action->rank, .incarnation = action->incarnation };
        say(events, node, CORE_EVENT_ATTACHED);
        if (program->rank != WIRE_NONE) {
            recover(events, node);
        }
        return;
    }
    if (!program->alive || program->incarnation != action->incarnation) {
        return;
    }
    switch (action->type) {
    case CORE_ACTION_PROMOTE:
        program->rank = action->rank;
        recover(events, node);
        break;
    case CORE_ACTION_KILL:
        program->alive = false;
        break;
    case CORE_ACTION_INTERRUPT:
        if (program->runs) {
            recover(events, node);
        }
        break;
    case CORE_ACTION_PULL:
        program->has_state = has_source(action);
        program->step = action->step;
        say(events, node, program->has_state ? CORE_EVENT_PULLED : CORE_EVENT_PULL_FAILED);
        break;
    case CORE_ACTION_ANSWER_RECOVER:
        on_recovered(events, node, action);
        break;
    case CORE_ACTION_ANSWER_RELOADED:
        program->has_state = program->runs = action->result == CKPTLESS_OK;
        if (!program->runs) {
            recover(events, node);
        }
        note_complete(program->epoch);
        break;
    default:
        break;
    }
}

/* ---- helpers */

static void carry_out(struct events *events, uint32_t index, const struct core_action *action) {
    struct node *node = &world->nodes[index];
    switch (action->type) {
    case CORE_ACTION_SEND:
        send(index, action);
        break;
    case CORE_ACTION_HOLD:
    case CORE_ACTION_CONTINUE:
        node->held = action->type == CORE_ACTION_HOLD;
        break;
    case CORE_ACTION_LEASE:
        node->lease_end_ns = action->until_ns;
        break;
    case CORE_ACTION_LEADER:
        node->leader = node_of(action->peer);
        node->up = false;
        break;
    case CORE_ACTION_END:
        node->ended = true;
        node->program.alive = node->program.alive && !action->kill;
        break;
    default:
        on_program(events, index, action);
        break;
    }
}

static void step(uint32_t index, struct core_event event) {
    struct events events = { .count = 1, .list = { event } };
    for (uint32_t i = 0; i < events.count && failure == NULL && !world->nodes[index].off; i++) {
        struct core_event next = events.list[i];
        next.now_ns = world->now_ns;
        struct core_actions actions = core_step(world->nodes[index].core, &next);
        for (uint32_t j = 0; j < actions.count; j++) {
            carry_out(&events, index, &actions.list[j]);
        }
    }
}

/* One number, one view; one content per epoch. */
static void check_agreement(void) {
    for (uint32_t a = 0; a < world->bounds.node_count; a++) {
        for (uint32_t b = 0; b < a; b++) {
            const struct core *one = world->nodes[a].core, *two = world->nodes[b].core;
            const uint32_t *ids_one = NULL, *ids_two = NULL;
            uint32_t view_one = 0, view_two = 0;
            uint32_t count_one = core_view(one, &view_one, &ids_one), count_two = core_view(two, &view_two, &ids_two);
            must(view_one != view_two ||
                     (count_one == count_two && memcmp(ids_one, ids_two, count_one * sizeof *ids_one) == 0),
                 "two views have one number");
            for (uint32_t rank = 0; rank < rank_count && core_epoch(one) == core_epoch(two); rank++) {
                struct core_seat_info seat_one = core_seat(one, rank), seat_two = core_seat(two, rank);
                must(seat_one.helper == seat_two.helper && seat_one.slot == seat_two.slot &&
                         seat_one.incarnation == seat_two.incarnation,
                     "an epoch has two contents");
            }
        }
    }
}

/* ---- choices */

static bool is_quiet(void) {
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < 2 * WORLD_NODES_MAX * WORLD_NODES_MAX; i++) {
        waiting += world
                       ->channels[i / (WORLD_NODES_MAX * WORLD_NODES_MAX)][i / WORLD_NODES_MAX % WORLD_NODES_MAX]
                                 [i % WORLD_NODES_MAX]
                       .count;
    }
    return waiting == 0;
}

static bool can_connect(uint32_t index) {
    const struct node *node = &world->nodes[index];
    const struct node *leader = &world->nodes[node_of(core_leader(node->core))];
    return !node->off && !node->up && node != leader && !leader->off && core_is_leader(leader->core);
}

static bool can_commit(uint32_t index) {
    const struct node *node = &world->nodes[index];
    const struct program *program = &node->program;
    return !node->off && program->alive && program->runs && !program->has_committed && !node->held &&
           program->epoch == world->complete_epoch && world->now_ns < node->lease_end_ns;
}

static bool can_fail(void) {
    return world->is_open && (world->fault_ns == 0 ? world->now_ns - world->begin_ns <= FIRST_NS
                                                   : world->now_ns - world->fault_ns <= NEXT_NS);
}

static uint64_t next_ns(void) {
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < world->bounds.node_count; i++) {
        uint64_t deadline_ns = world->nodes[i].off ? UINT64_MAX : core_next_deadline(world->nodes[i].core);
        next = deadline_ns < next ? deadline_ns : next;
    }
    return next;
}

uint32_t world_choices(struct world_choice *ret_choices) {
    uint32_t count = 0, node_count = world->bounds.node_count;
    bool is_over = world->is_open && !can_fail() &&
                   world->now_ns - (world->fault_ns != 0 ? world->fault_ns : world->begin_ns) > LIVE_NS;
    if (is_over) {
        return 0;
    }
    for (uint32_t from = 0; from < node_count; from++) {
        for (uint32_t to = 0; to < node_count; to++) {
            if (world->channels[0][from][to].count + world->channels[1][from][to].count > 0) {
                ret_choices[count++] = (struct world_choice){ WORLD_DELIVER, from, to };
            }
        }
        if (can_connect(from)) {
            ret_choices[count++] = (struct world_choice){ WORLD_CONNECT, from, 0 };
        }
        if (can_commit(from)) {
            ret_choices[count++] = (struct world_choice){ WORLD_COMMIT, from, 0 };
        }
        if (can_fail() && !world->nodes[from].off) {
            if (world->bounds.kills > 0 && world->nodes[from].program.alive) {
                ret_choices[count++] = (struct world_choice){ WORLD_KILL, from, 0 };
            }
            if (world->bounds.losses > 0) {
                ret_choices[count++] = (struct world_choice){ WORLD_LOSE, from, 0 };
            }
        }
    }
    bool is_due = is_quiet() || world->bounds.early > 0;
    for (uint32_t i = 0; i < node_count && is_due && is_quiet(); i++) {
        is_due = !can_connect(i) && !can_commit(i); /* nobody is so slow */
    }
    if (is_due && next_ns() != UINT64_MAX) {
        ret_choices[count++] = (struct world_choice){ WORLD_TIME, 0, 0 };
    }
    return count;
}

static void deliver(uint32_t from, uint32_t to) {
    struct channel *channel = &world->channels[world->channels[0][from][to].count > 0 ? 0 : 1][from][to];
    struct wire_arena arena = { 0 };
    struct wire_message message;
    uint32_t id = channel->ids[0];
    channel->count--;
    memmove(channel->ids, channel->ids + 1, channel->count * sizeof channel->ids[0]);
    channel->ids[channel->count] = 0; /* the state has no trace of it */
    must(wire_message_decode(messages[id].bytes, messages[id].count, &arena, &message), "a message cannot be decoded");
    if (failure == NULL) {
        step(to, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &message });
    }
    wire_arena_fini(&arena);
}

static void connect(uint32_t index) {
    struct node *node = &world->nodes[index];
    node->leader = node_of(core_leader(node->core));
    node->up = true;
    world->channels[0][index][node->leader] = world->channels[0][node->leader][index] = (struct channel){ 0 };
    step(node->leader, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = node->id });
    step(index, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = world->nodes[node->leader].id });
}

/* One program commits as a rank of an epoch, and none of an epoch that is over for it. */
static void commit(uint32_t index) {
    struct program *program = &world->nodes[index].program;
    uint64_t who = (uint64_t)index << 32 | program->incarnation;
    must(program->epoch >= world->committed_epoch[program->rank], "a rank commits in an epoch that is over for it");
    must(program->epoch != world->committed_epoch[program->rank] || world->committer[program->rank] == who,
         "two programs commit as one rank of an epoch");
    world->committed_epoch[program->rank] = program->epoch;
    world->committer[program->rank] = who;
    program->has_committed = true;
    program->step++;
    struct events events = { 0 };
    say(&events, index, CORE_EVENT_COMMITTED);
    step(index, events.list[0]);
}

static void pass_time(void) {
    uint64_t due_ns = next_ns();
    world->bounds.early -= !is_quiet();
    world->now_ns = due_ns > world->now_ns ? due_ns : world->now_ns;
    for (uint32_t i = 0; i < world->bounds.node_count; i++) {
        if (!world->nodes[i].off && core_next_deadline(world->nodes[i].core) <= world->now_ns) {
            step(i, (struct core_event){ .type = CORE_EVENT_TICK });
        }
    }
}

static void kill_program(uint32_t index) {
    struct events events = { 0 };
    say(&events, index, CORE_EVENT_SLOT_ENDED);
    events.list[0].cause = WIRE_CAUSE_SIGNAL;
    events.list[0].detail = 9;
    world->nodes[index].program.alive = world->nodes[index].program.runs = false;
    world->bounds.kills--;
    world->fault_ns = world->now_ns;
    step(index, events.list[0]);
}

static void lose(uint32_t index) {
    struct node *node = &world->nodes[index];
    node->off = true;
    node->up = false;
    node->program = (struct program){ .rank = WIRE_NONE };
    world->bounds.losses--;
    world->losses++;
    world->fault_ns = world->now_ns;
    for (uint32_t i = 0; i < world->bounds.node_count; i++) {
        world->channels[0][i][index] = world->channels[1][i][index] = (struct channel){ 0 };
        world->nodes[i].up = world->nodes[i].up && world->nodes[i].leader != index;
    }
}

void world_do(const struct world_choice *choice) {
    switch (choice->kind) {
    case WORLD_DELIVER:
        deliver(choice->from, choice->to);
        break;
    case WORLD_CONNECT:
        connect(choice->from);
        break;
    case WORLD_COMMIT:
        commit(choice->from);
        break;
    case WORLD_TIME:
        pass_time();
        break;
    case WORLD_KILL:
        kill_program(choice->from);
        break;
    case WORLD_LOSE:
        lose(choice->from);
        break;
    }
    check_agreement();
}

/* Once faults are over the step goes on: all ranks run in one epoch, and have committed in it. */
void world_check_end(void) {
    uint32_t well = 0, ended = 0;
    for (uint32_t i = 0; i < world->bounds.node_count; i++) {
        const struct program *program = &world->nodes[i].program;
        well += program->alive && program->rank != WIRE_NONE && program->has_committed &&
                program->epoch == world->complete_epoch;
        ended += world->nodes[i].ended;
    }
    bool may_stop = 2 * world->losses >= world->bounds.node_count || world->losses > world->bounds.spare_count;
    must(may_stop || well == rank_count, "it does not go on");
    must(may_stop || ended == 0, "a helper has ended");
}

void world_print(const struct world_choice *choice) {
    static const char *const names[] = { "a message arrives", "connects",          "commits",
                                         "time goes on",      "program is killed", "is lost" };
    if (choice->kind == WORLD_DELIVER) {
        printf("#   n%u to n%u: %s\n", choice->from, choice->to, names[choice->kind]);
    } else if (choice->kind == WORLD_TIME) {
        printf("#   %s\n", names[choice->kind]);
    } else {
        printf("#   n%u %s\n", choice->from, names[choice->kind]);
    }
}

/* ---- the first state */

static void start(void) {
    struct world_choice choices[WORLD_CHOICES_MAX];
    for (uint32_t i = 1; i < world->bounds.node_count; i++) {
        connect(i);
    }
    for (uint32_t i = 0; i < 2000 && failure == NULL; i++) { /* the first choice each time: no faults yet */
        uint32_t committed = 0;
        for (uint32_t node = 0; node < world->bounds.node_count; node++) {
            committed += world->nodes[node].program.has_committed;
        }
        if (committed == rank_count && is_quiet()) {
            return;
        }
        if (world_choices(choices) > 0) {
            world_do(&choices[0]);
        }
    }
    must(false, "it never begins");
}

void world_create(const struct world_bounds *bounds) {
    struct wire_member members[WORLD_NODES_MAX] = { 0 };
    world = memory_take(sizeof *world);
    world->bounds = *bounds;
    world->now_ns = 1000 * MS;
    rank_count = bounds->node_count - bounds->spare_count;
    struct core_config config = { .member_count = bounds->node_count,
                                  .members = members,
                                  .active_nodes = rank_count,
                                  .park = CORE_PARK_WARM,
                                  .heartbeat_ns = HEARTBEAT_NS,
                                  .dead_after_ns = DEAD_AFTER_NS,
                                  .grace_ns = 3 * DEAD_AFTER_NS,
                                  .respawn_max = 3,
                                  .restart_max = 100,
                                  .seed = 1 };
    for (uint32_t i = 0; i < bounds->node_count; i++) {
        members[i] = (struct wire_member){ .id = i, .node = i, .slot_count = 1 };
    }
    for (uint32_t i = 0; i < bounds->node_count; i++) {
        struct node *node = &world->nodes[i];
        config.self = node->id = i;
        node->program.rank = WIRE_NONE;
        node->lease_end_ns = i == 0 ? UINT64_MAX : 0;
        must(core_create(&node->core, &config) == CORE_OK, "no memory");
    }
    start();
    world->is_open = true;
    world->begin_ns = world->now_ns;
    world->fault_ns = 0;
}
