/*
 * L1, the learning workload: a million examples of 30 hashed features, 10 fields and 20 crosses of two, in 2^22 weights; the label is
 * drawn from a hidden logistic model over the same features. The intercept and spread are set for a rate of 0.233, and a log loss of the hidden
 * model's own of 0.4055.
 */
#include "draw.h"

#include <freshet/bench.h>

#include <math.h>
#include <stdlib.h>

enum { FIELDS = 10, L1_SEED = 7 };

/* User, item, creator, category, scene, hour, region, device, position, age: how many values each has. */
static const int cardinalities[FIELDS] = {100000, 50000, 5000, 200, 5, 24, 50, 8, 20, 7};
static const uint64_t mask = (UINT64_C(1) << BENCH_L1_BITS) - 1;
static const double hidden_intercept = -1.735, hidden_spread = 0.301;

struct bench_l1 {
    uint64_t state, made, count;
};

struct bench_l1 *bench_l1_new(uint64_t count)
{
    struct bench_l1 *l1 = calloc(1, sizeof *l1);

    if (l1)
        *l1 = (struct bench_l1){.state = L1_SEED, .count = count};
    return l1;
}

void bench_l1_free(struct bench_l1 *l1)
{
    free(l1);
}

/* The log-uniform law: as skewed as Zipf's with exponent 1, without a table. */
static uint64_t draw_value(struct bench_l1 *l1, int field)
{
    return (uint64_t)exp(draw_uniform(&l1->state) * log(cardinalities[field] + 1)) - 1;
}

/* A standard normal weight that belongs to the feature. */
static double hidden_weight(uint64_t feature)
{
    double u = ((double)(draw_mix(feature + 11) >> 11) + 1) / 9007199254740993.0;
    double v = (double)(draw_mix(feature ^ UINT64_C(0x5851f42d4c957f2d)) >> 11) / 9007199254740992.0;

    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

bool bench_l1_next(struct bench_l1 *l1, uint64_t coordinates[BENCH_L1_FEATURES], int *label, double *probability)
{
    uint64_t values[FIELDS];
    double logit = hidden_intercept;
    int at = FIELDS;

    if (l1->made == l1->count)
        return false;
    for (int i = 0; i < FIELDS; i++) {
        values[i] = draw_mix(((uint64_t)i + 1) << 48 | draw_value(l1, i));
        coordinates[i] = values[i] & mask;
    }
    for (int i = 0; at < BENCH_L1_FEATURES; i++) { /* each with its next, and the next but one */
        coordinates[at++] = draw_mix(values[i] ^ (values[(i + 1) % FIELDS] << 1)) & mask;
        coordinates[at++] = draw_mix(values[i] ^ (values[(i + 2) % FIELDS] << 2)) & mask;
    }
    for (int i = 0; i < BENCH_L1_FEATURES; i++)
        logit += hidden_spread * hidden_weight(coordinates[i]);
    *probability = 1 / (1 + exp(-logit));
    *label = draw_uniform(&l1->state) < *probability;
    l1->made++;
    return true;
}
