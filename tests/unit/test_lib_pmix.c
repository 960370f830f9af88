/*
 * The library in processes of its own against a real PMIx server: the way of a request, of an answer that comes late,
 * of an interruption that finds the program blocked in a receive, and of replacements that take a dead process's name.
 * The helper's decisions are played by this test. Every process is forked before PMIx has threads here.
 */
#include "tests/unit/test_lib.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "include/ckptless.h"
#include "node_helper/wire/wire_rpc.h"
#include "pmix_glue/server/pmixsrv.h"

#define EPOCH 0x100000001ull
#define WORLD 2u
#define UNIVERSE 6u
#define REPLACEMENTS 12u
#define LATE_LOSS_MS 2500 /* PMIx tells a lost connection a second late */

/* A rank's process: its page, and the way by which it gets PMIx's environment. */
struct process {
    pid_t pid;
    uint32_t rank, incarnation, serial;
    struct wire_page *page;
    int environment;
};

static struct pmixsrv *server;
static struct process interrupted;                /* rank 0 */
static struct process replacements[REPLACEMENTS]; /* rank 1, one after the other */
static struct process stale, successor;           /* rank 2 */
static struct process firsts[2], seconds[2];      /* ranks 3 and 4 */
static struct process parked, older, newer;       /* rank 5; rank 1, once more */

/* ---- what the programs do; the exit code says where one went wrong */

static int told_count;

static void count_loss(void *arg, uint64_t epoch) {
    (void)arg;
    told_count += epoch == 1 ? 1 : 100;
}

static enum ckptless_result nothing(void *arg, uint64_t step) {
    (void)arg;
    (void)step;
    return CKPTLESS_OK;
}

static int run_world(struct ckptless *ctx, int pair[2]) {
    char byte;
    if (ckptless_update(ctx, 6, nothing, NULL) != CKPTLESS_OK || ckptless_watch_fd(ctx, pair[0]) != CKPTLESS_OK) {
        return 13;
    }
    if (ckptless_pause(ctx, "about to wait") != CKPTLESS_OK) { /* the test interrupts after it */
        return 19;
    }
    if (recv(pair[0], &byte, 1, 0) != 0 || !ckptless_interrupted(ctx)) { /* until the event */
        return 14;
    }
    if (ckptless_unwatch_fd(ctx, pair[0]) != CKPTLESS_OK || ckptless_on_interrupt(ctx, NULL, NULL) != CKPTLESS_OK) {
        return 15;
    }
    return told_count <= 1 ? 0 : 16;
}

static int program_of_two_worlds(void) {
    struct ckptless *ctx = NULL;
    uint64_t step = 0;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || ckptless_init(&ctx, NULL) != CKPTLESS_OK) {
        return 10;
    }
    if (ckptless_on_interrupt(ctx, count_loss, NULL) != CKPTLESS_OK) {
        return 11;
    }
    if (ckptless_recover(ctx, &step) != CKPTLESS_RELOAD || ckptless_reloaded(ctx, 5) != CKPTLESS_OK) {
        return 12;
    }
    int result = run_world(ctx, pair);
    if (result != 0) {
        return result;
    }
    if (ckptless_recover(ctx, &step) != CKPTLESS_OK || step != 6) {
        return 17;
    }
    if (ckptless_finish(ctx) != CKPTLESS_OK) {
        return 18;
    }
    ckptless_finalize(ctx);
    return 0;
}

static int program_that_asks(void) {
    struct ckptless *ctx = NULL;
    uint64_t step = 0;
    if (ckptless_init(&ctx, NULL) != CKPTLESS_OK) {
        return 10;
    }
    (void)!ckptless_recover(ctx, &step);
    for (;;) {
        (void)pause();
    }
}

/* Waits for PMIx's environment on the pipe, up to the empty string at its end, and takes it. */
static void take_environment(int fd) {
    static char block[65536];
    size_t length = 0;
    ssize_t count;
    while (length < 2 || block[length - 1] != '\0' || block[length - 2] != '\0') {
        count = read(fd, block + length, sizeof(block) - 1 - length);
        if (count <= 0) {
            _exit(8);
        }
        length += (size_t)count;
    }
    for (size_t at = 0; at < length; at += strlen(block + at) + 1) {
        if (block[at] && putenv(block + at) != 0) {
            _exit(9);
        }
    }
}

