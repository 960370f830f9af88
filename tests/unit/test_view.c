/*
 * Agreement on views, alone: random schedules of up to seven helpers with losses, repetitions, reordering, crashes,
 * one-way cuts and clocks that drift; then quiet, in which the survivors must find to one view. What must hold at every
 * moment: a view's number stands for one set of members, and none is decided behind the back of a leader whose lease
 * still runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/core/view.h"

#define NODES_MAX 7u
#define LETTERS_MAX 512u
#define VIEWS_MAX 256u
#define MS 1000000ull
#define DEAD_AFTER_NS (500 * MS)
#define HEARTBEAT_NS (100 * MS)
#define RUNS 10000u

struct letter {
    uint64_t at_ns;
    uint32_t to, ids[NODES_MAX];
    struct wire_message message;
};

struct node {
    struct view view;
    bool crashed;
    uint32_t drift_ppm;    /* its clock runs faster by this */
    uint64_t heartbeat_ns; /* the next one, own clock */
    uint64_t followed_ns;  /* the leader's stamp in the last answer that bound us; 0: none */
    /* As a leader: what each member has echoed, when it was heard, whether it has promised itself to another. */
    uint64_t stamps[NODES_MAX], heard_ns[NODES_MAX];
    bool strays[NODES_MAX];
    uint32_t stamps_number;
};

struct world {
    uint64_t random, now_ns;
    uint32_t count;
    bool quiet;
    bool cut[NODES_MAX][NODES_MAX];
    struct node nodes[NODES_MAX];
    struct letter letters[LETTERS_MAX];
    uint32_t letter_count;
    uint32_t decided_count[VIEWS_MAX], decided[VIEWS_MAX][NODES_MAX];
    uint32_t views; /* highest number decided */
    const char *failure;
};

static uint64_t roll(struct world *world, uint64_t bound) {
    world->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t mixed = world->random;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    return bound > 0 ? (mixed ^ (mixed >> 31)) % bound : 0;
}

static uint64_t clock_of(const struct world *world, uint32_t node) {
    return world->now_ns + world->now_ns / 1000000 * world->nodes[node].drift_ppm;
}

static void post(struct world *world, uint32_t from, uint32_t to, const struct wire_message *message) {
    uint32_t copies = world->quiet ? 1 : roll(world, 20) == 0 ? 2 : 1;
    if (to == from || to >= world->count || (!world->quiet && roll(world, 15) == 0)) {
        return;
    }
    for (uint32_t i = 0; i < copies && world->letter_count < LETTERS_MAX; i++) {
        struct letter *letter = &world->letters[world->letter_count++];
        uint64_t delay_ns = world->quiet ? MS : roll(world, 10) == 0 ? roll(world, 300 * MS) : roll(world, 5 * MS);
        *letter = (struct letter){ .at_ns = world->now_ns + delay_ns, .to = to, .message = *message };
        letter->message.from = from;
        if (message->type >= WIRE_VIEW_PREPARE && message->view.member_count > 0) {
            memcpy(letter->ids, message->view.members, message->view.member_count * sizeof(letter->ids[0]));
        }
    }
}

/* The end of a leader's lease by its own clock: a quorum of members was bound to it at that stamp. */
static uint64_t lease_end_ns(const struct node *node) {
    bool bound[NODES_MAX] = { false };
    uint64_t best_ns = 0;
    for (uint32_t i = 0; i < node->view.members.count; i++) {
        uint64_t stamp = node->stamps[i];
        for (uint32_t j = 0; j < node->view.members.count; j++) {
            bool is_self = node->view.members.ids[j] == node->view.self;
            bound[j] = is_self || (stamp > 0 && node->stamps[j] >= stamp);
        }
        if (stamp > best_ns && view_is_quorum(&node->view, bound)) {
            best_ns = stamp;
        }
    }
    return best_ns == 0 ? 0 : best_ns + DEAD_AFTER_NS - DEAD_AFTER_NS / 50;
}

