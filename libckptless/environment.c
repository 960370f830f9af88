/*
 * Reading and writing the process's environment. Knows neither worlds nor contexts.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libckptless/environment.h"
#include "libckptless/say.h"

enum environment_result environment_number(const char *name, long min, long max, int *ret_value) {
    const char *text = getenv(name);
    char *end;
    if (!text || !*text) {
        return ENVIRONMENT_NOT_SET;
    }
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || !isdigit((unsigned char)*text) || value < min || value > max) {
        say_line(NULL, "%s=%.100s in the environment: must be a number from %ld to %ld; correct or unset it", name,
                 text, min, max);
        return ENVIRONMENT_BAD;
    }
    *ret_value = (int)value;
    return ENVIRONMENT_OK;
}

bool environment_apply(const char *block, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        const char *text = block + at;
        size_t length = strnlen(text, bytes - at);
        if (at + length == bytes) {
            return true; /* not ended: the codec lets none of these through */
        }
        const char *equals = memchr(text, '=', length);
        if (!equals && length > 0) {
            (void)unsetenv(text);
        } else if (equals && equals > text) {
            char *name = strndup(text, (size_t)(equals - text));
            bool set = name && setenv(name, equals + 1, 1) == 0;
            free(name);
            if (!set) {
                return false;
            }
        }
        at += length + 1;
    }
    return true;
}
