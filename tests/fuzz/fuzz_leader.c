/*
 * Any bytes as what the leader says to ckptless-launch: whatever it is, one line at a time reaches the user, and the
 * timeline gets no line that is two.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>

#include "node_helper/wire/wire_message.h"
#include "step_launcher/leader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request request = { .submit_dir = "/" };
static struct output output;
static struct timeline timeline = { .fd = -1 };
static struct leader leader = { .request = &request, .output = &output, .timeline = &timeline };

static void on_over(void *arg) {
    (void)arg;
}

static void begin(void) {
    struct event_base *base = event_base_new();
    int null = open("/dev/null", O_WRONLY);

    leader.on_over = on_over;
    if (base == NULL || !output_init(&output, base, null, null) || !leader_begin(&leader, base, NULL, "n1")) {
        abort();
    }
    timeline.fd = null; /* no file: each object is tried */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct wire_arena arena;
    struct wire_message message;

    if (leader.tick == NULL) {
        begin();
    }
    if (wire_message_decode(data, size, &arena, &message)) {
        leader.is_over = false;
        timeline.has_failed = false;
        leader_on_message(&leader, &message);
    }
    return 0;
}
