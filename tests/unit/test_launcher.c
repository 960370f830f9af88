/*
 * ckptless-launch as srun's side and the helpers see it: the real program, real pipes, real connections over loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test_launcher_bench.h"

#define FILE_NAME "ckptless-12.3.jsonl"
#define LOST(host) "ckptless: step 12.3: the leader's node (" host ") is lost: the step ends (exit code 93)\n"
#define LEADER_LOST LOST("n1")

/* ---- what srun's side asks for */

static void a_bad_request_gets_one_line_and_an_end(void **state) {
    static const struct {
        const char *request, *answer;
    } cases[] = {
        { "", "fail text=ckptless-launch: the request on descriptor 0 has no end\n" },
        { "job=1\n", "fail text=ckptless-launch: the request on descriptor 0 has no end\n" },
        { "\n", "fail text=ckptless-launch: the request on descriptor 0 is not complete\n" },
        { "job\n\n", "fail text=ckptless-launch: \"job\" in the request is not key=value\n" },
        { "job=-1\n\n", "fail text=ckptless-launch: job=-1 is no number it can use\n" },
        { "port_min=70000\n\n", "fail text=ckptless-launch: port_min=70000 is no number it can use\n" },
        { "option=spares=x\n\n", "fail text=spares=x: " },
        { "option=\njob=1\nstep=0\nport_min=2\nport_max=1\nsubmit_dir=/tmp\n\n",
          "fail text=ckptless-launch: the request on descriptor 0 is not complete\n" },
        { "option=\njob=1\nstep=0\nport_min=0\nport_max=0\nsubmit_dir=tmp\n\n",
          "fail text=ckptless-launch: the request on descriptor 0 is not complete\n" },
        { "option=\njob=1\nstep=0\nport_min=0\nport_max=0\nsubmit_dir=/tmp\nmunge_socket=/no/such/socket\n\n",
          "fail text=ckptless-launch: the step's secret cannot be sealed: munge: " },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct bench *bench = *state;
        bench_spawn(bench, cases[i].request);
        close(bench->to_fd);
        bench->to_fd = -1;
        bench_wait_end(bench);
        assert_int_equal(bench->exit_code, 1);
        assert_int_equal(strncmp(bench->answers.text, cases[i].answer, strlen(cases[i].answer)), 0);
        assert_string_equal(bench->user.text, "");
        assert_int_equal(bench_tear_down(state), 0);
        assert_int_equal(bench_set_up(state), 0);
    }
}

static void it_says_who_starts_it_when_started_by_hand(void **state) {
    (void)state;
    int status = system("step_launcher/ckptless-launch 3>&- 2>/dev/null");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

static void a_taken_port_range_is_named(void **state) {
    struct bench *bench = *state, *other = NULL;
    char request[512], answer[128];
    bench_start(bench, "", 0, 0);
    assert_int_equal(bench_set_up((void **)&other), 0);
    snprintf(request, sizeof(request), "option=\njob=1\nstep=0\nport_min=%u\nport_max=%u\nsubmit_dir=/tmp\n\n",
             bench->port, bench->port);
    bench_spawn(other, request);
    bench_wait_end(other);
    snprintf(answer, sizeof(answer), "fail text=no free port in SrunPortRange=%u-%u\n", bench->port, bench->port);
    assert_string_equal(other->answers.text, answer);
    assert_int_equal(bench_tear_down((void **)&other), 0);
}

static void it_ends_when_srun_goes_before_anyone_has_reported(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "", 0, 0);
    assert_true(bench_end_srun(bench) < 1000);
    assert_int_equal(bench->exit_code, 0);
    assert_string_equal(bench->user.text, "");
}

/* ---- the roll call */

