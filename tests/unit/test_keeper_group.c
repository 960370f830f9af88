/*
 * A task of three ranks as slurmstepd and the helper see it: this test is both. Real processes: the task is a fork of
 * the test, the keepers are its forks, the programs theirs. What a program has to say comes through its standard
 * output.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank_plugin/keeper.h"
#include "tests/unit/test_keeper_bench.h"

#define RANKS 3u
#define FIRST_SLOT 6u /* the task with local id 2 */

struct fixture {
    char address[128];
    int listen_fd, helper_fds[RANKS]; /* by rank of the task */
    int said_fd, input_fd;            /* what the programs write; what they may read */
    pid_t task, keepers[RANKS];
    bool everyone_is_signalled;
};

/* ---- the programs: which one, the variable PROGRAM says */

static void on_usr1(int number) {
    char text[32];
    (void)number;
    snprintf(text, sizeof(text), "usr1 %s\n", getenv("RANK"));
    bench_say(text);
}

/* "RANK PID of the orphan": a process that no one but its subreaper knows. */
static void leave_orphan(void) {
    char text[64];
    if (fork() == 0) {
        (void)setsid();
        (void)signal(SIGTERM, SIG_IGN);
        if (fork() != 0) {
            _exit(0);
        }
        while (getppid() != atoi(getenv("CKPTLESS_KEEPER_PID"))) {
            bench_nap();
        }
        snprintf(text, sizeof(text), "%s %d\n", getenv("RANK"), (int)getpid());
        bench_say(text);
        for (;;) {
            (void)pause();
        }
    }
    while (wait(NULL) > 0) {
    }
}

static void read_input(void) {
    char text[64], line[128];
    ssize_t count = read(STDIN_FILENO, text, sizeof(text) - 1);
    snprintf(line, sizeof(line), "%s read %zd\n", getenv("RANK"), count);
    bench_say(line);
}

