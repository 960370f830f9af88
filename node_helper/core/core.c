/* A core's life: create, step, deadlines, getters. Each event goes to the role that it concerns. */
#include <stdlib.h>

#include "node_helper/core/core_internal.h"
#include "node_helper/wire/wire_helper.h"

static void *zeroed(size_t count, size_t bytes) {
    return calloc(count > 0 ? count : 1, bytes);
}

static enum core_result create_leader_room(struct core *core, const struct core_config *config) {
    struct leader *leader = calloc(1, sizeof *leader);
    if (leader == NULL) {
        return CORE_ERR_NO_MEMORY;
    }
    core->leader_room = leader;
    uint32_t slots = 0;
    for (uint32_t i = 0; i < config->member_count; i++) {
        slots += config->members[i].slot_count;
    }
    leader->loss_capacity = core->rank_count + core->node_count;
    leader->members = zeroed(core->node_count, sizeof *leader->members);
    leader->slots = zeroed(slots, sizeof *leader->slots);
    leader->ranks = zeroed(core->rank_count, sizeof *leader->ranks);
    leader->losses = zeroed(leader->loss_capacity, sizeof *leader->losses);
    leader->list_a = zeroed(core->rank_count, sizeof(uint32_t));
    leader->list_b = zeroed(core->rank_count, sizeof(uint32_t));
    leader->moved = zeroed(core->rank_count, sizeof(uint32_t));
    leader->moved_seats = zeroed(core->rank_count, sizeof(struct wire_seat));
    leader->view_ids = zeroed(core->node_count, sizeof(uint32_t));
    leader->stamps = zeroed(core->node_count, sizeof(uint64_t));
    leader->trace_ranks = zeroed(core->rank_count, sizeof(uint32_t));
    leader->trace_targets = zeroed(core->rank_count, sizeof(uint32_t));
    leader->trace_slots = zeroed(core->rank_count, sizeof(uint32_t));
    if (leader->members == NULL || leader->slots == NULL || leader->ranks == NULL || leader->losses == NULL ||
        leader->list_a == NULL || leader->list_b == NULL || leader->moved == NULL || leader->moved_seats == NULL ||
        leader->view_ids == NULL || leader->stamps == NULL || leader->trace_ranks == NULL ||
        leader->trace_targets == NULL || leader->trace_slots == NULL) {
        return CORE_ERR_NO_MEMORY;
    }
    leader_reset(leader);
    leader->token_state = config->seed;
    for (uint32_t i = 0; i < config->member_count; i++) {
        const struct wire_member *from = &config->members[i];
        leader->members[i] = (struct lead_member){ .id = from->id,
                                                   .node = from->node,
                                                   .slot_count = from->slot_count,
                                                   .slot_first = leader->slot_count,
                                                   .alive = true,
                                                   .joined = from->id == core->self,
                                                   .was_spare = from->node >= config->active_nodes };
        for (uint32_t s = 0; s < from->slot_count; s++) {
            leader->slots[leader->slot_count++].rank = WIRE_NONE;
        }
    }
    leader->member_count = config->member_count;
    leader->first_node = core->first_node;
    return CORE_OK;
}

static enum core_result fill(struct core *core, const struct core_config *config) {
    core->config = *config;
    core->config.members = NULL;
    core->self = config->self;
    core->leader_id = config->leader;
    core->node_count = config->member_count;
    core->lease_end_ns = core->held_ns = CORE_NEVER;
    bool found = false;
    while (core->first_node + 1 < core->node_count && config->members[core->first_node].id % core->node_count != 0) {
        core->first_node++;
    }
    for (uint32_t i = 0; i < config->member_count; i++) {
        const struct wire_member *member = &config->members[i];
        if (member->node != i || core_node_of(core, member->id) != i) {
            return CORE_ERR_CONFIG;
        }
        if (member->node < config->active_nodes) {
            core->rank_count += member->slot_count;
        }
        if (member->id == config->self) {
            core->slot_count = member->slot_count;
            found = true;
        }
    }
    return found && core->rank_count > 0 ? CORE_OK : CORE_ERR_CONFIG;
}

static bool create_view(struct core *core, const struct core_config *config) {
    for (uint32_t i = 0; i < core->node_count; i++) {
        core->last_ids[i] = config->members[i].id;
        core->members[i] = i; /* the first view, should this helper be in it */
    }
    bool is_successor = core->self >= core->node_count;
    core->was_in = !is_successor;
    return view_init(&core->view, core->self, core->node_count, config->dead_after_ns, core->members,
                     is_successor ? 0 : core->node_count);
}

