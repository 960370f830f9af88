/*
 * dlopen and one dlsym a function; see glue_table.h. Never closed: PMIx leaves threads and exit handlers behind.
 */
#include "pmix_glue/glue_table.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct glue_table table;
static char error[512];
static bool loaded;

static void load(void) {
    static const struct {
        void *entry;
        const char *name;
    } rows[] = {
        { &table.init, "PMIx_Init" },
        { &table.finalize, "PMIx_Finalize" },
        { &table.job_control, "PMIx_Job_control" },
        { &table.register_event_handler, "PMIx_Register_event_handler" },
        { &table.notify_event, "PMIx_Notify_event" },
        { &table.error_string, "PMIx_Error_string" },
        { &table.value_destruct, "PMIx_Value_destruct" },
        { &table.generate_regex, "PMIx_generate_regex" },
        { &table.generate_ppn, "PMIx_generate_ppn" },
        { &table.server_init, "PMIx_server_init" },
        { &table.server_finalize, "PMIx_server_finalize" },
        { &table.server_register_nspace, "PMIx_server_register_nspace" },
        { &table.server_register_client, "PMIx_server_register_client" },
        { &table.server_deregister_client, "PMIx_server_deregister_client" },
        { &table.server_setup_fork, "PMIx_server_setup_fork" },
    };
    void *library = dlopen("libpmix.so.2", RTLD_NOW | RTLD_GLOBAL); /* GLOBAL: its plugins need its symbols */
    if (library == NULL) {
        const char *why = dlerror();
        snprintf(error, sizeof(error), "libpmix.so.2 cannot be loaded (%s); install PMIx 4 or newer on every node",
                 why ? why : "no reason given");
        return;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *symbol = dlsym(library, rows[i].name);
        if (symbol == NULL) {
            snprintf(error, sizeof(error), "libpmix.so.2 has no %s; install PMIx 4 or newer on every node",
                     rows[i].name);
            return;
        }
        *(void **)rows[i].entry = symbol;
    }
    loaded = true;
}

const struct glue_table *glue_table_load(const char **ret_error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    *ret_error = error;
    return loaded ? &table : NULL;
}

void glue_free_infos(const struct glue_table *pmix, pmix_info_t *infos, size_t count) {
    for (size_t i = 0; i < count; i++) {
        pmix->value_destruct(&infos[i].value);
    }
    free(infos);
}
