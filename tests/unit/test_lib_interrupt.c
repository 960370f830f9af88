/*
 * The library's thread on a real page: stop_epoch and events reach blocked sockets and the program's function; the bell
 * rings at a process's death and at no other time.
 */
#include "tests/unit/test_lib.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "libckptless/interrupt.h"

#define EPOCH 0x100000001ull

struct fixture {
    struct wire_page *page;
    int page_fd;
    struct interrupt *interrupt;
};

static void start(struct fixture *fixture) {
    fixture->page = test_page(&fixture->page_fd);
    assert_int_equal(interrupt_create(&fixture->interrupt, fixture->page), CKPTLESS_OK);
    atomic_store(&fixture->page->stop_epoch, EPOCH);
    interrupt_enter(fixture->interrupt, EPOCH, 1);
}

static void end(struct fixture *fixture) {
    interrupt_destroy(fixture->interrupt);
    assert_int_equal(atomic_load(&fixture->page->bell_futex), 0);
    assert_int_equal(munmap(fixture->page, WIRE_PAGE_BYTES), 0);
    close(fixture->page_fd);
}

static void stop_world(struct fixture *fixture) {
    atomic_store(&fixture->page->stop_epoch, EPOCH + 1);
}

struct told {
    atomic_uint count;
    atomic_uint_fast64_t epoch;
    atomic_bool hold, inside;
};

static void on_interrupt(void *arg, uint64_t epoch) {
    struct told *told = arg;
    const struct timespec nap = { .tv_nsec = 100000 };
    atomic_store(&told->inside, true);
    while (atomic_load(&told->hold)) {
        (void)nanosleep(&nap, NULL);
    }
    atomic_store(&told->epoch, epoch);
    atomic_fetch_add(&told->count, 1);
    atomic_store(&told->inside, false);
}

static bool is_told(void *arg) {
    return atomic_load(&((struct told *)arg)->count) > 0;
}

static bool is_inside(void *arg) {
    return atomic_load(&((struct told *)arg)->inside);
}

static bool is_shut(void *arg) {
    struct pollfd poll_fd = { .fd = *(int *)arg, .events = POLLIN | POLLRDHUP };
    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLRDHUP)) != 0;
}

static void the_function_is_told_once_a_loss(void **state) {
    struct fixture fixture;
    struct told told = { 0 }, other = { 0 };
    (void)state;
    start(&fixture);
    interrupt_set_function(fixture.interrupt, on_interrupt, &told);
    stop_world(&fixture); /* without an event: the thread looks by itself */
    assert_true(test_wait(is_told, &told));
    assert_int_equal(atomic_load(&told.epoch), 1);
    atomic_store(&fixture.page->stop_epoch, EPOCH + 2); /* one more before the next world */
    interrupt_notify(fixture.interrupt, EPOCH + 2);
    interrupt_set_function(fixture.interrupt, on_interrupt, &other); /* pending: the new one is told */
    assert_true(test_wait(is_told, &other));
    assert_int_equal(atomic_load(&told.count), 1);
    atomic_store(&other.count, 0);
    interrupt_enter(fixture.interrupt, EPOCH + 2, 3);
    interrupt_notify(fixture.interrupt, EPOCH + 3);
    assert_true(test_wait(is_told, &other));
    assert_int_equal(atomic_load(&other.epoch), 3);
    end(&fixture);
}

static void nothing_is_told_before_a_world_or_of_an_old_one(void **state) {
    struct fixture fixture;
    struct told told = { 0 };
    int pair[2];
    (void)state;
    fixture.page = test_page(&fixture.page_fd);
    assert_int_equal(interrupt_create(&fixture.interrupt, fixture.page), CKPTLESS_OK);
    interrupt_set_function(fixture.interrupt, on_interrupt, &told);
    atomic_store(&fixture.page->stop_epoch, EPOCH);
    interrupt_notify(fixture.interrupt, EPOCH);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(interrupt_watch(fixture.interrupt, pair[0]), CKPTLESS_OK);
    interrupt_enter(fixture.interrupt, EPOCH, 1);
    interrupt_notify(fixture.interrupt, EPOCH); /* late */
    interrupt_notify(fixture.interrupt, EPOCH - 1);
    assert_int_equal(interrupt_watch(fixture.interrupt, pair[1]), CKPTLESS_OK);
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(atomic_load(&told.count), 0);
    end(&fixture);
    close(pair[0]);
    close(pair[1]);
}