static void run_program(void) __attribute__((noreturn));
static void run_program(void) {
    const char *name = getenv("PROGRAM");
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (strcmp(name, "orphan") == 0) {
        leave_orphan();
    } else if (strcmp(name, "read") == 0) {
        read_input();
    } else {
        (void)signal(SIGUSR1, on_usr1);
        bench_say("ready\n");
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

static void become_task(const struct fixture *f, int said_fd, int input_fd) __attribute__((noreturn));
static void become_task(const struct fixture *f, int said_fd, int input_fd) {
    struct keeper_config config = { .slot = FIRST_SLOT,
                                    .stepd_pid = getppid(),
                                    .parent_pid = getppid(),
                                    .everyone_is_signalled = f->everyone_is_signalled,
                                    .launch_timeout_ms = BENCH_DEADLINE_MS,
                                    .set_environment = set_environment };
    sigset_t all;
    sigfillset(&all); /* as slurmstepd leaves it */
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setpgid(0, 0);
    snprintf(config.addresses[0], sizeof(config.addresses[0]), "%s", f->address);
    (void)dup2(input_fd, STDIN_FILENO);
    (void)dup2(said_fd, STDOUT_FILENO);
    if (keeper_group_run(&config, RANKS)) {
        run_program();
    }
    _exit(99);
}

static struct wire_keeper_message expect(struct fixture *f, uint32_t rank, enum wire_keeper_type type) {
    struct wire_keeper_message message = bench_receive(f->helper_fds[rank], type);
    assert_int_equal(message.slot, FIRST_SLOT + rank);
    return message;
}

/* They come in any order, each with a slot of its own. */
static void accept_keepers(struct fixture *f) {
    for (uint32_t i = 0; i < RANKS; i++) {
        bench_await_readable(f->listen_fd);
        int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        struct wire_keeper_message hello = bench_receive(fd, WIRE_KEEPER_HELLO);
        assert_in_range(hello.slot, FIRST_SLOT, FIRST_SLOT + RANKS - 1);
        assert_int_equal(f->helper_fds[hello.slot - FIRST_SLOT], -1);
        f->helper_fds[hello.slot - FIRST_SLOT] = fd;
        f->keepers[hello.slot - FIRST_SLOT] = (pid_t)hello.pid;
    }
}

static void tell(struct fixture *f, uint32_t rank, struct wire_keeper_message message) {
    uint8_t packet[1024];
    message.slot = FIRST_SLOT + rank;
    message.environment = message.environment ? message.environment : "";
    size_t bytes = wire_keeper_encode(&message, packet, sizeof(packet));
    assert_true(bytes > 0);
    assert_int_equal(send(f->helper_fds[rank], packet, bytes, MSG_NOSIGNAL), bytes);
}

static pid_t start_program(struct fixture *f, uint32_t rank, uint32_t incarnation, const char *program) {
    char environment[128];
    int length = snprintf(environment, sizeof(environment), "RANK=%u%cPROGRAM=%s", rank, '\0', program);
    tell(f, rank,
         (struct wire_keeper_message){ .type = WIRE_KEEPER_START,
                                       .incarnation = incarnation,
                                       .environment = environment,
                                       .environment_bytes = (uint32_t)length + 1 });
    struct wire_keeper_message started = expect(f, rank, WIRE_KEEPER_STARTED);
    assert_int_equal(started.incarnation, incarnation);
    return (pid_t)started.pid;
}

static void expect_end(struct fixture *f, uint32_t rank, pid_t pid, int status) {
    struct wire_keeper_message exited = expect(f, rank, WIRE_KEEPER_EXITED);
    assert_int_equal(exited.pid, pid);
    assert_int_equal(exited.status, status);
    (void)expect(f, rank, WIRE_KEEPER_CLEARED);
}

static void end_rank(struct fixture *f, uint32_t rank, int32_t status) {
    tell(f, rank, (struct wire_keeper_message){ .type = WIRE_KEEPER_END, .status = status });
}

static int end_of_task(struct fixture *f) {
    int status = bench_end_of(f->task, "the task");
    f->task = 0;
    return status;
}

static void await_gone(pid_t pid) {
    uint64_t end_ms = bench_now_ms() + BENCH_DEADLINE_MS;
    while (!bench_is_gone(pid)) {
        if (bench_now_ms() > end_ms) {
            fail_msg("process %d does not end", (int)pid);
        }
        (void)waitpid(pid, NULL, WNOHANG); /* where it is ours to reap */
        bench_nap();
    }
}

static int set_up_as(void **state, bool everyone_is_signalled) {
    static unsigned number;
    struct fixture *f = calloc(1, sizeof(*f));
    char token[WIRE_TOKEN_HEX];
    int said[2], input[2];
    snprintf(token, sizeof(token), "%016x%016x", (unsigned)getpid(), number++);
    wire_keeper_address(token, 0, f->address, sizeof(f->address));
    f->everyone_is_signalled = everyone_is_signalled;
    for (uint32_t i = 0; i < RANKS; i++) {
        f->helper_fds[i] = -1;
    }
    f->listen_fd = bench_listen(f->address);
    assert_int_equal(pipe(said), 0);
    assert_int_equal(pipe(input), 0);
    f->task = fork();
    assert_true(f->task >= 0);
    if (f->task == 0) {
        close(input[1]);
        close(said[0]);
        become_task(f, said[1], input[0]);
    }
    close(said[1]);
    close(input[0]);
    f->said_fd = said[0];
    f->input_fd = input[1];
    *state = f;
    accept_keepers(f);
    return 0;
}

static int set_up(void **state) {
    return set_up_as(state, false);
}

static int set_up_signalled(void **state) {
    return set_up_as(state, true);
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    if (f->task > 0) {
        (void)kill(f->task, SIGKILL);
        (void)end_of_task(f);
    }
    for (uint32_t i = 0; i < RANKS; i++) {
        if (f->keepers[i] > 0) {
            await_gone(f->keepers[i]);
        }
        close(f->helper_fds[i]);
    }
    close(f->listen_fd);
    close(f->said_fd);
    close(f->input_fd);
    free(f);
    return 0;
}

/* ---- the tests */

static void an_end_takes_the_orphans_of_its_own_rank_only(void **state) {
    struct fixture *f = *state;
    pid_t programs[RANKS], orphans[RANKS] = { 0 };
    char line[64];
    for (uint32_t i = 0; i < RANKS; i++) {
        unsigned rank;
        int orphan;
        programs[i] = start_program(f, i, 1, "orphan");
        bench_read_line(f->said_fd, line, sizeof(line));
        assert_int_equal(sscanf(line, "%u %d", &rank, &orphan), 2);
        assert_int_equal(rank, i);
        orphans[i] = (pid_t)orphan;
    }
    assert_int_equal(kill(programs[1], SIGKILL), 0);
    expect_end(f, 1, programs[1], SIGKILL);
    assert_true(bench_is_gone(orphans[1]));
    (void)start_program(f, 1, 2, "talk");
    for (uint32_t i = 0; i < RANKS; i += 2) {
        assert_false(bench_is_gone(programs[i]));
        assert_false(bench_is_gone(orphans[i]));
    }
}

static void each_rank_gets_a_signal_of_slurm_once(void **state) {
    struct fixture *f = *state;
    char line[64], seen[RANKS + 1] = "";
    for (uint32_t i = 0; i < RANKS; i++) {
        (void)start_program(f, i, 1, "talk");
        bench_read_line(f->said_fd, line, sizeof(line));
    }
    assert_int_equal(kill(f->task, SIGUSR1), 0);
    for (uint32_t i = 0; i < RANKS; i++) {
        bench_read_line(f->said_fd, line, sizeof(line));
        assert_int_equal(strncmp(line, "usr1 ", 5), 0);
        assert_null(strchr(seen, line[5]));
        seen[i] = line[5];
    }
    assert_int_equal(kill(f->task, SIGTERM), 0);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(expect(f, i, WIRE_KEEPER_SIGNALLED).status, SIGUSR1);
        assert_int_equal(expect(f, i, WIRE_KEEPER_ENDING).status, SIGTERM);
        (void)expect(f, i, WIRE_KEEPER_EXITED);
    }
    struct pollfd more = { .fd = f->said_fd, .events = POLLIN };
    assert_int_equal(poll(&more, 1, 0), 0);
}

/* The task has taken all its signals in. */
static void await_taken(pid_t pid) {
    uint64_t end_ms = bench_now_ms() + BENCH_DEADLINE_MS;
    char path[64], line[256];
    unsigned long long pending = 1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    while (pending != 0 && bench_now_ms() < end_ms) {
        bench_nap();
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file) && sscanf(line, "ShdPnd: %llx", &pending) != 1) {
        }
        fclose(file);
    }
    assert_int_equal(pending, 0);
}