enum core_result core_create(struct core **ret_core, const struct core_config *config) {
    if (config->member_count == 0 || config->active_nodes == 0 || config->heartbeat_ns == 0) {
        return CORE_ERR_CONFIG;
    }
    struct core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return CORE_ERR_NO_MEMORY;
    }
    enum core_result result = fill(core, config);
    if (result != CORE_OK) {
        goto fail;
    }
    core->members = zeroed(core->node_count, sizeof *core->members);
    core->seats = zeroed(core->rank_count, sizeof *core->seats);
    core->slots = zeroed(core->slot_count, sizeof *core->slots);
    core->arrivals = zeroed(core->slot_count, sizeof *core->arrivals);
    core->commits = zeroed(core->slot_count, sizeof *core->commits);
    core->sources = zeroed(core->rank_count, sizeof(uint32_t));
    core->order = zeroed((size_t)core->rank_count * (core->slot_count > 0 ? core->slot_count : 1), sizeof(uint32_t));
    core->action_capacity = 64 + 12 * core->node_count + 12 * core->slot_count + 2 * core->rank_count;
    core->queue_capacity = 64 + 8 * core->slot_count;
    core->last_ids = zeroed(core->node_count, sizeof(uint32_t));
    core->queue = zeroed(core->queue_capacity, sizeof *core->queue);
    core->actions = zeroed(core->action_capacity, sizeof *core->actions);
    result = CORE_ERR_NO_MEMORY;
    if (core->arrivals == NULL || core->commits == NULL || core->members == NULL || core->seats == NULL ||
        core->slots == NULL || core->sources == NULL || core->order == NULL || core->queue == NULL ||
        core->actions == NULL || core->last_ids == NULL || !create_view(core, config)) {
        goto fail;
    }
    for (uint32_t rank = 0; rank < core->rank_count; rank++) {
        core->seats[rank].helper = WIRE_NONE;
    }
    for (uint32_t slot = 0; slot < core->slot_count; slot++) {
        core->slots[slot].rank = WIRE_NONE;
    }
    result = create_leader_room(core, config);
    if (result != CORE_OK) {
        goto fail;
    }
    core->leader = core->leader_id == core->self && core->was_in ? core->leader_room : NULL;
    *ret_core = core;
    return CORE_OK;
fail:
    core_destroy(core);
    return result;
}

void core_destroy(struct core *core) {
    if (core == NULL) {
        return;
    }
    if (core->leader_room != NULL) {
        struct leader *leader = core->leader_room;
        free(leader->members);
        free(leader->slots);
        free(leader->ranks);
        free(leader->losses);
        free(leader->list_a);
        free(leader->list_b);
        free(leader->moved);
        free(leader->moved_seats);
        free(leader->view_ids);
        free(leader->stamps);
        free(leader->trace_ranks);
        free(leader->trace_targets);
        free(leader->trace_slots);
        free(leader);
    }
    view_fini(&core->view);
    free(core->last_ids);
    free(core->members);
    free(core->seats);
    free(core->slots);
    free(core->arrivals);
    free(core->commits);
    free(core->sources);
    free(core->order);
    free(core->queue);
    free(core->actions);
    free(core);
}

static bool for_leader(enum wire_type type) {
    switch (type) {
    case WIRE_HEARTBEAT:
    case WIRE_LOSS:
    case WIRE_ARRIVED:
    case WIRE_READY:
    case WIRE_RELOADED:
    case WIRE_COMMITTED:
    case WIRE_FINISHED:
    case WIRE_ATTACHED:
    case WIRE_STAYS:
    case WIRE_SLOT:
    case WIRE_ENDING:
        return true;
    default:
        return false;
    }
}

static void dispatch_message(struct core *core, const struct wire_message *message) {
    if (message->type >= WIRE_VIEW_PREPARE && message->type <= WIRE_VIEW_DECIDED) {
        succession_on_message(core, message);
    } else if (message->type == WIRE_DEAD) {
        core->leader_died = core->leader_died || message->from == view_leader(&core->view);
        view_release(&core->view, core->now_ns, message->from);
    } else if (for_leader(message->type)) {
        if (core->leader != NULL) {
            leader_on_message(core, message);
        }
    } else if (message->type == WIRE_END && message->from != core->self && !core->ended &&
               (message->from == core->leader_id || view_contains(&core->view, message->from))) {
        core->leader = NULL; /* it has been decided without us */
        if (message->from != core->leader_id && message->epoch > core->epoch) {
            member_end(core, message->end.exit_code, true); /* in an epoch that our programs are not in */
        } else {
            member_on_message(core, message);
        }
    } else if (message->from == core->leader_id) {
        member_on_message(core, message);
    }
}

