/*
 * One connection: its handshake, its frames, its end. A frame is a u32 little-endian length and that many bytes. The
 * bufferevent's callbacks are deferred, so nothing here is entered again from inside a call of net_send or net_close.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node_helper/net/net_internal.h"

static void name_other_end(int fd, char *ret_text, size_t capacity) {
    struct sockaddr_storage address;
    socklen_t address_bytes = sizeof(address);

    ret_text[0] = '\0';
    if (getpeername(fd, (struct sockaddr *)&address, &address_bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address, address_bytes, ret_text, (socklen_t)capacity, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        ret_text[0] = '\0';
        return;
    }
    if (address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&address)->sin6_addr)) {
        const char *plain = strrchr(ret_text, ':');
        memmove(ret_text, plain + 1, strlen(plain + 1) + 1);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg) {
    static const char *const too_late[] = {
        [NET_PEER_CONNECTING] = "connect: no answer in time",
        [NET_PEER_HANDSHAKING] = "handshake not done in time",
        [NET_PEER_OPEN] = "closed with frames that the other end did not take in time",
        [NET_PEER_CLOSED] = "closed",
    };
    struct net_peer *peer = arg;

    (void)fd;
    (void)what;
    net_peer_fail(peer, "%s", too_late[peer->state]);
}

enum net_result net_peer_create(struct net *net, int fd, bool accepted, struct net_peer **ret_peer) {
    struct net_peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL) {
        return NET_ERR_NO_MEMORY;
    }
    peer->net = net;
    peer->state = NET_PEER_CONNECTING;
    peer->accepted = accepted;
    peer->fd = fd;
    peer->frame_bytes_max = WIRE_HELLO_BYTES_MAX;
    peer->deadline = evtimer_new(net->base, on_deadline, peer);
    peer->early = evbuffer_new();
    if (peer->deadline == NULL || peer->early == NULL || event_add(peer->deadline, &net->handshake_deadline) != 0) {
        peer->fd = -1; /* stays the caller's */
        net_peer_dismantle(peer);
        free(peer);
        return NET_ERR_NO_MEMORY;
    }
    if (accepted) {
        name_other_end(fd, peer->address, sizeof(peer->address));
    }
    TAILQ_INSERT_TAIL(&net->peers, peer, link);
    *ret_peer = peer;
    return NET_OK;
}

void net_peer_dismantle(struct net_peer *peer) {
    if (peer->connected != NULL) {
        event_free(peer->connected);
        peer->connected = NULL;
    }
    if (peer->deadline != NULL) {
        event_free(peer->deadline);
        peer->deadline = NULL;
    }
    if (peer->bev != NULL) {
        net_tls_shutdown(peer->bev);
        bufferevent_free(peer->bev);
        peer->bev = NULL;
    }
    if (peer->early != NULL) {
        evbuffer_free(peer->early);
        peer->early = NULL;
    }
    if (peer->fd >= 0) {
        close(peer->fd);
        peer->fd = -1;
    }
}

void net_peer_fail(struct net_peer *peer, const char *format, ...) {
    struct net *net = peer->net;
    bool stranger = peer->accepted && peer->state != NET_PEER_OPEN;
    va_list values;

    if (peer->state == NET_PEER_CLOSED) {
        return;
    }
    va_start(values, format);
    vsnprintf(peer->why, sizeof(peer->why), format, values);
    va_end(values);
    peer->state = NET_PEER_CLOSED;
    if (peer->connected != NULL) {
        event_del(peer->connected);
    }
    event_del(peer->deadline);
    if (peer->bev != NULL) {
        bufferevent_setcb(peer->bev, NULL, NULL, NULL, NULL);
        bufferevent_disable(peer->bev, EV_READ | EV_WRITE);
    }
    TAILQ_REMOVE(&net->peers, peer, link);
    TAILQ_INSERT_TAIL(&net->closed, peer, link);
    event_active(net->take_down, EV_TIMEOUT, 0);
    if (stranger) {
        net_stranger_left(net);
    }
}

