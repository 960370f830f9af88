/*
 * A libfabric provider that has nothing to offer and never ends: what is put into FI_PROVIDER_PATH of a helper, so that
 * its process hangs in a library's destructor. Appends a line to the file FI_STUCK_MARK when it is loaded and when its
 * end begins.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fi_provider;
struct fi_provider *fi_prov_ini(void);

static void mark(const char *line) {
    const char *path = getenv("FI_STUCK_MARK");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) {
        (void)!write(fd, line, strlen(line));
        close(fd);
    }
}

struct fi_provider *fi_prov_ini(void) {
    mark("loaded\n");
    return NULL;
}

static void __attribute__((destructor)) stay(void) {
    mark("ends\n");
    for (;;) {
        (void)pause();
    }
}