struct blocked {
    int fd;
    ssize_t result;
    atomic_bool returned;
};

static void *receive(void *arg) {
    struct blocked *blocked = arg;
    char byte;
    blocked->result = recv(blocked->fd, &byte, 1, 0);
    atomic_store(&blocked->returned, true);
    return NULL;
}

static void *take(void *arg) {
    struct blocked *blocked = arg;
    blocked->result = accept4(blocked->fd, NULL, NULL, SOCK_CLOEXEC);
    atomic_store(&blocked->returned, true);
    return NULL;
}

static bool is_returned(void *arg) {
    return atomic_load(&((struct blocked *)arg)->returned);
}

static int listen_here(struct sockaddr_in *ret_address) {
    socklen_t bytes = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(bind(fd, (struct sockaddr *)ret_address, sizeof(*ret_address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &bytes), 0);
    return fd;
}

static void blocked_calls_return(void **state) {
    struct fixture fixture;
    struct sockaddr_in address;
    pthread_t threads[2];
    struct blocked receiving = { 0 }, accepting = { 0 };
    (void)state;
    start(&fixture);
    int listener = listen_here(&address), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    receiving.fd = client;
    accepting.fd = listener;
    assert_int_equal(interrupt_watch(fixture.interrupt, client), CKPTLESS_OK);
    assert_int_equal(interrupt_watch(fixture.interrupt, client), CKPTLESS_OK); /* twice is once */
    assert_int_equal(interrupt_watch(fixture.interrupt, listener), CKPTLESS_OK);
    assert_int_equal(pthread_create(&threads[0], NULL, receive, &receiving), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, take, &accepting), 0);
    stop_world(&fixture);
    interrupt_notify(fixture.interrupt, EPOCH + 1);
    assert_true(test_wait(is_returned, &receiving));
    assert_true(test_wait(is_returned, &accepting));
    assert_int_equal(receiving.result, 0);
    assert_int_equal(accepting.result, -1);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    interrupt_unwatch(fixture.interrupt, client);
    interrupt_unwatch(fixture.interrupt, listener);
    close(client);
    close(listener);
    close(server);
    end(&fixture);
}

/* Watched before the stop, connected after it: shut all the same. */
static void a_socket_that_connects_later_is_shut(void **state) {
    struct fixture fixture;
    struct sockaddr_in address;
    struct told told = { 0 };
    (void)state;
    start(&fixture);
    int listener = listen_here(&address), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(interrupt_watch(fixture.interrupt, client), CKPTLESS_OK);
    interrupt_set_function(fixture.interrupt, on_interrupt, &told);
    stop_world(&fixture);
    assert_true(test_wait(is_told, &told)); /* the first shutdown has been */
    (void)connect(client, (struct sockaddr *)&address, sizeof(address));
    assert_true(test_wait(is_shut, &client));
    interrupt_unwatch(fixture.interrupt, client);
    close(client);
    close(listener);
    end(&fixture);
}

static void watching_while_a_loss_is_pending_shuts_at_once(void **state) {
    struct fixture fixture;
    int pair[2];
    char byte;
    (void)state;
    start(&fixture);
    stop_world(&fixture);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(interrupt_watch(fixture.interrupt, pair[0]), CKPTLESS_INTERRUPTED);
    assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
    close(pair[0]);
    close(pair[1]);
    end(&fixture);
}

