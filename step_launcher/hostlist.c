/*
 * Walks a list of nodes and counts; see hostlist.h. Nothing is stored: the list is short and asked for once.
 */
#include "step_launcher/hostlist.h"

#include <stdio.h>
#include <string.h>

struct walk {
    uint32_t wanted, seen;
    char *ret_name;
    size_t capacity;
};

static void visit(struct walk *walk, const char *head, size_t head_bytes, const char *digits, const char *tail,
                  size_t tail_bytes) {
    if (walk->seen++ == walk->wanted) {
        snprintf(walk->ret_name, walk->capacity, "%.*s%s%.*s", (int)head_bytes, head, digits, (int)tail_bytes, tail);
    }
}

/* Digits at *at, at most nine; moves *at behind them. False: none, or too many. */
static bool read_number(const char **at, const char *end, uint32_t *ret_value, int *ret_width) {
    *ret_value = 0;
    *ret_width = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *ret_width < 10) {
        *ret_value = *ret_value * 10 + (uint32_t)(**at - '0');
        (*ret_width)++;
        (*at)++;
    }
    return *ret_width > 0 && *ret_width < 10;
}

/* One item, [from, to): a name, or one with a bracket of ranges. */
static bool walk_item(struct walk *walk, const char *from, const char *to) {
    const char *open = memchr(from, '[', (size_t)(to - from));
    const char *close = open ? memchr(open, ']', (size_t)(to - open)) : NULL;

    if (open == NULL) {
        visit(walk, from, (size_t)(to - from), "", "", 0);
        return to > from;
    }
    if (close == NULL || memchr(close, '[', (size_t)(to - close)) != NULL) {
        return false;
    }
    for (const char *at = open + 1; at < close; at += at < close && *at == ',' ? 1 : 0) {
        uint32_t first, last;
        int width, last_width;
        if (!read_number(&at, close, &first, &width)) {
            return false;
        }
        last = first;
        if (*at == '-') {
            at++;
            if (!read_number(&at, close, &last, &last_width)) {
                return false;
            }
        }
        if (last < first || last - first > 65535 || (*at != ',' && at != close)) {
            return false;
        }
        for (uint32_t number = first; number <= last; number++) {
            char digits[16];
            snprintf(digits, sizeof(digits), "%0*u", width, number);
            visit(walk, from, (size_t)(open - from), digits, close + 1, (size_t)(to - close - 1));
        }
    }
    return true;
}

bool hostlist_name(const char *list, uint32_t count, uint32_t index, char *ret_name, size_t capacity) {
    struct walk walk = { .wanted = index, .ret_name = ret_name, .capacity = capacity };
    const char *from = list;
    bool inside = false;

    for (const char *at = list;; at++) {
        inside = *at == '[' || (inside && *at != ']');
        if (*at == '\0' || (*at == ',' && !inside)) {
            if (!walk_item(&walk, from, at)) {
                return false;
            }
            from = at + 1;
        }
        if (*at == '\0') {
            return walk.seen == count && index < count;
        }
    }
}
