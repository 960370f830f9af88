/*
 * What the server says: answers and events. Answers are given on PMIx's own thread, because PMIx's connections are not
 * for any other: the shift is a deregistration of nobody, whose callback PMIx makes there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_rpc.h"
#include "pmix_glue/server/pmixsrv_private.h"

static pmix_info_t *set_key(pmix_info_t *info, const char *key, pmix_data_type_t type) {
    snprintf(info->key, sizeof(info->key), "%s", key);
    info->value.type = type;
    return info;
}

static void free_reply(void *arg) {
    struct reply *reply = arg;
    free(reply->bytes);
    free(reply);
}

/* PMIx's thread. */
static void give_reply(pmix_status_t status, void *arg) {
    struct reply *reply = arg;
    (void)status;
    if (reply->is_fence) {
        reply->fence_done(reply->status, reply->bytes, reply->count, reply->done_arg, free_reply, reply);
    } else {
        reply->request_done(reply->status, reply->infos, reply->info_count, reply->done_arg, free_reply, reply);
    }
}

static void keep_bytes(struct reply *reply, const void *bytes, size_t count) {
    reply->bytes = malloc(count + 1);
    if (reply->bytes != NULL && count > 0) {
        memcpy(reply->bytes, bytes, count);
        reply->count = count;
    }
}

static void shift_reply(struct pmixsrv *server, struct reply *reply, pmix_status_t status) {
    pmix_proc_t nobody = { .rank = 0 };
    snprintf(nobody.nspace, sizeof(nobody.nspace), "ckptless.nobody");
    reply->status = status;
    server->pmix->server_deregister_client(&nobody, give_reply, reply);
}

static void close_reply(struct pmixsrv *server, struct reply *reply) {
    pthread_mutex_lock(&server->lock);
    struct reply **link = &server->open;
    while (*link != reply) {
        link = &(*link)->next;
    }
    *link = reply->next;
    pthread_mutex_unlock(&server->lock);
}

void pmixsrv_reply(struct pmixsrv *server, void *to, const void *bytes, size_t count) {
    struct reply *reply = to;
    close_reply(server, reply);
    keep_bytes(reply, bytes, count);
    pmix_byte_object_t *object = &set_key(&reply->infos[0], WIRE_RPC_KEY, PMIX_BYTE_OBJECT)->value.data.bo;
    *object = (pmix_byte_object_t){ .bytes = reply->bytes, .size = reply->count };
    reply->info_count = 1;
    shift_reply(server, reply, PMIX_SUCCESS);
}

void pmixsrv_reply_stays(struct pmixsrv *server, void *to, uint32_t world, uint32_t starts) {
    struct reply *reply = to;
    close_reply(server, reply);
    set_key(&reply->infos[0], GLUE_WORLD_KEY, PMIX_UINT32)->value.data.uint32 = world;
    set_key(&reply->infos[1], PMIX_REINCARNATION, PMIX_UINT32)->value.data.uint32 = starts;
    reply->info_count = 2;
    shift_reply(server, reply, PMIX_SUCCESS);
}

void pmixsrv_answer_error(struct pmixsrv *server, struct reply *reply) {
    shift_reply(server, reply, PMIX_ERR_UNREACH);
}

void pmixsrv_fence_done(struct pmixsrv *server, void *reply, bool ok, const void *bytes, size_t count) {
    close_reply(server, reply);
    keep_bytes(reply, bytes, count);
    shift_reply(server, reply, ok ? PMIX_SUCCESS : PMIX_ERR_PARTIAL_SUCCESS);
}

struct notice {
    pmix_info_t infos[5];
    size_t info_count;
    pmix_proc_t target, affected;
    char host[256];
};

static void free_notice(pmix_status_t status, void *arg) {
    (void)status;
    free(arg);
}

static pmix_info_t *add_info(struct notice *notice, const char *key, pmix_data_type_t type) {
    return set_key(&notice->infos[notice->info_count++], key, type);
}

/* To one local client; what the event says is in the notice already. Takes the notice over. */
static void send_notice(struct pmixsrv *server, struct notice *notice, uint32_t rank, pmix_status_t code) {
    pmix_proc_t source = pmixsrv_name(server, server->universe); /* nobody's: PMIx tells no event to its source */
    notice->target = pmixsrv_name(server, rank);
    add_info(notice, PMIX_EVENT_CUSTOM_RANGE, PMIX_PROC)->value.data.proc = &notice->target;
    add_info(notice, PMIX_EVENT_DO_NOT_CACHE, PMIX_BOOL)->value.data.flag = true;
    pmix_status_t status = server->pmix->notify_event(code, &source, PMIX_RANGE_CUSTOM, notice->infos,
                                                      notice->info_count, free_notice, notice);
    if (status != PMIX_SUCCESS) {
        free(notice); /* no callback follows */
    }
}

void pmixsrv_interrupt(struct pmixsrv *server, uint32_t rank, uint64_t epoch) {
    struct notice *notice = calloc(1, sizeof(*notice));
    if (notice != NULL) { /* the page says it too */
        add_info(notice, WIRE_RPC_EPOCH_KEY, PMIX_UINT64)->value.data.uint64 = epoch;
        send_notice(server, notice, rank, GLUE_EVENT_INTERRUPT);
    }
}

void pmixsrv_tell(struct pmixsrv *server, uint32_t rank, const struct pmixsrv_change *change) {
    struct notice *notice = calloc(1, sizeof(*notice));
    if (notice == NULL) {
        return;
    }
    notice->affected = pmixsrv_name(server, change->rank);
    snprintf(notice->host, sizeof(notice->host), "%s", change->host);
    add_info(notice, PMIX_EVENT_AFFECTED_PROC, PMIX_PROC)->value.data.proc = &notice->affected;
    add_info(notice, GLUE_WORLD_KEY, PMIX_UINT32)->value.data.uint32 = change->world;
    add_info(notice, PMIX_HOSTNAME, PMIX_STRING)->value.data.string = notice->host;
    send_notice(server, notice, rank, change->is_back ? GLUE_EVENT_REPLACED : GLUE_EVENT_LOST);
}
