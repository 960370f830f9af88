/*
 * Any text as Slurm's list of nodes, of as many names as the first byte says: either all of them can be named, each
 * within its buffer, or none.
 */
#include <stdlib.h>
#include <string.h>

#include "step_launcher/hostlist.h"

#define SIZE_MAX_HERE 256u /* ranges multiply */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char name[32];
    uint32_t named = 0;

    if (size == 0 || size > SIZE_MAX_HERE) {
        return 0;
    }
    uint32_t count = data[0] % 8u;
    char *list = malloc(size);
    if (list == NULL) {
        return 0;
    }
    memcpy(list, data + 1, size - 1);
    list[size - 1] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        memset(name, 'x', sizeof(name));
        if (hostlist_name(list, count, i, name, sizeof(name))) {
            named++;
            if (memchr(name, '\0', sizeof(name)) == NULL) {
                abort();
            }
        }
    }
    if ((named != 0 && named != count) || hostlist_name(list, count, count, name, sizeof(name))) {
        abort();
    }
    free(list);
    return 0;
}
