/*
 * The life of a launch: HELLOs come in, the roster goes out, the leader reports, srun goes. Every phase has an end of
 * its own: launch-timeout, the leader's word or silence, the end of descriptor 0, and a bound on staying after all
 * that.
 */
#include "step_launcher/launcher.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_BYTES_MAX (4u << 20) /* one message of the leader: a JSON object may name every host */
#define LAST_WORDS_MS 200           /* srun is gone before the result: it may be on its way */

static void set_limit_ms(struct launcher *launcher, uint64_t ms) {
    const struct timeval limit = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000 };
    (void)event_add(launcher->limit, &limit);
}

static void send_message(struct net_peer *peer, const struct wire_message *message) {
    size_t capacity = wire_message_bound(message);
    uint8_t *bytes = malloc(capacity);
    size_t count = bytes ? wire_message_encode(message, bytes, capacity) : 0;

    if (count > 0) {
        net_send(peer, bytes, count);
    }
    free(bytes);
}

static void refuse(struct net_peer *peer, const char *why) {
    struct wire_message message = { .type = WIRE_REFUSE, .from = WIRE_LAUNCHER };

    snprintf(message.end.text, sizeof(message.end.text), "%s", why);
    send_message(peer, &message);
    net_close(peer);
}

static void be_over(void *arg) {
    struct launcher *launcher = arg;

    launcher->phase = LAUNCHER_OVER;
    if (launcher->srun_is_gone) {
        (void)event_base_loopbreak(launcher->base);
        return;
    }
    set_limit_ms(launcher, LEADER_STAY_S * 1000u);
}

/* The step never begins: those that have reported are told, and srun is. */
static void fail_launch(struct launcher *launcher, const char *why) {
    snprintf(launcher->failure, sizeof(launcher->failure), "%s", why);
    launcher->has_failed = true;
    for (uint32_t i = 0; i < launcher->rollcall.node_count; i++) {
        if (launcher->rollcall.nodes[i].peer != NULL) {
            refuse(launcher->rollcall.nodes[i].peer, why);
        }
    }
    output_answer(launcher->output.plugin_fd, "fail text=%s", why);
    be_over(launcher);
}

static void send_roster(struct launcher *launcher, struct net_peer *peer, uint32_t id) {
    struct wire_message message = { .type = WIRE_ROSTER,
                                    .from = WIRE_LAUNCHER,
                                    .roster = { .your_id = id,
                                                .member_count = launcher->rollcall.node_count,
                                                .members = launcher->members,
                                                .active_nodes =
                                                    launcher->rollcall.node_count - launcher->rollcall.spare_nodes,
                                                .leader = launcher->leader.id } };
    send_message(peer, &message);
}

static void begin_step(struct launcher *launcher) {
    struct rollcall *rollcall = &launcher->rollcall;
    struct rollcall_node *first = &rollcall->nodes[rollcall_first_leader(rollcall)];
    char why[WIRE_TEXT_BYTES];

    if (!rollcall_is_even(rollcall, why, sizeof(why))) {
        fail_launch(launcher, why);
        return;
    }
    launcher->members = rollcall_members(rollcall);
    if (launcher->members == NULL || !leader_begin(&launcher->leader, launcher->base, first->peer, first->hello.host)) {
        fail_launch(launcher, "the host of srun is out of memory");
        return;
    }
    rollcall->is_complete = true;
    launcher->phase = LAUNCHER_RUNNING;
    (void)event_del(launcher->limit);
    net_set_frame_max(first->peer, REPORT_BYTES_MAX);
    /* The leader first: the others come to it at once. */
    for (uint32_t i = 0, node = rollcall_first_leader(rollcall); i < rollcall->node_count; i++) {
        send_roster(launcher, rollcall->nodes[node].peer, launcher->members[node].id);
        node = (node + 1) % rollcall->node_count;
    }
}

