/*
 * Finding the page that this slot's program shares with its helper and keeper.
 */
#ifndef CKPTLESS_PAGE_H
#define CKPTLESS_PAGE_H

#include "include/ckptless.h"
#include "node_helper/wire/wire_page.h"

/* True inside a ckptless step. */
bool page_expected(void);

/* Maps the page for good. HELPER: it cannot be found, or is of no use; VERSION: another version made it; INVALID: the
 * variables are not numbers; STATE: another process of this slot is attached. Each with a line. */
enum ckptless_result page_map(struct wire_page **ret_page);

void page_unmap(struct wire_page *page);

#endif
