/*
 * The connection to ckptless-launch. Every first helper says HELLO there and gets the ROSTER; the leader keeps the
 * connection for what users are to read. A successor asks for the roster too, to learn where the leader is, and joins
 * it when all keepers of the node have told it that their trees are gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node_helper/shell/report.h"
#include "node_helper/shell/shell.h"

#define RETRY_MS 20

static void send_hello(struct shell *shell) {
    bool leads = shell->core != NULL && core_is_leader(shell->core);
    struct wire_message message = { .type = WIRE_HELLO, .from = leads ? core_leader(shell->core) : WIRE_NONE };
    struct wire_hello *hello = &message.hello;
    hello->node = shell->launch.node;
    hello->node_count = shell->launch.node_count;
    hello->slot_count = shell->slot_count;
    hello->spare_nodes = wire_settings_spare_nodes(&shell->settings);
    hello->predecessor = shell->launch.predecessor && !leads ? shell->launch.node : WIRE_NONE;
    hello->port = shell->port;
    snprintf(hello->host, sizeof(hello->host), "%s", shell->launch.host);
    snprintf(hello->version, sizeof(hello->version), "%s", PACKAGE_VERSION);
    shell->join_hello = *hello;
    peers_send(shell, shell->launcher, &message);
}

static void connect_launcher(struct shell *shell) {
    enum net_result result =
        net_connect(shell->net, shell->launch.launcher_address, shell->launch.launcher_port, &shell->launcher);
    if (result != NET_OK) {
        shell->launcher = NULL;
        log_line("launcher %s: %s", shell->launch.launcher_address, net_strerror(result));
        snprintf(shell->launcher_why, sizeof(shell->launcher_why), "%s", net_strerror(result));
        shell_timer_ms(shell->reconnect, RETRY_MS);
        return;
    }
    net_set_frame_max(shell->launcher, WIRE_FRAME_BYTES_MAX);
}

/* The leader does, for what users are to read; and a successor that does not know yet who leads. */
static bool needs_launcher(const struct shell *shell) {
    bool leads = shell->core != NULL && core_is_leader(shell->core);
    bool seeks =
        shell->core == NULL && shell->nodes != NULL && shell->leader == NULL; /* it may be another one by now */
    return shell->launcher == NULL && (leads || seeks);
}

static void on_retry(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    if (shell->is_over) {
        return;
    }
    if (shell->nodes == NULL || needs_launcher(shell)) {
        connect_launcher(shell);
    } else if (shell->leader == NULL) {
        peers_connect_leader(shell);
    }
}

static void on_launch_limit(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    shell_abandon(arg, "the step's helpers did not come together within launch-timeout");
}

/* The launcher cannot know why it hears nothing of this node; a keeper has the user's stderr. */
static void on_unheard(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    char line[WIRE_KEEPER_LINE_BYTES_MAX];
    (void)fd;
    (void)what;
    if (shell->launcher_is_up || shell->nodes != NULL || shell->is_over) {
        return;
    }
    int length =
        snprintf(line, sizeof(line),
                 "the helper cannot reach the host of srun, %s port %u: %s; is the port blocked (SrunPortRange)?",
                 shell->launch.launcher_address, shell->launch.launcher_port,
                 shell->launcher_why[0] ? shell->launcher_why : "no answer");
    struct wire_keeper_message message = { .type = WIRE_KEEPER_SAY,
                                           .environment = line,
                                           .environment_bytes = (uint32_t)length + 1 };
    log_line("%s", line);
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        if (shell->slots[i].keeper != NULL && keepers_send(shell, &shell->slots[i], &message, -1)) {
            return;
        }
    }
}

static void on_ping(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    (void)fd;
    (void)what;
    struct wire_message message = { .type = WIRE_PING, .from = core_leader(shell->core) };
    if (shell->launcher_is_up) {
        peers_send(shell, shell->launcher, &message);
    }
    orphan_check(shell);
}

bool rollcall_begin(struct shell *shell) {
    shell->reconnect = shell_event_new(shell, -1, 0, on_retry, shell);
    shell->launch_limit = shell_event_new(shell, -1, 0, on_launch_limit, shell);
    /* The launcher's own limit comes first, and has the better line. */
    shell_timer_ms(shell->launch_limit, shell->settings.launch_timeout_ms + 2000);
    shell->unheard = shell_event_new(shell, -1, 0, on_unheard, shell);
    shell_timer_ms(shell->unheard, shell->settings.launch_timeout_ms / 2);
    connect_launcher(shell);
    return true;
}

