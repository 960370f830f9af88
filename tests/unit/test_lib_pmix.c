/*
 * The library in a process of its own against a real PMIx server: the way of a request, of an answer that comes late,
 * and of an interruption that finds the program blocked in a receive. The helper's decisions are played by this test.
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
#define RANK 0u

static struct wire_page *page;
static int page_fd;

/* What the program does; its exit code says where it went wrong. */
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
    if (recv(pair[0], &byte, 1, 0) != 0 || !ckptless_interrupted(ctx)) { /* until the event */
        return 14;
    }
    if (ckptless_unwatch_fd(ctx, pair[0]) != CKPTLESS_OK || ckptless_on_interrupt(ctx, NULL, NULL) != CKPTLESS_OK) {
        return 15;
    }
    return told_count <= 1 ? 0 : 16;
}

static int program(void) {
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

/* Waits for PMIx's environment on the pipe, takes it, becomes the program. */
static pid_t start_program(int *ret_environment) {
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static char block[65536];
        size_t length = 0;
        ssize_t count;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[1]);
        while ((count = read(fds[0], block + length, sizeof(block) - 1 - length)) > 0) {
            length += (size_t)count;
        }
        for (size_t at = 0; at < length; at += strlen(block + at) + 1) {
            if (block[at] && putenv(block + at) != 0) {
                _exit(9);
            }
        }
        _exit(program());
    }
    assert_true(pid > 0);
    close(fds[0]);
    *ret_environment = fds[1];
    return pid;
}

static struct pmixsrv_event next_event(struct pmixsrv *server) {
    struct pmixsrv_event event;
    while (!pmixsrv_poll(server, &event)) {
        struct pollfd ready = { .fd = pmixsrv_fd(server), .events = POLLIN };
        assert_int_equal(poll(&ready, 1, TEST_DEADLINE_MS), 1);
    }
    return event;
}

/* The next request, which must be of this type. */
static struct wire_rpc_request next_request(struct pmixsrv *server, enum wire_rpc_type type, void **ret_reply) {
    for (;;) {
        struct pmixsrv_event event = next_event(server);
        struct wire_rpc_request request;
        struct wire_arena arena = { 0 };
        if (event.type != PMIXSRV_EVENT_REQUEST) {
            free(event.data);
            continue;
        }
        assert_true(wire_rpc_request_decode(event.data, event.bytes, &arena, &request));
        assert_int_equal(request.type, type);
        *ret_reply = event.reply;
        request.regions = NULL; /* they go with the arena */
        request.data = NULL;
        wire_arena_fini(&arena);
        free(event.data);
        return request;
    }
}

static void reply(struct pmixsrv *server, void *to, uint32_t result, uint64_t epoch, uint64_t step) {
    struct wire_rpc_answer answer = { .result = result,
                                      .epoch = epoch,
                                      .ordinal = epoch - EPOCH + 1,
                                      .step = step,
                                      .size = 2,
                                      .local_size = 2,
                                      .nodes = 1,
                                      .environment = "RANK=0",
                                      .environment_bytes = 7 };
    uint8_t bytes[2048];
    size_t count = wire_rpc_answer_encode(&answer, bytes, sizeof(bytes));
    assert_true(count > 0);
    pmixsrv_reply(server, to, bytes, count);
}

static struct pmixsrv *open_server(char *directory) {
    static const char *const hosts[] = { "localhost" };
    static const uint32_t ranks_per_node[] = { 2 };
    const struct pmixsrv_config config = { .nspace = "ckptless.1.0",
                                           .host = "localhost",
                                           .directory = directory,
                                           .rank_count = 2,
                                           .universe = 2,
                                           .node_count = 1,
                                           .hosts = hosts,
                                           .ranks_per_node = ranks_per_node };
    struct pmixsrv *server = NULL;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(pmixsrv_create(&server, &config), PMIXSRV_OK);
    struct pmixsrv_event opened = next_event(server);
    assert_int_equal(opened.type, PMIXSRV_EVENT_OPENED);
    assert_int_equal(opened.status, 0);
    return server;
}

static void give_environment(struct pmixsrv *server, int fd) {
    char *block = NULL;
    size_t bytes = 0;
    uint32_t serial = 0;
    assert_int_equal(pmixsrv_register_client(server, RANK, &serial), PMIXSRV_OK);
    assert_int_equal(pmixsrv_environment(server, RANK, &block, &bytes), PMIXSRV_OK);
    assert_int_equal(write(fd, block, bytes), bytes);
    close(fd);
    free(block);
}

/* INIT to the commit of step 6. */
static void play_first_world(struct pmixsrv *server, pid_t pid) {
    void *to = NULL;
    struct wire_rpc_request request = next_request(server, WIRE_RPC_INIT, &to);
    assert_int_equal(request.pid, pid);
    reply(server, to, CKPTLESS_OK, EPOCH, 0);
    request = next_request(server, WIRE_RPC_RECOVER, &to);
    assert_false(request.has_state);
    reply(server, to, CKPTLESS_RELOAD, EPOCH, 0);
    request = next_request(server, WIRE_RPC_RELOADED, &to);
    assert_int_equal(request.step, 5);
    reply(server, to, CKPTLESS_OK, EPOCH, 0);
    request = next_request(server, WIRE_RPC_COMMITTED, &to);
    assert_int_equal(request.step, 6);
    assert_int_equal(request.epoch, EPOCH);
    reply(server, to, CKPTLESS_OK, EPOCH, 0);
}

static void a_program_is_interrupted_and_goes_on(void **state) {
    char directory[] = "/tmp/ckptless-test-XXXXXX", text[16];
    int environment = -1, status = -1;
    void *to = NULL;
    (void)state;
    page = test_page(&page_fd);
    atomic_store(&page->stop_epoch, EPOCH);
    snprintf(text, sizeof(text), "%d", page_fd);
    assert_int_equal(setenv("CKPTLESS_PAGE_FD", text, 1), 0);
    pid_t pid = start_program(&environment); /* before PMIx's threads */
    struct pmixsrv *server = open_server(directory);
    give_environment(server, environment);
    play_first_world(server, pid);

    atomic_store(&page->stop_epoch, EPOCH + 1);
    uint64_t stopped_ns = test_now_ns();
    pmixsrv_interrupt(server, RANK, EPOCH + 1);
    struct wire_rpc_request request = next_request(server, WIRE_RPC_RECOVER, &to);
    print_message("# from the interruption to recover: %.2f ms\n", (double)(test_now_ns() - stopped_ns) / 1e6);
    assert_true(request.has_state);
    assert_int_equal(request.step, 6);
    reply(server, to, CKPTLESS_OK, EPOCH + 1, 6);
    (void)next_request(server, WIRE_RPC_FINISH, &to);
    reply(server, to, CKPTLESS_OK, EPOCH + 1, 0);
    while (next_event(server).type != PMIXSRV_EVENT_FINALIZED) {
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    pmixsrv_destroy(server);
    assert_int_not_equal(access(directory, F_OK), 0);
    munmap(page, WIRE_PAGE_BYTES);
    close(page_fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_interrupted_and_goes_on),
    };
    return cmocka_run_group_tests_name("lib_pmix", tests, NULL, NULL);
}
