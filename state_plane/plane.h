/*
 * The state plane of a helper: moves regions from the memory of one rank's process into that of another. On the same
 * node by cross-memory attach; between nodes over libfabric (the only fi_* calls of the project). Owns one thread,
 * which serves reads of peers and carries out pulls, and for a while one that opens the fabric (plane_open: 300 ms); it
 * never touches a program's memory outside plane_serve and plane_pull. Each chunk carries an XXH3-128 digest made by
 * the holder and checked by the receiver. The other functions are for the helper's loop thread.
 */
#ifndef CKPTLESS_PLANE_H
#define CKPTLESS_PLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../node_helper/wire/wire_message.h"

struct plane;

enum plane_result { PLANE_OK = 0, PLANE_ERR_NO_MEMORY, PLANE_ERR_SYSTEM };

struct plane_region {
    char name[WIRE_REGION_NAME_BYTES];
    uint32_t shard;
    uint64_t bytes;
    uint64_t address; /* in the process */
};

enum plane_event_type {
    PLANE_EVENT_READY,       /* the fabric is open: plane_address() has an address; text: "provider interface" */
    PLANE_EVENT_UNAVAILABLE, /* it cannot be opened: only same-node pulls work; text */
    PLANE_EVENT_PULLED,      /* pull_id; bytes moved */
    PLANE_EVENT_PULL_FAILED, /* pull_id; text: which region, which source, why, over all sources tried */
    PLANE_EVENT_WARNING,     /* a source was given up and another taken, a digest did not match: text */
};

struct plane_event {
    enum plane_event_type type;
    uint32_t pull_id;
    uint64_t bytes, ns;
    char text[WIRE_TEXT_BYTES];
};

/* interface: network interface by name, or "" for the provider's choice. */
enum plane_result plane_create(struct plane **ret_plane, const char *interface) __attribute__((warn_unused_result));
/* Begins to open the fabric, once: READY or UNAVAILABLE follows, 300 ms later. Until then pulls between nodes wait. */
void plane_open(struct plane *plane);
int plane_fd(const struct plane *plane); /* readable when poll has something */
bool plane_poll(struct plane *plane, struct plane_event *ret_event);
/* Address for peers, bytes; 0 before READY. */
size_t plane_address(const struct plane *plane, uint8_t *ret_address, size_t capacity);

/* From now on a peer that shows `token` may read the regions of `rank`, which live in process `pid` of this node.
 * regions are copied. Replaces what was served for this rank before. */
enum plane_result plane_serve(struct plane *plane, const uint8_t token[16], uint32_t rank, uint32_t pid,
                              const struct plane_region *regions, uint32_t region_count)
    __attribute__((warn_unused_result));
/* Nothing is served any more; returns when no read of a process is under way. */
void plane_unserve(struct plane *plane);

struct plane_source {
    uint32_t rank;
    uint32_t pid;                       /* of its process when it lives on this node, else 0 */
    const struct plane_region *regions; /* when pid: its table */
    uint32_t region_count;
    const uint8_t *address; /* fabric address of its helper when it lives elsewhere */
    size_t address_bytes;
};

struct plane_pull {
    uint32_t pull_id; /* the caller's; unique */
    uint8_t token[16];
    uint32_t pid; /* the process to write into */
    const struct plane_region *regions;
    uint32_t region_count;
    const struct plane_source *sources; /* in the order to try; all are copied */
    uint32_t source_count;
    uint64_t stall_ms; /* a source that delivers nothing for this long is given up */
};
/* PULLED or PULL_FAILED follows, unless cancelled. */
enum plane_result plane_pull(struct plane *plane, const struct plane_pull *pull) __attribute__((warn_unused_result));
/* Returns when nothing is written into the target's process any more; no event for it follows. */
void plane_cancel(struct plane *plane, uint32_t pull_id);
/* Ends the threads, closes the fabric. NULL is allowed. Bounded: 1 s. False: a thread stands in libfabric and is left
 * behind with all its memory: the process ends with _exit. */
bool plane_destroy(struct plane *plane);

#endif
