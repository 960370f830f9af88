/*
 * All-gathers of three nodes over connections that lose messages when they break. The nodes are three shells of this
 * process with the real gather.c in them; the connections between them are a queue of this test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node_helper/shell/shell.h"

#define NODES 3u
#define KEY 7u
#define EPOCH 5u
#define LETTERS_MAX 32u

struct core {
    bool leads;
};

/* What an all-gather of a node came to. */
struct result {
    uint32_t count; /* of ends so far */
    bool has_data;
    char text[64];
};

/* A message on its way. */
struct letter {
    uint32_t to;
    struct wire_message message;
    uint8_t data[64];
};

static struct core cores[NODES] = { { .leads = true } };
static struct node nodes[NODES];
static struct shell shells[NODES];
static struct result results[NODES];
static const uint32_t everyone[NODES] = { 0, 1, 2 };
static struct letter letters[LETTERS_MAX];
static uint32_t letter_count, warning_count;
static bool no_way; /* every connection is broken: what is sent is lost */

/* ---- what gather.c asks of the other parts */

bool core_is_leader(const struct core *core) {
    return core->leads;
}

uint64_t core_epoch(const struct core *core) {
    (void)core;
    return EPOCH;
}

static void post(uint32_t to, const struct wire_message *message) {
    if (no_way) {
        return;
    }
    assert_true(letter_count < LETTERS_MAX && message->gather.bytes <= sizeof(letters[0].data));
    struct letter *letter = &letters[letter_count++];
    *letter = (struct letter){ .to = to, .message = *message };
    if (message->gather.bytes > 0) {
        memcpy(letter->data, message->gather.data, message->gather.bytes);
    }
    letter->message.gather.data = letter->data;
    letter->message.gather.nodes = (uint32_t *)(uintptr_t)everyone;
}

void peers_send_id(struct shell *shell, uint32_t id, const struct wire_message *message) {
    (void)shell;
    post(id, message);
}

void peers_send_up(struct shell *shell, struct wire_message *message) {
    message->from = shell->launch.node;
    message->epoch = EPOCH;
    post(0, message);
}

void rollcall_warn(struct shell *shell, const char *text) {
    (void)shell;
    (void)text;
    warning_count++;
}

/* ---- the nodes */

static int set_up(void **state) {
    (void)state;
    memset(shells, 0, sizeof(shells));
    memset(results, 0, sizeof(results));
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i].member.id = i;
        shells[i].launch.node = i;
        shells[i].node_count = NODES;
        shells[i].nodes = nodes;
        shells[i].core = &cores[i];
    }
    letter_count = warning_count = 0;
    no_way = false;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (uint32_t i = 0; i < NODES; i++) {
        gather_reset(&shells[i]);
    }
    return 0;
}

static void on_done(struct shell *shell, void *arg, const uint8_t *data, size_t bytes) {
    struct result *result = arg;
    (void)shell;
    result->count++;
    result->has_data = data != NULL;
    snprintf(result->text, sizeof(result->text), "%.*s", (int)bytes, data ? (const char *)data : "");
}

static bool begin(uint32_t node, const char *text) {
    const struct gather_part part = {
        .key = KEY, .nodes = everyone, .node_count = NODES, .data = (const uint8_t *)text, .bytes = strlen(text)
    };
    return gather_begin(&shells[node], &part, on_done, &results[node]);
}

static void deliver(void) {
    for (uint32_t i = 0; i < letter_count; i++) {
        struct letter *letter = &letters[i];
        if (letter->message.type == WIRE_GATHER) {
            gather_on_part(&shells[letter->to], &letter->message);
        } else {
            gather_on_answer(&shells[letter->to], &letter->message);
        }
    }
    letter_count = 0;
}

static void assert_all_have(uint32_t count, const char *text) {
    for (uint32_t i = 0; i < NODES; i++) {
        if (results[i].count != count || !results[i].has_data || strcmp(results[i].text, text) != 0) {
            fail_msg("node %u has ended %u times, with \"%s\"", i, results[i].count, results[i].text);
        }
    }
}

static void every_node_gets_all_parts_in_order(void **state) {
    (void)state;
    assert_true(begin(2, "c") && begin(0, "a") && begin(1, "bb"));
    deliver();
    assert_all_have(1, "abbc");
    assert_true(begin(1, "") && begin(2, "") && begin(0, ""));
    deliver();
    assert_all_have(2, "");
}

