/*
 * The Slurm plugin ckptless.so: which hook of SPANK leads where. The only file with symbols that Slurm looks up; the
 * link exports nothing else. Knows nothing about what the contexts do.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "spank_plugin/plugin.h"

SPANK_PLUGIN(ckptless, 1)

bool plugin_program_path(int argc, char **argv, const char *name, char *ret_path, size_t capacity) {
    const char *directory = CKPTLESS_LIBEXECDIR;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "libexecdir=", strlen("libexecdir=")) == 0) {
            directory = argv[i] + strlen("libexecdir=");
        }
    }
    int length = snprintf(ret_path, capacity, "%s/%s", directory, name);
    return length > 0 && (size_t)length < capacity;
}

/* AuthInfo is "socket=PATH,ttl=N", in any order. */
bool plugin_has_munge(char *ret_socket, size_t capacity) {
    const slurm_conf_t *conf = dlsym(RTLD_DEFAULT, "slurm_conf");
    const char *key = "socket=", *at = conf && conf->authinfo ? strstr(conf->authinfo, key) : NULL;
    size_t length = at ? strcspn(at + strlen(key), ",") : 0;
    snprintf(ret_socket, capacity, "%.*s", (int)length, at ? at + strlen(key) : "");
    return conf && conf->authtype && strcmp(conf->authtype, "auth/munge") == 0 && length < capacity;
}

int slurm_spank_init(spank_t spank, int argc, char **argv) {
    (void)argc;
    (void)argv;
    switch (spank_context()) {
    case S_CTX_LOCAL:
    case S_CTX_ALLOCATOR:
        allocator_prepare();
        return option_register(spank);
    case S_CTX_REMOTE:
        return option_register(spank);
    default:
        return ESPANK_SUCCESS;
    }
}

int slurm_spank_init_post_opt(spank_t spank, int argc, char **argv) {
    (void)spank;
    (void)argc;
    (void)argv;
    switch (spank_context()) {
    case S_CTX_LOCAL:
    case S_CTX_ALLOCATOR:
        return allocator_post_opt();
    case S_CTX_REMOTE:
        return option_get()->given ? stepd_init() : ESPANK_SUCCESS;
    default:
        return ESPANK_SUCCESS;
    }
}

int slurm_spank_local_user_init(spank_t spank, int argc, char **argv) {
    return option_get()->given ? srun_start(spank, argc, argv) : ESPANK_SUCCESS;
}

int slurm_spank_task_init(spank_t spank, int argc, char **argv) {
    batch_task_init(spank);
    return option_get()->given ? stepd_task_init(spank, argc, argv) : ESPANK_SUCCESS;
}

int slurm_spank_exit(spank_t spank, int argc, char **argv) {
    (void)spank;
    (void)argc;
    (void)argv;
    if (spank_context() == S_CTX_LOCAL) {
        srun_stop();
    }
    return ESPANK_SUCCESS;
}
