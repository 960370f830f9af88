/*
 * Many connections at a time from plain sockets. HOW is one of
 *
 *     silent     nothing is said
 *     slow       the beginning of a handshake, then a byte each time round
 *     garbage    random bytes
 *     cut        a handshake's first message, without its end
 *     oversize   lengths above all bounds, as a frame's and as a TLS record's
 *
 * Who is closed comes again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/programs/stranger.h"

#define ROUND_MS 10
#define SCAN_AT_ONCE 512
#define WORDS_BYTES_MAX 65536

/* A TLS 1.3 ClientHello's record and handshake headers, version and the beginning of its random. */
static const uint8_t hello[] = { 0x16, 0x03, 0x01, 0x01, 0x00, 0x01, 0x00, 0x00, 0xfc, 0x03,
                                 0x03, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a };
static const uint8_t oversize_frame[] = { 0xff, 0xff, 0xff, 0xff, 1, 1 };
static const uint8_t oversize_record[] = { 0x16, 0x03, 0x03, 0xff, 0xff, 0x01, 0xff, 0xff, 0xff };

struct crowd {
    const char *how;
    const uint8_t *words; /* of a replay */
    size_t word_bytes;
    uint64_t made_count, closed_count, byte_count;
};

struct sockaddr_in stranger_address(const char *text) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    char host[64];
    const char *colon = strrchr(text, ':');
    int length = colon ? (int)(colon - text) : 0;

    snprintf(host, sizeof(host), "%.*s", length, text);
    address.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "stranger: %s is not HOST:PORT\n", text);
        exit(2);
    }
    return address;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int begin_connect(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void say(const struct crowd *crowd, int fd) {
    uint8_t noise[64];
    const uint8_t *words = crowd->words;
    size_t bytes = crowd->word_bytes;

    if (strcmp(crowd->how, "slow") == 0 || strcmp(crowd->how, "cut") == 0) {
        words = hello;
        bytes = sizeof(hello);
    } else if (strcmp(crowd->how, "oversize") == 0) {
        bool frame = crowd->made_count % 2 == 0;
        words = frame ? oversize_frame : oversize_record;
        bytes = frame ? sizeof(oversize_frame) : sizeof(oversize_record);
    } else if (strcmp(crowd->how, "garbage") == 0) {
        for (size_t i = 0; i < sizeof(noise); i++) {
            noise[i] = (uint8_t)rand();
        }
        words = noise;
        bytes = sizeof(noise);
    }
    if (bytes > 0) {
        (void)send(fd, words, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* What has become of a connection; closes it when the other end has. */
static void attend(struct crowd *crowd, struct pollfd *item) {
    uint8_t scrap[4096];

    if (item->revents & POLLOUT) {
        say(crowd, item->fd);
        item->events = POLLIN;
    }
    if (item->revents & (POLLIN | POLLERR | POLLHUP)) {
        ssize_t count = recv(item->fd, scrap, sizeof(scrap), MSG_DONTWAIT);
        crowd->byte_count += count > 0 ? (uint64_t)count : 0;
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            close(item->fd);
            item->fd = -1;
            crowd->closed_count++;
        }
    }
}

static int run(struct crowd *crowd, size_t each, size_t rate, size_t target_count, char **targets) {
    size_t count = each * target_count;
    struct pollfd *items = calloc(count + 1, sizeof(*items));
    uint64_t last_ms = now_ms();
    double allowed = 0;
    bool is_slow = strcmp(crowd->how, "slow") == 0;

    if (items == NULL) {
        return 1;
    }
    raise_limit();
    for (size_t i = 0; i < count; i++) {
        items[i].fd = -1;
    }
    stranger_ready();
    for (size_t next = 0; !stranger_is_over;) {
        uint64_t now = now_ms();
        allowed += (double)(rate * target_count) * (double)(now - last_ms) / 1000;
        last_ms = now;
        for (size_t tried = 0; tried < count && allowed >= 1; tried++, next = (next + 1) % count) {
            if (items[next].fd < 0) {
                struct sockaddr_in address = stranger_address(targets[next % target_count]);
                items[next] = (struct pollfd){ .fd = begin_connect(&address), .events = POLLOUT | POLLIN };
                crowd->made_count += items[next].fd >= 0;
                allowed -= 1;
            }
        }
        allowed = allowed > 1 ? 1 : allowed;
        if (poll(items, count, ROUND_MS) > 0) {
            for (size_t i = 0; i < count; i++) {
                if (items[i].fd >= 0 && items[i].revents) {
                    attend(crowd, &items[i]);
                }
            }
        }
        for (size_t i = 0; is_slow && i < count; i++) {
            if (items[i].fd >= 0 && items[i].events == POLLIN) {
                (void)send(items[i].fd, "Z", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            }
        }
        usleep(ROUND_MS * 1000);
    }
    printf("%s: %llu connections, %llu closed by the other end, %llu bytes received\n", crowd->how,
           (unsigned long long)crowd->made_count, (unsigned long long)crowd->closed_count,
           (unsigned long long)crowd->byte_count);
    free(items);
    return 0;
}

int stranger_crowd(int argc, char **argv) {
    struct crowd crowd = { .how = argv[0] };
    return run(&crowd, strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10), (size_t)argc - 3, argv + 3);
}

int stranger_replay(int argc, char **argv) {
    static uint8_t words[WORDS_BYTES_MAX];
    FILE *file = fopen(argv[0], "re");
    struct crowd crowd = { .how = "replay", .words = words };

    crowd.word_bytes = file ? fread(words, 1, sizeof(words), file) : 0;
    if (crowd.word_bytes == 0) {
        fprintf(stderr, "stranger: nothing was recorded in %s\n", argv[0]);
        return 2;
    }
    fclose(file);
    return run(&crowd, strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10), (size_t)argc - 3, argv + 3);
}

static void scan_some(const char *host, uint32_t first, uint32_t count) {
    struct pollfd items[SCAN_AT_ONCE];
    char text[80];
    uint32_t left = 0;

    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%s:%u", host, first + i);
        struct sockaddr_in address = stranger_address(text);
        items[i] = (struct pollfd){ .fd = begin_connect(&address), .events = POLLOUT };
        left += items[i].fd >= 0;
    }
    while (left > 0 && poll(items, count, 1000) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            int error = 0;
            socklen_t bytes = sizeof(error);
            if (items[i].fd < 0 || !items[i].revents) {
                continue;
            }
            if (getsockopt(items[i].fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0) {
                printf("%s:%u\n", host, first + i);
            }
            close(items[i].fd);
            items[i].fd = -1;
            left--;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].fd >= 0) {
            close(items[i].fd);
        }
    }
}

int stranger_scan(int argc, char **argv) {
    raise_limit();
    for (int i = 0; i < argc; i++) {
        for (uint32_t port = 1; port < 65536; port += SCAN_AT_ONCE) {
            scan_some(argv[i], port, port + SCAN_AT_ONCE <= 65536 ? SCAN_AT_ONCE : 65536 - port);
        }
    }
    return 0;
}
