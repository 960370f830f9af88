/*
 * A parked program gets its rank: what was held back meanwhile is dropped, what comes now arrives.
 */
#include "tests/unit/test_lib.h"

#include <signal.h>
#include <stdlib.h>

#include "libckptless/signals.h"

static volatile sig_atomic_t count;

static void on_signal(int number) {
    count += number == SIGUSR1;
}

static void hold(const char *list) {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGUSR1);
    sigaddset(&held, SIGTERM);
    assert_int_equal(sigprocmask(SIG_SETMASK, &held, NULL), 0);
    assert_int_equal(setenv("CKPTLESS_SIGNALS_HELD", list, 1), 0);
    count = 0;
    (void)signal(SIGUSR1, on_signal);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
}

static bool is_blocked(int number) {
    sigset_t now;
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    return sigismember(&now, number) == 1;
}

static void what_was_held_is_dropped(void **state) {
    (void)state;
    hold("10,15");
    signals_release();
    assert_int_equal(count, 0);
    assert_false(is_blocked(SIGUSR1) || is_blocked(SIGTERM));
    assert_null(getenv("CKPTLESS_SIGNALS_HELD"));
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(count, 1); /* by the program's own handler */
}

/* What was blocked before the keeper came stays so. */
static void only_what_the_keeper_has_held_is_released(void **state) {
    static const char *const lists[] = { "10", "10,", "10,x", "10,-3,700" };
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        hold(lists[i]);
        signals_release();
        assert_int_equal(count, 0);
        assert_true(!is_blocked(SIGUSR1) && is_blocked(SIGTERM));
        (void)signal(SIGTERM, SIG_IGN); /* drops it */
        (void)signal(SIGTERM, SIG_DFL);
    }
}

static void a_program_that_was_not_parked_keeps_its_mask(void **state) {
    (void)state;
    hold("");
    assert_int_equal(unsetenv("CKPTLESS_SIGNALS_HELD"), 0);
    signals_release();
    assert_true(is_blocked(SIGUSR1) && is_blocked(SIGTERM));
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_held_is_dropped),
        cmocka_unit_test(only_what_the_keeper_has_held_is_released),
        cmocka_unit_test(a_program_that_was_not_parked_keeps_its_mask),
    };
    return cmocka_run_group_tests_name("lib_signals", tests, NULL, NULL);
}