static void an_unwatched_socket_is_left_alone(void **state) {
    struct fixture fixture;
    struct told told = { 0 };
    int pair[2];
    char byte;
    (void)state;
    start(&fixture);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(interrupt_watch(fixture.interrupt, pair[0]), CKPTLESS_OK);
    interrupt_unwatch(fixture.interrupt, pair[0]);
    interrupt_unwatch(fixture.interrupt, pair[0]);
    interrupt_set_function(fixture.interrupt, on_interrupt, &told);
    stop_world(&fixture);
    assert_true(test_wait(is_told, &told));
    assert_int_equal(write(pair[0], "x", 1), 1);
    assert_int_equal(read(pair[1], &byte, 1), 1);
    close(pair[0]);
    close(pair[1]);
    end(&fixture);
}

struct churn {
    struct fixture *fixture;
    atomic_bool stop;
    atomic_uint rounds, harmed;
};

/* Opens, watches, unwatches, closes; a socket of its own under a number that was just another thread's is never shut.
 */
static void *churn(void *arg) {
    struct churn *work = arg;
    while (!atomic_load(&work->stop)) {
        int pair[2], plain[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        enum ckptless_result result = interrupt_watch(work->fixture->interrupt, pair[0]);
        (void)result;
        interrupt_unwatch(work->fixture->interrupt, pair[0]);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plain), 0);
        if (write(plain[0], "x", 1) != 1) {
            atomic_fetch_add(&work->harmed, 1);
        }
        close(plain[0]);
        close(plain[1]);
        atomic_fetch_add(&work->rounds, 1);
    }
    return NULL;
}

static bool has_churned(void *arg) {
    return atomic_load(&((struct churn *)arg)->rounds) > 2000;
}

static void no_descriptor_is_shut_after_unwatch(void **state) {
    struct fixture fixture;
    struct churn work = { .fixture = &fixture };
    pthread_t threads[2];
    (void)state;
    start(&fixture);
    assert_int_equal(pthread_create(&threads[0], NULL, churn, &work), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, churn, &work), 0);
    for (uint64_t epoch = EPOCH; !has_churned(&work); epoch++) {
        const struct timespec nap = { .tv_nsec = 200000 };
        interrupt_notify(fixture.interrupt, epoch + 1);
        (void)nanosleep(&nap, NULL);
        interrupt_enter(fixture.interrupt, epoch + 1, 1);
    }
    atomic_store(&work.stop, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(atomic_load(&work.harmed), 0);
    end(&fixture);
}

struct removal {
    struct fixture *fixture;
    struct told *told;
    atomic_bool done;
    bool was_inside; /* when it was done */
};

static void *remove_function(void *arg) {
    struct removal *removal = arg;
    interrupt_set_function(removal->fixture->interrupt, NULL, NULL);
    removal->was_inside = atomic_load(&removal->told->inside);
    atomic_store(&removal->done, true);
    return NULL;
}

static bool is_removed(void *arg) {
    return atomic_load(&((struct removal *)arg)->done);
}

static void taking_the_function_away_waits_for_its_call(void **state) {
    struct fixture fixture;
    struct told told = { 0 };
    struct removal removal = { .fixture = &fixture, .told = &told };
    pthread_t thread;
    (void)state;
    atomic_store(&told.hold, true);
    start(&fixture);
    interrupt_set_function(fixture.interrupt, on_interrupt, &told);
    stop_world(&fixture);
    interrupt_notify(fixture.interrupt, EPOCH + 1);
    assert_true(test_wait(is_inside, &told));
    assert_int_equal(pthread_create(&thread, NULL, remove_function, &removal), 0);
    assert_false(interrupt_retire(fixture.interrupt, 20)); /* bounded */
    assert_false(is_removed(&removal));
    atomic_store(&told.hold, false);
    assert_true(test_wait(is_removed, &removal));
    assert_false(removal.was_inside);
    pthread_join(thread, NULL);
    assert_true(interrupt_retire(fixture.interrupt, 1000));
    end(&fixture);
}

