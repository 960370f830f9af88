/*
 * The commit of a step in a managed process: a context on a real page, its world entered by hand, no helper.
 */
#include "tests/unit/test_lib.h"

#include <pthread.h>
#include <sys/socket.h>

#include "libckptless/context.h"

#define EPOCH 0x100000001ull

struct fixture {
    struct ckptless ctx;
    int page_fd;
    uint64_t weights, draws;
    /* What fn does and sees. */
    enum ckptless_result answer;
    bool stop_inside, nest;
    enum ckptless_result nested;
    uint64_t begun_inside, done_inside, calls;
};

static void start(struct fixture *fixture) {
    struct ckptless *ctx = &fixture->ctx;
    struct ckptless_region weights = CKPTLESS_REGION_INIT, draws = CKPTLESS_REGION_INIT;
    *fixture = (struct fixture){ .answer = CKPTLESS_OK };
    ctx->pid = getpid();
    ctx->page = test_page(&fixture->page_fd);
    assert_int_equal(interrupt_create(&ctx->interrupt, ctx->page), CKPTLESS_OK);
    ctx->world = (struct ckptless_world){ .struct_size = sizeof(ctx->world), .rank = 3, .size = 4, .epoch = 1 };
    ctx->announced = true; /* there is no helper to be told */
    weights.name = "weights";
    weights.data = &fixture->weights;
    weights.bytes = sizeof(fixture->weights);
    draws.name = "draws";
    draws.data = &fixture->draws;
    draws.bytes = sizeof(fixture->draws);
    draws.changes_between_updates = true;
    assert_int_equal(ckptless_register(ctx, &weights), CKPTLESS_OK);
    assert_int_equal(ckptless_register(ctx, &draws), CKPTLESS_OK);
    atomic_store(&ctx->page->stop_epoch, EPOCH);
    atomic_store(&ctx->epoch, EPOCH);
    interrupt_enter(ctx->interrupt, EPOCH, 1);
    ctx->phase = CONTEXT_RUNNING;
    ctx->has_state = true;
}

static void end(struct fixture *fixture) {
    interrupt_destroy(fixture->ctx.interrupt);
    regions_fini(&fixture->ctx.regions);
    assert_int_equal(munmap(fixture->ctx.page, WIRE_PAGE_BYTES), 0);
    close(fixture->page_fd);
}

static enum ckptless_result apply(void *arg, uint64_t step) {
    struct fixture *fixture = arg;
    struct ckptless *ctx = &fixture->ctx;
    fixture->calls++;
    fixture->begun_inside = atomic_load(&ctx->page->step_begun);
    fixture->done_inside = atomic_load(&ctx->page->step_done);
    fixture->weights += step;
    if (fixture->stop_inside) {
        atomic_store(&ctx->page->stop_epoch, EPOCH + 1);
    }
    if (fixture->nest) {
        fixture->nested = ckptless_update(ctx, step + 1, apply, fixture);
    }
    return fixture->answer;
}

static uint64_t served_draws(const struct fixture *fixture) {
    uint64_t value = 0;
    uint32_t count = 0;
    struct wire_rpc_region *table = regions_table(&fixture->ctx.regions, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, "draws") == 0) {
            value = *(const uint64_t *)(uintptr_t)table[i].address;
        }
    }
    free(table);
    return value;
}

static void a_commit_is_seen_in_the_page(void **state) {
    struct fixture fixture;
    (void)state;
    start(&fixture);
    for (uint64_t step = 1; step <= 3; step++) {
        fixture.draws = step * 100;
        assert_int_equal(ckptless_update(&fixture.ctx, step, apply, &fixture), CKPTLESS_OK);
        fixture.draws++;
        assert_int_equal(fixture.begun_inside, step);
        assert_int_equal(fixture.done_inside, step - 1);
        assert_int_equal(atomic_load(&fixture.ctx.page->step_begun), step);
        assert_int_equal(atomic_load(&fixture.ctx.page->step_done), step);
        assert_int_equal(atomic_load(&fixture.ctx.page->update_count), step);
        assert_int_equal(served_draws(&fixture), step * 100);
    }
    assert_true(atomic_load(&fixture.ctx.page->library_ns) > 0);
    end(&fixture);
}

