/*
 * The JSON lines file; see timeline.h. Opened at the first object; O_NONBLOCK, because opening a FIFO would wait for a
 * reader, and O_NOFOLLOW, because the name is one that others can guess in a directory they may share.
 */
#include "step_launcher/timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

void timeline_path(const char *directory, const char *log_dir, uint32_t job, uint32_t step, const char *ending,
                   char *ret_path, size_t capacity) {
    bool is_absolute = log_dir[0] == '/';
    snprintf(ret_path, capacity, "%s%s%s%sckptless-%u.%u%s", is_absolute ? "" : directory, is_absolute ? "" : "/",
             log_dir, log_dir[0] != '\0' ? "/" : "", job, step, ending);
}

void timeline_init(struct timeline *timeline, const char *directory, const char *log_dir, uint32_t job, uint32_t step) {
    timeline->fd = -1;
    timeline->has_failed = false;
    timeline_path(directory, log_dir, job, step, ".jsonl", timeline->path, sizeof(timeline->path));
}

void timeline_fini(struct timeline *timeline) {
    if (timeline->fd >= 0) {
        close(timeline->fd);
        timeline->fd = -1;
    }
}

/* NULL: open. Else the reason why not. */
static const char *open_file(struct timeline *timeline) {
    struct stat facts;
    int fd = open(timeline->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
    if (fd < 0) {
        return errno == ELOOP ? "it is a symbolic link" : errno == ENXIO ? "it is not a regular file" : strerror(errno);
    }
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        close(fd);
        return "it is not a regular file";
    }
    timeline->fd = fd;
    return NULL;
}

/* An object cut short by a full disk would spoil the line after it: it is taken back. */
static const char *write_object(int fd, const char *json) {
    struct iovec parts[2] = { { .iov_base = (void *)(uintptr_t)json, .iov_len = strlen(json) },
                              { .iov_base = (void *)(uintptr_t) "\n", .iov_len = 1 } };
    struct stat before;
    ssize_t count;

    if (fstat(fd, &before) != 0) {
        return strerror(errno);
    }
    do {
        count = writev(fd, parts, 2);
    } while (count < 0 && errno == EINTR);
    if (count == (ssize_t)parts[0].iov_len + 1) {
        return NULL;
    }
    int error = count < 0 ? errno : ENOSPC;
    if (count > 0 && ftruncate(fd, before.st_size) != 0) {
        error = errno;
    }
    return strerror(error);
}

bool timeline_append(struct timeline *timeline, const char *json, char *ret_error, size_t error_capacity) {
    const char *reason = NULL;

    if (timeline->fd < 0 && timeline->has_failed) {
        return true;
    }
    if (strpbrk(json, "\r\n") != NULL) {
        reason = "an event is not one line";
    } else if (timeline->fd < 0) {
        reason = open_file(timeline);
    }
    if (reason == NULL) {
        reason = write_object(timeline->fd, json);
    }
    if (reason == NULL || timeline->has_failed) {
        return true;
    }
    timeline->has_failed = true;
    snprintf(ret_error, error_capacity, "events are missing in %.3000s: %s", timeline->path, reason);
    return false;
}
