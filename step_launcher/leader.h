/*
 * ckptless-launch after the roster: what the leader says, and whether there still is
 * one. Its lines go to the user, its JSON objects into the timeline, its result to srun's side; when it is silent and
 * no other comes in its place, the step ends, unless Slurm has suspended it, or is ending it already.
 */
#ifndef CKPTLESS_LEADER_H
#define CKPTLESS_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"
#include "step_launcher/output.h"
#include "step_launcher/timeline.h"

struct event;
struct event_base;
struct net_peer;
struct slurm_run;

/* After the result the launcher stays until srun goes, but not for ever. */
#define LEADER_STAY_S 600
#define LEADER_SILENCE_MS_MIN 2000u
/* From the leader's closed connection to the verdict: where Slurm has killed the step, srun knows it by then. (With
 * proctrack/cgroup the helpers are killed with the step, and slurmstepd waits a second for those that take a moment.)
 */
#define LEADER_CLOSED_MS 5000

struct leader {
    const struct request *request;
    struct output *output;
    struct timeline *timeline;
    void (*on_over)(void *arg); /* the result is known, or the leader is lost: nothing more will come from it */
    void *arg;
    struct net_peer *peer; /* NULL: closed */
    uint32_t id;           /* of the helper; at first 0 */
    char host[WIRE_NAME_BYTES];
    bool is_over;
    uint32_t exit_code;    /* of the step, when it is over */
    struct event *tick;    /* looks for silence */
    struct event *verdict; /* after its connection has closed */
    uint32_t tick_ms;
    uint32_t silent_ticks;
    uint64_t ticked_ns; /* when the last tick ran */
    struct event_base *base;
    struct slurm_run *asking; /* slurmctld, what has become of the step; NULL: not */
};

/* False: out of memory. The pointers in the struct (request, output, timeline, on_over, arg) are set by the caller. */
bool leader_begin(struct leader *leader, struct event_base *base, struct net_peer *peer, const char *host);
void leader_fini(struct leader *leader);
void leader_on_message(struct leader *leader, const struct wire_message *message);
void leader_on_close(struct leader *leader);
/* Its connection had broken; or it is another one. */
void leader_on_return(struct leader *leader, struct net_peer *peer, uint32_t id, const char *host);
/* Says so to the user and to srun's side, once. */
void leader_lost(struct leader *leader);

#endif
