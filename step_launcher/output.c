/*
 * Lines to the user and to srun's side; see output.h. srun's stderr is shared with srun, so its flags are not ours to
 * change: poll(2) says whether a line fits, and while none does, a timer asks again.
 */
#include "step_launcher/output.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAITING_BYTES_MAX (256u << 10)
#define RETRY_MS 100

static bool is_writable(int fd, int wait_ms) {
    struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
    return poll(&pollfd, 1, wait_ms) > 0; /* an error too: write(2) says which */
}

/* One write(2) a line. A line that cannot be written at all (a closed pipe, a full disk) is given up. */
static void write_line(int fd, const char *line, size_t bytes) {
    ssize_t count;
    do {
        count = write(fd, line, bytes);
    } while (count < 0 && errno == EINTR);
}

/* Writes waiting lines while they fit. */
static void flush(struct output *output) {
    struct evbuffer_ptr end;
    while (evbuffer_get_length(output->waiting) > 0 && is_writable(output->user_fd, 0)) {
        end = evbuffer_search(output->waiting, "\n", 1, NULL);
        size_t bytes = end.pos < 0 ? evbuffer_get_length(output->waiting) : (size_t)end.pos + 1;
        const unsigned char *line = evbuffer_pullup(output->waiting, (ev_ssize_t)bytes);
        if (line == NULL) {
            return;
        }
        write_line(output->user_fd, (const char *)line, bytes);
        evbuffer_drain(output->waiting, bytes);
    }
    if (evbuffer_get_length(output->waiting) == 0 && output->dropped_count > 0) {
        char line[80];
        int bytes = snprintf(line, sizeof(line), "ckptless: %u lines were lost here: nobody read them\n",
                             output->dropped_count);
        output->dropped_count = 0;
        write_line(output->user_fd, line, (size_t)bytes);
    }
}

static void ask_again(struct output *output) {
    const struct timeval pause = { 0, RETRY_MS * 1000 };
    if (evbuffer_get_length(output->waiting) > 0) {
        (void)event_add(output->retry, &pause);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    flush(arg);
    ask_again(arg);
}

bool output_init(struct output *output, struct event_base *base, int user_fd, int plugin_fd) {
    output->user_fd = user_fd;
    output->plugin_fd = plugin_fd;
    output->dropped_count = 0;
    output->waiting = evbuffer_new();
    output->retry = evtimer_new(base, on_retry, output);
    return output->waiting != NULL && output->retry != NULL;
}

void output_fini(struct output *output, int wait_ms) {
    if (output->waiting != NULL) {
        if (evbuffer_get_length(output->waiting) > 0 && is_writable(output->user_fd, wait_ms)) {
            flush(output);
        }
        evbuffer_free(output->waiting);
        output->waiting = NULL;
    }
    if (output->retry != NULL) {
        event_free(output->retry);
        output->retry = NULL;
    }
}

/* Names and reasons come from elsewhere: they must not begin a line of their own. */
static void make_one_line(char *line, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
}

void output_say(struct output *output, const char *format, ...) {
    static const char prefix[] = "ckptless: ";
    char line[OUTPUT_LINE_BYTES_MAX];
    size_t used = sizeof(prefix) - 1;
    va_list values;

    memcpy(line, prefix, used);
    va_start(values, format);
    int length = vsnprintf(line + used, sizeof(line) - used - 1, format, values);
    va_end(values);
    if (length < 0) {
        return;
    }
    used += strlen(line + used);
    make_one_line(line, used);
    line[used++] = '\n';
    flush(output); /* lines keep their order */
    if (evbuffer_get_length(output->waiting) == 0 && is_writable(output->user_fd, 0)) {
        write_line(output->user_fd, line, used);
    } else if (evbuffer_get_length(output->waiting) + used > WAITING_BYTES_MAX ||
               evbuffer_add(output->waiting, line, used) != 0) {
        output->dropped_count++;
    }
    ask_again(output);
}

void output_answer(int plugin_fd, const char *format, ...) {
    char line[2048];
    va_list values;

    va_start(values, format);
    int length = vsnprintf(line, sizeof(line) - 1, format, values);
    va_end(values);
    if (length > 0 && (size_t)length < sizeof(line) - 1) {
        make_one_line(line, (size_t)length);
        line[length] = '\n';
        write_line(plugin_fd, line, (size_t)length + 1);
    }
    explicit_bzero(line, sizeof(line)); /* one of them carries the secret */
}
