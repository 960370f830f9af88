/*
 * Ids of helpers. At first they are dealt out round the step's nodes, 0 to the one whose helper is to lead; a successor
 * has an id of the same node, some node_counts higher. So an id says its node, and the lowest id of a view can be any
 * node's.
 */
#ifndef CKPTLESS_WIRE_HELPER_H
#define CKPTLESS_WIRE_HELPER_H

#include <stdint.h>

/* first_node: whose first helper has id 0. */
static inline uint32_t wire_helper_node(uint32_t id, uint32_t node_count, uint32_t first_node) {
    return (id % node_count + first_node) % node_count;
}

/* Of the node's first helper. */
static inline uint32_t wire_helper_id(uint32_t node, uint32_t node_count, uint32_t first_node) {
    return (node + node_count - first_node) % node_count;
}

#endif
