/*
 * Leaving PMIx within a bound: PMIx_Finalize waits for the server's answer, and a helper that is gone or stopped gives
 * none for seconds. The program's end does not wait for that.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "libckptless/leave.h"

/* Freed by the last of the two who use it. */
struct farewell {
    pthread_mutex_t lock;
    pthread_cond_t over;
    struct pmixcli *client;
    bool done, abandoned;
};

static void free_farewell(struct farewell *farewell) {
    pthread_cond_destroy(&farewell->over);
    pthread_mutex_destroy(&farewell->lock);
    free(farewell);
}

static void *say_farewell(void *arg) {
    struct farewell *farewell = arg;
    pmixcli_destroy(farewell->client);
    pthread_mutex_lock(&farewell->lock);
    farewell->done = true;
    bool abandoned = farewell->abandoned;
    pthread_cond_signal(&farewell->over);
    pthread_mutex_unlock(&farewell->lock);
    if (abandoned) {
        free_farewell(farewell);
    }
    return NULL;
}

static bool begin(struct farewell *farewell) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool begun = pthread_create(&thread, NULL, say_farewell, farewell) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (begun) {
        (void)pthread_detach(thread);
    }
    return begun;
}

bool leave_pmix(struct pmixcli *client, uint32_t wait_ms) {
    struct timespec until;
    struct farewell *farewell = client ? calloc(1, sizeof(*farewell)) : NULL;
    if (!farewell) {
        return !client;
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    uint64_t at_ns = (uint64_t)until.tv_nsec + (uint64_t)wait_ms * 1000000u;
    until.tv_sec += (time_t)(at_ns / 1000000000u);
    until.tv_nsec = (long)(at_ns % 1000000000u);
    farewell->client = client;
    pthread_mutex_init(&farewell->lock, NULL);
    pthread_cond_init(&farewell->over, NULL);
    if (!begin(farewell)) {
        free_farewell(farewell);
        return false;
    }
    pthread_mutex_lock(&farewell->lock);
    while (!farewell->done && pthread_cond_timedwait(&farewell->over, &farewell->lock, &until) == 0) {
    }
    bool done = farewell->done;
    farewell->abandoned = !done;
    pthread_mutex_unlock(&farewell->lock);
    if (done) {
        free_farewell(farewell);
    }
    return done;
}
