/*
 * The value of --ckptless: one table says which keys there are, of what kind, and between which bounds; the same table
 * gives the help. Every refusal is one line that names the key, the value, and what would be right. Knows no Slurm.
 */
#include "node_helper/wire/wire_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node_helper/wire/wire_message.h"

#define ITEM_BYTES_MAX 1200u /* "key=value", with the NUL */
#define TYPO_DISTANCE_MAX 2u /* edits between an unknown key and the one that was meant */
#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)

enum kind {
    KIND_OFF,
    KIND_COUNT,
    KIND_DURATION,
    KIND_PARK,
    KIND_RANK_OUTPUT,
    KIND_BATCH_LOST,
    KIND_PATH,
    KIND_NAME,
    KIND_FIXED
};

struct key {
    const char *name;
    enum kind kind;
    uint64_t min, max; /* COUNT: the number; DURATION: ms; PATH, NAME: max characters */
    size_t offset;     /* of the member */
    const char *right; /* what a refusal names; FIXED: the only value of this version */
    const char *help;
};

#define MEMBER(name) offsetof(struct wire_settings, name)

static const struct key keys[] = {
    { "spares", KIND_COUNT, 0, WIRE_NODES_MAX - 1, MEMBER(spares), "a number of nodes from 0 to 8191",
      "spares  0  nodes  0 to 8191  user  nodes on top of -N that take the place of lost ones" },
    { "ranks", KIND_COUNT, 1, WIRE_SLOTS_PER_NODE_MAX, MEMBER(ranks), "a number of ranks from 1 to 1024",
      "ranks  1  ranks  1 to 1024  user  ranks in each task: N nodes of T tasks are N * T * ranks ranks" },
    { "rank-output", KIND_RANK_OUTPUT, 0, 0, MEMBER(rank_output), "task or file",
      "rank-output  task  -  task, file  user  where a rank writes: as its task, or into a file of its own in "
      "log-dir" },
    { "reserve", KIND_COUNT, 0, WIRE_NODES_MAX - 1, MEMBER(reserve), "a number of nodes from 0 to 8191",
      "reserve  0  nodes  0 to 8191  user  nodes of -N that are set aside as spares" },
    { "park", KIND_PARK, 0, 0, MEMBER(park), "auto, cold or warm",
      "park  auto  -  auto, cold, warm  user  how spares wait: before exec (cold), inside ckptless_init (warm)" },
    { "respawn", KIND_COUNT, 0, 1000, MEMBER(respawn), "a number from 0 to 1000",
      "respawn  3  starts  0 to 1000  user  starts in place without a commit in between before a spare is taken" },
    { "restarts", KIND_COUNT, 1, 1000000, MEMBER(restarts), "a number from 1 to 1000000",
      "restarts  10  recoveries  1 to 1000000  user  recoveries without progress before giving up with exit code 93" },
    { "heartbeat", KIND_DURATION, 10, MINUTE, MEMBER(heartbeat_ms), "a duration from 10ms to 1m",
      "heartbeat  100ms  duration  10ms to 1m  user  how often each node tells the leader that it lives" },
    { "dead-after", KIND_DURATION, 50, 10 * MINUTE, MEMBER(dead_after_ms), "a duration from 50ms to 10m",
      "dead-after  500ms  duration  50ms to 10m  user  silence after which a node is lost; at least twice the "
      "heartbeat" },
    { "grace", KIND_DURATION, 100, HOUR, MEMBER(grace_ms), "a duration from 100ms to 1h",
      "grace  10s  duration  100ms to 1h  user  a survivor must come to recover within it" },
    { "launch-timeout", KIND_DURATION, SECOND, HOUR, MEMBER(launch_timeout_ms), "a duration from 1s to 1h",
      "launch-timeout  1m  duration  1s to 1h  user  every node must report in within it" },
    { "log-dir", KIND_PATH, 1, 1023, MEMBER(log_dir), "a path of 1 to 1023 characters",
      "log-dir  -  path  1 to 1023 characters  user  where the JSON lines file goes; default: the submit directory" },
    { "interface", KIND_NAME, 1, 63, MEMBER(interface), "a network interface's name of 1 to 63 characters",
      "interface  -  name  1 to 63 characters  user  network interface of the state transfers; default: the "
      "provider's" },
    { "standby", KIND_FIXED, 0, 0, 0, "off", "standby  off  -  off  user  a second program waits beside each rank" },
    { "hang", KIND_FIXED, 0, 0, 0, "off", "hang  off  -  off  user  how a rank that hangs is found" },
    { "redundancy", KIND_FIXED, 0, 0, 0, "replica",
      "redundancy  replica  -  replica  user  where copies of the state are" },
    { "verify-every", KIND_FIXED, 0, 0, 0, "0",
      "verify-every  0  -  0  user  steps between two comparisons of the copies" },
    { "health-check", KIND_FIXED, 0, 0, 0, "off", "health-check  off  -  off  user  a program that judges nodes" },
    { "metrics", KIND_FIXED, 0, 0, 0, "off", "metrics  off  -  off  user  numbers for a monitoring system" },
    { "on-exhausted", KIND_FIXED, 0, 0, 0, "fail",
      "on-exhausted  fail  -  fail  user  what follows when no spare is left" },
    { "batch-lost", KIND_BATCH_LOST, 0, 0, MEMBER(batch_lost), "fail or complete",
      "batch-lost  fail  -  fail, complete  user  how a job ends whose batch script was lost with its node" },
    { "off", KIND_OFF, 0, 0, MEMBER(off), "off, alone and without a value",
      "off  -  -  alone  user  the step runs as if the option had not been given" },
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* The line may show what the user wrote: it must stay one line. */
static void tidy_line(char *line) {
    for (; *line != '\0'; line++) {
        if ((unsigned char)*line < 0x20 || *line == 0x7f) {
            *line = '?';
        }
    }
}

#define REFUSE(...) (snprintf(ret_error, error_capacity, __VA_ARGS__), tidy_line(ret_error), false)

/* Edits (insert, delete, replace) between two words; more than 31 characters count as far away. */
static uint32_t edit_distance(const char *a, const char *b) {
    uint32_t row[33];
    size_t a_length = strlen(a), b_length = strlen(b);

    if (a_length > 31 || b_length > 31) {
        return UINT32_MAX;
    }
    for (uint32_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; i <= a_length; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b_length; j++) {
            uint32_t best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[b_length];
}

static bool refuse_unknown(const char *name, char *ret_error, size_t error_capacity) {
    const char *nearest = NULL;
    uint32_t nearest_distance = TYPO_DISTANCE_MAX + 1;

    for (size_t i = 0; i < KEY_COUNT; i++) {
        uint32_t distance = edit_distance(name, keys[i].name);
        if (distance < nearest_distance && distance < strlen(keys[i].name)) {
            nearest = keys[i].name;
            nearest_distance = distance;
        }
    }
    if (nearest != NULL) {
        return REFUSE("%s: no such key; did you mean %s?", name, nearest);
    }
    return REFUSE("%s: no such key; there are spares, reserve, ranks, rank-output, park, respawn, restarts, heartbeat, "
                  "dead-after, grace, launch-timeout, log-dir, interface, off",
                  name);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool parse_count(const char *text, uint64_t *ret_value) {
    uint64_t value = 0;
    size_t i = 0;

    for (; is_digit(text[i]) && i < 18; i++) {
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_value = value;
    return i > 0 && text[i] == '\0';
}

enum duration_result { DURATION_OK, DURATION_MALFORMED, DURATION_BARE, DURATION_TOO_FINE };

/* "500ms", "0.5s", "2m", "1h": digits, at most six of them after a point, and a unit; a whole number of ms. */
static enum duration_result parse_duration(const char *text, uint64_t *ret_ms) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = { { "ms", 1 }, { "s", SECOND }, { "m", MINUTE }, { "h", HOUR } };
    const uint64_t scale = 1000000;
    uint64_t millionths = 0, weight = scale;
    size_t i = 0;

    for (; is_digit(text[i]); i++) {
        if (i >= 9) {
            return DURATION_MALFORMED;
        }
        millionths = millionths * 10 + (uint64_t)(text[i] - '0');
    }
    if (i == 0) {
        return DURATION_MALFORMED;
    }
    millionths *= scale;
    if (text[i] == '.') {
        if (!is_digit(text[++i])) {
            return DURATION_MALFORMED;
        }
        for (; is_digit(text[i]); i++) {
            weight /= 10;
            if (weight == 0) {
                return DURATION_TOO_FINE;
            }
            millionths += weight * (uint64_t)(text[i] - '0');
        }
    }
    if (text[i] == '\0') {
        return DURATION_BARE;
    }
    for (size_t unit = 0; unit < sizeof(units) / sizeof(units[0]); unit++) {
        if (strcmp(text + i, units[unit].name) != 0) {
            continue;
        }
        if (millionths > UINT64_MAX / units[unit].ms) {
            return DURATION_MALFORMED;
        }
        *ret_ms = millionths * units[unit].ms / scale;
        return millionths * units[unit].ms % scale == 0 ? DURATION_OK : DURATION_TOO_FINE;
    }
    return DURATION_MALFORMED;
}

static bool set_duration(const struct key *key, const char *value, void *member, char *ret_error,
                         size_t error_capacity) {
    uint64_t ms = 0;

    switch (parse_duration(value, &ms)) {
    case DURATION_BARE:
        return REFUSE("%s=%s: a duration needs a unit: ms, s, m or h, such as %sms", key->name, value, value);
    case DURATION_TOO_FINE:
        return REFUSE("%s=%s: must be a whole number of milliseconds", key->name, value);
    case DURATION_MALFORMED:
        return REFUSE("%s=%s: must be %s", key->name, value, key->right);
    case DURATION_OK:
        break;
    }
    if (ms < key->min || ms > key->max) {
        return REFUSE("%s=%s: must be %s", key->name, value, key->right);
    }
    *(uint64_t *)member = ms;
    return true;
}

static bool set_choice(const struct key *key, const char *value, void *member, char *ret_error, size_t error_capacity) {
    static const char *const parks[] = {
        [WIRE_PARK_AUTO] = "auto", [WIRE_PARK_COLD] = "cold", [WIRE_PARK_WARM] = "warm", NULL
    };
    static const char *const outputs[] = { [WIRE_RANK_OUTPUT_TASK] = "task", [WIRE_RANK_OUTPUT_FILE] = "file", NULL };
    static const char *const ends[] = {
        [WIRE_BATCH_LOST_FAIL] = "fail", [WIRE_BATCH_LOST_COMPLETE] = "complete", NULL
    };
    const char *const *names = key->kind == KIND_PARK ? parks : key->kind == KIND_BATCH_LOST ? ends : outputs;

    for (uint32_t i = 0; names[i] != NULL; i++) {
        if (strcmp(value, names[i]) == 0) {
            memcpy(member, &i, sizeof(i)); /* an enum that begins at 0 */
            return true;
        }
    }
    return REFUSE("%s=%s: must be %s", key->name, value, key->right);
}

/* Characters that a path or an interface's name may hold; paths are the user's, but must fit a line. */
static bool text_allowed(enum kind kind, const char *text) {
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f || (kind == KIND_NAME && (*text == '/' || *text == ' '))) {
            return false;
        }
    }
    return true;
}

static bool set_value(const struct key *key, const char *value, struct wire_settings *settings, char *ret_error,
                      size_t error_capacity) {
    void *member = (char *)settings + key->offset;
    uint64_t number = 0;

    switch (key->kind) {
    case KIND_OFF:
        return REFUSE("off=%s: off takes no value", value);
    case KIND_COUNT:
        if (!parse_count(value, &number) || number < key->min || number > key->max) {
            return REFUSE("%s=%s: must be %s", key->name, value, key->right);
        }
        *(uint32_t *)member = (uint32_t)number;
        return true;
    case KIND_DURATION:
        return set_duration(key, value, member, ret_error, error_capacity);
    case KIND_PARK:
    case KIND_RANK_OUTPUT:
    case KIND_BATCH_LOST:
        return set_choice(key, value, member, ret_error, error_capacity);
    case KIND_FIXED:
        return strcmp(value, key->right) == 0 || REFUSE("%s=%.200s: not in this version yet, which has %s=%s only",
                                                        key->name, value, key->name, key->right);
    case KIND_PATH:
    case KIND_NAME:
        break;
    }
    size_t length = strlen(value);
    if (length < key->min || length > key->max || !text_allowed(key->kind, value)) {
        return REFUSE("%s=%.200s: must be %s", key->name, value, key->right);
    }
    memcpy(member, value, length + 1);
    return true;
}

/* One "key=value", "off" or a bare number; `item` is taken apart. */
static bool parse_item(char *item, struct wire_settings *settings, bool *seen, char *ret_error, size_t error_capacity) {
    char *value = strchr(item, '=');
    const char *name = item;

    if (item[0] == '\0') {
        return REFUSE("empty item: write key=value,key=value");
    }
    if (value != NULL) {
        *value++ = '\0';
    } else if (is_digit(item[0])) {
        name = "spares";
        value = item;
    }
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(name, keys[i].name) != 0) {
            continue;
        }
        if (seen[i]) {
            return REFUSE("%s: given twice", name);
        }
        seen[i] = true;
        if (value == NULL && keys[i].kind == KIND_OFF) {
            settings->off = true;
            return true;
        }
        if (value == NULL || value[0] == '\0') {
            return REFUSE("%s: needs a value: %s", name, keys[i].right);
        }
        return set_value(&keys[i], value, settings, ret_error, error_capacity);
    }
    return refuse_unknown(name, ret_error, error_capacity);
}

