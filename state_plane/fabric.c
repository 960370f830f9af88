/* See fabric.h. */
#include "state_plane/fabric.h"

#include <arpa/inet.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_tagged.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_message.h"
#include "state_plane/fabric_choice.h"

#define PEERS_MAX 16384u

struct fabric_known_peer {
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
    uint64_t handle;
};

struct fabric {
    struct fabric_library library;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_av *av;
    struct fid_ep *ep;
    int fd; /* of cq, owned by it; -1: none */
    struct fi_cq_tagged_entry settled; /* taken by fabric_settle, for fabric_poll */
    ssize_t settled_count;
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
    size_t address_bytes;
    struct fabric_known_peer **peers; /* each address is as long as ours */
    uint32_t peer_count, peer_capacity;
};

_Static_assert(sizeof(((struct fabric_op *)0)->scratch) >= sizeof(struct fi_context2), "scratch is the provider's");

static enum fabric_result convert(ssize_t code) {
    if (code == 0) {
        return FABRIC_OK;
    }
    return code == -FI_EAGAIN || code == -FI_ENOMEM ? FABRIC_AGAIN : FABRIC_ERROR;
}

/* Sleeping on a descriptor where the provider has one; else the caller polls by the clock. */
static int open_queue(struct fabric *fabric) {
    struct fi_cq_attr attr = { .size = 1024, .format = FI_CQ_FORMAT_TAGGED, .wait_obj = FI_WAIT_FD };
    int code = fi_cq_open(fabric->domain, &attr, &fabric->cq, NULL);

    if (code == 0) {
        return fi_control(&fabric->cq->fid, FI_GETWAIT, &fabric->fd);
    }
    attr.wait_obj = FI_WAIT_NONE;
    return fi_cq_open(fabric->domain, &attr, &fabric->cq, NULL);
}

/* Each step in its order; *ret_step names the one that failed. */
static int open_objects(struct fabric *fabric, const char **ret_step) {
    struct fi_av_attr av_attr = { .type = FI_AV_TABLE };
    int code;

    *ret_step = "fabric";
    if ((code = fabric->library.fabric(fabric->info->fabric_attr, &fabric->fabric, NULL)) != 0) {
        return code;
    }
    *ret_step = "domain";
    if ((code = fi_domain(fabric->fabric, fabric->info, &fabric->domain, NULL)) != 0) {
        return code;
    }
    *ret_step = "completion queue";
    if ((code = open_queue(fabric)) != 0) {
        return code;
    }
    *ret_step = "address vector";
    if ((code = fi_av_open(fabric->domain, &av_attr, &fabric->av, NULL)) != 0) {
        return code;
    }
    *ret_step = "endpoint";
    if ((code = fi_endpoint(fabric->domain, fabric->info, &fabric->ep, NULL)) != 0 ||
        (code = fi_ep_bind(fabric->ep, &fabric->cq->fid, FI_TRANSMIT | FI_RECV)) != 0 ||
        (code = fi_ep_bind(fabric->ep, &fabric->av->fid, 0)) != 0 || (code = fi_enable(fabric->ep)) != 0) {
        return code;
    }
    *ret_step = "address";
    fabric->address_bytes = sizeof(fabric->address);
    return fi_getname(&fabric->ep->fid, fabric->address, &fabric->address_bytes);
}

static void describe(const struct fabric *fabric, const char *interface, char *ret_text, size_t capacity) {
    const struct sockaddr *address = (const struct sockaddr *)(const void *)fabric->address;
    char text[INET6_ADDRSTRLEN] = "";

    if (fabric->address_bytes == sizeof(struct sockaddr_in) && address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof(text));
    } else if (fabric->address_bytes == sizeof(struct sockaddr_in6) && address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, text, sizeof(text));
    }
    snprintf(ret_text, capacity, "%s %s%s%s", fabric->info->fabric_attr->prov_name, interface,
             text[0] == '\0' ? "" : " ", text);
}

enum fabric_result fabric_open(struct fabric **ret_fabric, const char *interface, char *ret_text, size_t capacity) {
    struct fabric *fabric = calloc(1, sizeof(*fabric));
    char chosen[INTERFACE_NAME_BYTES] = "";
    const char *step = "";
    int code;

    if (fabric == NULL) {
        snprintf(ret_text, capacity, "out of memory");
        return FABRIC_ERROR;
    }
    fabric->fd = -1;
    if (!fabric_library_load(&fabric->library, ret_text, capacity)) {
        goto fail;
    }
    fabric->info = fabric_choose(&fabric->library, interface, chosen, ret_text, capacity);
    if (fabric->info == NULL) {
        goto fail;
    }
    code = open_objects(fabric, &step);
    if (code != 0) {
        snprintf(ret_text, capacity, "libfabric's %s on %s cannot be opened (%s: %s)",
                 fabric->info->fabric_attr->prov_name, chosen, step, fabric->library.strerror(-code));
        goto fail;
    }
    describe(fabric, chosen, ret_text, capacity);
    *ret_fabric = fabric;
    return FABRIC_OK;
fail:
    (void)fabric_close(fabric, true);
    return FABRIC_ERROR;
}

static void close_object(struct fid *object) {
    (void)fi_close(object); /* nothing can be done about a refusal */
}