static void start_process(struct process *process, uint32_t rank, uint32_t incarnation, int (*program)(void)) {
    int fds[2], page_fd;
    char text[16];
    *process = (struct process){ .rank = rank, .incarnation = incarnation, .page = test_page(&page_fd) };
    process->page->incarnation = incarnation;
    atomic_store(&process->page->stop_epoch, EPOCH);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    process->environment = fds[1];
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[1]);
        snprintf(text, sizeof(text), "%d", page_fd);
        (void)setenv("CKPTLESS_PAGE_FD", text, 1);
        take_environment(fds[0]);
        _exit(program());
    }
    close(fds[0]);
    close(page_fd);
}

/* ---- the helper's part */

static void announce(struct process *process) {
    assert_int_equal(pmixsrv_register_client(server, process->rank, &process->serial), PMIXSRV_OK);
}

static void give_environment(struct process *process) {
    char *block = NULL;
    size_t bytes = 0;
    assert_int_equal(pmixsrv_environment(server, process->rank, &block, &bytes), PMIXSRV_OK);
    assert_int_equal(write(process->environment, block, bytes), bytes);
    free(block);
}

static void kill_and_reap(struct process *process) {
    int status = 0;
    assert_int_equal(kill(process->pid, SIGKILL), 0);
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    assert_true(WIFSIGNALED(status)); /* it was there until now */
}

/* False: nothing came in time. */
static bool poll_event(struct pmixsrv_event *ret_event, int timeout_ms) {
    uint64_t end_ns = test_now_ns() + (uint64_t)timeout_ms * 1000000u;
    while (!pmixsrv_poll(server, ret_event)) {
        struct pollfd ready = { .fd = pmixsrv_fd(server), .events = POLLIN };
        uint64_t now_ns = test_now_ns();
        if (now_ns >= end_ns || poll(&ready, 1, (int)((end_ns - now_ns) / 1000000u) + 1) < 0) {
            return false;
        }
    }
    return true;
}

/* Nobody's loss is told before the test asks for it. */
static struct pmixsrv_event next_event(void) {
    struct pmixsrv_event event;
    if (!poll_event(&event, TEST_DEADLINE_MS)) {
        fail_msg("the server says nothing for %d ms", TEST_DEADLINE_MS);
    }
    if (event.type == PMIXSRV_EVENT_LOST) {
        fail_msg("rank %u, serial %u is said to be lost", event.rank, event.serial);
    }
    return event;
}

#define ANY ((enum wire_rpc_type)0)

/* The next request, which must be of this type and from this process. Returns the serial that it came under. */
static uint32_t next_request(const struct process *from, enum wire_rpc_type type, struct wire_rpc_request *ret_request,
                             void **ret_reply) {
    for (;;) {
        struct pmixsrv_event event = next_event();
        struct wire_arena arena = { 0 };
        if (event.type != PMIXSRV_EVENT_REQUEST) {
            free(event.data);
            continue;
        }
        assert_true(wire_rpc_request_decode(event.data, event.bytes, &arena, ret_request));
        assert_int_equal(event.rank, from->rank);
        assert_true(type == ANY || ret_request->type == type);
        assert_int_equal(ret_request->incarnation, from->incarnation);
        *ret_reply = event.reply;
        ret_request->regions = NULL; /* they go with the arena */
        ret_request->data = NULL;
        wire_arena_fini(&arena);
        free(event.data);
        return event.serial;
    }
}

static void expect_lost(const struct process *process) {
    struct pmixsrv_event event;
    assert_true(poll_event(&event, LATE_LOSS_MS));
    assert_int_equal(event.type, PMIXSRV_EVENT_LOST);
    assert_int_equal(event.rank, process->rank);
    assert_int_equal(event.serial, process->serial);
}

