/*
 * onsight: does something at a moment that only a log tells, sooner than a shell could. Waits for a new line in a
 * growing file that contains a text, then sends a signal at once.
 *
 *     onsight FILE TEXT SECONDS [SIGNAL PID...]
 *     onsight FILE TEXT SECONDS SIGNAL NAME@NETNS...    to the processes of that name in that network, as they are then
 *
 * Says "watching" when it watches, then the line. Exit code 1: no such line in time; 2: nobody was hit. Then it says
 * nothing more.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 50000

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void rest(void) {
    const struct timespec pause = { .tv_nsec = LOOK_NS };
    nanosleep(&pause, NULL);
}

/* The file may not be there yet. */
static bool wait_for_line(const char *path, const char *text, double until_s, char *ret_line, size_t capacity) {
    size_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)lseek(fd, 0, SEEK_END);
    }
    puts("watching");
    fflush(stdout);
    while (now_s() < until_s) {
        if (fd < 0) {
            fd = open(path, O_RDONLY | O_CLOEXEC);
        }
        ssize_t count = fd >= 0 ? read(fd, ret_line + length, 1) : 0;
        if (count <= 0) {
            rest();
        } else if (ret_line[length] != '\n') {
            length += length + 2 < capacity;
        } else {
            ret_line[length] = '\0';
            length = 0;
            if (strstr(ret_line, text)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_of(pid_t pid, const char *name, const struct stat *net) {
    char path[64], comm[32] = "";
    struct stat facts;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    if (stat(path, &facts) != 0 || facts.st_ino != net->st_ino || facts.st_dev != net->st_dev) {
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "r");
    bool same = file && fgets(comm, sizeof(comm), file) && strcspn(comm, "\n") == strlen(name) &&
                strncmp(comm, name, strlen(name)) == 0;
    if (file) {
        fclose(file);
    }
    return same;
}

static int hit_by_name(const char *name, const char *net_path, int number) {
    struct stat net;
    struct dirent *entry;
    int hits = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL || stat(net_path, &net) != 0) {
        return 0;
    }
    while ((entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid > 0 && is_of(pid, name, &net)) {
            hits += kill(pid, number) == 0;
        }
    }
    closedir(proc);
    return hits;
}

static int hit(char *whom, int number) {
    char *at = strchr(whom, '@');
    if (at == NULL) {
        return kill((pid_t)atoi(whom), number) == 0;
    }
    *at = '\0';
    return hit_by_name(whom, at + 1, number);
}

int main(int argc, char **argv) {
    static char line[4096];
    int hits = 0;
    if (argc < 4 || argc == 5) {
        fputs("usage: onsight FILE TEXT SECONDS [SIGNAL PID|NAME@NETNS...]\n", stderr);
        return 3;
    }
    if (!wait_for_line(argv[1], argv[2], now_s() + atof(argv[3]), line, sizeof(line))) {
        return 1;
    }
    for (int i = 5; i < argc; i++) {
        hits += hit(argv[i], atoi(argv[4]));
    }
    if (argc > 5 && hits == 0) {
        return 2;
    }
    puts(line);
    return 0;
}
