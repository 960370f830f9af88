/*
 * Finding the shared page. The program inherits a descriptor of it; a program that closes all descriptors that it does
 * not know finds it again through its keeper, which keeps one under the same number. The descriptor may by now be
 * something else of the program's own: it is only closed when it is our page.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libckptless/environment.h"
#include "libckptless/page.h"
#include "libckptless/say.h"

#define PAGE_FD_NAME "CKPTLESS_PAGE_FD"
#define KEEPER_PID_NAME "CKPTLESS_KEEPER_PID"

bool page_expected(void) {
    const char *text = getenv(PAGE_FD_NAME);
    return text && *text;
}

void page_unmap(struct wire_page *page) {
    if (page) {
        (void)munmap(page, WIRE_PAGE_BYTES);
    }
}

/* The page behind fd, whatever its version; NULL: not ours. */
static struct wire_page *map_if_ours(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != WIRE_PAGE_BYTES) {
        return NULL;
    }
    struct wire_page *page = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    if (page->magic != WIRE_PAGE_MAGIC) {
        page_unmap(page);
        return NULL;
    }
    return page;
}

static struct wire_page *map_inherited(int fd) {
    struct wire_page *page = map_if_ours(fd);
    if (page) {
        close(fd);
    }
    return page;
}

static struct wire_page *map_from_keeper(int fd, int keeper) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", keeper, fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again < 0) {
        return NULL;
    }
    struct wire_page *page = map_if_ours(again);
    int saved = page ? 0 : EBADF;
    close(again);
    errno = saved;
    return page;
}

static enum ckptless_result check_page(const struct wire_page *page) {
    uint32_t attached = atomic_load(&page->attached_pid);
    if (page->version != WIRE_PAGE_VERSION || page->bytes != WIRE_PAGE_BYTES) {
        say_line(NULL,
                 "ckptless_init: the node's ckptlessd has version %u of the shared page, this library version %u; "
                 "install the same ckptless on all nodes and in the container",
                 page->version, WIRE_PAGE_VERSION);
        return CKPTLESS_ERR_VERSION;
    }
    if (attached != 0 && attached != (uint32_t)getpid()) {
        say_line(NULL, "ckptless_init: process %u already is this rank; only one process of a rank may call it",
                 attached);
        return CKPTLESS_ERR_STATE;
    }
    return CKPTLESS_OK;
}

enum ckptless_result page_map(struct wire_page **ret_page) {
    int fd = -1, keeper = 0;
    if (environment_number(PAGE_FD_NAME, 0, INT_MAX, &fd) != ENVIRONMENT_OK) {
        return CKPTLESS_ERR_INVALID;
    }
    struct wire_page *page = map_inherited(fd);
    if (!page) {
        enum environment_result named = environment_number(KEEPER_PID_NAME, 1, INT_MAX, &keeper);
        if (named == ENVIRONMENT_BAD) {
            return CKPTLESS_ERR_INVALID;
        }
        errno = ESRCH;
        page = named == ENVIRONMENT_OK ? map_from_keeper(fd, keeper) : NULL;
    }
    if (!page) {
        say_line(
            NULL,
            "ckptless_init: cannot find the page shared with ckptlessd: descriptor %d is closed or something else, "
            "and /proc/%d/fd/%d gives: %s; keep the descriptor open until ckptless_init, or unset " PAGE_FD_NAME
            " to run outside the step",
            fd, keeper, fd, strerror(errno));
        return CKPTLESS_ERR_HELPER;
    }
    enum ckptless_result result = check_page(page);
    if (result != CKPTLESS_OK) {
        page_unmap(page);
        return result;
    }
    *ret_page = page;
    return CKPTLESS_OK;
}
