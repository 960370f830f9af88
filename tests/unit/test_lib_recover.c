/*
 * The library's half of every request: what it sends, and what it makes of each answer. The transport is this file's:
 * pmixcli_call() hands the bytes to a script. Everything else is real, the page, the thread and the codec.
 */
#include "tests/unit/test_lib.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "include/ckptless.h"
#include "node_helper/wire/wire_rpc.h"
#include "pmix_glue/client/pmixcli.h"

#define EPOCH 0x100000001ull
#define SEEN_MAX 64

/* What is answered to the next requests of a type, in order; the last answer stays. */
struct script {
    enum wire_rpc_type type;
    struct wire_rpc_answer answer;
    enum pmixcli_result transport;
    bool garbage, empty; /* bytes of another version; none */
};

struct seen {
    enum wire_rpc_type type;
    uint64_t epoch, step, sequence;
    uint32_t pid, region_count;
    bool has_state;
    struct wire_rpc_region regions[4];
    char data[128];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct script *script;
static size_t script_count, script_used[WIRE_RPC_RESUME + 1];
static struct seen seen[SEEN_MAX];
static size_t seen_count;
static pmixcli_interrupt_fn *interrupt_fn;
static void *interrupt_arg;
static struct wire_page *page;
static int page_fd;
static enum pmixcli_result create_result = PMIXCLI_OK;

enum pmixcli_result pmixcli_create(struct pmixcli **ret_client, pmixcli_interrupt_fn *fn, void *arg) {
    interrupt_fn = fn;
    interrupt_arg = arg;
    *ret_client = create_result == PMIXCLI_OK ? (struct pmixcli *)&lock : NULL;
    return create_result;
}

void pmixcli_destroy(struct pmixcli *client) {
    (void)client;
}

const char *pmixcli_error(void) {
    return "libpmix.so.2 cannot be loaded";
}

static void note(const struct wire_rpc_request *request) {
    struct seen *last = &seen[seen_count < SEEN_MAX ? seen_count++ : SEEN_MAX - 1];
    *last = (struct seen){ .type = request->type,
                           .epoch = request->epoch,
                           .step = request->step,
                           .sequence = request->sequence,
                           .pid = request->pid,
                           .region_count = request->region_count,
                           .has_state = request->has_state };
    for (uint32_t i = 0; i < request->region_count && i < 4; i++) {
        last->regions[i] = request->regions[i];
    }
    if (request->data_bytes < sizeof(last->data) && request->data_bytes > 0) {
        memcpy(last->data, request->data, request->data_bytes);
    }
}

/* The n-th of its type, or the last one. */
static const struct script *next_line(enum wire_rpc_type type) {
    static const struct script plain = { .answer = { .result = CKPTLESS_OK } };
    const struct script *found = &plain;
    size_t number = 0;
    for (size_t i = 0; i < script_count; i++) {
        if (script[i].type == type) {
            found = &script[i];
            if (number++ == script_used[type]) {
                break;
            }
        }
    }
    script_used[type]++;
    return found;
}

enum pmixcli_result pmixcli_call(struct pmixcli *client, const void *request_bytes, size_t count, uint8_t **ret_bytes,
                                 size_t *ret_count) {
    struct wire_rpc_request request;
    struct wire_arena arena = { 0 };
    (void)client;
    pthread_mutex_lock(&lock);
    assert_true(wire_rpc_request_decode(request_bytes, count, &arena, &request));
    note(&request);
    const struct script *line = next_line(request.type);
    wire_arena_fini(&arena);
    pthread_mutex_unlock(&lock);
    if (line->transport != PMIXCLI_OK) {
        return line->transport;
    }
    struct wire_rpc_answer answer = line->answer;
    answer.environment = answer.environment ? answer.environment : "";
    size_t bound = wire_rpc_answer_bound(&answer);
    *ret_bytes = malloc(bound);
    *ret_count = line->empty ? 0 : wire_rpc_answer_encode(&answer, *ret_bytes, bound);
    (*ret_bytes)[0] = (uint8_t)((*ret_bytes)[0] + line->garbage);
    return PMIXCLI_OK;
}

#define WORLD(n)                                                                                                       \
    .epoch = EPOCH + (n), .ordinal = 1 + (n), .rank = 1, .size = 2, .local_rank = 0, .local_size = 1, .node = 1,       \
    .nodes = 2, .master_port = 29500, .master_addr = "n1"

static void use_script(const struct script *lines, size_t count) {
    script = lines;
    script_count = count;
    memset(script_used, 0, sizeof(script_used));
    memset(seen, 0, sizeof(seen));
    seen_count = 0;
    char text[16];
    page = test_page(&page_fd);
    atomic_store(&page->stop_epoch, EPOCH);
    snprintf(text, sizeof(text), "%d", page_fd);
    assert_int_equal(setenv("CKPTLESS_PAGE_FD", text, 1), 0);
}

/* A context lives once in a process: each test has a process of its own. */
static void in_a_process(void (*test)(void)) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        test();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* In such a process cmocka's jump out of a failed assertion would go nowhere good. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static bool line_of(struct test_stderr *caught, const char *part) {
    const char *text = test_stderr_release(caught);
    const char *end = strchr(text, '\n');
    bool good = strncmp(text, "ckptless: ", 10) == 0 && end && end[1] == '\0' && strstr(text, part);
    if (!good) {
        dprintf(2, "not one line with \"%s\": \"%s\"\n", part, text);
    }
    return good;
}