/* proctrack/linuxproc signals the keepers and programs itself. */
static void nothing_is_passed_on_where_slurm_signals_everyone(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t program = start_program(f, 0, 1, "talk");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_int_equal(kill(f->task, SIGTERM), 0);
    await_taken(f->task);
    assert_int_equal(kill(f->keepers[0], SIGTERM), 0);
    assert_int_equal(expect(f, 0, WIRE_KEEPER_ENDING).status, SIGTERM);
    assert_int_equal(kill(program, SIGUSR1), 0);
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "usr1 0");
    assert_false(bench_is_gone(program));
}

static void the_task_ends_like_the_worst_of_its_ranks(void **state) {
    struct fixture *f = *state;
    end_rank(f, 2, 3 << 8);
    await_gone(f->keepers[2]);
    assert_int_equal(waitpid(f->task, NULL, WNOHANG), 0); /* not before the last */
    end_rank(f, 0, SIGTERM);
    await_gone(f->keepers[0]);
    end_rank(f, 1, 0);
    int status = end_of_task(f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* Its rank has gone on elsewhere: the task's end is that of the others. */
static void a_killed_keeper_does_not_count(void **state) {
    struct fixture *f = *state;
    assert_int_equal(kill(f->keepers[1], SIGKILL), 0);
    await_gone(f->keepers[1]);
    assert_int_equal(waitpid(f->task, NULL, WNOHANG), 0);
    end_rank(f, 0, 3 << 8);
    end_rank(f, 2, 0);
    int status = end_of_task(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
}

static void when_all_keepers_are_killed_the_task_ends_so(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(kill(f->keepers[i], SIGKILL), 0);
    }
    int status = end_of_task(f);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void a_killed_task_takes_its_keepers_and_their_trees_along(void **state) {
    struct fixture *f = *state;
    char line[64];
    pid_t program = start_program(f, 2, 1, "orphan");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_int_equal(kill(f->task, SIGKILL), 0);
    (void)end_of_task(f);
    for (uint32_t i = 0; i < RANKS; i++) {
        await_gone(f->keepers[i]);
    }
    assert_true(bench_is_gone(program));
    assert_true(bench_is_gone((pid_t)atoi(line + 2)));
}

static void the_first_rank_has_the_tasks_input(void **state) {
    struct fixture *f = *state;
    char line[64];
    assert_int_equal(write(f->input_fd, "abc", 3), 3);
    (void)start_program(f, 1, 1, "read");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "1 read 0");
    (void)start_program(f, 0, 1, "read");
    bench_read_line(f->said_fd, line, sizeof(line));
    assert_string_equal(line, "0 read 3");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_end_takes_the_orphans_of_its_own_rank_only),
        T(each_rank_gets_a_signal_of_slurm_once),
        cmocka_unit_test_setup_teardown(nothing_is_passed_on_where_slurm_signals_everyone, set_up_signalled, tear_down),
        T(the_task_ends_like_the_worst_of_its_ranks),
        T(a_killed_keeper_does_not_count),
        T(when_all_keepers_are_killed_the_task_ends_so),
        T(a_killed_task_takes_its_keepers_and_their_trees_along),
        T(the_first_rank_has_the_tasks_input),
    };
#undef T
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* keepers whose task was killed are ours to reap */
    return cmocka_run_group_tests_name("keeper_group", tests, NULL, NULL);
}
