/* See signals.h. */
#include "libckptless/signals.h"

#include <signal.h>
#include <stdlib.h>

/* Ignoring a signal, if only for a moment, discards those that are pending. */
static void drop_pending(int number) {
    struct sigaction ignore = { .sa_handler = SIG_IGN }, own;
    if (sigaction(number, &ignore, &own) == 0) {
        (void)sigaction(number, &own, NULL);
    }
}

void signals_release(void) {
    const char *text = getenv("CKPTLESS_SIGNALS_HELD");
    sigset_t held;
    sigemptyset(&held);
    for (char *end = NULL; text && *text; text = *end == ',' ? end + 1 : end) {
        int number = (int)strtol(text, &end, 10);
        if (end == text) {
            break;
        }
        if (sigaddset(&held, number) == 0) {
            drop_pending(number);
        }
    }
    (void)pthread_sigmask(SIG_UNBLOCK, &held, NULL);
    (void)unsetenv("CKPTLESS_SIGNALS_HELD");
}