static void reply(void *to, uint32_t result, uint64_t epoch, uint64_t step) {
    struct wire_rpc_answer answer = { .result = result,
                                      .epoch = epoch,
                                      .ordinal = epoch - EPOCH + 1,
                                      .step = step,
                                      .size = WORLD,
                                      .local_size = WORLD,
                                      .nodes = 1,
                                      .environment = "RANK=0",
                                      .environment_bytes = 7 };
    uint8_t bytes[2048];
    size_t count = wire_rpc_answer_encode(&answer, bytes, sizeof(bytes));
    assert_true(count > 0);
    pmixsrv_reply(server, to, bytes, count);
}

static int start_all(void **state) {
    static const char *const hosts[] = { "localhost" };
    static const uint32_t rank_nodes[WORLD] = { 0 };
    char directory[] = "/tmp/ckptless-test-XXXXXX";
    (void)state;
    start_process(&interrupted, 0, 1, program_of_two_worlds);
    for (uint32_t i = 0; i < REPLACEMENTS; i++) {
        start_process(&replacements[i], 1, i + 1, program_that_asks);
    }
    start_process(&stale, WORLD, 1, program_that_asks);
    start_process(&successor, WORLD, 2, program_that_asks);
    for (uint32_t i = 0; i < 2; i++) {
        start_process(&firsts[i], WORLD + 1 + i, 1, program_that_asks);
        start_process(&seconds[i], WORLD + 1 + i, 2, program_that_asks);
    }
    start_process(&parked, WORLD + 3, 1, program_that_asks);
    start_process(&older, 1, REPLACEMENTS + 1, program_that_asks);
    start_process(&newer, 1, REPLACEMENTS + 2, program_that_asks);
    const struct pmixsrv_config config = { .nspace = "ckptless.1.0",
                                           .host = "localhost",
                                           .directory = directory,
                                           .session = "/tmp/ckptless-test.session",
                                           .rank_count = WORLD,
                                           .universe = UNIVERSE,
                                           .node_count = 1,
                                           .hosts = hosts,
                                           .rank_nodes = rank_nodes };
    assert_non_null(mkdtemp(directory));
    assert_int_equal(pmixsrv_create(&server, &config), PMIXSRV_OK);
    struct pmixsrv_event opened = next_event();
    assert_int_equal(opened.type, PMIXSRV_EVENT_OPENED);
    assert_int_equal(opened.status, 0);
    assert_int_equal(access(directory, F_OK), -1); /* a helper that is killed leaves nothing behind */
    return 0;
}

static int end_all(void **state) {
    (void)state;
    pmixsrv_destroy(server);
    return 0;
}

/* ---- the tests */

/* INIT to the commit of step 6, and until the program watches its socket. */
static void play_first_world(void) {
    void *to = NULL;
    struct wire_rpc_request request;
    (void)next_request(&interrupted, WIRE_RPC_INIT, &request, &to);
    assert_int_equal(request.pid, interrupted.pid);
    reply(to, CKPTLESS_OK, EPOCH, 0);
    (void)next_request(&interrupted, WIRE_RPC_RECOVER, &request, &to);
    assert_false(request.has_state);
    reply(to, CKPTLESS_RELOAD, EPOCH, 0);
    (void)next_request(&interrupted, WIRE_RPC_RELOADED, &request, &to);
    assert_int_equal(request.step, 5);
    reply(to, CKPTLESS_OK, EPOCH, 0);
    uint32_t seen = 0;
    while (seen != (1u << WIRE_RPC_COMMITTED | 1u << WIRE_RPC_PAUSE)) { /* a commit is told by the library's thread */
        (void)next_request(&interrupted, ANY, &request, &to);
        assert_true(request.type == WIRE_RPC_PAUSE || (request.type == WIRE_RPC_COMMITTED && request.step == 6));
        assert_int_equal(request.epoch, EPOCH);
        seen |= 1u << request.type;
        reply(to, CKPTLESS_OK, EPOCH, 0);
    }
}

