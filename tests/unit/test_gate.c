/*
 * Who comes through to a listening socket of a library's: the user's own over loopback, nobody else's, and not so many
 * that no descriptor is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/shell/gate.h"

#define NOBODY 65534

static struct sockaddr_in address;

static int listen_on(const char *where) {
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address = (struct sockaddr_in){ .sin_family = AF_INET };
    inet_pton(AF_INET, where, &address.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    return fd;
}

static int connect_to_it(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void our_own_user_comes_in(void **state) {
    int listener = listen_on("127.0.0.1"), ours = connect_to_it();
    int theirs = accept(listener, NULL, NULL);

    (void)state;
    assert_true(theirs >= 0);
    close(ours);
    close(theirs);
    close(listener);
}

static void another_user_does_not(void **state) {
    int listener = listen_on("127.0.0.1"), hold[2];
    char byte;

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(pipe(hold), 0);
    pid_t child = fork();
    if (child == 0) {
        close(hold[1]);
        if (setuid(NOBODY) != 0) {
            _exit(1);
        }
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        bool closed = read(fd, &byte, 1) <= 0;
        _exit(connected && closed ? 0 : 1);
    }
    int status;
    assert_int_equal(accept(listener, NULL, NULL), -1);
    assert_int_equal(errno, ECONNABORTED);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(hold[0]);
    close(hold[1]);
    close(listener);
}

/* It has said something, closed its end, and has an owner no more: in the kernel's tables it is root's. */
static void one_that_has_gone_does_not(void **state) {
    int listener = listen_on("127.0.0.1"), ours = connect_to_it();

    (void)state;
    assert_int_equal(write(ours, "words", 5), 5);
    close(ours);
    assert_int_equal(accept(listener, NULL, NULL), -1);
    assert_int_equal(errno, ECONNABORTED);
    close(listener);
}

static void errors_are_libcs(void **state) {
    (void)state;
    assert_int_equal(accept(-1, NULL, NULL), -1);
    assert_int_equal(errno, EBADF);
}

#define LIMIT 32 /* of descriptors: 16 may be held */
#define HELD 16
#define MAKERS 20

static void make_connections(int told) {
    int fds[MAKERS];
    char byte;

    for (size_t i = 0; i < MAKERS; i++) {
        fds[i] = connect_to_it();
    }
    bool spoke = read(told, &byte, 1) == 1 && write(fds[0], "x", 1) == 1;
    (void)!read(told, &byte, 1);
    _exit(spoke ? 0 : 1);
}

static uint32_t silent_for_ms(int fd) {
    struct tcp_info info;
    socklen_t bytes = sizeof(info);

    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes), 0);
    return info.tcpi_last_data_recv;
}

static size_t count_ended(const int *fds, size_t count) {
    size_t ended = 0;
    char byte;

    for (size_t i = 0; i < count; i++) {
        ended += recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
    }
    return ended;
}

/* As many as may be held, one of them speaks, and one more comes. */
static void the_silent_go_when_there_are_too_many(void **state) {
    struct rlimit before, few;
    int theirs[HELD + 1], tell[2], status;

    (void)state;
    int listener = listen_on("127.0.0.1");
    assert_int_equal(pipe(tell), 0);
    pid_t child = fork();
    if (child == 0) {
        close(tell[1]);
        make_connections(tell[0]);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = LIMIT;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (size_t i = 0; i < HELD; i++) {
        assert_true((theirs[i] = accept(listener, NULL, NULL)) >= 0);
    }
    while (silent_for_ms(theirs[HELD - 1]) < 10) {
    }
    assert_int_equal(write(tell[1], "x", 1), 1);
    struct pollfd spoken = { .fd = theirs[0], .events = POLLIN };
    assert_int_equal(poll(&spoken, 1, 10000), 1);
    assert_int_equal(count_ended(theirs, HELD), 0);
    assert_true((theirs[HELD] = accept(listener, NULL, NULL)) >= 0);
    assert_in_range(count_ended(theirs, HELD), 1, HELD / 4);
    assert_int_equal(count_ended(&theirs[0], 1), 0);
    assert_int_equal(count_ended(&theirs[HELD], 1), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(tell[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (size_t i = 0; i <= HELD; i++) {
        close(theirs[i]);
    }
    close(tell[0]);
    close(listener);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_user_comes_in),
        cmocka_unit_test(another_user_does_not),
        cmocka_unit_test(one_that_has_gone_does_not),
        cmocka_unit_test(errors_are_libcs),
        cmocka_unit_test(the_silent_go_when_there_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
