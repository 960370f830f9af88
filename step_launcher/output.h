/*
 * The two ways out of ckptless-launch: lines for the user on srun's stderr, answers for srun's side on descriptor 3.
 * Whoever stops reading srun's stderr (a full pipe, a paused terminal) stops no one here: lines wait, up to a bound.
 */
#ifndef CKPTLESS_OUTPUT_H
#define CKPTLESS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct event_base;
struct evbuffer;

#define OUTPUT_LINE_BYTES_MAX 4096u /* with prefix and newline: one write(2) of at most PIPE_BUF never mixes */

struct output {
    int user_fd, plugin_fd;
    struct evbuffer *waiting; /* lines that user_fd did not take yet */
    struct event *retry;
    uint32_t dropped_count; /* lines that found no room in `waiting` */
};

/* False: out of memory. The descriptors stay the caller's. */
bool output_init(struct output *output, struct event_base *base, int user_fd, int plugin_fd);
/* Gives waiting lines a last chance of wait_ms, then frees. Half-built is allowed. */
void output_fini(struct output *output, int wait_ms);
/* "ckptless: " and the text as one line; control characters become "?", what is too long is cut. */
void output_say(struct output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line to srun's side; nothing when it is longer than srun's side reads (2046 characters). */
void output_answer(int plugin_fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
