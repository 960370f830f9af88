/*
 * The option --ckptless[=key=value,...]: registration and the callback that checks its value before anything is queued.
 * Knows no key: the table is node_helper/wire's.
 */
#include <stdio.h>
#include <string.h>

#include "node_helper/wire/wire_message.h"
#include "spank_plugin/plugin.h"

static struct plugin_option the_option = { .text = "" };
static char the_text[WIRE_TEXT_BYTES * 2];

/* Called by Slurm for each time the option is given (command line, #SBATCH line, environment), and again on the nodes.
 * The last one counts. */
static int accept_value(int value, const char *text, int remote) {
    (void)value;
    char error[512] = "";
    struct wire_settings settings;
    if (text == NULL || strcmp(text, "(null)") == 0) {
        text = "";
    }
    if (strlen(text) >= sizeof(the_text)) {
        slurm_error("ckptless: the option's value is longer than %zu characters", sizeof(the_text) - 1);
        return ESPANK_BAD_ARG;
    }
    if (!wire_settings_parse(text, &settings, error, sizeof(error))) {
        slurm_error("ckptless: %s", error);
        /* On a node a failure would fell the task without a word to the user; srun has checked the same text. */
        return remote ? ESPANK_SUCCESS : ESPANK_BAD_ARG;
    }
    if (text != the_text) {
        snprintf(the_text, sizeof(the_text), "%s", text);
    }
    the_option.given = !settings.off;
    the_option.text = the_text;
    the_option.settings = settings;
    return ESPANK_SUCCESS;
}

int option_register(spank_t spank) {
    static char name[] = "ckptless", arguments[] = "key=value,...";
    static char usage[] = "survive the loss of processes and nodes without a requeue or a checkpoint; spares=S adds S "
                          "nodes to -N (see ckptless(7))";
    static struct spank_option option = {
        .name = name, .arginfo = arguments, .usage = usage, .has_arg = 2, .val = 0, .cb = accept_value
    };
    if (spank_option_register(spank, &option) != ESPANK_SUCCESS) {
        slurm_error("ckptless: the option --ckptless cannot be registered");
        return ESPANK_ERROR;
    }
    return ESPANK_SUCCESS;
}

const struct plugin_option *option_get(void) {
    return &the_option;
}
