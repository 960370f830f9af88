/*
 * A ring all-reduce over TCP: each rank sends to the next and receives from the one before. The sum of each part is
 * made in the order of the ring and then passed around, so all ranks get the same bits.
 */
#ifndef CHARLM_RING_H
#define CHARLM_RING_H

#include <ckptless.h>
#include <stdbool.h>
#include <stddef.h>

struct ring {
    struct ckptless *ctx;
    int rank, size;
    int next, previous; /* sockets; -1: none */
};

/* Connects the ranks of this world. rendezvous: a directory for ranks that no helper connects (outside of ckptless), or
 * NULL. INTERRUPTED: a peer is gone; recover, and open another ring. */
enum ckptless_result ring_open(struct ring *ret_ring, struct ckptless *ctx, const char *rendezvous);
void ring_close(struct ring *ring);
/* values becomes the sum over all ranks. False: a peer is gone, values is spoilt. */
bool ring_sum(struct ring *ring, float *values, size_t count);

#endif
