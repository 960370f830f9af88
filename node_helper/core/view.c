/* Views: see view.h. The acceptor's part comes first, then the proposer's. */
#include "node_helper/core/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

static uint32_t find(const struct view_members *members, uint32_t id) {
    uint32_t i = 0;
    while (i < members->count && members->ids[i] != id) {
        i++;
    }
    return i < members->count ? i : WIRE_NONE;
}

static void set_members(struct view_members *members, const uint32_t *ids, uint32_t count, uint32_t capacity) {
    assert(count <= capacity);
    members->count = count;
    if (count > 0) {
        memmove(members->ids, ids, count * sizeof(*ids));
    }
}

bool view_init(struct view *view, uint32_t self, uint32_t capacity, uint64_t dead_after_ns, const uint32_t *ids,
               uint32_t count) {
    *view = (struct view){ .self = self, .capacity = capacity, .dead_after_ns = dead_after_ns, .retry_ns = NEVER };
    view->members.ids = calloc(capacity, sizeof(*ids));
    view->accepted_members.ids = calloc(capacity, sizeof(*ids));
    view->wish.ids = calloc(capacity, sizeof(*ids));
    view->proposed.ids = calloc(capacity, sizeof(*ids));
    view->former.ids = calloc(capacity, sizeof(*ids));
    view->answers = calloc(capacity, sizeof(*view->answers));
    if (view->members.ids == NULL || view->accepted_members.ids == NULL || view->wish.ids == NULL ||
        view->proposed.ids == NULL || view->former.ids == NULL || view->answers == NULL) {
        view_fini(view);
        return false;
    }
    set_members(&view->members, ids, count, capacity);
    view->number = count > 0 ? 1 : 0;
    view->bound_ns = NEVER; /* until the leader has been heard for the first time */
    return true;
}

void view_fini(struct view *view) {
    free(view->members.ids);
    free(view->accepted_members.ids);
    free(view->wish.ids);
    free(view->proposed.ids);
    free(view->former.ids);
    free(view->answers);
    *view = (struct view){ 0 };
}

static void copy_members(struct view_members *to, const struct view_members *from, uint32_t capacity) {
    set_members(to, from->ids, from->count, capacity);
}

uint32_t view_leader(const struct view *view) {
    return view->members.count > 0 ? view->members.ids[0] : WIRE_NONE;
}

bool view_contains(const struct view *view, uint32_t id) {
    return find(&view->members, id) != WIRE_NONE;
}

bool view_is_quorum(const struct view *view, const bool *flags) {
    uint32_t count = 0, all = view->members.count;
    for (uint32_t i = 0; i < all; i++) {
        count += flags[i];
    }
    return 2 * count > all || (2 * count == all && count > 0 && flags[0]);
}

/* ---- messages */

static struct wire_message make(const struct view *view, enum wire_type type, uint64_t ballot) {
    return (struct wire_message){ .type = type,
                                  .from = view->self,
                                  .view = { .number = view->number + 1, .ballot = ballot } };
}

static void put_members(struct wire_message *message, const struct view_members *members) {
    message->view.member_count = members->count;
    message->view.members = members->ids;
}

struct wire_message view_decided_message(const struct view *view) {
    struct wire_message message = make(view, WIRE_VIEW_DECIDED, VIEW_BALLOT_NONE);
    message.view.number = view->number;
    put_members(&message, &view->members);
    return message;
}

static void send_one(struct view_output *output, uint32_t peer, const struct wire_message *message) {
    output->send = VIEW_SEND_ONE;
    output->peer = peer;
    output->message = *message;
}

static void send_members(struct view_output *output, const struct wire_message *message) {
    output->send = VIEW_SEND_MEMBERS;
    output->message = *message;
}

/* ---- a decision */

static void adopt(struct view *view, uint64_t now_ns, uint32_t number, const struct view_members *members,
                  struct view_output *output) {
    copy_members(&view->former, &view->members, view->capacity);
    copy_members(&view->members, members, view->capacity);
    view->number = number;
    view->promised = view->accepted = view->floor = VIEW_BALLOT_NONE;
    view->stage = VIEW_IDLE;
    view->retry_ns = NEVER;
    view->attempts = 0;
    view->highest = VIEW_BALLOT_NONE;
    view->bound_ns = now_ns + view->dead_after_ns; /* time for the new leader */
    view->yield_ns = 0;
    output->decided = true;
    output->former = &view->former;
}

