/*
 * Whole process trees: real processes that fork, double fork, become daemons, ignore signals, stand still or run away,
 * under this test as their subreaper, as they are under a keeper. Nobody may be left.
 */
#include "spank_plugin/keeper_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 5000
#define PROCESSES_MAX 64u

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(void) {
    const struct timespec ms = { .tv_nsec = 1000000 };
    (void)nanosleep(&ms, NULL);
}

/* ---- what the processes of a tree do; each says its pid when it stands where it belongs */

static int ready_fd; /* of the tree that grows */
static int life[2];  /* nobody outlives the test: it alone holds the end for writing */

static void stay(void) __attribute__((noreturn));
static void stay(void) {
    pid_t pid = getpid();
    char byte;
    (void)!write(ready_fd, &pid, sizeof(pid));
    while (read(life[0], &byte, 1) != 0) {
    }
    _exit(0);
}

/* The caller goes on in the child, and the parent stays. */
static void grow_child(void) {
    if (fork() != 0) {
        stay();
    }
}

static void grow_chain(void) {
    grow_child();
    grow_child();
    stay();
}

static void grow_many(void) {
    for (uint32_t i = 0; i < 40; i++) {
        if (fork() == 0) {
            stay();
        }
    }
    stay();
}

/* The parent is gone before the child says its name. */
static void orphan_self(void) {
    pid_t parent = getpid();
    if (fork() != 0) {
        _exit(0);
    }
    while (getppid() == parent) {
        nap();
    }
}

static void grow_orphan(void) {
    orphan_self();
    grow_child();
    stay();
}

static void grow_daemon(void) {
    orphan_self();
    (void)setsid();
    orphan_self();
    (void)!chdir("/");
    grow_child();
    stay();
}

static void grow_deaf(void) {
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_IGN);
    }
    grow_child();
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    grow_child();
    stay();
}

static void grow_oddly_named(void) {
    (void)prctl(PR_SET_NAME, "a) Z 1 (b");
    grow_child();
    (void)prctl(PR_SET_NAME, "\n) X");
    stay();
}

static void *fork_and_wait(void *arg) {
    (void)arg;
    grow_child();
    stay();
}

static void grow_thread_child(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, fork_and_wait, NULL) != 0) {
        _exit(1);
    }
    (void)pthread_join(thread, NULL);
    _exit(1);
}

static void *outlive_first(void *arg) {
    char path[64], text[256];
    (void)arg;
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
    do { /* until the first thread is a zombie */
        nap();
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = read(fd, text, sizeof(text) - 1);
        close(fd);
        text[length > 0 ? length : 0] = '\0';
    } while (strstr(text, ") Z ") == NULL);
    stay();
}

static void grow_first_thread_gone(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, outlive_first, NULL) != 0) {
        _exit(1);
    }
    for (;;) {
        (void)syscall(SYS_exit, 0); /* this thread only */
    }
}

/* ---- the tree as the test sees it */

struct tree {
    pid_t first; /* what the test forked */
    pid_t pids[PROCESSES_MAX];
    uint32_t count;
};

static void grow(struct tree *tree, void (*program)(void), uint32_t count) {
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    tree->count = count;
    tree->first = fork();
    assert_true(tree->first >= 0);
    if (tree->first == 0) {
        ready_fd = fds[1];
        close(life[1]);
        program();
    }
    close(fds[1]);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(read(fds[0], &tree->pids[i], sizeof(tree->pids[i])), sizeof(tree->pids[i]));
    }
    close(fds[0]);
}

/* The parents that went on purpose. */
static void reap_orphans_parents(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

/* Reaps until there is no child left; false: some are there after the deadline. */
static bool reap_all(void (*again)(void)) {
    int64_t end_ms = now_ms() + DEADLINE_MS;
    while (now_ms() < end_ms) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0) {
            return errno == ECHILD;
        }
        if (pid == 0) {
            if (again != NULL) {
                again();
            }
            nap();
        }
    }
    return false;
}

static char state_of(pid_t pid) {
    char path[64], text[512], state = 'X';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        size_t length = fread(text, 1, sizeof(text) - 1, file);
        text[length] = '\0';
        const char *after = strrchr(text, ')');
        state = after != NULL ? after[2] : 'X';
        fclose(file);
    }
    return state;
}

static bool wait_state(pid_t pid, bool (*is_so)(char)) {
    int64_t end_ms = now_ms() + DEADLINE_MS;
    while (!is_so(state_of(pid))) {
        if (now_ms() > end_ms) {
            return false;
        }
        nap();
    }
    return true;
}

static bool is_stopped(char state) {
    return state == 'T';
}

static bool is_going(char state) {
    return state == 'S' || state == 'R';
}

static bool is_zombie(char state) {
    return state == 'Z';
}

