/*
 * Inside ckptless-launch: the one object, and what its files share. launcher.c holds the life of the launch, from the
 * first HELLO to srun's end; main.c makes and unmakes it.
 */
#ifndef CKPTLESS_LAUNCHER_H
#define CKPTLESS_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "node_helper/net/net.h"
#include "node_helper/wire/wire_message.h"
#include "step_launcher/leader.h"
#include "step_launcher/output.h"
#include "step_launcher/request.h"
#include "step_launcher/rollcall.h"
#include "step_launcher/timeline.h"

struct event;
struct event_base;

enum launcher_phase {
    LAUNCHER_COLLECTING, /* until every node has reported */
    LAUNCHER_RUNNING,    /* the roster is out: the leader speaks */
    LAUNCHER_OVER,       /* result known, leader lost, or launch failed: waits for srun's end */
};

struct launcher {
    struct request request;
    struct event_base *base;
    struct net *net;
    struct output output;
    struct timeline timeline;
    struct rollcall rollcall;
    struct leader leader;
    enum launcher_phase phase;
    bool has_failed;     /* the step never began; `failure` says why */
    bool srun_is_gone;   /* end of file on descriptor 0 */
    struct event *srun;  /* descriptor 0 is readable */
    struct event *limit; /* COLLECTING: launch-timeout; OVER: how long to stay; srun gone: how long to listen */
    uint16_t port;       /* where the helpers call */
    struct wire_member *members;
    struct wire_arena arena;
    char failure[WIRE_TEXT_BYTES];
};

/* Listens and watches descriptor srun_fd. False: ret_error has the line. */
bool launcher_begin(struct launcher *launcher, int srun_fd, const uint8_t *secret, uint16_t *ret_port, char *ret_error,
                    size_t error_capacity);
void launcher_fini(struct launcher *launcher);

#endif
