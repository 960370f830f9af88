/*
 * The other end's owner is asked of the kernel: by netlink, or where that is not to be had in /proc/net/tcp. A user who
 * maps himself onto our number in a namespace of his own has still made his socket as himself. See gate.h.
 */
#include "node_helper/shell/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELD_MAX 8192u
#define EVICTED_SHARE 8u /* one in so many goes at a time */
#define ESTABLISHED 1

/* The two ends of a connection. */
struct ends {
    struct sockaddr_in ours, theirs;
};

static struct held {
    int fd;
    ino_t inode;
} held[HELD_MAX];
static size_t held_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_loopback(const struct sockaddr_in *address) {
    return address->sin_family == AF_INET && ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static bool find_ends(int fd, struct ends *ret_ends) {
    socklen_t ours = sizeof(ret_ends->ours), theirs = sizeof(ret_ends->theirs);

    memset(ret_ends, 0, sizeof(*ret_ends));
    return getsockname(fd, (struct sockaddr *)&ret_ends->ours, &ours) == 0 &&
           getpeername(fd, (struct sockaddr *)&ret_ends->theirs, &theirs) == 0;
}

enum answer { ANSWER_NONE, ANSWER_NOBODY, ANSWER_USER };

static enum answer read_diag(int netlink, uid_t *ret_uid) {
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } reply;
    ssize_t count = recv(netlink, &reply, sizeof(reply), 0);

    if (count < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || !NLMSG_OK(&reply.header, (size_t)count)) {
        return ANSWER_NONE;
    }
    if (reply.header.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *failure = NLMSG_DATA(&reply.header);
        return failure->error == -ENOENT ? ANSWER_NOBODY : ANSWER_NONE;
    }
    const struct inet_diag_msg *message = NLMSG_DATA(&reply.header);
    *ret_uid = message->idiag_uid;
    return message->idiag_state == ESTABLISHED ? ANSWER_USER : ANSWER_NOBODY;
}

/* Seen from the other end, what is ours is its far side. */
static enum answer ask_diag(const struct ends *ends, uid_t *ret_uid) {
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } message = {
        .header = { .nlmsg_len = sizeof(message), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
        .request = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX }
    };
    enum answer answer = ANSWER_NONE;

    message.request.id = (struct inet_diag_sockid){ .idiag_sport = ends->theirs.sin_port,
                                                    .idiag_dport = ends->ours.sin_port,
                                                    .idiag_src = { ends->theirs.sin_addr.s_addr },
                                                    .idiag_dst = { ends->ours.sin_addr.s_addr },
                                                    .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } };
    int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0) {
        return ANSWER_NONE;
    }
    if (send(netlink, &message, sizeof(message), 0) == (ssize_t)sizeof(message)) {
        answer = read_diag(netlink, ret_uid);
    }
    close(netlink);
    return answer;
}

static enum answer ask_proc(const struct ends *ends, uid_t *ret_uid) {
    char line[512];
    unsigned address, far_address, port, far_port, state, uid;
    enum answer answer = ANSWER_NOBODY;
    FILE *table = fopen("/proc/net/tcp", "re");

    while (table != NULL && answer == ANSWER_NOBODY && fgets(line, sizeof(line), table) != NULL) {
        if (sscanf(line, " %*d: %x:%x %x:%x %x %*x:%*x %*x:%*x %*x %u", &address, &port, &far_address, &far_port,
                   &state, &uid) == 6 &&
            address == ends->theirs.sin_addr.s_addr && port == ntohs(ends->theirs.sin_port) &&
            far_address == ends->ours.sin_addr.s_addr && far_port == ntohs(ends->ours.sin_port) &&
            state == ESTABLISHED) {
            *ret_uid = uid;
            answer = ANSWER_USER;
        }
    }
    if (table == NULL) {
        return ANSWER_NONE;
    }
    fclose(table);
    return answer;
}

bool gate_is_strangers(int fd) {
    struct ends ends;
    uid_t uid = (uid_t)-1;

    if (!find_ends(fd, &ends) || !is_loopback(&ends.ours)) {
        return false;
    }
    enum answer answer = ask_diag(&ends, &uid);
    if (answer == ANSWER_NONE) {
        answer = ask_proc(&ends, &uid);
    }
    return answer != ANSWER_USER || uid != geteuid();
}

static bool is_held(const struct held *item) {
    struct stat status;

    return fstat(item->fd, &status) == 0 && status.st_ino == item->inode;
}

/* How readily it is ended: first who has never said a byte, the longest first; then who is silent; last of all who came
 * over loopback, and is a process of this user's: a rank, perhaps, that has had nothing to say for an hour. */
static uint64_t readiness(int fd) {
    struct tcp_info info = { 0 };
    socklen_t bytes = sizeof(info);
    struct ends ends;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) {
        return UINT64_MAX;
    }
    if (info.tcpi_bytes_received == 0) {
        return (1ull << 32) + info.tcpi_last_data_recv;
    }
    return find_ends(fd, &ends) && is_loopback(&ends.ours) ? 0 : info.tcpi_last_data_recv;
}

/* Its owner, the library, finds it ended and closes it. */
static void end_most_silent(void) {
    size_t found = 0;
    uint64_t highest = 0;

    for (size_t i = 0; i < held_count; i++) {
        uint64_t value = readiness(held[i].fd);
        if (value >= highest) {
            highest = value;
            found = i;
        }
    }
    (void)shutdown(held[found].fd, SHUT_RDWR);
    held[found] = held[--held_count];
}

static size_t held_limit(void) {
    struct rlimit limit;
    size_t half =
        getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < HELD_MAX ? limit.rlim_cur / 2 : HELD_MAX;

    return half > 0 ? half : 1;
}

static void hold(int fd) {
    struct stat status;
    size_t limit = held_limit(), kept = 0;

    if (held_count >= limit) {
        for (size_t i = 0; i < held_count; i++) {
            if (is_held(&held[i])) {
                held[kept++] = held[i];
            }
        }
        held_count = kept;
        size_t room = held_count >= limit ? limit - limit / EVICTED_SHARE : limit;
        while (held_count >= room) {
            end_most_silent();
        }
    }
    if (fstat(fd, &status) == 0) {
        held[held_count++] = (struct held){ .fd = fd, .inode = status.st_ino };
    }
}

int accept(int fd, struct sockaddr *ret_address, socklen_t *ret_bytes) {
    int connection = accept4(fd, ret_address, ret_bytes, 0);

    if (connection < 0) {
        return connection;
    }
    if (gate_is_strangers(connection)) {
        close(connection);
        errno = ECONNABORTED;
        return -1;
    }
    pthread_mutex_lock(&lock);
    hold(connection);
    pthread_mutex_unlock(&lock);
    return connection;
}