struct model {
    uint64_t weights, draws;
};

static struct model model;

static struct ckptless *init_with_model(void) {
    struct ckptless *ctx = NULL;
    struct ckptless_region weights = CKPTLESS_REGION_INIT, draws = CKPTLESS_REGION_INIT;
    CHECK(ckptless_init(&ctx, NULL) == CKPTLESS_OK);
    weights.name = "weights";
    weights.data = &model.weights;
    weights.bytes = sizeof(model.weights);
    draws.name = "draws";
    draws.data = &model.draws;
    draws.bytes = sizeof(model.draws);
    draws.changes_between_updates = true;
    CHECK(ckptless_register(ctx, &weights) == CKPTLESS_OK);
    CHECK(ckptless_register(ctx, &draws) == CKPTLESS_OK);
    return ctx;
}

static enum ckptless_result add_step(void *arg, uint64_t step) {
    (void)arg;
    model.weights += step;
    return CKPTLESS_OK;
}

static const struct seen *last_of(enum wire_rpc_type type) {
    const struct seen *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i].type == type) {
            found = &seen[i];
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static bool is_announced(void *arg) {
    (void)arg;
    return last_of(WIRE_RPC_COMMITTED) != NULL;
}

static void run_start_loss_and_resume(void) {
    static const struct script lines[] = {
        { .type = WIRE_RPC_INIT, .answer = { WORLD(0), .environment = "RANK=1\0OLD", .environment_bytes = 11 } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_RELOAD, WORLD(0) } },
        { .type = WIRE_RPC_RECOVER,
          .answer = { WORLD(1), .step = 11, .environment = "MASTER_ADDR=n7", .environment_bytes = 15 } },
        { .type = WIRE_RPC_EXCHANGE, .answer = { .data_bytes = 4, .data = (const uint8_t *)"abcd" } },
        { .type = WIRE_RPC_FINISH, .answer = { .result = CKPTLESS_INTERRUPTED } },
        { .type = WIRE_RPC_FINISH, .answer = { .result = CKPTLESS_OK } },
    };
    struct ckptless_world world = CKPTLESS_WORLD_INIT;
    uint64_t step = 77;
    char all[4];
    (void)setenv("OLD", "1", 1);
    use_script(lines, sizeof(lines) / sizeof(lines[0]));
    struct ckptless *ctx = init_with_model();
    CHECK(last_of(WIRE_RPC_INIT)->pid == (uint32_t)getpid());
    CHECK(atomic_load(&page->attached_pid) == (uint32_t)getpid() && atomic_load(&page->bell_futex) != 0);
    CHECK(getenv("OLD") == NULL && strcmp(getenv("RANK"), "1") == 0);

    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_RELOAD && step == 77);
    CHECK(!last_of(WIRE_RPC_RECOVER)->has_state && last_of(WIRE_RPC_RECOVER)->region_count == 2);
    model = (struct model){ 100, 1000 };
    CHECK(ckptless_reloaded(ctx, 10) == CKPTLESS_OK && last_of(WIRE_RPC_RELOADED)->step == 10);
    CHECK(ckptless_exchange(ctx, "ab", 2, all) == CKPTLESS_OK && memcmp(all, "abcd", 4) == 0);
    CHECK(ckptless_exchange(ctx, "ab", 2, all) == CKPTLESS_OK && last_of(WIRE_RPC_EXCHANGE)->sequence == 1);
    CHECK(ckptless_update(ctx, 11, add_step, NULL) == CKPTLESS_OK);
    CHECK(test_wait(is_announced, NULL));
    CHECK(last_of(WIRE_RPC_COMMITTED)->epoch == EPOCH && last_of(WIRE_RPC_COMMITTED)->step == 11);
    CHECK(ckptless_update(ctx, 12, add_step, NULL) == CKPTLESS_OK);

    /* A loss: this rank is one step ahead; the state of step 11 is pulled into what it has named. */
    model.draws = 1003;
    atomic_store(&page->stop_epoch, EPOCH + 1);
    interrupt_fn(interrupt_arg, EPOCH + 1);
    CHECK(ckptless_update(ctx, 13, add_step, NULL) == CKPTLESS_INTERRUPTED && ckptless_interrupted(ctx));
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_OK && step == 11);
    const struct seen *asked = last_of(WIRE_RPC_RECOVER);
    CHECK(asked->has_state && asked->step == 12 && asked->epoch == EPOCH);
    CHECK(asked->regions[0].address == (uintptr_t)&model.weights && asked->regions[1].bytes == sizeof(model.draws));
    CHECK(asked->regions[1].address != (uintptr_t)&model.draws && model.draws == 1000);
    CHECK(!ckptless_interrupted(ctx) && strcmp(getenv("MASTER_ADDR"), "n7") == 0);
    ckptless_get_world(ctx, &world);
    CHECK(world.epoch == 2 && world.rank == 1 && world.nodes == 2);
    CHECK(atomic_load(&page->step_done) == 11 && atomic_load(&page->step_begun) == 11);
    CHECK(ckptless_exchange(ctx, "ab", 2, all) == CKPTLESS_OK && last_of(WIRE_RPC_EXCHANGE)->sequence == 0);
    CHECK(last_of(WIRE_RPC_EXCHANGE)->epoch == EPOCH + 1);
    CHECK(ckptless_update(ctx, 12, add_step, NULL) == CKPTLESS_OK);
    CHECK(ckptless_finish(ctx) == CKPTLESS_INTERRUPTED);
    CHECK(last_of(WIRE_RPC_COMMITTED)->epoch == EPOCH + 1); /* finish does not overtake the commit */
    CHECK(ckptless_finish(ctx) == CKPTLESS_OK);
    ckptless_finalize(ctx);
}

