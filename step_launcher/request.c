/*
 * The request of srun's side; see request.h. The writer is the plugin of the same package, but a truncated or foreign
 * request must end in one line, not in a launcher that guesses.
 */
#include "step_launcher/request.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 65536u
#define REQUEST_MS_MAX 5000

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The lines before the empty one, ended by a NUL. False: the end, an error, too long or too late. */
static bool read_text(int fd, char *ret_text, size_t capacity) {
    int64_t deadline_ms = now_ms() + REQUEST_MS_MAX;
    size_t used = 0;

    while (used + 1 < capacity) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        int64_t left_ms = deadline_ms - now_ms();
        int ready = left_ms <= 0 ? 0 : poll(&pollfd, 1, (int)left_ms);
        if (ready == 0) {
            return false;
        }
        /* One byte at a time: what comes after the empty line is not this reader's. */
        ssize_t count = ready < 0 ? -1 : read(fd, ret_text + used, 1);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        used++;
        ret_text[used] = '\0';
        if (ret_text[used - 1] == '\n' && (used == 1 || ret_text[used - 2] == '\n')) {
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, uint32_t max, uint32_t *ret_value) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *ret_value = (uint32_t)value;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && value <= max;
}

enum { HAVE_JOB = 1, HAVE_STEP = 2, HAVE_PORT_MIN = 4, HAVE_PORT_MAX = 8, HAVE_DIRECTORY = 16, HAVE_OPTION = 32 };
#define HAVE_ALL 63u

/* One "key=value" into the request; ret_have: what is there now. */
static bool take_line(const char *key, const char *value, struct request *ret_request, uint32_t *ret_have,
                      char *ret_error, size_t error_capacity) {
    const struct {
        const char *key;
        uint32_t have, max, *ret_value;
    } numbers[] = { { "job", HAVE_JOB, UINT32_MAX, &ret_request->job },
                    { "step", HAVE_STEP, UINT32_MAX, &ret_request->step },
                    { "port_min", HAVE_PORT_MIN, UINT16_MAX, &ret_request->port_min },
                    { "port_max", HAVE_PORT_MAX, UINT16_MAX, &ret_request->port_max } };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            *ret_have |= numbers[i].have;
            if (!parse_number(value, numbers[i].max, numbers[i].ret_value)) {
                snprintf(ret_error, error_capacity, "ckptless-launch: %s=%.64s is no number it can use", key, value);
                return false;
            }
        }
    }
    if (strcmp(key, "submit_dir") == 0 && value[0] == '/' && strlen(value) < sizeof(ret_request->submit_dir)) {
        snprintf(ret_request->submit_dir, sizeof(ret_request->submit_dir), "%s", value);
        *ret_have |= HAVE_DIRECTORY;
    } else if (strcmp(key, "munge_socket") == 0 && strlen(value) < sizeof(ret_request->munge_socket)) {
        snprintf(ret_request->munge_socket, sizeof(ret_request->munge_socket), "%s", value);
        ret_request->has_munge = true;
    } else if (strcmp(key, "option") == 0) {
        *ret_have |= HAVE_OPTION;
        return wire_settings_parse(value, &ret_request->settings, ret_error, error_capacity);
    }
    return true;
}

bool request_read(int fd, struct request *ret_request, char *ret_error, size_t error_capacity) {
    char *text = malloc(REQUEST_BYTES_MAX), *rest = NULL;
    uint32_t have = 0;
    bool ok = false;

    memset(ret_request, 0, sizeof(*ret_request));
    if (text == NULL || !read_text(fd, text, REQUEST_BYTES_MAX)) {
        snprintf(ret_error, error_capacity, "ckptless-launch: the request on descriptor 0 has no end");
        goto out;
    }
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, '=');
        if (value == NULL) {
            snprintf(ret_error, error_capacity, "ckptless-launch: \"%.64s\" in the request is not key=value", line);
            goto out;
        }
        *value++ = '\0';
        if (!take_line(line, value, ret_request, &have, ret_error, error_capacity)) {
            goto out;
        }
    }
    if (have != HAVE_ALL || ret_request->port_min > ret_request->port_max) {
        snprintf(ret_error, error_capacity, "ckptless-launch: the request on descriptor 0 is not complete");
        goto out;
    }
    ok = true;
out:
    free(text);
    return ok;
}
