/*
 * Runs a scenario: real cores, one per node, a network without delay, programs that do what a well-written one does. A
 * scenario file holds commands; each is followed by the transcript that it must give, in lines that begin with "> ".
 *
 *     run FILE...             compares, one TAP point a file; says the first difference
 *     run                     all of $srcdir/tests/scenario (or the directory of the source, .)
 *     run --update FILE...    writes the transcripts that they give into the files
 *
 * Commands, of the world and its time:
 *     world nodes=N spares=S slots=K [park=cold|warm|auto] [respawn=R] [restarts=R] [library=no] [bad-exit=1]
 *           [wait=MS] [leads=NODE]
 *     start              all helpers connect
 *     join NODE          one does
 *     advance MS
 * of programs:
 *     commit [RANK...]   every rank, without RANK
 *     kill RANK, starve RANK, exit RANK CODE, abort RANK CODE
 *     signal RANK N      it ends by a signal that Slurm has sent
 *     end-again RANK     the end of the program before, once more
 *     hang RANK          it ignores interrupts
 *     recover RANK       unasked
 *     finish [RANK], finish-at NODE
 *     stays RANK         it has no library, and says that it survives
 *     layout RANK        its programs register other regions
 *     loads RANK STEP    it reloads that step
 *     fail-pull RANK
 *     hold-starts, hold-pulls, hold-reloads, release-starts, release-pulls, release-reloads
 * of nodes:
 *     power-off NODE
 *     cut NODE, heal NODE       messages wait
 *     reset NODE                the connection breaks: what was on its way is lost
 *     freeze NODE, thaw NODE    its helper stands still
 *     helper-dies NODE          and its successor joins
 *     leader-dies NODE          its successor says so to the others; it joins by
 *     successor NODE
 *     stranger NODE             a second helper, which cannot say that the first is dead
 *     warm-dies NODE            the parked program of its slot 0
 *     ending NODE               Slurm ends the step there
 *     out-of-reach NODE         no other node can have the state of its ranks
 *     unsettled NODE            it has told the leader that it waits for something that is gone
 */
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script.h"

static char *transcript;
static size_t transcript_bytes;

static bool find_rank(uint32_t rank, uint32_t *ret_node, uint32_t *ret_slot) {
    const struct core *leader = script.nodes[script_leader()].core;
    if (leader == NULL || rank >= core_rank_count(leader)) {
        return false;
    }
    struct core_seat_info seat = core_seat(leader, rank);
    *ret_node = seat.node;
    *ret_slot = seat.slot;
    return seat.node != WIRE_NONE;
}

static void commit(uint32_t rank) {
    uint32_t node, slot;
    if (find_rank(rank, &node, &slot) && script.nodes[node].programs[slot].running && !script.nodes[node].held) {
        script.nodes[node].programs[slot].step++;
        script_program_event(node, slot, CORE_EVENT_COMMITTED, script.nodes[node].programs[slot].epoch);
    }
}

static void end_program(uint32_t rank, uint8_t cause, uint32_t detail) {
    uint32_t node, slot;
    if (find_rank(rank, &node, &slot)) {
        struct script_program *program = &script.nodes[node].programs[slot];
        program->alive = program->running = program->in_recover = false;
        script_handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                                 .slot = slot,
                                                 .incarnation = program->incarnation,
                                                 .cause = cause,
                                                 .detail = detail });
    }
}

/* A new helper of this node says that helper `dead` is dead (WIRE_NONE: it cannot say). */
static void helper_joins(uint32_t node, uint32_t dead) {
    script_drop_packets(node);
    core_destroy(script.nodes[node].core);
    script.nodes[node] = (struct script_node){ .id = script.nodes[node].id, .on = true, .linked = true };
    uint32_t leader = script_leader();
    script_handle(leader,
                  (struct core_event){
                      .type = CORE_EVENT_SUCCESSOR, .node = node, .peer = dead, .slot_count = script.slot_count });
    script_handle(node, (struct core_event){ .type = CORE_EVENT_PEER_OPENED, .peer = script.nodes[leader].id });
}

/* Its helper and its programs; the word of its successor, which waits for another leader. */
static void leader_dies(uint32_t node) {
    struct wire_message dead = { .type = WIRE_DEAD, .from = script.nodes[node].id };
    script_drop_packets(node);
    script.nodes[node].on = false;
    for (uint32_t i = 0; i < script.node_count; i++) {
        script_handle(i, (struct core_event){ .type = CORE_EVENT_MESSAGE, .message = &dead });
    }
}

/* The connection breaks and is made again: what was on its way is lost. */
static void reset(uint32_t node) {
    uint32_t leader = script_leader();
    script_drop_packets(node);
    script_handle(node, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = script.nodes[leader].id });
    script_handle(leader, (struct core_event){ .type = CORE_EVENT_PEER_CLOSED, .peer = script.nodes[node].id });
    script_connect(node);
}