static void run_mismatches(void) {
    static const struct script lines[] = {
        { .type = WIRE_RPC_INIT, .answer = { WORLD(0) } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_RELOAD, WORLD(0) } },
        { .type = WIRE_RPC_RECOVER,
          .answer = { .result = CKPTLESS_ERR_REGION_MISMATCH, .text = "region 'm' is not on rank 0" } },
        { .type = WIRE_RPC_RELOADED,
          .answer = { .result = CKPTLESS_ERR_STEP_MISMATCH, .text = "rank 0 has loaded step 3 but rank 1 step 4" } },
        { .type = WIRE_RPC_RELOADED, .answer = { .result = CKPTLESS_OK } },
        { .type = WIRE_RPC_EXCHANGE, .answer = { .data_bytes = 5, .data = (const uint8_t *)"abcde" } },
        { .type = WIRE_RPC_REGION_BYTES, .answer = { .bytes = 4096 } },
        { .type = WIRE_RPC_REGION_BYTES, .answer = { .result = CKPTLESS_ERR_NOT_FOUND } },
    };
    struct test_stderr caught;
    uint64_t step = 0;
    size_t bytes = 0;
    char all[4];
    use_script(lines, sizeof(lines) / sizeof(lines[0]));
    struct ckptless *ctx = init_with_model();
    CHECK(ckptless_region_bytes(ctx, "late", 2, &bytes) == CKPTLESS_OK && bytes == 4096);
    CHECK(last_of(WIRE_RPC_REGION_BYTES)->regions[0].shard == 2);
    CHECK(ckptless_region_bytes(ctx, "later", 0, &bytes) == CKPTLESS_ERR_NOT_FOUND && bytes == 4096);
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_RELOAD);
    test_stderr_catch(&caught);
    CHECK(ckptless_reloaded(ctx, 4) == CKPTLESS_ERR_STEP_MISMATCH);
    CHECK(line_of(&caught, "rank 1: rank 0 has loaded step 3"));
    CHECK(ckptless_reloaded(ctx, 4) == CKPTLESS_OK);
    test_stderr_catch(&caught);
    CHECK(ckptless_exchange(ctx, "ab", 2, all) == CKPTLESS_ERR_INVALID);
    CHECK(line_of(&caught, "5 bytes came"));
    /* A mismatch drops everybody's state: the next recover must not offer it. */
    test_stderr_catch(&caught);
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_ERR_REGION_MISMATCH);
    CHECK(line_of(&caught, "region 'm'") && last_of(WIRE_RPC_RECOVER)->has_state);
    test_stderr_catch(&caught);
    CHECK(ckptless_update(ctx, 5, add_step, NULL) == CKPTLESS_ERR_STATE);
    CHECK(line_of(&caught, "before ckptless_recover"));
    test_stderr_catch(&caught);
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_ERR_REGION_MISMATCH && !last_of(WIRE_RPC_RECOVER)->has_state);
    CHECK(line_of(&caught, "region 'm'"));
}

