/*
 * The debug log: lines on stderr, only when CKPTLESS_DEBUG is set. The keeper points stderr to a file or to /dev/null.
 */
#ifndef CKPTLESS_SHELL_LOG_H
#define CKPTLESS_SHELL_LOG_H

#include <stdbool.h>

/* host: named in each line; must stay. */
void log_open(const char *host);
/* Whether lines are written: for callers that would have to format first. */
bool log_enabled(void);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