static bool check_pairs(const struct wire_settings *settings, uint32_t item_count, char *ret_error,
                        size_t error_capacity) {
    if (settings->off && item_count > 1) {
        return REFUSE("off: must stand alone");
    }
    if (wire_settings_spare_nodes(settings) >= WIRE_NODES_MAX) {
        return REFUSE("spares=%u and reserve=%u: together at most %u", settings->spares, settings->reserve,
                      WIRE_NODES_MAX - 1);
    }
    if (settings->heartbeat_ms * 2 > settings->dead_after_ms) {
        return REFUSE("heartbeat=%" PRIu64 "ms does not fit dead-after=%" PRIu64
                      "ms: dead-after must be at least twice the heartbeat",
                      settings->heartbeat_ms, settings->dead_after_ms);
    }
    return true;
}

bool wire_settings_parse(const char *text, struct wire_settings *ret_settings, char *ret_error, size_t error_capacity) {
    bool seen[KEY_COUNT] = { false };
    uint32_t item_count = 0;
    char item[ITEM_BYTES_MAX];
    char discarded[2];

    if (error_capacity == 0) {
        ret_error = discarded;
        error_capacity = sizeof(discarded);
    }
    ret_error[0] = '\0';
    *ret_settings = (struct wire_settings){ .ranks = 1,
                                            .respawn = 3,
                                            .restarts = 10,
                                            .heartbeat_ms = 100,
                                            .dead_after_ms = 500,
                                            .grace_ms = 10 * SECOND,
                                            .launch_timeout_ms = MINUTE };
    if (text == NULL || text[0] == '\0') {
        return true;
    }
    for (;;) {
        size_t length = strcspn(text, ",");
        if (length >= sizeof(item)) {
            return REFUSE("%.60s...: longer than %u characters", text, ITEM_BYTES_MAX - 1);
        }
        memcpy(item, text, length);
        item[length] = '\0';
        if (!parse_item(item, ret_settings, seen, ret_error, error_capacity)) {
            return false;
        }
        item_count++;
        if (text[length] == '\0') {
            break;
        }
        text += length + 1;
    }
    return check_pairs(ret_settings, item_count, ret_error, error_capacity);
}

uint32_t wire_settings_spare_nodes(const struct wire_settings *settings) {
    return settings->spares + settings->reserve;
}

const char *wire_settings_help(uint32_t index) {
    return index < KEY_COUNT ? keys[index].help : NULL;
}