static void on_limit(evutil_socket_t fd, short what, void *arg) {
    struct launcher *launcher = arg;
    char missing[WIRE_TEXT_BYTES - 256], why[WIRE_TEXT_BYTES];
    uint64_t limit_ms = launcher->request.settings.launch_timeout_ms;

    (void)fd;
    (void)what;
    if (launcher->srun_is_gone || launcher->phase != LAUNCHER_COLLECTING) {
        (void)event_base_loopbreak(launcher->base);
        return;
    }
    rollcall_name_missing(&launcher->rollcall, missing, sizeof(missing));
    snprintf(why, sizeof(why),
             "%s reported within launch-timeout=%" PRIu64 "%s; if no other line says why: is ckptless.so in "
             "plugstack.conf there, and can port %u of this host be reached?",
             missing, limit_ms % 1000 ? limit_ms : limit_ms / 1000, limit_ms % 1000 ? "ms" : "s", launcher->port);
    fail_launch(launcher, why);
}

/* Nobody else is left to tell it: a helper that has been started in place of another at the very end. */
static void tell_end(const struct launcher *launcher, struct net_peer *peer) {
    struct wire_message message = { .type = WIRE_END,
                                    .from = WIRE_LAUNCHER,
                                    .end = { .exit_code = launcher->leader.exit_code, .kill = true } };
    send_message(peer, &message);
    net_close(peer);
}

/* from: the helper's id where it leads, else WIRE_NONE. */
static void on_hello(struct launcher *launcher, struct net_peer *peer, uint32_t from, const struct wire_hello *hello) {
    struct rollcall_node *node = NULL;
    struct net_peer *replaced = NULL;
    char why[WIRE_TEXT_BYTES];

    if (launcher->has_failed) {
        refuse(peer, launcher->failure);
        return;
    }
    if (launcher->leader.is_over && from == WIRE_NONE) {
        tell_end(launcher, peer);
        return;
    }
    enum rollcall_verdict verdict =
        rollcall_accept(&launcher->rollcall, hello, peer, &node, &replaced, why, sizeof(why));
    if (replaced != NULL) {
        net_set_user(replaced, NULL);
        net_close(replaced);
    }
    switch (verdict) {
    case ROLLCALL_TAKEN:
        net_set_user(peer, node);
        if (rollcall_is_full(&launcher->rollcall)) {
            begin_step(launcher);
        }
        break;
    case ROLLCALL_ROSTER:
        net_set_user(peer, node);
        launcher->members[hello->node].port = hello->port;      /* of its last helper */
        if (from != WIRE_NONE && from >= launcher->leader.id) { /* views count on, and so do their lowest members */
            net_set_frame_max(peer, REPORT_BYTES_MAX);
            leader_on_return(&launcher->leader, peer, from, hello->host);
        }
        send_roster(launcher, peer, hello->predecessor == WIRE_NONE ? launcher->members[hello->node].id : WIRE_NONE);
        break;
    case ROLLCALL_MISFIT:
        refuse(peer, why);
        fail_launch(launcher, why);
        break;
    case ROLLCALL_LEADER_DIED:
        refuse(peer, why);
        leader_lost(&launcher->leader);
        break;
    case ROLLCALL_REFUSED:
        refuse(peer, why);
        break;
    }
}

static void on_frame(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes) {
    struct launcher *launcher = arg;
    struct wire_message message;
    char why[WIRE_TEXT_BYTES], address[WIRE_NAME_BYTES];

    if (!wire_message_decode(body, bytes, &launcher->arena, &message)) {
        net_peer_address(peer, address, sizeof(address));
        snprintf(why, sizeof(why), "what the helper at %s says is not understood: another version of ckptless?",
                 address);
        refuse(peer, why);
        if (launcher->phase == LAUNCHER_COLLECTING) {
            fail_launch(launcher, why);
        }
    } else if (message.type == WIRE_HELLO && net_user(peer) == NULL) {
        on_hello(launcher, peer, message.from, &message.hello);
    } else if (net_user(peer) != NULL && peer == launcher->leader.peer) {
        leader_on_message(&launcher->leader, &message);
        if (message.type == WIRE_PING) {
            send_message(peer, &(struct wire_message){ .type = WIRE_PING, .from = WIRE_LAUNCHER });
        }
    } else {
        net_close(peer); /* it has nothing to say here */
    }
}

