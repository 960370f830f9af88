/*
 * The keeper's connection to the helper of its node: an abstract SOCK_SEQPACKET socket, one packet a message. Nothing
 * here waits. Knows the packets' shape, not what follows from them.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"

#define SMALL_PACKET_BYTES 256

void keeper_link_close(struct keeper *keeper) {
    if (keeper->socket_fd >= 0) {
        close(keeper->socket_fd);
    }
    keeper->socket_fd = -1;
}

/* Any process may take an abstract name: only the user's own counts. And a helper that is being killed can still be
 * connected to while its successor, who has been started already, waits for the name. */
static bool check_peer(struct keeper *keeper, int fd) {
    struct ucred peer;
    socklen_t length = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid != geteuid() ||
        (keeper->helper_pid != 0 && peer.pid != keeper->helper_pid)) {
        return false;
    }
    if (keeper->helper_fd >= 0) {
        close(keeper->helper_fd);
    }
    keeper->helper_fd = descriptors_raise((int)syscall(SYS_pidfd_open, peer.pid, 0));
    return true;
}

static enum link_result connect_to(struct keeper *keeper, const char *name) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(name);
    if (length + 1 > sizeof(address.sun_path)) {
        return LINK_LOST;
    }
    memcpy(address.sun_path + 1, name, length);
    int fd = descriptors_raise(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0) {
        return LINK_AGAIN;
    }
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (connect(fd, (const struct sockaddr *)&address, bytes) != 0 || !check_peer(keeper, fd)) {
        close(fd);
        return LINK_AGAIN;
    }
    keeper->socket_fd = fd;
    return keeper_link_send(keeper, WIRE_KEEPER_HELLO, (uint32_t)keeper->pid,
                            keeper->config->everyone_is_signalled ? 1 : 0);
}

/* Any of its names: which helper of the node there is, only the keeper that starts them knows. */
enum link_result keeper_link_connect(struct keeper *keeper) {
    enum link_result result = LINK_AGAIN;
    for (size_t i = 0; i < KEEPER_ADDRESSES && result == LINK_AGAIN && keeper->config->addresses[i][0]; i++) {
        result = connect_to(keeper, keeper->config->addresses[i]);
    }
    return result;
}

enum link_result keeper_link_send(struct keeper *keeper, enum wire_keeper_type type, uint32_t pid, int32_t status) {
    uint8_t packet[SMALL_PACKET_BYTES];
    struct wire_keeper_message message = {
        .type = type,
        .slot = keeper->config->slot,
        .incarnation = keeper->incarnation,
        .pid = pid,
        .status = status,
        .environment = "",
    };
    size_t bytes = wire_keeper_encode(&message, packet, sizeof(packet));
    if (keeper->socket_fd < 0 || bytes == 0) {
        return LINK_AGAIN;
    }
    /* A helper that lets its queue run full (some hundred messages) is as good as dead. */
    return send(keeper->socket_fd, packet, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes ? LINK_OK : LINK_LOST;
}

/* The first descriptor of the control data; all others are closed. */
static int take_descriptor(struct msghdr *header) {
    int taken = -1;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            if (taken < 0) {
                taken = fd;
            } else {
                close(fd);
            }
        }
    }
    return taken;
}

enum link_result keeper_link_receive(struct keeper *keeper, struct wire_keeper_message *ret_message, int *ret_fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 2)];
    } control;
    struct iovec part = { .iov_base = keeper->packet, .iov_len = sizeof(keeper->packet) };
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
    };
    *ret_fd = -1;
    ssize_t count = recvmsg(keeper->socket_fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_LOST;
    }
    *ret_fd = take_descriptor(&header);
    if (count == 0 || (header.msg_flags & MSG_TRUNC) ||
        !wire_keeper_decode(keeper->packet, (size_t)count, ret_message)) {
        if (*ret_fd >= 0) {
            close(*ret_fd);
            *ret_fd = -1;
        }
        return LINK_LOST;
    }
    return LINK_OK;
}
