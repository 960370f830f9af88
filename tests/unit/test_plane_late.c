/*
 * Pulls for which something is late, over libfabric on loopback: the plan reaches the holder after the puller's
 * request, or never; the own fabric does not open, or nothing can be started that would open it. Each wait has an end.
 * The holders are forked before this process has threads, and end with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "state_plane/plane_private.h"

#define MODEL_BYTES 100000u
#define DEADLINE_MS 10000
#define OPENING_NS 200000000u
#define HOLDER_RANK 1u
#define NEIGHBOUR_RANK 2u

static uint8_t model[MODEL_BYTES], new_model[MODEL_BYTES];
static const uint8_t token[REQUEST_TOKEN_BYTES] = "fifteen letters";
static const uint8_t unknown_token[REQUEST_TOKEN_BYTES] = "fifteen lettars";

static pid_t holder_pid;
static int order_fd, word_fd; /* to the holder, and from it */
static uint8_t holder_address[WIRE_FABRIC_ADDRESS_BYTES];
static size_t holder_address_bytes;
static bool no_more_threads;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    return no_more_threads ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

static struct plane_region region(void *data) {
    return (struct plane_region){ .name = "model", .bytes = MODEL_BYTES, .address = (uintptr_t)data };
}

static bool next_event(struct plane *plane, struct plane_event *ret_event) {
    uint64_t end_ns = plane_now_ns() + DEADLINE_MS * 1000000ull;
    while (!plane_poll(plane, ret_event)) {
        struct pollfd ready = { .fd = plane_fd(plane), .events = POLLIN };
        uint64_t now_ns = plane_now_ns();
        if (now_ns >= end_ns || (poll(&ready, 1, (int)((end_ns - now_ns) / 1000000u) + 1) < 0 && errno != EINTR)) {
            return false;
        }
    }
    return true;
}

/* A request that came before the plan did waits here. */
static bool has_early(struct plane *plane) {
    plane_enter(plane);
    bool has = plane->early_count > 0;
    plane_leave(plane);
    return has;
}

/* The holder: with the order it waits until the request has come, and only then begins to serve. */
static void hold(int orders, int words) {
    struct plane_region regions[] = { region(model) };
    struct plane_event event;
    uint8_t said[WIRE_FABRIC_ADDRESS_BYTES + 1] = { 0 };
    struct plane *plane = NULL;
    char order;
    if (plane_create(&plane, "lo") != PLANE_OK) {
        return;
    }
    plane_open(plane);
    if (!next_event(plane, &event) || event.type != PLANE_EVENT_READY) {
        return;
    }
    said[WIRE_FABRIC_ADDRESS_BYTES] = (uint8_t)plane_address(plane, said, WIRE_FABRIC_ADDRESS_BYTES);
    (void)!write(words, said, sizeof(said));
    if (read(orders, &order, 1) == 1) {
        const struct timespec pause = { .tv_nsec = 1000000 };
        uint64_t end_ns = plane_now_ns() + DEADLINE_MS * 1000000ull;
        bool came = false;
        while (!came && plane_now_ns() < end_ns) {
            came = has_early(plane);
            (void)nanosleep(&pause, NULL);
        }
        if (came && plane_serve(plane, token, HOLDER_RANK, (uint32_t)getpid(), regions, 1) == PLANE_OK) {
            (void)!write(words, "s", 1);
        }
        (void)read(orders, &order, 1); /* the end of the test */
    }
    (void)plane_destroy(plane);
}

static int start_holder(void **state) {
    int orders[2], words[2];
    uint8_t said[WIRE_FABRIC_ADDRESS_BYTES + 1];
    (void)state;
    for (size_t i = 0; i < sizeof(model); i++) {
        model[i] = (uint8_t)(i * 2654435761u >> 16);
    }
    assert_int_equal(pipe2(orders, O_CLOEXEC) | pipe2(words, O_CLOEXEC), 0);
    holder_pid = fork();
    assert_true(holder_pid >= 0);
    if (holder_pid == 0) {
        close(orders[1]);
        close(words[0]);
        hold(orders[0], words[1]);
        _exit(0);
    }
    close(orders[0]);
    close(words[1]);
    order_fd = orders[1];
    word_fd = words[0];
    assert_int_equal(read(word_fd, said, sizeof(said)), sizeof(said));
    memcpy(holder_address, said, sizeof(holder_address));
    holder_address_bytes = said[WIRE_FABRIC_ADDRESS_BYTES];
    return 0;
}

static int end_holder(void **state) {
    (void)state;
    close(order_fd);
    return waitpid(holder_pid, NULL, 0) == holder_pid ? 0 : -1;
}

