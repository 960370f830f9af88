/*
 * A step whose srun is gone, because it ran on one of the step's nodes and that is lost; in a batch job that is the
 * first node, and the script is gone with it. What srun did for the user the leader does: what the ranks print goes on
 * into ckptless-JOB.STEP.out in log-dir, by way of Slurm's sattach, which begins with what srun had last; our own lines
 * go there too, and the timeline goes on. When the step is over the job, which would stay RUNNING for ever, is
 * completed (ckptless-slurm complete) before the keepers end, for with them Slurm ends this helper.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node_helper/shell/shell.h"
#include "slurm_client/slurm_run.h"
#include "step_launcher/timeline.h"

#define PATIENCE_MS_MIN 2000
#define OUTPUT_MS 500 /* for what the ranks have printed last */
#define COMPLETE_MS_MAX 30000
#define AGAIN_MS_MIN 50
#define AGAIN_MS_MAX 5000
#define STOP_MS 2000 /* to sattach, which ends with the step's last task */

struct orphan {
    uint32_t node; /* srun's */
    int out_fd;
    pid_t sattach; /* 0: none */
    struct timeline timeline;
    struct slurm_run *run;
    struct event *soon;
    uint32_t again_ms;
    bool is_completing, is_completed; /* or cannot be */
};

/* The node of the step where srun runs; WIRE_NONE: it is outside. */
static uint32_t node_of_srun(const struct shell *shell) {
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (strcmp(shell->nodes[node].member.address, shell->launch.launcher_address) == 0) {
            return node;
        }
    }
    return WIRE_NONE;
}

static void write_line(const struct orphan *orphan, const char *line) {
    char text[WIRE_TEXT_BYTES * 2 + 16];
    int length = snprintf(text, sizeof(text), "ckptless: %s\n", line);
    if (orphan->out_fd >= 0 && length > 0 && (size_t)length < sizeof(text)) {
        (void)!write(orphan->out_fd, text, (size_t)length);
    }
}

