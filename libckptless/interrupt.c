/*
 * The library's thread (see interrupt.h). Knows the page's stop_epoch and the packed epoch of the program's world, not
 * the context: it outlives that.
 *
 * The world has ended when the newest epoch heard of is above the world's. Then, until the next world is entered, all
 * watched sockets are shut down: again every RESHUT_MS, because a socket that was watched but not connecting yet at the
 * first time forgets the shutdown. PMIx's event is what wakes the thread; it looks at the page every POLL_MS by itself,
 * so that a lost event costs time, not the recovery.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "libckptless/bell.h"
#include "libckptless/interrupt.h"

#define POLL_MS 100
#define RESHUT_MS 20
#define STACK_BYTES ((size_t)1 << 20) /* the program's function runs on it, and its thread-local data lie there */

struct interrupt {
    pthread_t thread;
    struct wire_page *page;
    struct bell bell; /* the thread's */

    pthread_mutex_t lock; /* of all below; never held while waiting or in the program's function */
    pthread_cond_t wake;  /* for the thread */
    pthread_cond_t idle;  /* for who waits for the thread */
    bool ready, quit, retired;
    uint64_t epoch, ordinal; /* of the program's world; UINT64_MAX: none yet */
    uint64_t heard;          /* newest epoch of PMIx's events */
    bool told;               /* the function has been called for this world's end */
    bool calling, running;   /* in the program's function; in a job */
    int *fds;                /* watched */
    size_t fd_count, fd_capacity;
    ckptless_interrupt_fn *fn;
    void *fn_arg;
    interrupt_job_fn *job; /* waiting */
    void *job_arg;
    struct timespec job_at; /* not before */
};

static struct timespec deadline_in(uint32_t ms) {
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static bool is_past(struct timespec at) {
    struct timespec now = deadline_in(0);
    return now.tv_sec > at.tv_sec || (now.tv_sec == at.tv_sec && now.tv_nsec >= at.tv_nsec);
}

/* Under the lock. */
static bool world_over(const struct interrupt *interrupt) {
    uint64_t newest = atomic_load(&interrupt->page->stop_epoch);
    if (interrupt->heard > newest) {
        newest = interrupt->heard;
    }
    return newest > interrupt->epoch && !interrupt->retired;
}

/* Under the lock, so that unwatch waits for it; shutdown does not block. */
static void shut_all(const struct interrupt *interrupt) {
    for (size_t i = 0; i < interrupt->fd_count; i++) {
        (void)shutdown(interrupt->fds[i], SHUT_RDWR);
    }
}

/* Under the lock, which is dropped during the call. */
static void call_function(struct interrupt *interrupt) {
    ckptless_interrupt_fn *fn = interrupt->fn;
    void *arg = interrupt->fn_arg;
    uint64_t ordinal = interrupt->ordinal;
    interrupt->told = true;
    if (!fn) {
        return;
    }
    interrupt->calling = true;
    pthread_mutex_unlock(&interrupt->lock);
    fn(arg, ordinal);
    pthread_mutex_lock(&interrupt->lock);
    interrupt->calling = false;
    pthread_cond_broadcast(&interrupt->idle);
}

static void run_job(struct interrupt *interrupt) {
    interrupt_job_fn *job = interrupt->job;
    void *arg = interrupt->job_arg;
    interrupt->job = NULL;
    interrupt->running = true;
    pthread_mutex_unlock(&interrupt->lock);
    job(arg);
    pthread_mutex_lock(&interrupt->lock);
    interrupt->running = false;
    pthread_cond_broadcast(&interrupt->idle);
}

static void *live(void *arg) {
    struct interrupt *interrupt = arg;
    (void)prctl(PR_SET_NAME, "ckptless");
    (void)bell_hang(&interrupt->bell, interrupt->page);
    pthread_mutex_lock(&interrupt->lock);
    interrupt->ready = true;
    pthread_cond_broadcast(&interrupt->idle);
    while (!interrupt->quit) {
        bool over = world_over(interrupt);
        if (over) {
            shut_all(interrupt);
        }
        if (over && !interrupt->told) {
            call_function(interrupt);
        } else if (interrupt->job && is_past(interrupt->job_at)) {
            run_job(interrupt);
        } else {
            struct timespec at = deadline_in(over && interrupt->fd_count ? RESHUT_MS : POLL_MS);
            (void)pthread_cond_timedwait(&interrupt->wake, &interrupt->lock, &at);
        }
    }
    bell_remove(&interrupt->bell, interrupt->page);
    pthread_mutex_unlock(&interrupt->lock);
    return NULL;
}

static bool start_thread(struct interrupt *interrupt) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&interrupt->thread, &attributes, live, interrupt) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

enum ckptless_result interrupt_create(struct interrupt **ret_interrupt, struct wire_page *page) {
    pthread_condattr_t monotonic;
    struct interrupt *interrupt = calloc(1, sizeof(*interrupt));
    if (!interrupt) {
        return CKPTLESS_ERR_NO_MEMORY;
    }
    interrupt->page = page;
    interrupt->epoch = UINT64_MAX;
    pthread_mutex_init(&interrupt->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&interrupt->wake, &monotonic);
    pthread_cond_init(&interrupt->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!start_thread(interrupt)) {
        free(interrupt);
        return CKPTLESS_ERR_NO_MEMORY;
    }
    pthread_mutex_lock(&interrupt->lock);
    while (!interrupt->ready) {
        pthread_cond_wait(&interrupt->idle, &interrupt->lock);
    }
    pthread_mutex_unlock(&interrupt->lock);
    *ret_interrupt = interrupt;
    return CKPTLESS_OK;
}

