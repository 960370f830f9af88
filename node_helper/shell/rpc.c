/*
 * What programs ask through PMIx, and when they are answered. A program blocks in one call at a time; the answer is
 * given by whoever has it, through rpc_answer*(). Knows which call waits, not why.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node_helper/shell/shell.h"

static void reply_bytes(struct shell *shell, void *reply, struct wire_rpc_answer *answer) {
    answer->environment = answer->environment ? answer->environment : "";
    size_t bound = wire_rpc_answer_bound(answer);
    uint8_t *bytes = malloc(bound + 1);
    size_t count = bytes ? wire_rpc_answer_encode(answer, bytes, bound + 1) : 0;
    pmixsrv_reply(shell->pmix, reply, bytes, count);
    free(bytes);
}

static void reply_result(struct shell *shell, void *reply, uint32_t result, const char *text) {
    struct wire_rpc_answer answer = { .result = result };
    snprintf(answer.text, sizeof(answer.text), "%s", text ? text : "");
    reply_bytes(shell, reply, &answer);
}

void rpc_answer(struct shell *shell, struct slot *slot, enum wire_rpc_type call, struct wire_rpc_answer *answer) {
    if (slot->reply == NULL || slot->call != call) {
        return;
    }
    void *reply = slot->reply;
    slot->reply = NULL;
    reply_bytes(shell, reply, answer);
}

void rpc_answer_result(struct shell *shell, struct slot *slot, enum wire_rpc_type call, uint32_t result,
                       const char *text) {
    struct wire_rpc_answer answer = { .result = result };
    snprintf(answer.text, sizeof(answer.text), "%s", text ? text : "");
    rpc_answer(shell, slot, call, &answer);
}

void rpc_answer_world(struct shell *shell, struct slot *slot, enum wire_rpc_type call, uint32_t result, uint64_t step) {
    uint32_t rank = core_slot_rank(shell->core, slots_index(shell, slot));
    char *block = NULL;
    if (rank == WIRE_NONE || slot->reply == NULL || slot->call != call) {
        return;
    }
    struct world_place place = world_place(&shell->world, rank);
    struct wire_rpc_answer answer = {
        .result = result,
        .epoch = core_epoch(shell->core),
        .step = step,
        .rank = place.rank,
        .size = place.size,
        .local_rank = place.local_rank,
        .local_size = place.local_size,
        .node = place.node,
        .nodes = place.nodes,
        .incarnation = core_seat(shell->core, rank).starts,
        .ordinal = core_ordinal(shell->core),
        .master_port = shell->world.master_port,
    };
    snprintf(answer.master_addr, sizeof(answer.master_addr), "%s", shell->world.master_addr);
    answer.environment_bytes = (uint32_t)world_environment(&shell->world, rank, &block);
    answer.environment = block;
    rpc_answer(shell, slot, call, &answer);
    free(block);
}

void rpc_promoted(struct shell *shell, struct slot *slot) {
    if (slot->page != NULL) {
        atomic_store(&slot->page->shared->stop_epoch, core_epoch(shell->core));
    }
    rpc_answer_world(shell, slot, WIRE_RPC_INIT, CKPTLESS_OK, 0);
}

void rpc_forget(struct shell *shell, struct slot *slot) {
    if (slot->reply != NULL) {
        /* Its program is gone or about to be killed: the bytes find nobody, PMIx gets its object back. */
        void *reply = slot->reply;
        slot->reply = NULL;
        reply_result(shell, reply, CKPTLESS_INTERRUPTED, NULL);
    }
}

static void tell_core(struct shell *shell, struct slot *slot, enum core_event_type type,
                      const struct wire_rpc_request *request) {
    shell_event(shell, &(struct core_event){ .type = type,
                                             .slot = slots_index(shell, slot),
                                             .incarnation = slot->serial,
                                             .epoch = request->epoch,
                                             .step = request->step });
}

static void on_recover(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request) {
    struct core_event event = { .type = CORE_EVENT_ARRIVED,
                                .slot = slots_index(shell, slot),
                                .incarnation = slot->serial,
                                .has_state = request->has_state,
                                .step = request->step };
    struct table table = { 0 };
    if (!table_set_rpc(&table, request->regions, request->region_count)) {
        rpc_answer_result(shell, slot, WIRE_RPC_RECOVER, CKPTLESS_ERR_NO_MEMORY, "ckptlessd has no memory left");
        return;
    }
    slot->table_sent = slot->table_sent && table_equal(&table, &slot->table);
    table_fini(&slot->table);
    slot->table = table;
    table_layout(&slot->table, event.layout);
    tables_send(shell, slot);
    uint32_t rank = core_slot_rank(shell->core, event.slot);
    if (rank != WIRE_NONE) {
        tables_on_arrived(shell, rank, request->has_state);
    }
    shell_event(shell, &event);
}

