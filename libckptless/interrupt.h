/*
 * The library's thread: rings the death bell by living as long as the process, and makes an interruption reach a
 * program that is blocked somewhere: it shuts down the watched sockets, then calls the program's function. It also
 * carries one job at a time, so that a message to the helper does not delay a step.
 */
#ifndef CKPTLESS_INTERRUPT_H
#define CKPTLESS_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ckptless.h"
#include "node_helper/wire/wire_page.h"

struct interrupt;

typedef void interrupt_job_fn(void *arg);

/* Starts the thread and hangs the bell; returns when it hangs. page is not unmapped while the thread lives.
 * NO_MEMORY: no memory, or no thread. */
enum ckptless_result interrupt_create(struct interrupt **ret_interrupt, struct wire_page *page);

/* init failed: takes the bell down, ends the thread, frees. NULL is allowed. */
void interrupt_destroy(struct interrupt *interrupt);

/* finalize: forgets sockets, function and job, waits for those under way at most wait_ms. The thread and the bell stay
 * until the process ends, and so does *interrupt. False: something is still under way. */
bool interrupt_retire(struct interrupt *interrupt, uint32_t wait_ms);

/* A world begins: epoch packed, ordinal as users see it. */
void interrupt_enter(struct interrupt *interrupt, uint64_t epoch, uint64_t ordinal);

/* The epoch that begins, from PMIx's event. Any thread; does not block. */
void interrupt_notify(struct interrupt *interrupt, uint64_t epoch);

/* OK; INTERRUPTED: fd was shut down and is not watched; NO_MEMORY. Any thread. */
enum ckptless_result interrupt_watch(struct interrupt *interrupt, int fd);
/* After return the thread does not touch fd. One that is not watched is none the less fine. Any thread. */
void interrupt_unwatch(struct interrupt *interrupt, int fd);

/* Waits for a call under way, then replaces the function (NULL: none). A loss that is pending is told to the new one.
 */
void interrupt_set_function(struct interrupt *interrupt, ckptless_interrupt_fn *fn, void *arg);

/* Runs job(arg) on the thread, once, in after_ms (0: now; else late by up to 100 ms). There must be none waiting:
 * interrupt_withdraw() first. While it runs, sockets wait: only what the helper answers at once belongs here. */
void interrupt_post(struct interrupt *interrupt, interrupt_job_fn *job, void *arg, uint32_t after_ms);
/* Takes back the job if it has not begun (true), waits for it if it is running. */
bool interrupt_withdraw(struct interrupt *interrupt);

#endif
