/* What the files of stranger share: a function a command, each in the file of its kind. */
#ifndef TESTS_STRANGER_H
#define TESTS_STRANGER_H

#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern volatile sig_atomic_t stranger_is_over; /* SIGTERM has come */

void stranger_ready(void);
/* "HOST:PORT", numeric. Ends the program when it is none. */
struct sockaddr_in stranger_address(const char *text);

/* stranger_crowd.c */
int stranger_scan(int argc, char **argv);
int stranger_crowd(int argc, char **argv);
int stranger_replay(int argc, char **argv);
/* stranger_knock.c */
int stranger_knock(int argc, char **argv);
/* stranger_node.c */
int stranger_keepers(int argc, char **argv);
int stranger_snoop(int argc, char **argv);
/* stranger_search.c */
int stranger_search(int argc, char **argv);
/* stranger_listen.c */
int stranger_listen(int argc, char **argv);

#endif