/* ---- the acceptor */

/* Another proposer is at work, and has outbid this one: it gets some time before this one tries its own luck again. */
static void give_way(struct view *view, uint64_t now_ns, uint32_t proposer) {
    if (proposer != view->self) {
        view->stage = VIEW_IDLE;
        view->retry_ns = NEVER;
        view->yield_ns = now_ns + view->dead_after_ns / 2;
    }
}

static uint64_t quiet_until_ns(const struct view *view) {
    return view->yield_ns > view->patience_ns ? view->yield_ns : view->patience_ns;
}

/* Whether a proposer other than the leader is to be heard at all yet. */
static bool is_bound(const struct view *view, uint64_t now_ns, uint32_t from) {
    return from != view_leader(view) && (view_leader(view) == view->self || now_ns < view->bound_ns);
}

static void refuse(const struct view *view, uint64_t now_ns, uint32_t peer, uint64_t ballot,
                   struct view_output *output) {
    struct wire_message message = make(view, WIRE_VIEW_REFUSE, ballot);
    message.view.accepted = view->promised;
    if (is_bound(view, now_ns, peer) && view->bound_ns > now_ns && view->bound_ns != NEVER) {
        message.view.wait_ns = view->bound_ns - now_ns;
    }
    send_one(output, peer, &message);
}

static void on_prepare(struct view *view, uint64_t now_ns, const struct wire_message *message,
                       struct view_output *output) {
    uint64_t ballot = message->view.ballot;
    view->highest = ballot > view->highest ? ballot : view->highest;
    if (is_bound(view, now_ns, message->from) || ballot < view->promised) {
        refuse(view, now_ns, message->from, ballot, output);
        return;
    }
    view->promised = ballot;
    view->floor = message->from == view->self ? view->floor : ballot;
    give_way(view, now_ns, message->from);
    struct wire_message promise = make(view, WIRE_VIEW_PROMISE, ballot);
    promise.view.accepted = view->accepted;
    if (view->accepted != VIEW_BALLOT_NONE) {
        put_members(&promise, &view->accepted_members);
    }
    send_one(output, message->from, &promise);
}

static void on_accept(struct view *view, uint64_t now_ns, const struct wire_message *message,
                      struct view_output *output) {
    uint64_t ballot = message->view.ballot;
    if (is_bound(view, now_ns, message->from) || ballot < view->promised) {
        refuse(view, now_ns, message->from, ballot, output);
        return;
    }
    view->promised = view->accepted = view->floor = ballot;
    give_way(view, now_ns, message->from);
    set_members(&view->accepted_members, message->view.members, message->view.member_count, view->capacity);
    struct wire_message accepted = make(view, WIRE_VIEW_ACCEPTED, ballot);
    send_one(output, message->from, &accepted);
}

bool view_follow(struct view *view, uint64_t now_ns) {
    /* The leader lives: nobody will ever hear of this ballot again. */
    if (view->stage == VIEW_PREPARING && view->floor <= VIEW_BALLOT_LEADER) {
        view->stage = VIEW_IDLE;
        view->retry_ns = NEVER;
        view->promised = view->floor;
    }
    if (view->promised > VIEW_BALLOT_LEADER) {
        return false;
    }
    view->bound_ns = now_ns + view->dead_after_ns;
    return true;
}

void view_be_patient(struct view *view, uint64_t until_ns) {
    view->patience_ns = view->patience_ns > until_ns ? view->patience_ns : until_ns;
}

void view_release(struct view *view, uint64_t now_ns, uint32_t id) {
    if (id == view_leader(view) && id != view->self && now_ns < view->bound_ns) {
        view->bound_ns = now_ns;
    }
}

/* ---- the proposer */

static void begin_stage(struct view *view, uint64_t now_ns, enum view_stage stage) {
    view->stage = stage;
    view->retry_ns = now_ns + view->dead_after_ns / 4;
    memset(view->answers, 0, view->capacity * sizeof(*view->answers));
}

