/*
 * Words for what the messages carry: names of types, sentences for causes. For reports and logs; nothing is parsed
 * back from them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node_helper/wire/wire_message.h"

const char *wire_type_name(enum wire_type type) {
    static const char *const names[WIRE_TYPE_COUNT] = {
        [WIRE_HELLO] = "HELLO",
        [WIRE_ROSTER] = "ROSTER",
        [WIRE_REFUSE] = "REFUSE",
        [WIRE_REPORT] = "REPORT",
        [WIRE_RESULT] = "RESULT",
        [WIRE_PING] = "PING",
        [WIRE_JOIN] = "JOIN",
        [WIRE_WELCOME] = "WELCOME",
        [WIRE_HEARTBEAT] = "HEARTBEAT",
        [WIRE_HEARTBEAT_ACK] = "HEARTBEAT_ACK",
        [WIRE_LOSS] = "LOSS",
        [WIRE_STOP] = "STOP",
        [WIRE_ARRIVED] = "ARRIVED",
        [WIRE_PLAN] = "PLAN",
        [WIRE_READY] = "READY",
        [WIRE_GO] = "GO",
        [WIRE_RELOADED] = "RELOADED",
        [WIRE_RELOAD_RESULT] = "RELOAD_RESULT",
        [WIRE_COMMITTED] = "COMMITTED",
        [WIRE_FINISHED] = "FINISHED",
        [WIRE_END] = "END",
        [WIRE_WARM] = "WARM",
        [WIRE_ATTACHED] = "ATTACHED",
        [WIRE_ENDING] = "ENDING",
        [WIRE_EVICTED] = "EVICTED",
        [WIRE_TABLE] = "TABLE",
        [WIRE_REGION_QUERY] = "REGION_QUERY",
        [WIRE_REGION_ANSWER] = "REGION_ANSWER",
        [WIRE_ADDRESS] = "ADDRESS",
        [WIRE_GATHER] = "GATHER",
        [WIRE_GATHERED] = "GATHERED",
        [WIRE_STAYS] = "STAYS",
        [WIRE_PRESENT] = "PRESENT",
        [WIRE_VIEW_PREPARE] = "VIEW_PREPARE",
        [WIRE_VIEW_PROMISE] = "VIEW_PROMISE",
        [WIRE_VIEW_ACCEPT] = "VIEW_ACCEPT",
        [WIRE_VIEW_ACCEPTED] = "VIEW_ACCEPTED",
        [WIRE_VIEW_REFUSE] = "VIEW_REFUSE",
        [WIRE_VIEW_DECIDED] = "VIEW_DECIDED",
        [WIRE_SLOT] = "SLOT",
        [WIRE_VISIT] = "VISIT",
        [WIRE_DEAD] = "DEAD",
        [WIRE_USAGE] = "USAGE",
        [WIRE_UNSETTLED] = "UNSETTLED",
        [WIRE_OTHERWISE] = "OTHERWISE",
        [WIRE_ENDED] = "ENDED",
    };

    return (unsigned)type < WIRE_TYPE_COUNT && names[type] != NULL ? names[type] : "UNKNOWN";
}

/* strsignal() is neither thread-safe nor bounded for numbers that a peer may send. */
static const char *signal_words(uint32_t number) {
    const char *words = number > 0 && number <= 64 ? sigdescr_np((int)number) : NULL;

    return words == NULL ? "unknown signal" : words;
}

void wire_cause_describe(uint8_t cause, uint32_t detail, const char *text, char *ret_text, size_t capacity) {
    bool has_text = text != NULL && text[0] != '\0';

    switch (cause) {
    case WIRE_CAUSE_SIGNAL:
        snprintf(ret_text, capacity, "killed by signal %" PRIu32 " (%s)", detail, signal_words(detail));
        break;
    case WIRE_CAUSE_MEMORY:
        snprintf(ret_text, capacity, "killed by signal %" PRIu32 " (%s), out of memory", detail, signal_words(detail));
        break;
    case WIRE_CAUSE_EXIT:
        snprintf(ret_text, capacity, "exited with code %" PRIu32, detail);
        break;
    case WIRE_CAUSE_VANISHED:
        snprintf(ret_text, capacity, "its process is gone");
        break;
    case WIRE_CAUSE_ASKED:
        snprintf(ret_text, capacity, "asked to be replaced%s%s", has_text ? ": " : "", has_text ? text : "");
        break;
    case WIRE_CAUSE_DISCONNECTED:
        snprintf(ret_text, capacity, "closed the descriptors of the library");
        break;
    case WIRE_CAUSE_SILENT:
        snprintf(ret_text, capacity, "no heartbeat for %" PRIu32 " ms", detail);
        break;
    case WIRE_CAUSE_HELPER_DIED:
        snprintf(ret_text, capacity, "its helper died");
        break;
    case WIRE_CAUSE_LATE:
        snprintf(ret_text, capacity, "did not come to recover within %" PRIu32 " ms", detail);
        break;
    case WIRE_CAUSE_PULL_FAILED:
        snprintf(ret_text, capacity, "could not get its state from any holder");
        break;
    case WIRE_CAUSE_RECOVER:
        snprintf(ret_text, capacity, "asked for a recovery without a loss");
        break;
    case WIRE_CAUSE_ABORTED:
        snprintf(ret_text, capacity, "aborted with code %" PRIu32, detail);
        break;
    case WIRE_CAUSE_SIGNALLED:
        snprintf(ret_text, capacity, "ended by signal %" PRIu32 " (%s), which Slurm has sent", detail,
                 signal_words(detail));
        break;
    case WIRE_CAUSE_KEEPER_DIED:
        snprintf(ret_text, capacity, "its keeper died");
        break;
    default:
        snprintf(ret_text, capacity, "unknown cause %u", (unsigned)cause);
        break;
    }
}