static void run_unwanted(void) {
    static const struct script lines[] = {
        { .type = WIRE_RPC_INIT, .answer = { WORLD(0) } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_RELOAD, WORLD(0) } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_INTERRUPTED } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_INTERRUPTED } },
        { .type = WIRE_RPC_RECOVER, .answer = { WORLD(2), .step = 1 } },
        { .type = WIRE_RPC_RECOVER, .transport = PMIXCLI_ERR_LOST },
    };
    struct test_stderr caught;
    uint64_t step = 0;
    use_script(lines, sizeof(lines) / sizeof(lines[0]));
    struct ckptless *ctx = init_with_model();
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_RELOAD && ckptless_reloaded(ctx, 1) == CKPTLESS_OK);
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_OK && step == 1);
    CHECK(script_used[WIRE_RPC_RECOVER] == 4 && !last_of(WIRE_RPC_RECOVER)->has_state);
    test_stderr_catch(&caught);
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_ERR_HELPER);
    CHECK(line_of(&caught, "ckptlessd is gone"));
}

static void run_bad_answers(void) {
    static const struct {
        struct script line;
        enum ckptless_result result;
        const char *part;
    } rows[] = {
        { { .type = WIRE_RPC_INIT, .garbage = true, .answer = { WORLD(0) } }, CKPTLESS_ERR_VERSION, "not understood" },
        { { .type = WIRE_RPC_INIT, .empty = true, .answer = { WORLD(0) } }, CKPTLESS_ERR_HELPER, "no answer" },
        { { .type = WIRE_RPC_INIT, .answer = { .result = 99 } }, CKPTLESS_ERR_VERSION, "not understood" },
        { { .type = WIRE_RPC_INIT, .answer = { .rank = 4, .size = 4 } }, CKPTLESS_ERR_HELPER, "no possible world" },
        { { .type = WIRE_RPC_INIT, .answer = { .result = CKPTLESS_RELOAD } }, CKPTLESS_ERR_HELPER, "does not fit" },
        { { .type = WIRE_RPC_INIT, .answer = { .result = CKPTLESS_ERR_VERSION, .text = "other versions" } },
          CKPTLESS_ERR_VERSION,
          "other versions" },
        { { .type = WIRE_RPC_INIT, .transport = PMIXCLI_ERR_NO_MEMORY }, CKPTLESS_ERR_NO_MEMORY, "no memory" },
    };
    struct ckptless *ctx = NULL;
    struct test_stderr caught;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        use_script(&rows[i].line, 1);
        test_stderr_catch(&caught);
        enum ckptless_result result = ckptless_init(&ctx, NULL);
        CHECK(line_of(&caught, rows[i].part));
        CHECK(result == rows[i].result && ctx == NULL);
        CHECK(atomic_load(&page->attached_pid) == 0 && atomic_load(&page->bell_futex) == 0);
    }
    use_script(NULL, 0);
    create_result = PMIXCLI_ERR_LIBRARY;
    test_stderr_catch(&caught);
    CHECK(ckptless_init(&ctx, NULL) == CKPTLESS_ERR_HELPER);
    CHECK(line_of(&caught, "libpmix.so.2 cannot be loaded"));
}