static void begin_pings(struct shell *shell) {
    if (shell->ping == NULL) {
        shell->ping = shell_event_new(shell, -1, EV_PERSIST, on_ping, shell);
        shell_timer_ms(shell->ping,
                       shell->settings.dead_after_ms / 2); /* the launcher waits for three times that and more */
    }
}

void rollcall_lead(struct shell *shell) {
    shell->launcher_heard_ns = shell_now_ns(); /* it has time to answer us from now on */
    begin_pings(shell);
    if (shell->launcher == NULL) {
        connect_launcher(shell);
    }
}

void rollcall_on_open(struct shell *shell) {
    shell->launcher_is_up = true;
    send_hello(shell);
    if (shell->core != NULL && core_is_leader(shell->core)) {
        rollcall_say_unsaid(shell);
        result_say(shell);
    }
}

void rollcall_on_close(struct shell *shell, const char *why) {
    log_line("launcher: closed: %s", why);
    snprintf(shell->launcher_why, sizeof(shell->launcher_why), "%s", why);
    shell->launcher = NULL;
    shell->launcher_is_up = false;
    if ((shell->nodes == NULL || needs_launcher(shell)) && !shell->is_over) {
        shell_timer_ms(shell->reconnect, RETRY_MS);
    }
}

static bool copy_nodes(struct shell *shell, const struct wire_roster *roster) {
    if (roster->member_count != shell->launch.node_count || roster->active_nodes == 0 ||
        roster->active_nodes > roster->member_count) {
        return false;
    }
    if (shell->nodes == NULL) {
        shell->node_count = roster->member_count;
        shell->nodes = calloc(shell->node_count, sizeof(*shell->nodes));
        shell->hosts = calloc(shell->node_count, sizeof(*shell->hosts));
        if (shell->nodes == NULL || shell->hosts == NULL) {
            return false;
        }
    }
    shell->active_nodes = roster->active_nodes;
    for (uint32_t i = 0; i < roster->member_count; i++) {
        if (roster->members[i].node != i) {
            return false;
        }
        shell->first_node = roster->members[i].id % roster->member_count == 0 ? i : shell->first_node;
        shell->nodes[i].member = roster->members[i];
        shell->nodes[i].fabric_helper = WIRE_NONE;
        shell->hosts[i] = shell->nodes[i].member.host;
    }
    return true;
}

static bool make_core(struct shell *shell, const struct wire_roster *roster) {
    const struct wire_settings *settings = &shell->settings;
    struct core_config config = {
        .self = roster->your_id,
        .member_count = roster->member_count,
        .members = roster->members,
        .active_nodes = roster->active_nodes,
        .leader = roster->leader,
        .park = settings->park == WIRE_PARK_COLD   ? CORE_PARK_COLD
                : settings->park == WIRE_PARK_WARM ? CORE_PARK_WARM
                                                   : CORE_PARK_AUTO,
        .heartbeat_ns = settings->heartbeat_ms * 1000000u,
        .dead_after_ns = settings->dead_after_ms * 1000000u,
        .grace_ns = settings->grace_ms * 1000000u,
        .respawn_max = settings->respawn,
        .restart_max = settings->restarts,
        .kill_on_bad_exit = shell->launch.kill_on_bad_exit != 0,
        .wait_ns = shell->launch.wait_s * 1000000000ull,
        .seed = shell->token_seed, /* tokens need to be unlike each other and unknown to strangers, no more */
    };
    return core_create(&shell->core, &config) == CORE_OK;
}

bool rollcall_take_roster(struct shell *shell, const struct wire_roster *roster) {
    if (!copy_nodes(shell, roster) || !make_core(shell, roster) || !exchange_init(shell) || !stays_init(shell) ||
        !tables_init(shell) || !rpc_init(shell)) {
        shell_abandon(shell, "the roster cannot be used");
        return false;
    }
    (void)event_del(shell->launch_limit);
    log_line("helper %u of %u nodes, %u active", roster->your_id, roster->member_count, roster->active_nodes);
    shell->leader_id = core_leader(shell->core);
    if (core_is_leader(shell->core)) {
        begin_pings(shell);
    }
    step_begin(shell);
    return true;
}

