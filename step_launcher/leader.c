/*
 * The leader as the launcher sees it; see leader.h. Silence is counted in ticks that ran on time: a launcher that was
 * itself frozen (or starved) has no right to an opinion, and what the leader said meanwhile is still to be read.
 */
#include "step_launcher/leader.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "slurm_client/slurm_run.h"
#include "step_launcher/request.h"

#define SILENT_TICKS_MAX 4u
#define LOST_EXIT_CODE 93
#define ASK_MS_MAX 5000

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void be_over(struct leader *leader) {
    leader->is_over = true;
    (void)event_del(leader->tick);
    (void)event_del(leader->verdict);
    leader->on_over(leader->arg);
}

void leader_lost(struct leader *leader) {
    if (leader->is_over) {
        return;
    }
    output_say(leader->output, "step %u.%u: the leader's node (%s) is lost: the step ends (exit code %d)",
               leader->request->job, leader->request->step, leader->host, LOST_EXIT_CODE);
    output_answer(leader->output->plugin_fd, "exit code=%d lost=1", LOST_EXIT_CODE);
    leader->exit_code = LOST_EXIT_CODE;
    be_over(leader);
}

static bool is_silent(const struct leader *leader) {
    return leader->peer != NULL ? leader->silent_ticks > SILENT_TICKS_MAX
                                : !event_pending(leader->verdict, EV_TIMEOUT, NULL);
}

static void wait_again(struct leader *leader) {
    /* By then the others have another one, if they can. */
    uint64_t pause_ms = 3 * leader->request->settings.dead_after_ms;
    pause_ms = pause_ms > LEADER_CLOSED_MS ? pause_ms : LEADER_CLOSED_MS;
    const struct timeval pause = { (time_t)(pause_ms / 1000), (suseconds_t)(pause_ms % 1000) * 1000 };
    leader->silent_ticks = 0;
    if (leader->peer == NULL) {
        (void)event_add(leader->verdict, &pause);
    }
}

static void on_state(void *arg, int exit_status, const char *said) {
    struct leader *leader = arg;
    leader->asking = NULL;
    if (leader->is_over || !is_silent(leader)) {
        return;
    }
    if (exit_status == 0 && strcmp(said, "suspended") == 0) {
        wait_again(leader);
    } else if (exit_status == 0 && strcmp(said, "ending") == 0) {
        be_over(leader); /* Slurm has ended it, and srun has heard so */
    } else {
        leader_lost(leader);
    }
}

/* Nothing is heard of it any more. Where slurmctld does not answer either, that is what counts. */
static void ask_slurm(struct leader *leader) {
    char job[16], step[16];
    const char *const arguments[] = { "state", job, step, NULL };
    if (leader->asking != NULL || leader->is_over) {
        return;
    }
    snprintf(job, sizeof(job), "%u", leader->request->job);
    snprintf(step, sizeof(step), "%u", leader->request->step);
    if (slurm_run_begin(&leader->asking, leader->base, arguments, ASK_MS_MAX, on_state, leader) != 0) {
        leader->asking = NULL;
        leader_lost(leader);
    }
}

static void on_verdict(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    ask_slurm(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    struct leader *leader = arg;
    uint64_t now = now_ns();
    bool was_frozen = now - leader->ticked_ns > (uint64_t)leader->tick_ms * 3 / 2 * 1000000u;

    (void)fd;
    (void)what;
    leader->ticked_ns = now;
    leader->silent_ticks = was_frozen ? 0 : leader->silent_ticks + 1;
    if (leader->peer != NULL && is_silent(leader)) {
        ask_slurm(leader);
    }
}

bool leader_begin(struct leader *leader, struct event_base *base, struct net_peer *peer, const char *host) {
    uint64_t silence_ms = 3 * leader->request->settings.dead_after_ms;

    silence_ms = silence_ms > LEADER_SILENCE_MS_MIN ? silence_ms : LEADER_SILENCE_MS_MIN;
    leader->tick_ms = (uint32_t)(silence_ms / SILENT_TICKS_MAX);
    leader->base = base;
    leader->ticked_ns = now_ns();
    leader->peer = peer;
    snprintf(leader->host, sizeof(leader->host), "%s", host);
    const struct timeval every = { leader->tick_ms / 1000, (suseconds_t)(leader->tick_ms % 1000) * 1000 };
    leader->tick = event_new(base, -1, EV_PERSIST, on_tick, leader);
    leader->verdict = evtimer_new(base, on_verdict, leader);
    return leader->tick != NULL && leader->verdict != NULL && event_add(leader->tick, &every) == 0;
}

void leader_fini(struct leader *leader) {
    slurm_run_destroy(leader->asking, 0);
    leader->asking = NULL;
    if (leader->tick != NULL) {
        event_free(leader->tick);
        leader->tick = NULL;
    }
    if (leader->verdict != NULL) {
        event_free(leader->verdict);
        leader->verdict = NULL;
    }
}

static void tell_report(struct leader *leader, const struct wire_report *report) {
    char error[OUTPUT_LINE_BYTES_MAX];

    if (report->line[0] != '\0') {
        output_say(leader->output, "%s", report->line);
    }
    if (report->json[0] != '\0' && !timeline_append(leader->timeline, report->json, error, sizeof(error))) {
        output_say(leader->output, "%s", error);
    }
}

/* The result's text: numbers of nodes, and words, with commas between them. */
static uint32_t count_nodes(const char *list) {
    uint32_t count = 0;
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',' ? 1 : 0) {
        count += *list >= '0' && *list <= '9' ? 1 : 0;
    }
    return count;
}

static bool has_word(const char *list, const char *word) {
    const char *at = strstr(list, word);
    return at != NULL && (at == list || at[-1] == ',') && (at[strlen(word)] == ',' || at[strlen(word)] == '\0');
}

void leader_on_message(struct leader *leader, const struct wire_message *message) {
    leader->silent_ticks = 0;
    if (message->type == WIRE_REPORT) {
        tell_report(leader, &message->report); /* also after the result */
    } else if (message->type == WIRE_RESULT && !leader->is_over) {
        leader->exit_code = message->end.exit_code;
        output_answer(leader->output->plugin_fd, "exit code=%u lost=%u%s", message->end.exit_code,
                      count_nodes(message->end.text), has_word(message->end.text, "otherwise") ? " otherwise=1" : "");
        be_over(leader);
    }
}

void leader_on_close(struct leader *leader) {
    leader->peer = NULL;
    if (!leader->is_over) {
        wait_again(leader);
    }
}

void leader_on_return(struct leader *leader, struct net_peer *peer, uint32_t id, const char *host) {
    leader->peer = peer;
    leader->id = id;
    snprintf(leader->host, sizeof(leader->host), "%s", host);
    leader->silent_ticks = 0;
    if (!leader->is_over) {
        (void)event_del(leader->verdict);
    }
}
