/*
 * How long the leader may lead. Each answer to a heartbeat carries the leader's clock; a member that follows it is
 * bound to it for dead-after from then on (view.h), and echoes that stamp in its next heartbeat. So what a quorum has
 * echoed, plus dead-after, is a time before which no other leader can come up. A leader grants no lease beyond it, and
 * its own programs have theirs by the same measure.
 */
#include "node_helper/core/core_internal.h"

#define PAUSE_NS_PER_MEMBER 500u /* looking at all of them takes a hundredth of that */
#define ECHOES_PART 16u          /* so many a round, while there is little time left */

void quorum_on_heartbeat(struct leader *leader, struct lead_member *member, const struct wire_heartbeat *heartbeat) {
    member->strays = heartbeat->leader_ns == WIRE_NOT_FOLLOWING;
    leader->settled_view = member->strays ? 0 : leader->settled_view;
    leader->echoes++;
    if (!member->strays && heartbeat->leader_ns > member->echo_ns) {
        member->echo_ns = heartbeat->leader_ns;
    }
}

/* The k-th largest, k from 1; the array is reordered. */
static uint64_t kth_largest(uint64_t *values, uint32_t count, uint32_t k) {
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        uint64_t pivot = values[low + (high - low) / 2];
        uint32_t greater = low, at = low, less = high;
        while (at < less) {
            uint64_t value = values[at];
            uint32_t to = value > pivot ? greater++ : value < pivot ? --less : at;
            values[at] = values[to];
            values[to] = value;
            at += value >= pivot;
        }
        if (k - 1 < greater) {
            high = greater;
        } else if (k - 1 >= less) {
            low = less;
        } else {
            return pivot;
        }
    }
    return values[low];
}

/* The stamp that a quorum has echoed; the leader itself, the lowest, is one of it. CORE_NEVER: it is enough alone. */
static uint64_t echoed_ns(struct core *core) {
    struct leader *leader = core->leader;
    uint32_t count = 0, wanted = (core->view.members.count + 1) / 2 - 1;
    if (wanted == 0) {
        return CORE_NEVER;
    }
    for (uint32_t i = 1; i < core->view.members.count; i++) {
        const struct lead_member *member = leader_member(leader, core->view.members.ids[i]);
        leader->stamps[count++] = member != NULL ? member->echo_ns : 0;
    }
    return kth_largest(leader->stamps, count, wanted);
}

void quorum_renew(struct core *core) {
    struct leader *leader = core->leader;
    uint64_t dead_after_ns = core->config.dead_after_ns;
    bool is_short = leader->quorum_end_ns < core->now_ns + dead_after_ns / 2;
    bool is_worth_it = is_short && leader->echoes > core->view.members.count / ECHOES_PART;
    if (core->now_ns < leader->renew_ns && !is_worth_it) {
        return;
    }
    leader->echoes = 0;
    leader->renew_ns = core->now_ns + (uint64_t)core->view.members.count * PAUSE_NS_PER_MEMBER;
    uint64_t stamp_ns = echoed_ns(core);
    if (stamp_ns == CORE_NEVER) {
        leader->quorum_end_ns = CORE_NEVER;
        lease_renew(core, CORE_NEVER);
    } else if (stamp_ns != 0) {
        leader->quorum_end_ns = stamp_ns + dead_after_ns - dead_after_ns / 50; /* clocks may drift by 2 % */
        lease_renew(core, stamp_ns + dead_after_ns / 5 * 4);
    } else if (leader->quorum_end_ns == CORE_NEVER) {
        /* It was enough alone until this view, whose others are bound anew. */
        leader->quorum_end_ns = core->now_ns + dead_after_ns - dead_after_ns / 50;
        lease_renew(core, core->now_ns + dead_after_ns / 5 * 4);
    }
}

bool quorum_leads(const struct core *core) {
    return core->now_ns < core->leader->quorum_end_ns;
}

uint64_t quorum_lease_ns(const struct core *core) {
    uint64_t end_ns = core->leader->quorum_end_ns, lease_ns = core->config.dead_after_ns / 5 * 4;
    uint64_t left_ns = end_ns > core->now_ns ? end_ns - core->now_ns : 0;
    return left_ns < lease_ns ? left_ns : lease_ns;
}
