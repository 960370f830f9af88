/*
 * Telling a crash before its core is written. The kernel rings the death bell when memory is given back, and that is
 * after the core, seconds later. So where the program has no handler of its own for SEGV, BUS, FPE, ILL or ABRT, ours
 * notes the signal in the page, rings the bell, and lets the signal do what it does without us.
 */
#ifndef CKPTLESS_LIB_CRASH_H
#define CKPTLESS_LIB_CRASH_H

#include "node_helper/wire/wire_page.h"

/* From now on, in this process. The page stays mapped until crash_fini. */
void crash_init(struct wire_page *page);
/* Takes the handlers back that are still ours. */
void crash_fini(void);

#endif