static bool has_asked_to_fail(void *arg) {
    (void)arg;
    return last_of(WIRE_RPC_FAIL) != NULL;
}

static void run_finalize_without_finish(void) {
    static const struct script lines[] = {
        { .type = WIRE_RPC_INIT, .answer = { WORLD(0) } },
        { .type = WIRE_RPC_RECOVER, .answer = { .result = CKPTLESS_RELOAD, WORLD(0) } },
    };
    struct ckptless *other = NULL;
    struct test_stderr caught;
    uint64_t step = 0;
    use_script(lines, sizeof(lines) / sizeof(lines[0]));
    struct ckptless *ctx = init_with_model();
    CHECK(ckptless_recover(ctx, &step) == CKPTLESS_RELOAD && ckptless_reloaded(ctx, 0) == CKPTLESS_OK);
    CHECK(ckptless_update(ctx, 1, add_step, NULL) == CKPTLESS_OK);
    uint64_t left_ns = test_now_ns();
    ckptless_finalize(ctx);
    CHECK(test_now_ns() - left_ns < 500000000);
    CHECK(atomic_load(&page->bell_futex) != 0); /* its end is still heard */
    CHECK(last_of(WIRE_RPC_FAIL) == NULL);
    test_stderr_catch(&caught);
    CHECK(ckptless_init(&other, NULL) == CKPTLESS_ERR_STATE);
    CHECK(line_of(&caught, "until the process ends"));
    CHECK(test_wait(has_asked_to_fail, NULL)); /* it lives on without a finish: given up as lost */
    CHECK(test_now_ns() - left_ns >= 1000000000);
    CHECK(strstr(last_of(WIRE_RPC_FAIL)->data, "without ckptless_finish"));
}

static void run_fail(void) {
    static const struct script lines[] = {
        { .type = WIRE_RPC_INIT, .answer = { WORLD(0) } },
        { .type = WIRE_RPC_FAIL, .transport = PMIXCLI_ERR_LOST },
        { .type = WIRE_RPC_FAIL, .answer = { .result = CKPTLESS_INTERRUPTED } },
    };
    struct test_stderr caught;
    use_script(lines, sizeof(lines) / sizeof(lines[0]));
    struct ckptless *ctx = init_with_model();
    CHECK(ckptless_pause(ctx, "evaluation") == CKPTLESS_OK);
    CHECK(strcmp(last_of(WIRE_RPC_PAUSE)->data, "evaluation") == 0);
    CHECK(ckptless_resume(ctx) == CKPTLESS_OK);
    test_stderr_catch(&caught);
    CHECK(ckptless_fail(ctx, "bad GPU") == CKPTLESS_ERR_HELPER);
    CHECK(line_of(&caught, "ckptlessd is gone"));
    CHECK(strcmp(last_of(WIRE_RPC_FAIL)->data, "bad GPU") == 0);
    CHECK(alarm(1) == 0); /* stands for the keeper's kill: fail does not return before it */
    enum ckptless_result result = ckptless_fail(ctx, NULL);
    (void)result;
    _exit(2);
}

static void start_loss_and_resume(void **state) {
    (void)state;
    in_a_process(run_start_loss_and_resume);
}

static void mismatches_are_one_line_and_drop_the_state(void **state) {
    (void)state;
    in_a_process(run_mismatches);
}

static void an_unwanted_process_waits_for_its_end(void **state) {
    (void)state;
    in_a_process(run_unwanted);
}

static void answers_that_do_not_fit_are_one_line(void **state) {
    (void)state;
    in_a_process(run_bad_answers);
}

static void finalize_without_finish_gives_the_rank_up(void **state) {
    (void)state;
    in_a_process(run_finalize_without_finish);
}

static void fail_does_not_return(void **state) {
    int status = -1;
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        run_fail();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_loss_and_resume),
        cmocka_unit_test(mismatches_are_one_line_and_drop_the_state),
        cmocka_unit_test(an_unwanted_process_waits_for_its_end),
        cmocka_unit_test(answers_that_do_not_fit_are_one_line),
        cmocka_unit_test(finalize_without_finish_gives_the_rank_up),
        cmocka_unit_test(fail_does_not_return),
    };
    return cmocka_run_group_tests_name("lib_recover", tests, NULL, NULL);
}
