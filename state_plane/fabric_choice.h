/*
 * Inside the fabric adapter: libfabric as loaded at run time, and the choice of provider and interface. Only for
 * fabric.c.
 */
#ifndef CKPTLESS_PLANE_FABRIC_CHOICE_H
#define CKPTLESS_PLANE_FABRIC_CHOICE_H

#include <rdma/fabric.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state_plane/interface.h"

/* The functions that are not reached through objects. */
struct fabric_library {
    int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags, const struct fi_info *hints,
                   struct fi_info **ret_info);
    void (*freeinfo)(struct fi_info *info);
    struct fi_info *(*dupinfo)(const struct fi_info *info);
    int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **ret_fabric, void *context);
    const char *(*strerror)(int code);
};

/* False: ret_text says why. The library stays loaded until the process ends: it has destructors of its own. */
bool fabric_library_load(struct fabric_library *ret_library, char *ret_text, size_t capacity);
/* The endpoint to open, to be freed with freeinfo, and the interface that it is on; NULL: ret_text says why. */
struct fi_info *fabric_choose(const struct fabric_library *library, const char *interface,
                              char ret_interface[INTERFACE_NAME_BYTES], char *ret_text, size_t capacity);

#endif