static void check_decided(struct world *world, uint32_t by, const struct view_output *output) {
    const struct view *view = &world->nodes[by].view;
    uint32_t number = view->number;
    if (number >= VIEWS_MAX) {
        world->failure = "too many views";
        return;
    }
    if (world->decided_count[number] > 0) {
        if (world->decided_count[number] != view->members.count ||
            memcmp(world->decided[number], view->members.ids, view->members.count * sizeof(uint32_t)) != 0) {
            world->failure = "one number, two views";
        }
        return;
    }
    world->decided_count[number] = view->members.count;
    memcpy(world->decided[number], view->members.ids, view->members.count * sizeof(uint32_t));
    world->views = number > world->views ? number : world->views;
    struct node *leader = &world->nodes[output->former->ids[0]];
    if (output->former->ids[0] != by && leader->view.number == number - 1 && !leader->crashed &&
        clock_of(world, output->former->ids[0]) < lease_end_ns(leader)) {
        world->failure = "a view behind the leader's back";
    }
}

static void carry_out(struct world *world, uint32_t by, const struct view_output *output) {
    struct node *node = &world->nodes[by];
    if (output->decided) {
        check_decided(world, by, output);
        node->followed_ns = 0;
        memset(node->stamps, 0, sizeof(node->stamps));
        memset(node->strays, 0, sizeof(node->strays));
        for (uint32_t i = 0; i < NODES_MAX; i++) {
            node->heard_ns[i] = clock_of(world, by);
        }
    }
    if (output->send == VIEW_SEND_ONE) {
        post(world, by, output->peer, &output->message);
    } else if (output->send == VIEW_SEND_MEMBERS) {
        const struct view_members *to = output->decided ? output->former : &node->view.members;
        for (uint32_t i = 0; i < to->count; i++) {
            post(world, by, to->ids[i], &output->message);
        }
    }
    if (output->decided && output->is_own) {
        struct wire_message message = view_decided_message(&node->view);
        for (uint32_t i = 0; i < output->former->count; i++) {
            post(world, by, output->former->ids[i], &message);
        }
    }
}

/* A leader wants whoever it has heard of late; and its view again, when members have promised themselves to others. */
static void lead(struct world *world, uint32_t by) {
    struct node *node = &world->nodes[by];
    struct view_output output;
    uint32_t wish[NODES_MAX], count = 0;
    uint64_t now_ns = clock_of(world, by);
    bool changes = now_ns >= lease_end_ns(node) && lease_end_ns(node) != 0;
    for (uint32_t i = 0; i < node->view.members.count; i++) {
        changes = changes || node->strays[i];
        if (node->view.members.ids[i] == by || now_ns - node->heard_ns[i] < DEAD_AFTER_NS) {
            wish[count++] = node->view.members.ids[i];
        } else {
            changes = true;
        }
    }
    if (changes && node->view.stage == VIEW_IDLE) {
        view_propose(&node->view, now_ns, wish, count, &output);
        carry_out(world, by, &output);
    }
}

static uint32_t index_of(const struct view *view, uint32_t id) {
    uint32_t i = 0;
    while (i < view->members.count && view->members.ids[i] != id) {
        i++;
    }
    return i;
}

static void on_letter(struct world *world, const struct letter *letter) {
    struct node *node = &world->nodes[letter->to];
    struct wire_message message = letter->message;
    struct view_output output;
    uint64_t now_ns = clock_of(world, letter->to);
    uint32_t from = message.from, at = index_of(&node->view, from);
    if (node->crashed || world->cut[from][letter->to]) {
        return;
    }
    if (message.type >= WIRE_VIEW_PREPARE) {
        message.view.members = letter->ids;
        view_on_message(&node->view, now_ns, &message, &output);
        carry_out(world, letter->to, &output);
    } else if (message.type == WIRE_HEARTBEAT) {
        /* epoch: the sender's view */
        if (view_leader(&node->view) == letter->to && message.epoch == node->view.number &&
            at < node->view.members.count) {
            node->heard_ns[at] = now_ns;
            node->strays[at] = message.heartbeat.sent_ns > VIEW_BALLOT_LEADER;
            node->stamps[at] =
                message.heartbeat.lease_ns > node->stamps[at] ? message.heartbeat.lease_ns : node->stamps[at];
            struct wire_message answer = { .type = WIRE_HEARTBEAT_ACK,
                                           .epoch = node->view.number,
                                           .heartbeat = { .lease_ns = now_ns } };
            post(world, letter->to, from, &answer);
        } else if (message.epoch < node->view.number) {
            struct wire_message decided = view_decided_message(&node->view);
            post(world, letter->to, from, &decided);
        }
    } else if (message.epoch == node->view.number && view_follow(&node->view, now_ns)) {
        node->followed_ns = message.heartbeat.lease_ns;
    }
}

