/*
 * Views as the core sees them: carries view.h's messages, and does what a new view means here: this helper is out, it
 * follows another leader, or it leads. Who leads anew knows the last epoch's seats; what else it must know (which
 * programs have ended, which are parked) its members tell it when they have connected, and only then it begins an
 * epoch.
 */
#include "node_helper/core/core_internal.h"

#include <string.h>

static void send(struct core *core, uint32_t peer, const struct wire_message *message) {
    if (peer != core->self) {
        struct wire_message copy = *message;
        emit_send(core, peer, &copy);
    }
}

static void tell_decided(struct core *core, const struct view_output *output) {
    struct wire_message message = view_decided_message(&core->view);
    for (uint32_t i = 0; i < output->former->count; i++) {
        send(core, output->former->ids[i], &message);
    }
    for (uint32_t i = 0; i < core->view.members.count; i++) {
        uint32_t id = core->view.members.ids[i], j = 0;
        while (j < output->former->count && output->former->ids[j] != id) {
            j++;
        }
        if (j == output->former->count) {
            send(core, id, &message);
        }
    }
}

static void leave(struct core *core) {
    emit_warning(core, "the step has gone on without this node: its programs are ended");
    core->leader = NULL;
    member_end(core, 0, true);
}

static void follow(struct core *core, uint32_t leader) {
    core->leader = NULL;
    core->leader_id = leader;
    core->leader_died = false;
    core->connected = false;
    core->followed_ns = 0;
    core->heartbeat_next_ns = core->now_ns + core->config.heartbeat_ns;
    emit(core, CORE_ACTION_LEADER)->peer = leader;
}

static void on_view(struct core *core) {
    uint32_t leader = view_leader(&core->view);
    for (uint32_t i = 0; i < core->view.members.count; i++) {
        uint32_t id = core->view.members.ids[i], *last_id = &core->last_ids[core_node_of(core, id)];
        *last_id = id > *last_id ? id : *last_id;
    }
    core->was_in = core->was_in || view_contains(&core->view, core->self);
    if (core->ended) {
        return;
    }
    if (core->was_in && !view_contains(&core->view, core->self)) {
        leave(core);
    } else if (leader == core->self && core->leader == NULL) {
        takeover_begin(core);
    } else if (leader > core->leader_id && leader != core->self) {
        /* Not a lesser one: that is of a view before this successor's own. */
        follow(core, leader);
    }
}

static void carry_out(struct core *core, const struct view_output *output) {
    if (output->send == VIEW_SEND_ONE) {
        send(core, output->peer, &output->message);
    } else if (output->send == VIEW_SEND_MEMBERS) {
        const struct view_members *to = output->decided ? output->former : &core->view.members;
        for (uint32_t i = 0; i < to->count; i++) {
            send(core, to->ids[i], &output->message);
        }
    }
    if (output->decided) {
        if (output->is_own) {
            tell_decided(core, output);
        }
        on_view(core);
    }
}

void succession_on_message(struct core *core, const struct wire_message *message) {
    struct view_output output;
    if (core->ended && !core->killed && message->type != WIRE_VIEW_DECIDED) {
        struct wire_message end = { .type = WIRE_END, .end = { .exit_code = core->end_code } };
        send(core, message->from, &end); /* who knows the end makes it everyone's */
        return;
    }
    view_on_message(&core->view, core->now_ns, message, &output);
    carry_out(core, &output);
}

void succession_on_tick(struct core *core) {
    struct view_output output;
    if (core->ended || core->now_ns < view_next_deadline(&core->view)) {
        return;
    }
    view_on_tick(&core->view, core->now_ns, &output);
    carry_out(core, &output);
}

uint64_t succession_next_deadline(const struct core *core) {
    return core->ended ? CORE_NEVER : view_next_deadline(&core->view);
}

/* The ids of those who live, ascending; and whether they are just the view. */
static uint32_t list_living(struct core *core, bool *ret_is_view) {
    struct leader *leader = core->leader;
    uint32_t count = 0;
    for (uint32_t i = 0; i < leader->member_count; i++) {
        if (!leader->members[i].alive) {
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && leader->view_ids[at - 1] > leader->members[i].id; at--) {
            leader->view_ids[at] = leader->view_ids[at - 1];
        }
        leader->view_ids[at] = leader->members[i].id;
    }
    *ret_is_view = count == core->view.members.count &&
                   memcmp(leader->view_ids, core->view.members.ids, count * sizeof(uint32_t)) == 0;
    return count;
}

static bool someone_strays(const struct core *core) {
    for (uint32_t i = 0; i < core->leader->member_count; i++) {
        if (core->leader->members[i].alive && core->leader->members[i].strays) {
            return true;
        }
    }
    return false;
}

bool succession_settle(struct core *core) {
    struct view_output output;
    bool is_view = false;
    if (core->leader->settled_view == core->view.number) {
        return true;
    }
    uint32_t count = list_living(core, &is_view);
    if (is_view && !someone_strays(core)) {
        core->leader->settled_view = core->view.number;
        return true;
    }
    view_propose(&core->view, core->now_ns, core->leader->view_ids, count, &output);
    carry_out(core, &output);
    if (core->leader == NULL || core->ended) {
        return false;
    }
    for (uint32_t i = 0; i < core->leader->member_count && output.decided; i++) {
        core->leader->members[i].strays = false;
    }
    (void)list_living(core, &is_view);
    return is_view;
}
