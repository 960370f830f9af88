/* See process.h. */
#include "node_helper/shell/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 64
#define LEFT_MAX 4096u
#define LEFT_PASSES_MAX 16

/* A file of /proc/PID as text; false: there is none. */
static bool read_file(pid_t pid, const char *name, char *ret_text, size_t capacity) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t count = read(fd, ret_text, capacity - 1);
    close(fd);
    ret_text[count > 0 ? count : 0] = '\0';
    return count > 0;
}

/* Fields 3, 4, 9 and 52 of a stat file; the second one is a name in brackets that may hold anything. */
static bool read_stat(pid_t pid, const char *name, struct process_state *ret_state) {
    char text[1024];
    *ret_state = (struct process_state){ 0 };
    if (!read_file(pid, name, text, sizeof(text))) {
        return false;
    }
    char *rest = strrchr(text, ')');
    if (rest == NULL || rest[1] != ' ') {
        return false;
    }
    char *save = NULL;
    uint32_t field = 3;
    for (char *word = strtok_r(rest + 1, " \n", &save); word; word = strtok_r(NULL, " \n", &save), field++) {
        if (field == 3) {
            ret_state->state = word[0];
        } else if (field == 4) {
            ret_state->parent = (pid_t)strtol(word, NULL, 10);
        } else if (field == 9) {
            ret_state->flags = strtoul(word, NULL, 10);
        } else if (field == 52) {
            ret_state->status = (int)strtol(word, NULL, 10);
        }
    }
    return true;
}

bool process_read(pid_t pid, struct process_state *ret_state) {
    return read_stat(pid, "stat", ret_state);
}

bool process_is_busy(pid_t pid) {
    char path[64];
    bool is_busy = false;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    for (const struct dirent *entry = directory ? readdir(directory) : NULL; entry && !is_busy;
         entry = readdir(directory)) {
        struct process_state state;
        snprintf(path, sizeof(path), "task/%.16s/stat", entry->d_name);
        is_busy = read_stat(pid, path, &state) && state.state == 'R';
    }
    if (directory) {
        closedir(directory);
    }
    return is_busy;
}

bool process_kill_is_pending(pid_t pid) {
    char text[4096];
    const char *line = read_file(pid, "status", text, sizeof(text)) ? strstr(text, "\nShdPnd:") : NULL;
    return line && (strtoull(line + strlen("\nShdPnd:"), NULL, 16) & (1ull << (SIGKILL - 1)));
}

bool process_is_below(pid_t pid, pid_t root) {
    struct process_state state;
    for (int depth = 0; pid > 1 && depth < DEPTH_MAX; depth++) {
        if (pid == root) {
            return true;
        }
        if (!process_read(pid, &state)) {
            return false;
        }
        pid = state.parent;
    }
    return false;
}

/* The environment that it was started with; a program of other rights does not show it. */
static bool has_variable(pid_t pid, const char *variable) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t capacity = 0;
    bool found = false;
    while (file && !found && getdelim(&text, &capacity, '\0', file) > 0) {
        found = strcmp(text, variable) == 0;
    }
    free(text);
    if (file) {
        fclose(file);
    }
    return found;
}

struct victims {
    pid_t pids[LEFT_MAX];
    size_t count;
};

static bool is_victim(const struct victims *victims, pid_t pid) {
    for (size_t i = 0; i < victims->count; i++) {
        if (victims->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

/* One look at all processes; false: nobody has been added. */
static bool add_victims(struct victims *victims, const char *variable) {
    size_t before = victims->count;
    DIR *directory = opendir("/proc");
    for (const struct dirent *entry = directory ? readdir(directory) : NULL; entry && victims->count < LEFT_MAX;
         entry = readdir(directory)) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        struct process_state state;
        if (pid > 1 && pid != getpid() && !is_victim(victims, pid) && process_read(pid, &state) && state.state != 'Z' &&
            (has_variable(pid, variable) || is_victim(victims, state.parent))) {
            victims->pids[victims->count++] = pid;
        }
    }
    if (directory) {
        closedir(directory);
    }
    return victims->count > before;
}

/* All are found before the first is killed: a child whose parent has ended is nobody's. Then again, for those that were
 * forked meanwhile. */
size_t process_kill_left_by(pid_t keeper) {
    struct victims victims = { .count = 0 };
    size_t killed = 0;
    char variable[64];
    snprintf(variable, sizeof(variable), "CKPTLESS_KEEPER_PID=%d", (int)keeper);
    for (int pass = 0; pass < LEFT_PASSES_MAX && add_victims(&victims, variable); pass++) {
        while (add_victims(&victims, variable)) {
        }
        for (; killed < victims.count; killed++) {
            (void)kill(victims.pids[killed], SIGKILL);
        }
    }
    return killed;
}