static void release(const char *command, uint32_t node, uint32_t slot) {
    struct script_program *program = &script.nodes[node].programs[slot];
    if (strcmp(command, "release-starts") == 0 && program->starting) {
        script_program_starts(node, slot);
    } else if (strcmp(command, "release-pulls") == 0 && program->pull_waits) {
        program->pull_waits = false;
        script_program_event(node, slot, CORE_EVENT_PULLED, 0);
    } else if (strcmp(command, "release-reloads") == 0 && program->reload_waits) {
        program->reload_waits = false;
        script_program_event(node, slot, CORE_EVENT_RELOADED, program->epoch);
    }
}

static void finish(uint32_t node, uint32_t slot) {
    if (script.nodes[node].programs[slot].running) {
        script_program_event(node, slot, CORE_EVENT_FINISHED, script.nodes[node].programs[slot].epoch);
    }
}

static void each_slot(const char *command) {
    for (uint32_t node = 0; node < script.node_count; node++) {
        for (uint32_t slot = 0; slot < script.slot_count && script.nodes[node].on; slot++) {
            if (strcmp(command, "finish") == 0) {
                finish(node, slot);
            } else {
                release(command, node, slot);
            }
        }
    }
}

static void run_rank_command(const char *name, uint32_t number, uint32_t second) {
    uint32_t node = 0;
    uint32_t slot = 0;
    if (strcmp(name, "kill") == 0) {
        end_program(number, WIRE_CAUSE_SIGNAL, 9);
    } else if (strcmp(name, "starve") == 0) {
        end_program(number, WIRE_CAUSE_MEMORY, 9);
    } else if (strcmp(name, "exit") == 0) {
        end_program(number, WIRE_CAUSE_EXIT, second);
    } else if (strcmp(name, "abort") == 0) {
        end_program(number, WIRE_CAUSE_ABORTED, second);
    } else if (strcmp(name, "signal") == 0) {
        end_program(number, WIRE_CAUSE_SIGNALLED, second);
    } else if (strcmp(name, "layout") == 0) {
        script.odd_layout_rank = number;
    } else if (strcmp(name, "loads") == 0) {
        script.load_step[number] = second;
    } else if (find_rank(number, &node, &slot)) {
        if (strcmp(name, "hang") == 0) {
            script.nodes[node].programs[slot].hangs = true;
        } else if (strcmp(name, "recover") == 0) {
            script_program_recovers(node, slot);
        } else if (strcmp(name, "finish") == 0) {
            finish(node, slot);
        } else if (strcmp(name, "stays") == 0) {
            script_program_event(node, slot, CORE_EVENT_STAYS, 0);
        } else if (strcmp(name, "end-again") == 0) {
            script_handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                                     .slot = slot,
                                                     .incarnation = script.nodes[node].programs[slot].incarnation - 1,
                                                     .cause = WIRE_CAUSE_SIGNAL,
                                                     .detail = 9 });
        } else if (strcmp(name, "fail-pull") == 0) {
            script.nodes[node].programs[slot].pull_waits = false;
            script_program_event(node, slot, CORE_EVENT_PULL_FAILED, 0);
        } else {
            fprintf(stderr, "scenario: no command %s\n", name);
            exit(2);
        }
    }
}

static bool run_node_command(const char *name, uint32_t node) {
    if (node >= script.node_count) {
        return false;
    }
    if (strcmp(name, "power-off") == 0) {
        script.nodes[node].on = script.nodes[node].linked = false;
        script_drop_packets(node);
    } else if (strcmp(name, "cut") == 0) {
        script.nodes[node].linked = false;
    } else if (strcmp(name, "heal") == 0) {
        script.nodes[node].linked = true;
    } else if (strcmp(name, "helper-dies") == 0) {
        helper_joins(node, script.nodes[node].id);
    } else if (strcmp(name, "finish-at") == 0) {
        for (uint32_t slot = 0; slot < script.slot_count; slot++) {
            finish(node, slot);
        }
    } else if (strcmp(name, "leader-dies") == 0) {
        leader_dies(node);
    } else if (strcmp(name, "successor") == 0) {
        helper_joins(node, script.nodes[node].id);
    } else if (strcmp(name, "join") == 0) {
        script_connect(node);
    } else if (strcmp(name, "stranger") == 0) {
        script_handle(script_leader(), (struct core_event){ .type = CORE_EVENT_SUCCESSOR,
                                                            .node = node,
                                                            .peer = WIRE_NONE,
                                                            .slot_count = script.slot_count });
    } else if (strcmp(name, "unsettled") == 0) {
        script_handle(script_leader(), (struct core_event){ .type = CORE_EVENT_UNSETTLED });
    } else if (strcmp(name, "reset") == 0) {
        reset(node);
    } else if (strcmp(name, "freeze") == 0) {
        script.nodes[node].frozen = true;
    } else if (strcmp(name, "thaw") == 0) {
        script.nodes[node].frozen = false;
        script_handle(node, (struct core_event){ .type = CORE_EVENT_TICK });
    } else if (strcmp(name, "warm-dies") == 0) {
        script_handle(node, (struct core_event){ .type = CORE_EVENT_SLOT_ENDED,
                                                 .incarnation = script.nodes[node].programs[0].incarnation,
                                                 .cause = WIRE_CAUSE_SIGNAL,
                                                 .detail = 9 });
    } else if (strcmp(name, "out-of-reach") == 0) {
        script_handle(node, (struct core_event){ .type = CORE_EVENT_OUT_OF_REACH });
    } else if (strcmp(name, "ending") == 0) {
        script_handle(node, (struct core_event){ .type = CORE_EVENT_ENDING });
    } else {
        return false;
    }
    return true;
}

