/* Shared by the tests of keepers; see test_keeper_bench.h. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/test_keeper_bench.h"

uint64_t bench_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void bench_nap(void) {
    const struct timespec ms = { .tv_nsec = 1000000 };
    (void)nanosleep(&ms, NULL);
}

void bench_await_readable(int fd) {
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    if (poll(&ready, 1, BENCH_DEADLINE_MS) != 1) {
        fail_msg("nothing came for %d ms", BENCH_DEADLINE_MS);
    }
}

bool bench_is_gone(pid_t pid) {
    return kill(pid, 0) != 0 && errno == ESRCH;
}

int bench_end_of(pid_t pid, const char *what) {
    int status = -1;
    uint64_t end_ms = bench_now_ms() + BENCH_DEADLINE_MS;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (bench_now_ms() > end_ms) {
            fail_msg("%s does not end", what);
        }
        bench_nap();
    }
    return status;
}

int bench_listen(const char *address) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    memcpy(name.sun_path + 1, address, strlen(address));
    assert_int_equal(
        bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address))),
        0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

struct wire_keeper_message bench_receive(int fd, enum wire_keeper_type type) {
    static uint8_t packet[WIRE_KEEPER_PACKET_BYTES_MAX];
    struct wire_keeper_message message;
    bench_await_readable(fd);
    ssize_t count = recv(fd, packet, sizeof(packet), 0);
    assert_true(count > 0);
    assert_true(wire_keeper_decode(packet, (size_t)count, &message));
    assert_int_equal(message.type, type);
    return message;
}

void bench_read_line(int fd, char *ret_line, size_t capacity) {
    size_t length = 0;
    do {
        bench_await_readable(fd);
        assert_true(length + 1 < capacity);
        assert_int_equal(read(fd, ret_line + length, 1), 1);
    } while (ret_line[length++] != '\n');
    ret_line[length - 1] = '\0';
}

void bench_say(const char *text) {
    (void)!write(STDOUT_FILENO, text, strlen(text));
}
