/*
 * Inside node_helper/net: what its files share. net.c owns the object and takes closed peers down, net_tls.c knows
 * OpenSSL, net_listen.c accepts, net_peer.c carries frames. Not for other directories, but for the tests.
 *
 * A peer is freed in one place only: take_down_closed() in net.c, from the event loop, after on_close has returned.
 * Everything that ends a peer goes through net_peer_fail(), which only marks it. net_destroy may be called inside a
 * callback: what belongs to libevent goes at once, the memory when the callback has returned (net_call_ended).
 */
#ifndef CKPTLESS_NET_INTERNAL_H
#define CKPTLESS_NET_INTERNAL_H

#include <event2/util.h>
#include <openssl/ssl.h>
#include <sys/queue.h>
#include <sys/time.h>

#include "node_helper/net/net.h"
#include "node_helper/wire/wire_message.h"

#define NET_SECRET_BYTES 32u
#define NET_STRANGERS_MAX 256u /* accepted connections that have not shown the secret yet */
/* At that limit, with others waiting, who has taken longer goes: for the first words, or for an answer of ours; and for
 * the whole handshake. */
#define NET_CROWD_WORD_MS 20u
#define NET_CROWD_MS 500u
#define NET_CROWD_MIN 32u               /* of which the memory is worth giving back */
#define NET_QUEUE_BYTES_MAX (64u << 20) /* unsent bytes of one peer */
#define NET_HANDSHAKE_DEADLINE_MS 5000u /* connect and handshake; also for draining after net_close */
#define NET_FRAME_HEADER_BYTES 4u
#define NET_NOW_BYTES_MAX 2048u /* well within one TLS record */

struct bufferevent;
struct evbuffer;
struct event;

enum net_peer_state {
    NET_PEER_CONNECTING,  /* connect(2) under way: fd, connected */
    NET_PEER_HANDSHAKING, /* TLS under way: bev */
    NET_PEER_OPEN,        /* both ends know the secret */
    NET_PEER_CLOSED,      /* on net->closed: on_close is due, then it is freed */
};

struct net_peer {
    struct net *net;
    enum net_peer_state state;
    bool accepted; /* they connected to us */
    uint64_t accepted_ns;
    bool closing;            /* net_close was called: drain, then close */
    int fd;                  /* -1 once bev owns it */
    struct event *connected; /* of the connect under way */
    struct event *deadline;  /* of connect and handshake, later of draining */
    struct bufferevent *bev;
    struct evbuffer *early; /* frames sent before the handshake was done */
    size_t frame_bytes_max;
    void *user;
    char address[WIRE_NAME_BYTES];
    char why[192];              /* CLOSED: the reason */
    TAILQ_ENTRY(net_peer) link; /* net->peers or net->closed */
};

TAILQ_HEAD(net_peer_list, net_peer);

struct net {
    struct event_base *base;
    SSL_CTX *tls;
    uint8_t secret[NET_SECRET_BYTES];
    struct net_callbacks callbacks;
    void *arg;
    struct timeval handshake_deadline;
    int listen_fd;
    struct event *acceptable;   /* the listening socket is readable */
    struct event *accept_again; /* timer: out of descriptors, try later */
    struct event *crowded;      /* timer: as many strangers as may be, or the last one of many has gone */
    uint32_t stranger_count;
    uint32_t stranger_most;  /* since there was none */
    struct event *take_down; /* activated when a peer has been put on `closed` */
    struct net_peer_list peers, closed;
    bool in_callback;
    bool doomed; /* destroyed inside a callback */
};

/* net.c */
void net_set_handshake_deadline_ms(struct net *net, uint32_t deadline_ms); /* for tests */
/* After every callback. False: the net is gone, and the peer with it; touch nothing. */
bool net_call_ended(struct net *net);

/* net_tls.c */
/* The context of both roles, without certificates: only who knows net->secret gets through. NULL: no TLS 1.3 here. */
SSL_CTX *net_tls_create(struct net *net);
/* A bufferevent that owns fd and has begun its handshake; NULL when memory is short. */
struct bufferevent *net_tls_start(struct net *net, int fd, bool accepted);
/* Whether the other end has said all of its first words, in a handshake that we have accepted. */
bool net_tls_has_heard(struct bufferevent *bev);
/* True when the handshake that has just ended was one with the secret (and not with some certificate). */
bool net_tls_authenticated(struct bufferevent *bev);
/* Says goodbye (close_notify) as far as the socket takes it. */
void net_tls_shutdown(struct bufferevent *bev);
/* One TLS record to the kernel at once, past the bufferevent, whose output must be empty. False: it did not go; the
 * same bytes then stand first in the output (an error shows itself there too). */
bool net_tls_write_now(struct bufferevent *bev, const uint8_t *bytes, size_t count);
/* Why the bufferevent has failed, in words; `what`: BEV_EVENT_ bits; `handshaking`: during the handshake. */
void net_tls_describe(struct bufferevent *bev, short what, bool handshaking, char *ret_text, size_t capacity);

/* net_listen.c */
void net_listen_stop(struct net *net);
/* Called when a stranger has become a peer or gone. */
void net_stranger_left(struct net *net);

/* net_peer.c */
void net_tune(int fd); /* a connection, before or after it is made */
enum net_result net_peer_create(struct net *net, int fd, bool accepted, struct net_peer **ret_peer);
/* Begins the handshake on a connected socket. */
void net_peer_handshake(struct net_peer *peer);
/* Marks the peer closed for the reason given; on_close follows from the event loop. The first reason stays. */
void net_peer_fail(struct net_peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Frees what belongs to libevent and OpenSSL, not the struct. Twice is harmless. */
void net_peer_dismantle(struct net_peer *peer);

#endif
