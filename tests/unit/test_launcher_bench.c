/*
 * The bench; see test_launcher_bench.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/test_launcher_bench.h"

#define WAIT_SECONDS 10
#define PROGRAM "step_launcher/ckptless-launch"

uint64_t bench_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_flag(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

/* One turn of the loop, at most until `timer` sets *late. */
static struct event *start_timer(struct bench *bench, uint32_t ms, bool *late) {
    const struct timeval limit = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };
    struct event *timer = evtimer_new(bench->base, set_flag, late);
    assert_int_equal(event_add(timer, &limit), 0);
    return timer;
}

void bench_run_ms(struct bench *bench, uint32_t ms) {
    bool done = false;
    struct event *timer = start_timer(bench, ms, &done);
    while (!done) {
        event_base_loop(bench->base, EVLOOP_ONCE);
    }
    event_free(timer);
}

static bool wait_until(struct bench *bench, bool (*is_true)(const void *a, const void *b), const void *a,
                       const void *b) {
    bool late = false;
    struct event *timer = start_timer(bench, WAIT_SECONDS * 1000, &late);
    while (!is_true(a, b) && !late) {
        event_base_loop(bench->base, EVLOOP_ONCE);
    }
    event_free(timer);
    return is_true(a, b);
}

static bool flag_is_set(const void *a, const void *b) {
    (void)b;
    return *(const bool *)a;
}

static bool text_is_there(const void *a, const void *b) {
    return strstr(((const struct bench_text *)a)->text, b) != NULL;
}

static bool has_ended(const void *a, const void *b) {
    (void)b;
    return ((const struct bench_text *)a)->fd < 0;
}

void bench_wait(struct bench *bench, const bool *flag) {
    if (!wait_until(bench, flag_is_set, flag, NULL)) {
        fail_msg("waited in vain; answers: %s; user: %s", bench->answers.text, bench->user.text);
    }
}

void bench_wait_text(struct bench *bench, const struct bench_text *text, const char *wanted) {
    if (!wait_until(bench, text_is_there, text, wanted)) {
        fail_msg("waited in vain for \"%s\"; answers: %s; user: %s", wanted, bench->answers.text, bench->user.text);
    }
}

