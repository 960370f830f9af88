/*
 * A rank is a whole process tree. Finding all descendants of a process, and stopping, continuing or killing them,
 * whatever they do meanwhile. The keeper is the subreaper of its rank, so no descendant escapes by a double fork. Knows
 * no Slurm.
 */
#ifndef CKPTLESS_KEEPER_TREE_H
#define CKPTLESS_KEEPER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Sends `number` to every living descendant of root, root itself excluded; one pass. Answers how many there were. */
size_t keeper_tree_signal(pid_t root, int number);
/* SIGKILL to every living descendant of root, until two passes in a row find none that has not had it: a process that
 * has been sent SIGKILL forks no more, so what a fork hid from one pass the next one sees. They are not reaped, and may
 * still be dying when this returns. Who writes its core is left alone when dumps_are_spared: the signal would cut the
 * core off. Answers how many were sent it. Bound: 64 passes. */
size_t keeper_tree_kill(pid_t root, bool dumps_are_spared);
/* True when pid is a living descendant of root. */
bool keeper_tree_contains(pid_t root, pid_t pid);

#endif
