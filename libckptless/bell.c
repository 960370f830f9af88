/*
 * The death bell (see bell.h). The futex lies in the shared page, the list that leads to it in private memory: the page
 * holds no pointers, so futex_offset bridges the two. Knows nothing of threads' duties or of helpers.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libckptless/bell.h"

bool bell_hang(struct bell *bell, struct wire_page *page) {
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    bell->entry.next = &bell->head.list;
    bell->head.list.next = &bell->entry;
    bell->head.futex_offset = (long)((intptr_t)&page->bell_futex - (intptr_t)&bell->entry);
    bell->head.list_op_pending = NULL;
    if (syscall(SYS_set_robust_list, &bell->head, sizeof(bell->head)) != 0) {
        return false;
    }
    atomic_store(&page->bell_futex, tid | FUTEX_WAITERS);
    return true;
}

void bell_remove(struct bell *bell, struct wire_page *page) {
    atomic_store(&page->bell_futex, 0);
    bell->head.list.next = &bell->head.list;
}
