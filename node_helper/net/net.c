/*
 * The object: made, connected from, taken down. Peers are freed here and nowhere else (see net_internal.h).
 */
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node_helper/net/net_internal.h"

static void free_memory(struct net *net) {
    struct net_peer_list *lists[] = { &net->peers, &net->closed };

    for (size_t i = 0; i < 2; i++) {
        struct net_peer *peer;
        while ((peer = TAILQ_FIRST(lists[i])) != NULL) {
            TAILQ_REMOVE(lists[i], peer, link);
            free(peer);
        }
    }
    free(net);
}

bool net_call_ended(struct net *net) {
    net->in_callback = false;
    if (net->doomed) {
        free_memory(net);
        return false;
    }
    return true;
}

static void take_down_closed(evutil_socket_t fd, short what, void *arg) {
    struct net *net = arg;
    struct net_peer *peer;

    (void)fd;
    (void)what;
    while ((peer = TAILQ_FIRST(&net->closed)) != NULL) {
        net->in_callback = true;
        net->callbacks.on_close(net->arg, peer, peer->why);
        if (!net_call_ended(net)) {
            return;
        }
        net_peer_dismantle(peer);
        TAILQ_REMOVE(&net->closed, peer, link);
        free(peer);
    }
}

/* OpenSSL writes with write(2): a peer that has gone must be an error, not the end of the process. */
static void ignore_sigpipe(void) {
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL) {
        memset(&action, 0, sizeof(action));
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

enum net_result net_create(struct net **ret_net, struct event_base *base, const uint8_t *secret,
                           const struct net_callbacks *callbacks, void *arg) {
    enum net_result result = NET_ERR_NO_MEMORY;
    struct net *net = calloc(1, sizeof(*net));

    if (net == NULL) {
        return NET_ERR_NO_MEMORY;
    }
    TAILQ_INIT(&net->peers);
    TAILQ_INIT(&net->closed);
    net->base = base;
    net->callbacks = *callbacks;
    net->arg = arg;
    net->listen_fd = -1;
    memcpy(net->secret, secret, sizeof(net->secret));
    net_set_handshake_deadline_ms(net, NET_HANDSHAKE_DEADLINE_MS);
    ignore_sigpipe();
    if ((net->tls = net_tls_create(net)) == NULL) {
        result = NET_ERR_TLS;
        goto fail;
    }
    if ((net->take_down = event_new(base, -1, 0, take_down_closed, net)) == NULL) {
        goto fail;
    }
    *ret_net = net;
    return NET_OK;

fail:
    net_destroy(net);
    return result;
}

void net_destroy(struct net *net) {
    struct net_peer *peer;

    if (net == NULL || net->doomed) {
        return;
    }
    net_listen_stop(net);
    TAILQ_FOREACH(peer, &net->peers, link) {
        net_peer_dismantle(peer);
        peer->state = NET_PEER_CLOSED;
    }
    TAILQ_FOREACH(peer, &net->closed, link) {
        net_peer_dismantle(peer);
    }
    if (net->take_down != NULL) {
        event_free(net->take_down);
    }
    if (net->tls != NULL) {
        SSL_CTX_set_app_data(net->tls, NULL); /* what libevent has yet to free refers to it */
        SSL_CTX_free(net->tls);
    }
    OPENSSL_cleanse(net->secret, sizeof(net->secret));
    if (net->in_callback) {
        net->doomed = true;
    } else {
        free_memory(net);
    }
}

void net_set_handshake_deadline_ms(struct net *net, uint32_t deadline_ms) {
    net->handshake_deadline.tv_sec = deadline_ms / 1000;
    net->handshake_deadline.tv_usec = (suseconds_t)(deadline_ms % 1000) * 1000;
}

static void on_connected(evutil_socket_t fd, short what, void *arg) {
    struct net_peer *peer = arg;
    int error = 0;
    socklen_t error_bytes = sizeof(error);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) != 0) {
        error = errno;
    }
    if (error != 0) {
        net_peer_fail(peer, "connect: %s", strerror(error));
        return;
    }
    net_peer_handshake(peer);
}

/* What the kernel sends again it sends every 200 ms, not ever later: else a link that was down for a quarter of a
 * second is silent for six tenths. */
void net_tune(int fd) {
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof(on));
}

static int open_socket(const char *address, uint16_t port, struct addrinfo **ret_where) {
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    char service[8];

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(address, service, &hints, ret_where) != 0) {
        *ret_where = NULL;
        errno = EINVAL;
        return -1;
    }
    int fd = socket((*ret_where)->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        net_tune(fd);
    }
    return fd;
}

enum net_result net_connect(struct net *net, const char *address, uint16_t port, struct net_peer **ret_peer) {
    enum net_result result = NET_ERR_SYSTEM;
    struct addrinfo *where = NULL;
    struct net_peer *peer = NULL;

    int fd = open_socket(address, port, &where);
    if (fd < 0) {
        goto out;
    }
    if ((result = net_peer_create(net, fd, false, &peer)) != NET_OK) {
        close(fd);
        goto out;
    }
    snprintf(peer->address, sizeof(peer->address), "%s", address);
    *ret_peer = peer;
    if (connect(fd, where->ai_addr, where->ai_addrlen) != 0 && errno != EINPROGRESS) {
        net_peer_fail(peer, "connect: %s", strerror(errno));
        goto out;
    }
    peer->connected = event_new(net->base, fd, EV_WRITE, on_connected, peer);
    if (peer->connected == NULL || event_add(peer->connected, NULL) != 0) {
        net_peer_fail(peer, "connect: out of memory");
    }

out:
    if (where != NULL) {
        freeaddrinfo(where);
    }
    return result;
}

const char *net_strerror(enum net_result result) {
    switch (result) {
    case NET_OK:
        return "no error";
    case NET_ERR_SYSTEM:
        return "the system refused";
    case NET_ERR_NO_MEMORY:
        return "out of memory";
    case NET_ERR_TLS:
        return "this OpenSSL has no TLS 1.3 with TLS_AES_128_GCM_SHA256";
    case NET_ERR_PORT:
        return "no free port in the range";
    }
    return "unknown error";
}
