/*
 * Slurm's short form of a list of nodes ("n[1-3,07-09],login"), as far as a line for the user needs it: to name a node
 * that has never said its name itself. Pure.
 */
#ifndef CKPTLESS_HOSTLIST_H
#define CKPTLESS_HOSTLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name at `index` of a list that must hold exactly `count` names. False: another count, or a form that is not
 * understood (more than one pair of brackets in a name). */
bool hostlist_name(const char *list, uint32_t count, uint32_t index, char *ret_name, size_t capacity);

#endif