static void the_roster_goes_out_when_all_are_there(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    struct bench_helper *second = bench_hello(bench, 1, 1, 3), *first = bench_hello(bench, 0, 0, 3);
    bench_wait(bench, &first->is_open);
    bench_wait(bench, &second->is_open);
    bench_run_ms(bench, 20);
    assert_false(first->has_roster);
    bench_hello(bench, 2, 2, 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct bench_helper *helper = &bench->helpers[i];
        bench_wait(bench, &helper->has_roster);
        assert_int_equal(helper->your_id, (i + 1) % 3); /* the spare's helper is to lead */
        assert_int_equal(helper->leader, 0);
        assert_int_equal(helper->active_nodes, 2);
        assert_int_equal(helper->member_count, 3);
        for (uint32_t m = 0; m < 3; m++) {
            char host[8];
            snprintf(host, sizeof(host), "n%u", m + 1);
            assert_int_equal(helper->members[m].id, (m + 1) % 3);
            assert_int_equal(helper->members[m].node, m);
            assert_int_equal(helper->members[m].slot_count, 2);
            assert_int_equal(helper->members[m].port, 40000 + m);
            assert_string_equal(helper->members[m].host, host);
            assert_string_equal(helper->members[m].address, "127.0.0.1");
        }
    }
    assert_string_equal(bench->user.text, "");
}

static void a_second_one_for_a_node_is_refused_and_the_first_stays(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    struct bench_helper *first = bench_hello(bench, 0, 0, 2);
    bench_wait(bench, &first->is_open);
    bench_run_ms(bench, 20);
    struct bench_helper *second = bench_hello(bench, 2, 0, 2);
    bench_wait(bench, &second->is_refused);
    assert_string_equal(second->refusal, "node 0 has reported already, as n1");
    bench_wait(bench, &second->is_closed);
    bench_hello(bench, 1, 1, 2);
    bench_wait(bench, &first->has_roster);

    struct bench_helper *third = bench_hello(bench, 3, 1, 2);
    bench_wait(bench, &third->is_refused);
    assert_string_equal(third->refusal, "node 1 (n2) has reported before; the step has begun");
}

static void one_that_comes_again_after_its_connection_broke_is_counted_once(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    struct bench_helper *first = bench_hello(bench, 0, 0, 2), *second = bench_hello(bench, 1, 1, 2);
    bench_wait(bench, &second->has_roster);
    bench_wait(bench, &first->has_roster);
    net_close(second->peer);
    bench_wait(bench, &second->is_closed);
    bench_connect(bench, second); /* as if the roster had been lost on the way */
    bench_wait(bench, &second->has_roster);
    assert_int_equal(second->your_id, 1);
    assert_false(second->is_refused);
}

static void a_successor_gets_the_roster_of_the_step(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 3);
    struct bench_helper *successor = bench_hello(bench, 4, 1, 3);
    successor->hello.hello.predecessor = 1;
    net_close(successor->peer);
    bench_connect(bench, successor);
    bench_wait(bench, &successor->has_roster);
    assert_int_equal(successor->member_count, 3);
    assert_int_equal(successor->members[1].port, 40004); /* that of the node's last helper */
    assert_string_equal(bench->user.text, "");
}

