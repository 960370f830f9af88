/*
 * Pulls over libfabric on loopback, from other processes: planes as helpers have them, and holders of this test's own
 * that lie, die or stand still in the middle. What has arrived is compared byte by byte. Every process is forked before
 * this one has threads, and ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "state_plane/plane_private.h"

#define MODEL_BYTES ((8u << 20) + 12345u)
#define RNG_BYTES 40u
#define DEADLINE_MS 10000
#define PATIENCE_MS 5000u /* stall of a pull where nobody stands still */
#define STALL_MS 1000u
#define FAULT_AT 3u /* the request at which a holder dies or stops */

/* What is held everywhere, and where it is pulled to. */
static uint8_t model[MODEL_BYTES], rng[RNG_BYTES];
static uint8_t new_model[MODEL_BYTES], new_rng[RNG_BYTES];
static const uint8_t token[REQUEST_TOKEN_BYTES] = "fifteen letters";
static const uint8_t other_token[REQUEST_TOKEN_BYTES] = "fifteen lettars";

enum kind { PLANE, LIES, DIES, STOPS, NO_FABRIC };

struct holder {
    enum kind kind;
    uint32_t rank;
    pid_t pid;
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
    size_t address_bytes;
};

static struct holder honest = { .kind = PLANE, .rank = 1 }, second = { .kind = PLANE, .rank = 2 };
static struct holder liar = { .kind = LIES, .rank = 3 }, dying = { .kind = DIES, .rank = 4 };
static struct holder stopping = { .kind = STOPS, .rank = 5 }, frozen = { .kind = STOPS, .rank = 6 };
static struct holder neighbour = { .kind = NO_FABRIC, .rank = 7 }, gone = { .kind = NO_FABRIC, .rank = 8 };
static struct holder *const holders[] = { &honest, &second, &liar, &dying, &stopping, &frozen, &neighbour, &gone };
static int life[2]; /* holders end with the end of the test, which alone holds the end for writing */
static struct plane *plane;

static uint64_t now_ms(void) {
    return plane_now_ns() / 1000000u;
}

static void nap_us(long us) {
    const struct timespec pause = { .tv_nsec = us * 1000 };
    (void)nanosleep(&pause, NULL);
}

static struct plane_region region(const char *name, void *data, uint64_t bytes) {
    struct plane_region made = { .shard = 1, .bytes = bytes, .address = (uintptr_t)data };
    snprintf(made.name, sizeof(made.name), "%s", name);
    return made;
}

/* ---- holders: what the child processes do */

static void tell(int fd, const void *address, size_t bytes) {
    uint8_t said[WIRE_FABRIC_ADDRESS_BYTES + 1] = { 0 };
    memcpy(said, address, bytes);
    said[WIRE_FABRIC_ADDRESS_BYTES] = (uint8_t)bytes;
    (void)!write(fd, said, sizeof(said));
}

static void stay(void) {
    char byte;
    while (read(life[0], &byte, 1) != 0) {
    }
}

static bool is_orphan(void) {
    struct pollfd end = { .fd = life[0], .events = POLLIN };
    return poll(&end, 1, 0) != 0;
}

/* As a helper does it. */
static void serve_with_plane(uint32_t rank, int fd) {
    struct plane_region regions[] = { region("model", model, sizeof(model)), region("rng", rng, sizeof(rng)) };
    struct plane_event event = { .type = PLANE_EVENT_WARNING };
    uint8_t address[WIRE_FABRIC_ADDRESS_BYTES];
    struct plane *own = NULL;
    if (plane_create(&own, "lo") != PLANE_OK ||
        plane_serve(own, token, rank, (uint32_t)getpid(), regions, 2) != PLANE_OK) {
        return;
    }
    plane_open(own);
    while (event.type == PLANE_EVENT_WARNING) {
        struct pollfd ready = { .fd = plane_fd(own), .events = POLLIN };
        if (!plane_poll(own, &event)) {
            (void)poll(&ready, 1, DEADLINE_MS);
        }
    }
    tell(fd, address, plane_address(own, address, sizeof(address)));
    stay();
    (void)plane_destroy(own);
}

struct wrong {
    enum kind kind;
    struct fabric *fabric;
    uint32_t seen;
};

