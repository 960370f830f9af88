/*
 * Loads libfabric and chooses what to open. Loaded at run time, so that a node without it loses movement between nodes
 * and nothing else; and by symbol version, because the default version of a newer library has larger structures.
 *
 * Order of providers: hardware first. Over plain TCP `net` comes before `tcp;ofi_rxm`: both are as fast, but the latter
 * holds 70 MiB of buffers from the start, takes longer to open and crashes when it is closed after a link was cut. From
 * libfabric 1.18 on `net` is gone, and `tcp` does by itself what it did. FI_PROVIDER and the providers' own variables
 * are libfabric's, and filter what is offered here.
 */
#include "state_plane/fabric_choice.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY_NAME "libfabric.so.1"
#define API_VERSION FI_VERSION(1, 9)

static const char *const preference[] = { "verbs;ofi_rxm", "cxi", "efa", "psm3", "psm2", "net", "tcp", "tcp;ofi_rxm" };
#define PREFERENCE_COUNT (sizeof(preference) / sizeof(preference[0]))

static bool find_symbol(void *handle, const char *name, const char *version, void *ret_function) {
    void *symbol = dlvsym(handle, name, version);

    if (symbol == NULL) {
        symbol = dlsym(handle, name);
    }
    memcpy(ret_function, &symbol, sizeof(symbol));
    return symbol != NULL;
}

bool fabric_library_load(struct fabric_library *ret_library, char *ret_text, size_t capacity) {
    void *handle = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);

    if (handle == NULL) {
        const char *why = dlerror();
        const char *tail = strstr(why, LIBRARY_NAME ": ");

        snprintf(ret_text, capacity, LIBRARY_NAME " cannot be loaded: %s",
                 tail == NULL ? why : tail + strlen(LIBRARY_NAME ": "));
        return false;
    }
    if (!find_symbol(handle, "fi_getinfo", "FABRIC_1.3", &ret_library->getinfo) ||
        !find_symbol(handle, "fi_freeinfo", "FABRIC_1.3", &ret_library->freeinfo) ||
        !find_symbol(handle, "fi_dupinfo", "FABRIC_1.3", &ret_library->dupinfo) ||
        !find_symbol(handle, "fi_fabric", "FABRIC_1.1", &ret_library->fabric) ||
        !find_symbol(handle, "fi_strerror", "FABRIC_1.0", &ret_library->strerror)) {
        snprintf(ret_text, capacity, LIBRARY_NAME " cannot be loaded: a function is missing in it");
        return false;
    }
    return true;
}

static unsigned rank_of_provider(const struct fi_info *info) {
    for (unsigned i = 0; i < PREFERENCE_COUNT; i++) {
        if (strcmp(info->fabric_attr->prov_name, preference[i]) == 0) {
            return i;
        }
    }
    return PREFERENCE_COUNT;
}

static bool is_socket_address(const struct fi_info *info) {
    return info->src_addr != NULL &&
           (info->addr_format == FI_SOCKADDR_IN || info->addr_format == FI_SOCKADDR_IN6 ||
            info->addr_format == FI_SOCKADDR) &&
           (info->src_addrlen == sizeof(struct sockaddr_in) || info->src_addrlen == sizeof(struct sockaddr_in6));
}

/* Smaller is better; false: cannot be used. */
static bool rate(const struct fi_info *info, const char *interface, const char *wanted, unsigned *ret_rating,
                 char ret_interface[INTERFACE_NAME_BYTES]) {
    bool loopback = false, is_wanted;
    unsigned rating = rank_of_provider(info) * 100;
    const char *domain = info->domain_attr->name == NULL ? "" : info->domain_attr->name;

    if (strncmp(info->fabric_attr->prov_name, "shm", 3) == 0) {
        return false; /* reaches this node only */
    }
    snprintf(ret_interface, INTERFACE_NAME_BYTES, "%s", domain);
    if (is_socket_address(info) &&
        !interface_of_address(info->src_addr, ret_interface, INTERFACE_NAME_BYTES, &loopback)) {
        return false;
    }
    is_wanted = strcmp(wanted, ret_interface) == 0 || strcmp(wanted, domain) == 0;
    if (interface[0] != '\0' && !is_wanted) {
        return false;
    }
    rating += loopback && !is_wanted ? 20u : is_wanted ? 0u : 10u;
    rating += is_socket_address(info) && ((const struct sockaddr *)info->src_addr)->sa_family != AF_INET;
    *ret_rating = rating;
    return true;
}

static struct fi_info *make_hints(const struct fabric_library *library) {
    struct fi_info *hints = library->dupinfo(NULL);

    if (hints == NULL) {
        return NULL;
    }
    hints->caps = FI_MSG | FI_TAGGED;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    return hints;
}

/* Without a choice of ours the user's word to libfabric counts, then the default route. */
static void choose_interface(const char *interface, char *ret_name, size_t capacity) {
    static const char *const variables[] = { "FI_NET_IFACE", "FI_TCP_IFACE", "FI_VERBS_IFACE" };

    if (interface[0] != '\0') {
        snprintf(ret_name, capacity, "%s", interface);
        return;
    }
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        const char *value = getenv(variables[i]);

        if (value != NULL && value[0] != '\0') {
            snprintf(ret_name, capacity, "%s", value);
            return;
        }
    }
    interface_default(ret_name, capacity);
}

struct fi_info *fabric_choose(const struct fabric_library *library, const char *interface,
                              char ret_interface[INTERFACE_NAME_BYTES], char *ret_text, size_t capacity) {
    struct fi_info *hints = make_hints(library), *list = NULL, *best = NULL, *chosen = NULL;
    char wanted[INTERFACE_NAME_BYTES], name[INTERFACE_NAME_BYTES];
    unsigned rating, best_rating = 0;
    int code;

    if (hints == NULL) {
        snprintf(ret_text, capacity, "libfabric is out of memory");
        return NULL;
    }
    choose_interface(interface, wanted, sizeof(wanted));
    code = library->getinfo(API_VERSION, NULL, NULL, 0, hints, &list);
    if (code != 0) {
        snprintf(ret_text, capacity, "libfabric offers no provider with reliable tagged messages (%s)",
                 library->strerror(-code));
        goto out;
    }
    for (struct fi_info *info = list; info != NULL; info = info->next) {
        if (rate(info, interface, wanted, &rating, name) && (best == NULL || rating < best_rating)) {
            best = info;
            best_rating = rating;
            snprintf(ret_interface, INTERFACE_NAME_BYTES, "%s", name);
        }
    }
    if (best == NULL) {
        snprintf(ret_text, capacity, "libfabric offers nothing on interface %s", wanted);
        goto out;
    }
    chosen = library->dupinfo(best);
    if (chosen == NULL) {
        snprintf(ret_text, capacity, "libfabric is out of memory");
    }
out:
    if (list != NULL) {
        library->freeinfo(list);
    }
    library->freeinfo(hints);
    return chosen;
}
