/*
 * Any bytes as the block of variables that a world brings (first byte even): what is set is what stands there last; or
 * any text as the value of a variable that is a number (odd).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libckptless/environment.h"
#include "libckptless/say.h"

#define MIN 3
#define MAX 70000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void say_line(const struct ckptless *ctx, const char *format, ...) {
    (void)ctx;
    (void)format;
}

static void check_block(const char *block, size_t bytes) {
    if (clearenv() != 0 || !environment_apply(block, bytes)) {
        return;
    }
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        size_t length = strlen(*entry) + 1;
        if (strchr(*entry, '=') == NULL || length > bytes || memmem(block, bytes, *entry, length) == NULL) {
            abort();
        }
    }
}

static void check_number(const char *text) {
    int value = MIN - 1;

    if (setenv("NUMBER", text, 1) != 0) {
        return;
    }
    enum environment_result result = environment_number("NUMBER", MIN, MAX, &value);
    if ((result == ENVIRONMENT_OK) != (value >= MIN && value <= MAX) ||
        (result == ENVIRONMENT_NOT_SET) != (text[0] == '\0')) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = size > 0 ? malloc(size) : NULL;

    if (bytes == NULL) {
        return 0;
    }
    memcpy(bytes, data + 1, size - 1);
    bytes[size - 1] = '\0';
    if (data[0] % 2 == 0) {
        check_block(bytes, size - 1);
    } else {
        check_number(bytes);
    }
    free(bytes);
    return 0;
}