static void dispatch(struct core *core, const struct core_event *event) {
    switch (event->type) {
    case CORE_EVENT_TICK:
        break;
    case CORE_EVENT_MESSAGE:
        dispatch_message(core, event->message);
        break;
    case CORE_EVENT_PEER_OPENED:
        if (core->leader != NULL) {
            joining_on_peer_opened(core, event->peer);
        } else if (event->peer == core->leader_id) {
            core->connected = true;
            lease_begin(core);
            for (uint32_t slot = 0; slot < core->slot_count; slot++) {
                if (core->view.number > 1) {
                    member_send_slot(core, slot);
                }
                core->slots[slot].attach_told = false;
                member_report(core, slot);
            }
            member_send_ending(core);
            lease_send(core); /* last: who is heard has said everything */
        }
        break;
    case CORE_EVENT_PEER_CLOSED:
        core->connected = core->leader == NULL && event->peer == core->leader_id ? false : core->connected;
        break;
    case CORE_EVENT_SUCCESSOR:
        if (core->leader != NULL) {
            joining_on_successor(core, event);
        }
        break;
    case CORE_EVENT_ENDING:
        if (!core->is_ending) {
            core->is_ending = true;
            member_send_ending(core);
        }
        break;
    case CORE_EVENT_OUT_OF_REACH:
        core->is_out_of_reach = true;
        break;
    case CORE_EVENT_UNSETTLED:
        if (core->leader != NULL && core->leader->phase == LEAD_RUNNING) {
            leader_want_epoch(core, 0);
        }
        break;
    case CORE_EVENT_ATTACHED:
    case CORE_EVENT_STAYS:
    case CORE_EVENT_ARRIVED:
    case CORE_EVENT_PULLED:
    case CORE_EVENT_PULL_FAILED:
    case CORE_EVENT_RELOADED:
    case CORE_EVENT_COMMITTED:
    case CORE_EVENT_FINISHED:
    case CORE_EVENT_SLOT_ENDED:
        member_on_program(core, event);
        break;
    }
}

static void drain_queue(struct core *core) {
    while (core->queue_count > 0) {
        struct wire_message message = core->queue[core->queue_head];
        core->queue_head = (core->queue_head + 1) % core->queue_capacity;
        core->queue_count--;
        dispatch_message(core, &message);
    }
}

struct core_actions core_step(struct core *core, const struct core_event *event) {
    assert(event->now_ns >= core->now_ns);
    core->now_ns = event->now_ns;
    core->ticked_ns = core->has_begun ? core->ticked_ns : core->now_ns;
    core->has_begun = true;
    core->action_count = 0;
    core->arrivals_said = core->commits_said = false;
    if (core->now_ns - core->ticked_ns > core->config.dead_after_ns / 2) {
        lease_after_stall(core);
    }
    dispatch(core, event);
    member_flush(core, false);
    drain_queue(core);
    succession_on_tick(core);
    drain_queue(core);
    if (core->leader != NULL) {
        quorum_renew(core);
        leader_on_tick(core);
        leader_settle(core);
        drain_queue(core);
        member_flush(core, false); /* what our own slots have to say to the epoch that has begun */
        drain_queue(core);
    }
    if (core->leader != NULL) { /* a view without this helper may have come in between */
        ending_check(core);
        drain_queue(core);
    }
    lease_on_tick(core);
    core->ticked_ns = core->now_ns;
    return (struct core_actions){ .count = core->action_count, .list = core->actions };
}

uint64_t core_next_deadline(const struct core *core) {
    uint64_t deadline = lease_next_deadline(core), view = succession_next_deadline(core);
    deadline = view < deadline ? view : deadline;
    if (core->leader != NULL) {
        uint64_t leads = leader_next_deadline(core);
        deadline = leads < deadline ? leads : deadline;
    }
    return deadline;
}

uint32_t core_rank_count(const struct core *core) {
    return core->rank_count;
}

uint64_t core_epoch(const struct core *core) {
    return core->epoch;
}

uint32_t core_ordinal(const struct core *core) {
    return core->ordinal;
}

uint32_t core_generation(const struct core *core) {
    return core->generation;
}

bool core_is_leader(const struct core *core) {
    return core->leader != NULL;
}

uint32_t core_leader(const struct core *core) {
    return core->leader_id;
}

uint32_t core_node_of(const struct core *core, uint32_t helper) {
    return helper == WIRE_NONE ? WIRE_NONE : wire_helper_node(helper, core->node_count, core->first_node);
}

struct core_seat_info core_seat(const struct core *core, uint32_t rank) {
    assert(rank < core->rank_count);
    const struct wire_seat *seat = &core->seats[rank];
    return (struct core_seat_info){ .helper = seat->helper,
                                    .node = core_node_of(core, seat->helper),
                                    .slot = seat->slot,
                                    .incarnation = seat->incarnation,
                                    .starts = seat->starts };
}

uint32_t core_slot_rank(const struct core *core, uint32_t slot) {
    return slot < core->slot_count ? core->slots[slot].rank : WIRE_NONE;
}

uint32_t core_view(const struct core *core, uint32_t *ret_number, const uint32_t **ret_ids) {
    *ret_number = core->view.number;
    *ret_ids = core->view.members.ids;
    return core->view.members.count;
}

uint32_t core_members(const struct core *core, const uint32_t **ret_ids) {
    *ret_ids = core->members;
    return core->view_count;
}
