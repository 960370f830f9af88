/*
 * A plain PMIx program, without libckptless: `fence ROUNDS [PAUSE-MS [FILE]]` publishes a value a round, fences with its
 * peers (all, and the even ranks among themselves) and reads everybody's value. Rank 0 prints a line a round. Where FILE is
 * not there at the start, the last rank alone enters the first fence.
 */
#include <pmix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pmix_proc_t self;

static void fail(const char *what, int status) {
    fprintf(stderr, "fence: rank %u: %s: %s\n", self.rank, what, PMIx_Error_string(status));
    exit(3);
}

static void check(const char *what, int status) {
    if (status != PMIX_SUCCESS) {
        fail(what, status);
    }
}

static void publish(const char *key, const char *text) {
    pmix_value_t value = { .type = PMIX_STRING, .data.string = (char *)(uintptr_t)text };
    check("put", PMIx_Put(PMIX_GLOBAL, key, &value));
    check("commit", PMIx_Commit());
}

static void fence_all(void) {
    pmix_proc_t all;
    pmix_info_t collect;
    bool yes = true;
    PMIX_LOAD_PROCID(&all, self.nspace, PMIX_RANK_WILDCARD);
    PMIX_INFO_LOAD(&collect, PMIX_COLLECT_DATA, &yes, PMIX_BOOL);
    check("fence of all", PMIx_Fence(&all, 1, &collect, 1));
}

static void fence_even(uint32_t size) {
    pmix_proc_t even[64];
    uint32_t count = 0;
    for (uint32_t rank = 0; rank < size && count < 64; rank += 2) {
        PMIX_LOAD_PROCID(&even[count], self.nspace, rank);
        count++;
    }
    check("fence of the even ranks", PMIx_Fence(even, count, NULL, 0));
}

static void read_all(const char *key, uint32_t size, char *ret_line) {
    ret_line[0] = '\0';
    for (uint32_t rank = 0; rank < size; rank++) {
        pmix_proc_t peer;
        pmix_value_t *value = NULL;
        PMIX_LOAD_PROCID(&peer, self.nspace, rank);
        check("get", PMIx_Get(&peer, key, NULL, 0, &value));
        strcat(strcat(ret_line, " "), value->data.string);
        PMIX_VALUE_RELEASE(value);
    }
}

/* Only the last rank goes on from here. */
static void wait_outside(uint32_t size) {
    fprintf(stderr, "rank %u is about to fence\n", self.rank);
    while (self.rank != size - 1) {
        (void)pause();
    }
}

int main(int argc, char **argv) {
    char key[64], text[64], line[4096];
    pmix_value_t *value = NULL;
    pmix_proc_t all;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    check("init", PMIx_Init(&self, NULL, 0));
    PMIX_LOAD_PROCID(&all, self.nspace, PMIX_RANK_WILDCARD);
    check("size", PMIx_Get(&all, PMIX_JOB_SIZE, NULL, 0, &value));
    uint32_t size = value->data.uint32;
    if (argc > 3 && access(argv[3], F_OK) != 0) {
        wait_outside(size);
    }
    for (int round = 0; round < rounds; round++) {
        snprintf(key, sizeof(key), "value-%d", round);
        snprintf(text, sizeof(text), "%u.%d", self.rank, round);
        publish(key, text);
        fence_all();
        read_all(key, size, line);
        if (self.rank % 2 == 0 && size > 1) {
            fence_even(size);
        }
        if (self.rank == 0) {
            printf("round %d of %u ranks:%s\n", round, size, line);
            fflush(stdout);
        }
        struct timespec pause = { .tv_nsec = argc > 2 ? atoi(argv[2]) * 1000000l : 0 };
        nanosleep(&pause, NULL);
    }
    check("finalize", PMIx_Finalize(NULL, 0));
    return 0;
}
