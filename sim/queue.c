/* Events by time, those of one time in the order in which they were pushed. */
#include <stdlib.h>

#include "sim/sim.h"

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

void queue_push_back(struct sim_queue *queue, struct sim_event event) {
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity * 2 + 256;
        queue->events = realloc(queue->events, queue->capacity * sizeof *queue->events);
        if (queue->events == NULL) {
            abort();
        }
    }
    size_t at = queue->count++;
    for (; at > 0 && before(&event, &queue->events[(at - 1) / 2]); at = (at - 1) / 2) {
        queue->events[at] = queue->events[(at - 1) / 2];
    }
    queue->events[at] = event;
}

void queue_push(struct sim_queue *queue, struct sim_event event) {
    event.sequence = ++queue->sequence;
    queue_push_back(queue, event);
}

struct sim_event queue_pop(struct sim_queue *queue) {
    struct sim_event first = queue->events[0], last = queue->events[--queue->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= queue->count) {
            break;
        }
        child += child + 1 < queue->count && before(&queue->events[child + 1], &queue->events[child]);
        if (!before(&queue->events[child], &last)) {
            break;
        }
        queue->events[at] = queue->events[child];
        at = child;
    }
    queue->events[at] = last;
    return first;
}

void queue_fini(struct sim_queue *queue) {
    for (size_t i = 0; i < queue->count; i++) {
        free(queue->events[i].bytes);
        free(queue->events[i].word);
    }
    free(queue->events);
}
