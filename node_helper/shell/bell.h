/*
 * Waiting for a program's death bell: the robust futex in its page, which the kernel rings when the library's thread
 * ends, long before the memory of a large process is torn down. It only says *look*: bell_probe() looks.
 */
#ifndef CKPTLESS_SHELL_BELL_H
#define CKPTLESS_SHELL_BELL_H

#include <stdint.h>
#include <sys/types.h>

#include "node_helper/shell/page.h"

struct bell;

/* What is written into the descriptor when the bell rings. */
struct bell_ring {
    uint32_t slot, serial;
};

/* Starts a thread that waits; it holds a reference of the page and writes `ring` into fd (a pipe) once. NULL: no
 * thread; the death is then known from the keeper, later. */
struct bell *bell_create(struct page *page, int fd, struct bell_ring ring);
/* Nothing is written any more after the return; the thread goes by itself soon. NULL is allowed. */
void bell_destroy(struct bell *bell);

enum bell_verdict {
    BELL_ALIVE,   /* or not yet to be told */
    BELL_ENDED,   /* ended or ending for sure; ret_status as of waitpid(2) */
    BELL_UNKNOWN, /* ended or ending for sure; how will be known from its parent */
};
enum bell_verdict bell_probe(pid_t pid, int *ret_status);

#endif
