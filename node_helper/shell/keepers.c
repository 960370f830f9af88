/*
 * The keepers' socket: an abstract SOCK_SEQPACKET name that only this step knows, and only the user's own processes are
 * listened to. One keeper a slot. Knows packets; what they mean is for slots.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node_helper/shell/process.h"
#include "node_helper/shell/shell.h"

#define RETRY_MS 2
#define RETRIES_MAX 500 /* a helper that is being killed gives its name back within milliseconds */
#define PACKET_BYTES 4096

struct keeper {
    struct shell *shell;
    struct keeper *next;
    struct slot *slot; /* NULL before HELLO */
    int fd;
    struct event *readable;
};

static void drop(struct keeper *keeper) {
    struct shell *shell = keeper->shell;
    struct keeper **link = &shell->keepers;
    while (*link != keeper) {
        link = &(*link)->next;
    }
    *link = keeper->next;
    event_free(keeper->readable);
    close(keeper->fd);
    struct slot *slot = keeper->slot;
    free(keeper);
    if (slot == NULL) {
        return;
    }
    slot->keeper = NULL;
    shell->keepers_up--;
    if (!slot->end_sent) {
        /* Its program's first process goes with it, the others do not. */
        log_line("keeper of slot %u is gone: %zu processes killed", slots_index(shell, slot),
                 process_kill_left_by(slot->keeper_pid));
    }
    slots_on_keeper_gone(shell, slot);
    if (shell->keepers_up == 0) {
        shell_leave(shell, (int)shell->end_code);
    }
}

static bool on_hello(struct keeper *keeper, const struct wire_keeper_message *message) {
    struct shell *shell = keeper->shell;
    if (message->slot >= shell->slot_count || shell->slots[message->slot].keeper != NULL) {
        log_line("a keeper of slot %u is not expected", message->slot);
        return false;
    }
    keeper->slot = &shell->slots[message->slot];
    keeper->slot->keeper = keeper;
    keeper->slot->keeper_pid = (pid_t)message->pid;
    keeper->slot->keeper_is_second = message->status == 1;
    shell->keepers_up++;
    log_line("keeper of slot %u", message->slot);
    if (shell->is_over) {
        act_check_end(shell);
        return true;
    }
    slots_start_waiting(shell);
    if (shell->launch.predecessor && shell->core == NULL) {
        join_when_ready(shell);
    }
    return true;
}

static void on_message(struct keeper *keeper, const struct wire_keeper_message *message) {
    struct shell *shell = keeper->shell;
    struct slot *slot = keeper->slot;
    switch (message->type) {
    case WIRE_KEEPER_STARTED:
        slots_on_started(shell, slot, message);
        break;
    case WIRE_KEEPER_EXITED:
        slots_on_exited(shell, slot, message);
        break;
    case WIRE_KEEPER_ENDING:
        log_line("Slurm ends the step: signal %d", (int)message->status);
        shell_event(shell, &(struct core_event){ .type = CORE_EVENT_ENDING });
        break;
    case WIRE_KEEPER_SIGNALLED:
        verdict_on_signal(slot, message->status);
        break;
    default:
        break;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct keeper *keeper = arg;
    uint8_t packet[PACKET_BYTES];
    struct wire_keeper_message message;
    (void)what;
    ssize_t count = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0 || !wire_keeper_decode(packet, (size_t)count, &message)) {
        drop(keeper);
        return;
    }
    if (keeper->slot != NULL) {
        on_message(keeper, &message);
    } else if (message.type != WIRE_KEEPER_HELLO || !on_hello(keeper, &message)) {
        drop(keeper);
    }
}

static bool is_own_user(int fd) {
    struct ucred peer;
    socklen_t length = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)what;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    struct keeper *keeper = is_own_user(fd) ? calloc(1, sizeof(*keeper)) : NULL;
    if (keeper == NULL) {
        close(fd);
        return;
    }
    /* Room for a START with a large environment. */
    int bytes = 2 * (int)WIRE_KEEPER_PACKET_BYTES_MAX;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    *keeper = (struct keeper){ .shell = shell, .next = shell->keepers, .fd = fd };
    keeper->readable = shell_event_new(shell, fd, EV_READ | EV_PERSIST, on_readable, keeper);
    (void)event_add(keeper->readable, NULL);
    shell->keepers = keeper;
}

/* 0: listens; else errno. */
static int try_listen(struct shell *shell) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strnlen(shell->launch.keepers, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path + 1, shell->launch.keepers, length);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, bytes) != 0 || listen(fd, 128) != 0) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    shell->keeper_listen_fd = fd;
    shell->keeper_listen = shell_event_new(shell, fd, EV_READ | EV_PERSIST, on_accept, shell);
    (void)event_add(shell->keeper_listen, NULL);
    return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    int error = try_listen(shell);
    if (error == EADDRINUSE && shell->keeper_retries++ < RETRIES_MAX) {
        shell_timer_ms(shell->keeper_retry, RETRY_MS);
    } else if (error != 0) {
        log_line("the keepers' socket: %s", strerror(error));
        shell_leave(shell, SHELL_EXIT_CODE);
    }
}

bool keepers_init(struct shell *shell) {
    shell->keeper_retry = shell_event_new(shell, -1, 0, on_retry, shell);
    on_retry(-1, 0, shell);
    return true;
}

void keepers_fini(struct shell *shell) {
    while (shell->keepers != NULL) {
        struct keeper *keeper = shell->keepers;
        shell->keepers = keeper->next;
        if (keeper->slot != NULL) {
            keeper->slot->keeper = NULL;
        }
        event_free(keeper->readable);
        close(keeper->fd);
        free(keeper);
    }
    if (shell->keeper_listen != NULL) {
        event_free(shell->keeper_listen);
        close(shell->keeper_listen_fd);
    }
    if (shell->keeper_retry != NULL) {
        event_free(shell->keeper_retry);
    }
}

bool keepers_send(struct shell *shell, struct slot *slot, struct wire_keeper_message *message, int fd) {
    static uint8_t packet[WIRE_KEEPER_PACKET_BYTES_MAX]; /* one thread */
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    if (slot->keeper == NULL) {
        return false;
    }
    message->slot = slots_index(shell, slot);
    message->environment = message->environment ? message->environment : "";
    size_t bytes = wire_keeper_encode(message, packet, sizeof(packet));
    struct iovec part = { .iov_base = packet, .iov_len = bytes };
    struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    }
    if (bytes == 0 || sendmsg(slot->keeper->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes) {
        log_line("keeper of slot %u: %s", message->slot, bytes ? strerror(errno) : "the environment is too long");
        return false;
    }
    return true;
}
