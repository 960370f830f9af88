/*
 * The functions of libpmix that this project calls, loaded with dlopen: a program outside a ckptless step does not load
 * PMIx, and where it is missing the user gets one line instead of a loader's.
 */
#ifndef CKPTLESS_GLUE_TABLE_H
#define CKPTLESS_GLUE_TABLE_H

#include <pmix.h>
#include <pmix_server.h>

/* "This world has ended": a code of our own, so that no other library's handler is called for it. */
#define GLUE_EVENT_INTERRUPT (PMIX_EXTERNAL_ERR_BASE - 4077)
/* To programs without the library that have said that they survive, and part of the contract (ckptless(7)): a rank is
 * lost, its replacement is there. Each with PMIX_EVENT_AFFECTED_PROC, PMIX_HOSTNAME and the number of the world,
 * uint32_t. */
#define GLUE_EVENT_LOST (PMIX_EXTERNAL_ERR_BASE - 4078)
#define GLUE_EVENT_REPLACED (PMIX_EXTERNAL_ERR_BASE - 4079)
#define GLUE_WORLD_KEY "ckptless.world"
/* Also the namespace of what stands for a world among the participants of a fence: its rank is the world's number. PMIx
 * cannot take back a fence that a local process has entered, and takes two of the same participants for one. */

struct glue_table {
    __typeof__(PMIx_Init) *init;
    __typeof__(PMIx_Finalize) *finalize;
    __typeof__(PMIx_Job_control) *job_control;
    __typeof__(PMIx_Register_event_handler) *register_event_handler;
    __typeof__(PMIx_Notify_event) *notify_event;
    __typeof__(PMIx_Error_string) *error_string;
    __typeof__(PMIx_Value_destruct) *value_destruct;
    __typeof__(PMIx_generate_regex) *generate_regex;
    __typeof__(PMIx_generate_ppn) *generate_ppn;
    __typeof__(PMIx_server_init) *server_init;
    __typeof__(PMIx_server_finalize) *server_finalize;
    __typeof__(PMIx_server_register_nspace) *server_register_nspace;
    __typeof__(PMIx_server_register_client) *server_register_client;
    __typeof__(PMIx_server_deregister_client) *server_deregister_client;
    __typeof__(PMIx_server_setup_fork) *server_setup_fork;
};

/* The table, loaded once; NULL: libpmix cannot be loaded, and *ret_error (static) says why. Any thread. */
const struct glue_table *glue_table_load(const char **ret_error);
/* Frees what PMIx has allocated. */
void glue_free_infos(const struct glue_table *pmix, pmix_info_t *infos, size_t count);

#endif