static void count_job(void *arg) {
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static bool is_counted(void *arg) {
    return atomic_load((atomic_uint *)arg) > 0;
}

static void a_job_runs_once_or_is_withdrawn(void **state) {
    struct fixture fixture;
    atomic_uint count = 0;
    (void)state;
    start(&fixture);
    interrupt_post(fixture.interrupt, count_job, &count, 0);
    assert_true(test_wait(is_counted, &count));
    assert_false(interrupt_withdraw(fixture.interrupt));
    interrupt_post(fixture.interrupt, count_job, &count, 60000);
    assert_true(interrupt_withdraw(fixture.interrupt));
    uint64_t posted_ns = test_now_ns();
    atomic_store(&count, 0);
    interrupt_post(fixture.interrupt, count_job, &count, 50);
    assert_true(test_wait(is_counted, &count));
    assert_true(test_now_ns() - posted_ns >= 50000000);
    assert_int_equal(atomic_load(&count), 1);
    end(&fixture);
}

static bool has_died(void *arg) {
    return atomic_load((_Atomic uint32_t *)arg) & FUTEX_OWNER_DIED;
}

/* A process with a bell that does what it is told by one byte. */
static pid_t start_process(struct wire_page *page, int *ret_go) {
    int ready[2], go[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct interrupt *interrupt;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(go[1]);
        bool up = interrupt_create(&interrupt, page) == CKPTLESS_OK && write(ready[1], "r", 1) == 1;
        while (up && read(go[0], &byte, 1) == 1) {
            pid_t child = byte == 'f' ? fork() : -1;
            if (child == 0) {
                _exit(0);
            } else if (child > 0) {
                up = waitpid(child, NULL, 0) == child && write(ready[1], "r", 1) == 1;
            } else if (byte == 'x') {
                execl("/bin/cat", "cat", (char *)NULL);
            }
        }
        _exit(3);
    }
    assert_true(pid > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    /* A child of the process ends: no ring. */
    assert_int_equal(write(go[1], "f", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_false(has_died(&page->bell_futex));
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    *ret_go = go[1];
    return pid;
}

static void the_bell_rings_at_death_and_not_for_a_child(void **state) {
    int fd, go;
    struct wire_page *page = test_page(&fd);
    (void)state;
    pid_t pid = start_process(page, &go);
    uint32_t value = atomic_load(&page->bell_futex);
    assert_true(value & FUTEX_WAITERS);
    assert_true((value & FUTEX_TID_MASK) != 0 && (pid_t)(value & FUTEX_TID_MASK) != pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(test_wait(has_died, &page->bell_futex));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(go);

    atomic_store(&page->bell_futex, 0);
    pid = start_process(page, &go);
    close(go); /* it exits */
    assert_true(test_wait(has_died, &page->bell_futex));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    munmap(page, WIRE_PAGE_BYTES);
    close(fd);
}

/* Known and written down: who listens must look. */
static void execve_rings_although_the_process_lives(void **state) {
    int fd, go;
    struct wire_page *page = test_page(&fd);
    (void)state;
    pid_t pid = start_process(page, &go);
    assert_int_equal(write(go, "x", 1), 1);
    assert_true(test_wait(has_died, &page->bell_futex));
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(go);
    munmap(page, WIRE_PAGE_BYTES);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_function_is_told_once_a_loss),
        cmocka_unit_test(nothing_is_told_before_a_world_or_of_an_old_one),
        cmocka_unit_test(blocked_calls_return),
        cmocka_unit_test(a_socket_that_connects_later_is_shut),
        cmocka_unit_test(watching_while_a_loss_is_pending_shuts_at_once),
        cmocka_unit_test(an_unwatched_socket_is_left_alone),
        cmocka_unit_test(no_descriptor_is_shut_after_unwatch),
        cmocka_unit_test(taking_the_function_away_waits_for_its_call),
        cmocka_unit_test(a_job_runs_once_or_is_withdrawn),
        cmocka_unit_test(the_bell_rings_at_death_and_not_for_a_child),
        cmocka_unit_test(execve_rings_although_the_process_lives),
    };
    return cmocka_run_group_tests_name("lib_interrupt", tests, NULL, NULL);
}
