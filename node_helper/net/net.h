/*
 * Authenticated connections between helpers and ckptless-launch: TLS 1.3 with the step secret as external PSK over TCP,
 * on libevent (bufferevent_openssl), carrying frames (u32 little-endian length, body). A peer that does not complete
 * the handshake within the deadline, or sends a frame above the bound, is closed and costs nothing more. Knows nothing
 * of what frames mean. One thread: that of the event base. net_create ignores SIGPIPE if nobody has set it.
 */
#ifndef CKPTLESS_NET_H
#define CKPTLESS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct net;
struct net_peer; /* a connection; owned by the net until on_close has returned */

enum net_result { NET_OK = 0, NET_ERR_SYSTEM, NET_ERR_NO_MEMORY, NET_ERR_TLS, NET_ERR_PORT };

struct net_callbacks {
    void (*on_open)(void *arg, struct net_peer *peer); /* handshake done: both ends know the secret */
    void (*on_frame)(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes); /* borrowed */
    void (*on_close)(void *arg, struct net_peer *peer, const char *why); /* once; also for a peer that never opened:
                                                                           a connect that failed, a stranger */
};

/* secret: 32 bytes, copied (and wiped by destroy). */
enum net_result net_create(struct net **ret_net, struct event_base *base, const uint8_t *secret,
                           const struct net_callbacks *callbacks, void *arg) __attribute__((warn_unused_result));
/* Closes everything without callbacks. NULL is allowed. */
void net_destroy(struct net *net);

/* Listens on all addresses, IPv4 and IPv6, on the first free port of [port_min, port_max] (0, 0: any). */
enum net_result net_listen(struct net *net, uint16_t port_min, uint16_t port_max, uint16_t *ret_port)
    __attribute__((warn_unused_result));
/* Starts to connect to a numeric address; the outcome comes as on_open or on_close. */
enum net_result net_connect(struct net *net, const char *address, uint16_t port, struct net_peer **ret_peer)
    __attribute__((warn_unused_result));

/* Queues one frame; before on_open it waits for it. When the frame is above WIRE_FRAME_BYTES_MAX, or more than 64 MiB
 * are queued already, the peer is closed instead: on_close follows from the event loop. */
void net_send(struct net_peer *peer, const uint8_t *body, size_t bytes);
/* Closes after what is queued has been handed to the kernel (or 5 s later); no frame is delivered any more; on_close
 * follows from the event loop. */
void net_close(struct net_peer *peer);
/* Frames above the bound close the peer. Default: WIRE_HELLO_BYTES_MAX. */
void net_set_frame_max(struct net_peer *peer, size_t bytes);
void net_set_user(struct net_peer *peer, void *user);
void *net_user(const struct net_peer *peer);
/* Numeric address of the other end. */
void net_peer_address(const struct net_peer *peer, char *ret_text, size_t capacity);
const char *net_strerror(enum net_result result);

#endif
