/*
 * Process trees through /proc/PID/task/TID/children; on kernels built without it, through the parent in /proc/PID/stat.
 * See keeper_tree.h.
 */
#include "spank_plugin/keeper_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSES_MAX 64
#define CLEAN_PASSES 2

struct pid_list {
    pid_t *pids;
    size_t count, capacity;
};

static bool list_has(const struct pid_list *list, pid_t pid) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static void list_add(struct pid_list *list, pid_t pid) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        pid_t *pids = realloc(list->pids, capacity * sizeof(*pids));
        if (pids == NULL) {
            return; /* the next pass sees it */
        }
        list->pids = pids;
        list->capacity = capacity;
    }
    list->pids[list->count++] = pid;
}

struct process {
    char state; /* of its first thread: Z when only that one has ended, too */
    int parent, thread_count;
};

/* False: it is gone. The name in the line may hold anything, also parentheses. */
static bool read_stat(pid_t pid, struct process *ret_process) {
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (length <= 0) {
        return false;
    }
    text[length] = '\0';
    const char *after = strrchr(text, ')');
    return after != NULL && sscanf(after + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d",
                                   &ret_process->state, &ret_process->parent, &ret_process->thread_count) == 3;
}

/* False: the kernel does not have this file. */
static bool add_children_of_thread(pid_t pid, const char *thread, struct pid_list *list) {
    char path[320];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return access("/proc/thread-self/children", R_OK) == 0; /* only the thread has gone */
    }
    int child;
    while (fscanf(file, "%d", &child) == 1) {
        if (!list_has(list, (pid_t)child)) {
            list_add(list, (pid_t)child);
        }
    }
    fclose(file);
    return true;
}

static bool add_children(pid_t pid, struct pid_list *list) {
    char path[64];
    bool known = true;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return true;
    }
    for (const struct dirent *entry = readdir(directory); entry && known; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            known = add_children_of_thread(pid, entry->d_name, list);
        }
    }
    closedir(directory);
    return known;
}

/* The slow way: everybody whose parent is in the list, until nobody is added. */
static void scan_parents(pid_t root, struct pid_list *list) {
    size_t before;
    list->count = 0;
    do {
        before = list->count;
        DIR *directory = opendir("/proc");
        for (const struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory)) {
            pid_t pid = (pid_t)atoi(entry->d_name);
            struct process process;
            if (pid > 0 && !list_has(list, pid) && read_stat(pid, &process) &&
                (process.parent == root || list_has(list, (pid_t)process.parent))) {
                list_add(list, pid);
            }
        }
        if (directory) {
            closedir(directory);
        }
    } while (list->count != before);
}

/* All descendants, zombies included. */
static void collect(pid_t root, struct pid_list *list) {
    list->count = 0;
    bool known = add_children(root, list);
    for (size_t i = 0; i < list->count && known; i++) {
        known = add_children(list->pids[i], list);
    }
    if (!known) {
        scan_parents(root, list);
    }
}

/* Any thread of it. */
static bool is_alive(pid_t pid) {
    struct process process;
    return read_stat(pid, &process) && ((process.state != 'Z' && process.state != 'X') || process.thread_count > 1);
}

/* It is writing its core (Linux 4.15 and later say so). */
static bool is_dumping(pid_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[length > 0 ? length : 0] = '\0';
    return strstr(text, "\nCoreDumping:\t1") != NULL;
}

size_t keeper_tree_signal(pid_t root, int number) {
    struct pid_list list = { 0 };
    size_t sent = 0;
    collect(root, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (is_alive(list.pids[i]) && kill(list.pids[i], number) == 0) {
            sent++;
        }
    }
    free(list.pids);
    return sent;
}

size_t keeper_tree_kill(pid_t root, bool dumps_are_spared) {
    struct pid_list list = { 0 }, killed = { 0 };
    int clean = 0;
    for (int pass = 0; pass < PASSES_MAX && clean < CLEAN_PASSES; pass++) {
        clean++;
        collect(root, &list);
        for (size_t i = 0; i < list.count; i++) {
            if (!list_has(&killed, list.pids[i]) && is_alive(list.pids[i]) &&
                !(dumps_are_spared && is_dumping(list.pids[i]))) {
                (void)kill(list.pids[i], SIGKILL);
                list_add(&killed, list.pids[i]);
                clean = 0;
            }
        }
    }
    size_t count = killed.count;
    free(list.pids);
    free(killed.pids);
    return count;
}

bool keeper_tree_contains(pid_t root, pid_t pid) {
    struct pid_list list = { 0 };
    collect(root, &list);
    bool contains = list_has(&list, pid) && is_alive(pid);
    free(list.pids);
    return contains;
}
