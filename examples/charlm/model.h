/*
 * A character-level language model: the last CONTEXT characters, embedded, through two hidden layers, give a guess at
 * the next one. Adam trains it. No sockets, no ckptless: the model does not know that its process may die.
 */
#ifndef CHARLM_MODEL_H
#define CHARLM_MODEL_H

#include <stdint.h>

enum {
    SYMBOLS = 28, /* end of word, a to z, apostrophe */
    CONTEXT = 8,  /* characters that the model sees */
    EMBEDDING = 32,
    HIDDEN = 384,
    INPUT = CONTEXT * EMBEDDING,
};

/* One set of weights; gradients and Adam's moments have the same shape. */
struct weights {
    float embedding[SYMBOLS][EMBEDDING];
    float input[INPUT][HIDDEN];
    float input_bias[HIDDEN];
    float hidden[HIDDEN][HIDDEN];
    float hidden_bias[HIDDEN];
    float output[HIDDEN][SYMBOLS];
    float output_bias[SYMBOLS];
};

/* All that a step starts from, and so all that must survive. */
struct model {
    struct weights weights;
    struct weights mean, variance; /* Adam: of the gradient, and of its square */
};

/* What one rank adds to a step; summed over all ranks before it is applied. */
struct gradient {
    struct weights weights;
    float loss; /* sum of the samples' cross-entropies, nats */
};

struct sample {
    uint8_t context[CONTEXT];
    uint8_t next;
};

/* The same weights on every rank. */
void model_init(struct model *model);
/* Adds one sample's gradient and loss. */
void model_learn(const struct weights *weights, const struct sample *sample, struct gradient *gradient);
/* One step of Adam with the gradients of `samples` samples. step counts from 1. */
void model_apply(struct model *model, const struct gradient *gradient, uint32_t samples, uint64_t step);
/* FNV-1a over the model's bits: two models are the same or they are not. */
uint64_t model_digest(const struct model *model);

#endif
