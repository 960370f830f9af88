/*
 * Leaving PMIx within a bound.
 */
#ifndef CKPTLESS_LEAVE_H
#define CKPTLESS_LEAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "pmix_glue/client/pmixcli.h"

/* pmixcli_destroy() on a thread of its own, waited for at most wait_ms. True: done, no event comes any more (also for
 * NULL). False: it goes on by itself, or could not be begun. */
bool leave_pmix(struct pmixcli *client, uint32_t wait_ms);

#endif