static void what_does_not_fit_together_ends_the_launch_in_words(void **state) {
    static const struct {
        uint32_t node, node_count, spare_nodes, predecessor, slot_count;
        const char *version, *why;
    } cases[] = {
        { 1, 2, 1, WIRE_NONE, 1, PACKAGE_VERSION,
          "n1 holds 2 ranks but n2 1: with spares each node needs the same number; allocate the nodes with "
          "--ntasks-per-node" },
        { 1, 2, 1, WIRE_NONE, 2, "0.0.9",
          "n2 has ckptless 0.0.9, the host of srun " PACKAGE_VERSION ": all need the same" },
        { 1, 3, 1, WIRE_NONE, 2, PACKAGE_VERSION, "n2 knows of 3 nodes and 1 spares, the others of 2 and 1" },
        { 1, 2, 0, WIRE_NONE, 2, PACKAGE_VERSION, "n2 knows of 2 nodes and 0 spares, the others of 2 and 1" },
        { 2, 2, 1, WIRE_NONE, 2, PACKAGE_VERSION, "n2 reports as node 2 of 2 with 1 spares: this cannot be" },
        { 0, 2, 1, 0, 2, PACKAGE_VERSION, "the helper of n2 has died during the launch" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct bench *bench = *state;
        char answer[256];
        bench_start(bench, "spares=1", 0, 0);
        struct bench_helper *first = bench_hello(bench, 0, 0, 2);
        bench_wait(bench, &first->is_open);
        bench_run_ms(bench, 20);
        struct bench_helper *second = &bench->helpers[1];
        *second = (struct bench_helper){ .bench = bench, .hello = first->hello };
        snprintf(second->hello.hello.host, sizeof(second->hello.hello.host), "n2");
        snprintf(second->hello.hello.version, sizeof(second->hello.hello.version), "%s", cases[i].version);
        second->hello.hello.node = cases[i].node;
        second->hello.hello.node_count = cases[i].node_count;
        second->hello.hello.spare_nodes = cases[i].spare_nodes;
        second->hello.hello.predecessor = cases[i].predecessor;
        second->hello.hello.slot_count = cases[i].slot_count;
        bench_connect(bench, second);
        bench_wait(bench, &second->is_refused);
        bench_wait(bench, &first->is_refused);
        assert_string_equal(second->refusal, cases[i].why);
        assert_string_equal(first->refusal, cases[i].why);
        snprintf(answer, sizeof(answer), "\nfail text=%s\n", cases[i].why);
        bench_wait_text(bench, &bench->answers, answer);
        assert_true(bench_end_srun(bench) < 1000);
        assert_int_equal(bench->exit_code, 1);
        assert_int_equal(bench_tear_down(state), 0);
        assert_int_equal(bench_set_up(state), 0);
    }
}

static void a_helper_that_talks_nonsense_ends_the_launch_in_words(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    struct bench_helper *helper = bench_hello(bench, 0, 0, 2);
    helper->hello.type = WIRE_PING;
    bench_wait(bench, &helper->is_open);
    net_send(helper->peer, (const uint8_t *)"nonsense", 8);
    bench_wait(bench, &helper->is_refused);
    bench_wait_text(bench, &bench->answers,
                    "\nfail text=what the helper at 127.0.0.1 says is not understood: another version of ckptless?\n");
}

static void who_has_not_reported_in_time_is_named(void **state) {
    struct bench *bench = *state;
    const char *why =
        "2 of 4 nodes (n2, node 3) have not reported within launch-timeout=1s; if no other line says why: ";
    bench_start(bench, "spares=1,launch-timeout=1s", 0, 0);
    struct bench_helper *first = bench_hello(bench, 0, 0, 4), *second = bench_hello(bench, 1, 1, 4),
                        *third = bench_hello(bench, 2, 2, 4);
    bench_wait(bench, &first->is_open);
    bench_wait(bench, &second->is_open);
    bench_wait(bench, &third->is_open);
    bench_run_ms(bench, 20);
    net_close(second->peer); /* it was there once: its name is known */
    bench_wait(bench, &first->is_refused);
    bench_wait(bench, &third->is_refused);
    assert_ptr_equal(strstr(first->refusal, why), first->refusal);
    bench_wait_text(bench, &bench->answers, "\nfail text=2 of 4 nodes (n2, node 3) have not");
    bench_connect(bench, second); /* too late */
    bench_wait(bench, &second->is_refused);
    assert_ptr_equal(strstr(second->refusal, why), second->refusal);
    assert_true(bench_end_srun(bench) < 1000);
}

static void one_that_never_reported_is_named_after_the_jobs_list(void **state) {
    struct bench *bench = *state;
    bench->node_list = "rack1n[09-10],login";
    bench_start(bench, "spares=1,launch-timeout=1s", 0, 0);
    bench_hello(bench, 0, 0, 3);
    bench_wait_text(bench, &bench->answers, "\nfail text=2 of 3 nodes (rack1n10, login) have not reported ");
}

static void no_one_reporting_is_a_timeout_too(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "launch-timeout=1s", 0, 0);
    bench_wait_text(bench, &bench->answers,
                    "\nfail text=no node has reported within launch-timeout=1s; if no other line");
}

/* ---- the step */

