/*
 * Two nets of one process on one event base, for the tests of connections: each end counts what it hears.
 */
#ifndef TEST_NET_BENCH_H
#define TEST_NET_BENCH_H

#include <event2/event.h>

#include "node_helper/net/net_internal.h"

struct end {
    struct net *net;
    struct net_peer *peer; /* the last one that opened */
    uint32_t open_count, close_count, frame_count;
    size_t frame_bytes; /* of the last frame */
    uint64_t byte_sum;  /* over the last frame */
    bool echo;
    bool close_on_frame, destroy_on_frame, destroy_on_close, send_on_close, raise_bound;
    char why[256]; /* of the last close */
};

struct fixture {
    struct event_base *base;
    struct end server, client;
    uint16_t port;
};

extern const uint8_t bench_secret[32]; /* of both */
extern const struct net_callbacks bench_callbacks;

int bench_set_up(void **state); /* of a struct fixture: the server listens on `port` */
int bench_tear_down(void **state);
/* Runs the loop until *counter has reached `value`. */
void bench_wait_for(struct fixture *f, const uint32_t *counter, uint32_t value);
/* Runs the loop until nothing is ready: what was not to happen has not happened. */
void bench_settle(struct fixture *f);
void bench_open_pair(struct fixture *f);
/* A stranger's socket, connected. */
int bench_connect_plainly(uint16_t port);
uint64_t bench_sum(const uint8_t *bytes, size_t count);

#endif
