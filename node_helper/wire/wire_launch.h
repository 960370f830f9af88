/*
 * What a keeper tells the ckptlessd it starts, through a pipe on descriptor 0: lines "key=value". Carries the step
 * secret, so it is neither in argv nor in the environment. Written by the plugin, read by the helper. Pure.
 */
#ifndef CKPTLESS_WIRE_LAUNCH_H
#define CKPTLESS_WIRE_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire_keeper.h"
#include "wire_message.h"

#define WIRE_SECRET_BYTES 32u
#define WIRE_SEALED_BYTES 1024u /* of its text on the way, with the NUL: node_helper/seal */
#define WIRE_LAUNCH_BYTES_MAX 16384u

struct wire_launch {
    uint32_t job, step;
    uint32_t node, node_count; /* the step's: active and spare */
    uint32_t task_count;       /* of this node */
    uint32_t stepd_pid;        /* slurmstepd: the helper ends with it */
    uint32_t predecessor;      /* 1: a helper of this node has died and its ranks were killed; this is its successor */
    uint32_t kill_on_bad_exit; /* 1: the user wants it; what is the program's own error ends the step */
    uint32_t wait_s;           /* after the first rank's own end, until the others are ended; 0: no bound */
    uint16_t launcher_port;
    char launcher_address[WIRE_NAME_BYTES]; /* of ckptless-launch */
    char host[WIRE_NAME_BYTES];             /* SLURMD_NODENAME */
    char token[WIRE_TOKEN_HEX];             /* of the step; strangers may know it */
    char keepers[WIRE_NAME_BYTES];          /* name of the socket that the keepers come to */
    char secret[WIRE_SEALED_BYTES];         /* sealed where that is possible */
    char munge_socket[WIRE_NAME_BYTES];     /* of munged; "": where munge has it by default */
    char option[WIRE_TEXT_BYTES * 2];       /* value of --ckptless, as given */
    char directory[WIRE_TEXT_BYTES * 2];    /* the step's working directory, absolute */
    char user_master_addr[WIRE_NAME_BYTES]; /* MASTER_ADDR as the user set it; "": not set */
    char user_master_port[16];
};

size_t wire_launch_format(const struct wire_launch *launch, char *ret_text, size_t capacity); /* 0: does not fit */
bool wire_launch_parse(const char *text, size_t bytes, struct wire_launch *ret_launch);

#endif