void interrupt_destroy(struct interrupt *interrupt) {
    if (!interrupt) {
        return;
    }
    pthread_mutex_lock(&interrupt->lock);
    interrupt->quit = true;
    pthread_cond_signal(&interrupt->wake);
    pthread_mutex_unlock(&interrupt->lock);
    (void)pthread_join(interrupt->thread, NULL);
    pthread_cond_destroy(&interrupt->wake);
    pthread_cond_destroy(&interrupt->idle);
    pthread_mutex_destroy(&interrupt->lock);
    free(interrupt->fds);
    free(interrupt);
}

bool interrupt_retire(struct interrupt *interrupt, uint32_t wait_ms) {
    struct timespec at = deadline_in(wait_ms);
    pthread_mutex_lock(&interrupt->lock);
    interrupt->retired = true;
    interrupt->fn = NULL;
    interrupt->job = NULL;
    interrupt->fd_count = 0;
    while ((interrupt->calling || interrupt->running) &&
           pthread_cond_timedwait(&interrupt->idle, &interrupt->lock, &at) != ETIMEDOUT) {
    }
    bool idle = !interrupt->calling && !interrupt->running;
    pthread_mutex_unlock(&interrupt->lock);
    return idle;
}

void interrupt_enter(struct interrupt *interrupt, uint64_t epoch, uint64_t ordinal) {
    pthread_mutex_lock(&interrupt->lock);
    interrupt->epoch = epoch;
    interrupt->ordinal = ordinal;
    interrupt->told = false;
    pthread_cond_signal(&interrupt->wake);
    pthread_mutex_unlock(&interrupt->lock);
}

void interrupt_notify(struct interrupt *interrupt, uint64_t epoch) {
    pthread_mutex_lock(&interrupt->lock);
    if (epoch > interrupt->heard) {
        interrupt->heard = epoch;
    }
    pthread_cond_signal(&interrupt->wake);
    pthread_mutex_unlock(&interrupt->lock);
}

/* Under the lock. */
static bool add_fd(struct interrupt *interrupt, int fd) {
    for (size_t i = 0; i < interrupt->fd_count; i++) {
        if (interrupt->fds[i] == fd) {
            return true;
        }
    }
    if (interrupt->fd_count == interrupt->fd_capacity) {
        size_t capacity = interrupt->fd_capacity ? interrupt->fd_capacity * 2 : 16;
        int *fds = reallocarray(interrupt->fds, capacity, sizeof(*fds));
        if (!fds) {
            return false;
        }
        interrupt->fds = fds;
        interrupt->fd_capacity = capacity;
    }
    interrupt->fds[interrupt->fd_count++] = fd;
    return true;
}

enum ckptless_result interrupt_watch(struct interrupt *interrupt, int fd) {
    enum ckptless_result result = CKPTLESS_OK;
    pthread_mutex_lock(&interrupt->lock);
    if (world_over(interrupt)) {
        (void)shutdown(fd, SHUT_RDWR);
        result = CKPTLESS_INTERRUPTED;
    } else if (!add_fd(interrupt, fd)) {
        result = CKPTLESS_ERR_NO_MEMORY;
    }
    pthread_mutex_unlock(&interrupt->lock);
    return result;
}

void interrupt_unwatch(struct interrupt *interrupt, int fd) {
    pthread_mutex_lock(&interrupt->lock);
    for (size_t i = 0; i < interrupt->fd_count; i++) {
        if (interrupt->fds[i] == fd) {
            interrupt->fds[i] = interrupt->fds[--interrupt->fd_count];
            break;
        }
    }
    pthread_mutex_unlock(&interrupt->lock);
}

void interrupt_set_function(struct interrupt *interrupt, ckptless_interrupt_fn *fn, void *arg) {
    pthread_mutex_lock(&interrupt->lock);
    while (interrupt->calling && !pthread_equal(pthread_self(), interrupt->thread)) {
        pthread_cond_wait(&interrupt->idle, &interrupt->lock);
    }
    interrupt->fn = fn;
    interrupt->fn_arg = arg;
    interrupt->told = interrupt->told && !fn;
    pthread_cond_signal(&interrupt->wake);
    pthread_mutex_unlock(&interrupt->lock);
}

void interrupt_post(struct interrupt *interrupt, interrupt_job_fn *job, void *arg, uint32_t after_ms) {
    pthread_mutex_lock(&interrupt->lock);
    interrupt->job_at = deadline_in(after_ms);
    interrupt->job = job;
    interrupt->job_arg = arg;
    pthread_cond_signal(&interrupt->wake);
    pthread_mutex_unlock(&interrupt->lock);
}

bool interrupt_withdraw(struct interrupt *interrupt) {
    pthread_mutex_lock(&interrupt->lock);
    bool waiting = interrupt->job != NULL;
    interrupt->job = NULL;
    while (interrupt->running) {
        pthread_cond_wait(&interrupt->idle, &interrupt->lock);
    }
    pthread_mutex_unlock(&interrupt->lock);
    return waiting;
}
