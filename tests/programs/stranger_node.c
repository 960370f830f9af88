/*
 * On a node: the keepers' sockets, and the processes of other users.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/wire/wire_keeper.h"
#include "tests/programs/stranger.h"

#define KEEPERS_PAUSE_US 500
#define SEEN_MAX 64

/* A keeper's HELLO, and that its program has ended. */
static bool speak_as_keeper(const char *name) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct wire_keeper_message message = { .type = WIRE_KEEPER_HELLO, .pid = 1, .environment = "" };
    uint8_t packet[256];
    size_t length = strlen(name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path + 1, name, length);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    bool connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, bytes) == 0;
    if (connected) {
        (void)send(fd, packet, wire_keeper_encode(&message, packet, sizeof(packet)), MSG_NOSIGNAL);
        message.type = WIRE_KEEPER_EXITED;
        (void)send(fd, packet, wire_keeper_encode(&message, packet, sizeof(packet)), MSG_NOSIGNAL);
    }
    if (fd >= 0) {
        close(fd);
    }
    return connected;
}

/* Names that were seen, and the sockets that have them now; -1: somebody else's. */
static struct seen {
    char name[107];
    int fd;
} seen[SEEN_MAX];
static size_t seen_count;

static void note_name(const char *name) {
    for (size_t i = 0; i < seen_count; i++) {
        if (strcmp(seen[i].name, name) == 0) {
            return;
        }
    }
    if (seen_count < SEEN_MAX) {
        seen[seen_count].fd = -1;
        snprintf(seen[seen_count++].name, sizeof(seen[0].name), "%s", name);
    }
}

static size_t take_names(void) {
    size_t taken = 0;
    for (size_t i = 0; i < seen_count; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t length = strlen(seen[i].name);
        memcpy(address.sun_path + 1, seen[i].name, length);
        socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
        int fd = seen[i].fd < 0 ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0) : -1;
        if (fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 && listen(fd, 16) == 0) {
            seen[i].fd = fd;
        } else if (fd >= 0) {
            close(fd);
        }
        taken += seen[i].fd >= 0;
    }
    return taken;
}

int stranger_keepers(int argc, char **argv) {
    unsigned long count = 0;
    size_t taken = 0;
    char line[512], name[107];

    (void)argc;
    (void)argv;
    stranger_ready();
    while (!stranger_is_over) {
        FILE *table = fopen("/proc/net/unix", "re");
        while (table != NULL && fgets(line, sizeof(line), table) != NULL) {
            const char *at = strstr(line, " @ckptless.");
            if (at != NULL && sscanf(at, " @%106s", name) == 1) {
                note_name(name);
                count += speak_as_keeper(name);
            }
        }
        if (table != NULL) {
            fclose(table);
        }
        taken = take_names();
        usleep(KEEPERS_PAUSE_US);
    }
    printf("keepers: %lu connections, %zu names taken\n", count, taken);
    return 0;
}

static void found(const char *what, const char *pid, const char *name) {
    printf("%s %s %s\n", what, pid, name);
}

static void try_files(const char *pid, const char *name) {
    static const char *const files[] = { "environ", "mem",  "maps", "auxv",  "fd",
                                         "cwd",     "root", "exe",  "stack", "syscall" };
    char path[512];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char byte;
        snprintf(path, sizeof(path), "/proc/%s/%s", pid, files[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && (read(fd, &byte, 1) == 1 || errno == EISDIR || strcmp(files[i], "mem") == 0)) {
            found(files[i], pid, name);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    for (int number = 0; number < 300; number++) {
        snprintf(path, sizeof(path), "/proc/%s/fd/%d", pid, number);
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0) {
            found(path, pid, name);
            close(fd);
        }
    }
}

static void try_calls(pid_t number, const char *pid, const char *name) {
    char byte;
    struct iovec ours = { &byte, 1 }, theirs = { (void *)0x400000, 1 };
    struct rlimit limit = { 0, 0 };
    cpu_set_t cpus;

    if (ptrace(PTRACE_SEIZE, number, 0, 0) == 0) {
        found("ptrace", pid, name);
    }
    if (process_vm_readv(number, &ours, 1, &theirs, 1, 0) > 0) {
        found("process_vm_readv", pid, name);
    }
    for (int signal_number = 0; signal_number < 65; signal_number++) {
        if (kill(number, signal_number) == 0) {
            found("kill", pid, name);
        }
    }
    if (prlimit(number, RLIMIT_CPU, &limit, NULL) == 0) {
        found("prlimit", pid, name);
    }
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    if (sched_setaffinity(number, sizeof(cpus), &cpus) == 0) {
        found("sched_setaffinity", pid, name);
    }
    if (setpriority(PRIO_PROCESS, (id_t)number, 19) == 0) {
        found("setpriority", pid, name);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, number, 0);
    for (int fd = 0; pidfd >= 0 && fd < 300; fd++) {
        int taken = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
        if (taken >= 0) {
            found("pidfd_getfd", pid, name);
            close(taken);
        }
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
}

static void try_shared_memory(void) {
    char path[512];
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory)) {
        snprintf(path, sizeof(path), "/dev/shm/%s", entry->d_name);
        int fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            found("shm", "0", entry->d_name);
            close(fd);
        }
    }
    if (directory) {
        closedir(directory);
    }
    for (int index = 0; index < 1024; index++) {
        struct shmid_ds facts;
        int id = shmctl(index, SHM_STAT, &facts);
        if (id >= 0 && shmat(id, NULL, SHM_RDONLY) != (void *)-1) {
            found("shmat", "0", "-");
        }
    }
}

int stranger_snoop(int argc, char **argv) {
    DIR *directory = opendir("/proc");
    (void)argc;
    (void)argv;
    for (struct dirent *entry = directory ? readdir(directory) : NULL; entry; entry = readdir(directory)) {
        char path[300], name[64] = "?";
        struct stat status;
        pid_t number = (pid_t)atoi(entry->d_name);
        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        FILE *file = number > 0 && number != getpid() ? fopen(path, "re") : NULL;
        if (file == NULL) {
            continue;
        }
        bool theirs =
            fscanf(file, "%63s", name) == 1 && fstat(fileno(file), &status) == 0 && status.st_uid != geteuid();
        fclose(file);
        if (theirs) {
            try_files(entry->d_name, name);
            try_calls(number, entry->d_name, name);
        }
    }
    if (directory) {
        closedir(directory);
    }
    try_shared_memory();
    return 0;
}