void bench_wait_end(struct bench *bench) {
    int status;
    if (!wait_until(bench, has_ended, &bench->answers, NULL)) {
        fail_msg("the program does not end; answers: %s; user: %s", bench->answers.text, bench->user.text);
    }
    assert_int_equal(waitpid(bench->pid, &status, 0), bench->pid);
    bench->pid = 0;
    bench->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

uint64_t bench_end_srun(struct bench *bench) {
    uint64_t began_ms = bench_now_ms();
    close(bench->to_fd);
    bench->to_fd = -1;
    bench_wait_end(bench);
    return bench_now_ms() - began_ms;
}

static void on_text(evutil_socket_t fd, short what, void *arg) {
    struct bench_text *text = arg;
    ssize_t count = read(fd, text->text + text->bytes, sizeof(text->text) - 1 - text->bytes);
    (void)what;
    assert_true(text->bytes < sizeof(text->text) - 1);
    if (count > 0) {
        text->bytes += (size_t)count;
        text->text[text->bytes] = '\0';
    } else if (count == 0 || errno != EAGAIN) {
        event_free(text->readable);
        text->readable = NULL;
        close(fd);
        text->fd = -1;
    }
}

static void watch_text(struct bench *bench, struct bench_text *text, int fd) {
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    text->fd = fd;
    text->readable = event_new(bench->base, fd, EV_READ | EV_PERSIST, on_text, text);
    event_add(text->readable, NULL);
}

static void become_launcher(const struct bench *bench, int request_fd, int user_fd, int answer_fd) {
    char name[] = "ckptless-launch";
    char *arguments[] = { name, NULL };
    struct rlimit limit = { bench->file_bytes_max, bench->file_bytes_max };

    if (bench->file_bytes_max > 0 && setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        _exit(126);
    }
    if (bench->node_list != NULL) {
        setenv("SLURM_JOB_NODELIST", bench->node_list, 1);
    } else {
        unsetenv("SLURM_JOB_NODELIST");
        unsetenv("SLURM_NODELIST");
    }
    request_fd = fcntl(request_fd, F_DUPFD_CLOEXEC, 10);
    user_fd = fcntl(user_fd, F_DUPFD_CLOEXEC, 10);
    answer_fd = fcntl(answer_fd, F_DUPFD_CLOEXEC, 10);
    dup2(request_fd, 0);
    dup2(user_fd, 2);
    dup2(answer_fd, 3);
    execv(PROGRAM, arguments);
    _exit(127);
}

void bench_spawn(struct bench *bench, const char *request) {
    int to[2], user[2], answers[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(user, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
    assert_int_equal(write(to[1], request, strlen(request)), strlen(request));
    bench->pid = fork();
    assert_true(bench->pid >= 0);
    if (bench->pid == 0) {
        become_launcher(bench, to[0], user[1], answers[1]);
    }
    close(to[0]);
    close(user[1]);
    close(answers[1]);
    bench->to_fd = to[1];
    watch_text(bench, &bench->answers, answers[0]);
    watch_text(bench, &bench->user, user[0]);
}

static void fill_hello(struct bench_helper *helper, uint32_t node, uint32_t node_count) {
    struct wire_hello *hello = &helper->hello.hello;
    memset(&helper->hello, 0, sizeof(helper->hello));
    helper->hello.type = WIRE_HELLO;
    helper->hello.from = WIRE_NONE;
    hello->node = node;
    hello->node_count = node_count;
    hello->slot_count = 2;
    hello->spare_nodes = node_count > 1 ? 1 : 0;
    hello->predecessor = WIRE_NONE;
    hello->port = (uint16_t)(40000 + (helper - helper->bench->helpers));
    snprintf(hello->host, sizeof(hello->host), "n%u", node + 1);
    snprintf(hello->version, sizeof(hello->version), "%s", PACKAGE_VERSION);
}

void bench_send(struct bench_helper *helper, const struct wire_message *message) {
    size_t capacity = wire_message_bound(message);
    uint8_t *bytes = malloc(capacity);
    size_t count = wire_message_encode(message, bytes, capacity);
    assert_true(count > 0);
    net_send(helper->peer, bytes, count);
    free(bytes);
}

void bench_connect(struct bench *bench, struct bench_helper *helper) {
    helper->is_closed = helper->is_open = helper->is_refused = helper->has_roster = false;
    assert_int_equal(net_connect(bench->net, "127.0.0.1", bench->port, &helper->peer), NET_OK);
    net_set_user(helper->peer, helper);
    net_set_frame_max(helper->peer, WIRE_FRAME_BYTES_MAX);
    bench_send(helper, &helper->hello);
}

struct bench_helper *bench_hello(struct bench *bench, uint32_t slot, uint32_t node, uint32_t node_count) {
    struct bench_helper *helper = &bench->helpers[slot];
    fill_hello(helper, node, node_count);
    bench_connect(bench, helper);
    return helper;
}

void bench_begin_step(struct bench *bench, uint32_t node_count) {
    for (uint32_t i = 0; i < node_count; i++) {
        bench_hello(bench, i, i, node_count);
    }
    for (uint32_t i = 0; i < node_count; i++) {
        bench_wait(bench, &bench->helpers[i].has_roster);
    }
    bench->helpers[0].pings = true;
}

void bench_report(struct bench *bench, const char *line, const char *json) {
    struct wire_message message = { .type = WIRE_REPORT, .report = { .line = line, .json = json } };
    bench_send(&bench->helpers[0], &message);
}

void bench_result(struct bench *bench, uint32_t exit_code, const char *lost) {
    struct wire_message message = { .type = WIRE_RESULT, .end = { .exit_code = exit_code } };
    snprintf(message.end.text, sizeof(message.end.text), "%s", lost);
    bench_send(&bench->helpers[0], &message);
}

static void on_ping(evutil_socket_t fd, short what, void *arg) {
    struct bench *bench = arg;
    struct wire_message message = { .type = WIRE_PING };
    (void)fd;
    (void)what;
    for (uint32_t i = 0; i < BENCH_NODES; i++) {
        if (bench->helpers[i].pings && bench->helpers[i].peer != NULL) {
            bench_send(&bench->helpers[i], &message);
        }
    }
}

static void on_open(void *arg, struct net_peer *peer) {
    (void)arg;
    ((struct bench_helper *)net_user(peer))->is_open = true;
}

static void on_frame(void *arg, struct net_peer *peer, const uint8_t *body, size_t bytes) {
    struct bench *bench = arg;
    struct bench_helper *helper = net_user(peer);
    struct wire_message message;
    assert_true(wire_message_decode(body, bytes, &bench->arena, &message));
    assert_int_equal(message.from, WIRE_LAUNCHER);
    if (message.type == WIRE_ROSTER) {
        assert_true(message.roster.member_count <= BENCH_NODES);
        helper->your_id = message.roster.your_id;
        helper->active_nodes = message.roster.active_nodes;
        helper->member_count = message.roster.member_count;
        helper->leader = message.roster.leader;
        memcpy(helper->members, message.roster.members, message.roster.member_count * sizeof(*helper->members));
        helper->has_roster = true;
    } else if (message.type == WIRE_PING) {
        helper->answers++;
    } else {
        assert_int_equal(message.type, WIRE_REFUSE);
        snprintf(helper->refusal, sizeof(helper->refusal), "%s", message.end.text);
        helper->is_refused = true;
    }
}

static void on_close(void *arg, struct net_peer *peer, const char *why) {
    struct bench_helper *helper = net_user(peer);
    (void)arg;
    (void)why;
    if (helper->peer == peer) {
        helper->is_closed = true;
        helper->peer = NULL;
    }
}

static uint8_t hex_byte(const char *text) {
    char digits[3] = { text[0], text[1], '\0' };
    return (uint8_t)strtoul(digits, NULL, 16);
}

void bench_start(struct bench *bench, const char *option, unsigned port_min, unsigned port_max) {
    static const struct net_callbacks callbacks = { on_open, on_frame, on_close };
    const struct timeval every = { 0, 100000 };
    char request[4096], secret_hex[65] = "", token[33] = "";
    uint8_t secret[32];
    unsigned port = 0;

    snprintf(request, sizeof(request),
             "option=%s\njob=12\nstep=3\nport_min=%u\nport_max=%u\nsubmit_dir=%s\nlater=key\n\n", option, port_min,
             port_max, bench->directory);
    bench_spawn(bench, request);
    bench_wait_text(bench, &bench->answers, "\n");
    if (sscanf(bench->answers.text, "ready port=%u secret=%64[0-9a-f] token=%32[0-9a-f]\n", &port, secret_hex, token) !=
        3) {
        fail_msg("not ready: %s", bench->answers.text);
    }
    assert_int_equal(strlen(secret_hex), 64);
    assert_int_equal(strlen(token), 32);
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = hex_byte(secret_hex + 2 * i);
    }
    bench->port = (uint16_t)port;
    assert_int_equal(net_create(&bench->net, bench->base, secret, &callbacks, bench), NET_OK);
    bench->ping = event_new(bench->base, -1, EV_PERSIST, on_ping, bench);
    event_add(bench->ping, &every);
}

int bench_set_up(void **state) {
    struct bench *bench = calloc(1, sizeof(*bench));
    const char *top = getenv("TMPDIR");
    bench->base = event_base_new();
    bench->to_fd = bench->answers.fd = bench->user.fd = -1;
    for (uint32_t i = 0; i < BENCH_NODES; i++) {
        bench->helpers[i].bench = bench;
    }
    snprintf(bench->directory, sizeof(bench->directory), "%.32s/test_launcher.XXXXXX", top ? top : "/tmp");
    assert_non_null(mkdtemp(bench->directory));
    *state = bench;
    return 0;
}

static void remove_directory(const char *path) {
    DIR *directory = opendir(path);
    for (struct dirent *entry = directory ? readdir(directory) : NULL; entry != NULL; entry = readdir(directory)) {
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    (void)rmdir(path);
}

static void free_text(struct bench_text *text) {
    if (text->readable != NULL) {
        event_free(text->readable);
    }
    if (text->fd >= 0) {
        close(text->fd);
    }
}

int bench_tear_down(void **state) {
    struct bench *bench = *state;
    net_destroy(bench->net);
    if (bench->to_fd >= 0) {
        close(bench->to_fd);
    }
    if (bench->pid > 0) {
        kill(bench->pid, SIGKILL);
        waitpid(bench->pid, NULL, 0);
    }
    free_text(&bench->answers);
    free_text(&bench->user);
    if (bench->ping != NULL) {
        event_free(bench->ping);
    }
    event_base_loop(bench->base, EVLOOP_NONBLOCK);
    event_base_free(bench->base);
    wire_arena_fini(&bench->arena);
    remove_directory(bench->directory);
    free(bench);
    return 0;
}

void bench_read_file(const struct bench *bench, const char *name, char *ret_text, size_t capacity) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", bench->directory, name);
    FILE *file = fopen(path, "re");
    size_t bytes = file ? fread(ret_text, 1, capacity - 1, file) : 0;
    ret_text[bytes] = '\0';
    if (file) {
        fclose(file);
    }
}
