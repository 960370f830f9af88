/*
 * Standard input that no program reads. slurmstepd holds at most a megabyte for a task, and srun sends no task what one
 * of them does not take: a parked spare, or a rank that is done, would stop the input of all. So the keeper reads it
 * away.
 *
 * A spare's program has no input at all: what was sent before it took its rank is gone, and the rest alone is worth
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank_plugin/descriptors.h"
#include "spank_plugin/keeper_private.h"

void keeper_input_init(struct keeper *keeper) {
    keeper->input_fd = descriptors_raise(fcntl(0, F_DUPFD_CLOEXEC, 3));
    if (!keeper->config->is_spare) {
        return;
    }
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0) {
        (void)dup2(nothing, 0);
        close(nothing);
    }
}

int keeper_input_unread(const struct keeper *keeper) {
    bool is_done = keeper->incarnation != 0 && !keeper->program && !keeper->is_dirty && !keeper->start_is_pending &&
                   WIFEXITED(keeper->last_status) && WEXITSTATUS(keeper->last_status) == 0 && !isatty(keeper->input_fd);
    return keeper->config->is_spare || is_done ? keeper->input_fd : -1;
}

void keeper_input_read_away(struct keeper *keeper) {
    char nowhere[4096];
    ssize_t count = read(keeper->input_fd, nowhere, sizeof(nowhere));
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) {
        close(keeper->input_fd);
        keeper->input_fd = -1;
    }
}
