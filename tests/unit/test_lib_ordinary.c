/*
 * The library outside a ckptless step, through its public functions only: the world from the environment, the order of
 * calls, and what wrong arguments get.
 */
#include "tests/unit/test_lib.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "include/ckptless.h"

static const char *const variables[] = {
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NNODES",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_JOB_NUM_NODES",
    "CKPTLESS_PAGE_FD",
    "GROUP_WORLD_SIZE",
};

static int clear_environment(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        unsetenv(variables[i]);
    }
    return 0;
}

/* "NAME=value NAME=value" */
static void set_environment(const char *text) {
    char copy[512], *save = NULL;
    (void)clear_environment(NULL);
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        assert_int_equal(setenv(word, equals + 1, 1), 0);
    }
}

static struct ckptless *init_here(void) {
    struct ckptless *ctx = NULL;
    assert_int_equal(ckptless_init(&ctx, NULL), CKPTLESS_OK);
    assert_non_null(ctx);
    return ctx;
}

static void the_world_comes_from_the_environment(void **state) {
    static const struct {
        const char *environment;
        int rank, size, local_rank, local_size, node, nodes, port;
        const char *address;
    } rows[] = {
        { "", 0, 1, 0, 1, 0, 1, 0, "localhost" },
        { "RANK=2 WORLD_SIZE=4", 2, 4, 2, 4, 0, 1, 0, "localhost" },
        { "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=n1 MASTER_PORT=29500", 5, 8, 1, 4, 1, 2,
          29500, "n1" },
        { "RANK=1 WORLD_SIZE=2 SLURM_PROCID=7 SLURM_NTASKS=9", 1, 2, 1, 2, 0, 1, 0, "localhost" },
        { "SLURM_PROCID=3 SLURM_NTASKS=4 SLURM_LOCALID=1 SLURM_NODEID=1 SLURM_NNODES=2", 3, 4, 1, 2, 1, 2, 0,
          "localhost" },
        { "SLURM_PROCID=0 SLURM_NPROCS=3", 0, 3, 0, 3, 0, 1, 0, "localhost" },
        { "WORLD_SIZE=4", 0, 1, 0, 1, 0, 1, 0, "localhost" },
        { "RANK= WORLD_SIZE=4", 0, 1, 0, 1, 0, 1, 0, "localhost" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ckptless_world world = CKPTLESS_WORLD_INIT;
        set_environment(rows[i].environment);
        struct ckptless *ctx = init_here();
        ckptless_get_world(ctx, &world);
        assert_int_equal(world.rank, rows[i].rank);
        assert_int_equal(world.size, rows[i].size);
        assert_int_equal(world.local_rank, rows[i].local_rank);
        assert_int_equal(world.local_size, rows[i].local_size);
        assert_int_equal(world.node, rows[i].node);
        assert_int_equal(world.nodes, rows[i].nodes);
        assert_int_equal(world.master_port, rows[i].port);
        assert_string_equal(world.master_addr, rows[i].address);
        assert_int_equal(world.epoch, 1);
        assert_int_equal(world.incarnation, 0);
        ckptless_finalize(ctx);
    }
}

static void a_wrong_environment_is_one_line(void **state) {
    static const struct {
        const char *environment, *part;
    } rows[] = {
        { "RANK=1", "WORLD_SIZE is not" },
        { "RANK=4 WORLD_SIZE=4", "must be below" },
        { "RANK=-1 WORLD_SIZE=4", "RANK=-1" },
        { "RANK=x WORLD_SIZE=4", "RANK=x" },
        { "RANK=1x WORLD_SIZE=4", "RANK=1x" },
        { "RANK=99999999999999999999 WORLD_SIZE=4", "RANK=9999" },
        { "RANK=0 WORLD_SIZE=0", "WORLD_SIZE=0" },
        { "SLURM_PROCID=1", "SLURM_NTASKS is not" },
        { "MASTER_PORT=70000", "MASTER_PORT=70000" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct test_stderr caught;
        struct ckptless *ctx = NULL;
        set_environment(rows[i].environment);
        test_stderr_catch(&caught);
        enum ckptless_result result = ckptless_init(&ctx, NULL);
        test_is_line(test_stderr_release(&caught), rows[i].part);
        assert_int_equal(result, CKPTLESS_ERR_INVALID);
        assert_null(ctx);
    }
}

static void structs_of_other_sizes_are_taken_or_refused(void **state) {
    struct {
        struct ckptless_config config;
        uint8_t more[16];
    } larger = { .config = { .struct_size = sizeof(larger), .can_shrink = true } };
    struct ckptless_config smaller = { .struct_size = sizeof(size_t) }, unset = { 0 };
    struct {
        struct ckptless_world world;
        uint8_t more[16];
    } large_world = { .world = { .struct_size = sizeof(large_world) } };
    struct ckptless_world small_world = { .struct_size = offsetof(struct ckptless_world, local_rank), .nodes = 77 };
    struct ckptless *ctx = NULL;
    struct test_stderr caught;
    (void)state;

    assert_int_equal(ckptless_init(&ctx, &larger.config), CKPTLESS_OK);
    memset(large_world.more, 0xff, sizeof(large_world.more));
    ckptless_get_world(ctx, &large_world.world);
    assert_int_equal(large_world.world.size, 1);
    assert_int_equal(large_world.world.struct_size, sizeof(large_world));
    assert_int_equal(large_world.more[15], 0);
    ckptless_get_world(ctx, &small_world);
    assert_int_equal(small_world.size, 1);
    assert_int_equal(small_world.nodes, 77); /* beyond what the program's version has */
    ckptless_finalize(ctx);

    assert_int_equal(ckptless_init(&ctx, &smaller), CKPTLESS_OK);
    ckptless_finalize(ctx);

    test_stderr_catch(&caught);
    enum ckptless_result result = ckptless_init(&ctx, &unset);
    test_is_line(test_stderr_release(&caught), "struct_size is 0");
    assert_int_equal(result, CKPTLESS_ERR_INVALID);

    larger.more[3] = 1; /* asks for something newer */
    test_stderr_catch(&caught);
    result = ckptless_init(&ctx, &larger.config);
    test_is_line(test_stderr_release(&caught), "newer libckptless");
    assert_int_equal(result, CKPTLESS_ERR_INVALID);
}

struct model {
    uint64_t weights[4], draws;
    uint64_t fail_at;
};

static enum ckptless_result add_one(void *arg, uint64_t step) {
    struct model *model = arg;
    model->weights[0]++;
    return step == model->fail_at ? CKPTLESS_ERR_INVALID : CKPTLESS_OK;
}

static void register_model(struct ckptless *ctx, struct model *model) {
    struct ckptless_region weights = CKPTLESS_REGION_INIT, draws = CKPTLESS_REGION_INIT;
    weights.name = "weights";
    weights.data = model->weights;
    weights.bytes = sizeof(model->weights);
    draws.name = "draws";
    draws.data = &model->draws;
    draws.bytes = sizeof(model->draws);
    draws.changes_between_updates = true;
    assert_int_equal(ckptless_register(ctx, &weights), CKPTLESS_OK);
    assert_int_equal(ckptless_register(ctx, &draws), CKPTLESS_OK);
}

static void a_whole_program_runs(void **state) {
    struct model model = { .fail_at = UINT64_MAX };
    uint64_t step = 77, mine = 5, all = 0;
    struct ckptless *ctx = init_here();
    (void)state;
    register_model(ctx, &model);
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    assert_int_equal(step, 77);
    assert_int_equal(ckptless_reloaded(ctx, 10), CKPTLESS_OK);
    assert_int_equal(ckptless_exchange(ctx, &mine, sizeof(mine), &all), CKPTLESS_OK);
    assert_int_equal(all, 5);
    for (step = 11; step <= 20; step++) {
        assert_false(ckptless_interrupted(ctx));
        assert_int_equal(ckptless_update(ctx, step, add_one, &model), CKPTLESS_OK);
    }
    assert_int_equal(model.weights[0], 10);
    assert_int_equal(ckptless_pause(ctx, "evaluation"), CKPTLESS_OK);
    assert_int_equal(ckptless_resume(ctx), CKPTLESS_OK);
    assert_int_equal(ckptless_on_interrupt(ctx, NULL, NULL), CKPTLESS_OK);
    assert_int_equal(ckptless_finish(ctx), CKPTLESS_OK);
    ckptless_finalize(ctx);
    ckptless_finalize(NULL);
}

static void no_pmix_is_loaded(void **state) {
    static char maps[1 << 20];
    (void)state;
    ckptless_finalize(init_here());
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t count;
    while ((count = read(fd, maps + length, sizeof(maps) - 1 - length)) > 0) {
        length += (size_t)count;
    }
    close(fd);
    assert_true(length > 0);
    assert_null(strstr(maps, "libpmix"));
}

/* Each call out of order or with a wrong argument: its result, one line, and no change. */
#define REFUSED(call, wanted, part)                                                                                    \
    do {                                                                                                               \
        struct test_stderr caught;                                                                                     \
        test_stderr_catch(&caught);                                                                                    \
        enum ckptless_result got = (call);                                                                             \
        test_is_line(test_stderr_release(&caught), (part));                                                            \
        assert_int_equal(got, (wanted));                                                                               \
    } while (0)

static void calls_out_of_order_are_refused(void **state) {
    struct model model = { .fail_at = 2 };
    uint64_t step = 0, all[4] = { 0 };
    struct ckptless *ctx = init_here(), *other = NULL;
    (void)state;
    REFUSED(ckptless_init(&other, NULL), CKPTLESS_ERR_STATE, "called twice");
    assert_null(other);
    REFUSED(ckptless_update(ctx, 1, add_one, &model), CKPTLESS_ERR_STATE, "before ckptless_recover");
    REFUSED(ckptless_finish(ctx), CKPTLESS_ERR_STATE, "before ckptless_recover");
    REFUSED(ckptless_exchange(ctx, all, 8, all), CKPTLESS_ERR_STATE, "before ckptless_recover");
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    REFUSED(ckptless_update(ctx, 1, add_one, &model), CKPTLESS_ERR_STATE, "before ckptless_reloaded");
    assert_int_equal(ckptless_reloaded(ctx, 0), CKPTLESS_OK);
    REFUSED(ckptless_reloaded(ctx, 0), CKPTLESS_ERR_STATE, "did not ask");
    REFUSED(ckptless_recover(ctx, &step), CKPTLESS_ERR_STATE, "outside a ckptless step");
    REFUSED(ckptless_update(ctx, 2, add_one, &model), CKPTLESS_ERR_INVALID, "the next one is 1");
    REFUSED(ckptless_update(ctx, 0, add_one, &model), CKPTLESS_ERR_INVALID, "the next one is 1");
    REFUSED(ckptless_update(ctx, 1, NULL, &model), CKPTLESS_ERR_INVALID, "fn is NULL");
    assert_int_equal(model.weights[0], 0);
    assert_int_equal(ckptless_update(ctx, 1, add_one, &model), CKPTLESS_OK);
    REFUSED(ckptless_update(ctx, 2, add_one, &model), CKPTLESS_ERR_UPDATE, "step 2 failed");
    REFUSED(ckptless_update(ctx, 2, add_one, &model), CKPTLESS_ERR_STATE, "step 2 failed");
    REFUSED(ckptless_fail(ctx, "bad GPU"), CKPTLESS_ERR_STATE, "bad GPU");
    ckptless_finalize(ctx);
    ctx = init_here();
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    assert_int_equal(ckptless_reloaded(ctx, 0), CKPTLESS_OK);
    assert_int_equal(ckptless_finish(ctx), CKPTLESS_OK);
    REFUSED(ckptless_update(ctx, 1, add_one, &model), CKPTLESS_ERR_STATE, "after ckptless_finish");
    REFUSED(ckptless_recover(ctx, &step), CKPTLESS_ERR_STATE, "after ckptless_finish");
    ckptless_finalize(ctx);
}

static void wrong_arguments_are_refused(void **state) {
    char long_name[CKPTLESS_REGION_NAME_MAX + 2], byte = 0;
    uint8_t large[1];
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    size_t bytes = 0;
    void *data = NULL;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct ckptless *ctx = init_here();
    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    REFUSED(ckptless_init(NULL, NULL), CKPTLESS_ERR_INVALID, "ret_ctx is NULL");
    REFUSED(ckptless_recover(ctx, NULL), CKPTLESS_ERR_INVALID, "ret_step is NULL");
    REFUSED(ckptless_recover(NULL, NULL), CKPTLESS_ERR_INVALID, "ctx is NULL");
    REFUSED(ckptless_register(ctx, NULL), CKPTLESS_ERR_INVALID, "region is NULL");
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_INVALID, "(null)");
    region.name = long_name;
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_INVALID, "1 to 63");
    region.name = "w";
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_INVALID, "0 bytes");
    region.data = &byte;
    region.bytes = 1;
    region.memory = CKPTLESS_CUDA;
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_UNSUPPORTED, "device memory");
    region.memory = (enum ckptless_memory)7;
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_INVALID, "not known");
    region.memory = CKPTLESS_HOST;
    region.struct_size = 8;
    REFUSED(ckptless_register(ctx, &region), CKPTLESS_ERR_INVALID, "struct_size is 8");
    region.struct_size = offsetof(struct ckptless_region, memory); /* of an older header */
    assert_int_equal(ckptless_register(ctx, &region), CKPTLESS_OK);
    REFUSED(ckptless_unregister(ctx, "v", 0), CKPTLESS_ERR_NOT_FOUND, "no region");
    REFUSED(ckptless_unregister(ctx, "w", 1), CKPTLESS_ERR_NOT_FOUND, "shard 1");
    assert_int_equal(ckptless_unregister(ctx, "w", 0), CKPTLESS_OK);
    REFUSED(ckptless_watch_fd(ctx, -1), CKPTLESS_ERR_INVALID, "descriptor -1");
    REFUSED(ckptless_watch_fd(ctx, file), CKPTLESS_ERR_INVALID, "only open sockets");
    REFUSED(ckptless_watch_fd(ctx, 900), CKPTLESS_ERR_INVALID, "descriptor 900");
    REFUSED(ckptless_alloc(ctx, "m", 0, 0, &data), CKPTLESS_ERR_INVALID, "0 bytes");
    REFUSED(ckptless_free(ctx, &byte), CKPTLESS_ERR_INVALID, "did not come");
    REFUSED(ckptless_region_bytes(ctx, "", 0, &bytes), CKPTLESS_ERR_INVALID, "1 to 63");
    assert_int_equal(ckptless_region_bytes(ctx, "w", 0, &bytes), CKPTLESS_ERR_NOT_FOUND);
    uint64_t step;
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    REFUSED(ckptless_exchange(ctx, large, 65537, large), CKPTLESS_ERR_INVALID, "65536");
    REFUSED(ckptless_exchange(ctx, large, 0, large), CKPTLESS_ERR_INVALID, "0 bytes");
    ckptless_finalize(ctx);
    close(file);
}

