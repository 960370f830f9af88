/*
 * The lines by which a keeper hands a step to the helper it starts: one table of keys serves both directions, every
 * key stands exactly once. Knows no pipe and no process.
 */
#include "node_helper/wire/wire_launch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum kind { KIND_U32, KIND_U16, KIND_TEXT, KIND_TOKEN };

struct field {
    const char *key;
    enum kind kind;
    size_t offset;
    size_t bytes; /* of the member */
};

#define FIELD(kind, member)                                                                                            \
    { #member, kind, offsetof(struct wire_launch, member), sizeof(((struct wire_launch *)0)->member) }

static const struct field fields[] = {
    FIELD(KIND_U32, job),
    FIELD(KIND_U32, step),
    FIELD(KIND_U32, node),
    FIELD(KIND_U32, node_count),
    FIELD(KIND_U32, task_count),
    FIELD(KIND_U32, stepd_pid),
    FIELD(KIND_U32, predecessor),
    FIELD(KIND_U32, kill_on_bad_exit),
    FIELD(KIND_U32, wait_s),
    FIELD(KIND_U16, launcher_port),
    FIELD(KIND_TEXT, launcher_address),
    FIELD(KIND_TEXT, host),
    FIELD(KIND_TOKEN, token),
    FIELD(KIND_TEXT, keepers),
    FIELD(KIND_TEXT, secret),
    FIELD(KIND_TEXT, munge_socket),
    FIELD(KIND_TEXT, option),
    FIELD(KIND_TEXT, directory),
    FIELD(KIND_TEXT, user_master_addr),
    FIELD(KIND_TEXT, user_master_port),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))
#define VALUE_BYTES_MAX (WIRE_TEXT_BYTES * 2) /* of the longest member, with the NUL */

static bool all_hex(const char *text, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (memchr("0123456789abcdef", text[i], 16) == NULL) {
            return false;
        }
    }
    return true;
}

/* The value of a member as text; false when it cannot stand in a line. */
static bool format_value(const struct field *field, const void *member, char *ret_value) {
    switch (field->kind) {
    case KIND_U32:
        snprintf(ret_value, VALUE_BYTES_MAX, "%" PRIu32, *(const uint32_t *)member);
        return true;
    case KIND_U16:
        snprintf(ret_value, VALUE_BYTES_MAX, "%" PRIu16, *(const uint16_t *)member);
        return true;
    case KIND_TOKEN:
    case KIND_TEXT:
        break;
    }
    size_t length = strnlen(member, field->bytes);
    if (length == field->bytes || memchr(member, '\n', length) != NULL) {
        return false;
    }
    memcpy(ret_value, member, length + 1);
    return field->kind != KIND_TOKEN || (length == WIRE_TOKEN_HEX - 1 && all_hex(ret_value, length));
}

size_t wire_launch_format(const struct wire_launch *launch, char *ret_text, size_t capacity) {
    size_t length = 0;

    for (size_t i = 0; i < FIELD_COUNT; i++) {
        char value[VALUE_BYTES_MAX];
        if (!format_value(&fields[i], (const char *)launch + fields[i].offset, value)) {
            return 0;
        }
        int count = snprintf(ret_text + length, capacity - length, "%s=%s\n", fields[i].key, value);
        if (count < 0 || (size_t)count >= capacity - length) {
            return 0;
        }
        length += (size_t)count;
    }
    return length <= WIRE_LAUNCH_BYTES_MAX ? length : 0;
}

static bool parse_number(const char *text, size_t length, uint32_t bound, uint32_t *ret_value) {
    uint64_t value = 0;

    if (length == 0 || length > 10) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_value = (uint32_t)value;
    return value <= bound;
}

static bool parse_value(const struct field *field, const char *text, size_t length, void *ret_member) {
    uint32_t number = 0;

    switch (field->kind) {
    case KIND_U32:
        return parse_number(text, length, UINT32_MAX, ret_member);
    case KIND_U16:
        if (!parse_number(text, length, UINT16_MAX, &number)) {
            return false;
        }
        *(uint16_t *)ret_member = (uint16_t)number;
        return true;
    case KIND_TOKEN:
        if (length != WIRE_TOKEN_HEX - 1 || !all_hex(text, length)) {
            return false;
        }
        break;
    case KIND_TEXT:
        if (length >= field->bytes || memchr(text, '\0', length) != NULL) {
            return false;
        }
        break;
    }
    memcpy(ret_member, text, length);
    ((char *)ret_member)[length] = '\0';
    return true;
}

/* Index of the field that the line names; FIELD_COUNT: none. */
static size_t find_field(const char *key, size_t length) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strlen(fields[i].key) == length && memcmp(fields[i].key, key, length) == 0) {
            return i;
        }
    }
    return FIELD_COUNT;
}

bool wire_launch_parse(const char *text, size_t bytes, struct wire_launch *ret_launch) {
    const char *end = text + bytes;
    bool seen[FIELD_COUNT] = { false };
    size_t seen_count = 0;

    memset(ret_launch, 0, sizeof(*ret_launch));
    if (bytes > WIRE_LAUNCH_BYTES_MAX) {
        return false;
    }
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *equals = newline == NULL ? NULL : memchr(text, '=', (size_t)(newline - text));
        if (equals == NULL) {
            return false;
        }
        size_t index = find_field(text, (size_t)(equals - text));
        if (index == FIELD_COUNT || seen[index] ||
            !parse_value(&fields[index], equals + 1, (size_t)(newline - equals - 1),
                         (char *)ret_launch + fields[index].offset)) {
            return false;
        }
        seen[index] = true;
        seen_count++;
        text = newline + 1;
    }
    return seen_count == FIELD_COUNT;
}
