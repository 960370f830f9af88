/*
 * What the tests of libckptless share: a page as the helper makes it, what goes to stderr, waiting with a deadline.
 */
#ifndef CKPTLESS_TEST_LIB_H
#define CKPTLESS_TEST_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "node_helper/wire/wire_page.h"

#define TEST_DEADLINE_MS 5000

/* A page like the helper's, its descriptor not close-on-exec. */
static inline struct wire_page *test_page(int *ret_fd) {
    int fd = memfd_create("test-page", 0);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, WIRE_PAGE_BYTES), 0);
    struct wire_page *page = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    page->magic = WIRE_PAGE_MAGIC;
    page->version = WIRE_PAGE_VERSION;
    page->bytes = WIRE_PAGE_BYTES;
    atomic_store(&page->lease_end_ns, UINT64_MAX);
    *ret_fd = fd;
    return page;
}

static inline uint64_t test_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* False: it did not come true in time. */
static inline bool test_wait(bool (*is_true)(void *), void *arg) {
    const struct timespec nap = { .tv_nsec = 500000 };
    uint64_t end_ns = test_now_ns() + TEST_DEADLINE_MS * 1000000ull;
    while (!is_true(arg)) {
        if (test_now_ns() > end_ns) {
            return false;
        }
        (void)nanosleep(&nap, NULL);
    }
    return true;
}

struct test_stderr {
    int file, before;
    char text[8192];
};

static inline void test_stderr_catch(struct test_stderr *caught) {
    caught->file = memfd_create("stderr", MFD_CLOEXEC);
    caught->before = dup(STDERR_FILENO);
    assert_true(caught->file >= 0 && caught->before >= 0);
    assert_true(dup2(caught->file, STDERR_FILENO) >= 0);
}

/* What was written since catch. */
static inline const char *test_stderr_release(struct test_stderr *caught) {
    (void)dup2(caught->before, STDERR_FILENO);
    close(caught->before);
    ssize_t count = pread(caught->file, caught->text, sizeof(caught->text) - 1, 0);
    caught->text[count > 0 ? count : 0] = '\0';
    close(caught->file);
    return caught->text;
}

/* One line with the prefix, and with `part` in it. */
static inline void test_is_line(const char *text, const char *part) {
    const char *end = strchr(text, '\n');
    if (strncmp(text, "ckptless: ", 10) != 0 || !end || end[1] != '\0' || !strstr(text, part)) {
        fail_msg("not one line with \"%s\": \"%s\"", part, text);
    }
}

#endif
