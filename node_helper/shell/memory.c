/* See memory.h. */
#include "node_helper/shell/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536u

/* A file of /proc or of a cgroup, as text; NULL: not to be had. free(). */
static char *read_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 ? NULL : malloc(FILE_BYTES_MAX);
    size_t used = 0;
    for (ssize_t count = 1; text && count > 0 && used < FILE_BYTES_MAX - 1;) {
        count = read(fd, text + used, FILE_BYTES_MAX - 1 - used);
        used += count > 0 ? (size_t)count : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (text) {
        text[used] = '\0';
    }
    return text;
}

static const char *next_line(const char *line) {
    const char *newline = strchr(line, '\n');
    return newline ? newline + 1 : line + strlen(line);
}

/* `item` is one of those with commas between them; the list ends before `end`. */
static bool has_item(const char *list, const char *end, const char *item) {
    size_t length = strlen(item);
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma ? comma : end;
        if ((size_t)(stop - list) == length && memcmp(list, item, length) == 0) {
            return true;
        }
        list = stop + 1;
    }
    return false;
}

/* Lines "NUMBER:CONTROLLERS:PATH"; that of v2 has no controllers. *ret_length of the path; NULL: none. */
static const char *find_group(const char *text, const char *controller, size_t *ret_length) {
    for (const char *line = text; *line; line = next_line(line)) {
        const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (path && (controller[0] ? has_item(list + 1, path, controller) : path == list + 1)) {
            *ret_length = strcspn(path + 1, "\n");
            return path + 1;
        }
    }
    return NULL;
}

/* Where a mount of this kind shows `group`: lines "... ROOT POINT ... - TYPE SOURCE OPTIONS". The last one counts: it
 * lies over the others. */
static bool find_point(const char *mounts, const char *type, const char *option, const char *group, size_t group_length,
                       char *ret_path, size_t capacity) {
    bool found = false;
    for (const char *line = mounts; *line; line = next_line(line)) {
        char root[1024], point[1024], kind[64], options[1024];
        const char *after = strstr(line, " - ");
        if (after == NULL || after >= next_line(line) || sscanf(line, "%*d %*d %*s %1023s %1023s", root, point) != 2 ||
            sscanf(after, " - %63s %*s %1023s", kind, options) != 2 || strcmp(kind, type) != 0 ||
            (option[0] && !has_item(options, options + strlen(options), option))) {
            continue;
        }
        size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (group_length >= skip && memcmp(group, root, skip) == 0) {
            int length = snprintf(ret_path, capacity, "%s%.*s", point, (int)(group_length - skip), group + skip);
            found = length > 0 && (size_t)length < capacity;
        }
    }
    return found;
}

bool memory_watch_find(const char *cgroup, const char *mounts, char *ret_path, size_t capacity) {
    static const struct {
        const char *controller, *type, *file;
    } kinds[] = { { "memory", "cgroup", "/memory.oom_control" }, { "", "cgroup2", "/memory.events" } };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = 0;
        const char *group = find_group(cgroup, kinds[i].controller, &length);
        if (group && find_point(mounts, kinds[i].type, kinds[i].controller, group, length, ret_path, capacity) &&
            strlen(ret_path) + strlen(kinds[i].file) < capacity) {
            memcpy(ret_path + strlen(ret_path), kinds[i].file, strlen(kinds[i].file) + 1);
            return true;
        }
    }
    return false;
}

static bool read_kills(const char *path, uint64_t *ret_kills) {
    char *text = path[0] ? read_file(path) : NULL;
    const char *count = text ? strstr(text, "oom_kill ") : NULL;
    if (count) {
        *ret_kills = strtoull(count + strlen("oom_kill "), NULL, 10);
    }
    free(text);
    return count != NULL;
}

void memory_watch_begin(struct memory_watch *ret_watch, pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    char *cgroup = read_file(path), *mounts = read_file("/proc/self/mountinfo");
    *ret_watch = (struct memory_watch){ 0 };
    if (!cgroup || !mounts || !memory_watch_find(cgroup, mounts, ret_watch->path, sizeof(ret_watch->path)) ||
        !read_kills(ret_watch->path, &ret_watch->kills)) {
        ret_watch->path[0] = '\0';
    }
    free(cgroup);
    free(mounts);
}

bool memory_watch_look(struct memory_watch *watch) {
    uint64_t kills = 0;
    bool more = read_kills(watch->path, &kills) && kills > watch->kills;
    watch->kills = more ? kills : watch->kills;
    return more;
}
