/*
 * ckptless-launch: runs beside srun as its child, started by the Slurm plugin. Where the step's helpers meet, and where
 * their lines for the user come out. Tied to srun by descriptor 0 (its end is srun's end) and descriptor 3 (answers).
 * Holds no rank and decides nothing about recovery.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "node_helper/seal/seal.h"
#include "step_launcher/launcher.h"

#define SRUN_FD 0
#define USER_FD 2
#define PLUGIN_FD 3
#define LAST_LINES_MS 100
#define USAGE_EXIT_CODE 2
#define FAILURE_EXIT_CODE 1

static bool make_random(uint8_t *ret_bytes, size_t count) {
    size_t have = 0;
    while (have < count) {
        ssize_t got = getrandom(ret_bytes + have, count - have, 0);
        if (got < 0 && errno != EINTR) {
            return false;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static void write_hex(const uint8_t *bytes, size_t count, char *ret_text) {
    for (size_t i = 0; i < count; i++) {
        snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* How the secret travels: where Slurm uses munge, sealed or not at all, so that nobody can make it travel otherwise. */
static bool seal(const struct request *request, const uint8_t *secret, char *ret_text, char *ret_error,
                 size_t error_capacity) {
    char why[WIRE_TEXT_BYTES - 128];

    if (!request->has_munge) {
        seal_plain(secret, ret_text);
    } else if (!seal_munge(secret, request->munge_socket, ret_text, why, sizeof(why))) {
        snprintf(ret_error, error_capacity, "ckptless-launch: the step's secret cannot be sealed: %s", why);
        return false;
    }
    return true;
}

/* Secret, token, port; then the answer "ready". */
static bool open_rendezvous(struct launcher *launcher, char *ret_error, size_t error_capacity) {
    uint8_t secret[WIRE_SECRET_BYTES], token[(WIRE_TOKEN_HEX - 1) / 2];
    char sealed[WIRE_SEALED_BYTES], token_hex[WIRE_TOKEN_HEX];
    uint16_t port = 0;
    bool ok = false;

    if (!make_random(secret, sizeof(secret)) || !make_random(token, sizeof(token))) {
        snprintf(ret_error, error_capacity, "ckptless-launch: no random numbers: %s", strerror(errno));
        goto out;
    }
    if (!seal(&launcher->request, secret, sealed, ret_error, error_capacity) ||
        !launcher_begin(launcher, SRUN_FD, secret, &port, ret_error, error_capacity)) {
        goto out;
    }
    write_hex(token, sizeof(token), token_hex);
    output_answer(PLUGIN_FD, "ready port=%u secret=%s token=%s", port, sealed, token_hex);
    ok = true;
out:
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(sealed, sizeof(sealed));
    return ok;
}

/* Descriptors 0, 2 and 3 come from the plugin; what stands in one of their places instead would be a socket of ours. */
static bool has_descriptors(void) {
    return fcntl(SRUN_FD, F_GETFD) >= 0 && fcntl(USER_FD, F_GETFD) >= 0 && fcntl(PLUGIN_FD, F_GETFD) >= 0;
}

/* Under proctrack/linuxproc what Slurm sends to a batch script's processes reaches this one too. It ends with srun, and
 * has the step's last lines to say: no signal that asks for an end is its own. */
static void ignore_requests(void) {
    static const int requests[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU, SIGPWR };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a full disk */
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        (void)signal(requests[i], SIG_IGN);
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        (void)signal(number, SIG_IGN);
    }
}

int main(void) {
    static struct launcher launcher = { .timeline = { .fd = -1 } };
    char error[WIRE_TEXT_BYTES] = "out of memory";
    int exit_code = FAILURE_EXIT_CODE;

    if (!has_descriptors()) {
        fputs("ckptless-launch is started by the Slurm plugin of ckptless; see srun --ckptless\n", stderr);
        return USAGE_EXIT_CODE;
    }
    /* No core of ours, and no process of the user's reads the secret in our memory. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    ignore_requests();
    if (!request_read(SRUN_FD, &launcher.request, error, sizeof(error))) {
        goto out;
    }
    timeline_init(&launcher.timeline, launcher.request.submit_dir, launcher.request.settings.log_dir,
                  launcher.request.job, launcher.request.step);
    launcher.base = event_base_new();
    if (launcher.base == NULL || !output_init(&launcher.output, launcher.base, USER_FD, PLUGIN_FD) ||
        !open_rendezvous(&launcher, error, sizeof(error))) {
        goto out;
    }
    (void)event_base_dispatch(launcher.base);
    exit_code = launcher.has_failed ? FAILURE_EXIT_CODE : 0;
    error[0] = '\0';
out:
    if (error[0] != '\0') {
        output_answer(PLUGIN_FD, "fail text=%s", error);
    }
    launcher_fini(&launcher);
    output_fini(&launcher.output, LAST_LINES_MS);
    timeline_fini(&launcher.timeline);
    if (launcher.base != NULL) {
        (void)event_base_loop(launcher.base, EVLOOP_NONBLOCK); /* libevent frees connections from its loop */
        event_base_free(launcher.base);
    }
    return exit_code;
}
