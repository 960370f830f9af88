/* A header, the random numbers' state, the model; see checkpoint.h. */
#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct header {
    char magic[8];
    uint64_t step, bytes, digest;
    struct random random;
};

bool checkpoint_save(const char *path, uint64_t step, const struct model *model, const struct random *random) {
    struct header header = { .magic = "charlm1", .step = step, .bytes = sizeof(*model), .random = *random };
    char temporary[4096];
    header.digest = model_digest(model);
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "w");
    bool written = file != NULL && fwrite(&header, sizeof(header), 1, file) == 1 &&
                   fwrite(model, sizeof(*model), 1, file) == 1 && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file != NULL) {
        written = fclose(file) == 0 && written;
    }
    if (!written || rename(temporary, path) != 0) {
        fprintf(stderr, "charlm: checkpoint %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}

bool checkpoint_load(const char *path, uint64_t *ret_step, struct model *ret_model, struct random *ret_random) {
    struct header header;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    struct model *model = malloc(sizeof(*model));
    bool good = model != NULL && fread(&header, sizeof(header), 1, file) == 1 &&
                memcmp(header.magic, "charlm1", sizeof(header.magic)) == 0 && header.bytes == sizeof(*model) &&
                fread(model, sizeof(*model), 1, file) == 1 && model_digest(model) == header.digest;
    fclose(file);
    if (good) {
        *ret_model = *model;
        *ret_random = header.random;
        *ret_step = header.step;
    } else {
        fprintf(stderr, "charlm: checkpoint %s is damaged; starting from the beginning\n", path);
    }
    free(model);
    return good;
}
