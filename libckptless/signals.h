/*
 * A parked program is not a rank: what users send to the ranks is blocked in it from its first instruction on, because
 * some of Slurm's ways to send a signal reach every process of a step. Knows no helper.
 */
#ifndef CKPTLESS_SIGNALS_H
#define CKPTLESS_SIGNALS_H

/* The process has a rank: what came meanwhile is dropped, what comes now is its own. Only where the keeper has blocked
 * them (CKPTLESS_SIGNALS_HELD); in the calling thread. */
void signals_release(void);

#endif
