/*
 * What PMIx calls on its own thread: copied into the queue, answered later. Decides nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_rpc.h"
#include "pmix_glue/server/pmixsrv_private.h"

static void queue_client(const pmix_proc_t *proc, enum pmixsrv_event_type type, int status, const char *text) {
    struct pmixsrv *server = pmixsrv_current;
    if (!pmixsrv_is_ours(server, proc)) {
        return;
    }
    if (type == PMIXSRV_EVENT_CONNECTED) {
        pmixsrv_on_connection(server, proc->rank);
    }
    if ((type == PMIXSRV_EVENT_LOST || type == PMIXSRV_EVENT_FINALIZED) &&
        !pmixsrv_on_connection_end(server, proc->rank)) {
        return;
    }
    if (type == PMIXSRV_EVENT_ABORT && !pmixsrv_is_connected(server, proc->rank)) {
        return; /* a predecessor's last word */
    }
    struct pmixsrv_event event = { .type = type, .rank = proc->rank, .status = status };
    event.serial = pmixsrv_serial(server, proc->rank);
    if (text != NULL) {
        strncpy(event.text, text, sizeof(event.text) - 1);
    }
    pmixsrv_queue(server, &event);
}

static pmix_status_t on_connected(const pmix_proc_t *proc, void *object, pmix_info_t info[], size_t count,
                                  pmix_op_cbfunc_t done, void *done_arg) {
    (void)object;
    (void)info;
    (void)count;
    (void)done;
    (void)done_arg;
    queue_client(proc, PMIXSRV_EVENT_CONNECTED, 0, NULL);
    return PMIX_OPERATION_SUCCEEDED;
}

static pmix_status_t on_finalized(const pmix_proc_t *proc, void *object, pmix_op_cbfunc_t done, void *done_arg) {
    (void)object;
    (void)done;
    (void)done_arg;
    queue_client(proc, PMIXSRV_EVENT_FINALIZED, 0, NULL);
    return PMIX_OPERATION_SUCCEEDED;
}

static pmix_status_t on_abort(const pmix_proc_t *proc, void *object, int status, const char text[], pmix_proc_t procs[],
                              size_t count, pmix_op_cbfunc_t done, void *done_arg) {
    (void)object;
    (void)procs;
    (void)count;
    (void)done;
    (void)done_arg;
    queue_client(proc, PMIXSRV_EVENT_ABORT, status, text);
    return PMIX_OPERATION_SUCCEEDED;
}

static struct reply *open_reply(struct pmixsrv *server) {
    struct reply *reply = calloc(1, sizeof(*reply));
    if (reply != NULL) {
        pthread_mutex_lock(&server->lock);
        reply->next = server->open;
        server->open = reply;
        pthread_mutex_unlock(&server->lock);
    }
    return reply;
}

static const pmix_byte_object_t *find_request(const pmix_info_t *directives, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strncmp(directives[i].key, WIRE_RPC_KEY, PMIX_MAX_KEYLEN) == 0 &&
            directives[i].value.type == PMIX_BYTE_OBJECT && directives[i].value.data.bo.size <= WIRE_RPC_BYTES_MAX) {
            return &directives[i].value.data.bo;
        }
    }
    return NULL;
}

/* "application supports recoverable operations" */
static bool says_recoverable(const pmix_info_t *directives, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strncmp(directives[i].key, PMIX_JOB_RECOVERABLE, PMIX_MAX_KEYLEN) == 0) {
            return directives[i].value.type == PMIX_BOOL && directives[i].value.data.flag;
        }
    }
    return false;
}

static pmix_status_t on_job_control(const pmix_proc_t *proc, const pmix_proc_t targets[], size_t target_count,
                                    const pmix_info_t directives[], size_t count, pmix_info_cbfunc_t done,
                                    void *done_arg) {
    struct pmixsrv *server = pmixsrv_current;
    const pmix_byte_object_t *request = find_request(directives, count);
    (void)targets;
    (void)target_count;
    if (!pmixsrv_is_ours(server, proc) || (request == NULL && !says_recoverable(directives, count))) {
        return PMIX_ERR_NOT_SUPPORTED;
    }
    struct pmixsrv_event event = { .type = request ? PMIXSRV_EVENT_REQUEST : PMIXSRV_EVENT_STAYS, .rank = proc->rank };
    event.bytes = request ? request->size : 0;
    event.data = malloc(event.bytes + 1);
    struct reply *reply = event.data ? open_reply(server) : NULL;
    if (reply == NULL) {
        free(event.data);
        return PMIX_ERR_NOMEM;
    }
    if (request != NULL) {
        memcpy(event.data, request->bytes, request->size);
    }
    reply->request_done = done;
    reply->done_arg = done_arg;
    event.reply = reply;
    event.serial = pmixsrv_serial(server, proc->rank);
    pmixsrv_queue(server, &event);
    return PMIX_SUCCESS;
}

