/*
 * The few descriptors that a keeper has live high up, out of the way of what it inherits from slurmstepd and of what
 * the program opens. Knows nothing of their use.
 */
#ifndef CKPTLESS_DESCRIPTORS_H
#define CKPTLESS_DESCRIPTORS_H

#include <stddef.h>

#define DESCRIPTORS_FIRST 200

/* Moves fd to the lowest free number from DESCRIPTORS_FIRST on (or stays, where the limit is lower), close-on-exec.
 * Takes fd over; -1 in, -1 out. */
int descriptors_raise(int fd);
/* Closes every descriptor from `first` on but the `count` ones in `kept` (any order; -1 is skipped; count <= 8). */
void descriptors_close_others(int first, const int *kept, size_t count);

/* Descriptors from 3 on that are files open for appending, `capacity` at most: Slurm's log. Returns how many. */
size_t descriptors_find_logs(int *ret_fds, size_t capacity);

#endif
