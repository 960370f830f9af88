/*
 * Connections over the real loopback: both ends live in this process on one event base, each end with a net of its own.
 * Strangers are plain sockets. Every wait is for a thing that happens, with a deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/test_net_bench.h"

#define LARGE_BYTES (1u << 20)

static const uint8_t other_secret[32] = "0123456789abcdef0123456789abcdX";

static void frames_come_back_whole(void **state) {
    struct fixture *f = *state;
    static const size_t sizes[] = { 0, 1, 3, 16380, 65536, LARGE_BYTES, 3 * LARGE_BYTES + 7 };
    uint8_t *bytes = malloc(4 * LARGE_BYTES);
    char address[64];

    for (size_t i = 0; i < 4 * LARGE_BYTES; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    }
    f->server.echo = true;
    f->server.raise_bound = f->client.raise_bound = true;
    bench_open_pair(f);
    net_peer_address(f->client.peer, address, sizeof(address));
    assert_string_equal(address, "127.0.0.1");
    net_peer_address(f->server.peer, address, sizeof(address));
    assert_string_equal(address, "127.0.0.1");
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        net_send(f->client.peer, bytes, sizes[i]);
        bench_wait_for(f, &f->client.frame_count, i + 1);
        assert_int_equal(f->client.frame_bytes, sizes[i]);
        assert_int_equal(f->client.byte_sum, bench_sum(bytes, sizes[i]));
    }
    free(bytes);
}

static void many_frames_in_a_row_keep_their_order(void **state) {
    struct fixture *f = *state;
    f->server.echo = true;
    bench_open_pair(f);
    for (uint32_t i = 0; i < 5000; i++) {
        net_send(f->client.peer, (uint8_t *)&i, sizeof(i));
    }
    uint32_t last = 4999;
    bench_wait_for(f, &f->client.frame_count, 5000);
    assert_int_equal(f->client.byte_sum, bench_sum((uint8_t *)&last, sizeof(last)));
}

static void a_frame_sent_before_the_handshake_arrives_after_it(void **state) {
    struct fixture *f = *state;
    struct net_peer *peer;
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    net_send(peer, (const uint8_t *)"hello", 5);
    net_close(peer); /* drains first */
    bench_wait_for(f, &f->server.frame_count, 1);
    assert_int_equal(f->server.frame_bytes, 5);
    bench_wait_for(f, &f->client.close_count, 1);
    bench_wait_for(f, &f->server.close_count, 1);
    assert_int_equal(f->client.open_count, 0);
    assert_string_equal(f->client.why, "closed");
    assert_string_equal(f->server.why, "closed by the other end");
}

static void ipv6_works_where_there_is_ipv6(void **state) {
    struct fixture *f = *state;
    struct net_peer *peer;
    char address[64];
    struct sockaddr_in6 probe = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&probe, sizeof(probe)) == 0;

    if (fd >= 0) {
        close(fd);
    }
    if (!have) {
        skip();
    }
    assert_int_equal(net_connect(f->client.net, "::1", f->port, &peer), NET_OK);
    bench_wait_for(f, &f->server.open_count, 1);
    net_peer_address(f->server.peer, address, sizeof(address));
    assert_string_equal(address, "::1");
}

static void a_wrong_secret_is_refused_on_both_ends(void **state) {
    struct fixture *f = *state;
    struct net_peer *peer;
    struct end stranger = { 0 };
    assert_int_equal(net_create(&stranger.net, f->base, other_secret, &bench_callbacks, &stranger), NET_OK);
    assert_int_equal(net_connect(stranger.net, "127.0.0.1", f->port, &peer), NET_OK);
    bench_wait_for(f, &f->server.close_count, 1);
    bench_wait_for(f, &stranger.close_count, 1);
    assert_string_equal(f->server.why, "wrong secret");
    assert_string_equal(stranger.why, "wrong secret: the other end refused ours");
    assert_int_equal(f->server.open_count + stranger.open_count, 0);
    net_destroy(stranger.net);
    bench_open_pair(f); /* and the next one gets in */
}

static void plain_text_is_refused(void **state) {
    struct fixture *f = *state;
    int fd = bench_connect_plainly(f->port);
    char byte;
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    bench_wait_for(f, &f->server.close_count, 1);
    assert_non_null(strstr(f->server.why, "not a ckptless peer"));
    bench_settle(f);
    while (recv(fd, &byte, 1, MSG_DONTWAIT) == 1) {
    }
    assert_int_equal(f->server.open_count, 0);
    close(fd);
}

static void one_that_never_speaks_is_closed_at_the_deadline(void **state) {
    struct fixture *f = *state;
    net_set_handshake_deadline_ms(f->server.net, 50);
    int fd = bench_connect_plainly(f->port);
    bench_wait_for(f, &f->server.close_count, 1);
    assert_string_equal(f->server.why, "handshake not done in time");
    close(fd);
}

