/*
 * What the library tells people: a sentence for each result, and the lines on stderr. Knows nothing but a context's
 * rank.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libckptless/context.h"
#include "libckptless/say.h"

#define LINE_BYTES 2048

static const char *const sentences[] = {
    [CKPTLESS_OK] = "success",
    [CKPTLESS_INTERRUPTED] = "a rank was lost: unwind and call ckptless_recover()",
    [CKPTLESS_RELOAD] = "no one holds the state: load or initialise it, then call ckptless_reloaded()",
    [CKPTLESS_ERR_INVALID] = "an argument or a variable of the environment is out of its range",
    [CKPTLESS_ERR_NO_MEMORY] = "out of memory",
    [CKPTLESS_ERR_STATE] = "the call does not fit here",
    [CKPTLESS_ERR_REGION_MISMATCH] = "ranks registered different regions, or one with different sizes",
    [CKPTLESS_ERR_STEP_MISMATCH] = "ranks called ckptless_reloaded() with different steps",
    [CKPTLESS_ERR_NOT_FOUND] = "no such region",
    [CKPTLESS_ERR_HELPER] = "ckptlessd or the PMIx library cannot be reached",
    [CKPTLESS_ERR_VERSION] = "library and helper do not speak the same version",
    [CKPTLESS_ERR_UPDATE] = "the program's update function failed",
    [CKPTLESS_ERR_UNSUPPORTED] = "not supported by this build of the library",
};

const char *ckptless_strerror(enum ckptless_result result) {
    size_t index = (size_t)(unsigned)result;
    if (index >= sizeof(sentences) / sizeof(sentences[0])) {
        return "unknown result";
    }
    return sentences[index];
}

void say_line(const struct ckptless *ctx, const char *format, ...) {
    char line[LINE_BYTES];
    int saved = errno;
    size_t room = sizeof(line) - 1, length;
    va_list arguments;
    if (ctx && ctx->world.size > 0) {
        length = (size_t)snprintf(line, room, "ckptless: rank %d: ", ctx->world.rank);
    } else {
        length = (size_t)snprintf(line, room, "ckptless: ");
    }
    va_start(arguments, format);
    int more = vsnprintf(line + length, room - length, format, arguments);
    va_end(arguments);
    length += more > 0 ? strlen(line + length) : 0;
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written; /* without a stderr there is no one to tell */
    errno = saved;
}