static void allocated_memory_is_freed_once(void **state) {
    void *small = NULL, *large = NULL;
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    struct ckptless *ctx = init_here();
    (void)state;
    assert_int_equal(ckptless_alloc(ctx, "small", 0, 10, &small), CKPTLESS_OK);
    assert_int_equal(ckptless_alloc(ctx, "large", 0, (5u << 20) + 1, &large), CKPTLESS_OK);
    REFUSED(ckptless_alloc(ctx, "large", 0, 10, &small), CKPTLESS_ERR_INVALID, "allocated already");
    memset(large, 1, (5u << 20) + 1);
    region.name = "r";
    region.data = (char *)large + 100;
    region.bytes = 100;
    assert_int_equal(ckptless_register(ctx, &region), CKPTLESS_OK);
    REFUSED(ckptless_free(ctx, large), CKPTLESS_ERR_STATE, "lies in this memory");
    assert_int_equal(ckptless_unregister(ctx, "r", 0), CKPTLESS_OK);
    assert_int_equal(ckptless_free(ctx, large), CKPTLESS_OK);
    assert_int_equal(ckptless_free(ctx, small), CKPTLESS_OK);
    assert_int_equal(ckptless_free(ctx, NULL), CKPTLESS_OK);
    ckptless_finalize(ctx);
}

