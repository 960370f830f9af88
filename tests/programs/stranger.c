/*
 * stranger: what another user of the nodes, or another machine on their network, may try against a step; for the tests
 * of strangers. Run as a user that is not the step's.
 *
 *     stranger scan HOST...            connects to every port; prints "HOST:PORT" of those that take it
 *     stranger crowd HOW COUNT RATE HOST:PORT...      keeps COUNT connections to each, at most RATE new ones a second
 *                                      each, which say what HOW says: see stranger_crowd.c
 *     stranger replay FILE COUNT RATE HOST:PORT...    the same; each says what was recorded in FILE
 *     stranger knock HOST:PORT...      speaks the helpers' protocol, with another secret
 *     stranger keepers                 says to every abstract socket named ckptless what a keeper says, and takes its
 *                                      name when it is free
 *     stranger snoop                   tries to read, stop and change every other user's process; prints
 *                                      "WHAT PID NAME" for what it could do
 *     stranger search FILE PID...      (root) prints "PID NAME" of processes that hold FILE's bytes in memory
 *     stranger listen INTERFACE DIRECTORY    (root) records each direction of each connection in a file of its own,
 *                                      named ADDRESS.PORT-ADDRESS.PORT
 *
 * crowd, replay, knock, keepers and listen go on until SIGTERM; they say "ready" when they have begun, and at the end
 * how often they have done it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/programs/stranger.h"

volatile sig_atomic_t stranger_is_over;

static void on_term(int number) {
    (void)number;
    stranger_is_over = 1;
}

void stranger_ready(void) {
    puts("ready");
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        int arguments_min;
    } commands[] = {
        { "scan", stranger_scan, 1 },     { "crowd", stranger_crowd, 4 },     { "replay", stranger_replay, 4 },
        { "knock", stranger_knock, 1 },   { "keepers", stranger_keepers, 0 }, { "snoop", stranger_snoop, 0 },
        { "search", stranger_search, 2 }, { "listen", stranger_listen, 2 },
    };
    struct sigaction action = { .sa_handler = on_term };
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].arguments_min) {
            return commands[i].run(argc - 2, argv + 2);
        }
    }
    fputs("usage: stranger scan|crowd|replay|knock|keepers|snoop|search|listen ...\n", stderr);
    return 2;
}