/* The close that net_close asked for, once everything is with the kernel. */
static void finish_when_drained(struct net_peer *peer) {
    if (peer->closing && peer->state == NET_PEER_OPEN && evbuffer_get_length(bufferevent_get_output(peer->bev)) == 0) {
        net_peer_fail(peer, "closed");
    }
}

static void on_readable(struct bufferevent *bev, void *arg) {
    struct net_peer *peer = arg;
    struct net *net = peer->net;
    struct evbuffer *input = bufferevent_get_input(bev);
    uint8_t header[NET_FRAME_HEADER_BYTES];

    while (peer->state == NET_PEER_OPEN && !peer->closing &&
           evbuffer_copyout(input, header, sizeof(header)) == (ev_ssize_t)sizeof(header)) {
        size_t bytes = (size_t)header[0] | (size_t)header[1] << 8 | (size_t)header[2] << 16 | (size_t)header[3] << 24;
        if (bytes > peer->frame_bytes_max) {
            net_peer_fail(peer, "frame of %zu bytes, above the bound of %zu", bytes, peer->frame_bytes_max);
            return;
        }
        if (evbuffer_get_length(input) < sizeof(header) + bytes) {
            return;
        }
        const uint8_t *frame = evbuffer_pullup(input, (ev_ssize_t)(sizeof(header) + bytes));
        if (frame == NULL) {
            net_peer_fail(peer, "out of memory for a frame of %zu bytes", bytes);
            return;
        }
        net->in_callback = true;
        net->callbacks.on_frame(net->arg, peer, frame + sizeof(header), bytes);
        if (!net_call_ended(net)) {
            return;
        }
        evbuffer_drain(input, sizeof(header) + bytes);
    }
    if (peer->closing) {
        evbuffer_drain(input, evbuffer_get_length(input));
    }
}

static void on_drained(struct bufferevent *bev, void *arg) {
    (void)bev;
    finish_when_drained(arg);
}