bool fabric_close(struct fabric *fabric, bool quiet) {
    if (fabric == NULL) {
        return true;
    }
    if (!quiet && fabric->info != NULL && strcmp(fabric->info->fabric_attr->prov_name, "net") != 0) {
        return false; /* leaked until the process ends: closing may crash, see fabric.h */
    }
    if (fabric->ep != NULL) {
        close_object(&fabric->ep->fid);
    }
    if (fabric->av != NULL) {
        close_object(&fabric->av->fid);
    }
    if (fabric->cq != NULL) {
        close_object(&fabric->cq->fid);
    }
    if (fabric->domain != NULL) {
        close_object(&fabric->domain->fid);
    }
    if (fabric->fabric != NULL) {
        close_object(&fabric->fabric->fid);
    }
    if (fabric->info != NULL) {
        fabric->library.freeinfo(fabric->info);
    }
    for (uint32_t i = 0; i < fabric->peer_count; i++) {
        free(fabric->peers[i]);
    }
    free(fabric->peers);
    free(fabric);
    return true;
}

const uint8_t *fabric_address(const struct fabric *fabric, size_t *ret_bytes) {
    *ret_bytes = fabric->address_bytes;
    return fabric->address;
}

/* Room for one more. */
static bool grow_peers(struct fabric *fabric) {
    uint32_t capacity = fabric->peer_capacity == 0 ? 16 : fabric->peer_capacity * 2;
    struct fabric_known_peer **peers;

    if (fabric->peer_count < fabric->peer_capacity) {
        return true;
    }
    peers = fabric->peer_count >= PEERS_MAX ? NULL : realloc(fabric->peers, capacity * sizeof(struct fabric_known_peer *));
    if (peers == NULL) {
        return false;
    }
    fabric->peers = peers;
    fabric->peer_capacity = capacity;
    return true;
}

enum fabric_result fabric_peer(struct fabric *fabric, const uint8_t *address, size_t bytes, uint64_t *ret_peer) {
    struct fabric_known_peer *peer;
    fi_addr_t handle = FI_ADDR_UNSPEC;
    sa_family_t family, own_family;

    /* Providers take the length from their own format: what is shorter would be read past its end. */
    if (bytes != fabric->address_bytes) {
        return FABRIC_ERROR;
    }
    memcpy(&family, address, sizeof(family));
    memcpy(&own_family, fabric->address, sizeof(own_family));
    if ((own_family == AF_INET || own_family == AF_INET6) && family != own_family) {
        return FABRIC_ERROR;
    }
    for (uint32_t i = 0; i < fabric->peer_count; i++) {
        if (memcmp(fabric->peers[i]->address, address, bytes) == 0) {
            *ret_peer = fabric->peers[i]->handle;
            return FABRIC_OK;
        }
    }
    peer = grow_peers(fabric) ? calloc(1, sizeof(*peer)) : NULL;
    if (peer == NULL) {
        return FABRIC_ERROR;
    }
    memcpy(peer->address, address, bytes);
    if (fi_av_insert(fabric->av, peer->address, 1, &handle, 0, NULL) != 1 || handle == FI_ADDR_NOTAVAIL) {
        free(peer);
        return FABRIC_ERROR;
    }
    peer->handle = handle;
    fabric->peers[fabric->peer_count++] = peer;
    *ret_peer = handle;
    return FABRIC_OK;
}

uint64_t fabric_tag_mask(const struct fabric *fabric) {
    uint64_t format = fabric->info->ep_attr->mem_tag_format;

    if (format == 0) {
        return UINT64_MAX;
    }
    return UINT64_MAX >> __builtin_clzll(format); /* its highest set bit tells how many a tag has */
}

enum fabric_result fabric_send(struct fabric *fabric, uint64_t peer, uint64_t tag, const void *bytes, size_t count,
                               struct fabric_op *op) {
    return convert(fi_tsend(fabric->ep, bytes, count, NULL, peer, tag, op));
}

enum fabric_result fabric_receive(struct fabric *fabric, uint64_t tag, void *ret_bytes, size_t capacity,
                                  struct fabric_op *op) {
    return convert(fi_trecv(fabric->ep, ret_bytes, capacity, NULL, FI_ADDR_UNSPEC, tag, 0, op));
}

bool fabric_poll(struct fabric *fabric) {
    struct fi_cq_tagged_entry entry = fabric->settled;
    struct fi_cq_err_entry failure = { 0 };
    struct fabric_op *op;
    ssize_t count = fabric->settled_count == 1 ? 1 : fi_cq_read(fabric->cq, &entry, 1);

    fabric->settled_count = 0;
    if (count == 1) {
        op = entry.op_context;
        if (op != NULL) {
            op->on_done(op, entry.len, NULL);
        }
        return true;
    }
    if (count == -FI_EAVAIL && fi_cq_readerr(fabric->cq, &failure, 0) == 1) {
        op = failure.op_context; /* NULL where a provider does not know any more */
        if (op != NULL) {
            op->on_done(op, 0, fabric->library.strerror(failure.err));
        }
        return true;
    }
    return false;
}

int fabric_fd(const struct fabric *fabric) {
    return fabric->fd;
}

bool fabric_may_sleep(struct fabric *fabric) {
    struct fid *queue = &fabric->cq->fid;

    return fabric->fd < 0 || fi_trywait(fabric->fabric, &queue, 1) == FI_SUCCESS;
}

void fabric_settle(struct fabric *fabric) {
    if (fabric->fd >= 0 && fabric->settled_count != 1) {
        fabric->settled_count = fi_cq_sread(fabric->cq, &fabric->settled, 1, NULL, 1);
    }
}
