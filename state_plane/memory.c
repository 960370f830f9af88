/*
 * See memory.h. The kernel ends a transfer early, with what it has done, at the first page that it cannot take; the
 * next call then says why. So a loop over partial results is all that is needed, and there is no difference between a
 * process that dies half-way and one that was dead before.
 */
#include "state_plane/memory.h"

#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>

static enum memory_result convert_errno(int error) {
    switch (error) {
    case ESRCH:
        return MEMORY_GONE;
    case EPERM:
    case EACCES:
        return MEMORY_DENIED;
    case EFAULT:
        return MEMORY_FAULT;
    default:
        return MEMORY_FAILED;
    }
}

typedef ssize_t transfer_fn(pid_t pid, const struct iovec *local, unsigned long local_count, const struct iovec *remote,
                            unsigned long remote_count, unsigned long flags);

static enum memory_result transfer(transfer_fn *call, uint32_t pid, uint64_t address, void *local, size_t bytes) {
    size_t done = 0;

    if (pid == 0 || pid > INT32_MAX) {
        return MEMORY_GONE;
    }
    while (done < bytes) {
        struct iovec here = { .iov_base = (char *)local + done, .iov_len = bytes - done };
        struct iovec there = { .iov_base = (void *)(uintptr_t)(address + done), .iov_len = bytes - done };
        ssize_t count = call((pid_t)pid, &here, 1, &there, 1, 0);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return convert_errno(errno);
        }
        if (count == 0) {
            return MEMORY_FAILED;
        }
        done += (size_t)count;
    }
    return MEMORY_OK;
}

enum memory_result memory_read(uint32_t pid, uint64_t address, void *ret_bytes, size_t bytes) {
    return transfer(process_vm_readv, pid, address, ret_bytes, bytes);
}

enum memory_result memory_write(uint32_t pid, uint64_t address, const void *source, size_t bytes) {
    return transfer(process_vm_writev, pid, address, (void *)(uintptr_t)source, bytes);
}

const char *memory_describe(enum memory_result result) {
    switch (result) {
    case MEMORY_OK:
        return "is fine";
    case MEMORY_GONE:
        return "is gone";
    case MEMORY_DENIED:
        return "may not be read or written (EPERM: ptrace scope, seccomp or another user)";
    case MEMORY_FAULT:
        return "has no such memory (EFAULT)";
    case MEMORY_FAILED:
        break;
    }
    return "cannot be read or written";
}
