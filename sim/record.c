/* What one TLS record costs: two ends of TLS 1.3 (AES-128-GCM) over TCP on the loopback, records one by one, as a
 * helper sends them: an encryption and a system call, a system call and a decryption. CPU time of the thread; the
 * loopback's way to the other end is in that of the sender. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sim/sim.h"

#define RECORDS 20000u
#define BURST 8u /* looking at the clock is a system call as well */

static unsigned psk_of_client(SSL *ssl, const char *hint, char *identity, unsigned identity_bytes, unsigned char *psk,
                              unsigned psk_bytes) {
    (void)ssl;
    (void)hint;
    (void)identity_bytes;
    identity[0] = 's';
    identity[1] = '\0';
    for (unsigned i = 0; i < 32 && i < psk_bytes; i++) {
        psk[i] = (unsigned char)i;
    }
    return 32;
}

static unsigned psk_of_server(SSL *ssl, const char *identity, unsigned char *psk, unsigned psk_bytes) {
    char same[2];
    (void)identity;
    return psk_of_client(ssl, NULL, same, sizeof same, psk, psk_bytes);
}

static double now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

double record_now_ns(void) {
    return now_ns(CLOCK_MONOTONIC);
}

/* Two ends of one connection. */
static bool connect_pair(int *ret_sockets) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    ret_sockets[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens = bind(listener, (struct sockaddr *)&address, bytes) == 0 && listen(listener, 1) == 0 &&
                   getsockname(listener, (struct sockaddr *)&address, &bytes) == 0;
    if (listens && connect(ret_sockets[0], (struct sockaddr *)&address, bytes) == 0) {
        ret_sockets[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    close(listener);
    return ret_sockets[1] >= 0 && fcntl(ret_sockets[0], F_SETFL, O_NONBLOCK) == 0 &&
           setsockopt(ret_sockets[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
}

static bool shake_hands(SSL *client, SSL *server) {
    int done = 0;
    for (int i = 0; i < 20 && done != 2; i++) {
        done = (SSL_connect(client) == 1) + (SSL_accept(server) == 1);
    }
    return done == 2;
}

static struct record_cost measure(SSL *from, SSL *to, uint32_t bytes) {
    struct record_cost cost = { 0 };
    static unsigned char buffer[65536];
    for (uint32_t i = 0; i < RECORDS / BURST; i++) {
        bool good = true;
        double begin_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (uint32_t j = 0; j < BURST; j++) {
            good = good && SSL_write(from, buffer, (int)bytes) == (int)bytes;
        }
        double middle_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (uint32_t j = 0; j < BURST; j++) {
            good = good && SSL_read(to, buffer, sizeof buffer) == (int)bytes;
        }
        double end_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
        if (!good) {
            return (struct record_cost){ 0 };
        }
        cost.send_ns += (middle_ns - begin_ns) / RECORDS;
        cost.receive_ns += (end_ns - middle_ns) / RECORDS;
    }
    return cost;
}

struct record_cost record_measure(uint32_t bytes) {
    struct record_cost cost = { 0 };
    int sockets[2] = { -1, -1 };
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    SSL *client = NULL, *server = NULL;
    if (context == NULL || bytes > 16384 || !connect_pair(sockets) ||
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1) {
        goto out;
    }
    SSL_CTX_set_psk_client_callback(context, psk_of_client);
    SSL_CTX_set_psk_server_callback(context, psk_of_server);
    client = SSL_new(context);
    server = SSL_new(context);
    if (client == NULL || server == NULL || SSL_set_fd(client, sockets[0]) != 1 ||
        SSL_set_fd(server, sockets[1]) != 1) {
        goto out;
    }
    if (shake_hands(client, server)) {
        (void)measure(client, server, bytes); /* warms up */
        cost = measure(client, server, bytes);
    }
out:
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(context);
    close(sockets[0]);
    close(sockets[1]);
    return cost;
}