static void a_connect_that_gets_no_handshake_ends_at_the_deadline(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t address_bytes = sizeof(address);
    struct net_peer *peer;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_bytes), 0);
    net_set_handshake_deadline_ms(f->client.net, 50);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", ntohs(address.sin_port), &peer), NET_OK);
    bench_wait_for(f, &f->client.close_count, 1);
    assert_string_equal(f->client.why, "handshake not done in time");
    close(fd);
    bench_settle(f);
    assert_int_equal(f->client.close_count, 1);

    /* And once the port is closed: at once, in words. */
    f->client.send_on_close = true;
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", ntohs(address.sin_port), &peer), NET_OK);
    assert_int_equal(f->client.close_count, 1); /* never from inside the call */
    bench_wait_for(f, &f->client.close_count, 2);
    assert_string_equal(f->client.why, "connect: Connection refused");
    bench_settle(f);
    assert_int_equal(f->client.close_count, 2);
}

static void an_address_that_is_none_is_an_error(void **state) {
    struct fixture *f = *state;
    struct net_peer *peer;
    assert_int_equal(net_connect(f->client.net, "no.such.host", f->port, &peer), NET_ERR_SYSTEM);
    assert_int_equal(net_connect(f->client.net, "", f->port, &peer), NET_ERR_SYSTEM);
}

static void a_frame_above_the_bound_closes(void **state) {
    struct fixture *f = *state;
    uint8_t *bytes = calloc(1, WIRE_HELLO_BYTES_MAX + 1);
    bench_open_pair(f);
    net_send(f->client.peer, bytes, WIRE_HELLO_BYTES_MAX + 1);
    bench_wait_for(f, &f->server.close_count, 1);
    assert_string_equal(f->server.why, "frame of 65537 bytes, above the bound of 65536");
    bench_wait_for(f, &f->client.close_count, 1);
    assert_int_equal(f->server.frame_count, 0);
    free(bytes);
}

static void one_that_does_not_read_is_closed(void **state) {
    struct fixture *f = *state;
    size_t bytes_each = 16u << 20;
    uint8_t *bytes = calloc(1, bytes_each);
    bench_open_pair(f);
    for (int i = 0; i < 6 && f->client.close_count == 0; i++) { /* the loop does not run: the server reads nothing */
        net_send(f->client.peer, bytes, bytes_each);
    }
    assert_int_equal(f->client.close_count, 0);
    bench_wait_for(f, &f->client.close_count, 1);
    assert_non_null(strstr(f->client.why, "does not read"));
    free(bytes);
}

