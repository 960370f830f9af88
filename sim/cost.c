/*
 * What one recovery of thousands of nodes costs: a rank's process dies, everything else is calm. Messages and bytes are
 * those that the codec makes; the leader's time is that of its core's steps, as measured here, and of one TLS record a
 * message, as measured here too. A helper that works lets the next message wait, so the latency has both in it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

#define TLS_BYTES 22u /* of a record: header, type, tag */
#define FRAME_BYTES 4u
#define RECORD_BYTES 16384u
#define SMALL_BYTES 64u
#define START_NS (3000 * SIM_MS)
#define RECOVERY_NS (20000 * SIM_MS)
#define COMMIT_NS (1000 * SIM_MS) /* after GO: the commits are told */

static double record_ns(double small_ns, double full_ns, size_t bytes) {
    double by_byte_ns = (full_ns - small_ns) / (RECORD_BYTES - SMALL_BYTES);
    double records = (double)((bytes + RECORD_BYTES - 1) / RECORD_BYTES);
    return records * (small_ns - SMALL_BYTES * by_byte_ns) + (double)bytes * by_byte_ns;
}

static uint64_t work(struct sim *sim, uint32_t node, double ns) {
    uint64_t *busy_ns = &sim->meter->busy_ns[node];
    *busy_ns = (*busy_ns > sim->now_ns ? *busy_ns : sim->now_ns) + (uint64_t)ns;
    return *busy_ns;
}

static void count(struct sim *sim, uint32_t node, size_t bytes, double ns) {
    sim->meter->traffic[node].bytes += bytes + FRAME_BYTES + TLS_BYTES;
    sim->meter->record_ns += node == sim->meter->leader ? ns : 0;
}

uint64_t meter_on_send(struct sim *sim, uint32_t from, uint32_t to, enum wire_type type, size_t bytes) {
    struct sim_meter *meter = sim->meter;
    double ns = record_ns(meter->records[0].send_ns, meter->records[1].send_ns, bytes + FRAME_BYTES);
    meter->sent_to_leader += to == meter->leader;
    meter->type_counts[type]++;
    meter->traffic[from].messages_out++;
    count(sim, from, bytes, ns);
    return work(sim, from, ns);
}

void meter_on_arrival(struct sim *sim, uint32_t node, size_t bytes) {
    struct sim_meter *meter = sim->meter;
    double ns = record_ns(meter->records[0].receive_ns, meter->records[1].receive_ns, bytes + FRAME_BYTES);
    meter->traffic[node].messages_in++;
    count(sim, node, bytes, ns);
    (void)work(sim, node, ns);
}

void meter_on_step(struct sim *sim, uint32_t node, double step_ns) {
    sim->meter->step_ns += node == sim->meter->leader ? step_ns : 0;
    (void)work(sim, node, step_ns);
}

static void print_traffic(const struct sim *sim) {
    const struct sim_meter *meter = sim->meter;
    const struct sim_traffic *leader = &meter->traffic[meter->leader];
    uint64_t most = 0, messages = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        most = meter->traffic[i].bytes > most && i != meter->leader ? meter->traffic[i].bytes : most;
        messages += meter->traffic[i].messages_out;
    }
    printf("messages: %llu (%.2f a node):", (unsigned long long)messages, (double)messages / sim->node_count);
    for (uint32_t type = 0; type < WIRE_TYPE_COUNT; type++) {
        if (meter->type_counts[type] > 0) {
            printf(" %s %llu", wire_type_name((enum wire_type)type), (unsigned long long)meter->type_counts[type]);
        }
    }
    printf("\nthrough the leader: %llu in, %llu out, %.2f MB with TLS; through any other helper at most %.3f MB\n",
           (unsigned long long)leader->messages_in, (unsigned long long)leader->messages_out,
           (double)leader->bytes / 1e6, (double)most / 1e6);
}

/* From the death to the last rank's answer; 0: it has not come to that. */
static double recover_one(struct sim *sim) {
    uint32_t node = 0, rank = sim->rank_count / 2;
    const struct sim_program *program = program_of_rank(sim, rank, &node);
    uint64_t before = sim->resumed_epoch, begin_ns = sim->now_ns;
    if (program == NULL || sim->failure != NULL) {
        return 0;
    }
    program_dies(sim, node, rank % sim->slot_count, WIRE_CAUSE_SIGNAL, 9);
    while (sim_advance(sim, begin_ns + RECOVERY_NS) &&
           (sim->resumed_epoch == before || sim->resumed_count < sim->rank_count)) {
    }
    double took_ms = (double)(sim->now_ns - begin_ns) / 1e6;
    bool has_resumed = sim->resumed_epoch != before && sim->resumed_count == sim->rank_count;
    return has_resumed && sim->failure == NULL ? took_ms : 0;
}

static int report(struct sim *sim, struct sim_meter *meter) {
    while (sim_advance(sim, sim->start_ns + START_NS)) {
    }
    sim->meter = meter;
    double took_ms = recover_one(sim);
    if (took_ms == 0) {
        printf("the recovery did not end: %s\n", sim->failure != NULL ? sim->failure : "no reason known");
        return 1;
    }
    printf("until all have GO: %.1f ms at 50 us a message, no time for the program's own part\n", took_ms);
    uint64_t until_ns = sim->now_ns + COMMIT_NS;
    while ((meter->type_counts[WIRE_COMMITTED] < sim->active_count ||
            meter->traffic[meter->leader].messages_in < meter->sent_to_leader) &&
           sim_advance(sim, until_ns)) {
    }
    print_traffic(sim);
    printf("leader: %.1f ms of CPU: %.1f ms in the core, %.1f ms in TLS records and system calls\n",
           (meter->step_ns + meter->record_ns) / 1e6, meter->step_ns / 1e6, meter->record_ns / 1e6);
    return 0;
}

int cost_report(struct sim_sizes sizes) {
    uint32_t slots = sizes.slot_count != 0 ? sizes.slot_count : 8;
    struct sim_plan plan = { .node_count = sizes.node_count,
                             .active_count = sizes.node_count - 1,
                             .slot_count = slots,
                             .first_node = sizes.node_count - 1,
                             .park = CORE_PARK_COLD,
                             .respawn_max = 3,
                             .goal = UINT64_MAX,
                             .pace_ns = 200 * SIM_MS,
                             .heal_ns = UINT64_MAX / 4,
                             .is_calm = true };
    struct record_cost records[2] = { record_measure(SMALL_BYTES), record_measure(RECORD_BYTES) };
    struct sim_meter meter = { .records = records,
                               .busy_ns = calloc(sizes.node_count, sizeof(uint64_t)),
                               .traffic = calloc(sizes.node_count, sizeof(struct sim_traffic)),
                               .leader = sizes.node_count - 1 };
    if (meter.busy_ns == NULL || meter.traffic == NULL || records[0].send_ns == 0) {
        fprintf(stderr, "sim: no memory, or no TLS\n");
        return 1;
    }
    printf("%u nodes (one of them a spare, which leads), %u ranks; a rank's process dies, and is started in place\n",
           plan.node_count, plan.active_count * slots);
    printf("a TLS record of %u bytes: %.2f us to send, %.2f us to receive; of %u bytes: %.2f and %.2f us\n",
           SMALL_BYTES, records[0].send_ns / 1e3, records[0].receive_ns / 1e3, RECORD_BYTES, records[1].send_ns / 1e3,
           records[1].receive_ns / 1e3);
    struct sim sim;
    sim_init(&sim, &plan, false);
    int result = report(&sim, &meter);
    sim_fini(&sim);
    free(meter.busy_ns);
    free(meter.traffic);
    return result;
}