/* False: someone takes part who is not of this step, or no memory. A wildcard is all of the world: no list. */
static bool copy_participants(struct pmixsrv *server, const pmix_proc_t procs[], size_t count,
                              struct pmixsrv_event *event) {
    event->ranks = calloc(count + 1, sizeof(*event->ranks));
    bool all = false;
    for (size_t i = 0; event->ranks != NULL && i < count; i++) {
        if (strncmp(procs[i].nspace, GLUE_WORLD_KEY, PMIX_MAX_NSLEN) == 0) {
            event->world = procs[i].rank;
        } else if (!pmixsrv_is_ours(server, &procs[i])) {
            return false;
        } else if (procs[i].rank == PMIX_RANK_WILDCARD) {
            all = true;
        } else {
            event->ranks[event->rank_count++] = procs[i].rank;
        }
    }
    bool named = all || event->rank_count > 0;
    event->rank_count = all ? 0 : event->rank_count;
    return event->ranks != NULL && named;
}

static pmix_status_t on_fence(const pmix_proc_t procs[], size_t proc_count, const pmix_info_t info[], size_t count,
                              char *data, size_t bytes, pmix_modex_cbfunc_t done, void *done_arg) {
    struct pmixsrv *server = pmixsrv_current;
    struct pmixsrv_event event = { .type = PMIXSRV_EVENT_FENCE, .data = (uint8_t *)data, .bytes = bytes };
    (void)info;
    (void)count;
    struct reply *reply = copy_participants(server, procs, proc_count, &event) ? open_reply(server) : NULL;
    if (reply == NULL) {
        free(event.ranks);
        free(data);
        return PMIX_ERR_NOT_SUPPORTED;
    }
    reply->is_fence = true;
    reply->fence_done = done;
    reply->done_arg = done_arg;
    event.reply = reply;
    pmixsrv_queue(server, &event);
    return PMIX_SUCCESS;
}

/* Taken note of by PMIx itself: events of ours reach all local clients that have a handler. */
static pmix_status_t on_register_events(pmix_status_t *codes, size_t code_count, const pmix_info_t info[], size_t count,
                                        pmix_op_cbfunc_t done, void *done_arg) {
    (void)codes;
    (void)code_count;
    (void)info;
    (void)count;
    (void)done;
    (void)done_arg;
    return PMIX_OPERATION_SUCCEEDED;
}

static pmix_status_t on_deregister_events(pmix_status_t *codes, size_t code_count, pmix_op_cbfunc_t done,
                                          void *done_arg) {
    (void)codes;
    (void)code_count;
    (void)done;
    (void)done_arg;
    return PMIX_OPERATION_SUCCEEDED;
}

/* PMIx (4.2.2) keeps a loss for a second, longer when another comes, of whatever rank, and tells all of them as one
 * event: the first as its source, each further one as a PMIX_PROCID. */
void pmixsrv_on_event(size_t handler, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t count,
                      pmix_info_t results[], size_t result_count, pmix_event_notification_cbfunc_fn_t done,
                      void *done_arg) {
    (void)handler;
    (void)results;
    (void)result_count;
    if (status == PMIX_ERR_LOST_CONNECTION && source != NULL) {
        queue_client(source, PMIXSRV_EVENT_LOST, status, NULL);
        for (size_t i = 0; i < count; i++) {
            if (strncmp(info[i].key, PMIX_PROCID, PMIX_MAX_KEYLEN) == 0 && info[i].value.type == PMIX_PROC) {
                queue_client(info[i].value.data.proc, PMIXSRV_EVENT_LOST, status, NULL);
            }
        }
    }
    if (done != NULL) {
        done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, done_arg);
    }
}

pmix_server_module_t pmixsrv_module = {
    .client_connected2 = on_connected,
    .client_finalized = on_finalized,
    .abort = on_abort,
    .fence_nb = on_fence,
    .register_events = on_register_events,
    .deregister_events = on_deregister_events,
    .job_control = on_job_control,
};
