/*
 * A plain PMIx program, without libckptless, that survives the loss of its peers: `survivor FILE` says so, and in each
 * world publishes a value under a key of the world, fences with all and reads everybody's. It prints what it is told.
 * When FILE is there, it ends. SILENT=RANK: that rank does not say that it survives, and does not fence.
 */
#include <pmix.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* As ckptless(7) has them. */
#define LOST (PMIX_EXTERNAL_ERR_BASE - 4078)
#define REPLACED (PMIX_EXTERNAL_ERR_BASE - 4079)
#define WORLD_KEY "ckptless.world"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint32_t world; /* the newest that is known of */
static bool missing[64];
static uint32_t missing_count;
static bool fence_is_over;
static pmix_status_t fence_status;
static pmix_proc_t self;

static void check(const char *what, int status) {
    if (status != PMIX_SUCCESS) {
        fprintf(stderr, "survivor: rank %u: %s: %s\n", self.rank, what, PMIx_Error_string(status));
        exit(3);
    }
}

static void on_event(size_t handler, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t count,
                     pmix_info_t results[], size_t result_count, pmix_event_notification_cbfunc_fn_t done,
                     void *done_arg) {
    uint32_t rank = 0, number = 0;
    const char *host = "";
    (void)handler;
    (void)source;
    (void)results;
    (void)result_count;
    for (size_t i = 0; i < count; i++) {
        if (PMIX_CHECK_KEY(&info[i], PMIX_EVENT_AFFECTED_PROC)) {
            rank = info[i].value.data.proc->rank;
        } else if (PMIX_CHECK_KEY(&info[i], WORLD_KEY)) {
            number = info[i].value.data.uint32;
        } else if (PMIX_CHECK_KEY(&info[i], PMIX_HOSTNAME)) {
            host = info[i].value.data.string;
        }
    }
    printf("rank %u is told: world %u, rank %u %s %s\n", self.rank, number, rank,
           status == LOST ? "is lost, starts on" : "is back on", host);
    fflush(stdout);
    pthread_mutex_lock(&lock);
    world = number > world ? number : world;
    missing_count += status == LOST && !missing[rank];
    missing_count -= status == REPLACED && missing[rank];
    missing[rank] = status == LOST;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, done_arg);
}

/* First the handler, then the word: what comes after it is heard. */
static void say_so(void) {
    pmix_status_t codes[] = { LOST, REPLACED };
    pmix_info_t survives, *results = NULL;
    size_t count = 0;
    bool yes = true;
    if (PMIx_Register_event_handler(codes, 2, NULL, 0, on_event, NULL, NULL) < 0) {
        check("handler", PMIX_ERROR);
    }
    PMIX_INFO_LOAD(&survives, PMIX_JOB_RECOVERABLE, &yes, PMIX_BOOL);
    check("job control", PMIx_Job_control(NULL, 0, &survives, 1, &results, &count));
    uint32_t starts = 0, number = 0;
    for (size_t i = 0; i < count; i++) {
        number = PMIX_CHECK_KEY(&results[i], WORLD_KEY) ? results[i].value.data.uint32 : number;
        starts = PMIX_CHECK_KEY(&results[i], PMIX_REINCARNATION) ? results[i].value.data.uint32 : starts;
    }
    PMIX_INFO_FREE(results, count);
    pthread_mutex_lock(&lock);
    world = number > world ? number : world;
    pthread_mutex_unlock(&lock);
    printf("rank %u stays: world %u, %u starts before\n", self.rank, number, starts);
    fflush(stdout);
}

static void on_fenced(pmix_status_t status, void *arg) {
    uint32_t number = (uint32_t)(uintptr_t)arg;
    pthread_mutex_lock(&lock);
    if (number == world) {
        fence_is_over = true;
        fence_status = status;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
}

/* The lock is held. */
static void wait_a_little(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec = (until.tv_nsec + 20000000) % 1000000000;
    until.tv_sec += until.tv_nsec < 20000000;
    (void)pthread_cond_timedwait(&changed, &lock, &until);
}

/* All, in this world: not mixed up with a fence of another one that somebody may still be in. False: it is not this
 * world any more, or FILE is there. */
static bool fence(uint32_t number, const char *file) {
    static pmix_proc_t all[2]; /* may be read after this call */
    static pmix_info_t collect;
    bool yes = true;
    PMIX_LOAD_PROCID(&all[0], self.nspace, PMIX_RANK_WILDCARD);
    PMIX_LOAD_PROCID(&all[1], WORLD_KEY, number);
    PMIX_INFO_LOAD(&collect, PMIX_COLLECT_DATA, &yes, PMIX_BOOL);
    pthread_mutex_lock(&lock);
    fence_is_over = false;
    pthread_mutex_unlock(&lock);
    check("fence", PMIx_Fence_nb(all, 2, &collect, 1, on_fenced, (void *)(uintptr_t)number));
    pthread_mutex_lock(&lock);
    /* That somebody is missing is no reason to leave: the world may have begun so. A further loss makes another one. */
    while (!fence_is_over && world == number && access(file, F_OK) != 0) {
        wait_a_little();
    }
    bool is_met = fence_is_over && fence_status == PMIX_SUCCESS;
    pthread_mutex_unlock(&lock);
    return is_met;
}

/* Everybody's value of this world. */
static void meet(uint32_t number, uint32_t size, const char *file) {
    char key[64], text[64], line[4096] = "";
    pmix_value_t value = { .type = PMIX_STRING, .data.string = text };
    snprintf(key, sizeof(key), "value@%u", number);
    snprintf(text, sizeof(text), "%u@%u", self.rank, number);
    check("put", PMIx_Put(PMIX_GLOBAL, key, &value));
    check("commit", PMIx_Commit());
    if (!fence(number, file)) {
        return;
    }
    for (uint32_t rank = 0; rank < size; rank++) {
        pmix_proc_t peer;
        pmix_value_t *got = NULL;
        PMIX_LOAD_PROCID(&peer, self.nspace, rank);
        check("get", PMIx_Get(&peer, key, NULL, 0, &got));
        strcat(strcat(line, " "), got->data.string);
        PMIX_VALUE_RELEASE(got);
    }
    if (self.rank == 0) {
        printf("world %u:%s\n", number, line);
        fflush(stdout);
    }
}

/* Waits for a world after `met`, in which nobody is missing; 0: FILE is there first. */
static uint32_t next_world(uint32_t met, const char *file) {
    pthread_mutex_lock(&lock);
    while ((world == met || missing_count > 0) && access(file, F_OK) != 0) {
        wait_a_little();
    }
    uint32_t next = world == met || missing_count > 0 ? 0 : world;
    pthread_mutex_unlock(&lock);
    return next;
}

int main(int argc, char **argv) {
    const char *silent = getenv("SILENT");
    pmix_value_t *value = NULL;
    pmix_proc_t all;
    (void)argc;
    check("init", PMIx_Init(&self, NULL, 0));
    PMIX_LOAD_PROCID(&all, self.nspace, PMIX_RANK_WILDCARD);
    check("size", PMIx_Get(&all, PMIX_JOB_SIZE, NULL, 0, &value));
    uint32_t size = value->data.uint32;
    if (silent != NULL && (uint32_t)atoi(silent) == self.rank) {
        printf("rank %u is silent\n", self.rank);
        fflush(stdout); /* and knows of no world: it waits for FILE */
    } else {
        say_so();
    }
    for (uint32_t now = 0; (now = next_world(now, argv[1])) != 0;) {
        meet(now, size, argv[1]);
    }
    check("finalize", PMIx_Finalize(NULL, 0));
    return 0;
}