static void many_ranks_have_no_exchange(void **state) {
    uint64_t step, mine = 1, all[4];
    (void)state;
    set_environment("RANK=2 WORLD_SIZE=4");
    struct ckptless *ctx = init_here();
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    REFUSED(ckptless_exchange(ctx, &mine, sizeof(mine), all), CKPTLESS_ERR_STATE, "rank 2: ckptless_exchange");
    ckptless_finalize(ctx);
}

static void sockets_are_watched_for_nothing(void **state) {
    int pair[2];
    struct ckptless *ctx = init_here();
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(ckptless_watch_fd(ctx, pair[0]), CKPTLESS_OK);
    assert_int_equal(ckptless_unwatch_fd(ctx, pair[0]), CKPTLESS_OK);
    assert_int_equal(ckptless_unwatch_fd(ctx, pair[1]), CKPTLESS_OK);
    close(pair[0]);
    close(pair[1]);
    ckptless_finalize(ctx);
}

static void a_forked_child_is_kept_out(void **state) {
    struct ckptless *ctx = init_here();
    int status = -1;
    uint64_t step;
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct test_stderr caught;
        test_stderr_catch(&caught);
        bool refused = ckptless_recover(ctx, &step) == CKPTLESS_ERR_STATE;
        refused = strstr(test_stderr_release(&caught), "a child of the one") && refused;
        ckptless_finalize(ctx); /* does nothing */
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(ckptless_recover(ctx, &step), CKPTLESS_RELOAD);
    ckptless_finalize(ctx);
}