static void nothing_is_applied_after_a_stop(void **state) {
    struct fixture fixture;
    uint64_t block = 0;
    (void)state;
    start(&fixture);
    assert_false(ckptless_interrupted(&fixture.ctx));
    atomic_store(&fixture.ctx.page->stop_epoch, EPOCH + 1);
    assert_true(ckptless_interrupted(&fixture.ctx));
    assert_int_equal(ckptless_update(&fixture.ctx, 1, apply, &fixture), CKPTLESS_INTERRUPTED);
    assert_int_equal(ckptless_exchange(&fixture.ctx, &block, sizeof(block), &block), CKPTLESS_INTERRUPTED);
    assert_int_equal(ckptless_finish(&fixture.ctx), CKPTLESS_INTERRUPTED);
    assert_int_equal(fixture.calls, 0);
    assert_true(fixture.ctx.has_state);
    assert_int_equal(atomic_load(&fixture.ctx.page->step_begun), 0);
    end(&fixture);
}

static void a_stop_inside_changes_nothing(void **state) {
    struct fixture fixture;
    (void)state;
    start(&fixture);
    fixture.stop_inside = true;
    assert_int_equal(ckptless_update(&fixture.ctx, 1, apply, &fixture), CKPTLESS_OK);
    assert_int_equal(atomic_load(&fixture.ctx.page->step_done), 1);
    assert_int_equal(fixture.ctx.step, 1);
    assert_int_equal(ckptless_update(&fixture.ctx, 2, apply, &fixture), CKPTLESS_INTERRUPTED);
    assert_int_equal(fixture.calls, 1);
    end(&fixture);
}

static void a_failed_function_tears_the_copy(void **state) {
    struct fixture fixture;
    struct test_stderr caught;
    (void)state;
    start(&fixture);
    fixture.draws = 5;
    assert_int_equal(ckptless_update(&fixture.ctx, 1, apply, &fixture), CKPTLESS_OK);
    fixture.answer = CKPTLESS_ERR_NO_MEMORY;
    fixture.draws = 6;
    test_stderr_catch(&caught);
    enum ckptless_result result = ckptless_update(&fixture.ctx, 2, apply, &fixture);
    test_is_line(test_stderr_release(&caught), "rank 3: ckptless_update: the function for step 2 failed");
    assert_int_equal(result, CKPTLESS_ERR_UPDATE);
    assert_false(fixture.ctx.has_state);
    assert_int_equal(atomic_load(&fixture.ctx.page->step_begun), 2);
    assert_int_equal(atomic_load(&fixture.ctx.page->step_done), 1);
    assert_int_equal(served_draws(&fixture), 5);
    test_stderr_catch(&caught);
    result = ckptless_update(&fixture.ctx, 2, apply, &fixture);
    test_is_line(test_stderr_release(&caught), "ckptless_recover()");
    assert_int_equal(result, CKPTLESS_ERR_STATE);
    end(&fixture);
}

static jmp_buf outside;

static enum ckptless_result leave_by_jump(void *arg, uint64_t step) {
    (void)step;
    *(uint64_t *)arg += 1;
    longjmp(outside, 1);
}

static void a_function_left_by_a_jump_leaves_no_state(void **state) {
    static struct fixture fixture; /* kept over the jump */
    struct test_stderr caught;
    (void)state;
    start(&fixture);
    if (setjmp(outside) == 0) {
        assert_int_equal(ckptless_update(&fixture.ctx, 1, leave_by_jump, &fixture.weights), CKPTLESS_OK);
    }
    assert_false(fixture.ctx.has_state);
    test_stderr_catch(&caught);
    enum ckptless_result result = ckptless_update(&fixture.ctx, 1, apply, &fixture);
    test_is_line(test_stderr_release(&caught), "has not returned");
    assert_int_equal(result, CKPTLESS_ERR_STATE);
    end(&fixture);
}

static void an_update_inside_an_update_is_refused(void **state) {
    struct fixture fixture;
    struct test_stderr caught;
    (void)state;
    start(&fixture);
    fixture.nest = true;
    test_stderr_catch(&caught);
    enum ckptless_result result = ckptless_update(&fixture.ctx, 1, apply, &fixture);
    test_is_line(test_stderr_release(&caught), "outside of it");
    assert_int_equal(result, CKPTLESS_OK);
    assert_int_equal(fixture.nested, CKPTLESS_ERR_STATE);
    assert_int_equal(fixture.ctx.step, 1);
    end(&fixture);
}

static void *renew_lease(void *arg) {
    const struct timespec nap = { .tv_nsec = 20000000 };
    (void)nanosleep(&nap, NULL);
    atomic_store(&((struct wire_page *)arg)->lease_end_ns, UINT64_MAX);
    return NULL;
}

static void *end_world(void *arg) {
    const struct timespec nap = { .tv_nsec = 20000000 };
    (void)nanosleep(&nap, NULL);
    atomic_store(&((struct wire_page *)arg)->stop_epoch, EPOCH + 1);
    return NULL;
}

