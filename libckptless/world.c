/*
 * The world: who am I among how many. Inside a step it comes with the answers to INIT and RECOVER, and the environment
 * follows it; outside, ordinary.c makes it from the environment.
 */
#include <stdlib.h>
#include <string.h>

#include "libckptless/context.h"
#include "libckptless/environment.h"
#include "libckptless/say.h"
#include "libckptless/world.h"

_Static_assert(CKPTLESS_ADDR_BYTES_MAX >= WIRE_NAME_BYTES, "an address of the wire fits the public struct");

static bool makes_sense(const struct wire_rpc_answer *answer) {
    return answer->size >= 1 && answer->size <= WIRE_RANKS_MAX && answer->rank < answer->size &&
           answer->local_rank < answer->local_size && answer->local_size <= answer->size &&
           answer->node < answer->nodes && answer->nodes <= answer->size;
}

enum ckptless_result world_enter(struct ckptless *ctx, const char *call, const struct wire_rpc_answer *answer) {
    if (!makes_sense(answer)) {
        say_line(ctx, "%s: ckptlessd describes no possible world: rank %u of %u, %u of %u on node %u of %u", call,
                 answer->rank, answer->size, answer->local_rank, answer->local_size, answer->node, answer->nodes);
        return CKPTLESS_ERR_HELPER;
    }
    struct ckptless_world *world = &ctx->world;
    world->rank = (int)answer->rank;
    world->size = (int)answer->size;
    world->local_rank = (int)answer->local_rank;
    world->local_size = (int)answer->local_size;
    world->node = (int)answer->node;
    world->nodes = (int)answer->nodes;
    world->epoch = answer->ordinal;
    world->incarnation = answer->incarnation;
    world->master_port = answer->master_port;
    memcpy(world->master_addr, answer->master_addr, WIRE_NAME_BYTES);
    if (!environment_apply(answer->environment, answer->environment_bytes)) {
        say_line(ctx, "%s: no memory for the rank's environment variables", call);
        return CKPTLESS_ERR_NO_MEMORY;
    }
    if (answer->epoch != 0) {
        atomic_store(&ctx->epoch, answer->epoch);
        interrupt_enter(ctx->interrupt, answer->epoch, answer->ordinal);
    }
    return CKPTLESS_OK;
}

void ckptless_get_world(const struct ckptless *ctx, struct ckptless_world *ret_world) {
    if (!ctx || !ret_world) {
        say_line(ctx, "ckptless_get_world: %s is NULL", ctx ? "ret_world" : "ctx");
        return;
    }
    size_t given = ret_world->struct_size;
    if (given < offsetof(struct ckptless_world, local_rank) || given > (size_t)1 << 20) {
        say_line(ctx, "ckptless_get_world: struct_size is %zu; set the struct up with CKPTLESS_WORLD_INIT", given);
        return;
    }
    size_t known = given < sizeof(*ret_world) ? given : sizeof(*ret_world);
    memset(ret_world, 0, given);
    memcpy(ret_world, &ctx->world, known);
    ret_world->struct_size = given;
}
