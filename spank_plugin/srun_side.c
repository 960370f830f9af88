/*
 * srun's side: ckptless-launch runs beside srun as its child, tied to it by two pipes; in srun itself only a thread
 * reads what it says. Knows the lines of that pipe and nothing of the protocol between the nodes.
 *
 * To the program: lines key=value and an empty line on its descriptor 0, which then stays open: its EOF says that srun
 * has gone. From the program, on its descriptor 3: "ready port=P secret=S token=T", then "exit code=N lost=K
 * [otherwise=1]" or "fail text=...".
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node_helper/wire/wire_launch.h"
#include "spank_plugin/plugin.h"

#define READY_MS_MAX 5000
#define GRACE_MS 500 /* for output that srun is still printing when nodes were lost */
#define END_MS_MAX 300

extern char **environ;

struct launcher {
    pid_t pid;   /* of ckptless-launch; 0: none */
    int to_fd;   /* its descriptor 0 */
    int from_fd; /* its descriptor 3 */
    uint32_t job;
    atomic_bool is_stopping; /* its end is no surprise */
    atomic_bool is_read;     /* its verdict, or its end, is known */
    bool has_thread;
    pthread_t thread;
    size_t length; /* bytes of `line` that are filled */
    char line[2048];
};

static struct launcher the_launcher = { .to_fd = -1, .from_fd = -1 };

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/* One line without its newline into ret_line; deadline_ms < 0: without a deadline. False: end of file, error, or late.
 */
static bool read_line(struct launcher *launcher, int64_t deadline_ms, char *ret_line, size_t capacity) {
    for (;;) {
        char *newline = memchr(launcher->line, '\n', launcher->length);
        if (newline) {
            size_t length = (size_t)(newline - launcher->line);
            snprintf(ret_line, capacity, "%.*s", (int)length, launcher->line);
            launcher->length -= length + 1;
            memmove(launcher->line, newline + 1, launcher->length);
            return true;
        }
        if (launcher->length == sizeof(launcher->line)) {
            return false;
        }
        int64_t left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
        struct pollfd pollfd = { .fd = launcher->from_fd, .events = POLLIN };
        int ready = deadline_ms >= 0 && left <= 0 ? 0 : poll(&pollfd, 1, (int)left);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return false;
        }
        ssize_t count =
            read(launcher->from_fd, launcher->line + launcher->length, sizeof(launcher->line) - launcher->length);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        launcher->length += (size_t)count;
    }
}

/* Value of `key` in "word key=value key=value"; a key named text takes the rest of the line. */
static bool find_value(const char *line, const char *key, char *ret_value, size_t capacity) {
    char pattern[32];
    int length = snprintf(pattern, sizeof(pattern), " %s=", key);
    const char *found = strstr(line, pattern);
    if (found == NULL) {
        return false;
    }
    found += length;
    size_t bytes = strcmp(key, "text") == 0 ? strlen(found) : strcspn(found, " ");
    snprintf(ret_value, capacity, "%.*s", (int)bytes, found);
    return bytes > 0 && bytes < capacity;
}

/* What the program is told on its descriptor 0; 0: does not fit. */
static size_t format_request(spank_t spank, struct launcher *launcher, char *ret_text, size_t capacity) {
    uint32_t step = 0;
    unsigned port_min = 0, port_max = 0;
    char directory[PLUGIN_PATH_BYTES * 4] = "/", socket[WIRE_NAME_BYTES];
    const slurm_conf_t *conf = dlsym(RTLD_DEFAULT, "slurm_conf");
    if (spank_get_item(spank, S_JOB_ID, &launcher->job) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS) {
        return 0;
    }
    if (conf && conf->srun_port_range) {
        port_min = conf->srun_port_range[0];
        port_max = conf->srun_port_range[1];
    }
    if (getcwd(directory, sizeof(directory)) == NULL || strchr(directory, '\n')) {
        snprintf(directory, sizeof(directory), "/");
    }
    bool has_munge = plugin_has_munge(socket, sizeof(socket));
    int length =
        snprintf(ret_text, capacity, "option=%s\njob=%u\nstep=%u\nport_min=%u\nport_max=%u\nsubmit_dir=%s\n%s%s%s\n",
                 option_get()->text, launcher->job, step, port_min, port_max, directory,
                 has_munge ? "munge_socket=" : "", socket, has_munge ? "\n" : "");
    return length > 0 && (size_t)length < capacity ? (size_t)length : 0;
}

/* The child gets descriptors 0 (request), 2 (srun's) and 3 (answers), no other, a session of its own so that a
 * terminal's Ctrl-C passes it by, and no blocked signal. Takes request_fd and answer_fd over in any case. */
