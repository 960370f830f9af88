/*
 * A keeper as slurmstepd and the helper see it: this test is both. Real processes: the keeper is a fork of the test,
 * its programs are forks of the keeper, and what they have to say comes through their standard output.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_helper/wire/wire_page.h"
#include "spank_plugin/keeper.h"
#include "tests/unit/test_keeper_bench.h"

#define PAGE_BYTES 4096
#define HEAVY_BYTES (128u << 20)

struct fixture {
    char address[128];
    int listen_fd, helper_fd; /* the helper's */
    int said_fd;              /* what the programs write */
    pid_t keeper;
    pid_t started_helper; /* what the keeper takes for the helper that it has started; 0: none */
    bool is_parked;       /* what is started */
    int page_fd;          /* that goes with it; -1: one without a content */
    uint32_t launch_timeout_ms;
};

/* ---- the programs: which one, the variable PROGRAM says */

static void on_usr1(int number) {
    (void)number;
    bench_say("usr1\n");
}

static void say_surroundings(void) {
    char text[256];
    struct stat page;
    const char *fd = getenv("CKPTLESS_PAGE_FD"), *keeper = getenv("CKPTLESS_KEEPER_PID");
    bool has_page = fd && fstat(atoi(fd), &page) == 0 && page.st_size == PAGE_BYTES;
    sigset_t blocked;
    sigemptyset(&blocked);
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    snprintf(text, sizeof(text), "RANK=%s OLD=%s page=%d keeper=%d blocked=%d group=%d\n", getenv("RANK"),
             getenv("OLD") ? "set" : "unset", has_page, keeper && atoi(keeper) == getppid(),
             sigismember(&blocked, SIGTERM), getpgrp() == getpid());
    bench_say(text);
}

