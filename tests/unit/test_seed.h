/*
 * Seeds for the fuzz targets: with CKPTLESS_SEEDS=DIRECTORY set, the tests of the codecs leave what they encode there,
 * one file each, in a folder named after the target. tests/fuzz/run does that.
 */
#ifndef CKPTLESS_TEST_SEED_H
#define CKPTLESS_TEST_SEED_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* selector: a first byte by which the target chooses its decoder; -1: it has but one. */
static inline void test_seed(const char *target, int selector, const void *bytes, size_t count) {
    static unsigned number;
    const char *directory = getenv("CKPTLESS_SEEDS");
    char path[4096];
    if (directory == NULL) {
        return;
    }
    snprintf(path, sizeof(path), "%s/%s/seed-%03u", directory, target, number++);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        if (selector >= 0) {
            fputc(selector, file);
        }
        (void)!fwrite(bytes, 1, count, file);
        fclose(file);
    }
}

#endif
