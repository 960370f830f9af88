/*
 * The plane's life and its thread; see plane.h. The thread drives the fabric: requests of peers, pulls of this
 * node. It sleeps on descriptors when there is nothing to do, and never longer than the next deadline needs.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "state_plane/plane_private.h"

#define WORKING_MS 20 /* longest sleep while a pull or a reply is under way: deadlines are looked at so often */
#define SOON_US 100   /* the fabric had no room just now */
#define BLIND_MS 5    /* the provider has no descriptor to sleep on */
#define DESTROY_MS 400
#define OPENING_NS_MAX 10000000000u /* the fabric opens in 0.3 s */

uint64_t plane_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct plane_region *plane_copy_regions(const struct plane_region *regions, uint32_t count) {
    struct plane_region *copy = calloc(count + 1u, sizeof(*copy));
    if (copy && count > 0) {
        memcpy(copy, regions, count * sizeof(*copy));
    }
    return copy;
}

static void ring(int fd) {
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

static void drain(int fd) {
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
}

void plane_wake(struct plane *plane) {
    ring(plane->wake_fd);
}

void plane_enter(struct plane *plane) {
    atomic_fetch_add(&plane->callers, 1);
    pthread_mutex_lock(&plane->lock);
    atomic_fetch_sub(&plane->callers, 1);
}

void plane_leave(struct plane *plane) {
    pthread_mutex_unlock(&plane->lock);
}

void plane_queue_event(struct plane *plane, const struct plane_event *event) {
    struct queued_event *queued = malloc(sizeof(*queued));
    if (queued == NULL) {
        return; /* the core's deadline finds it */
    }
    *queued = (struct queued_event){ .event = *event };
    *plane->last_event = queued;
    plane->last_event = &queued->next;
    ring(plane->event_fd);
}

/* ---- the thread */

/* A thread of its own: loading and asking libfabric takes 300 ms, and pulls on this node need none of it. */
static void *open_fabric(void *arg) {
    struct plane *plane = arg;
    struct plane_event event = { .type = PLANE_EVENT_UNAVAILABLE };
    struct fabric *fabric = NULL;
    char text[256];
    enum fabric_result result = fabric_open(&fabric, plane->interface, text, sizeof(text));
    plane_enter(plane);
    snprintf(plane->fabric_text, sizeof(plane->fabric_text), "%s", text);
    snprintf(event.text, sizeof(event.text), "%s", text);
    plane->fabric_state = FABRIC_NONE;
    if (result == FABRIC_OK) {
        size_t bytes = 0;
        const uint8_t *address = fabric_address(fabric, &bytes);
        plane->fabric = fabric;
        if (bytes <= sizeof(plane->address)) {
            memcpy(plane->address, address, bytes);
            plane->address_bytes = bytes;
            plane->fabric_state = FABRIC_OPEN;
            event.type = PLANE_EVENT_READY;
        }
    }
    plane_queue_event(plane, &event);
    plane_leave(plane);
    plane_wake(plane); /* whose thread posts the inbox: fabric calls are its own from now on */
    return NULL;
}

/* One round; lock held. True: there is more to do at once. */
static bool work(struct plane *plane, bool *ret_soon) {
    uint64_t now_ns = plane_now_ns();
    bool more = false;
    if (plane->fabric_state == FABRIC_OPEN) {
        more = fabric_poll(plane->fabric);
        *ret_soon = serve_advance(plane, now_ns);
    }
    return pull_advance(plane, now_ns, ret_soon) || more;
}

/* Lock held; it is let go. True: the fabric's descriptor ended the sleep. */
static bool nap(struct plane *plane, bool soon) {
    struct pollfd fds[2] = { { .fd = plane->wake_fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
    bool has_fabric = plane->fabric_state == FABRIC_OPEN;
    bool is_working = plane->pulls || plane->reply_count > 0 || plane->first_waiting || plane->early;
    struct timespec limit = { .tv_nsec = SOON_US * 1000 };
    if (has_fabric) {
        fds[1].fd = fabric_fd(plane->fabric);
        if (!fabric_may_sleep(plane->fabric)) {
            pthread_mutex_unlock(&plane->lock);
            return false;
        }
    }
    pthread_mutex_unlock(&plane->lock);
    if (!soon) {
        limit.tv_nsec = (has_fabric && fds[1].fd < 0 ? BLIND_MS : WORKING_MS) * 1000000;
    }
    bool is_bounded = soon || is_working || (has_fabric && fds[1].fd < 0);
    (void)ppoll(fds, 2, is_bounded ? &limit : NULL, NULL);
    if (fds[0].revents) {
        drain(plane->wake_fd);
    }
    return fds[1].revents != 0;
}

static void *run(void *arg) {
    struct plane *plane = arg;
    bool fabric_called = false;
    for (;;) {
        bool soon = false;
        pthread_mutex_lock(&plane->lock);
        if (plane->stops) {
            break;
        }
        if (work(plane, &soon)) {
            fabric_called = false;
            pthread_mutex_unlock(&plane->lock);
            while (atomic_load(&plane->callers) > 0) {
                sched_yield();
            }
            continue;
        }
        if (fabric_called && !soon) {
            pthread_mutex_unlock(&plane->lock);
            fabric_settle(plane->fabric); /* for nothing: it must not call at once again */
            fabric_called = false;
            continue;
        }
        fabric_called = nap(plane, soon);
    }
    plane->has_ended = true;
    pthread_mutex_unlock(&plane->lock);
    return NULL;
}

static bool start_thread(pthread_t *ret_thread, void *(*fn)(void *), struct plane *plane) {
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(ret_thread, NULL, fn, plane) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* ---- the helper's side */

static void free_plane(struct plane *plane) {
    while (plane->first_event) {
        struct queued_event *queued = plane->first_event;
        plane->first_event = queued->next;
        free(queued);
    }
    if (plane->wake_fd >= 0) {
        close(plane->wake_fd);
    }
    if (plane->event_fd >= 0) {
        close(plane->event_fd);
    }
    pthread_mutex_destroy(&plane->lock);
    free(plane);
}

enum plane_result plane_create(struct plane **ret_plane, const char *interface) {
    struct plane *plane = calloc(1, sizeof(*plane));
    if (plane == NULL) {
        return PLANE_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&plane->lock, NULL);
    snprintf(plane->interface, sizeof(plane->interface), "%s", interface);
    plane->opening_ns_max = OPENING_NS_MAX;
    plane->last_event = &plane->first_event;
    plane->last_waiting = &plane->first_waiting;
    /* Not to be guessed: who can reach the endpoint must not answer in a holder's place. */
    (void)!getrandom(&plane->next_tag, sizeof(plane->next_tag), 0);
    plane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    plane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (plane->wake_fd < 0 || plane->event_fd < 0 || !start_thread(&plane->thread, run, plane)) {
        free_plane(plane);
        return PLANE_ERR_SYSTEM;
    }
    *ret_plane = plane;
    return PLANE_OK;
}

void plane_open(struct plane *plane) {
    if (plane->has_opener || plane->fabric_state != FABRIC_CLOSED) {
        return;
    }
    plane_enter(plane);
    plane->fabric_state = FABRIC_OPENING;
    plane_leave(plane);
    plane->has_opener = start_thread(&plane->opener, open_fabric, plane);
    if (!plane->has_opener) {
        struct plane_event event = { .type = PLANE_EVENT_UNAVAILABLE };
        snprintf(event.text, sizeof(event.text), "no thread to open libfabric with");
        plane_enter(plane);
        memcpy(plane->fabric_text, event.text, sizeof(plane->fabric_text));
        plane->fabric_state = FABRIC_NONE;
        plane_queue_event(plane, &event);
        plane_leave(plane);
    }
}

int plane_fd(const struct plane *plane) {
    return plane->event_fd;
}

bool plane_poll(struct plane *plane, struct plane_event *ret_event) {
    plane_enter(plane);
    struct queued_event *queued = plane->first_event;
    if (queued) {
        plane->first_event = queued->next;
        plane->last_event = plane->first_event ? plane->last_event : &plane->first_event;
    } else {
        drain(plane->event_fd);
    }
    plane_leave(plane);
    if (queued == NULL) {
        return false;
    }
    *ret_event = queued->event;
    free(queued);
    return true;
}

size_t plane_address(const struct plane *plane, uint8_t *ret_address, size_t capacity) {
    struct plane *locked = (struct plane *)(uintptr_t)plane;
    plane_enter(locked);
    size_t bytes = plane->address_bytes <= capacity ? plane->address_bytes : 0;
    memcpy(ret_address, plane->address, bytes);
    plane_leave(locked);
    return bytes;
}

static void remove_served(struct plane *plane, uint32_t rank) {
    for (struct served **link = &plane->served; *link;) {
        struct served *served = *link;
        if (served->rank != rank) {
            link = &served->next;
            continue;
        }
        *link = served->next;
        free(served->regions);
        free(served);
    }
}

enum plane_result plane_serve(struct plane *plane, const uint8_t token[16], uint32_t rank, uint32_t pid,
                              const struct plane_region *regions, uint32_t region_count) {
    struct served *served = calloc(1, sizeof(*served));
    struct plane_region *copy = plane_copy_regions(regions, region_count);
    if (served == NULL || copy == NULL) {
        free(served);
        free(copy);
        return PLANE_ERR_NO_MEMORY;
    }
    *served = (struct served){ .rank = rank, .pid = pid, .region_count = region_count, .regions = copy };
    memcpy(served->token, token, sizeof(served->token));
    plane_enter(plane);
    remove_served(plane, rank);
    served->next = plane->served;
    plane->served = served;
    bool is_awaited = plane->early != NULL;
    plane_leave(plane);
    if (is_awaited) {
        plane_wake(plane);
    }
    return PLANE_OK;
}

void plane_unserve(struct plane *plane) {
    plane_enter(plane);
    serve_clear(plane);
    plane_leave(plane);
}

/* False: the thread stands in a call of the fabric; it and its memory are left alone. */
static bool join_thread(pthread_t thread, long wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += wait_ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    if (pthread_timedjoin_np(thread, NULL, &until) == 0) {
        return true;
    }
    (void)pthread_detach(thread);
    return false;
}

bool plane_destroy(struct plane *plane) {
    if (plane == NULL) {
        return true;
    }
    plane_enter(plane);
    plane->stops = true;
    bool is_opening = plane->fabric_state == FABRIC_OPENING;
    plane_leave(plane);
    plane_wake(plane);
    bool opener_ended = !plane->has_opener || join_thread(plane->opener, is_opening ? 0 : DESTROY_MS);
    if (!join_thread(plane->thread, DESTROY_MS) || !opener_ended) {
        return false;
    }
    bool is_quiet = plane->sends_under_way == 0;
    bool is_closed = fabric_close(plane->fabric, is_quiet);
    pull_fini(plane, is_closed);
    if (is_closed) {
        serve_fini(plane);
        free_plane(plane);
    }
    return true;
}