/* Its memory makes it die slowly. */
static void leave_daemon(void) {
    char text[32];
    if (fork() == 0) {
        (void)setsid();
        (void)signal(SIGTERM, SIG_IGN);
        if (fork() == 0) {
            (void)mmap(NULL, HEAVY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
            snprintf(text, sizeof(text), "%d\n", (int)getpid());
            bench_say(text);
        }
        for (;;) {
            (void)pause();
        }
    }
}

static void run_program(void) __attribute__((noreturn));
static void run_program(void) {
    const char *name = getenv("PROGRAM");
    if (name == NULL || strcmp(name, "exit") == 0) {
        _exit(3);
    }
    if (strcmp(name, "daemon") == 0) {
        leave_daemon();
    } else if (strcmp(name, "deaf") == 0) {
        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(SIGUSR1, on_usr1);
        bench_say("deaf\n");
    } else {
        say_surroundings();
    }
    for (;;) {
        (void)pause();
    }
}

static void set_environment(void *argument, const char *name, const char *value) {
    (void)argument;
    (void)(value ? setenv(name, value, 1) : unsetenv(name));
}

/* ---- the test's sides */

static void start_keeper(struct fixture *f) {
    int said[2];
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    f->said_fd = said[0];
    f->keeper = fork();
    assert_true(f->keeper >= 0);
    if (f->keeper == 0) {
        struct keeper_config config = { .slot = 1,
                                        .stepd_pid = getppid(),
                                        .parent_pid = getppid(),
                                        .launch_timeout_ms = f->launch_timeout_ms,
                                        .helper_pid = f->started_helper,
                                        .set_environment = set_environment };
        snprintf(config.addresses[0], sizeof(config.addresses[0]), "%s", f->address);
        (void)dup2(said[1], STDOUT_FILENO);
        (void)dup2(said[1], STDERR_FILENO);
        (void)setenv("OLD", "1", 1);
        if (keeper_run(&config)) {
            run_program();
        }
        _exit(99);
    }
    close(said[1]);
}

static struct wire_keeper_message expect(struct fixture *f, enum wire_keeper_type type) {
    struct wire_keeper_message message = bench_receive(f->helper_fd, type);
    assert_int_equal(message.slot, 1);
    return message;
}

static void accept_keeper(struct fixture *f) {
    bench_await_readable(f->listen_fd);
    f->helper_fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(f->helper_fd >= 0);
    assert_int_equal(expect(f, WIRE_KEEPER_HELLO).pid, f->keeper);
}

/* page_fd -1: none goes with it. */
static void tell(struct fixture *f, const struct wire_keeper_message *message, int page_fd) {
    static uint8_t packet[WIRE_KEEPER_PACKET_BYTES_MAX];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec part = { .iov_base = packet, .iov_len = wire_keeper_encode(message, packet, sizeof(packet)) };
    struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
    if (page_fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof(control.bytes);
        control.header =
            (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &page_fd, sizeof(int));
    }
    assert_true(part.iov_len > 0);
    assert_int_equal(sendmsg(f->helper_fd, &header, MSG_NOSIGNAL), part.iov_len);
}

static void tell_simply(struct fixture *f, enum wire_keeper_type type, int32_t status) {
    tell(f, &(struct wire_keeper_message){ .type = type, .slot = 1, .status = status, .environment = "" }, -1);
}

static void order_start(struct fixture *f, uint32_t incarnation, const char *program) {
    char environment[128];
    int page_fd = f->page_fd >= 0 ? fcntl(f->page_fd, F_DUPFD_CLOEXEC, 0) : memfd_create("page", MFD_CLOEXEC);
    int length = snprintf(environment, sizeof(environment), "RANK=7%cPROGRAM=%s%cOLD", '\0', program, '\0');
    assert_int_equal(ftruncate(page_fd, PAGE_BYTES), 0);
    tell(f,
         &(struct wire_keeper_message){ .type = WIRE_KEEPER_START,
                                        .slot = 1,
                                        .incarnation = incarnation,
                                        .status = f->is_parked ? 1 : 0,
                                        .environment = environment,
                                        .environment_bytes = (uint32_t)length + 1 },
         page_fd);
    close(page_fd);
}

/* Orders it and waits until it runs. */
static pid_t start_program(struct fixture *f, uint32_t incarnation, const char *program) {
    order_start(f, incarnation, program);
    struct wire_keeper_message started = expect(f, WIRE_KEEPER_STARTED);
    assert_int_equal(started.incarnation, incarnation);
    assert_true(started.pid > 0);
    return (pid_t)started.pid;
}

static void expect_exit(struct fixture *f, uint32_t incarnation, pid_t pid, int status) {
    struct wire_keeper_message exited = expect(f, WIRE_KEEPER_EXITED);
    assert_int_equal(exited.incarnation, incarnation);
    assert_int_equal(exited.pid, pid);
    assert_int_equal(exited.status, status);
}

static void expect_cleared(struct fixture *f, uint32_t incarnation) {
    assert_int_equal(expect(f, WIRE_KEEPER_CLEARED).incarnation, incarnation);
}

static int end_of_keeper(struct fixture *f) {
    int status = bench_end_of(f->keeper, "the keeper");
    f->keeper = 0;
    return status;
}

static void wait_state(pid_t pid, char wanted) {
    uint64_t end_ms = bench_now_ms() + BENCH_DEADLINE_MS;
    char path[64], text[512] = "", *after = NULL;
    do {
        bench_nap();
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
        after = strrchr(text, ')');
        assert_non_null(after);
    } while (after[2] != wanted && bench_now_ms() < end_ms);
    assert_int_equal(after[2], wanted);
}

static int set_up(void **state) {
    static unsigned number;
    struct fixture *f = calloc(1, sizeof(*f));
    char token[WIRE_TOKEN_HEX];
    snprintf(token, sizeof(token), "%016x%016x", (unsigned)getpid(), number++);
    wire_keeper_address(token, 0, f->address, sizeof(f->address));
    f->listen_fd = f->helper_fd = f->said_fd = f->page_fd = -1;
    f->launch_timeout_ms = 5000;
    *state = f;
    return 0;
}

static int set_up_running(void **state) {
    (void)set_up(state);
    struct fixture *f = *state;
    f->listen_fd = bench_listen(f->address);
    start_keeper(f);
    accept_keeper(f);
    return 0;
}

/* It takes its tree with it, when it is asked or loses its helper while Slurm ends the step. */
static int tear_down(void **state) {
    struct fixture *f = *state;
    close(f->listen_fd);
    if (f->keeper > 0 && f->helper_fd >= 0) {
        tell_simply(f, WIRE_KEEPER_END, 0);
    }
    if (f->keeper > 0) {
        (void)kill(f->keeper, SIGTERM);
        (void)end_of_keeper(f);
    }
    close(f->helper_fd);
    close(f->said_fd);
    close(f->page_fd);
    free(f);
    return 0;
}

/* ---- the tests */

static void a_program_gets_what_start_says(void **state) {
    struct fixture *f = *state;
    char line[256];
    pid_t pid = start_program(f, 1, "talk");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "RANK=7 OLD=unset page=1 keeper=1 blocked=0 group=1");
    assert_int_equal(kill(pid, SIGKILL), 0);
    expect_exit(f, 1, pid, SIGKILL);
    expect_cleared(f, 1);
}

static void a_dead_program_is_reported_and_started_again(void **state) {
    struct fixture *f = *state;
    for (uint32_t incarnation = 1; incarnation <= 20; incarnation++) {
        pid_t pid = start_program(f, incarnation, "exit");
        expect_exit(f, incarnation, pid, 3 << 8);
        expect_cleared(f, incarnation);
        assert_true(bench_is_gone(pid));
    }
}