static void become_open(struct net_peer *peer) {
    struct net *net = peer->net;

    if (!net_tls_authenticated(peer->bev)) {
        net_peer_fail(peer, "not a ckptless peer: handshake without the secret");
        return;
    }
    peer->state = NET_PEER_OPEN;
    if (peer->accepted) {
        net_stranger_left(net);
    }
    if (!peer->closing) {
        event_del(peer->deadline);
        net->in_callback = true;
        net->callbacks.on_open(net->arg, peer);
        if (!net_call_ended(net)) {
            return;
        }
    }
    if (peer->state == NET_PEER_OPEN) {
        if (evbuffer_get_length(peer->early) > 0) {
            bufferevent_write_buffer(peer->bev, peer->early);
        }
        finish_when_drained(peer);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct net_peer *peer = arg;
    char why[sizeof(peer->why)];

    if ((what & BEV_EVENT_CONNECTED) != 0) {
        become_open(peer);
        return;
    }
    if (peer->closing && peer->state == NET_PEER_OPEN) {
        net_peer_fail(peer, "closed");
        return;
    }
    net_tls_describe(bev, what, peer->state == NET_PEER_HANDSHAKING, why, sizeof(why));
    net_peer_fail(peer, "%s", why);
}

void net_peer_handshake(struct net_peer *peer) {
    peer->bev = net_tls_start(peer->net, peer->fd, peer->accepted);
    if (peer->bev == NULL) {
        net_peer_fail(peer, "out of memory for the handshake");
        return;
    }
    peer->fd = -1;
    peer->state = NET_PEER_HANDSHAKING;
    bufferevent_setcb(peer->bev, on_readable, on_drained, on_event, peer);
    if (bufferevent_enable(peer->bev, EV_READ | EV_WRITE) != 0) {
        net_peer_fail(peer, "the handshake could not be started");
    }
}

/* A small frame with nothing before it leaves at once: a turn of the loop and three system calls less than by way of the
 * output. False: it is to be queued. */
static bool send_now(struct net_peer *peer, const uint8_t *header, const uint8_t *body, size_t bytes) {
    uint8_t frame[NET_NOW_BYTES_MAX];

    if (peer->state != NET_PEER_OPEN || evbuffer_get_length(peer->early) > 0 ||
        evbuffer_get_length(bufferevent_get_output(peer->bev)) > 0 ||
        NET_FRAME_HEADER_BYTES + bytes > sizeof(frame)) {
        return false;
    }
    memcpy(frame, header, NET_FRAME_HEADER_BYTES);
    if (bytes > 0) {
        memcpy(frame + NET_FRAME_HEADER_BYTES, body, bytes);
    }
    return net_tls_write_now(peer->bev, frame, NET_FRAME_HEADER_BYTES + bytes);
}

void net_send(struct net_peer *peer, const uint8_t *body, size_t bytes) {
    const uint8_t header[NET_FRAME_HEADER_BYTES] = { (uint8_t)bytes, (uint8_t)(bytes >> 8), (uint8_t)(bytes >> 16),
                                                     (uint8_t)(bytes >> 24) };

    if (peer->state == NET_PEER_CLOSED || peer->closing) {
        return;
    }
    if (bytes > WIRE_FRAME_BYTES_MAX) {
        net_peer_fail(peer, "frame of %zu bytes to send, above the bound of %u", bytes, WIRE_FRAME_BYTES_MAX);
        return;
    }
    if (send_now(peer, header, body, bytes)) {
        return;
    }
    bool early = peer->state != NET_PEER_OPEN || evbuffer_get_length(peer->early) > 0;
    struct evbuffer *output = early ? peer->early : bufferevent_get_output(peer->bev);
    if (evbuffer_get_length(output) > NET_QUEUE_BYTES_MAX) {
        net_peer_fail(peer, "does not read: %zu bytes wait to be sent", evbuffer_get_length(output));
        return;
    }
    /* In one piece, so that header and body of a small frame leave in one TLS record. */
    struct evbuffer_iovec room;
    if (evbuffer_reserve_space(output, (ev_ssize_t)(sizeof(header) + bytes), &room, 1) != 1) {
        net_peer_fail(peer, "out of memory for a frame of %zu bytes", bytes);
        return;
    }
    memcpy(room.iov_base, header, sizeof(header));
    if (bytes > 0) {
        memcpy((uint8_t *)room.iov_base + sizeof(header), body, bytes);
    }
    room.iov_len = sizeof(header) + bytes;
    if (evbuffer_commit_space(output, &room, 1) != 0) {
        net_peer_fail(peer, "out of memory for a frame of %zu bytes", bytes);
    }
}

void net_close(struct net_peer *peer) {
    if (peer->state == NET_PEER_CLOSED || peer->closing) {
        return;
    }
    peer->closing = true;
    if (peer->state != NET_PEER_OPEN && evbuffer_get_length(peer->early) == 0) {
        net_peer_fail(peer, "closed");
        return;
    }
    event_add(peer->deadline, &peer->net->handshake_deadline);
    if (evbuffer_get_length(peer->early) == 0) {
        finish_when_drained(peer);
    }
}

void net_set_frame_max(struct net_peer *peer, size_t bytes) {
    peer->frame_bytes_max = bytes < WIRE_FRAME_BYTES_MAX ? bytes : WIRE_FRAME_BYTES_MAX;
}

void net_set_user(struct net_peer *peer, void *user) {
    peer->user = user;
}

void *net_user(const struct net_peer *peer) {
    return peer->user;
}

void net_peer_address(const struct net_peer *peer, char *ret_text, size_t capacity) {
    snprintf(ret_text, capacity, "%s", peer->address);
}