static void a_program_is_interrupted_and_goes_on(void **state) {
    int status = -1;
    void *to = NULL;
    struct wire_rpc_request request;
    (void)state;
    announce(&interrupted);
    give_environment(&interrupted);
    play_first_world();

    atomic_store(&interrupted.page->stop_epoch, EPOCH + 1);
    uint64_t stopped_ns = test_now_ns();
    pmixsrv_interrupt(server, interrupted.rank, EPOCH + 1);
    (void)next_request(&interrupted, WIRE_RPC_RECOVER, &request, &to);
    print_message("# from the interruption to recover: %.2f ms\n", (double)(test_now_ns() - stopped_ns) / 1e6);
    assert_true(request.has_state);
    assert_int_equal(request.step, 6);
    reply(to, CKPTLESS_OK, EPOCH + 1, 6);
    (void)next_request(&interrupted, WIRE_RPC_FINISH, &request, &to);
    reply(to, CKPTLESS_OK, EPOCH + 1, 0);
    while (next_event().type != PMIXSRV_EVENT_FINALIZED) {
    }
    assert_int_equal(waitpid(interrupted.pid, &status, 0), interrupted.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A process until it waits in recover; *ret_open: that call. */
static void play_until_recover(const struct process *process, void **ret_open) {
    struct wire_rpc_request request;
    void *to = NULL;
    assert_int_equal(next_request(process, WIRE_RPC_INIT, &request, &to), process->serial);
    assert_int_equal(request.pid, process->pid);
    reply(to, CKPTLESS_OK, EPOCH, 0);
    assert_int_equal(next_request(process, WIRE_RPC_RECOVER, &request, ret_open), process->serial);
}

/* The helper announces a replacement as soon as the bell has rung: the connection of the one before is still up. */
static void a_replacement_takes_the_name_of_a_connected_process(void **state) {
    void *open = NULL;
    uint64_t slowest_ns = 0;
    struct pmixsrv_event event;
    (void)state;
    announce(&replacements[0]);
    give_environment(&replacements[0]);
    play_until_recover(&replacements[0], &open);
    for (uint32_t i = 1; i < REPLACEMENTS; i++) {
        uint64_t begun_ns = test_now_ns();
        announce(&replacements[i]);
        assert_int_equal(replacements[i].serial, i + 1);
        kill_and_reap(&replacements[i - 1]);
        reply(open, CKPTLESS_INTERRUPTED, EPOCH, 0); /* finds nobody */
        give_environment(&replacements[i]);
        play_until_recover(&replacements[i], &open);
        uint64_t took_ns = test_now_ns() - begun_ns;
        slowest_ns = took_ns > slowest_ns ? took_ns : slowest_ns;
    }
    print_message("# slowest of %u replacements: %.1f ms\n", REPLACEMENTS - 1, (double)slowest_ns / 1e6);
    /* What PMIx tells late of the eleven dead ones concerns nobody; the living one's own end does. */
    while (poll_event(&event, LATE_LOSS_MS)) {
        assert_int_not_equal(event.type, PMIXSRV_EVENT_LOST);
        free(event.data);
    }
    kill_and_reap(&replacements[REPLACEMENTS - 1]);
    reply(open, CKPTLESS_INTERRUPTED, EPOCH, 0);
    expect_lost(&replacements[REPLACEMENTS - 1]);
}

/* PMIx knows processes by their names only: the serial of the predecessor's request is the successor's already. */
static void a_predecessors_request_shows_its_incarnation(void **state) {
    struct wire_rpc_request request;
    void *init = NULL, *open = NULL;
    (void)state;
    announce(&stale);
    give_environment(&stale);
    (void)next_request(&stale, WIRE_RPC_INIT, &request, &init);
    announce(&successor);
    reply(init, CKPTLESS_OK, EPOCH, 0);
    assert_int_equal(next_request(&stale, WIRE_RPC_RECOVER, &request, &open), successor.serial);
    assert_int_not_equal(request.incarnation, successor.incarnation);
    kill_and_reap(&stale);
    reply(open, CKPTLESS_INTERRUPTED, EPOCH, 0);
    give_environment(&successor);
    play_until_recover(&successor, &open);
    kill_and_reap(&successor);
    reply(open, CKPTLESS_INTERRUPTED, EPOCH, 0);
    expect_lost(&successor);
}

static void replace_process(struct process *predecessor, struct process *replacement, void **open) {
    announce(replacement);
    kill_and_reap(predecessor);
    reply(*open, CKPTLESS_INTERRUPTED, EPOCH, 0);
    give_environment(replacement);
    play_until_recover(replacement, open);
}

/* PMIx waits a second for more losses before it tells one, of any rank, and then tells them as one event. */
static void losses_told_together_are_taken_apart(void **state) {
    void *open[2];
    bool lost[2] = { false, false };
    struct pmixsrv_event event;
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        announce(&firsts[i]);
        give_environment(&firsts[i]);
        play_until_recover(&firsts[i], &open[i]);
    }
    replace_process(&firsts[0], &seconds[0], &open[0]);
    while (poll_event(&event, 800)) { /* within PMIx's second: the first loss is told late by the second */
        assert_int_not_equal(event.type, PMIXSRV_EVENT_LOST);
    }
    replace_process(&firsts[1], &seconds[1], &open[1]);
    while (poll_event(&event, LATE_LOSS_MS)) {
        assert_int_not_equal(event.type, PMIXSRV_EVENT_LOST);
    }
    for (uint32_t i = 0; i < 2; i++) {
        kill_and_reap(&seconds[i]);
        reply(open[i], CKPTLESS_INTERRUPTED, EPOCH, 0);
    }
    while (!(lost[0] && lost[1]) && poll_event(&event, LATE_LOSS_MS)) {
        assert_int_equal(event.type, PMIXSRV_EVENT_LOST);
        assert_int_equal(event.serial, 2);
        lost[event.rank - WORLD - 1] = true;
    }
    assert_true(lost[0] && lost[1]);
}

/* All programs start again together: whoever is still alive of the world before has another name than they. */
static void a_generation_has_a_namespace_of_its_own(void **state) {
    static const uint32_t rank_nodes[WORLD] = { 0 };
    struct wire_rpc_request request;
    struct pmixsrv_event event;
    void *init = NULL, *open = NULL, *waits = NULL;
    (void)state;
    announce(&parked);
    announce(&older);
    give_environment(&older);
    (void)next_request(&older, WIRE_RPC_INIT, &request, &init);
    give_environment(&parked);
    (void)next_request(&parked, WIRE_RPC_INIT, &request, &waits);

    assert_int_equal(pmixsrv_enter_world(server, 1, rank_nodes), PMIXSRV_OK);
    announce(&newer);
    assert_int_equal(newer.serial, older.serial + 1);
    reply(init, CKPTLESS_OK, EPOCH, 0); /* it goes on to recover, and is not heard */
    give_environment(&newer);
    play_until_recover(&newer, &open);
    reply(waits, CKPTLESS_OK, EPOCH, 0);
    (void)next_request(&parked, WIRE_RPC_RECOVER, &request, &waits); /* but who was parked is */
    kill_and_reap(&older);
    while (poll_event(&event, LATE_LOSS_MS)) {
        assert_int_not_equal(event.type, PMIXSRV_EVENT_LOST);
        free(event.data);
    }
    kill_and_reap(&newer);
    reply(open, CKPTLESS_INTERRUPTED, EPOCH, 0);
    expect_lost(&newer);
    kill_and_reap(&parked);
    reply(waits, CKPTLESS_INTERRUPTED, EPOCH, 0);
    expect_lost(&parked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_interrupted_and_goes_on),
        cmocka_unit_test(a_replacement_takes_the_name_of_a_connected_process),
        cmocka_unit_test(a_predecessors_request_shows_its_incarnation),
        cmocka_unit_test(losses_told_together_are_taken_apart),
        cmocka_unit_test(a_generation_has_a_namespace_of_its_own),
    };
    return cmocka_run_group_tests_name("lib_pmix", tests, start_all, end_all);
}
