/* Letters become 1 to 26, the apostrophe 27, ends of words 0; words with anything else are left out. See data.h. */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int symbol_of(char c) {
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 1;
    }
    if (c >= 'A' && c <= 'Z') {
        return c - 'A' + 1;
    }
    return c == '\'' ? 27 : -1;
}

static void add_word(struct data *data, const char *word, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (symbol_of(word[i]) < 0) {
            return;
        }
    }
    for (size_t i = 0; i < length; i++) {
        data->symbols[data->count++] = (uint8_t)symbol_of(word[i]);
    }
    data->symbols[data->count++] = 0;
}

bool data_load(struct data *ret_data, const char *path) {
    char line[256];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "charlm: %s: %s (a word list, one word a line; Debian: wamerican)\n", path, strerror(errno));
        return false;
    }
    fseek(file, 0, SEEK_END);
    *ret_data = (struct data){ .symbols = malloc((size_t)ftell(file) + 2) };
    rewind(file);
    while (ret_data->symbols && fgets(line, sizeof(line), file)) {
        size_t length = strcspn(line, "\r\n");
        if (length > 0) {
            add_word(ret_data, line, length);
        }
    }
    fclose(file);
    if (ret_data->count <= CONTEXT) {
        fprintf(stderr, "charlm: %s has no words\n", path);
        return false;
    }
    return true;
}

void data_free(struct data *data) {
    free(data->symbols);
}

struct sample data_draw(const struct data *data, struct random *random) {
    struct sample sample;
    size_t place = CONTEXT + random_next(random) % (data->count - CONTEXT);
    memcpy(sample.context, &data->symbols[place - CONTEXT], CONTEXT);
    sample.next = data->symbols[place];
    return sample;
}
