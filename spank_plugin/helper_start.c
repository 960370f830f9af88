/*
 * Double fork, setsid, close everything, a name of its own (proctrack/linuxproc knows slurmstepd's processes by their
 * name), exec. See helper_start.h.
 */
#include "spank_plugin/helper_start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"

#define EXEC_MS_MAX 10000
#define STATUS_FD 3

/* What the new process says about itself, before and (when it could not) after execve. */
struct report {
    int error; /* 0: this is the pid */
    pid_t pid;
};

static void reset_signals(void) {
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;
    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &action, NULL);
    }
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_stdio(const struct helper_start *start, int text_fd) {
    int output = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log =
        start->log_path[0] ? open(start->log_path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    (void)dup2(text_fd, 0);
    (void)dup2(output, 1);
    (void)dup2(log >= 0 ? log : output, 2);
}

/* The grandchild: never returns. text_fd and status_fd are above STATUS_FD. */
static void become_helper(const struct helper_start *start, int text_fd, int status_fd) {
    static char name[] = "ckptlessd";
    char *arguments[] = { name, NULL };
    struct report report = { .pid = getpid() };
    cpu_set_t all;
    const int kept[] = { STATUS_FD };
    reset_signals();
    (void)prctl(PR_SET_NAME, name);
    (void)prctl(PR_SET_PDEATHSIG, 0);
    set_stdio(start, text_fd);
    (void)dup3(status_fd, STATUS_FD, O_CLOEXEC);
    descriptors_close_others(STATUS_FD, kept, 1);
    (void)chdir("/");
    /* All CPUs that the step's cgroup allows, not the ones of the task it was started from. */
    memset(&all, 0xff, sizeof(all));
    (void)sched_setaffinity(0, sizeof(all), &all);
    if (write(STATUS_FD, &report, sizeof(report)) == (ssize_t)sizeof(report)) {
        execve(start->path, arguments, start->environment);
        report.error = errno;
        (void)!write(STATUS_FD, &report, sizeof(report));
    }
    _exit(127);
}

/* A pipe whose reading end holds the launch text, and nothing after it. */
static int make_text_pipe(const struct helper_start *start) {
    char text[WIRE_LAUNCH_BYTES_MAX];
    int pipe_fds[2];
    size_t bytes = wire_launch_format(&start->launch, text, sizeof(text));
    if (bytes == 0 || pipe2(pipe_fds, O_CLOEXEC) != 0) {
        errno = bytes == 0 ? EINVAL : errno;
        return -1;
    }
    ssize_t written = write(pipe_fds[1], text, bytes); /* fits: a pipe holds 64 KiB */
    explicit_bzero(text, sizeof(text));
    close(pipe_fds[1]);
    if (written != (ssize_t)bytes) {
        close(pipe_fds[0]);
        errno = EIO;
        return -1;
    }
    return descriptors_raise(pipe_fds[0]);
}

/* False: end of file (execve closed the other end), error or late. */
static bool read_report(int fd, struct report *ret_report) {
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };
    int ready;
    do {
        ready = poll(&pollfd, 1, EXEC_MS_MAX);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 && read(fd, ret_report, sizeof(*ret_report)) == (ssize_t)sizeof(*ret_report);
}

enum helper_start_result helper_start(const struct helper_start *start, pid_t *ret_pid, int *ret_errno) {
    enum helper_start_result result = HELPER_START_SYSTEM;
    struct report report = { 0 }, failure = { 0 };
    int status[2] = { -1, -1 }, subreaper = 0;
    int text_fd = make_text_pipe(start);
    *ret_errno = errno;
    if (text_fd < 0) {
        return result;
    }
    (void)prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
    if (pipe2(status, O_CLOEXEC) != 0) {
        *ret_errno = errno;
        goto out;
    }
    status[1] = descriptors_raise(status[1]);
    pid_t middle = fork();
    if (middle == 0) {
        (void)setsid();
        pid_t helper = fork();
        if (helper == 0) {
            become_helper(start, text_fd, status[1]);
        }
        _exit(helper < 0 ? errno : 0);
    }
    *ret_errno = errno;
    close(status[1]);
    status[1] = -1;
    if (middle < 0) {
        goto out;
    }
    int ended = 0;
    while (waitpid(middle, &ended, 0) < 0 && errno == EINTR) {
    }
    if (!read_report(status[0], &report)) {
        *ret_errno = WIFEXITED(ended) && WEXITSTATUS(ended) ? WEXITSTATUS(ended) : EIO;
        goto out;
    }
    *ret_pid = report.pid;
    result = HELPER_START_OK;
    if (read_report(status[0], &failure)) {
        *ret_errno = failure.error;
        result = HELPER_START_EXEC;
    }
out:
    (void)prctl(PR_SET_CHILD_SUBREAPER, subreaper);
    close(text_fd);
    if (status[0] >= 0) {
        close(status[0]);
    }
    if (status[1] >= 0) {
        close(status[1]);
    }
    return result;
}