/* The call is held: slot->reply is set. */
static void on_blocking(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request) {
    switch (request->type) {
    case WIRE_RPC_INIT:
        slots_attach(slot, (pid_t)request->pid);
        tell_core(shell, slot, CORE_EVENT_ATTACHED, request);
        rpc_answer_world(shell, slot, WIRE_RPC_INIT, CKPTLESS_OK, 0); /* parked: when it is promoted */
        break;
    case WIRE_RPC_RECOVER:
        on_recover(shell, slot, request);
        break;
    case WIRE_RPC_RELOADED:
        tell_core(shell, slot, CORE_EVENT_RELOADED, request);
        break;
    case WIRE_RPC_EXCHANGE:
        exchange_contribute(shell, slot, request);
        break;
    case WIRE_RPC_FINISH:
        usage_on_finish(shell, slot);
        tell_core(shell, slot, CORE_EVENT_FINISHED, request);
        break;
    case WIRE_RPC_REGION_BYTES:
        tables_ask(shell, slot, &request->regions[0]);
        break;
    default:
        rpc_answer_result(shell, slot, request->type, CKPTLESS_ERR_STATE, "an unknown request");
        break;
    }
}

static void on_request(struct shell *shell, struct slot *slot, const struct wire_rpc_request *request, void *reply) {
    char text[WIRE_TEXT_BYTES];
    switch (request->type) {
    case WIRE_RPC_COMMITTED:
        reply_result(shell, reply, CKPTLESS_OK, NULL);
        tables_on_committed(shell, core_slot_rank(shell->core, slots_index(shell, slot)));
        tell_core(shell, slot, CORE_EVENT_COMMITTED, request);
        return;
    case WIRE_RPC_PAUSE:
    case WIRE_RPC_RESUME:
        reply_result(shell, reply, CKPTLESS_OK, NULL);
        return;
    case WIRE_RPC_FAIL:
        snprintf(text, sizeof(text), "%.*s", (int)request->data_bytes,
                 request->data ? (const char *)request->data : "");
        if (slot->reply == NULL) {
            slot->reply = reply;
        } else {
            reply_result(shell, reply, CKPTLESS_INTERRUPTED, NULL);
        }
        slots_ask_end(shell, slot, text);
        return;
    default:
        break;
    }
    bool malformed = request->type == WIRE_RPC_REGION_BYTES && request->region_count != 1;
    if (slot->reply != NULL || malformed) {
        reply_result(shell, reply, CKPTLESS_ERR_STATE, "another call of this process is not answered yet");
        return;
    }
    slot->reply = reply;
    slot->call = request->type;
    on_blocking(shell, slot, request);
}

void rpc_on_request(struct shell *shell, struct slot *slot, const struct pmixsrv_event *event) {
    struct wire_rpc_request request;
    struct wire_arena arena = { 0 };
    if (wire_rpc_request_decode(event->data, event->bytes, &arena, &request)) {
        log_line("slot %u: request %d, epoch %" PRIx64 ", step %" PRIu64, slots_index(shell, slot), (int)request.type,
                 request.epoch, request.step);
        if (request.incarnation == slot->serial) {
            on_request(shell, slot, &request, event->reply);
        } else {
            reply_result(shell, event->reply, CKPTLESS_INTERRUPTED, NULL); /* its sender is dead */
        }
    } else {
        reply_result(shell, event->reply, CKPTLESS_ERR_VERSION,
                     "libckptless and ckptlessd are of different versions; install the same on all nodes");
    }
    wire_arena_fini(&arena);
}

void rpc_enter_world(struct shell *shell) {
    if (shell->pmix_is_open && shell->has_world &&
        pmixsrv_enter_world(shell->pmix, core_generation(shell->core), shell->world.rank_nodes) != PMIXSRV_OK) {
        shell_give_up(shell, "the PMIx server takes no new world");
    }
}