static void open_output(struct shell *shell, char *ret_path, size_t capacity) {
    timeline_path(shell->launch.directory, shell->settings.log_dir, shell->launch.job, shell->launch.step, ".out",
                  ret_path, capacity);
    shell->orphan->out_fd =
        open(ret_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
}

static int start_sattach(struct shell *shell) {
    char name[] = "sattach", step[32];
    char *arguments[] = { name, step, NULL };
    snprintf(step, sizeof(step), "%u.%u", shell->launch.job, shell->launch.step);
    int error = slurm_spawn(name, arguments, shell->orphan->out_fd, &shell->orphan->sattach);
    shell->orphan->sattach = error == 0 ? shell->orphan->sattach : 0;
    return error;
}

static void complete(struct shell *shell);

static void on_soon(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    complete(arg);
}

static void begin(struct shell *shell, uint32_t node) {
    struct orphan *orphan = calloc(1, sizeof(*orphan));
    char path[TIMELINE_PATH_BYTES], text[WIRE_TEXT_BYTES], why[256] = "";
    if (orphan == NULL) {
        return;
    }
    *orphan = (struct orphan){ .node = node, .out_fd = -1, .again_ms = AGAIN_MS_MIN };
    orphan->soon = shell_event_new(shell, -1, 0, on_soon, shell);
    shell->orphan = orphan;
    timeline_init(&orphan->timeline, shell->launch.directory, shell->settings.log_dir, shell->launch.job,
                  shell->launch.step);
    open_output(shell, path, sizeof(path));
    int error = orphan->out_fd < 0 ? errno : start_sattach(shell);
    if (error != 0) {
        snprintf(why, sizeof(why), "; what the ranks print is lost: %s: %s",
                 orphan->out_fd < 0 ? "that file" : "sattach", strerror(error));
    }
    snprintf(text, sizeof(text), "srun is lost with %s; output goes on in %.600s%s", shell->nodes[node].member.host,
             path, why);
    rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
    rollcall_say_unsaid(shell);
}

static bool is_silent_for(const struct shell *shell, uint64_t ms) {
    return shell_now_ns() - shell->launcher_heard_ns >= ms * 1000000u;
}

/* WIRE_NONE: srun is outside, or its node is in. */
static uint32_t lost_node_of_srun(const struct shell *shell) {
    uint32_t node = node_of_srun(shell);
    return node != WIRE_NONE && node != shell->launch.node && result_is_lost(shell, node) ? node : WIRE_NONE;
}

static uint64_t patience_ms(const struct shell *shell) {
    uint64_t ms = 3 * shell->settings.dead_after_ms;
    return ms > PATIENCE_MS_MIN ? ms : PATIENCE_MS_MIN;
}

bool orphan_is_likely(const struct shell *shell) {
    return shell->core != NULL && core_is_leader(shell->core) && is_silent_for(shell, shell->settings.dead_after_ms) &&
           lost_node_of_srun(shell) != WIRE_NONE;
}

void orphan_check(struct shell *shell) {
    if (shell->orphan == NULL && orphan_is_likely(shell) && is_silent_for(shell, patience_ms(shell))) {
        begin(shell, lost_node_of_srun(shell));
        act_check_end(shell);
    }
}

void orphan_srun_answers(struct shell *shell) {
    if (shell->orphan != NULL && !shell->orphan->is_completed) {
        log_line("srun is there after all");
        orphan_fini(shell);
    }
    if (shell->orphan == NULL) {
        rollcall_say_unsaid(shell);
        result_say(shell);
        act_check_end(shell);
    }
}

bool orphan_is_srun(const struct shell *shell, uint32_t node) {
    return node == node_of_srun(shell);
}

void orphan_report(struct shell *shell, const struct wire_report *report) {
    struct orphan *orphan = shell->orphan;
    char error[WIRE_TEXT_BYTES * 4];
    if (report->line[0] != '\0') {
        write_line(orphan, report->line);
    }
    if (report->json[0] != '\0' && !timeline_append(&orphan->timeline, report->json, error, sizeof(error))) {
        write_line(orphan, error);
    }
}

static void on_completed(void *arg, int exit_status, const char *said) {
    struct shell *shell = arg;
    struct orphan *orphan = shell->orphan;
    orphan->run = NULL;
    log_line("ckptless-slurm complete: status %d %s", exit_status, said);
    if (exit_status < 0 || exit_status == SLURM_RUN_LATER) {
        shell_timer_ms(orphan->soon, orphan->again_ms);
        orphan->again_ms = orphan->again_ms * 2 < AGAIN_MS_MAX ? orphan->again_ms * 2 : AGAIN_MS_MAX;
        return;
    }
    if (exit_status != 0) {
        write_line(orphan, said);
    }
    orphan->is_completed = true;
    act_check_end(shell);
}

static void complete(struct shell *shell) {
    char job[16], step[16], code[16];
    const char *how = shell->settings.batch_lost == WIRE_BATCH_LOST_COMPLETE ? "complete" : "fail";
    const char *const arguments[] = { "complete", job, step, shell->nodes[shell->orphan->node].member.host,
                                      code,       how, NULL };
    snprintf(job, sizeof(job), "%u", shell->launch.job);
    snprintf(step, sizeof(step), "%u", shell->launch.step);
    snprintf(code, sizeof(code), "%u", shell->end_code);
    int error = slurm_run_begin(&shell->orphan->run, shell->base, arguments, COMPLETE_MS_MAX, on_completed, shell);
    if (error != 0) {
        on_completed(shell, 1, strerror(error));
    }
}

bool orphan_holds_end(struct shell *shell) {
    struct orphan *orphan = shell->orphan;
    if (!shell->has_result || (orphan == NULL ? !orphan_is_likely(shell) : orphan->is_completed)) {
        return false;
    }
    if (orphan == NULL) {
        return true; /* it will answer, or be given up */
    }
    if (!orphan->is_completing) {
        orphan->is_completing = true;
        shell_timer_ms(orphan->soon, OUTPUT_MS);
    }
    return true;
}

void orphan_fini(struct shell *shell) {
    struct orphan *orphan = shell->orphan;
    if (orphan == NULL) {
        return;
    }
    slurm_run_destroy(orphan->run, 0);
    if (orphan->sattach != 0) {
        int waited_ms = shell->is_over ? 0 : STOP_MS;
        while (waitpid(orphan->sattach, NULL, WNOHANG) == 0) {
            if (waited_ms++ >= STOP_MS) {
                (void)kill(orphan->sattach, SIGKILL);
                (void)waitpid(orphan->sattach, NULL, 0);
                break;
            }
            (void)usleep(1000);
        }
    }
    if (orphan->out_fd >= 0) {
        close(orphan->out_fd);
    }
    timeline_fini(&orphan->timeline);
    event_free(orphan->soon);
    free(orphan);
    shell->orphan = NULL;
}
