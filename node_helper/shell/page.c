/*
 * One memfd, mapped and counted; see page.h.
 */
#include "node_helper/shell/page.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct page *page_create(uint32_t incarnation, uint64_t lease_end_ns) {
    struct page *page = calloc(1, sizeof(*page));
    if (page == NULL) {
        return NULL;
    }
    void *shared = MAP_FAILED;
    page->fd = memfd_create("ckptless-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (page->fd >= 0 && ftruncate(page->fd, WIRE_PAGE_BYTES) == 0) {
        (void)fcntl(page->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW); /* who reads it must not fault */
        shared = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page->fd, 0);
    }
    if (shared == MAP_FAILED) {
        if (page->fd >= 0) {
            close(page->fd);
        }
        free(page);
        return NULL;
    }
    page->shared = shared;
    page->shared->magic = WIRE_PAGE_MAGIC;
    page->shared->version = WIRE_PAGE_VERSION;
    page->shared->bytes = WIRE_PAGE_BYTES;
    page->shared->incarnation = incarnation;
    atomic_store(&page->shared->lease_end_ns, lease_end_ns);
    atomic_store(&page->references, 1);
    return page;
}

struct page *page_reference(struct page *page) {
    atomic_fetch_add(&page->references, 1);
    return page;
}

void page_release(struct page *page) {
    if (page == NULL || atomic_fetch_sub(&page->references, 1) != 1) {
        return;
    }
    (void)munmap(page->shared, WIRE_PAGE_BYTES);
    close(page->fd);
    free(page);
}