struct letter {
    struct fabric_op op;
    struct wrong *wrong;
    uint8_t bytes[REQUEST_CHUNK_BYTES_MAX + REQUEST_TRAILER_BYTES];
};

static void on_sent(struct fabric_op *op, size_t bytes, const char *error) {
    (void)bytes;
    (void)error;
    free(op->owner);
}

static void answer(struct wrong *wrong, const struct request *request) {
    struct letter *letter = calloc(1, sizeof(*letter));
    struct request_trailer trailer = { .status = REQUEST_OK, .offset = request->offset };
    const uint8_t *data = strcmp(request->name, "model") == 0 ? model : rng;
    uint64_t peer = 0;
    if (letter == NULL || fabric_peer(wrong->fabric, request->address, request->address_bytes, &peer) != FABRIC_OK) {
        _exit(1);
    }
    letter->op = (struct fabric_op){ .on_done = on_sent, .owner = letter };
    memcpy(letter->bytes, data + request->offset, request->length);
    if (wrong->kind == STOPS && wrong->seen >= FAULT_AT) { /* after the sleep: well sealed, and long out of date */
        memset(letter->bytes, 0xee, request->length);
    }
    request_digest(letter->bytes, request->length, trailer.digest);
    if (wrong->kind == LIES && request->offset > 0) {
        letter->bytes[request->length / 2] ^= 0x10;
    }
    request_trailer_encode(&trailer, letter->bytes + request->length);
    while (fabric_send(wrong->fabric, peer, request->tag, letter->bytes, request->length + REQUEST_TRAILER_BYTES,
                       &letter->op) == FABRIC_AGAIN) {
        (void)fabric_poll(wrong->fabric);
        nap_us(100);
    }
}

static void on_request(struct fabric_op *op, size_t bytes, const char *error) {
    struct letter *letter = op->owner;
    struct wrong *wrong = letter->wrong;
    struct request request;
    if (error != NULL || !request_decode(letter->bytes, bytes, &request)) {
        return;
    }
    wrong->seen++;
    if (wrong->seen == FAULT_AT && wrong->kind == DIES) {
        (void)raise(SIGKILL);
    }
    if (wrong->seen == FAULT_AT && wrong->kind == STOPS) {
        (void)raise(SIGSTOP);
    }
    answer(wrong, &request);
}

static void serve_wrongly(enum kind kind, int fd) {
    struct wrong wrong = { .kind = kind };
    char text[256];
    size_t bytes = 0;
    if (fabric_open(&wrong.fabric, "lo", text, sizeof(text)) != FABRIC_OK) {
        return;
    }
    for (int i = 0; i < 32; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        if (letter == NULL) {
            return;
        }
        letter->wrong = &wrong;
        letter->op = (struct fabric_op){ .on_done = on_request, .owner = letter };
        (void)!fabric_receive(wrong.fabric, PLANE_REQUEST_TAG, letter->bytes, sizeof(letter->bytes), &letter->op);
    }
    const uint8_t *address = fabric_address(wrong.fabric, &bytes);
    tell(fd, address, bytes);
    while (!is_orphan()) {
        while (fabric_poll(wrong.fabric)) {
        }
        nap_us(200);
    }
}

static void start_holder(struct holder *holder, int *ret_fd) {
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    holder->pid = fork();
    assert_true(holder->pid >= 0);
    if (holder->pid == 0) {
        close(life[1]);
        close(fds[0]);
        if (holder->kind == PLANE) {
            serve_with_plane(holder->rank, fds[1]);
        } else if (holder->kind == NO_FABRIC) {
            tell(fds[1], "", 0);
            stay();
        } else {
            serve_wrongly(holder->kind, fds[1]);
        }
        _exit(0);
    }
    close(fds[1]);
    *ret_fd = fds[0];
}

/* ---- the puller: this process */

static bool next_event(struct plane_event *ret_event, int timeout_ms) {
    uint64_t end_ms = now_ms() + (uint64_t)timeout_ms;
    while (!plane_poll(plane, ret_event)) {
        struct pollfd ready = { .fd = plane_fd(plane), .events = POLLIN };
        uint64_t now = now_ms();
        if (now >= end_ms || (poll(&ready, 1, (int)(end_ms - now)) < 0 && errno != EINTR)) {
            return false;
        }
    }
    return true;
}

