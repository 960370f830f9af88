/*
 * One write a line, so that the lines of several processes do not mix; see log.h.
 */
#include "node_helper/shell/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *log_host; /* NULL: off */

void log_open(const char *host) {
    const char *wish = getenv("CKPTLESS_DEBUG");
    log_host = wish && wish[0] && wish[0] != '0' ? host : NULL;
}

bool log_enabled(void) {
    return log_host != NULL;
}

void log_line(const char *format, ...) {
    char text[2048];
    struct timespec now;
    struct tm parts;
    if (log_host == NULL) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &parts);
    int length = snprintf(text, sizeof(text), "%02d:%02d:%02d.%03ld.%03ld %s ", parts.tm_hour, parts.tm_min,
                          parts.tm_sec, now.tv_nsec / 1000000, now.tv_nsec / 1000 % 1000, log_host);
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(text + length, sizeof(text) - (size_t)length - 1, format, arguments);
    va_end(arguments);
    length = more < 0 ? length : length + more;
    if (length > (int)sizeof(text) - 2) {
        length = (int)sizeof(text) - 2;
    }
    text[length] = '\n';
    (void)!write(2, text, (size_t)length + 1);
}