/* A member has no more to say to the launcher. */
static void leave_launcher(struct shell *shell) {
    net_close(shell->launcher);
    shell->launcher_is_up = false;
}

/* A successor of the leader: the others learn from it that they need another one, and it asks again who that is. */
static void say_dead(struct shell *shell) {
    struct wire_message dead = { .type = WIRE_DEAD, .from = shell->nodes[shell->launch.node].member.id };
    for (uint32_t i = 0; i < shell->node_count && shell->keepers_up >= shell->slot_count; i++) {
        if (i != shell->launch.node) {
            visits_send(shell, shell->nodes[i].member.id, &dead);
        }
    }
}

static void find_leader(struct shell *shell, const struct wire_roster *roster) {
    if (!copy_nodes(shell, roster)) {
        return;
    }
    shell->leader_id = roster->leader;
    leave_launcher(shell);
    if (shell_node_of(shell, roster->leader) == shell->launch.node) {
        shell->nodes[shell->launch.node].member.id = roster->leader; /* in whose name it speaks */
        say_dead(shell);
    } else {
        visits_close(shell);
        peers_connect_leader(shell);
    }
}

static void on_roster(struct shell *shell, const struct wire_roster *roster) {
    if (shell->core != NULL || roster->member_count == 0) {
        return;
    }
    if (shell->launch.predecessor) {
        find_leader(shell, roster);
        return;
    }
    if (rollcall_take_roster(shell, roster) && !core_is_leader(shell->core)) {
        leave_launcher(shell);
        peers_connect_leader(shell);
    }
}

void rollcall_on_frame(struct shell *shell, const struct wire_message *message) {
    shell->launcher_heard_ns = shell_now_ns();
    if (shell->core != NULL && core_is_leader(shell->core)) {
        orphan_srun_answers(shell);
    }
    if (message->type == WIRE_ROSTER) {
        on_roster(shell, &message->roster);
    } else if (message->type == WIRE_REFUSE && shell->core == NULL) {
        shell_abandon(shell, message->end.text);
    } else if (message->type == WIRE_END && shell->core == NULL) {
        shell_end_with(shell, "the step is over", message->end.exit_code);
    }
}

/* The leader's to ckptless-launch, a member's to the leader. */
static void send_report(struct shell *shell, const struct wire_report *report) {
    if (shell->orphan != NULL) {
        orphan_report(shell, report);
        return;
    }
    if (orphan_is_likely(shell)) {
        unsaid_keep(shell, report);
        return;
    }
    struct wire_message message = { .type = WIRE_REPORT, .from = core_leader(shell->core), .report = *report };
    if (core_is_leader(shell->core) && shell->launcher_is_up) {
        peers_send(shell, shell->launcher, &message);
    } else if (!core_is_leader(shell->core) && shell->leader_answers) {
        peers_send_up(shell, &message);
    } else {
        unsaid_keep(shell, report);
    }
}

void rollcall_say_unsaid(struct shell *shell) {
    unsaid_say(shell, send_report);
}

void rollcall_forward(struct shell *shell, const struct wire_report *report) {
    if (core_is_leader(shell->core)) {
        send_report(shell, report);
    }
}

void rollcall_warn(struct shell *shell, const char *text) {
    rollcall_report(shell,
                    &(struct core_trace){ .type = CORE_TRACE_WARNING, .node = shell->launch.node, .text = text });
}

void rollcall_report(struct shell *shell, const struct core_trace *trace) {
    char line[WIRE_TEXT_BYTES * 2] = "";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct report_facts facts = {
        .job = shell->launch.job,
        .step = shell->launch.step,
        .node_count = shell->node_count,
        .active_nodes = shell->active_nodes,
        .rank_count = core_rank_count(shell->core),
        .hosts = shell->hosts,
        .own_tasks = getenv("SLURM_GTIDS"),
        .own_node = shell->launch.node,
        .slots_per_task = shell->slot_count / (shell->launch.task_count ? shell->launch.task_count : 1),
        .time_ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u,
    };
    usage_fill(shell, &facts.usage);
    char *json = report_format(&facts, trace, line, sizeof(line));
    log_line("trace: %s", line);
    send_report(shell, &(struct wire_report){ .line = line, .json = json ? json : "" });
    free(json);
}