/* From the holder's node, and then, where with_neighbour, from a process of this one: this process itself. */
static void begin_pull(struct plane *plane, const uint8_t *shown, bool with_neighbour) {
    struct plane_region wanted = region(new_model), theirs = region(model);
    struct plane_source sources[] = {
        { .rank = HOLDER_RANK, .address = holder_address, .address_bytes = holder_address_bytes },
        { .rank = NEIGHBOUR_RANK, .pid = (uint32_t)getpid(), .regions = &theirs, .region_count = 1 },
    };
    struct plane_pull pull = { .pull_id = 1,
                               .pid = (uint32_t)getpid(),
                               .regions = &wanted,
                               .region_count = 1,
                               .sources = sources,
                               .source_count = with_neighbour ? 2 : 1,
                               .stall_ms = DEADLINE_MS };
    memset(new_model, 0, sizeof(new_model));
    memcpy(pull.token, shown, sizeof(pull.token));
    assert_int_equal(plane_pull(plane, &pull), PLANE_OK);
}

static struct plane *create_plane(void) {
    struct plane *plane = NULL;
    assert_int_equal(plane_create(&plane, "lo"), PLANE_OK);
    return plane;
}

static struct plane *create_open_plane(void) {
    struct plane *plane = create_plane();
    struct plane_event event;
    plane_open(plane);
    assert_true(next_event(plane, &event));
    assert_int_equal(event.type, PLANE_EVENT_READY);
    return plane;
}

static void assert_next(struct plane *plane, enum plane_event_type type, const char *text) {
    struct plane_event event;
    assert_true(next_event(plane, &event));
    if (event.type != type || (text != NULL && strcmp(event.text, text) != 0)) {
        fail_msg("event %d \"%s\" instead of %d \"%s\"", event.type, event.text, type, text ? text : "");
    }
}

static void a_request_without_a_plan_is_refused_in_the_end(void **state) {
    struct plane *plane = create_open_plane();
    (void)state;
    begin_pull(plane, unknown_token, false);
    assert_next(plane, PLANE_EVENT_PULL_FAILED, "region 'model': rank 1 does not serve under this token");
    assert_true(plane_destroy(plane));
}

static void a_request_waits_for_the_plan_of_its_holder(void **state) {
    struct plane *plane = create_open_plane();
    char word = 0;
    (void)state;
    begin_pull(plane, token, false);
    assert_int_equal(write(order_fd, "g", 1), 1);
    assert_next(plane, PLANE_EVENT_PULLED, NULL);
    assert_int_equal(read(word_fd, &word, 1), 1); /* it served after the request had come */
    assert_memory_equal(new_model, model, sizeof(model));
    assert_true(plane_destroy(plane));
}

static void a_fabric_that_does_not_open_is_not_waited_for_long(void **state) {
    struct plane *plane = create_plane();
    uint64_t began_ns = plane_now_ns();
    (void)state;
    plane->opening_ns_max = OPENING_NS;
    begin_pull(plane, token, true);
    assert_next(plane, PLANE_EVENT_WARNING, "libfabric has not opened within 200 ms; the next source is rank 2");
    assert_true(plane_now_ns() - began_ns >= OPENING_NS);
    assert_next(plane, PLANE_EVENT_PULLED, NULL);
    assert_memory_equal(new_model, model, sizeof(model));
    begin_pull(plane, token, false);
    assert_next(plane, PLANE_EVENT_PULL_FAILED, "libfabric has not opened within 200 ms");
    assert_true(plane_destroy(plane));
}

static void without_a_thread_to_open_it_there_is_no_fabric(void **state) {
    struct plane *plane = create_plane();
    (void)state;
    no_more_threads = true;
    plane_open(plane);
    no_more_threads = false;
    assert_next(plane, PLANE_EVENT_UNAVAILABLE, "no thread to open libfabric with");
    begin_pull(plane, token, true);
    assert_next(plane, PLANE_EVENT_WARNING, "rank 1: no thread to open libfabric with; the next source is rank 2");
    assert_next(plane, PLANE_EVENT_PULLED, NULL);
    assert_true(plane_destroy(plane));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_a_plan_is_refused_in_the_end),
        cmocka_unit_test(a_request_waits_for_the_plan_of_its_holder),
        cmocka_unit_test(a_fabric_that_does_not_open_is_not_waited_for_long),
        cmocka_unit_test(without_a_thread_to_open_it_there_is_no_fabric),
    };
    return cmocka_run_group_tests_name("plane, late", tests, start_holder, end_holder);
}