static void a_part_that_a_broken_connection_took_is_said_again(void **state) {
    (void)state;
    no_way = true;
    assert_true(begin(1, "b"));
    no_way = false;
    assert_true(begin(0, "a") && begin(2, "c"));
    deliver();
    assert_int_equal(results[0].count, 0);
    gather_say_again(&shells[1]);
    deliver();
    assert_all_have(1, "abc");
}

static void an_answer_that_a_broken_connection_took_is_given_again(void **state) {
    (void)state;
    assert_true(begin(1, "b") && begin(2, "c"));
    deliver();
    no_way = true;
    assert_true(begin(0, "a")); /* the last one: the answers go out, and get lost */
    no_way = false;
    assert_int_equal(results[0].count, 1);
    assert_int_equal(results[1].count + results[2].count, 0);
    gather_say_again(&shells[1]);
    gather_say_again(&shells[2]);
    deliver();
    assert_all_have(1, "abc");
    gather_say_again(&shells[1]); /* for nothing: there is nothing under way */
    assert_int_equal(letter_count, 0);
}

/* The part had arrived, the node cannot know: it must not be counted twice. */
static void a_part_that_is_said_twice_counts_once(void **state) {
    (void)state;
    assert_true(begin(1, "b"));
    deliver();
    gather_say_again(&shells[1]);
    deliver();
    assert_true(begin(0, "a"));
    deliver();
    assert_int_equal(results[0].count, 0);
    assert_true(begin(2, "c"));
    deliver();
    assert_all_have(1, "abc");
}

/* Who has its answer begins the next one; the others may still be without the last. */
static void the_next_one_does_not_wait_for_those_who_missed_the_last(void **state) {
    (void)state;
    assert_true(begin(1, "b") && begin(2, "c"));
    deliver();
    assert_true(begin(0, "a"));
    letter_count = 1; /* node 2's answer is lost */
    deliver();
    assert_int_equal(results[1].count, 1);
    assert_true(begin(1, "e") && begin(0, "d"));
    deliver();
    gather_say_again(&shells[2]);
    deliver();
    assert_string_equal(results[2].text, "abc");
    assert_true(begin(2, "f"));
    deliver();
    assert_all_have(2, "def");
}

static void a_new_epoch_ends_it_without_data(void **state) {
    (void)state;
    assert_true(begin(1, "b"));
    gather_reset(&shells[1]);
    assert_int_equal(results[1].count, 1);
    assert_false(results[1].has_data);
}

static void what_does_not_fit_is_refused_before_it_is_sent(void **state) {
    const struct gather_part part = { .key = KEY,
                                      .nodes = everyone,
                                      .node_count = NODES,
                                      .data = (const uint8_t *)"",
                                      .bytes = WIRE_GATHER_BYTES_MAX / NODES + 1 };
    (void)state;
    assert_false(gather_begin(&shells[1], &part, on_done, &results[1]));
    assert_int_equal(letter_count + results[1].count, 0);
    assert_true(begin(1, "b"));  /* the refusal has left nothing */
    assert_false(begin(1, "b")); /* one at a time */
}

static void who_takes_no_part_gives_none(void **state) {
    static const uint32_t some[2] = { 0, 1 };
    const struct gather_part part = {
        .key = KEY, .nodes = some, .node_count = 2, .data = (const uint8_t *)"a", .bytes = 1
    };
    (void)state;
    assert_true(gather_begin(&shells[0], &part, on_done, &results[0]));
    struct wire_message strange = { .type = WIRE_GATHER,
                                    .from = 2,
                                    .epoch = EPOCH,
                                    .gather = { .key = KEY,
                                                .node_count = 2,
                                                .nodes = (uint32_t *)(uintptr_t)some,
                                                .bytes = 1,
                                                .data = (const uint8_t *)"c" } };
    gather_on_part(&shells[0], &strange);
    assert_int_equal(results[0].count, 0);
    strange.from = 1;
    strange.epoch = EPOCH - 1;
    gather_on_part(&shells[0], &strange);
    assert_int_equal(results[0].count, 0);
    strange.epoch = EPOCH;
    gather_on_part(&shells[0], &strange);
    assert_string_equal(results[0].text, "ac");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_node_gets_all_parts_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_that_a_broken_connection_took_is_said_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_that_a_broken_connection_took_is_given_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_that_is_said_twice_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_one_does_not_wait_for_those_who_missed_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_epoch_ends_it_without_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused_before_it_is_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_takes_no_part_gives_none, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
