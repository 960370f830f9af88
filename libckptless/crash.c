/*
 * See crash.h. The handler runs anywhere, with whatever locks held: it stores two words and makes two system calls.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libckptless/crash.h"

static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
#define NUMBER_COUNT (sizeof(numbers) / sizeof(numbers[0]))

static struct wire_page *_Atomic the_page;
static pid_t the_pid; /* forked children inherit the handlers, and their crashes are not the rank's */

/* SA_RESETHAND has put the default back. A fault happens again when we return, at the same place and with the same
 * details, for the core. What somebody has sent is sent again: blocked until we return. */
static void on_crash(int number, siginfo_t *info, void *context) {
    int saved = errno;
    struct wire_page *page = atomic_load(&the_page);
    (void)context;
    if (page && getpid() == the_pid) {
        atomic_store(&page->crash_signal, (uint32_t)number);
        atomic_fetch_or(&page->bell_futex, FUTEX_OWNER_DIED);
        (void)syscall(SYS_futex, &page->bell_futex, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    if (info->si_code <= 0 || (number == SIGBUS && info->si_code == BUS_MCEERR_AO)) {
        (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    }
    errno = saved;
}

void crash_init(struct wire_page *page) {
    struct sigaction ours = { .sa_sigaction = on_crash,
                              .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK | SA_RESTART) };
    sigemptyset(&ours.sa_mask);
    the_pid = getpid();
    atomic_store(&the_page, page);
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
            before.sa_handler == SIG_DFL) {
            (void)sigaction(numbers[i], &ours, NULL);
        }
    }
}

void crash_fini(void) {
    const struct sigaction normal = { .sa_handler = SIG_DFL };
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        struct sigaction now;
        if (sigaction(numbers[i], NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_crash) {
            (void)sigaction(numbers[i], &normal, NULL);
        }
    }
    atomic_store(&the_page, NULL);
}
