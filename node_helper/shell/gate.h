/*
 * Who may connect to the sockets that PMIx and libfabric listen on in this process: they take everybody, PMIx then
 * waits seconds for the first words of each, on the thread that serves all, and libfabric keeps who says nothing for
 * ever. So this process has an accept(2) of its own, which the dynamic linker gives them instead of libc's. Our own
 * sockets take accept4(2) and do not come by here. Called from any thread.
 */
#ifndef CKPTLESS_SHELL_GATE_H
#define CKPTLESS_SHELL_GATE_H

#include <stdbool.h>
#include <sys/socket.h>

/* A connection over loopback that is not of our own user's is closed at once, as one that its maker has given up:
 * ECONNABORTED. Others may hold half of the descriptors that this process can have; above that, who has been silent the
 * longest goes. Else as libc's. */
int accept(int fd, struct sockaddr *ret_address, socklen_t *ret_bytes);

/* Of a connected socket: its other end is on this host, and another user's, or nobody's any more. */
bool gate_is_strangers(int fd);

#endif
