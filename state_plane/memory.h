/*
 * Reads and writes the memory of another process of this node (cross-memory attach), in pieces and over partial
 * results, and tells why it could not. Knows no region, peer or fabric.
 */
#ifndef CKPTLESS_PLANE_MEMORY_H
#define CKPTLESS_PLANE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum memory_result {
    MEMORY_OK = 0,
    MEMORY_GONE,   /* no such process (ESRCH): also one that has ended and was not yet waited for */
    MEMORY_DENIED, /* the kernel refuses (EPERM): another user, a ptrace restriction, a seccomp filter */
    MEMORY_FAULT,  /* the process has nothing there (EFAULT), or not with that protection */
    MEMORY_FAILED, /* anything else */
};

/* Copies `bytes` bytes from `address` in process `pid`. On failure an unknown part of ret_bytes has been written. */
enum memory_result memory_read(uint32_t pid, uint64_t address, void *ret_bytes, size_t bytes)
    __attribute__((warn_unused_result));
/* Copies `bytes` bytes to `address` in process `pid`. On failure an unknown part of it has been written. */
enum memory_result memory_write(uint32_t pid, uint64_t address, const void *source, size_t bytes)
    __attribute__((warn_unused_result));
/* A phrase that follows "its process" or the like: "is gone", "may not be read or written (EPERM)", ... */
const char *memory_describe(enum memory_result result);

#endif
