/*
 * Messages between a keeper (in the Slurm plugin) and the helper of its node, over an abstract AF_UNIX SOCK_SEQPACKET
 * socket named wire_keeper_address(): one packet a message, host byte order does not matter (same machine), still
 * through the cursors. Both sides check the peer's uid (SO_PEERCRED). Pure; linked into the plugin.
 *
 * A keeper connects, says HELLO, and forks nothing until START. START: the tree of the slot's former program (if any)
 * is killed and reaped first, then the new program is forked. Each START is answered by STARTED, each end of the
 * program's first process by EXITED, once; CLEARED follows when no process of its tree is left. KILL kills the tree.
 * HOLD/CONTINUE stop and continue it. SIGNALLED and ENDING come before the end of a program that they may have brought
 * about. A parked program gets no signal of Slurm's. END: the tree is killed if it still lives, and the keeper ends with `status`. SAY:
 * the keeper, which has the user's stderr, prints a line.
 */
#ifndef CKPTLESS_WIRE_KEEPER_H
#define CKPTLESS_WIRE_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_KEEPER_PACKET_BYTES_MAX 131072u
#define WIRE_KEEPER_ENVIRONMENT_BYTES_MAX 98304u
#define WIRE_KEEPER_LINE_BYTES_MAX 1024u /* with the NUL */
#define WIRE_TOKEN_HEX 33u               /* 32 hex digits and the NUL */

enum wire_keeper_type {
    WIRE_KEEPER_HELLO = 1, /* keeper -> helper: slot, pid; status: 1: Slurm's signals reach the program before its keeper */
    WIRE_KEEPER_STARTED,   /* incarnation, pid */
    WIRE_KEEPER_EXITED,    /* incarnation, pid, status */
    WIRE_KEEPER_CLEARED,   /* incarnation */
    WIRE_KEEPER_ENDING,    /* status: the signal that the keeper got and forwarded: Slurm is ending the step */
    WIRE_KEEPER_SIGNALLED, /* status: another signal from Slurm, that the program has got or is about to get */
    WIRE_KEEPER_START,     /* helper -> keeper: incarnation, environment; carries the page's descriptor; status: 1: the
                              program is parked */
    WIRE_KEEPER_PROMOTED,  /* the parked program has a rank from now on */
    WIRE_KEEPER_KILL,
    WIRE_KEEPER_HOLD,
    WIRE_KEEPER_CONTINUE,
    WIRE_KEEPER_END, /* status as of waitpid(2): how the keeper is to end */
    WIRE_KEEPER_SAY, /* environment: one string, a line for the user's stderr */
};

struct wire_keeper_message {
    enum wire_keeper_type type;
    uint32_t slot;        /* the keeper's, on this node: local task id * ranks in a task + index in the task */
    uint32_t incarnation; /* serial of the START within this slot, given by the helper; grows */
    uint32_t pid;
    int32_t status;
    uint32_t environment_bytes;
    const char *environment; /* SAY: one string; START: strings "NAME=value" (set) or "NAME" (unset), each ended by NUL;
                                borrowed */
};

size_t wire_keeper_encode(const struct wire_keeper_message *message, uint8_t *ret_bytes,
                          size_t capacity); /* 0: no fit */
bool wire_keeper_decode(const uint8_t *bytes, size_t count, struct wire_keeper_message *ret_message);
/* Name of the abstract socket (without the leading NUL) of the helper of one node of one step. */
void wire_keeper_address(const char *token, uint32_t node, char *ret_name, size_t capacity);

#endif
