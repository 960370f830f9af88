/* Moving and closing descriptors; see descriptors.h. */
#include "spank_plugin/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MAX 8
#define FALLBACK_FIRST 64
#define SWEEP_MAX 65536

int descriptors_raise(int fd) {
    if (fd < 0) {
        return -1;
    }
    int raised = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTORS_FIRST);
    if (raised < 0) {
        raised = fcntl(fd, F_DUPFD_CLOEXEC, FALLBACK_FIRST);
    }
    if (raised < 0) {
        return fd;
    }
    close(fd);
    return raised;
}

/* first and last included */
static void close_span(unsigned first, unsigned last) {
    if (first > last || close_range(first, last, 0) == 0) {
        return;
    }
    struct rlimit limit = { .rlim_cur = SWEEP_MAX };
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    unsigned bound = limit.rlim_cur < SWEEP_MAX ? (unsigned)limit.rlim_cur : SWEEP_MAX;
    for (unsigned fd = first; fd <= last && fd < bound; fd++) {
        close((int)fd);
    }
}

void descriptors_close_others(int first, const int *kept, size_t count) {
    int sorted[KEPT_MAX];
    size_t used = 0;
    for (size_t i = 0; i < count && used < KEPT_MAX; i++) {
        size_t at = used;
        if (kept[i] < first) {
            continue;
        }
        while (at > 0 && sorted[at - 1] > kept[i]) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = kept[i];
        used++;
    }
    unsigned next = (unsigned)first;
    for (size_t i = 0; i < used; i++) {
        if ((unsigned)sorted[i] > next) {
            close_span(next, (unsigned)sorted[i] - 1);
        }
        next = (unsigned)sorted[i] + 1;
    }
    close_span(next, UINT_MAX);
}

size_t descriptors_find_logs(int *ret_fds, size_t capacity) {
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    for (const struct dirent *entry = directory ? readdir(directory) : NULL; entry && count < capacity;
         entry = readdir(directory)) {
        int fd = atoi(entry->d_name);
        struct stat status;
        if (fd >= 3 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (fcntl(fd, F_GETFL) & O_APPEND)) {
            ret_fds[count++] = fd;
        }
    }
    if (directory) {
        closedir(directory);
    }
    return count;
}
