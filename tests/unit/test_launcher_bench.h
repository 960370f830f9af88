/*
 * A bench for ckptless-launch: starts the real program as srun's side would, and plays the step's helpers against it
 * over loopback. Everything runs in one event loop; each wait is for a thing that happens, with a deadline.
 */
#ifndef TEST_LAUNCHER_BENCH_H
#define TEST_LAUNCHER_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node_helper/net/net.h"
#include "node_helper/wire/wire_message.h"

#define BENCH_NODES 8
#define BENCH_TEXT_BYTES (512u << 10)

struct event;
struct event_base;
struct bench;

/* One played helper. Those of the same node are told apart by their place in the array. */
struct bench_helper {
    struct bench *bench;
    struct net_peer *peer; /* NULL: closed */
    struct wire_message hello;
    bool is_open, is_closed, has_roster, is_refused, pings;
    unsigned answers; /* to its PINGs */
    uint32_t your_id, active_nodes, member_count, leader;
    struct wire_member members[BENCH_NODES];
    char refusal[WIRE_TEXT_BYTES];
};

/* What the program has written to one descriptor. */
struct bench_text {
    int fd; /* -1: end of file */
    struct event *readable;
    size_t bytes;
    char text[BENCH_TEXT_BYTES];
};

struct bench {
    struct event_base *base;
    struct event *ping;
    struct net *net;
    pid_t pid;
    int to_fd; /* its descriptor 0 */
    struct bench_text answers, user;
    int exit_code; /* once ended; 128 + signal */
    uint16_t port;
    uint64_t file_bytes_max; /* set before bench_start: RLIMIT_FSIZE of the program; 0: none */
    const char *node_list;   /* set before bench_start: SLURM_JOB_NODELIST of the program; NULL: none */
    char directory[64];      /* the submit directory, new and empty */
    struct bench_helper helpers[BENCH_NODES];
    struct wire_arena arena;
};

int bench_set_up(void **state);
int bench_tear_down(void **state);
/* Starts the program with this text on descriptor 0, not waiting for anything. */
void bench_spawn(struct bench *bench, const char *request);
/* The usual request (job 12, step 3) with this option and port range; waits for "ready" and makes the helpers' net. */
void bench_start(struct bench *bench, const char *option, unsigned port_min, unsigned port_max);
/* helpers[slot] connects and says HELLO as node `node` of node_count; edit helpers[slot].hello before for others. */
struct bench_helper *bench_hello(struct bench *bench, uint32_t slot, uint32_t node, uint32_t node_count);
void bench_connect(struct bench *bench, struct bench_helper *helper);
/* Starts the step with helpers 0 .. node_count - 1, waits for the rosters, and lets the leader ping. */
void bench_begin_step(struct bench *bench, uint32_t node_count);
void bench_send(struct bench_helper *helper, const struct wire_message *message);
void bench_report(struct bench *bench, const char *line, const char *json);
void bench_result(struct bench *bench, uint32_t exit_code, const char *lost);
/* Runs the loop until *flag; fails after 10 s. */
void bench_wait(struct bench *bench, const bool *flag);
/* Runs the loop until the text has come. */
void bench_wait_text(struct bench *bench, const struct bench_text *text, const char *wanted);
void bench_run_ms(struct bench *bench, uint32_t ms);
/* Closes descriptor 0 and waits for the end; answers how long it took. */
uint64_t bench_end_srun(struct bench *bench);
/* Waits for the program's end. */
void bench_wait_end(struct bench *bench);
uint64_t bench_now_ms(void);
/* Content of a file in the submit directory, at most `capacity` - 1 bytes; "" when there is none. */
void bench_read_file(const struct bench *bench, const char *name, char *ret_text, size_t capacity);

#endif