static const struct {
    const char *name;
    void (*program)(void);
    uint32_t count;
} shapes[] = {
    { "one process", stay, 1 },
    { "a chain of forks", grow_chain, 3 },
    { "many children", grow_many, 41 },
    { "a double fork", grow_orphan, 2 },
    { "a daemon in a session of its own", grow_daemon, 2 },
    { "a chain that ignores and blocks all signals", grow_deaf, 3 },
    { "names that look like the rest of the line", grow_oddly_named, 2 },
    { "a child of a thread", grow_thread_child, 2 },
    { "a process whose first thread has ended", grow_first_thread_gone, 1 },
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void a_killed_tree_is_gone(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        for (int stopped = 0; stopped < 2; stopped++) {
            struct tree tree;
            grow(&tree, shapes[i].program, shapes[i].count);
            reap_orphans_parents();
            for (uint32_t k = 0; k < tree.count; k++) {
                if (!keeper_tree_contains(getpid(), tree.pids[k])) {
                    fail_msg("%s: process %u is not found", shapes[i].name, k);
                }
            }
            if (stopped) {
                assert_int_equal(keeper_tree_signal(getpid(), SIGSTOP), tree.count);
            }
            size_t killed = keeper_tree_kill(getpid(), false);
            if (killed != tree.count || !reap_all(NULL)) {
                fail_msg("%s: %zu of %u were killed", shapes[i].name, killed, tree.count);
            }
            for (uint32_t k = 0; k < tree.count; k++) {
                assert_int_equal(kill(tree.pids[k], 0), -1);
                assert_int_equal(errno, ESRCH);
            }
        }
    }
    assert_int_equal(keeper_tree_kill(getpid(), false), 0);
}

static void who_ignores_sigterm_is_killed_all_the_same(void **state) {
    struct tree tree;
    (void)state;
    grow(&tree, grow_deaf, 3);
    assert_int_equal(keeper_tree_signal(getpid(), SIGTERM), 3);
    for (uint32_t k = 0; k < tree.count; k++) {
        assert_true(keeper_tree_contains(getpid(), tree.pids[k]));
    }
    assert_int_equal(keeper_tree_kill(getpid(), false), 3);
    assert_true(reap_all(NULL));
}

static void a_whole_tree_stands_still_and_goes_on(void **state) {
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        struct tree tree;
        grow(&tree, shapes[i].program, shapes[i].count);
        reap_orphans_parents();
        if (shapes[i].program != grow_first_thread_gone) { /* which shows Z all the time */
            assert_int_equal(keeper_tree_signal(getpid(), SIGSTOP), tree.count);
            for (uint32_t k = 0; k < tree.count; k++) {
                assert_true(wait_state(tree.pids[k], is_stopped));
            }
            assert_int_equal(keeper_tree_signal(getpid(), SIGCONT), tree.count);
            for (uint32_t k = 0; k < tree.count; k++) {
                assert_true(wait_state(tree.pids[k], is_going));
            }
        }
        (void)keeper_tree_kill(getpid(), false);
        assert_true(reap_all(NULL));
    }
}

static void only_descendants_are_hit(void **state) {
    struct tree tree, other;
    (void)state;
    grow(&tree, grow_chain, 3);
    grow(&other, stay, 1);
    assert_false(keeper_tree_contains(getpid(), getpid()));
    assert_false(keeper_tree_contains(getpid(), getppid()));
    assert_false(keeper_tree_contains(getpid(), 1));
    assert_false(keeper_tree_contains(tree.first, tree.first));
    assert_false(keeper_tree_contains(tree.first, other.first));
    assert_int_equal(keeper_tree_kill(tree.first, false), 2);
    for (uint32_t k = 0; k < tree.count; k++) {
        assert_true(tree.pids[k] == tree.first || wait_state(tree.pids[k], is_zombie));
    }
    assert_true(keeper_tree_contains(getpid(), tree.first));
    assert_true(keeper_tree_contains(getpid(), other.first));
    assert_int_equal(keeper_tree_kill(getpid(), false), 2);
    assert_true(reap_all(NULL));
}

static void a_zombie_is_no_member_any_more(void **state) {
    struct tree tree;
    (void)state;
    grow(&tree, stay, 1);
    assert_int_equal(kill(tree.first, SIGKILL), 0);
    assert_true(wait_state(tree.first, is_zombie));
    assert_false(keeper_tree_contains(getpid(), tree.first));
    assert_int_equal(keeper_tree_signal(getpid(), SIGTERM), 0);
    assert_int_equal(keeper_tree_kill(getpid(), false), 0);
    assert_true(reap_all(NULL));
}

/* Forks and ends, again and again: nobody of it is there for long. Ends by itself when nobody stops it. */
static void run_away(void) {
    int64_t end_ms = now_ms() + 2 * DEADLINE_MS;
    pid_t pid = getpid();
    (void)!write(ready_fd, &pid, sizeof(pid));
    while (now_ms() < end_ms) {
        if (fork() != 0) {
            _exit(0);
        }
    }
    (void)!write(ready_fd, &pid, sizeof(pid));
    _exit(0);
}

static void kill_again(void) {
    (void)keeper_tree_kill(getpid(), false);
}

static void who_runs_away_is_caught(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        int fds[2];
        pid_t pid, survivor;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
            ready_fd = fds[1];
            run_away();
        }
        close(fds[1]);
        assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
        kill_again();
        assert_true(reap_all(kill_again)); /* as a keeper does: passes until there is no child */
        assert_int_equal(read(fds[0], &survivor, sizeof(survivor)), 0);
        close(fds[0]);
    }
}

static int become_subreaper(void **state) {
    (void)state;
    return pipe2(life, O_CLOEXEC) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_tree_is_gone),
        cmocka_unit_test(who_ignores_sigterm_is_killed_all_the_same),
        cmocka_unit_test(a_whole_tree_stands_still_and_goes_on),
        cmocka_unit_test(only_descendants_are_hit),
        cmocka_unit_test(a_zombie_is_no_member_any_more),
        cmocka_unit_test(who_runs_away_is_caught),
    };
    return cmocka_run_group_tests_name("keeper_tree", tests, become_subreaper, NULL);
}
