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

/* The whole file as text, ended by NUL; NULL: it cannot be read. */
static char *read_text(const char *path) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    if (getdelim(&text, &bytes, '\0', file) < 0) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* Appends the word and its end; one with other characters than letters is left out. */
static void add_word(struct data *data, const char *word, size_t length) {
    size_t count = data->count;
    for (size_t i = 0; i < length; i++) {
        int symbol = symbol_of(word[i]);
        if (symbol < 0) {
            return;
        }
        data->symbols[count++] = (uint8_t)symbol;
    }
    data->symbols[count++] = 0;
    data->count = count;
}

bool data_load(struct data *ret_data, const char *path) {
    char *text = read_text(path);
    if (text == NULL) {
        fprintf(stderr, "charlm: %s: %s (a word list, one word a line; Debian: wamerican)\n", path, strerror(errno));
        return false;
    }
    *ret_data = (struct data){ .symbols = malloc(strlen(text) + 1) };
    for (const char *word = text, *end; *word && ret_data->symbols; word = *end ? end + 1 : end) {
        end = strchrnul(word, '\n');
        if (end > word) {
            add_word(ret_data, word, (size_t)(end - word));
        }
    }
    free(text);
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
