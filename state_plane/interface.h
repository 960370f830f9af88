/*
 * Network interfaces of this node, as far as the choice of a fabric address needs them. Knows nothing of libfabric.
 */
#ifndef CKPTLESS_PLANE_INTERFACE_H
#define CKPTLESS_PLANE_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define INTERFACE_NAME_BYTES 64u

/* The interface of the default route; without one, the first that is up, has an address and is not loopback; else "lo". */
void interface_default(char *ret_name, size_t capacity);
/* The interface that has this address (IPv4 or IPv6); false: none. */
bool interface_of_address(const struct sockaddr *address, char *ret_name, size_t capacity, bool *ret_loopback);

#endif
