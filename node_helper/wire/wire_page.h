/*
 * The page shared by one slot's program (through libckptless), its keeper and the node's helper: one memfd of
 * WIRE_PAGE_BYTES per slot, created by the helper, passed to the keeper with START, inherited by the program as the
 * descriptor named in CKPTLESS_PAGE_FD (or opened as /proc/CKPTLESS_KEEPER_PID/fd/N when the program has closed it).
 * It is on the critical path of every step; nothing else is. Holds no pointers and no secrets.
 */
#ifndef CKPTLESS_WIRE_PAGE_H
#define CKPTLESS_WIRE_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define WIRE_PAGE_MAGIC 0x636b70746c657373ull /* "ckptless" */
#define WIRE_PAGE_VERSION 1u
#define WIRE_PAGE_BYTES 4096u

struct wire_page {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes;
    uint32_t incarnation; /* of the slot's program, as START gave it; constant */
    uint32_t reserved;

    /* Written by the helper. Epochs are packed (view << 32 | counter), see wire_message.h. */
    _Atomic uint64_t stop_epoch;   /* newest epoch this slot's program must stop for; the world has ended while
                                      stop_epoch > the epoch that the library got from recover */
    _Atomic uint64_t lease_end_ns; /* CLOCK_MONOTONIC; the program commits nothing after it. UINT64_MAX: no lease */

    /* Written by the library; reset to 0 by the helper before each start of the slot's program. */
    _Atomic uint32_t attached_pid; /* the process that called ckptless_init; 0: none yet */
    _Atomic uint32_t bell_futex;   /* robust futex: (tid of the library's thread | FUTEX_WAITERS); the kernel sets
                                      FUTEX_OWNER_DIED and wakes one waiter when that thread's process dies */
    _Atomic uint64_t step_begun;   /* step being applied; equals step_done outside ckptless_update */
    _Atomic uint64_t step_done;    /* last committed step */
    _Atomic uint64_t update_count; /* commits of this process */
    _Atomic uint64_t library_ns;   /* time spent inside ckptless_update outside the program's function */
    _Atomic uint32_t crash_signal; /* the process has begun to end by this signal, and may still write its core; 0: not */
};
_Static_assert(sizeof(struct wire_page) <= WIRE_PAGE_BYTES, "the page is one page");

#endif