static int start_all(void **state) {
    int fds[sizeof(holders) / sizeof(holders[0])];
    struct plane_event event;
    (void)state;
    for (size_t i = 0; i < sizeof(model); i++) {
        model[i] = (uint8_t)(i * 2654435761u >> 16);
    }
    memcpy(rng, "the state of some random numbers, whole", sizeof(rng));
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
        start_holder(holders[i], &fds[i]);
    }
    for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
        uint8_t said[WIRE_FABRIC_ADDRESS_BYTES + 1];
        assert_int_equal(read(fds[i], said, sizeof(said)), sizeof(said));
        holders[i]->address_bytes = said[WIRE_FABRIC_ADDRESS_BYTES];
        memcpy(holders[i]->address, said, WIRE_FABRIC_ADDRESS_BYTES);
        assert_true(holders[i]->kind == NO_FABRIC || holders[i]->address_bytes > 0);
        close(fds[i]);
    }
    assert_int_equal(plane_create(&plane, "lo"), PLANE_OK);
    plane_open(plane);
    assert_true(next_event(&event, DEADLINE_MS));
    print_message("# %s\n", event.text);
    assert_int_equal(event.type, PLANE_EVENT_READY);
    return 0;
}

static int end_all(void **state) {
    (void)state;
    close(life[1]);
    for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
        (void)kill(holders[i]->pid, SIGCONT);
        if (holders[i]->pid > 0) {
            (void)waitpid(holders[i]->pid, NULL, 0);
        }
    }
    return plane_destroy(plane) ? 0 : -1;
}

/* What came of a pull. */
struct outcome {
    struct plane_event event;
    uint32_t warning_count;
    char warning[WIRE_TEXT_BYTES]; /* the last one */
    uint64_t ms;
};

static uint32_t begin_pull(struct holder *const *from, uint32_t count, const uint8_t *shown, uint32_t stall_ms) {
    static uint32_t pull_id;
    static const struct plane_region *const none = NULL;
    struct plane_region regions[] = { region("model", new_model, sizeof(new_model)),
                                      region("rng", new_rng, sizeof(new_rng)) };
    struct plane_region theirs[] = { region("model", model, sizeof(model)), region("rng", rng, sizeof(rng)) };
    struct plane_source sources[4];
    memset(new_model, 0, sizeof(new_model));
    memset(new_rng, 0, sizeof(new_rng));
    for (uint32_t i = 0; i < count; i++) {
        bool is_here = from[i]->kind == NO_FABRIC;
        sources[i] = (struct plane_source){ .rank = from[i]->rank,
                                            .pid = is_here ? (uint32_t)from[i]->pid : 0,
                                            .regions = is_here ? theirs : none,
                                            .region_count = is_here ? 2 : 0,
                                            .address = from[i]->address,
                                            .address_bytes = from[i]->address_bytes };
    }
    struct plane_pull pull = { .pull_id = ++pull_id,
                               .pid = (uint32_t)getpid(),
                               .regions = regions,
                               .region_count = 2,
                               .sources = sources,
                               .source_count = count,
                               .stall_ms = stall_ms };
    memcpy(pull.token, shown, sizeof(pull.token));
    assert_int_equal(plane_pull(plane, &pull), PLANE_OK);
    return pull_id;
}

static struct outcome end_pull(uint32_t pull_id) {
    struct outcome outcome = { .warning_count = 0 };
    uint64_t began_ms = now_ms();
    do {
        if (!next_event(&outcome.event, DEADLINE_MS)) {
            fail_msg("pull %u has no end", pull_id);
        }
        if (outcome.event.type == PLANE_EVENT_WARNING) {
            outcome.warning_count++;
            snprintf(outcome.warning, sizeof(outcome.warning), "%s", outcome.event.text);
        }
    } while (outcome.event.type == PLANE_EVENT_WARNING);
    assert_int_equal(outcome.event.pull_id, pull_id);
    outcome.ms = now_ms() - began_ms;
    return outcome;
}

