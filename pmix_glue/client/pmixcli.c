/*
 * One PMIx client a process: requests as PMIx_Job_control with a byte object, the interrupt as an event; see pmixcli.h.
 */
#include "pmix_glue/client/pmixcli.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_rpc.h"
#include "pmix_glue/glue_table.h"

struct pmixcli {
    const struct glue_table *pmix;
    pmixcli_interrupt_fn *fn;
    void *arg;
    pmix_proc_t self;
};

/* PMIx calls handlers without an argument of ours: one client a process, guarded for the time of its going. */
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pmixcli *current;
static char error[640];

const char *pmixcli_error(void) {
    return error;
}

static void on_event(size_t handler, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t count,
                     pmix_info_t results[], size_t result_count, pmix_event_notification_cbfunc_fn_t done,
                     void *done_arg) {
    (void)handler;
    (void)status;
    (void)source;
    (void)results;
    (void)result_count;
    pthread_mutex_lock(&current_lock);
    for (size_t i = 0; current != NULL && i < count; i++) {
        if (strncmp(info[i].key, WIRE_RPC_EPOCH_KEY, PMIX_MAX_KEYLEN) == 0 && info[i].value.type == PMIX_UINT64) {
            current->fn(current->arg, info[i].value.data.uint64);
        }
    }
    pthread_mutex_unlock(&current_lock);
    if (done != NULL) {
        done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, done_arg);
    }
}

static bool register_handler(struct pmixcli *client) {
    pmix_status_t code = GLUE_EVENT_INTERRUPT;
    /* Without a callback it waits; the answer is the handler's number. */
    return client->pmix->register_event_handler(&code, 1, NULL, 0, on_event, NULL, NULL) >= 0;
}

enum pmixcli_result pmixcli_create(struct pmixcli **ret_client, pmixcli_interrupt_fn *fn, void *arg) {
    const char *why = NULL;
    const struct glue_table *pmix = glue_table_load(&why);
    if (pmix == NULL) {
        snprintf(error, sizeof(error), "%s", why);
        return PMIXCLI_ERR_LIBRARY;
    }
    struct pmixcli *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        snprintf(error, sizeof(error), "no memory for the PMIx client");
        return PMIXCLI_ERR_NO_MEMORY;
    }
    *client = (struct pmixcli){ .pmix = pmix, .fn = fn, .arg = arg };
    pmix_status_t status = pmix->init(&client->self, NULL, 0);
    if (status != PMIX_SUCCESS) {
        snprintf(error, sizeof(error), "the PMIx server in ckptlessd cannot be reached (%s)",
                 pmix->error_string(status));
        free(client);
        return PMIXCLI_ERR_CONNECT;
    }
    pthread_mutex_lock(&current_lock);
    current = client;
    pthread_mutex_unlock(&current_lock);
    if (!register_handler(client)) {
        snprintf(error, sizeof(error), "PMIx takes no event handler");
        pmixcli_destroy(client);
        return PMIXCLI_ERR_CONNECT;
    }
    *ret_client = client;
    return PMIXCLI_OK;
}

/* The byte object of the answer, copied. */
static enum pmixcli_result take_answer(const pmix_info_t *results, size_t count, uint8_t **ret_bytes,
                                       size_t *ret_count) {
    for (size_t i = 0; i < count; i++) {
        const pmix_value_t *value = &results[i].value;
        if (strncmp(results[i].key, WIRE_RPC_KEY, PMIX_MAX_KEYLEN) != 0 || value->type != PMIX_BYTE_OBJECT) {
            continue;
        }
        *ret_bytes = malloc(value->data.bo.size + 1);
        if (*ret_bytes == NULL) {
            return PMIXCLI_ERR_NO_MEMORY;
        }
        memcpy(*ret_bytes, value->data.bo.bytes, value->data.bo.size);
        *ret_count = value->data.bo.size;
        return PMIXCLI_OK;
    }
    return PMIXCLI_ERR_LOST;
}

enum pmixcli_result pmixcli_call(struct pmixcli *client, const void *request, size_t count, uint8_t **ret_bytes,
                                 size_t *ret_count) {
    pmix_info_t directive, *results = NULL;
    size_t result_count = 0;
    PMIX_INFO_CONSTRUCT(&directive);
    memcpy(directive.key, WIRE_RPC_KEY, sizeof(WIRE_RPC_KEY));
    directive.value.type = PMIX_BYTE_OBJECT;
    directive.value.data.bo.bytes = (char *)(uintptr_t)request; /* packed by the call, not kept */
    directive.value.data.bo.size = count;
    pmix_status_t status = client->pmix->job_control(NULL, 0, &directive, 1, &results, &result_count);
    enum pmixcli_result result =
        status == PMIX_SUCCESS ? take_answer(results, result_count, ret_bytes, ret_count) : PMIXCLI_ERR_LOST;
    if (results != NULL) {
        glue_free_infos(client->pmix, results, result_count);
    }
    return result;
}

void pmixcli_destroy(struct pmixcli *client) {
    if (client == NULL) {
        return;
    }
    pthread_mutex_lock(&current_lock);
    current = NULL;
    pthread_mutex_unlock(&current_lock);
    (void)client->pmix->finalize(NULL, 0);
    free(client);
}