static void a_lease_that_has_ended_holds_the_step(void **state) {
    struct fixture fixture;
    pthread_t thread;
    (void)state;
    start(&fixture);
    atomic_store(&fixture.ctx.page->lease_end_ns, test_now_ns());
    assert_int_equal(pthread_create(&thread, NULL, renew_lease, fixture.ctx.page), 0);
    assert_int_equal(ckptless_update(&fixture.ctx, 1, apply, &fixture), CKPTLESS_OK);
    assert_int_equal(atomic_load(&fixture.ctx.page->lease_end_ns), UINT64_MAX); /* not before */
    pthread_join(thread, NULL);

    atomic_store(&fixture.ctx.page->lease_end_ns, test_now_ns());
    assert_int_equal(pthread_create(&thread, NULL, end_world, fixture.ctx.page), 0);
    assert_int_equal(ckptless_update(&fixture.ctx, 2, apply, &fixture), CKPTLESS_INTERRUPTED);
    pthread_join(thread, NULL);
    assert_int_equal(fixture.calls, 1);
    end(&fixture);
}

struct reader {
    struct wire_page *page;
    atomic_bool stop;
    atomic_uint wrong;
};

/* As the helper reads: done never runs ahead of begun, and neither goes back. */
static void *read_page(void *arg) {
    struct reader *reader = arg;
    uint64_t last = 0;
    while (!atomic_load(&reader->stop)) {
        uint64_t done = atomic_load(&reader->page->step_done);
        uint64_t begun = atomic_load(&reader->page->step_begun);
        if (done > begun || done < last) {
            atomic_fetch_add(&reader->wrong, 1);
        }
        last = done;
    }
    return NULL;
}

static void the_step_is_read_whole_by_others(void **state) {
    struct fixture fixture;
    struct reader reader = { 0 };
    pthread_t thread;
    (void)state;
    start(&fixture);
    reader.page = fixture.ctx.page;
    assert_int_equal(pthread_create(&thread, NULL, read_page, &reader), 0);
    for (uint64_t step = 1; step <= 5000; step++) {
        assert_int_equal(ckptless_update(&fixture.ctx, step, apply, &fixture), CKPTLESS_OK);
    }
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&reader.wrong), 0);
    end(&fixture);
}

/* Threads that watch while the program enters the next world leave no mark of the old one on it. */
static void late_regions_are_late_in_a_running_world_only(void **state) {
    struct fixture fixture;
    struct ckptless_region late = CKPTLESS_REGION_INIT;
    uint64_t first = 1, second = 2;
    int pair[2];
    (void)state;
    start(&fixture);
    late.name = "late";
    late.data = &first;
    late.bytes = sizeof(first);
    assert_int_equal(ckptless_register(&fixture.ctx, &late), CKPTLESS_OK);
    assert_int_equal(fixture.ctx.regions.late_count, 1);
    assert_int_equal(ckptless_update(&fixture.ctx, 1, apply, &fixture), CKPTLESS_OK);
    assert_int_equal(fixture.ctx.regions.late_count, 0);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    atomic_store(&fixture.ctx.page->stop_epoch, EPOCH + 1);
    assert_int_equal(ckptless_watch_fd(&fixture.ctx, pair[0]), CKPTLESS_INTERRUPTED);
    late.name = "between";
    late.data = &second;
    assert_int_equal(ckptless_register(&fixture.ctx, &late), CKPTLESS_OK);
    assert_int_equal(fixture.ctx.regions.late_count, 0); /* told: between two worlds */
    atomic_store(&fixture.ctx.epoch, EPOCH + 1);
    late.name = "next";
    assert_int_equal(ckptless_register(&fixture.ctx, &late), CKPTLESS_OK);
    assert_int_equal(fixture.ctx.regions.late_count, 1);
    close(pair[0]);
    close(pair[1]);
    end(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_seen_in_the_page),
        cmocka_unit_test(nothing_is_applied_after_a_stop),
        cmocka_unit_test(a_stop_inside_changes_nothing),
        cmocka_unit_test(a_failed_function_tears_the_copy),
        cmocka_unit_test(a_function_left_by_a_jump_leaves_no_state),
        cmocka_unit_test(an_update_inside_an_update_is_refused),
        cmocka_unit_test(a_lease_that_has_ended_holds_the_step),
        cmocka_unit_test(the_step_is_read_whole_by_others),
        cmocka_unit_test(late_regions_are_late_in_a_running_world_only),
    };
    return cmocka_run_group_tests_name("lib_update", tests, NULL, NULL);
}
