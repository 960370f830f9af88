/*
 * Reading and writing the process's environment: numbers with bounds, and the block of variables that a world brings.
 */
#ifndef CKPTLESS_ENVIRONMENT_H
#define CKPTLESS_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

enum environment_result { ENVIRONMENT_OK = 0, ENVIRONMENT_NOT_SET, ENVIRONMENT_BAD };

/* A decimal number in [min, max], nothing around it. NOT_SET also for an empty value. BAD: a line has been written.
 * *ret_value is set on OK only. */
enum environment_result environment_number(const char *name, long min, long max, int *ret_value);

/* Sets "NAME=value" and removes "NAME", strings ended by NUL. False: out of memory, some may be set. */
bool environment_apply(const char *block, size_t bytes);

#endif
