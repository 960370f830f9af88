/*
 * The PMIx client inside a program: the only place on the library's side that calls PMIx_*. The PMIx library is loaded
 * with dlopen at pmixcli_create(), so that programs outside a ckptless step neither need nor load it, and a missing one
 * is one clear line.
 */
#ifndef CKPTLESS_PMIXCLI_H
#define CKPTLESS_PMIXCLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmixcli;

enum pmixcli_result {
    PMIXCLI_OK = 0,
    PMIXCLI_ERR_LIBRARY, /* libpmix cannot be loaded; pmixcli_error() says why */
    PMIXCLI_ERR_CONNECT,
    PMIXCLI_ERR_LOST, /* the helper is gone */
    PMIXCLI_ERR_NO_MEMORY,
};

/* Runs on PMIx's thread: must not block and must not call PMIx. epoch: packed, the one that begins. */
typedef void pmixcli_interrupt_fn(void *arg, uint64_t epoch);

enum pmixcli_result pmixcli_create(struct pmixcli **ret_client, pmixcli_interrupt_fn *fn, void *arg)
    __attribute__((warn_unused_result));
/* Sends a request to the helper and waits for its answer, however long. Any thread. *ret_bytes: free(). */
enum pmixcli_result pmixcli_call(struct pmixcli *client, const void *request, size_t count, uint8_t **ret_bytes,
                                 size_t *ret_count) __attribute__((warn_unused_result));
/* PMIx_Finalize; NULL is allowed. */
void pmixcli_destroy(struct pmixcli *client);
/* What went wrong in the last failed create, one line. */
const char *pmixcli_error(void);

#endif