static void on_opened(struct shell *shell, const struct pmixsrv_event *event) {
    if (event->status != 0) {
        shell_give_up(shell, event->text);
        return;
    }
    shell->pmix_is_open = true;
    log_line("PMIx is open");
    rpc_enter_world(shell);
    slots_start_waiting(shell);
}

static void on_event(struct shell *shell, const struct pmixsrv_event *event) {
    struct slot *slot = slots_by_pmix(shell, event->rank, event->serial);
    switch (event->type) {
    case PMIXSRV_EVENT_OPENED:
        on_opened(shell, event);
        return;
    case PMIXSRV_EVENT_REQUEST:
        if (slot != NULL) {
            rpc_on_request(shell, slot, event);
        } else {
            reply_result(shell, event->reply, CKPTLESS_INTERRUPTED, NULL);
        }
        return;
    case PMIXSRV_EVENT_STAYS:
        stays_on_said(shell, slot, event->reply);
        return;
    case PMIXSRV_EVENT_FENCE:
        fence_begin(shell, event);
        return;
    case PMIXSRV_EVENT_FINALIZED:
        if (slot != NULL) {
            slot->finalized = true;
        }
        return;
    case PMIXSRV_EVENT_LOST:
        if (slot != NULL && slot->attached) { /* before INIT it may be a predecessor's, which died while connecting */
            slots_on_disconnected(shell, slot);
        }
        return;
    case PMIXSRV_EVENT_ABORT:
        if (slot != NULL) {
            slots_abort(shell, slot, event->status);
        }
        return;
    case PMIXSRV_EVENT_CONNECTED:
        return;
    }
}

static void on_ready(evutil_socket_t fd, short what, void *arg) {
    struct shell *shell = arg;
    struct pmixsrv_event event;
    (void)fd;
    (void)what;
    while (pmixsrv_poll(shell->pmix, &event)) {
        on_event(shell, &event);
        free(event.data);
        free(event.ranks);
    }
}

/* The session's is only named, and so that a successor finds it again. */
static bool make_directory(struct shell *shell) {
    const char *parent = getenv("TMPDIR");
    parent = parent && parent[0] == '/' && strlen(parent) < 64 ? parent : "/tmp";
    snprintf(shell->session_directory, sizeof(shell->session_directory), "%s/ckptless.%.16s.%u", parent,
             shell->launch.token, shell->launch.node);
    snprintf(shell->pmix_directory, sizeof(shell->pmix_directory), "%s/ckptless-XXXXXX", parent);
    return mkdtemp(shell->pmix_directory) != NULL;
}

bool rpc_init(struct shell *shell) {
    uint32_t *rank_nodes = calloc(core_rank_count(shell->core) + 1u, sizeof(*rank_nodes));
    uint32_t rank = 0;
    struct pmixsrv_config config = {
        .host = shell->launch.host,
        .directory = shell->pmix_directory,
        .session = shell->session_directory,
        .rank_count = core_rank_count(shell->core),
        .universe = 0,
        .node_count = shell->node_count,
        .hosts = shell->hosts,
        .rank_nodes = rank_nodes,
        .node = shell->launch.node,
    };
    char nspace[80];
    snprintf(nspace, sizeof(nspace), "ckptless.%u.%u.%s", shell->launch.job, shell->launch.step, shell->pmix_tag);
    config.nspace = nspace;
    for (uint32_t node = 0; node < shell->node_count; node++) {
        config.universe += shell->nodes[node].member.slot_count;
        for (uint32_t i = 0; rank_nodes && node < shell->active_nodes && i < shell->nodes[node].member.slot_count;
             i++) {
            rank_nodes[rank++] = node;
        }
    }
    bool made = rank_nodes != NULL && make_directory(shell) && pmixsrv_create(&shell->pmix, &config) == PMIXSRV_OK;
    free(rank_nodes);
    if (!made) {
        log_line("PMIx server cannot be made");
        return false;
    }
    shell->pmix_ready = shell_event_new(shell, pmixsrv_fd(shell->pmix), EV_READ | EV_PERSIST, on_ready, shell);
    return event_add(shell->pmix_ready, NULL) == 0;
}

void rpc_fini(struct shell *shell) {
    if (shell->pmix_ready != NULL) {
        event_free(shell->pmix_ready);
    }
    for (uint32_t i = 0; i < shell->slot_count; i++) {
        shell->slots[i].reply = NULL; /* destroy answers what is open */
    }
    pmixsrv_destroy(shell->pmix);
    shell->pmix = NULL;
}
