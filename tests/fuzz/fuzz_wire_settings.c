/*
 * Any text as the value of --ckptless: a refusal is one line, what is accepted is within its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct wire_settings settings;
    char error[256];
    char *text = malloc(size + 1);

    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (wire_settings_parse(text, &settings, error, sizeof(error))) {
        if (settings.heartbeat_ms < 10 || settings.heartbeat_ms * 2 > settings.dead_after_ms ||
            settings.spares > 8191 || strlen(settings.log_dir) > 1023) {
            abort();
        }
    } else if (error[0] == '\0' || strchr(error, '\n') != NULL) {
        abort();
    }
    free(text);
    return 0;
}
