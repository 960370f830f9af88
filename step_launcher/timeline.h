/*
 * The file ckptless-JOB.STEP.jsonl: one JSON object a line, appended by ckptless-launch, and by the leader when that is
 * gone. Whatever is wrong with it (a full disk, no
 * rights, a path that is a FIFO or a link) costs the file, one line to the user, and nothing else. Knows no JSON.
 */
#ifndef CKPTLESS_TIMELINE_H
#define CKPTLESS_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMELINE_PATH_BYTES 8192u

struct timeline {
    int fd; /* -1: not open */
    bool has_failed;
    char path[TIMELINE_PATH_BYTES];
};

/* Where a file of the step lies: in log_dir, which may be relative to `directory` or "". ending: ".jsonl". */
void timeline_path(const char *directory, const char *log_dir, uint32_t job, uint32_t step, const char *ending,
                   char *ret_path, size_t capacity);
/* Says where; opens nothing yet. */
void timeline_init(struct timeline *timeline, const char *directory, const char *log_dir, uint32_t job, uint32_t step);
void timeline_fini(struct timeline *timeline);
/* Appends the object and a newline, whole or not at all. False: for the first time it could not; ret_error has the line
 * for the user. Later ones are tried again where the file is open, and no more is said. */
bool timeline_append(struct timeline *timeline, const char *json, char *ret_error, size_t error_capacity);

#endif
