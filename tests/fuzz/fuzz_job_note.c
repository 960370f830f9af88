/*
 * Any text as the note of a job with spares (first byte even), or as a list of counts of which the first ones are
 * wanted (odd; it says how many): what is accepted reads the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spank_plugin/job_note.h"

#define LIST_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_note(const char *text) {
    struct job_note note, again;
    char value[64];

    if (!job_note_parse(text, &note)) {
        return;
    }
    if (!job_note_format(&note, value, sizeof(value)) || !job_note_parse(value, &again) || note.nodes != again.nodes ||
        note.all_nodes != again.all_nodes || note.tasks != again.tasks || note.all_tasks != again.all_tasks) {
        abort();
    }
    for (size_t i = 0; job_note_name(i) != NULL; i++) {
        (void)job_note_translate(&note, job_note_name(i), text, value, sizeof(value));
    }
}

static void check_counts(const char *text, long nodes) {
    char first[LIST_BYTES], again[LIST_BYTES];

    if (job_note_first_counts(text, nodes, first, sizeof(first)) &&
        (!job_note_first_counts(first, nodes, again, sizeof(again)) || strcmp(first, again) != 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = size > 0 ? malloc(size) : NULL;

    if (text == NULL) {
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 2 == 0) {
        check_note(text);
    } else {
        check_counts(text, data[0] / 2);
    }
    free(text);
    return 0;
}
