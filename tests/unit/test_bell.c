/*
 * The death bell: real processes end in all ways there are, and the ring comes, or does not, and the probe says how.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_helper/shell/bell.h"

#define DEADLINE_MS 5000

/* What libckptless does: a robust list of one futex, held by this thread. */
static struct robust_list_head head;
static struct robust_list entry;

static void hang_bell(struct wire_page *page) {
    head.list.next = &entry;
    entry.next = &head.list;
    head.futex_offset = (long)((char *)&page->bell_futex - (char *)&entry);
    atomic_store(&page->bell_futex, (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS);
    (void)syscall(SYS_set_robust_list, &head, sizeof(head));
}

static void end_self(int number, int code) {
    if (number) {
        (void)signal(number, SIG_DFL);
        (void)kill(getpid(), number);
    }
    _exit(code);
}

/* A child that hangs its bell, says so, and ends when it is told to. */
static pid_t start_child(struct page *page, int *ret_go, int number, int code) {
    int ready[2], go[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        hang_bell(page->shared);
        (void)!write(ready[1], "r", 1);
        (void)!read(go[0], &byte, 1);
        end_self(number, code);
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *ret_go = go[1];
    return pid;
}

static void the_bell_rings_however_a_process_ends(void **state) {
    static const struct {
        int number, code, status;
    } rows[] = {
        { SIGKILL, 0, SIGKILL },
        { SIGTERM, 0, SIGTERM },
        { 0, 3, 3 << 8 },
        { 0, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int rings[2], go = -1, status = -1;
        struct bell_ring ring = { 0 };
        struct page *page = page_create(1, UINT64_MAX);
        assert_non_null(page);
        assert_int_equal(pipe(rings), 0);
        pid_t pid = start_child(page, &go, rows[i].number, rows[i].code);
        struct bell *bell = bell_create(page, rings[1], (struct bell_ring){ .slot = 7, .serial = 9 });
        assert_non_null(bell);
        assert_int_equal(bell_probe(pid, &status), BELL_ALIVE);
        assert_int_equal(write(go, "g", 1), 1);
        struct pollfd pollfd = { .fd = rings[0], .events = POLLIN };
        assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
        assert_int_equal(read(rings[0], &ring, sizeof(ring)), sizeof(ring));
        assert_int_equal(ring.slot, 7);
        assert_int_equal(ring.serial, 9);
        /* A zombie by now or soon: what the probe says then is the truth. */
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        enum bell_verdict verdict = bell_probe(pid, &status);
        assert_int_not_equal(verdict, BELL_ALIVE);
        if (verdict == BELL_ENDED) {
            assert_int_equal(status, rows[i].status);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        bell_destroy(bell);
        page_release(page);
        close(rings[0]);
        close(rings[1]);
        close(go);
    }
}

static void a_process_that_is_only_stopped_is_alive(void **state) {
    int go = -1, status = 0;
    struct page *page = page_create(1, UINT64_MAX);
    (void)state;
    pid_t pid = start_child(page, &go, 0, 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_int_equal(bell_probe(pid, &status), BELL_ALIVE);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    page_release(page);
    close(go);
}

/* Many come and go; no thread writes after its bell is destroyed, and none is left. */
static void bells_come_and_go(void **state) {
    int rings[2];
    (void)state;
    assert_int_equal(pipe2(rings, O_NONBLOCK), 0);
    for (uint32_t i = 0; i < 200; i++) {
        struct page *page = page_create(1, UINT64_MAX);
        struct bell *bell = bell_create(page, rings[1], (struct bell_ring){ .slot = i });
        assert_non_null(bell);
        bell_destroy(bell);
        page_release(page);
    }
    struct bell_ring ring;
    assert_int_equal(read(rings[0], &ring, sizeof(ring)), -1);
    close(rings[0]);
    close(rings[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bell_rings_however_a_process_ends),
        cmocka_unit_test(a_process_that_is_only_stopped_is_alive),
        cmocka_unit_test(bells_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
