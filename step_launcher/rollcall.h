/*
 * Who has reported: one entry for each node of the step, filled by the helpers' HELLOs until all are there. Decides
 * what a HELLO is worth; sends nothing, knows no clock.
 */
#ifndef CKPTLESS_ROLLCALL_H
#define CKPTLESS_ROLLCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"

struct net_peer;

struct rollcall_node {
    bool has_reported;
    struct net_peer *peer; /* its connection; NULL: none now */
    struct wire_hello hello;
    char address[WIRE_NAME_BYTES]; /* numeric, as seen from here */
};

struct rollcall {
    uint32_t node_count; /* 0: no one has reported yet, so not known */
    uint32_t spare_nodes;
    uint32_t reported_count;
    struct rollcall_node *nodes; /* by node index */
    bool is_complete;            /* the roster is fixed */
};

enum rollcall_verdict {
    ROLLCALL_TAKEN,       /* entered; before completion */
    ROLLCALL_ROSTER,      /* after completion: a successor, or one that has lost its connection: gets the roster */
    ROLLCALL_REFUSED,     /* this one is not wanted; ret_why has the line for it */
    ROLLCALL_MISFIT,      /* with this one the step cannot come together: the launch has failed; ret_why */
    ROLLCALL_LEADER_DIED, /* a successor of the leader's helper where no other can lead, after completion; ret_why */
};

/* Enters the helper behind `peer`. ret_node: its entry (TAKEN, ROSTER); ret_replaced: the connection that it takes the
 * place of, or NULL (TAKEN, ROSTER). */
enum rollcall_verdict rollcall_accept(struct rollcall *rollcall, const struct wire_hello *hello, struct net_peer *peer,
                                      struct rollcall_node **ret_node, struct net_peer **ret_replaced, char *ret_why,
                                      size_t why_capacity);
/* The node's connection has closed; before completion it has then not reported. */
void rollcall_forget(struct rollcall *rollcall, struct rollcall_node *node);
/* All have reported: the caller may complete it. */
bool rollcall_is_full(const struct rollcall *rollcall);
/* With spares every node must hold the same number of tasks; false: ret_why names two that do not. */
bool rollcall_is_even(const struct rollcall *rollcall, char *ret_why, size_t why_capacity);
/* "2 of 5 nodes (n3, node 4) have not": who has not reported; host names where they are known. */
void rollcall_name_missing(const struct rollcall *rollcall, char *ret_text, size_t capacity);
/* Where the helper is that leads first: on the last spare, which has nothing else to do and is the last to get a rank.
 * Without one, or where the other nodes are too few to go on without it, on the first node. */
uint32_t rollcall_first_leader(const struct rollcall *rollcall);
/* The members for a ROSTER, node_count of them, the caller's to free; NULL: out of memory. Blocks for a name look-up
 * in one case only: a helper came over loopback and others did not. */
struct wire_member *rollcall_members(const struct rollcall *rollcall);
void rollcall_fini(struct rollcall *rollcall);

#endif
