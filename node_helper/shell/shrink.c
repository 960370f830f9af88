/*
 * Lost nodes leave the job's allocation, by way of ckptless-slurm: a node that starts again before slurmctld has
 * missed it would make srun abort the step, and one that does not would keep the job from ending. When the step has
 * resumed, and a second after the loss at the latest: what is lost at once goes at once, for Slurm 22.05 without
 * slurmdbd shrinks a job only one time. One run at a time; nothing waits for it. A refusal that may not last is tried
 * again. What a leader before has lost, and perhaps not asked for, a new one asks for a second after it has come up: by
 * then a node whose helper merely died has another one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"
#include "slurm_client/slurm_run.h"

#define SHRINK_MS_MAX 30000 /* slurmctld answers in milliseconds, or in the seconds of its own time-outs */
#define SOON_MS 1000
#define AGAIN_MS 5000 /* after a refusal, and ever later */
#define AGAIN_DOUBLED_MAX 6u
#define FAREWELL_MS 150 /* for a run that is under way when the helper ends */

enum place { IN_JOB, ASKED, STAYS, HAS_LEFT }; /* of a lost node; STAYS: and the user knows it */

struct shrink {
    struct slurm_run *run; /* NULL: none */
    struct event *soon;
    uint32_t refusals;
    enum place *places; /* by node */
};

/* Names of the nodes at a place, "n2,n4", cut short where the line would be too long; moves them to the place `to`. */
static bool move(struct shell *shell, enum place from, enum place to, char *ret_hosts, size_t capacity) {
    size_t used = 0;
    ret_hosts[0] = '\0';
    bool any = false;
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (shell->shrink->places[node] != from) {
            continue;
        }
        const char *host = shell->nodes[node].member.host;
        if (used + strlen(host) + 2 < capacity) {
            used += (size_t)snprintf(ret_hosts + used, capacity - used, "%s%s", used > 0 ? "," : "", host);
        }
        shell->shrink->places[node] = to;
        any = true;
    }
    return any;
}

static void warn(struct shell *shell, const char *text) {
    rollcall_report(shell, &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = WIRE_NONE, .text = text });
}

/* Once for each node. */
static void say_refused(struct shell *shell, const char *why) {
    char text[WIRE_TEXT_BYTES], hosts[WIRE_TEXT_BYTES / 2];
    if (move(shell, ASKED, STAYS, hosts, sizeof(hosts))) {
        snprintf(
            text, sizeof(text),
            "%s cannot leave the job (%s): a return before slurmctld finds it down (SlurmdTimeout) ends the step, and "
            "the job's end waits for that",
            hosts, why);
        warn(shell, text);
    }
}

static void note_success(struct shell *shell) {
    char text[WIRE_TEXT_BYTES], hosts[WIRE_TEXT_BYTES / 2];
    if (move(shell, STAYS, HAS_LEFT, hosts, sizeof(hosts))) {
        snprintf(text, sizeof(text), "%s has left the job now", hosts);
        warn(shell, text);
    }
    (void)move(shell, ASKED, HAS_LEFT, hosts, sizeof(hosts));
}

static void ask(struct shell *shell, bool is_due);

static void on_end(void *arg, int exit_status, const char *said) {
    struct shell *shell = arg;
    struct shrink *shrink = shell->shrink;
    shrink->run = NULL;
    log_line("ckptless-slurm shrink: status %d %s", exit_status, said);
    if (exit_status == 0) {
        shrink->refusals = 0;
        note_success(shell);
    } else {
        say_refused(shell, said[0] ? said : "ckptless-slurm has failed");
        if (exit_status < 0 || exit_status == SLURM_RUN_LATER) {
            shell_timer_ms(shrink->soon, (uint64_t)AGAIN_MS << shrink->refusals);
            shrink->refusals += shrink->refusals < AGAIN_DOUBLED_MAX ? 1 : 0;
        }
    }
    ask(shell, false); /* what was lost meanwhile */
}

/* Asks when there is something new to ask, or when it is time to ask again. */
static void ask(struct shell *shell, bool is_due) {
    struct shrink *shrink = shell->shrink;
    char job[16];
    const char **arguments = calloc(shell->node_count + 4u, sizeof(*arguments));
    uint32_t count = 0;
    bool any_new = is_due, any_left = false;
    if (arguments == NULL || shrink->run != NULL) {
        free(arguments);
        return; /* the end of that run asks again */
    }
    for (uint32_t node = 0; node < shell->node_count; node++) {
        enum place *place = &shrink->places[node];
        any_left = any_left || *place == HAS_LEFT;
        bool is_out = shell->nodes[node].was_silent || (is_due && result_is_lost(shell, node));
        if (is_out && !orphan_is_srun(shell, node) && *place != HAS_LEFT) {
            arguments[3 + count++] = shell->nodes[node].member.host;
            any_new = any_new || *place == IN_JOB;
            *place = *place == IN_JOB ? ASKED : *place;
        }
    }
    if (count > 0 && any_new) {
        (void)event_del(shrink->soon);
        snprintf(job, sizeof(job), "%u", shell->launch.job);
        arguments[any_left ? 0 : 1] = "shrink";
        arguments[1] = any_left ? "--again" : arguments[1];
        arguments[2] = job;
        int error = slurm_run_begin(&shrink->run, shell->base, any_left ? arguments : arguments + 1, SHRINK_MS_MAX,
                                    on_end, shell);
        if (error != 0) {
            say_refused(shell, strerror(error));
        }
    }
    free(arguments);
}

static void on_soon(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    ask(arg, true);
}

static void shrink_soon(struct shell *shell) {
    if (shell->shrink == NULL) {
        enum place *places = calloc(shell->node_count, sizeof(*places));
        struct shrink *shrink = places != NULL ? calloc(1, sizeof(*shrink)) : NULL;
        if (shrink == NULL) {
            free(places);
            return; /* the job ends late */
        }
        shrink->places = places;
        shell->shrink = shrink;
        shell->shrink->soon = shell_event_new(shell, -1, 0, on_soon, shell);
    }
    if (!event_pending(shell->shrink->soon, EV_TIMEOUT, NULL)) {
        shell_timer_ms(shell->shrink->soon, SOON_MS);
    }
}

void shrink_on_trace(struct shell *shell, const struct core_trace *trace) {
    if (trace->node_lost && trace->node < shell->node_count && shell->nodes[trace->node].was_silent) {
        shrink_soon(shell);
    } else if (shell->shrink != NULL && (trace->type == CORE_TRACE_RESUME || trace->type == CORE_TRACE_END)) {
        ask(shell, trace->type == CORE_TRACE_END);
    }
}

void shrink_lead(struct shell *shell) {
    for (uint32_t node = 0; node < shell->node_count; node++) {
        if (result_is_lost(shell, node)) {
            shrink_soon(shell);
            return;
        }
    }
}

void shrink_fini(struct shell *shell) {
    struct shrink *shrink = shell->shrink;
    if (shrink == NULL) {
        return;
    }
    slurm_run_destroy(shrink->run, FAREWELL_MS);
    event_free(shrink->soon);
    free(shrink->places);
    free(shrink);
    shell->shrink = NULL;
}
