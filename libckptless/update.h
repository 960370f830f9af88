/*
 * Telling the helper of the first commit in a world.
 */
#ifndef CKPTLESS_UPDATE_H
#define CKPTLESS_UPDATE_H

struct ckptless;

/* Returns when the helper has been told of this world's first commit, if there was one. */
void update_flush(struct ckptless *ctx);

#endif
