/* Forward, backward, Adam. Sums run in one order, so that the bits depend on nothing but the numbers; see model.h. */
#include "model.h"

#include <math.h>
#include <string.h>

#include "random.h"

/* ret = bias + in * matrix, rows of the matrix being inputs. */
static void multiply(const float *in, int rows, const float *matrix, int columns, const float *bias, float *ret) {
    memcpy(ret, bias, (size_t)columns * sizeof(float));
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            ret[j] += in[i] * matrix[i * columns + j];
        }
    }
}

/* Backward through multiply(): adds to the matrix's and bias's gradients, and gives the input's. */
static void multiply_back(const float *in, int rows, const float *matrix, int columns, const float *slope,
                          float *matrix_gradient, float *bias_gradient, float *ret_in_slope) {
    for (int j = 0; j < columns; j++) {
        bias_gradient[j] += slope[j];
    }
    for (int i = 0; i < rows; i++) {
        float sum = 0;
        for (int j = 0; j < columns; j++) {
            matrix_gradient[i * columns + j] += in[i] * slope[j];
            sum += matrix[i * columns + j] * slope[j];
        }
        ret_in_slope[i] = sum;
    }
}

static void activate(float *values, int count) {
    for (int i = 0; i < count; i++) {
        values[i] = tanhf(values[i]);
    }
}

/* slope of tanh's input from that of its output */
static void activate_back(const float *values, int count, float *slope) {
    for (int i = 0; i < count; i++) {
        slope[i] *= 1.0f - values[i] * values[i];
    }
}

/* Turns scores into the slope of the cross-entropy; the answer is the loss. */
static float softmax_loss(float *scores, int next) {
    float top = scores[0], sum = 0;
    for (int i = 1; i < SYMBOLS; i++) {
        top = scores[i] > top ? scores[i] : top;
    }
    for (int i = 0; i < SYMBOLS; i++) {
        scores[i] = expf(scores[i] - top);
        sum += scores[i];
    }
    float loss = logf(sum) - logf(scores[next]);
    for (int i = 0; i < SYMBOLS; i++) {
        scores[i] /= sum;
    }
    scores[next] -= 1.0f;
    return loss;
}

void model_learn(const struct weights *weights, const struct sample *sample, struct gradient *gradient) {
    float input[INPUT], first[HIDDEN], second[HIDDEN], output[SYMBOLS];
    float input_slope[INPUT], first_slope[HIDDEN], second_slope[HIDDEN];
    struct weights *sum = &gradient->weights;

    for (int i = 0; i < CONTEXT; i++) {
        memcpy(&input[i * EMBEDDING], weights->embedding[sample->context[i]], sizeof(weights->embedding[0]));
    }
    multiply(input, INPUT, weights->input[0], HIDDEN, weights->input_bias, first);
    activate(first, HIDDEN);
    multiply(first, HIDDEN, weights->hidden[0], HIDDEN, weights->hidden_bias, second);
    activate(second, HIDDEN);
    multiply(second, HIDDEN, weights->output[0], SYMBOLS, weights->output_bias, output);
    gradient->loss += softmax_loss(output, sample->next);

    multiply_back(second, HIDDEN, weights->output[0], SYMBOLS, output, sum->output[0], sum->output_bias, second_slope);
    activate_back(second, HIDDEN, second_slope);
    multiply_back(first, HIDDEN, weights->hidden[0], HIDDEN, second_slope, sum->hidden[0], sum->hidden_bias,
                  first_slope);
    activate_back(first, HIDDEN, first_slope);
    multiply_back(input, INPUT, weights->input[0], HIDDEN, first_slope, sum->input[0], sum->input_bias, input_slope);
    for (int i = 0; i < INPUT; i++) {
        sum->embedding[sample->context[i / EMBEDDING]][i % EMBEDDING] += input_slope[i];
    }
}

static void fill(struct random *random, float *values, int count, float range) {
    for (int i = 0; i < count; i++) {
        values[i] = range * (2.0f * random_unit(random) - 1.0f);
    }
}

void model_init(struct model *model) {
    struct random random = { .state = 1 };
    memset(model, 0, sizeof(*model));
    fill(&random, model->weights.embedding[0], SYMBOLS * EMBEDDING, 0.5f);
    fill(&random, model->weights.input[0], INPUT * HIDDEN, sqrtf(3.0f / INPUT));
    fill(&random, model->weights.hidden[0], HIDDEN * HIDDEN, sqrtf(3.0f / HIDDEN));
    fill(&random, model->weights.output[0], HIDDEN * SYMBOLS, sqrtf(3.0f / HIDDEN));
}

/* D. Kingma, J. Ba: Adam, arXiv:1412.6980, algorithm 1. */
void model_apply(struct model *model, const struct gradient *gradient, uint32_t samples, uint64_t step) {
    const float rate = 1e-3f, keep_mean = 0.9f, keep_variance = 0.999f, epsilon = 1e-8f;
    const size_t count = sizeof(struct weights) / sizeof(float);
    float *weights = (float *)&model->weights, *mean = (float *)&model->mean, *variance = (float *)&model->variance;
    const float *sum = (const float *)&gradient->weights;
    float mean_scale = 1.0f / (1.0f - powf(keep_mean, (float)step));
    float variance_scale = 1.0f / (1.0f - powf(keep_variance, (float)step));
    for (size_t i = 0; i < count; i++) {
        float slope = sum[i] / (float)samples;
        mean[i] = keep_mean * mean[i] + (1.0f - keep_mean) * slope;
        variance[i] = keep_variance * variance[i] + (1.0f - keep_variance) * slope * slope;
        weights[i] -= rate * mean[i] * mean_scale / (sqrtf(variance[i] * variance_scale) + epsilon);
    }
}

uint64_t model_digest(const struct model *model) {
    const uint8_t *bytes = (const uint8_t *)model;
    uint64_t digest = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(*model); i++) {
        digest = (digest ^ bytes[i]) * 0x100000001b3u;
    }
    return digest;
}
