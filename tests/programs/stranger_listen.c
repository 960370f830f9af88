/*
 * Someone who sees all packets of a network interface. What comes twice is recorded once, what is lost is lost: good
 * enough for a network of one machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/programs/stranger.h"

#define BUFFER_BYTES (64 << 20)

static void record(int directory, const uint8_t *packet, size_t bytes) {
    const struct iphdr *ip = (const void *)packet;
    size_t ip_bytes = bytes >= sizeof(*ip) ? ip->ihl * 4u : 0;
    const struct tcphdr *tcp = (const void *)(packet + ip_bytes);
    char source[INET_ADDRSTRLEN], destination[INET_ADDRSTRLEN], name[96];

    if (ip_bytes < sizeof(*ip) || ip->protocol != IPPROTO_TCP || bytes < ip_bytes + sizeof(*tcp)) {
        return;
    }
    size_t total = ntohs(ip->tot_len), head = ip_bytes + tcp->doff * 4u;
    total =
        total == 0 || total > bytes ? bytes : total; /* 0: larger than the field, on its way to a segmenting device */
    if (total <= head) {
        return;
    }
    inet_ntop(AF_INET, &ip->saddr, source, sizeof(source));
    inet_ntop(AF_INET, &ip->daddr, destination, sizeof(destination));
    snprintf(name, sizeof(name), "%s.%u-%s.%u", source, ntohs(tcp->source), destination, ntohs(tcp->dest));
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        (void)!write(fd, packet + head, total - head);
        close(fd);
    }
}

int stranger_listen(int argc, char **argv) {
    static uint8_t packet[1 << 17];
    struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
    unsigned long count = 0;
    int buffer = BUFFER_BYTES, directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));

    (void)argc;
    where.sll_ifindex = (int)if_nametoindex(argv[0]);
    where.sll_protocol = htons(ETH_P_ALL);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    if (directory < 0 || fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0) {
        perror("stranger: listen");
        return 2;
    }
    stranger_ready();
    while (!stranger_is_over) {
        ssize_t bytes = recv(fd, packet, sizeof(packet), 0);
        if (bytes > 0) {
            record(directory, packet, (size_t)bytes);
            count++;
        }
    }
    printf("listen: %lu packets\n", count);
    return 0;
}
