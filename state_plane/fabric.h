/*
 * The only door to libfabric: loads it at run time, chooses provider and interface, and moves tagged messages between
 * an endpoint here and those of peers. Knows no region, rank or pull. One thread: the plane's.
 *
 * What libfabric 1.17 does, and what follows from it here:
 * - A stopped peer or a cut link never completes anything, and fi_cancel does not either: an operation that was posted
 *   stays posted. Its memory belongs to the fabric until its completion has been taken, and is never used again
 *   before that, however long it takes.
 * - Closing a tcp;ofi_rxm endpoint with operations under way crashes after a link was cut: fabric_close leaves it open
 *   for the rest of the process's life unless it is told that nothing is under way.
 * - The `net` provider's descriptor stays readable after its first completion, for ever: its fi_trywait does nothing,
 *   and only fi_cq_sread takes the mark off. fabric_settle does that.
 * - A peer that was dead before the first contact answers FABRIC_AGAIN for ever: the caller has the deadline.
 */
#ifndef CKPTLESS_PLANE_FABRIC_H
#define CKPTLESS_PLANE_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fabric;
struct fabric_op;

enum fabric_result { FABRIC_OK = 0, FABRIC_AGAIN, FABRIC_ERROR };

/* One operation under way. Zeroed by its owner, stays where it is until on_done has been called for it. */
struct fabric_op {
    uint64_t scratch[8]; /* the provider's (FI_CONTEXT2) */
    /* From fabric_poll: error is NULL and bytes what was received, or error says why it failed (static). */
    void (*on_done)(struct fabric_op *op, size_t bytes, const char *error);
    void *owner; /* the caller's */
};

/* Loads libfabric and opens an endpoint: takes 90 ms and more. interface: by name, or "". ret_text: "provider interface
 * address" on success, else why not, a sentence without its full stop. */
enum fabric_result fabric_open(struct fabric **ret_fabric, const char *interface, char *ret_text, size_t capacity)
    __attribute__((warn_unused_result));
/* quiet: no operation but posted receives is under way. Returns false when the endpoint had to be left open: memory of
 * its operations must then be left alone too. NULL is allowed. */
bool fabric_close(struct fabric *fabric, bool quiet);

/* The endpoint's address, borrowed. */
const uint8_t *fabric_address(const struct fabric *fabric, size_t *ret_bytes);
/* A handle for a peer's address; the same for the same address. ERROR: not an address of this kind, or too many. */
enum fabric_result fabric_peer(struct fabric *fabric, const uint8_t *address, size_t bytes, uint64_t *ret_peer)
    __attribute__((warn_unused_result));
/* Bits that a tag may have. */
uint64_t fabric_tag_mask(const struct fabric *fabric);

/* AGAIN: nothing was posted, try later. ERROR: nothing was posted, and trying again is of no use. */
enum fabric_result fabric_send(struct fabric *fabric, uint64_t peer, uint64_t tag, const void *bytes, size_t count,
                               struct fabric_op *op) __attribute__((warn_unused_result));
enum fabric_result fabric_receive(struct fabric *fabric, uint64_t tag, void *ret_bytes, size_t capacity,
                                  struct fabric_op *op) __attribute__((warn_unused_result));

/* Drives the fabric and takes at most one completion. True: one was taken, and its on_done was called. */
bool fabric_poll(struct fabric *fabric);
/* Descriptor that becomes readable when fabric_poll has something to do, or -1 when the provider has none. */
int fabric_fd(const struct fabric *fabric);
/* True when it is safe to sleep on fabric_fd. */
bool fabric_may_sleep(struct fabric *fabric);
/* For when fabric_fd was readable and fabric_poll had nothing: makes it tell the truth again. Sleeps up to 1 ms while
 * nothing comes; calls no on_done. */
void fabric_settle(struct fabric *fabric);

#endif