/* Own acceptor, without a message. False: it has promised more to someone else. */
static bool ask_self(struct view *view, uint64_t now_ns) {
    struct view_output own = { 0 };
    bool prepares = view->stage == VIEW_PREPARING;
    struct wire_message message = make(view, prepares ? WIRE_VIEW_PREPARE : WIRE_VIEW_ACCEPT, view->ballot);
    if (prepares) {
        on_prepare(view, now_ns, &message, &own);
        return own.message.type == WIRE_VIEW_PROMISE;
    }
    put_members(&message, &view->proposed);
    on_accept(view, now_ns, &message, &own);
    return own.message.type == WIRE_VIEW_ACCEPTED;
}

/* Oneself comes last: while nobody else has accepted it, a proposal can still be given up for a better one. */
static void decide_if_quorum(struct view *view, uint64_t now_ns, struct view_output *output) {
    uint32_t at = find(&view->members, view->self);
    view->answers[at] = true;
    bool is_quorum = view_is_quorum(view, view->answers);
    if (is_quorum && ask_self(view, now_ns)) {
        output->is_own = true;
        adopt(view, now_ns, view->number + 1, &view->proposed, output);
    }
}

static void send_accept(struct view *view, uint64_t now_ns, struct view_output *output) {
    begin_stage(view, now_ns, VIEW_PROPOSING);
    view->floor = view->ballot > view->floor ? view->ballot : view->floor; /* others may accept it: no way back */
    struct wire_message message = make(view, WIRE_VIEW_ACCEPT, view->ballot);
    put_members(&message, &view->proposed);
    send_members(output, &message);
    decide_if_quorum(view, now_ns, output);
}

static void prepared_if_quorum(struct view *view, uint64_t now_ns, struct view_output *output) {
    if (!view_is_quorum(view, view->answers)) {
        return;
    }
    if (view->best == VIEW_BALLOT_NONE) {
        copy_members(&view->proposed, &view->wish, view->capacity);
    }
    send_accept(view, now_ns, output);
}

static void prepare(struct view *view, uint64_t now_ns, struct view_output *output) {
    uint64_t round = (view->promised > view->highest ? view->promised : view->highest) >> 32;
    view->ballot = (round + 1) << 32 | view->self;
    view->highest = view->ballot;
    view->best = VIEW_BALLOT_NONE;
    begin_stage(view, now_ns, VIEW_PREPARING);
    view->answers[find(&view->members, view->self)] = ask_self(view, now_ns);
    if (view->accepted != VIEW_BALLOT_NONE) {
        view->best = view->accepted;
        copy_members(&view->proposed, &view->accepted_members, view->capacity);
    }
    struct wire_message message = make(view, WIRE_VIEW_PREPARE, view->ballot);
    send_members(output, &message);
    prepared_if_quorum(view, now_ns, output);
}

void view_propose(struct view *view, uint64_t now_ns, const uint32_t *ids, uint32_t count,
                  struct view_output *ret_output) {
    *ret_output = (struct view_output){ .peer = WIRE_NONE };
    set_members(&view->wish, ids, count, view->capacity);
    if (view->stage != VIEW_IDLE || now_ns < quiet_until_ns(view) || !view_contains(view, view->self)) {
        return;
    }
    if (view_leader(view) == view->self && view->promised <= VIEW_BALLOT_LEADER && view->attempts == 0) {
        view->ballot = VIEW_BALLOT_LEADER;
        view->attempts = 1;
        copy_members(&view->proposed, &view->wish, view->capacity);
        send_accept(view, now_ns, ret_output);
    } else {
        prepare(view, now_ns, ret_output);
    }
}

static void on_answer(struct view *view, uint64_t now_ns, const struct wire_message *message,
                      struct view_output *output) {
    bool is_promise = message->type == WIRE_VIEW_PROMISE;
    uint32_t at = find(&view->members, message->from);
    if (at == WIRE_NONE || message->view.ballot != view->ballot ||
        view->stage != (is_promise ? VIEW_PREPARING : VIEW_PROPOSING)) {
        return;
    }
    view->answers[at] = true;
    if (!is_promise) {
        decide_if_quorum(view, now_ns, output);
        return;
    }
    if (message->view.accepted > view->best) {
        view->best = message->view.accepted;
        set_members(&view->proposed, message->view.members, message->view.member_count, view->capacity);
    }
    prepared_if_quorum(view, now_ns, output);
}