static void reports_become_lines_and_objects(void **state) {
    struct bench *bench = *state;
    char content[4096], long_line[6000];
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    bench_report(bench, "step 12.3: 1 node, 1 rank, 1 spare (n2)", "{\"event\":\"start\"}");
    bench_report(bench, "", "{\"event\":\"epoch\"}");
    bench_report(bench, "two\nlines", "");
    memset(long_line, 'x', sizeof(long_line) - 1);
    long_line[sizeof(long_line) - 1] = '\0';
    bench_report(bench, long_line, "");
    bench_report(bench, "last", "");
    bench_wait_text(bench, &bench->user, "ckptless: last\n");
    assert_non_null(
        strstr(bench->user.text, "ckptless: step 12.3: 1 node, 1 rank, 1 spare (n2)\nckptless: two?lines\n"));
    assert_true(strlen(bench->user.text) < 4400);
    bench_read_file(bench, FILE_NAME, content, sizeof(content));
    assert_string_equal(content, "{\"event\":\"start\"}\n{\"event\":\"epoch\"}\n");
    assert_true(bench_end_srun(bench) < 1000);
}

static void the_result_goes_to_srun_and_it_stays_until_srun_goes(void **state) {
    static const struct {
        uint32_t exit_code;
        const char *lost, *answer;
    } cases[] = { { 0, "", "\nexit code=0 lost=0\n" },
                  { 3, "2", "\nexit code=3 lost=1\n" },
                  { 0, "otherwise", "\nexit code=0 lost=0 otherwise=1\n" },
                  { 5, "12,otherwise", "\nexit code=5 lost=1 otherwise=1\n" },
                  { 93, "1,4,7", "\nexit code=93 lost=3\n" } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct bench *bench = *state;
        bench_start(bench, "spares=1", 0, 0);
        bench_begin_step(bench, 2);
        bench_result(bench, cases[i].exit_code, cases[i].lost);
        bench_wait_text(bench, &bench->answers, cases[i].answer);
        net_close(bench->helpers[0].peer);
        bench_wait(bench, &bench->helpers[0].is_closed);
        bench_run_ms(bench, 1200);
        assert_true(bench->answers.fd >= 0); /* still there */
        assert_string_equal(bench->user.text, "");
        assert_true(bench_end_srun(bench) < 1000);
        assert_int_equal(bench->exit_code, 0);
        assert_null(strstr(bench->answers.text, "code=93 lost=1"));
        assert_int_equal(bench_tear_down(state), 0);
        assert_int_equal(bench_set_up(state), 0);
    }
}

static void a_result_that_comes_just_after_the_end_of_srun_is_waited_for(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    close(bench->to_fd);
    bench->to_fd = -1;
    bench_run_ms(bench, 50);
    bench_report(bench, "ended with exit code 3", "");
    bench_result(bench, 3, "");
    bench_wait_end(bench);
    bench_wait_text(bench, &bench->user, "ckptless: ended with exit code 3\n");
    assert_non_null(strstr(bench->answers.text, "\nexit code=3 lost=0\n"));
}

static void the_leaders_closed_connection_ends_the_step_in_words(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 3);
    net_close(bench->helpers[1].peer); /* another one's is of no interest */
    bench_wait(bench, &bench->helpers[1].is_closed);
    net_close(bench->helpers[2].peer);
    uint64_t began_ms = bench_now_ms();
    bench_wait_text(bench, &bench->answers, "\nexit code=93 lost=1\n");
    assert_in_range(bench_now_ms() - began_ms, 4900, 9000);
    bench_wait_text(bench, &bench->user, LOST("n3"));
    assert_true(bench_end_srun(bench) < 1000);
    assert_string_equal(bench->user.text, LOST("n3"));
}

static void it_says_nothing_when_srun_goes_with_the_leader(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    net_close(bench->helpers[0].peer);
    bench_wait(bench, &bench->helpers[0].is_closed);
    bench_run_ms(bench, 500);
    assert_true(bench_end_srun(bench) < 200);
    assert_string_equal(bench->user.text, "");
    assert_null(strstr(bench->answers.text, "exit"));
}

static void a_silent_leader_is_lost_and_one_that_pings_is_not(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1,dead-after=200ms", 0, 0);
    bench_begin_step(bench, 2);
    bench_run_ms(bench, 3000);
    assert_string_equal(bench->user.text, "");
    assert_true(bench->helpers[0].answers > 0); /* each is answered: the leader wants to know of srun */
    bench->helpers[0].pings = false;
    uint64_t began_ms = bench_now_ms();
    bench_wait_text(bench, &bench->answers, "\nexit code=93 lost=1\n");
    assert_in_range(bench_now_ms() - began_ms, 1500, 3500);
    bench_wait_text(bench, &bench->user, LEADER_LOST);
}

