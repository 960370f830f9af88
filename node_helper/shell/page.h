/*
 * The memory shared by one start of a slot's program, its keeper and the helper. A new one for each start, so that a
 * predecessor that is still dying writes into its own. Shared with the bell's thread: counted.
 */
#ifndef CKPTLESS_SHELL_PAGE_H
#define CKPTLESS_SHELL_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "node_helper/wire/wire_page.h"

struct page {
    struct wire_page *shared;
    int fd;
    atomic_uint references;
};

/* incarnation: of the program that will get it. NULL: no memory or descriptor. One reference. */
struct page *page_create(uint32_t incarnation, uint64_t lease_end_ns);
struct page *page_reference(struct page *page);
/* NULL is allowed. Any thread. */
void page_release(struct page *page);

#endif
