/*
 * A crash is noted in the page before the process ends of it, and it ends as it would have ended without us.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libckptless/crash.h"

static struct wire_page *page;
static volatile int *nowhere; /* a page that nobody may write to */

static int make_page(void **state) {
    (void)state;
    page = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nowhere = mmap(NULL, WIRE_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED || nowhere == MAP_FAILED;
}

/* How a process ends that has called crash_init and then `act`; what it has noted is in the page. */
static int end_of(void (*act)(void)) {
    int status = 0;
    atomic_store(&page->crash_signal, 0);
    atomic_store(&page->bell_futex, 0);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = { 0 };
        (void)setrlimit(RLIMIT_CORE, &no_core);
        for (int number = 1; number < NSIG; number++) {
            (void)signal(number, SIG_DFL); /* cmocka's */
        }
        crash_init(page);
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void fault(void) {
    *nowhere = 1;
}

static void send_segv(void) {
    (void)kill(getpid(), SIGSEGV);
}

static void divide(void) {
    (void)raise(SIGFPE);
}

static void crash_in_child(void) {
    pid_t child = fork();
    if (child == 0) {
        fault();
        _exit(0);
    }
    int status;
    (void)waitpid(child, &status, 0);
    _exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 7 : 8);
}

static void own_handler(int number) {
    (void)number;
    _exit(9);
}

static void crash_with_own_handler(void) {
    crash_fini();
    (void)signal(SIGSEGV, own_handler);
    crash_init(page);
    fault();
}

static void crash_after_fini(void) {
    crash_fini();
    fault();
}

static void a_crash_is_noted_and_ends_the_process_as_ever(void **state) {
    static const struct {
        void (*act)(void);
        int signal;
    } cases[] = { { fault, SIGSEGV }, { send_segv, SIGSEGV }, { abort, SIGABRT }, { divide, SIGFPE } };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = end_of(cases[i].act);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), cases[i].signal);
        assert_int_equal(atomic_load(&page->crash_signal), cases[i].signal);
        assert_true(atomic_load(&page->bell_futex) & FUTEX_OWNER_DIED);
    }
}

static void what_is_not_the_ranks_crash_is_not_noted(void **state) {
    (void)state;
    assert_int_equal(WEXITSTATUS(end_of(crash_in_child)), 7);
    assert_int_equal(atomic_load(&page->crash_signal), 0);
    assert_int_equal(WEXITSTATUS(end_of(crash_with_own_handler)), 9);
    assert_int_equal(atomic_load(&page->crash_signal), 0);
    assert_int_equal(WTERMSIG(end_of(crash_after_fini)), SIGSEGV);
    assert_int_equal(atomic_load(&page->crash_signal), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_is_noted_and_ends_the_process_as_ever),
        cmocka_unit_test(what_is_not_the_ranks_crash_is_not_noted),
    };
    return cmocka_run_group_tests(tests, make_page, NULL);
}
