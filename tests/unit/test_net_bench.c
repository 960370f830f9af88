/* See test_net_bench.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tests/unit/test_net_bench.h"

#define WAIT_SECONDS 10

const uint8_t bench_secret[32] = "0123456789abcdef0123456789abcde";

static void on_open(void *arg, struct net_peer *peer) {
    struct end *end = arg;
    end->open_count++;
    end->peer = peer;
    if (end->raise_bound) {
        net_set_frame_max(peer, WIRE_FRAME_BYTES_MAX);
    }
}

uint64_t bench_sum(const uint8_t *bytes, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum = sum * 31 + bytes[i];
    }
    return sum;
}

static void on_frame(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes) {
    struct end *end = arg;
    end->frame_count++;
    end->frame_bytes = bytes;
    end->byte_sum = bench_sum(body, bytes);
    if (end->echo) {
        net_send(peer, body, bytes);
    }
    if (end->close_on_frame) {
        net_close(peer);
        net_send(peer, body, bytes); /* after the close: nothing happens */
        net_close(peer);
    }
    if (end->destroy_on_frame) {
        net_destroy(end->net);
        end->net = NULL;
    }
}

static void on_close(void *arg, struct net_peer *peer, const char *why) {
    struct end *end = arg;
    end->close_count++;
    snprintf(end->why, sizeof(end->why), "%s", why);
    if (end->peer == peer) {
        end->peer = NULL;
    }
    if (end->send_on_close) {
        net_send(peer, (const uint8_t *)"x", 1);
        net_close(peer);
    }
    if (end->destroy_on_close) {
        net_destroy(end->net);
        end->net = NULL;
    }
}

const struct net_callbacks bench_callbacks = { on_open, on_frame, on_close };

static void give_up(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

void bench_wait_for(struct fixture *f, const uint32_t *counter, uint32_t value) {
    const struct timeval deadline = { WAIT_SECONDS, 0 };
    bool late = false;
    struct event *timer = evtimer_new(f->base, give_up, &late);
    event_add(timer, &deadline);
    while (*counter < value && !late) {
        event_base_loop(f->base, EVLOOP_ONCE);
    }
    event_free(timer);
    if (late) {
        fail_msg("waited %d s for %u, have %u (server: %s; client: %s)", WAIT_SECONDS, value, *counter, f->server.why,
                 f->client.why);
    }
}

void bench_settle(struct fixture *f) {
    for (int i = 0; i < 5; i++) {
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    }
}

int bench_set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    f->base = event_base_new();
    assert_int_equal(net_create(&f->server.net, f->base, bench_secret, &bench_callbacks, &f->server), NET_OK);
    assert_int_equal(net_create(&f->client.net, f->base, bench_secret, &bench_callbacks, &f->client), NET_OK);
    assert_int_equal(net_listen(f->server.net, 0, 0, &f->port), NET_OK);
    *state = f;
    return 0;
}

int bench_tear_down(void **state) {
    struct fixture *f = *state;
    net_destroy(f->client.net);
    net_destroy(f->server.net);
    bench_settle(f);
    event_base_free(f->base);
    free(f);
    return 0;
}

void bench_open_pair(struct fixture *f) {
    struct net_peer *peer;
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    bench_wait_for(f, &f->client.open_count, f->client.open_count + 1);
    bench_wait_for(f, &f->server.open_count, f->client.open_count);
    assert_ptr_equal(f->client.peer, peer);
}

int bench_connect_plainly(uint16_t port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}
