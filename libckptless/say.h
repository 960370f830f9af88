/*
 * The library's lines on stderr: one fact each, in one write, so that lines of many ranks do not tear each other.
 */
#ifndef CKPTLESS_SAY_H
#define CKPTLESS_SAY_H

#include "include/ckptless.h"

/* Writes "ckptless: rank R: ..." and a newline; without the rank while there is none (ctx NULL, or before init's end).
 * Longer lines are cut at 2000 characters. Keeps errno. Any thread. */
void say_line(const struct ckptless *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
