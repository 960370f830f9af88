/*
 * LD_PRELOAD for srun: ckptless-launch, its child, makes a step secret that the test knows, and can look for.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECRET_BYTES 32

ssize_t getrandom(void *ret_bytes, size_t count, unsigned flags) {
    static int is_known;
    if (count == SECRET_BYTES && !is_known && strcmp(program_invocation_short_name, "ckptless-launch") == 0) {
        is_known = 1;
        /* Nowhere in this library as it is: it would be found in all processes that load it. */
        for (size_t i = 0; i < count; i++) {
            ((unsigned char *)ret_bytes)[i] = (unsigned char)(33 + 7 * i);
        }
        return (ssize_t)count;
    }
    return syscall(SYS_getrandom, ret_bytes, count, flags);
}
