/*
 * The keeper's one object, for its own files.
 */
#ifndef CKPTLESS_KEEPER_PRIVATE_H
#define CKPTLESS_KEEPER_PRIVATE_H

#include <signal.h>
#include <sys/signalfd.h>

#include "spank_plugin/keeper.h"

struct keeper {
    const struct keeper_config *config;
    pid_t pid;            /* our own */
    sigset_t mask_before; /* the program gets it back */

    int signal_fd, parent_fd; /* signalfd; pidfd of the parent */
    int socket_fd;            /* to the helper; -1: not connected */
    int helper_fd;            /* pidfd of the helper; -1: not known */
    uint32_t address_index;   /* of the helper that we have started last */
    pid_t helper_pid;         /* of the helper that we have started, the last one; 0: another keeper does that */
    int input_fd;             /* standard input, once more; -1: it has ended */
    int page_fd;              /* the slot's page, inherited by the program; -1: none yet */
    void *page;               /* the same, to be read; NULL: none */
    bool is_held;             /* its lease has ended: stopped by us */
    bool is_held_by_helper;

    pid_t program;            /* first process of the tree; 0: none alive */
    uint32_t incarnation;     /* of the newest START that was carried out */
    int last_status;          /* of the newest program that ended, as of waitpid(2) */
    bool is_dirty;            /* a tree was started and CLEARED has not been reached */
    bool is_parked;           /* the program has no rank yet: signals are not for it */
    bool is_clearing;         /* it is being killed */
    int64_t dump_deadline_ms; /* until then a process that writes its core is not killed */
    int clearing_ms;          /* wait before the next pass */

    bool start_is_pending; /* `start_packet` waits until the tree is gone and the descriptor is here */
    struct wire_keeper_message start;
    int start_page_fd;
    bool end_is_pending;
    int end_status;

    bool is_ending;              /* Slurm ends the step */
    int64_t end_deadline_ms;     /* ending and the program has ended: without END by then we end too; 0: none */
    int64_t connect_deadline_ms; /* while not connected */
    int connect_pause_ms, connect_attempts;
    bool was_connected;
    int starts_in_vain; /* successors that died before any START, in a row */

    uint8_t packet[WIRE_KEEPER_PACKET_BYTES_MAX];       /* of the message being read */
    uint8_t start_packet[WIRE_KEEPER_PACKET_BYTES_MAX]; /* of the pending START */
};

enum link_result {
    LINK_OK = 0,
    LINK_AGAIN, /* nothing there, or nobody yet */
    LINK_LOST,  /* the helper is gone, or is no helper of ours */
};

int64_t keeper_now_ms(void);

/* One attempt to connect and say HELLO; sets socket_fd and helper_fd. */
enum link_result keeper_link_connect(struct keeper *keeper);
enum link_result keeper_link_send(struct keeper *keeper, enum wire_keeper_type type, uint32_t pid, int32_t status);
/* Reads one message into keeper->packet; *ret_fd: the descriptor that came with it, or -1. */
enum link_result keeper_link_receive(struct keeper *keeper, struct wire_keeper_message *ret_message, int *ret_fd);
void keeper_link_close(struct keeper *keeper);

/* Sets input_fd, and takes the programs of a spare their input. */
void keeper_input_init(struct keeper *keeper);
/* The descriptor to poll while nobody reads it; else -1. */
int keeper_input_unread(const struct keeper *keeper);
/* Reads some of it, when there is some. */
void keeper_input_read_away(struct keeper *keeper);

/* Blocks what the keeper handles and opens signal_fd. */
bool keeper_signal_init(struct keeper *keeper);
enum keeper_signal_meaning {
    KEEPER_SIGNAL_CHILD,   /* look for children that have ended */
    KEEPER_SIGNAL_SILENT,  /* not for us to pass on */
    KEEPER_SIGNAL_KNOWN,   /* from Slurm or the terminal, and the program has got it already */
    KEEPER_SIGNAL_FORWARD, /* the program has to get it from us */
};
/* What a signal means; *ret_is_ending: it says that the step is being ended from outside. */
enum keeper_signal_meaning keeper_signal_judge(const struct keeper *keeper, const struct signalfd_siginfo *info,
                                               bool *ret_is_ending);
/* In the child: the mask as it was. */
void keeper_signal_restore(const struct keeper *keeper);
/* In the child that is to be a parked program: blocks what Slurm's users send to the ranks, until the library gives the
 * program its rank. ret_list: the numbers that were not blocked before, for the library. */
void keeper_signal_park(char *ret_list, size_t capacity);

/* The page of the program that is being started. */
void keeper_lease_take(struct keeper *keeper);
/* The helper wants the tree to stand still, or to go on. */
void keeper_lease_hold(struct keeper *keeper, bool by_helper);
/* Stops the tree when the lease has ended, lets it go on when it is renewed; ms until the next look, -1: none is
 * needed. */
int64_t keeper_lease_check(struct keeper *keeper);

/* Forks the program of the pending START, with the page's descriptor. True: this is the child, which returns to Slurm.
 * In the keeper: false, with keeper->program set, or 0 when there was no process to be had. */
bool keeper_program_fork(struct keeper *keeper);
/* A group of its own, so that kill(0, ...) in a rank stays in that rank; with --pty it stays in the terminal's. */
void keeper_leave_group(void);
/* Ends this process as `status` of waitpid(2) says, without a core. */
void keeper_exit_like(const struct keeper_config *config, int status) __attribute__((noreturn));

#endif