static void every_result_has_a_sentence(void **state) {
    (void)state;
    for (int result = CKPTLESS_OK; result <= CKPTLESS_ERR_UNSUPPORTED; result++) {
        assert_true(strlen(ckptless_strerror((enum ckptless_result)result)) > 3);
        assert_string_not_equal(ckptless_strerror((enum ckptless_result)result), "unknown result");
    }
    assert_string_equal(ckptless_strerror((enum ckptless_result)99), "unknown result");
    assert_string_equal(ckptless_strerror((enum ckptless_result) - 1), "unknown result");
}

#define POINT(name) cmocka_unit_test_setup_teardown(name, clear_environment, clear_environment)

int main(void) {
    const struct CMUnitTest tests[] = {
        POINT(the_world_comes_from_the_environment),
        POINT(a_wrong_environment_is_one_line),
        POINT(structs_of_other_sizes_are_taken_or_refused),
        POINT(a_whole_program_runs),
        POINT(no_pmix_is_loaded),
        POINT(calls_out_of_order_are_refused),
        POINT(wrong_arguments_are_refused),
        POINT(allocated_memory_is_freed_once),
        POINT(many_ranks_have_no_exchange),
        POINT(sockets_are_watched_for_nothing),
        POINT(a_forked_child_is_kept_out),
        POINT(every_result_has_a_sentence),
    };
    return cmocka_run_group_tests_name("lib_ordinary", tests, NULL, NULL);
}