static void tick(struct world *world, uint32_t by) {
    struct node *node = &world->nodes[by];
    struct view_output output;
    uint64_t now_ns = clock_of(world, by);
    if (node->crashed || !view_contains(&node->view, by)) {
        return;
    }
    if (now_ns >= node->heartbeat_ns) {
        node->heartbeat_ns = now_ns + HEARTBEAT_NS;
        if (view_leader(&node->view) == by) {
            lead(world, by);
        } else {
            struct wire_message heartbeat = { .type = WIRE_HEARTBEAT,
                                              .epoch = node->view.number,
                                              .heartbeat = { .sent_ns = node->view.promised,
                                                             .lease_ns = node->followed_ns } };
            post(world, by, view_leader(&node->view), &heartbeat);
        }
    }
    if (now_ns >= view_next_deadline(&node->view)) {
        view_on_tick(&node->view, now_ns, &output);
        carry_out(world, by, &output);
    }
}

static void fault(struct world *world) {
    uint32_t a = (uint32_t)roll(world, world->count), b = (uint32_t)roll(world, world->count);
    uint32_t kind = (uint32_t)roll(world, 12), alive = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        alive += !world->nodes[i].crashed;
    }
    if (kind == 0 && 2 * (alive - 1) > world->count) {
        world->nodes[a].crashed = true;
    } else if (kind < 6) {
        world->cut[a][b] = true;
    } else {
        memset(world->cut[a], 0, sizeof(world->cut[a]));
    }
}

static void step(struct world *world) {
    world->now_ns += MS + roll(world, MS);
    for (uint32_t i = 0; i < world->letter_count; i++) {
        if (world->letters[i].at_ns <= world->now_ns) {
            struct letter letter = world->letters[i];
            world->letters[i] = world->letters[--world->letter_count];
            i--;
            on_letter(world, &letter);
        }
    }
    for (uint32_t i = 0; i < world->count; i++) {
        tick(world, i);
    }
}

static void begin(struct world *world, uint64_t seed) {
    static const uint32_t ids[NODES_MAX] = { 0, 1, 2, 3, 4, 5, 6 };
    memset(world, 0, sizeof(*world));
    world->random = seed;
    world->count = 1 + (uint32_t)roll(world, NODES_MAX);
    world->now_ns = 1000 * MS;
    for (uint32_t i = 0; i < world->count; i++) {
        assert_true(view_init(&world->nodes[i].view, i, NODES_MAX, DEAD_AFTER_NS, ids, world->count));
        (void)view_follow(&world->nodes[i].view, world->now_ns); /* the roll call */
        world->nodes[i].drift_ppm = (uint32_t)roll(world, 5000);
        world->nodes[i].heartbeat_ns = roll(world, HEARTBEAT_NS);
        for (uint32_t j = 0; j < NODES_MAX; j++) {
            world->nodes[i].heard_ns[j] = clock_of(world, i);
        }
    }
}

static void end(struct world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        view_fini(&world->nodes[i].view);
    }
}

/* All who live and are in agree; and of the last view's members a quorum lives, so that it could be changed. */
static bool is_settled(const struct world *world) {
    const struct view *last = NULL;
    for (uint32_t i = 0; i < world->count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->crashed && (last == NULL || node->view.number > last->number)) {
            last = &node->view;
        }
    }
    for (uint32_t i = 0; last != NULL && i < last->members.count; i++) {
        const struct node *node = &world->nodes[last->members.ids[i]];
        if (node->crashed || node->view.number != last->number || node->view.stage != VIEW_IDLE) {
            return false;
        }
    }
    return last != NULL;
}

