/*
 * One thread per running program that waits on its bell, and the look into /proc that confirms it; see bell.h.
 *
 * The probe trusts three things: a SIGKILL that is pending for the whole process (it stays pending until the process is
 * gone); the exit code that the kernel notes when a process begins to end, shown to its owner in /proc/PID/stat; and
 * the flag of a main thread that is on its way out.
 */
#include "node_helper/shell/bell.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "node_helper/shell/process.h"

#define WAIT_MS 500    /* bound of one wait: a wake can be missed only by a hair */
#define NOT_HUNG_MS 20 /* the library hangs the bell in ckptless_init */
#define STACK_BYTES 65536
#define FLAG_EXITING 0x4ul /* PF_EXITING of the kernel's include/linux/sched.h */

struct bell {
    struct page *page;
    int fd;
    struct bell_ring ring;
    pthread_mutex_t mutex; /* guards stopped, so that nothing is written after bell_destroy() */
    bool stopped;
    atomic_uint references; /* the owner's and the thread's */
};

static void release(struct bell *bell) {
    if (atomic_fetch_sub(&bell->references, 1) == 1) {
        page_release(bell->page);
        pthread_mutex_destroy(&bell->mutex);
        free(bell);
    }
}

static bool is_stopped(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bool stopped = bell->stopped;
    pthread_mutex_unlock(&bell->mutex);
    return stopped;
}

static void report_ring(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    if (!bell->stopped) {
        (void)!write(bell->fd, &bell->ring, sizeof(bell->ring));
    }
    pthread_mutex_unlock(&bell->mutex);
}

static void *wait_for_ring(void *argument) {
    struct bell *bell = argument;
    _Atomic uint32_t *futex = &bell->page->shared->bell_futex;
    while (!is_stopped(bell)) {
        uint32_t value = atomic_load(futex);
        if (value & FUTEX_OWNER_DIED) {
            report_ring(bell);
            break;
        }
        uint32_t wait_ms = value == 0 ? NOT_HUNG_MS : WAIT_MS;
        struct timespec bound = { .tv_nsec = (long)wait_ms * 1000000 };
        (void)syscall(SYS_futex, futex, FUTEX_WAIT, value, &bound, NULL, 0);
    }
    release(bell);
    return NULL;
}

static bool start_thread(struct bell *bell) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attributes, wait_for_ring, bell) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return started;
}

struct bell *bell_create(struct page *page, int fd, struct bell_ring ring) {
    struct bell *bell = calloc(1, sizeof(*bell));
    if (bell == NULL || pthread_mutex_init(&bell->mutex, NULL) != 0) {
        free(bell);
        return NULL;
    }
    bell->page = page_reference(page);
    bell->fd = fd;
    bell->ring = ring;
    atomic_store(&bell->references, 2);
    if (!start_thread(bell)) {
        atomic_store(&bell->references, 1);
        release(bell);
        return NULL;
    }
    return bell;
}

void bell_destroy(struct bell *bell) {
    if (bell == NULL) {
        return;
    }
    pthread_mutex_lock(&bell->mutex);
    bell->stopped = true;
    pthread_mutex_unlock(&bell->mutex);
    (void)syscall(SYS_futex, &bell->page->shared->bell_futex, FUTEX_WAKE, 1, NULL, NULL, 0);
    release(bell);
}

enum bell_verdict bell_probe(pid_t pid, int *ret_status) {
    struct process_state state;
    if (process_kill_is_pending(pid)) {
        *ret_status = SIGKILL;
        return BELL_ENDED;
    }
    if (!process_read(pid, &state)) {
        return kill(pid, 0) != 0 && errno == ESRCH ? BELL_UNKNOWN : BELL_ALIVE;
    }
    if (state.state != 'Z' && state.state != 'X' && !(state.flags & FLAG_EXITING)) {
        return BELL_ALIVE;
    }
    if (state.status == 0) {
        return BELL_UNKNOWN; /* exit(0), or not shown to us */
    }
    *ret_status = state.status;
    return BELL_ENDED;
}
