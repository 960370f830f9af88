/*
 * What srun's side tells ckptless-launch on descriptor 0: lines key=value and an empty line. Knows no network.
 */
#ifndef CKPTLESS_REQUEST_H
#define CKPTLESS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_message.h"
#include "node_helper/wire/wire_settings.h"

#define REQUEST_PATH_BYTES 4096u

struct request {
    uint32_t job, step;
    uint32_t port_min, port_max;         /* where to listen, <= 65535; 0, 0: anywhere */
    bool has_munge;                      /* Slurm authenticates with it */
    char munge_socket[WIRE_NAME_BYTES];  /* of munged; "": where munge has it by default */
    char submit_dir[REQUEST_PATH_BYTES]; /* absolute: of relative paths, and of the timeline without log-dir */
    struct wire_settings settings;       /* of the key `option` */
};

/* Reads up to the empty line, at most 5 s. Keys that are not known are passed over. False: ret_error has one line that
 * says what is missing or wrong. */
bool request_read(int fd, struct request *ret_request, char *ret_error, size_t error_capacity);

#endif
