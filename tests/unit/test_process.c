/*
 * What a killed keeper has left is found by the mark in its environment, and nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/shell/process.h"

/* A shell with one child that has no environment, started with this variable; returns when both run. */
static pid_t start_shell(char *variable) {
    char *const environment[] = { variable, NULL };
    char *const arguments[] = { (char[]){ "sh" }, (char[]){ "-c" },
                                (char[]){ "env -i /bin/sleep 1000 & echo; wait; exec sleep 1000" }, NULL };
    int ready[2];
    char newline;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(ready[1], 1);
        close(ready[0]);
        execve("/bin/sh", arguments, environment);
        _exit(127);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &newline, 1), 1);
    close(ready[0]);
    return pid;
}

static void the_marked_and_their_children_are_killed(void **state) {
    (void)state;
    int status = 0;
    pid_t marked = start_shell((char[]){ "CKPTLESS_KEEPER_PID=4200000" });
    pid_t other = start_shell((char[]){ "CKPTLESS_KEEPER_PID=420000" });
    assert_int_equal(process_kill_left_by(4200000), 2);
    assert_int_equal(waitpid(marked, &status, 0), marked);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(process_kill_left_by(4200000), 0);
    assert_int_equal(waitpid(other, &status, WNOHANG), 0);
    assert_int_equal(process_kill_left_by(420000), 2);
    assert_int_equal(waitpid(other, &status, 0), other);
}

static void who_works_is_busy_and_who_sleeps_is_not(void **state) {
    (void)state;
    int status = 0;
    pid_t worker = fork();
    if (worker == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile bool forever = true; forever;) {
        }
    }
    for (int looks = 0; looks < 5000 && !process_is_busy(worker); looks++) {
        (void)usleep(1000);
    }
    assert_true(process_is_busy(worker));
    (void)kill(worker, SIGSTOP);
    assert_int_equal(waitpid(worker, &status, WUNTRACED), worker);
    assert_false(process_is_busy(worker));
    (void)kill(worker, SIGKILL);
    assert_int_equal(waitpid(worker, &status, 0), worker);
    assert_false(process_is_busy(worker));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_marked_and_their_children_are_killed),
        cmocka_unit_test(who_works_is_busy_and_who_sleeps_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