static void strangers_above_the_limit_wait_and_cost_nobody_the_handshake(void **state) {
    struct fixture *f = *state;
    int fds[NET_STRANGERS_MAX + 8];
    struct net_peer *peer;
    uint32_t count = sizeof(fds) / sizeof(*fds), most = 0;

    net_set_handshake_deadline_ms(f->server.net, 2000);
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = bench_connect_plainly(f->port);
    }
    for (uint32_t i = 0; i < count; i++) {
        event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        most = f->server.net->stranger_count > most ? f->server.net->stranger_count : most;
    }
    assert_in_range(most, NET_STRANGERS_MAX / 2, NET_STRANGERS_MAX);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    bench_wait_for(f, &f->client.open_count, 1);
    bench_wait_for(f, &f->server.close_count, count);
    assert_int_equal(f->server.net->stranger_count, 0);
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void idle_strangers_keep_nobody_out(void **state) {
    struct fixture *f = *state;
    int fds[8 * NET_STRANGERS_MAX]; /* and each has the whole handshake deadline */
    struct net_peer *peer;
    struct timespec from, to;
    uint32_t count = sizeof(fds) / sizeof(*fds);

    for (uint32_t i = 0; i < count; i++) {
        fds[i] = bench_connect_plainly(f->port);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    bench_wait_for(f, &f->client.open_count, 1);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_in_range((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000, 0, 1000);
    assert_string_equal(f->server.why, "handshake too slow while others wait");
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* They have sent the beginning of a handshake, and go on byte by byte. */
static void slow_strangers_keep_nobody_out(void **state) {
    static const uint8_t hello[] = { 0x16, 0x03, 0x01, 0x01, 0x00, 0x01, 0x00, 0x00, 0xfc, 0x03, 0x03 };
    struct fixture *f = *state;
    int fds[2 * NET_STRANGERS_MAX];
    struct net_peer *peer;
    uint32_t count = sizeof(fds) / sizeof(*fds);
    struct timespec from, now;

    for (uint32_t i = 0; i < count; i++) {
        fds[i] = bench_connect_plainly(f->port);
        assert_int_equal(send(fds[i], hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    while (f->client.open_count == 0) {
        event_base_loop(f->base, EVLOOP_ONCE);
        for (uint32_t i = 0; i < count; i++) {
            (void)send(fds[i], "\0", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        assert_in_range(now.tv_sec - from.tv_sec, 0, NET_HANDSHAKE_DEADLINE_MS / 1000 - 2);
    }
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void close_inside_a_callback_is_reported_once(void **state) {
    struct fixture *f = *state;
    f->server.close_on_frame = f->server.send_on_close = true;
    f->server.echo = true;
    bench_open_pair(f);
    net_send(f->client.peer, (const uint8_t *)"a", 1);
    net_send(f->client.peer, (const uint8_t *)"b", 1);
    bench_wait_for(f, &f->client.close_count, 1);
    bench_wait_for(f, &f->server.close_count, 1);
    bench_settle(f);
    assert_int_equal(f->server.frame_count, 1);
    assert_int_equal(f->client.frame_count, 1); /* what was sent before the close */
    assert_int_equal(f->server.close_count, 1);
    assert_string_equal(f->server.why, "closed");
}

static void destroy_inside_a_frame_is_silent(void **state) {
    struct fixture *f = *state;
    f->server.destroy_on_frame = true;
    bench_open_pair(f);
    net_send(f->client.peer, (const uint8_t *)"a", 1);
    net_send(f->client.peer, (const uint8_t *)"b", 1);
    bench_wait_for(f, &f->client.close_count, 1);
    assert_int_equal(f->server.frame_count, 1);
    assert_int_equal(f->server.close_count, 0);
}

static void destroy_inside_on_close(void **state) {
    struct fixture *f = *state;
    f->server.destroy_on_close = true;
    bench_open_pair(f);
    bench_open_pair(f);
    net_close(f->client.peer);
    bench_wait_for(f, &f->server.close_count, 1);
    bench_wait_for(f, &f->client.close_count, 2);
    assert_int_equal(f->server.close_count, 1);
}

static void destroy_with_live_peers_in_every_state(void **state) {
    struct fixture *f = *state;
    struct net_peer *peer;
    bench_open_pair(f);
    bench_open_pair(f);
    net_send(f->client.peer, (const uint8_t *)"queued", 6);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    bench_settle(f);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", f->port, &peer), NET_OK);
    net_destroy(f->client.net);
    f->client.net = NULL;
    bench_wait_for(f, &f->server.close_count, 2);
    assert_int_equal(f->client.close_count, 0);
}

static void ports_come_from_the_range(void **state) {
    struct fixture *f = *state;
    struct end third = { 0 };
    uint16_t port;
    assert_int_equal(net_create(&third.net, f->base, bench_secret, &bench_callbacks, &third), NET_OK);
    assert_int_equal(net_listen(third.net, f->port, f->port, &port), NET_ERR_PORT);
    assert_int_equal(net_listen(third.net, f->port, (uint16_t)(f->port + 20), &port), NET_OK);
    assert_in_range(port, f->port + 1, f->port + 20);
    net_destroy(third.net);
}

/* A TLS 1.3 server with a certificate of its own and without the secret, in a thread. */
static void *impostor_main(void *arg) {
    int fd = accept(*(int *)arg, NULL, NULL);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(tls, certificate);
    SSL_CTX_use_PrivateKey(tls, key);
    SSL *ssl = SSL_new(tls);
    SSL_set_fd(ssl, fd);
    (void)SSL_accept(ssl);
    SSL_free(ssl);
    X509_free(certificate);
    EVP_PKEY_free(key);
    SSL_CTX_free(tls);
    close(fd);
    return NULL;
}

static void a_server_with_a_certificate_instead_of_the_secret_is_refused(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t address_bytes = sizeof(address);
    struct net_peer *peer;
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_bytes), 0);
    assert_int_equal(pthread_create(&thread, NULL, impostor_main, &fd), 0);
    assert_int_equal(net_connect(f->client.net, "127.0.0.1", ntohs(address.sin_port), &peer), NET_OK);
    bench_wait_for(f, &f->client.close_count, 1);
    assert_int_equal(f->client.open_count, 0);
    assert_non_null(strstr(f->client.why, "not a ckptless peer"));
    pthread_join(thread, NULL);
    close(fd);
}

static void handshakes_are_cheap(void **state) {
    struct fixture *f = *state;
    struct timespec from, to;
    bench_open_pair(f);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 50; i++) {
        bench_open_pair(f);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    print_message("handshake: %.2f ms of CPU, both ends together\n", ms / 50);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_wrong_secret_is_refused_on_both_ends),
        T(plain_text_is_refused),
        T(one_that_never_speaks_is_closed_at_the_deadline),
        T(a_connect_that_gets_no_handshake_ends_at_the_deadline),
        T(a_server_with_a_certificate_instead_of_the_secret_is_refused),
        T(an_address_that_is_none_is_an_error),
        T(a_frame_above_the_bound_closes),
        T(one_that_does_not_read_is_closed),
        T(strangers_above_the_limit_wait_and_cost_nobody_the_handshake),
        T(idle_strangers_keep_nobody_out),
        T(slow_strangers_keep_nobody_out),
        T(frames_come_back_whole),
        T(many_frames_in_a_row_keep_their_order),
        T(a_frame_sent_before_the_handshake_arrives_after_it),
        T(ipv6_works_where_there_is_ipv6),
        T(close_inside_a_callback_is_reported_once),
        T(destroy_inside_a_frame_is_silent),
        T(destroy_inside_on_close),
        T(destroy_with_live_peers_in_every_state),
        T(ports_come_from_the_range),
        T(handshakes_are_cheap),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