static void run_command(char *line) {
    char name[32] = "";
    unsigned numbers[2] = { 0, 0 };
    int fields = sscanf(line, "%31s %u %u", name, &numbers[0], &numbers[1]);
    if (strcmp(name, "world") == 0) {
        script_make_world(line);
    } else if (strcmp(name, "start") == 0) {
        for (uint32_t i = 0; i < script.node_count; i++) {
            if (i != script.first_node) {
                script_connect(i);
            }
        }
        script_handle(script.first_node, (struct core_event){ .type = CORE_EVENT_TICK });
    } else if (strcmp(name, "advance") == 0) {
        script_advance(script.now_ns + numbers[0] * NS_PER_MS);
    } else if (strcmp(name, "commit") == 0) {
        for (uint32_t rank = 0; rank < core_rank_count(script.nodes[0].core); rank++) {
            if (fields == 1 || rank == numbers[0] || (fields == 3 && rank == numbers[1])) {
                commit(rank);
            }
        }
    } else if (strncmp(name, "hold-", 5) == 0) {
        script.hold_starts = script.hold_starts || strcmp(name, "hold-starts") == 0;
        script.hold_pulls = script.hold_pulls || strcmp(name, "hold-pulls") == 0;
        script.hold_reloads = script.hold_reloads || strcmp(name, "hold-reloads") == 0;
    } else if ((strcmp(name, "finish") == 0 && fields == 1) || strncmp(name, "release-", 8) == 0) {
        script.hold_starts = script.hold_starts && strcmp(name, "release-starts") != 0;
        script.hold_pulls = script.hold_pulls && strcmp(name, "release-pulls") != 0;
        script.hold_reloads = script.hold_reloads && strcmp(name, "release-reloads") != 0;
        each_slot(name);
    } else if (!run_node_command(name, numbers[0])) {
        run_rank_command(name, numbers[0], numbers[1]);
    }
    script_deliver();
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    char *text = NULL;
    size_t capacity = 0;
    if (getdelim(&text, &capacity, '\0', file) < 0) {
        text = calloc(1, 1);
    }
    fclose(file);
    return text;
}

static void first_difference(const char *path, const char *expected, const char *got) {
    unsigned line = 1;
    while (*expected != '\0' && *expected == *got) {
        line += *expected == '\n';
        expected++;
        got++;
    }
    while (got > transcript && got[-1] != '\n') {
        got--;
        expected--;
    }
    printf("# %s:%u: expected: %.*s\n#   got: %.*s\n", path, line, (int)strcspn(expected, "\n"), expected,
           (int)strcspn(got, "\n"), got);
}

/* True: the transcript is the expected one, or has been written. */
static bool run_file(const char *path, bool update) {
    char *text = read_file(path);
    char *copy = strdup(text);
    script.out = open_memstream(&transcript, &transcript_bytes);
    script_forget();
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] == '>') {
            continue;
        }
        fprintf(script.out, "%s\n", line);
        if (line[0] != '#') {
            run_command(line);
        }
    }
    fclose(script.out);
    script_forget();
    bool ok = update || strcmp(text, transcript) == 0;
    if (update) {
        FILE *file = fopen(path, "w");
        ok = file != NULL && fputs(transcript, file) >= 0;
        ok = file != NULL && fclose(file) == 0 && ok;
    } else if (!ok) {
        first_difference(path, text, transcript);
    }
    free(text);
    free(copy);
    free(transcript);
    return ok;
}

int main(int argc, char **argv) {
    bool update = argc > 1 && strcmp(argv[1], "--update") == 0;
    char **paths = argv + (update ? 2 : 1);
    size_t count = (size_t)argc - (update ? 2 : 1);
    glob_t found = { 0 };
    if (count == 0) {
        const char *source = getenv("srcdir");
        char pattern[4096];
        snprintf(pattern, sizeof pattern, "%s/tests/scenario/*.txt", source != NULL ? source : ".");
        if (glob(pattern, 0, NULL, &found) != 0) {
            fprintf(stderr, "usage: run [--update] [FILE...]\nscenario: nothing at %s\n", pattern);
            return 2;
        }
        paths = found.gl_pathv;
        count = found.gl_pathc;
    }
    size_t failed = 0;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        bool ok = run_file(paths[i], update);
        const char *name = strrchr(paths[i], '/');
        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, name != NULL ? name + 1 : paths[i]);
        failed += !ok;
    }
    globfree(&found);
    return failed > 0;
}
