/*
 * The death bell: a robust futex in the shared page, held by the library's thread for as long as the process lives.
 * When that thread dies the kernel marks the futex and wakes who waits on it, long before the process's memory is torn
 * down and its end shows anywhere else.
 *
 * It says "look", no more. A forked child never rings: the kernel gives it no robust list, and the thread is not there.
 * execve ends the thread and rings although the process lives on (and nobody hangs the bell again): who listens looks
 * into /proc. It does not ring while a core is dumped.
 */
#ifndef CKPTLESS_BELL_H
#define CKPTLESS_BELL_H

#include <linux/futex.h>
#include <stdbool.h>

#include "node_helper/wire/wire_page.h"

struct bell {
    struct robust_list_head head; /* read by the kernel at the thread's end: must live as long as the thread */
    struct robust_list entry;
};

/* Hangs the bell; rings at the calling thread's end. That thread must not hold robust mutexes of pthread: the list is
 * not glibc's. False: the kernel refuses; deaths are then known later. */
bool bell_hang(struct bell *bell, struct wire_page *page);

/* Takes it down without ringing. On the thread that hung it. */
void bell_remove(struct bell *bell, struct wire_page *page);

#endif
