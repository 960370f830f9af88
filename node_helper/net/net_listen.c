/*
 * The listening socket: a port from a range, both address families on one socket where the kernel has IPv6, and the
 * limit on strangers. Strangers above the limit wait in the kernel's backlog, so that a big roll call loses nobody;
 * those who hold a place and are the ones waited for lose it then, within milliseconds: whoever holds all places, and
 * the whole backlog, with connections that say nothing, keeps an honest one out for a fraction of a second.
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node_helper/net/net_internal.h"

#define LISTEN_BACKLOG 4096
#define ACCEPTS_AT_ONCE_MAX 16
#define EXHAUSTED_PAUSE_US 100000
#define CROWD_LOOK_US 5000

/* A socket bound to `port` on all addresses and listening, or -1 with errno. */
static int open_listener(int family, uint16_t port) {
    struct sockaddr_in6 address6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    struct sockaddr_in address4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    const struct sockaddr *address = family == AF_INET6 ? (struct sockaddr *)&address6 : (struct sockaddr *)&address4;
    socklen_t address_bytes = family == AF_INET6 ? sizeof(address6) : sizeof(address4);
    int on = 1, off = 0;

    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) ||
        bind(fd, address, address_bytes) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool no_ipv6(int error) {
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == ENOPROTOOPT || error == EPROTONOSUPPORT;
}

static int open_listener_in_range(uint16_t port_min, uint16_t port_max) {
    int family = AF_INET6;

    for (uint32_t port = port_min; port <= port_max; port++) {
        int fd = open_listener(family, (uint16_t)port);
        if (fd < 0 && family == AF_INET6 && no_ipv6(errno)) {
            family = AF_INET;
            fd = open_listener(family, (uint16_t)port);
        }
        if (fd >= 0) {
            return fd;
        }
        if (errno != EADDRINUSE && errno != EACCES) {
            return -1;
        }
    }
    return -1;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void accept_one(struct net *net, int fd) {
    struct net_peer *peer;

    net_tune(fd);
    if (net_peer_create(net, fd, true, &peer) != NET_OK) {
        close(fd);
        return;
    }
    peer->accepted_ns = now_ns();
    net->stranger_count++;
    net->stranger_most = net->stranger_count > net->stranger_most ? net->stranger_count : net->stranger_most;
    if (net->stranger_count >= NET_STRANGERS_MAX) {
        const struct timeval pause = { 0, CROWD_LOOK_US };
        event_del(net->acceptable);
        event_add(net->crowded, &pause);
    }
    net_peer_handshake(peer);
}

/* Errors of accept(2) come in three kinds: this connection's (go on), ours for now (wait a little), the socket's. */
static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg) {
    struct net *net = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_AT_ONCE_MAX && net->stranger_count < NET_STRANGERS_MAX; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(net, fd);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            const struct timeval pause = { 0, EXHAUSTED_PAUSE_US };
            event_del(net->acceptable);
            event_add(net->accept_again, &pause);
            return;
        }
    }
}

static void resume_accepting(struct net *net) {
    if (net->acceptable != NULL && net->stranger_count < NET_STRANGERS_MAX &&
        event_pending(net->accept_again, EV_TIMEOUT, NULL) == 0) {
        event_add(net->acceptable, NULL);
    }
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    resume_accepting(arg);
}

/* How long neither end has sent anything. */
static uint32_t idle_ms(int fd) {
    struct tcp_info info = { 0 };
    socklen_t bytes = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) {
        return UINT32_MAX;
    }
    return info.tcpi_last_data_sent < info.tcpi_last_data_recv ? info.tcpi_last_data_sent : info.tcpi_last_data_recv;
}

/* What has come and was not read yet is our own lateness. */
static bool is_late(const struct net_peer *peer, uint64_t now) {
    uint64_t age_ms = (now - peer->accepted_ns) / 1000000u;
    int unread = 0;

    if (age_ms > NET_CROWD_MS || peer->bev == NULL) {
        return age_ms > NET_CROWD_MS;
    }
    int fd = bufferevent_getfd(peer->bev);
    if (age_ms < NET_CROWD_WORD_MS || ioctl(fd, FIONREAD, &unread) != 0 || unread > 0) {
        return false;
    }
    return !net_tls_has_heard(peer->bev) || idle_ms(fd) >= NET_CROWD_WORD_MS;
}

/* The limit is still reached: makes room for those who wait, if any do. Else the crowd has gone, and what its
 * handshakes took goes back to the system. */
static void on_crowded(evutil_socket_t fd, short what, void *arg) {
    const struct timeval pause = { 0, CROWD_LOOK_US };
    struct net *net = arg;
    struct pollfd waiting = { .fd = net->listen_fd, .events = POLLIN };
    struct net_peer *peer, *next;

    (void)fd;
    (void)what;
    if (net->stranger_count == 0) {
        net->stranger_most = 0;
        (void)malloc_trim(0);
    }
    if (net->stranger_count < NET_STRANGERS_MAX) {
        return;
    }
    event_add(net->crowded, &pause);
    if (poll(&waiting, 1, 0) <= 0) {
        return;
    }
    uint64_t now = now_ns();
    for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (peer->accepted && peer->state != NET_PEER_OPEN && is_late(peer, now)) {
            net_peer_fail(peer, "handshake too slow while others wait");
        }
    }
}

void net_stranger_left(struct net *net) {
    const struct timeval pause = { 0, CROWD_LOOK_US };

    if (--net->stranger_count == 0 && net->stranger_most >= NET_CROWD_MIN && net->crowded != NULL) {
        event_add(net->crowded, &pause);
    }
    resume_accepting(net);
}

enum net_result net_listen(struct net *net, uint16_t port_min, uint16_t port_max, uint16_t *ret_port) {
    struct sockaddr_storage bound;
    socklen_t bound_bytes = sizeof(bound);

    if (net->listen_fd >= 0 || port_min > port_max) {
        return NET_ERR_PORT;
    }
    net->listen_fd = open_listener_in_range(port_min, port_max);
    if (net->listen_fd < 0) {
        return errno == EADDRINUSE || errno == EACCES ? NET_ERR_PORT : NET_ERR_SYSTEM;
    }
    if (getsockname(net->listen_fd, (struct sockaddr *)&bound, &bound_bytes) != 0) {
        net_listen_stop(net);
        return NET_ERR_SYSTEM;
    }
    net->acceptable = event_new(net->base, net->listen_fd, EV_READ | EV_PERSIST, on_acceptable, net);
    net->accept_again = evtimer_new(net->base, on_accept_again, net);
    net->crowded = evtimer_new(net->base, on_crowded, net);
    if (net->acceptable == NULL || net->accept_again == NULL || net->crowded == NULL ||
        event_add(net->acceptable, NULL) != 0) {
        net_listen_stop(net);
        return NET_ERR_NO_MEMORY;
    }
    *ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                  : ((struct sockaddr_in *)&bound)->sin_port);
    return NET_OK;
}

void net_listen_stop(struct net *net) {
    if (net->acceptable != NULL) {
        event_free(net->acceptable);
        net->acceptable = NULL;
    }
    if (net->accept_again != NULL) {
        event_free(net->accept_again);
        net->accept_again = NULL;
    }
    if (net->crowded != NULL) {
        event_free(net->crowded);
        net->crowded = NULL;
    }
    if (net->listen_fd >= 0) {
        close(net->listen_fd);
        net->listen_fd = -1;
    }
}