static void the_next_one_waits_until_the_whole_tree_is_gone(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t pid = start_program(f, 1, "daemon");
    bench_read_line(f->said_fd, line, sizeof(line));
    order_start(f, 2, "talk"); /* while the first one runs */
    expect_exit(f, 1, pid, SIGKILL);
    expect_cleared(f, 1);
    assert_true(bench_is_gone((pid_t)atoi(line)));
    assert_int_equal(expect(f, WIRE_KEEPER_STARTED).incarnation, 2);
}

static void kill_reaches_the_whole_tree(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t pid = start_program(f, 1, "daemon");
    bench_read_line(f->said_fd, line, sizeof(line));
    tell_simply(f, WIRE_KEEPER_KILL, 0);
    expect_exit(f, 1, pid, SIGKILL);
    expect_cleared(f, 1);
    assert_true(bench_is_gone((pid_t)atoi(line)));
}

static void hold_stops_the_tree_and_continue_lets_it_go(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t pid = start_program(f, 1, "daemon");
    bench_read_line(f->said_fd, line, sizeof(line));
    tell_simply(f, WIRE_KEEPER_HOLD, 0);
    wait_state(pid, 'T');
    wait_state((pid_t)atoi(line), 'T');
    tell_simply(f, WIRE_KEEPER_CONTINUE, 0);
    wait_state(pid, 'S');
    wait_state((pid_t)atoi(line), 'S');
}

/* No helper has a part in this. */
static void who_has_no_lease_stands_still(void **state) {
    struct fixture *f = *state;
    char line[64];
    f->page_fd = memfd_create("page", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->page_fd, PAGE_BYTES), 0);
    struct wire_page *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->page_fd, 0);
    assert_true(page != MAP_FAILED);
    page->magic = WIRE_PAGE_MAGIC;
    atomic_store(&page->lease_end_ns, UINT64_MAX);
    pid_t pid = start_program(f, 1, "daemon");
    bench_read_line(f->said_fd, line, sizeof(line));
    atomic_store(&page->lease_end_ns, (bench_now_ms() + 50) * 1000000u);
    tell_simply(f, WIRE_KEEPER_CONTINUE,
                0); /* it looks again when something happens, or the lease that it knows ends */
    wait_state(pid, 'T');
    wait_state((pid_t)atoi(line), 'T');
    assert_true(bench_now_ms() * 1000000u >= atomic_load(&page->lease_end_ns));
    atomic_store(&page->lease_end_ns, UINT64_MAX);
    wait_state(pid, 'S');
    wait_state((pid_t)atoi(line), 'S');
    (void)munmap(page, PAGE_BYTES);
}

static void signals_of_slurm_are_passed_on(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t pid = start_program(f, 1, "deaf");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_int_equal(kill(f->keeper, SIGUSR1), 0);
    assert_int_equal(expect(f, WIRE_KEEPER_SIGNALLED).status, SIGUSR1); /* before the program can end by it */
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "usr1");
    assert_int_equal(kill(f->keeper, SIGTERM), 0); /* the program ignores it, and so does not end */
    assert_int_equal(expect(f, WIRE_KEEPER_ENDING).status, SIGTERM);
    assert_false(bench_is_gone(pid));
    tell_simply(f, WIRE_KEEPER_END, 7 << 8);
    expect_exit(f, 1, pid, SIGKILL);
    expect_cleared(f, 1);
    close(f->helper_fd);
    f->helper_fd = -1;
    int status = end_of_keeper(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

/* What is pending would show as soon as it is not blocked any more: the library's test. */
static void a_parked_program_gets_no_signal(void **state) {
    struct fixture *f = *state;
    char line[256];
    f->is_parked = true;
    pid_t pid = start_program(f, 1, "talk");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "RANK=7 OLD=unset page=1 keeper=1 blocked=1 group=1");
    assert_int_equal(kill(pid, SIGUSR1), 0); /* as proctrack/linuxproc does */
    assert_int_equal(kill(f->keeper, SIGUSR1), 0);
    assert_int_equal(expect(f, WIRE_KEEPER_SIGNALLED).status, SIGUSR1);
    assert_false(bench_is_gone(pid));
    assert_int_equal(kill(f->keeper, SIGTERM), 0);
    assert_int_equal(expect(f, WIRE_KEEPER_ENDING).status, SIGTERM);
    assert_false(bench_is_gone(pid));
    tell_simply(f, WIRE_KEEPER_END, 0);
    expect_exit(f, 1, pid, SIGKILL);
    expect_cleared(f, 1);
    close(f->helper_fd);
    f->helper_fd = -1;
    assert_int_equal(end_of_keeper(f), 0);
}

