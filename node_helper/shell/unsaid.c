/*
 * Reports that have no way out at the moment: a member's while it is not connected to the leader, a new leader's until
 * ckptless-launch knows it. Said in their order as soon as there is one.
 */
#include <stdlib.h>
#include <string.h>

#include "node_helper/shell/shell.h"

#define UNSAID_MAX 256u /* then the oldest goes: nobody may ever listen again */

struct unsaid {
    struct unsaid *next;
    char *line, *json;
};

static void free_first(struct shell *shell) {
    struct unsaid *first = shell->unsaid;
    shell->unsaid = first->next;
    shell->unsaid_count--;
    free(first->line);
    free(first->json);
    free(first);
}

void unsaid_keep(struct shell *shell, const struct wire_report *report) {
    struct unsaid *kept = calloc(1, sizeof(*kept)), **last = &shell->unsaid;
    if (kept == NULL || (kept->line = strdup(report->line)) == NULL || (kept->json = strdup(report->json)) == NULL) {
        if (kept != NULL) {
            free(kept->line);
        }
        free(kept);
        return;
    }
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = kept;
    shell->unsaid_count++;
    if (shell->unsaid_count > UNSAID_MAX) {
        free_first(shell);
    }
}

void unsaid_say(struct shell *shell, void (*say)(struct shell *shell, const struct wire_report *report)) {
    for (uint32_t left = shell->unsaid_count; left > 0; left--) {
        const struct wire_report report = { .line = shell->unsaid->line, .json = shell->unsaid->json };
        say(shell, &report);
        free_first(shell);
    }
}

void unsaid_fini(struct shell *shell) {
    while (shell->unsaid != NULL) {
        free_first(shell);
    }
}
