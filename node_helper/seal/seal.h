/*
 * The step secret on its way from srun's host to the nodes. It goes in the environment of the step, and so through
 * messages of Slurm's that are signed but not encrypted: sealed, it is a munge credential that only the user's own
 * processes on the cluster's nodes can open. Where Slurm itself does without munge there is nothing to seal with, and
 * the text is the secret in hex. Blocks for munged's answer. Knows neither Slurm nor who carries the text.
 */
#ifndef CKPTLESS_SEAL_H
#define CKPTLESS_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node_helper/wire/wire_launch.h"

/* The secret in the open. ret_text: WIRE_SEALED_BYTES. */
void seal_plain(const uint8_t *secret, char *ret_text);
/* Sealed for the effective user of this process. socket: of munged, "": where munge has it by default. ret_text:
 * WIRE_SEALED_BYTES. False: ret_error says why in a line. */
bool seal_munge(const uint8_t *secret, const char *socket, char *ret_text, char *ret_error, size_t error_capacity);
/* Either of them back. ret_secret: WIRE_SECRET_BYTES. False: ret_error says why; it never shows the text. */
bool seal_open(const char *text, const char *socket, uint8_t *ret_secret, char *ret_error, size_t error_capacity);
bool seal_is_plain(const char *text);

/* Bytes that nobody knows who does not know the secret, and from which nobody learns it: other ones for each purpose.
 * At most 32. */
void seal_derive(const uint8_t *secret, const char *purpose, uint8_t *ret_bytes, size_t count);

#endif
