/* The word list as one text of symbols, and samples out of it. */
#ifndef CHARLM_DATA_H
#define CHARLM_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "model.h"
#include "random.h"

struct data {
    uint8_t *symbols; /* 0: end of a word */
    size_t count;
};

/* One word a line. False: it cannot be read or has no words; a line on stderr says so. */
bool data_load(struct data *ret_data, const char *path);
void data_free(struct data *data);
/* A random place in the text: what stands before it, and what comes next. */
struct sample data_draw(const struct data *data, struct random *random);

#endif
