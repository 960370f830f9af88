/*
 * Whether the kernel has killed somebody for want of memory: it counts such kills for each memory cgroup, of cgroup v1
 * and v2. Knows no slot.
 */
#ifndef CKPTLESS_SHELL_MEMORY_H
#define CKPTLESS_SHELL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct memory_watch {
    char path[1024]; /* of the file that has the count; "": not known */
    uint64_t kills;  /* as of the last look */
};

/* From now on, the kills in the cgroup that pid is in. */
void memory_watch_begin(struct memory_watch *ret_watch, pid_t pid);
/* True when there have been some since the last look. */
bool memory_watch_look(struct memory_watch *watch);

/* The file for a process with these texts of /proc/PID/cgroup and /proc/self/mountinfo; false: there is none. */
bool memory_watch_find(const char *cgroup, const char *mounts, char *ret_path, size_t capacity);

#endif