static void on_refuse(struct view *view, uint64_t now_ns, const struct wire_message *message) {
    uint32_t at = find(&view->members, message->from);
    if (at == WIRE_NONE || message->view.ballot != view->ballot || view->stage == VIEW_IDLE) {
        return;
    }
    view->highest = message->view.accepted > view->highest ? message->view.accepted : view->highest;
    if (message->from == view_leader(view)) { /* it lives: what is to be decided is its business */
        give_way(view, now_ns, message->from);
        return;
    }
    uint64_t wait_ns = message->view.wait_ns;
    if (wait_ns > 0 && wait_ns < NEVER - now_ns && now_ns + wait_ns < view->retry_ns) {
        view->retry_ns = now_ns + wait_ns; /* it is bound to the leader for so long */
    }
}

/* Proposers that get into each other's way part: the higher the place in the view, the later. */
static uint64_t pause_ns(const struct view *view) {
    uint32_t at = find(&view->members, view->self);
    return (at == WIRE_NONE ? 1 : at) * (view->dead_after_ns / 20);
}

static void try_again(struct view *view, uint64_t now_ns, struct view_output *output) {
    view->attempts++;
    bool was_outbid = view->highest > view->ballot;
    prepare(view, now_ns, output);
    if (was_outbid) {
        view->retry_ns += pause_ns(view);
    }
}

/* Not the leader; the one behind it first. */
static uint64_t candidacy_ns(const struct view *view) {
    uint32_t at = find(&view->members, view->self);
    if (at == WIRE_NONE || at == 0 || view->bound_ns == NEVER) {
        return NEVER;
    }
    uint64_t quiet_ns = quiet_until_ns(view);
    uint64_t first_ns = view->bound_ns > quiet_ns ? view->bound_ns : quiet_ns;
    return first_ns + (at - 1) * (view->dead_after_ns / 10);
}

void view_on_tick(struct view *view, uint64_t now_ns, struct view_output *ret_output) {
    *ret_output = (struct view_output){ .peer = WIRE_NONE };
    if (view->stage != VIEW_IDLE) {
        if (now_ns >= view->retry_ns) {
            try_again(view, now_ns, ret_output);
        }
    } else if (now_ns >= candidacy_ns(view)) {
        /* All but the leader. Who else is silent the next one finds out: too early to tell after a moment. */
        set_members(&view->wish, view->members.ids + 1, view->members.count - 1, view->capacity);
        prepare(view, now_ns, ret_output);
    }
}

uint64_t view_next_deadline(const struct view *view) {
    return view->stage != VIEW_IDLE ? view->retry_ns : candidacy_ns(view);
}

void view_on_message(struct view *view, uint64_t now_ns, const struct wire_message *message,
                     struct view_output *ret_output) {
    const struct wire_view *said = &message->view;
    *ret_output = (struct view_output){ .peer = WIRE_NONE };
    if (said->member_count > view->capacity) {
        return;
    }
    if (message->type == WIRE_VIEW_DECIDED) {
        if (said->number > view->number && said->member_count > 0) {
            struct view_members members = { .count = said->member_count, .ids = (uint32_t *)(uintptr_t)said->members };
            adopt(view, now_ns, said->number, &members, ret_output);
        }
        return;
    }
    if (said->number <= view->number) { /* it has not heard */
        struct wire_message decided = view_decided_message(view);
        send_one(ret_output, message->from, &decided);
        return;
    }
    if (said->number > view->number + 1 &&
        message->type != WIRE_VIEW_REFUSE) { /* we have not: the answer is VIEW_DECIDED */
        struct wire_message behind = make(view, WIRE_VIEW_REFUSE, said->ballot);
        send_one(ret_output, message->from, &behind);
        return;
    }
    if (said->number != view->number + 1 || !view_contains(view, view->self) || !view_contains(view, message->from)) {
        return;
    }
    if (message->type == WIRE_VIEW_PREPARE) {
        on_prepare(view, now_ns, message, ret_output);
    } else if (message->type == WIRE_VIEW_ACCEPT && said->member_count > 0) {
        on_accept(view, now_ns, message, ret_output);
    } else if (message->type == WIRE_VIEW_PROMISE || message->type == WIRE_VIEW_ACCEPTED) {
        on_answer(view, now_ns, message, ret_output);
    } else if (message->type == WIRE_VIEW_REFUSE) {
        on_refuse(view, now_ns, message);
    }
}