static int spawn_launcher(const char *path, int request_fd, int answer_fd, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char name[] = "ckptless-launch";
    char *arguments[] = { name, NULL };
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* Both are at 10 or above, so that neither is overwritten on the way. */
    int high_request = fcntl(request_fd, F_DUPFD_CLOEXEC, 10), high_answer = fcntl(answer_fd, F_DUPFD_CLOEXEC, 10);
    posix_spawn_file_actions_adddup2(&actions, high_request, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, high_answer, 3);
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int rc = posix_spawn(ret_pid, path, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close_fd(&high_request);
    close_fd(&high_answer);
    close(request_fd);
    close(answer_fd);
    return rc;
}

static bool start_launcher(struct launcher *launcher, const char *path, const char *request, size_t bytes) {
    int to[2] = { -1, -1 }, from[2] = { -1, -1 };
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        slurm_error("ckptless: no pipe to ckptless-launch: %s", strerror(errno));
        goto fail;
    }
    /* Both ends are still ours and the pipe is larger than the request: neither a wait nor a SIGPIPE. */
    if (write(to[1], request, bytes) != (ssize_t)bytes) {
        slurm_error("ckptless: no pipe to ckptless-launch: %s", strerror(errno));
        goto fail;
    }
    int rc = spawn_launcher(path, to[0], from[1], &launcher->pid);
    to[0] = from[1] = -1;
    if (rc != 0) {
        launcher->pid = 0;
        slurm_error("ckptless: %s cannot be started: %s", path, strerror(rc));
        goto fail;
    }
    launcher->to_fd = to[1];
    launcher->from_fd = from[0];
    return true;
fail:
    close_fd(&to[0]);
    close_fd(&to[1]);
    close_fd(&from[0]);
    close_fd(&from[1]);
    return false;
}

/* See PLUGIN_ENV_LIMIT. */
static bool bar_nodes_without_plugin(void) {
    const char *limit = getenv(PLUGIN_ENV_LIMIT);
    return setenv(PLUGIN_ENV_TRUE_LIMIT, limit ? limit : "", 1) == 0 &&
           setenv(PLUGIN_ENV_LIMIT, PLUGIN_NO_LIMIT, 1) == 0;
}

/* Waits for "ready" and publishes the rendezvous. */
static bool await_ready(struct launcher *launcher) {
    char line[sizeof(launcher->line)], port[8], secret[WIRE_SEALED_BYTES], token[WIRE_TOKEN_HEX];
    char text[WIRE_TEXT_BYTES];
    int64_t deadline_ms = now_ms() + READY_MS_MAX;
    if (!read_line(launcher, deadline_ms, line, sizeof(line))) {
        slurm_error(now_ms() >= deadline_ms ? "ckptless: ckptless-launch was not ready within 5 s"
                                            : "ckptless: ckptless-launch has ended before it was ready");
        return false;
    }
    if (strncmp(line, "fail ", 5) == 0 && find_value(line, "text", text, sizeof(text))) {
        slurm_error("ckptless: %s", text);
        return false;
    }
    if (strncmp(line, "ready ", 6) != 0 || !find_value(line, "port", port, sizeof(port)) ||
        !find_value(line, "secret", secret, sizeof(secret)) || !find_value(line, "token", token, sizeof(token))) {
        slurm_error("ckptless: ckptless-launch is of another version");
        return false;
    }
    struct allocator_ends wanted = allocator_ends();
    char ends[32];
    snprintf(ends, sizeof(ends), "%d:%u", wanted.kill_on_bad_exit, wanted.wait_s);
    bool set = setenv(PLUGIN_ENV_PORT, port, 1) == 0 && setenv(PLUGIN_ENV_SECRET, secret, 1) == 0 &&
               setenv(PLUGIN_ENV_TOKEN, token, 1) == 0 && setenv(PLUGIN_ENV_ENDS, ends, 1) == 0 &&
               bar_nodes_without_plugin();
    explicit_bzero(line, sizeof(line));
    explicit_bzero(secret, sizeof(secret));
    return set;
}

/* What srun ends with where Slurm cannot know it; -1: as Slurm says. */
static atomic_int decided_code = -1;

/* After all exit handlers, Slurm's spank_fini among them; also when srun ends by itself, because a node that was given
 * up has come back and said how its tasks ended. */
__attribute__((destructor)) static void exit_as_decided(void) {
    int code = atomic_load(&decided_code);
    if (code >= 0) {
        (void)fflush(NULL);
        _exit(code);
    }
}

/* srun's watcher is a fork of srun that completes the job when srun ends without a word. The job is complete, with the
 * program's code: the watcher's, which is none, would stand there as 0:126. */
