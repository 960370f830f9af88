/*
 * Any bytes on descriptor 0 of ckptless-launch: a refusal is one line, what is accepted is within its bounds.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "step_launcher/request.h"

#define PIPE_BYTES 4096u /* larger ones would only wait for a reader */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct request request;
    char error[256] = "";
    int fds[2];

    if (size > PIPE_BYTES || pipe(fds) != 0) {
        return 0;
    }
    bool written = write(fds[1], data, size) == (ssize_t)size;
    close(fds[1]);
    if (written && request_read(fds[0], &request, error, sizeof(error))) {
        if (request.submit_dir[0] != '/' || request.port_min > request.port_max || request.port_max > UINT16_MAX ||
            memchr(request.munge_socket, '\0', sizeof(request.munge_socket)) == NULL) {
            abort();
        }
    } else if (written && (error[0] == '\0' || strchr(error, '\n') != NULL)) {
        abort();
    }
    close(fds[0]);
    return 0;
}
