/*
 * The lease of the rank, without the helper: where that stands still, or is not given the CPU, nobody else on this node
 * would stop a program that another one may be about to replace. The page says until when it may run; who stops it here
 * lets it go on as soon as the page says so again, unless the helper holds it, too.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node_helper/wire/wire_page.h"
#include "spank_plugin/keeper_private.h"
#include "spank_plugin/keeper_tree.h"

#define NS_PER_MS 1000000u
#define RENEWED_MS 10   /* how soon a renewal is seen */
#define NO_LEASE_MS 200 /* and that there is an end now */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

void keeper_lease_take(struct keeper *keeper) {
    struct stat facts;
    if (keeper->page != NULL) {
        (void)munmap(keeper->page, WIRE_PAGE_BYTES);
        keeper->page = NULL;
    }
    keeper->is_held = keeper->is_held_by_helper = false;
    if (keeper->page_fd < 0 || fstat(keeper->page_fd, &facts) != 0 || facts.st_size < (off_t)WIRE_PAGE_BYTES) {
        return;
    }
    void *page = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ, MAP_SHARED, keeper->page_fd, 0);
    keeper->page = page == MAP_FAILED ? NULL : page;
    if (keeper->page != NULL && ((const struct wire_page *)page)->magic != WIRE_PAGE_MAGIC) {
        (void)munmap(page, WIRE_PAGE_BYTES);
        keeper->page = NULL;
    }
}

void keeper_lease_hold(struct keeper *keeper, bool by_helper) {
    keeper->is_held_by_helper = by_helper;
    if (by_helper || !keeper->is_held) {
        (void)keeper_tree_signal(keeper->pid, by_helper ? SIGSTOP : SIGCONT);
    }
}

int64_t keeper_lease_check(struct keeper *keeper) {
    const struct wire_page *page = keeper->page;
    if (page == NULL || keeper->program == 0 || keeper->is_parked) {
        return -1;
    }
    uint64_t end_ns = atomic_load(&page->lease_end_ns), now = now_ns();
    bool has_ended = now >= end_ns;
    if (has_ended != keeper->is_held) {
        keeper->is_held = has_ended;
        if (!keeper->is_held_by_helper) {
            (void)keeper_tree_signal(keeper->pid, has_ended ? SIGSTOP : SIGCONT);
        }
    }
    if (end_ns == UINT64_MAX) {
        return NO_LEASE_MS;
    }
    return has_ended ? RENEWED_MS : (int64_t)((end_ns - now) / NS_PER_MS) + 1;
}