static void quorum_lives(const struct world *world, bool *ret_lives) {
    bool lives[NODES_MAX] = { false };
    const struct view *last = &world->nodes[0].view;
    for (uint32_t i = 0; i < world->count; i++) {
        last = world->nodes[i].view.number > last->number ? &world->nodes[i].view : last;
    }
    for (uint32_t i = 0; i < last->members.count; i++) {
        lives[i] = !world->nodes[last->members.ids[i]].crashed;
    }
    *ret_lives = view_is_quorum(last, lives);
}

static uint32_t views_seen, unsettled;

static const char *run(uint64_t seed) {
    static struct world world;
    bool lives = false;
    begin(&world, seed);
    for (uint32_t i = 0; i < 3000 && world.failure == NULL; i++) {
        if (roll(&world, 150) == 0) {
            fault(&world);
        }
        step(&world);
    }
    world.quiet = true;
    memset(world.cut, 0, sizeof(world.cut));
    for (uint32_t i = 0; i < 20000 && world.failure == NULL && !is_settled(&world); i++) {
        step(&world);
    }
    quorum_lives(&world, &lives);
    if (world.failure == NULL && lives && !is_settled(&world)) {
        world.failure = "no view is agreed on although nothing stands in the way";
    }
    unsettled += !lives;
    views_seen += world.views;
    end(&world);
    return world.failure;
}

static void random_schedules_agree(void **state) {
    const char *only = getenv("CKPTLESS_VIEW_SEED");
    (void)state;
    if (only != NULL) {
        const char *failure = run(strtoull(only, NULL, 10));
        assert_null(failure);
        return;
    }
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        const char *failure = run(seed);
        if (failure != NULL) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, failure);
        }
    }
    print_message("# %u runs, %u views decided, %u without a living quorum\n", RUNS, views_seen, unsettled);
    assert_true(views_seen > RUNS);
}