static void a_program_that_ends_at_sigterm_ends_the_keeper_like_itself(void **state) {
    struct fixture *f = *state;
    char line[256];
    pid_t pid = start_program(f, 1, "talk");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_int_equal(kill(f->keeper, SIGTERM), 0);
    assert_int_equal(expect(f, WIRE_KEEPER_ENDING).status, SIGTERM);
    expect_exit(f, 1, pid, SIGTERM);
    expect_cleared(f, 1);
    tell_simply(f, WIRE_KEEPER_END, SIGTERM);
    int status = end_of_keeper(f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* Without its helper a rank does not live; the successor is told that it is clear. */
static void the_helpers_death_ends_the_tree_and_the_successor_is_found(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t pid = start_program(f, 1, "daemon");
    bench_read_line(f->said_fd, line, sizeof(line));
    close(f->helper_fd);
    accept_keeper(f);
    assert_true(bench_is_gone(pid));
    assert_true(bench_is_gone((pid_t)atoi(line)));
    pid = start_program(f, 2, "exit");
    expect_exit(f, 2, pid, 3 << 8);
}

static void nonsense_of_the_helper_is_its_death(void **state) {
    struct fixture *f = *state;
    pid_t pid = start_program(f, 1, "talk");
    assert_int_equal(send(f->helper_fd, "nonsense", 8, MSG_NOSIGNAL), 8);
    bench_await_readable(f->listen_fd);
    close(f->helper_fd);
    accept_keeper(f);
    assert_true(bench_is_gone(pid));
}

static void without_a_helper_it_ends_in_words(void **state) {
    static const char end[] = ": the helper of this node could not be reached within launch-timeout";
    struct fixture *f = *state;
    char line[256];
    f->launch_timeout_ms = 100;
    start_keeper(f);
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_ptr_equal(strstr(line, "ckptless: "), line); /* and the host's name */
    assert_non_null(strstr(line, end));
    assert_string_equal(strstr(line, end), end); /* and nothing after it */
    int status = end_of_keeper(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), KEEPER_EXIT_CODE);
}

/* A helper that waits for a line on `go_fd`, listens, and ends well when a keeper has said HELLO. */
static pid_t start_helper(const struct fixture *f, int go_fd) {
    char line[8];
    pid_t pid = fork();
    if (pid == 0) {
        bench_read_line(go_fd, line, sizeof(line));
        int listen_fd = bench_listen(f->address);
        bench_await_readable(listen_fd);
        (void)bench_receive(accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), WIRE_KEEPER_HELLO);
        _exit(0);
    }
    return pid;
}

/* A helper that is being killed can be connected to for a moment. Its successor must not be taken for a dead one then:
 * there would be two. */
static void only_the_helper_that_it_has_started_is_spoken_to(void **state) {
    struct fixture *f = *state;
    char scrap[8];
    int go[2];
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    f->started_helper = start_helper(f, go[0]);
    f->listen_fd = bench_listen(f->address);
    start_keeper(f);
    bench_await_readable(f->listen_fd);
    int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    bench_await_readable(fd);
    assert_int_equal(recv(fd, scrap, sizeof(scrap), 0), 0); /* closed without a word */
    close(fd);
    close(f->listen_fd);
    f->listen_fd = -1;
    assert_int_equal(write(go[1], "go\n", 3), 3);
    assert_int_equal(bench_end_of(f->started_helper, "the helper"), 0);
    close(go[0]);
    close(go[1]);
}

static void a_helper_that_comes_late_is_found(void **state) {
    struct fixture *f = *state;
    start_keeper(f);
    for (int i = 0; i < 50; i++) {
        bench_nap();
    }
    f->listen_fd = bench_listen(f->address);
    accept_keeper(f);
    tell_simply(f, WIRE_KEEPER_END, 0); /* nothing was started */
    assert_int_equal(end_of_keeper(f), 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up_running, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_program_gets_what_start_says),
        T(a_dead_program_is_reported_and_started_again),
        T(the_next_one_waits_until_the_whole_tree_is_gone),
        T(kill_reaches_the_whole_tree),
        T(hold_stops_the_tree_and_continue_lets_it_go),
        T(who_has_no_lease_stands_still),
        T(signals_of_slurm_are_passed_on),
        T(a_parked_program_gets_no_signal),
        T(a_program_that_ends_at_sigterm_ends_the_keeper_like_itself),
        T(the_helpers_death_ends_the_tree_and_the_successor_is_found),
        T(nonsense_of_the_helper_is_its_death),
        cmocka_unit_test_setup_teardown(without_a_helper_it_ends_in_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_helper_that_comes_late_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_the_helper_that_it_has_started_is_spoken_to, set_up, tear_down),
    };
#undef T
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
