/*
 * The helpers' own code with a secret that is not the step's: a HELLO, a JOIN or a VISIT is ready to be sent as soon as
 * somebody lets it in.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/net/net.h"
#include "node_helper/wire/wire_message.h"
#include "tests/programs/stranger.h"

#define PAUSE_MS 5

struct knock {
    struct net *net;
    struct event_base *base;
    struct event *again;
    int target_count;
    char **targets;
    uint64_t tried_count, refused_count, opened_count;
};

static void on_open(void *arg, struct net_peer *peer) {
    struct knock *knock = arg;
    (void)peer;
    knock->opened_count++;
}

static void on_frame(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes) {
    (void)arg;
    (void)peer;
    (void)body;
    (void)bytes;
}

static void on_close(void *arg, struct net_peer *peer, const char *why) {
    struct knock *knock = arg;
    (void)peer;
    knock->refused_count += strstr(why, "wrong secret") != NULL;
}

static void send_first(struct net_peer *peer, enum wire_type type) {
    struct wire_message message = { .type = type, .from = 1, .hello = { .node_count = 5, .slot_count = 1 } };
    uint8_t bytes[4096];
    size_t count = wire_message_encode(&message, bytes, sizeof(bytes));
    if (count > 0) {
        net_send(peer, bytes, count);
    }
}

static void on_again(evutil_socket_t fd, short what, void *arg) {
    static const enum wire_type types[] = { WIRE_HELLO, WIRE_JOIN, WIRE_VISIT };
    const struct timeval pause = { 0, PAUSE_MS * 1000 };
    struct knock *knock = arg;
    (void)fd;
    (void)what;
    if (stranger_is_over) {
        (void)event_base_loopbreak(knock->base);
        return;
    }
    for (int i = 0; i < knock->target_count; i++) {
        char host[64];
        struct net_peer *peer;
        const char *colon = strrchr(knock->targets[i], ':');
        snprintf(host, sizeof(host), "%.*s", (int)(colon - knock->targets[i]), knock->targets[i]);
        if (net_connect(knock->net, host, (uint16_t)atoi(colon + 1), &peer) == NET_OK) {
            send_first(peer, types[knock->tried_count % 3]);
            knock->tried_count++;
        }
    }
    (void)event_add(knock->again, &pause);
}

int stranger_knock(int argc, char **argv) {
    static const uint8_t secret[32] = "some other secret, 32 bytes long";
    static const struct net_callbacks callbacks = { .on_open = on_open, .on_frame = on_frame, .on_close = on_close };
    struct knock knock = { .target_count = argc, .targets = argv, .base = event_base_new() };

    for (int i = 0; i < argc; i++) {
        (void)stranger_address(argv[i]);
    }
    if (knock.base == NULL || net_create(&knock.net, knock.base, secret, &callbacks, &knock) != NET_OK) {
        return 1;
    }
    knock.again = evtimer_new(knock.base, on_again, &knock);
    stranger_ready();
    on_again(-1, 0, &knock);
    (void)event_base_dispatch(knock.base);
    printf("knock: %llu tried, %llu refused for the secret, %llu let in\n", (unsigned long long)knock.tried_count,
           (unsigned long long)knock.refused_count, (unsigned long long)knock.opened_count);
    net_destroy(knock.net);
    event_free(knock.again);
    event_base_free(knock.base);
    return 0;
}
