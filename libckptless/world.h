/*
 * The world that a program is in, from the helper's answers.
 */
#ifndef CKPTLESS_WORLD_H
#define CKPTLESS_WORLD_H

#include "include/ckptless.h"
#include "node_helper/wire/wire_rpc.h"

/* Enters the world of an answer to INIT or RECOVER: ctx's world and epoch, the environment, the library's thread.
 * HELPER: the answer makes no sense; NO_MEMORY: setenv failed. Each with a line. */
enum ckptless_result world_enter(struct ckptless *ctx, const char *call, const struct wire_rpc_answer *answer);

#endif
