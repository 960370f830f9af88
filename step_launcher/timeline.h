/*
 * The file ckptless-JOB.STEP.jsonl: one JSON object a line, appended. Whatever is wrong with it (a full disk, no
 * rights, a path that is a FIFO or a link) costs the file, one line to the user, and nothing else. Knows no JSON.
 */
#ifndef CKPTLESS_TIMELINE_H
#define CKPTLESS_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>

#include "step_launcher/request.h"

struct timeline {
    int fd; /* -1: not open */
    bool has_failed;
    char path[2 * REQUEST_PATH_BYTES];
};

/* Says where; opens nothing yet. */
void timeline_init(struct timeline *timeline, const struct request *request);
void timeline_fini(struct timeline *timeline);
/* Appends the object and a newline, whole or not at all. False: for the first time it could not; ret_error has the line
 * for the user. Later ones are tried again where the file is open, and no more is said. */
bool timeline_append(struct timeline *timeline, const char *json, char *ret_error, size_t error_capacity);

#endif