static void on_open(void *arg, struct net_peer *peer) {
    (void)arg;
    (void)peer; /* its HELLO follows */
}

static void on_close(void *arg, struct net_peer *peer, const char *why) {
    struct launcher *launcher = arg;
    struct rollcall_node *node = net_user(peer);

    (void)why; /* strangers and those who come again need no line */
    if (node != NULL && node->peer == peer) {
        rollcall_forget(&launcher->rollcall, node);
    }
    if (peer == launcher->leader.peer) {
        leader_on_close(&launcher->leader);
        if (launcher->srun_is_gone) {
            (void)event_base_loopbreak(launcher->base);
        }
    }
}

/* What srun still sends is of no interest; its end is. */
static void on_srun(evutil_socket_t fd, short what, void *arg) {
    struct launcher *launcher = arg;
    char scrap[256];
    ssize_t count = read(fd, scrap, sizeof(scrap));

    (void)what;
    if (count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN))) {
        return;
    }
    (void)event_del(launcher->srun);
    launcher->srun_is_gone = true;
    if (launcher->phase == LAUNCHER_RUNNING && launcher->leader.peer != NULL) {
        set_limit_ms(launcher, LAST_WORDS_MS);
    } else {
        (void)event_base_loopbreak(launcher->base);
    }
}

bool launcher_begin(struct launcher *launcher, int srun_fd, const uint8_t *secret, uint16_t *ret_port, char *ret_error,
                    size_t error_capacity) {
    static const struct net_callbacks callbacks = { .on_open = on_open, .on_frame = on_frame, .on_close = on_close };
    const struct request *request = &launcher->request;

    launcher->leader.request = request;
    launcher->leader.output = &launcher->output;
    launcher->leader.timeline = &launcher->timeline;
    launcher->leader.on_over = be_over;
    launcher->leader.arg = launcher;
    launcher->srun = event_new(launcher->base, srun_fd, EV_READ | EV_PERSIST, on_srun, launcher);
    launcher->limit = evtimer_new(launcher->base, on_limit, launcher);
    if (launcher->srun == NULL || launcher->limit == NULL || event_add(launcher->srun, NULL) != 0) {
        snprintf(ret_error, error_capacity, "ckptless-launch: descriptor 0 cannot be watched");
        return false;
    }
    enum net_result result = net_create(&launcher->net, launcher->base, secret, &callbacks, launcher);
    if (result == NET_OK) {
        result = net_listen(launcher->net, (uint16_t)request->port_min, (uint16_t)request->port_max, ret_port);
    }
    launcher->port = *ret_port;
    if (result == NET_ERR_PORT && request->port_max > 0) {
        snprintf(ret_error, error_capacity, "no free port in SrunPortRange=%u-%u", request->port_min,
                 request->port_max);
    } else if (result != NET_OK) {
        snprintf(ret_error, error_capacity, "ckptless-launch: network: %s", net_strerror(result));
    }
    set_limit_ms(launcher, request->settings.launch_timeout_ms);
    return result == NET_OK;
}

void launcher_fini(struct launcher *launcher) {
    net_destroy(launcher->net);
    leader_fini(&launcher->leader);
    if (launcher->srun != NULL) {
        event_free(launcher->srun);
    }
    if (launcher->limit != NULL) {
        event_free(launcher->limit);
    }
    wire_arena_fini(&launcher->arena);
    rollcall_fini(&launcher->rollcall);
    free(launcher->members);
}