static struct outcome pull(struct holder *const *from, uint32_t count) {
    return end_pull(begin_pull(from, count, token, PATIENCE_MS));
}

static void assert_arrived(const struct outcome *outcome) {
    if (outcome->event.type != PLANE_EVENT_PULLED) {
        fail_msg("not pulled: %s", outcome->event.text);
    }
    assert_int_equal(outcome->event.bytes, MODEL_BYTES + RNG_BYTES);
    assert_memory_equal(new_model, model, sizeof(model));
    assert_memory_equal(new_rng, rng, sizeof(rng));
}

static void assert_says(const char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, text);
    }
}

static void a_pull_arrives_bit_by_bit(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct outcome outcome = pull((struct holder *[]){ &honest }, 1);
        assert_arrived(&outcome);
        assert_int_equal(outcome.warning_count, 0);
    }
}

static void two_pulls_at_once_arrive(void **state) {
    struct plane_event first, last;
    (void)state;
    uint32_t id = begin_pull((struct holder *[]){ &honest }, 1, token, PATIENCE_MS);
    assert_int_equal(begin_pull((struct holder *[]){ &second }, 1, token, PATIENCE_MS), id + 1);
    assert_true(next_event(&first, DEADLINE_MS) && next_event(&last, DEADLINE_MS));
    assert_int_equal(first.type, PLANE_EVENT_PULLED);
    assert_int_equal(last.type, PLANE_EVENT_PULLED);
    assert_memory_equal(new_model, model, sizeof(model));
}

static void a_wrong_digest_is_refused_and_another_holder_asked(void **state) {
    (void)state;
    struct outcome outcome = pull((struct holder *[]){ &liar, &honest }, 2);
    assert_arrived(&outcome);
    assert_int_equal(outcome.warning_count, 1);
    assert_says(outcome.warning, "region 'model' from rank 3: the digest is wrong; the next source is rank 1");
    outcome = pull((struct holder *[]){ &liar }, 1);
    assert_int_equal(outcome.event.type, PLANE_EVENT_PULL_FAILED);
    assert_says(outcome.event.text, "region 'model' from rank 3: the digest is wrong");
    /* Its first chunk is right; nothing of the others has been written. */
    for (size_t i = REQUEST_CHUNK_BYTES_MAX; i < sizeof(new_model); i++) {
        assert_int_equal(new_model[i], 0);
    }
}

static void a_holder_that_dies_in_the_middle_is_replaced(void **state) {
    int status = 0;
    (void)state;
    struct outcome outcome = end_pull(begin_pull((struct holder *[]){ &dying, &second }, 2, token, STALL_MS));
    assert_arrived(&outcome);
    assert_int_equal(outcome.warning_count, 1);
    assert_says(outcome.warning, "; the next source is rank 2");
    assert_true(outcome.ms < STALL_MS + PATIENCE_MS);
    assert_int_equal(waitpid(dying.pid, &status, 0), dying.pid);
    assert_true(WIFSIGNALED(status));
    dying.pid = 0;
}

static void a_holder_that_stands_still_runs_into_the_deadline(void **state) {
    int status = 0;
    (void)state;
    struct outcome outcome = end_pull(begin_pull((struct holder *[]){ &frozen }, 1, token, STALL_MS));
    assert_int_equal(outcome.event.type, PLANE_EVENT_PULL_FAILED);
    assert_says(outcome.event.text, "rank 6 has sent nothing for 1000 ms");
    assert_true(outcome.ms >= STALL_MS - 50 && outcome.ms < STALL_MS + PATIENCE_MS);
    assert_int_equal(waitpid(frozen.pid, &status, WUNTRACED), frozen.pid);
    assert_true(WIFSTOPPED(status));
}

/* What it sends when it wakes up finds nobody: it must not be taken for anything. */
static void what_a_stopped_holder_sends_later_is_not_written(void **state) {
    int status = 0;
    (void)state;
    struct outcome outcome = end_pull(begin_pull((struct holder *[]){ &stopping, &honest }, 2, token, STALL_MS));
    assert_arrived(&outcome);
    assert_says(outcome.warning, "rank 5 has sent nothing for 1000 ms; the next source is rank 1");
    assert_int_equal(waitpid(stopping.pid, &status, WUNTRACED), stopping.pid);
    assert_int_equal(kill(stopping.pid, SIGCONT), 0);
    for (int i = 0; i < 20; i++) { /* while its letters come in */
        outcome = pull((struct holder *[]){ &second }, 1);
        assert_arrived(&outcome);
    }
}

