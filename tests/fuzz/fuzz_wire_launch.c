/*
 * Any bytes as the launch text: what is accepted must survive being formatted and parsed again.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/wire/wire_launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[WIRE_LAUNCH_BYTES_MAX];
    struct wire_launch launch, again;

    if (!wire_launch_parse((const char *)data, size, &launch)) {
        return 0;
    }
    size_t count = wire_launch_format(&launch, text, sizeof(text));
    if (count == 0 || !wire_launch_parse(text, count, &again) || memcmp(&launch, &again, sizeof(launch)) != 0) {
        abort();
    }
    return 0;
}
