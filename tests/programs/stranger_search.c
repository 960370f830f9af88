/*
 * Looks through the memory of processes for bytes, and for the same bytes in hex, as a core of each would show them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/programs/stranger.h"

#define CHUNK_BYTES (1u << 20)

static uint8_t wanted[64], chunk[CHUNK_BYTES];
static char wanted_hex[2 * sizeof(wanted) + 1];
static size_t wanted_bytes;

static bool has(const uint8_t *bytes, size_t count) {
    return memmem(bytes, count, wanted, wanted_bytes) != NULL ||
           memmem(bytes, count, wanted_hex, 2 * wanted_bytes) != NULL;
}

/* Chunks overlap, so that nothing is cut. */
static bool search_range(int memory, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at += sizeof(chunk) - sizeof(wanted_hex)) {
        size_t count = to - at < sizeof(chunk) ? (size_t)(to - at) : sizeof(chunk);
        ssize_t got = pread(memory, chunk, count, (off_t)at);
        if (got > 0 && has(chunk, (size_t)got)) {
            return true;
        }
    }
    return false;
}

static bool search_process(const char *pid) {
    char path[64], line[512];
    unsigned long from, to;
    bool is_there = false;

    snprintf(path, sizeof(path), "/proc/%s/mem", pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/%s/maps", pid);
    FILE *maps = fopen(path, "re");
    if (memory < 0 || maps == NULL) {
        fprintf(stderr, "stranger: process %s cannot be read\n", pid);
        exit(2);
    }
    while (!is_there && fgets(line, sizeof(line), maps) != NULL) {
        is_there =
            sscanf(line, "%lx-%lx r", &from, &to) == 2 && strstr(line, "[v") == NULL && search_range(memory, from, to);
    }
    fclose(maps);
    close(memory);
    return is_there;
}

int stranger_search(int argc, char **argv) {
    FILE *file = fopen(argv[0], "re");
    wanted_bytes = file ? fread(wanted, 1, sizeof(wanted), file) : 0;
    if (wanted_bytes < 8) {
        fputs("stranger: nothing to look for\n", stderr);
        return 2;
    }
    fclose(file);
    for (size_t i = 0; i < wanted_bytes; i++) {
        snprintf(wanted_hex + 2 * i, 3, "%02x", wanted[i]);
    }
    for (int i = 1; i < argc; i++) {
        char path[64], name[64] = "?";
        snprintf(path, sizeof(path), "/proc/%s/comm", argv[i]);
        FILE *comm = fopen(path, "re");
        if (comm == NULL) {
            continue;
        }
        (void)!fscanf(comm, "%63s", name);
        fclose(comm);
        if (search_process(argv[i])) {
            printf("%s %s\n", argv[i], name);
        }
    }
    return 0;
}
