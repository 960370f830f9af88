/* See interface.h. IPv6 link-local addresses are passed over: they mean nothing without a scope that peers lack. */
#include "state_plane/interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* The lowest metric among the routes to 0.0.0.0/0. */
static bool find_default_route(char *ret_name, size_t capacity) {
    FILE *file = fopen("/proc/net/route", "re");
    char line[512], name[INTERFACE_NAME_BYTES];
    unsigned long destination, mask, metric, best = 0;
    bool found = false;

    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%63s %lx %*x %*x %*u %*u %lu %lx", name, &destination, &metric, &mask) != 4) {
            continue;
        }
        if (destination == 0 && mask == 0 && (!found || metric < best)) {
            found = true;
            best = metric;
            snprintf(ret_name, capacity, "%s", name);
        }
    }
    fclose(file);
    return found;
}

static bool is_usable(const struct ifaddrs *entry) {
    if (entry->ifa_addr == NULL || (entry->ifa_flags & IFF_UP) == 0) {
        return false;
    }
    if (entry->ifa_addr->sa_family == AF_INET6) {
        return !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr);
    }
    return entry->ifa_addr->sa_family == AF_INET;
}

void interface_default(char *ret_name, size_t capacity) {
    struct ifaddrs *list = NULL;

    snprintf(ret_name, capacity, "lo");
    if (find_default_route(ret_name, capacity) || getifaddrs(&list) != 0) {
        return;
    }
    for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
        if (is_usable(entry) && (entry->ifa_flags & IFF_LOOPBACK) == 0) {
            snprintf(ret_name, capacity, "%s", entry->ifa_name);
            break;
        }
    }
    freeifaddrs(list);
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b) {
    if (a->sa_family != b->sa_family) {
        return false;
    }
    if (a->sa_family == AF_INET) {
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    }
    return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

bool interface_of_address(const struct sockaddr *address, char *ret_name, size_t capacity, bool *ret_loopback) {
    struct ifaddrs *list = NULL;
    bool found = false;

    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (const struct ifaddrs *entry = list; entry != NULL && !found; entry = entry->ifa_next) {
        if (is_usable(entry) && same_address(address, entry->ifa_addr)) {
            snprintf(ret_name, capacity, "%s", entry->ifa_name);
            *ret_loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
            found = true;
        }
    }
    freeifaddrs(list);
    return found;
}
