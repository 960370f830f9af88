/*
 * What the tests of keepers share: the helper's end of the socket, programs' lines, and waiting, always with a
 * deadline.
 */
#ifndef TEST_KEEPER_BENCH_H
#define TEST_KEEPER_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node_helper/wire/wire_keeper.h"

#define BENCH_DEADLINE_MS 5000

uint64_t bench_now_ms(void);
void bench_nap(void); /* a millisecond, between two looks */
void bench_await_readable(int fd);
bool bench_is_gone(pid_t pid);
/* How the child `pid` has ended, as of waitpid(2); what: for the failure. */
int bench_end_of(pid_t pid, const char *what);
/* The helper's socket under this abstract name. */
int bench_listen(const char *address);
/* The next packet, which must be of this type; valid until the next call. */
struct wire_keeper_message bench_receive(int fd, enum wire_keeper_type type);
/* A line of a program, without its end. */
void bench_read_line(int fd, char *ret_line, size_t capacity);
void bench_say(const char *text); /* in a program */

#endif