static void a_launcher_that_was_frozen_judges_nobody(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1,dead-after=200ms", 0, 0);
    bench_begin_step(bench, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kill(bench->pid, SIGSTOP), 0);
        bench_run_ms(bench, 2700);
        assert_int_equal(kill(bench->pid, SIGCONT), 0);
        bench_run_ms(bench, 100);
    }
    bench_report(bench, "still here", "");
    bench_wait_text(bench, &bench->user, "still here");
    assert_string_equal(bench->user.text, "ckptless: still here\n");
}

/* Of three nodes the first leads after the spare, then the spare's new helper, on a port of its own. */
static void another_leader_is_listened_to(void **state) {
    struct bench *bench = *state;
    struct wire_message report = { .type = WIRE_REPORT, .report = { .line = "n1 leads now", .json = "" } };
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 3);
    net_close(bench->helpers[2].peer);
    bench_wait(bench, &bench->helpers[2].is_closed);
    struct bench_helper *second = &bench->helpers[4], *third = &bench->helpers[5];
    second->hello = bench->helpers[0].hello;
    second->hello.from = 1;
    bench_connect(bench, second);
    bench_wait(bench, &second->has_roster);
    bench_send(second, &report);
    bench_wait_text(bench, &bench->user, "ckptless: n1 leads now\n");

    third->hello = bench->helpers[2].hello;
    third->hello.hello.port = 40099;
    third->hello.hello.predecessor = 0;
    bench_connect(bench, third);
    bench_wait(bench, &third->has_roster);
    assert_int_equal(third->leader, 1);
    net_close(third->peer);
    bench_wait(bench, &third->is_closed);
    third->hello.from = 3;
    third->hello.hello.predecessor = WIRE_NONE;
    bench_connect(bench, third);
    bench_wait(bench, &third->has_roster);
    struct wire_message result = { .type = WIRE_RESULT, .end = { .exit_code = 0, .text = "1" } };
    bench_send(third, &result);
    bench_wait_text(bench, &bench->answers, "\nexit code=0 lost=1\n");
}

static void a_successor_of_the_leaders_helper_ends_the_step(void **state) {
    struct bench *bench = *state;
    bench_start(bench, "spares=1", 0, 0);
    bench_begin_step(bench, 2);
    net_close(bench->helpers[0].peer);
    bench_wait(bench, &bench->helpers[0].is_closed);
    struct bench_helper *successor = &bench->helpers[4];
    successor->hello = bench->helpers[0].hello;
    successor->hello.hello.predecessor = 0;
    bench_connect(bench, successor);
    bench_wait(bench, &successor->is_refused);
    bench_wait_text(bench, &bench->user, LEADER_LOST);
    bench_wait_text(bench, &bench->answers, "\nexit code=93 lost=1\n");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_bad_request_gets_one_line_and_an_end),
        T(it_says_who_starts_it_when_started_by_hand),
        T(a_taken_port_range_is_named),
        T(it_ends_when_srun_goes_before_anyone_has_reported),
        T(the_roster_goes_out_when_all_are_there),
        T(a_second_one_for_a_node_is_refused_and_the_first_stays),
        T(one_that_comes_again_after_its_connection_broke_is_counted_once),
        T(a_successor_gets_the_roster_of_the_step),
        T(what_does_not_fit_together_ends_the_launch_in_words),
        T(a_helper_that_talks_nonsense_ends_the_launch_in_words),
        T(who_has_not_reported_in_time_is_named),
        T(one_that_never_reported_is_named_after_the_jobs_list),
        T(no_one_reporting_is_a_timeout_too),
        T(reports_become_lines_and_objects),
        T(the_result_goes_to_srun_and_it_stays_until_srun_goes),
        T(a_result_that_comes_just_after_the_end_of_srun_is_waited_for),
        T(the_leaders_closed_connection_ends_the_step_in_words),
        T(it_says_nothing_when_srun_goes_with_the_leader),
        T(a_silent_leader_is_lost_and_one_that_pings_is_not),
        T(a_launcher_that_was_frozen_judges_nobody),
        T(another_leader_is_listened_to),
        T(a_successor_of_the_leaders_helper_ends_the_step),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