static void a_stranger_gets_nothing(void **state) {
    (void)state;
    struct outcome outcome = end_pull(begin_pull((struct holder *[]){ &honest }, 1, other_token, PATIENCE_MS));
    assert_int_equal(outcome.event.type, PLANE_EVENT_PULL_FAILED);
    assert_says(outcome.event.text, "rank 1 does not serve under this token");
    assert_int_equal(new_model[0] | new_model[MODEL_BYTES / 2] | new_rng[0], 0);
}

static void a_holder_says_what_it_does_not_have(void **state) {
    static const struct {
        const char *name;
        uint64_t bytes;
        const char *says;
    } rows[] = {
        { "optimizer", RNG_BYTES, "region 'optimizer': rank 1 does not hold it" },
        { "rng", RNG_BYTES + 1, "region 'rng': rank 1 holds it with another size" },
    };
    (void)state;
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct plane_region wanted = region(rows[i].name, new_model, rows[i].bytes);
        struct plane_source source = { .rank = 1, .address = honest.address, .address_bytes = honest.address_bytes };
        struct plane_pull pull = { .pull_id = 1000 + i,
                                   .pid = (uint32_t)getpid(),
                                   .regions = &wanted,
                                   .region_count = 1,
                                   .sources = &source,
                                   .source_count = 1,
                                   .stall_ms = PATIENCE_MS };
        memcpy(pull.token, token, sizeof(token));
        assert_int_equal(plane_pull(plane, &pull), PLANE_OK);
        struct outcome outcome = end_pull(1000 + i);
        assert_int_equal(outcome.event.type, PLANE_EVENT_PULL_FAILED);
        assert_says(outcome.event.text, rows[i].says);
    }
}

static void a_process_of_this_node_is_read_directly(void **state) {
    (void)state;
    struct outcome outcome = pull((struct holder *[]){ &neighbour }, 1);
    assert_arrived(&outcome);
    assert_int_equal(kill(gone.pid, SIGKILL), 0);
    assert_int_equal(waitpid(gone.pid, NULL, 0), gone.pid);
    outcome = pull((struct holder *[]){ &gone, &neighbour }, 2);
    gone.pid = 0;
    assert_arrived(&outcome);
    assert_says(outcome.warning, "region 'model': rank 8 is gone; the next source is rank 7");
}

static void nothing_comes_of_a_pull_that_was_cancelled(void **state) {
    struct plane_event event;
    (void)state;
    uint32_t id = begin_pull((struct holder *[]){ &frozen, &honest }, 2, token, STALL_MS); /* still stopped */
    nap_us(20000);
    plane_cancel(plane, id);
    while (next_event(&event, (int)STALL_MS + 200)) {
        assert_int_not_equal(event.pull_id, id);
    }
    assert_int_equal(new_model[0] | new_model[MODEL_BYTES / 2] | new_rng[0], 0);
    struct outcome outcome = pull((struct holder *[]){ &honest }, 1);
    assert_arrived(&outcome);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pull_arrives_bit_by_bit),
        cmocka_unit_test(two_pulls_at_once_arrive),
        cmocka_unit_test(a_wrong_digest_is_refused_and_another_holder_asked),
        cmocka_unit_test(a_stranger_gets_nothing),
        cmocka_unit_test(a_holder_says_what_it_does_not_have),
        cmocka_unit_test(a_process_of_this_node_is_read_directly),
        cmocka_unit_test(a_holder_that_dies_in_the_middle_is_replaced),
        cmocka_unit_test(a_holder_that_stands_still_runs_into_the_deadline),
        cmocka_unit_test(what_a_stopped_holder_sends_later_is_not_written),
        cmocka_unit_test(nothing_comes_of_a_pull_that_was_cancelled),
    };
    return cmocka_run_group_tests_name("plane", tests, start_all, end_all);
}
