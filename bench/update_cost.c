/*
 * What a step costs inside the library: ckptless_update on a managed page without a function to speak of, with and
 * without a region that is copied at each commit. Prints ns per call, by the clock around the loop and by the library's
 * own counter in the page.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libckptless/context.h"

#define EPOCH 0x100000001ull
#define CALLS 200000u
#define STEP_NS 20000000.0 /* of the goal: 0.2 % of it is 40,000 ns */

static enum ckptless_result nothing(void *arg, uint64_t step) {
    (void)arg;
    (void)step;
    return CKPTLESS_OK;
}

static struct wire_page *make_page(void) {
    int fd = memfd_create("page", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, WIRE_PAGE_BYTES) != 0) {
        return NULL;
    }
    struct wire_page *page = mmap(NULL, WIRE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

/* A world entered by hand: the helper takes no part in a step. copied_bytes 0: no region is copied. */
static bool measure(size_t copied_bytes) {
    struct ckptless ctx = { .pid = getpid(), .phase = CONTEXT_RUNNING, .has_state = true, .announced = true };
    struct ckptless_region region = CKPTLESS_REGION_INIT;
    ctx.page = make_page();
    if (!ctx.page || interrupt_create(&ctx.interrupt, ctx.page) != CKPTLESS_OK) {
        return false;
    }
    atomic_store(&ctx.page->lease_end_ns, UINT64_MAX - 1);
    atomic_store(&ctx.page->stop_epoch, EPOCH);
    atomic_store(&ctx.epoch, EPOCH);
    interrupt_enter(ctx.interrupt, EPOCH, 1);
    region.name = "copied";
    region.bytes = copied_bytes;
    region.data = calloc(1, copied_bytes + 1);
    region.changes_between_updates = true;
    bool good = region.data && (copied_bytes == 0 || ckptless_register(&ctx, &region) == CKPTLESS_OK);
    uint64_t began_ns = context_now_ns();
    for (uint64_t step = 1; good && step <= CALLS; step++) {
        good = ckptless_update(&ctx, step, nothing, NULL) == CKPTLESS_OK;
    }
    double call_ns = (double)(context_now_ns() - began_ns) / CALLS;
    double counted_ns = (double)atomic_load(&ctx.page->library_ns) / CALLS;
    printf("ckptless_update, %6zu bytes copied: %7.0f ns per call, %7.0f ns by the library's counter, %.4f %% of a "
           "20 ms step\n",
           copied_bytes, call_ns, counted_ns, 100.0 * call_ns / STEP_NS);
    interrupt_destroy(ctx.interrupt);
    regions_fini(&ctx.regions);
    free(region.data);
    (void)munmap(ctx.page, WIRE_PAGE_BYTES);
    return good;
}

int main(void) {
    return measure(0) && measure(64) && measure(65536) ? 0 : 1;
}