static void a_quorum_is_a_majority_or_half_with_the_lowest(void **state) {
    static const uint32_t ids[4] = { 3, 5, 6, 9 };
    static const struct {
        uint32_t count;
        bool flags[4];
        bool is;
    } rows[] = {
        { 1, { 0 }, false },          { 1, { 1 }, true },           { 2, { 1, 0 }, true },
        { 2, { 0, 1 }, false },       { 3, { 1, 0, 0 }, false },    { 3, { 0, 1, 1 }, true },
        { 4, { 1, 0, 0, 1 }, true },  { 4, { 0, 1, 1, 0 }, false }, { 4, { 0, 1, 1, 1 }, true },
        { 4, { 1, 0, 0, 0 }, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct view view;
        assert_true(view_init(&view, 3, 4, DEAD_AFTER_NS, ids, rows[i].count));
        assert_int_equal(view_is_quorum(&view, rows[i].flags), rows[i].is);
        view_fini(&view);
    }
}

static struct wire_message said(enum wire_type type, uint32_t from, uint64_t ballot) {
    return (struct wire_message){ .type = type, .from = from, .view = { .number = 2, .ballot = ballot } };
}

/* Of five, the second one has heard nothing of its leader for dead-after: its PREPARE is out. */
static void asks(struct view *view, uint64_t now_ns) {
    static const uint32_t ids[5] = { 0, 1, 2, 3, 4 };
    struct view_output output;
    assert_true(view_init(view, 1, 5, DEAD_AFTER_NS, ids, 5));
    assert_true(view_follow(view, now_ns - DEAD_AFTER_NS));
    view_on_tick(view, now_ns, &output);
    assert_int_equal(output.message.type, WIRE_VIEW_PREPARE);
}

/* Of five, the second one has lost its leader, and two have promised it their votes: its ACCEPT is out. */
static void proposes(struct view *view, uint64_t now_ns) {
    struct view_output output;
    asks(view, now_ns);
    for (uint32_t from = 3; from <= 4; from++) {
        struct wire_message promise = said(WIRE_VIEW_PROMISE, from, view->ballot);
        view_on_message(view, now_ns, &promise, &output);
    }
    assert_int_equal(output.message.type, WIRE_VIEW_ACCEPT);
}

static void a_promise_is_taken_back_while_nobody_can_have_accepted(void **state) {
    struct view view;
    (void)state;
    asks(&view, DEAD_AFTER_NS);
    assert_true(view_follow(&view, DEAD_AFTER_NS + MS)); /* the leader lives after all */
    assert_int_equal(view.promised, VIEW_BALLOT_NONE);
    assert_int_equal(view.stage, VIEW_IDLE);
    view_fini(&view);
}

/* An old answer of the leader comes, and its ACCEPT of another view: others may have accepted ours. */
static void a_promise_stays_once_others_can_have_accepted(void **state) {
    static const uint32_t others[4] = { 0, 1, 2, 3 };
    struct view_output output;
    struct view view;
    (void)state;
    proposes(&view, 1000 * MS);
    view_on_tick(&view, 1000 * MS + DEAD_AFTER_NS / 4, &output); /* no word came back: again, from the beginning */
    assert_int_equal(output.message.type, WIRE_VIEW_PREPARE);
    assert_false(view_follow(&view, 1200 * MS));
    struct wire_message accept = said(WIRE_VIEW_ACCEPT, 0, VIEW_BALLOT_LEADER);
    accept.view.members = others;
    accept.view.member_count = 4;
    view_on_message(&view, 1200 * MS, &accept, &output);
    assert_int_equal(output.message.type, WIRE_VIEW_REFUSE);
    view_fini(&view);
}

/* What a quorum may have chosen goes before any wish. */
static void what_has_been_accepted_is_proposed(void **state) {
    static const uint32_t chosen[4] = { 0, 1, 2, 3 };
    struct view_output output;
    struct view view;
    (void)state;
    asks(&view, DEAD_AFTER_NS);
    struct wire_message promise = said(WIRE_VIEW_PROMISE, 3, view.ballot);
    promise.view.accepted = VIEW_BALLOT_LEADER;
    promise.view.members = chosen;
    promise.view.member_count = 4;
    view_on_message(&view, DEAD_AFTER_NS, &promise, &output);
    promise = said(WIRE_VIEW_PROMISE, 4, view.ballot);
    view_on_message(&view, DEAD_AFTER_NS, &promise, &output);
    assert_int_equal(output.message.type, WIRE_VIEW_ACCEPT);
    assert_int_equal(output.message.view.member_count, 4);
    assert_memory_equal(output.message.view.members, chosen, sizeof(chosen));
    view_fini(&view);
}

/* Who has missed a decision cannot vote, and says so: the proposer tells it. */
static void who_is_behind_is_told(void **state) {
    static const uint32_t ids[3] = { 0, 1, 2 }, next[2] = { 0, 2 };
    struct view_output output;
    struct view leader, behind;
    (void)state;
    assert_true(view_init(&leader, 0, 3, DEAD_AFTER_NS, ids, 3));
    assert_true(view_init(&behind, 2, 3, DEAD_AFTER_NS, ids, 3));
    struct wire_message decided = said(WIRE_VIEW_DECIDED, 1, 0);
    decided.view.members = next;
    decided.view.member_count = 2;
    view_on_message(&leader, MS, &decided, &output);
    struct wire_message accept = said(WIRE_VIEW_ACCEPT, 0, VIEW_BALLOT_LEADER);
    accept.view.number = 3;
    view_on_message(&behind, MS, &accept, &output);
    assert_int_equal(output.message.type, WIRE_VIEW_REFUSE);
    struct wire_message refusal = output.message;
    view_on_message(&leader, MS, &refusal, &output);
    assert_int_equal(output.message.type, WIRE_VIEW_DECIDED);
    assert_int_equal(output.message.view.number, 2);
    view_fini(&leader);
    view_fini(&behind);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quorum_is_a_majority_or_half_with_the_lowest),
        cmocka_unit_test(a_promise_is_taken_back_while_nobody_can_have_accepted),
        cmocka_unit_test(a_promise_stays_once_others_can_have_accepted),
        cmocka_unit_test(what_has_been_accepted_is_proposed),
        cmocka_unit_test(who_is_behind_is_told),
        cmocka_unit_test(random_schedules_agree),
    };
    return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