static void end_watcher(const struct launcher *launcher) {
    char path[64], name[16];
    int pid;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &pid) == 1) {
        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        FILE *comm = pid == launcher->pid ? NULL : fopen(path, "re");
        if (comm && fgets(name, sizeof(name), comm) && strcmp(name, "srun\n") == 0) {
            (void)kill(pid, SIGKILL);
        }
        if (comm) {
            fclose(comm);
        }
    }
    if (children) {
        fclose(children);
    }
}

/* Slurm cannot know the code of a step that has lost nodes: srun is ended here. exit(), not _exit(): srun puts the
 * terminal back in an atexit handler. Slurm's own watcher then clears the step away. */
static void end_srun(const struct launcher *launcher, int code) {
    if (allocator_owns_job()) {
        int (*complete_job)(uint32_t, uint32_t);
        *(void **)&complete_job = dlsym(RTLD_DEFAULT, "slurm_complete_job");
        if (complete_job && complete_job(launcher->job, (uint32_t)code << 8) == 0) {
            end_watcher(launcher);
        }
    }
    atomic_store(&decided_code, code);
    exit(code);
}

static void *read_answers(void *argument) {
    struct launcher *launcher = argument;
    char line[sizeof(launcher->line)], text[WIRE_TEXT_BYTES], code[16], lost[16], otherwise[4];
    bool is_over = false;
    while (read_line(launcher, -1, line, sizeof(line))) {
        if (strncmp(line, "exit ", 5) == 0 && find_value(line, "code", code, sizeof(code)) &&
            find_value(line, "lost", lost, sizeof(lost))) {
            is_over = true;
            if (find_value(line, "otherwise", otherwise, sizeof(otherwise))) {
                /* A task has ended otherwise than its ranks: one was out of memory, its keeper was killed. */
                atomic_store(&decided_code, (int)(strtoul(code, NULL, 10) & 0xff));
            }
            if (strtoul(lost, NULL, 10) > 0) {
                atomic_store(&decided_code, (int)(strtoul(code, NULL, 10) & 0xff));
                atomic_store(&launcher->is_read, true);
                struct timespec grace = { .tv_nsec = GRACE_MS * 1000000L };
                nanosleep(&grace, NULL);
                end_srun(launcher, (int)(strtoul(code, NULL, 10) & 0xff));
            }
        } else if (strncmp(line, "fail ", 5) == 0 && find_value(line, "text", text, sizeof(text))) {
            slurm_error("ckptless: %s", text);
            end_srun(launcher, PLUGIN_EXIT_CODE);
        }
    }
    atomic_store(&launcher->is_read, true);
    if (!is_over && !atomic_load(&launcher->is_stopping)) {
        slurm_error("ckptless: ckptless-launch has ended; the step goes on, but nothing more is reported");
    }
    return NULL;
}

static bool start_thread(struct launcher *launcher) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&launcher->thread, NULL, read_answers, launcher);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    launcher->has_thread = rc == 0;
    if (rc != 0) {
        slurm_error("ckptless: no thread: %s", strerror(rc));
    }
    return rc == 0;
}

int srun_start(spank_t spank, int argc, char **argv) {
    struct launcher *launcher = &the_launcher;
    uint32_t step = 0;
    char path[PLUGIN_PATH_BYTES], request[16384];
    if (launcher->pid || spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS ||
        step > SLURM_MAX_NORMAL_STEP_ID) {
        return ESPANK_SUCCESS;
    }
    size_t bytes = format_request(spank, launcher, request, sizeof(request));
    if (bytes == 0 || !plugin_program_path(argc, argv, "ckptless-launch", path, sizeof(path))) {
        slurm_error("ckptless: the step cannot be described to ckptless-launch");
        return PLUGIN_REFUSED;
    }
    if (!start_launcher(launcher, path, request, bytes) || !await_ready(launcher) || !start_thread(launcher)) {
        srun_stop();
        return PLUGIN_REFUSED;
    }
    return ESPANK_SUCCESS;
}

void srun_stop(void) {
    struct launcher *launcher = &the_launcher;
    int64_t deadline_ms = now_ms() + END_MS_MAX;
    if (launcher->pid == 0) {
        return;
    }
    atomic_store(&launcher->is_stopping, true);
    close_fd(&launcher->to_fd);
    /* Its last lines come before srun's caller prints its prompt. */
    while (waitpid(launcher->pid, NULL, WNOHANG) == 0 && now_ms() < deadline_ms) {
        struct timespec pause = { .tv_nsec = 2000000L };
        nanosleep(&pause, NULL);
    }
    launcher->pid = 0;
    /* The thread ends with the pipe; only its word is waited for: it may be the one that is ending srun. */
    if (launcher->has_thread) {
        while (!atomic_load(&launcher->is_read) && now_ms() < deadline_ms) {
            struct timespec pause = { .tv_nsec = 2000000L };
            nanosleep(&pause, NULL);
        }
        pthread_detach(launcher->thread);
        launcher->has_thread = false;
    }
}
