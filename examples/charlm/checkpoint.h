/* The program's own long-term copy on disk: ckptless does not need it as long as one rank lives. */
#ifndef CHARLM_CHECKPOINT_H
#define CHARLM_CHECKPOINT_H

#include <stdbool.h>

#include "model.h"
#include "random.h"

/* Writes beside `path`, then renames: a crash leaves the old one. False: a line on stderr says why. */
bool checkpoint_save(const char *path, uint64_t step, const struct model *model, const struct random *random);
/* False: there is none, or (with a line on stderr) it is damaged; the model is then as before. */
bool checkpoint_load(const char *path, uint64_t *ret_step, struct model *ret_model, struct random *ret_random);

#endif
