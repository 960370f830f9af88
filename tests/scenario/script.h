/*
 * A scenario as it runs (see run.c): real cores, one per node, a network without delay, programs that do what a
 * well-written one does.
 *
 *   script_world.c  cores, messages, time
 *   script_act.c    what a core's actions do, and their lines of the transcript
 *   run.c           commands, files, and the test program
 */
#ifndef CKPTLESS_SCRIPT_H
#define CKPTLESS_SCRIPT_H

#include <stdio.h>

#include "include/ckptless.h"
#include "node_helper/core/core.h"
#include "node_helper/wire/wire_helper.h"

#define NODES_MAX 16u
#define SLOTS_MAX 8u
#define NS_PER_MS 1000000ull
#define PENDING_MAX 4096u

struct script_program {
    bool alive, hangs, has_state, in_recover, running, starting, pull_waits, reload_waits;
    uint32_t incarnation;
    uint64_t step, epoch, pull_step;
};

struct script_node {
    struct core *core;
    uint32_t id;
    bool on, linked, frozen, held;
    bool seeks; /* its leader has changed, and it is not connected to the new one yet */
    struct script_program programs[SLOTS_MAX];
};

#define SCRIPT_BOOT_NS (3600ull * 1000000000u) /* the machines have been up for a while: no clock begins at 0 */

struct script_packet {
    uint32_t from_node, to_node;
    struct wire_arena arena;
    struct wire_message message;
};

struct script {
    struct script_node nodes[NODES_MAX];
    uint32_t node_count, spare_count, slot_count;
    uint32_t first_node; /* see wire_helper.h */
    struct core_config config;
    uint64_t now_ns; /* a transcript counts from SCRIPT_BOOT_NS */
    bool hold_starts, hold_pulls, hold_reloads, uses_library;
    uint32_t odd_layout_rank;
    uint64_t load_step[NODES_MAX * SLOTS_MAX];
    struct script_packet *packets[PENDING_MAX];
    uint32_t packet_count;
    FILE *out; /* the transcript */
};

/* One at a time. */
extern struct script script;

/* script_world.c */
void script_make_world(const char *line); /* as the command `world` says */
void script_forget(void);
uint32_t script_node_of(uint32_t helper);
/* Of helper `self`, which is the one of this node from now on. */
struct core *script_new_core(uint32_t self, uint32_t node);
void script_connect(uint32_t node); /* to its leader */
uint32_t script_leader(void);       /* node of the leader; the newest, where an old one does not know */
void script_send(uint32_t from, const struct core_action *action);
void script_deliver(void);
void script_drop_packets(uint32_t node);
void script_advance(uint64_t until_ns);

/* script_act.c */
void script_handle(uint32_t node, struct core_event event);
void script_program_event(uint32_t node, uint32_t slot, enum core_event_type type, uint64_t epoch);
void script_program_starts(uint32_t node, uint32_t slot);
void script_program_recovers(uint32_t node, uint32_t slot);

#endif
