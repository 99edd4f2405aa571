/*
 * Whether examples look as they used to. Of each dense column and of each task's label there is a distribution of late and one of long,
 * both fading with event time; how far they lie apart is the population stability index: Σ (p − q) ln(p / q) over bins, the usual
 * measure of a score card's drift (Siddiqi 2006: below 0.1 little, above 0.25 much). Values that arrive out of order weigh what
 * their own time gives them, so order does not matter but for rounding.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

enum { ONE_IN_BITS = 3, POSITIVE_BINS = 63, NEGATIVE_BINS = 32, LEAST_EXPONENT = -10, SPAN_BITS_MOST = 64 };

#define EXAMPLES_LEAST 100.0 /* looked at, of either distribution, before anything is said */
#define SMOOTHING 0.5 /* of an example in each bin */

bool learner_drift__init(struct learner_drift *drift, const struct learner_schema *schema)
{
    const int64_t halves_ms[LEARNER_SPANS] = {schema->model->drift_current_ms, schema->model->drift_reference_ms};
    size_t bins = (size_t)schema->dense_count * LEARNER_DRIFT_BINS;

    *drift = (struct learner_drift){.columns = schema->dense_count, .tasks = schema->model->task_count};
    for (int i = 0; i < LEARNER_SPANS; i++) {
        drift->spans[i].half_ms = halves_ms[i];
        drift->spans[i].bins = calloc(bins > 0 ? bins : 1, sizeof *drift->spans[i].bins);
        if (!drift->spans[i].bins)
            return false;
    }
    return true;
}

void learner_drift__fini(struct learner_drift *drift)
{
    for (int i = 0; i < LEARNER_SPANS; i++)
        free(drift->spans[i].bins);
    *drift = (struct learner_drift){0};
}

/* Zero; half octaves from 2^−11 to 2^20, and all beyond; octaves of negative numbers. */
int learner_drift__bin(float value)
{
    int exponent, at;
    float fraction;

    if (value == 0 || !isfinite(value))
        return 0;
    fraction = frexpf(fabsf(value), &exponent);
    at = exponent - LEAST_EXPONENT;
    if (value < 0)
        return 1 + POSITIVE_BINS + (at < 0 ? 0 : at >= NEGATIVE_BINS ? NEGATIVE_BINS - 1 : at);
    at = 2 * at + (fraction >= 0.70710678f);
    return 1 + (at < 0 ? 0 : at >= POSITIVE_BINS ? POSITIVE_BINS - 1 : at);
}

/* What an example of `ms` weighs in the span's sums, which are in units of its base time. */
static double weight_at(const struct learner_span *span, int64_t ms)
{
    return exp2((double)(ms - span->base_ms) / (double)span->half_ms);
}

static void scale_down(struct learner_span *span, const struct learner_drift *drift, int64_t base_ms)
{
    double by = exp2(-(double)(base_ms - span->base_ms) / (double)span->half_ms);

    for (size_t i = 0; i < (size_t)drift->columns * LEARNER_DRIFT_BINS; i++)
        span->bins[i] *= by;
    for (int i = 0; i < drift->tasks; i++) {
        span->labels[i].all *= by;
        span->labels[i].positive *= by;
    }
    span->all *= by;
    span->base_ms = base_ms;
}

static void add(struct learner_span *span, const struct learner_drift *drift, const struct learner_example *example)
{
    double weight;

    if (span->base_ms == 0)
        span->base_ms = example->served_ms;
    if (example->served_ms - span->base_ms > SPAN_BITS_MOST * span->half_ms)
        scale_down(span, drift, example->served_ms);
    weight = weight_at(span, example->served_ms);
    for (int i = 0; i < drift->columns; i++)
        span->bins[(size_t)i * LEARNER_DRIFT_BINS + (size_t)learner_drift__bin(example->dense[i])] += weight;
    span->labels[example->task].all += weight;
    span->labels[example->task].positive += weight * (double)example->label;
    span->all += weight;
}

void learner_drift__add(struct learner_drift *drift, const struct learner_example *example)
{
    if ((example->example_id * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - ONE_IN_BITS) != 0)
        return;
    for (int i = 0; i < LEARNER_SPANS; i++)
        add(&drift->spans[i], drift, example);
    if (example->served_ms > drift->newest_ms)
        drift->newest_ms = example->served_ms;
}

/* ---- what is told ---- */

/* One part of the index: a bin that holds `p` of `all_p` and `q` of `all_q`, smoothed over `count` bins. */
static double part_of(double p, double all_p, double q, double all_q, int count)
{
    double share = (p + SMOOTHING) / (all_p + SMOOTHING * count), before = (q + SMOOTHING) / (all_q + SMOOTHING * count);

    return (share - before) * log(share / before);
}

/* In examples of the newest time. */
static double unit_of(const struct learner_drift *drift, int span)
{
    return 1 / weight_at(&drift->spans[span], drift->newest_ms);
}

static bool is_enough(double current, double reference)
{
    return current >= EXAMPLES_LEAST && reference >= EXAMPLES_LEAST;
}

double learner_drift__column(const struct learner_drift *drift, int column)
{
    const double *late = drift->spans[0].bins + (size_t)column * LEARNER_DRIFT_BINS;
    const double *longer = drift->spans[1].bins + (size_t)column * LEARNER_DRIFT_BINS;
    double unit = unit_of(drift, 0), unit_longer = unit_of(drift, 1), index = 0;
    double all = drift->spans[0].all * unit, all_longer = drift->spans[1].all * unit_longer;
    int count = 0;

    if (!is_enough(all, all_longer))
        return 0;
    for (int i = 0; i < LEARNER_DRIFT_BINS; i++)
        count += late[i] > 0 || longer[i] > 0;
    for (int i = 0; i < LEARNER_DRIFT_BINS; i++) {
        if (late[i] > 0 || longer[i] > 0)
            index += part_of(late[i] * unit, all, longer[i] * unit_longer, all_longer, count);
    }
    return index;
}

struct learner_label_drift learner_drift__label(const struct learner_drift *drift, int task)
{
    const struct learner_labels *late = &drift->spans[0].labels[task], *longer = &drift->spans[1].labels[task];
    double all = late->all * unit_of(drift, 0), all_longer = longer->all * unit_of(drift, 1);
    double positive = late->positive * unit_of(drift, 0), positive_longer = longer->positive * unit_of(drift, 1);
    struct learner_label_drift label = {.rate = late->all > 0 ? late->positive / late->all : 0,
                                        .reference_rate = longer->all > 0 ? longer->positive / longer->all : 0};

    if (is_enough(all, all_longer))
        label.stability = part_of(positive, all, positive_longer, all_longer, 2) +
                          part_of(all - positive, all, all_longer - positive_longer, all_longer, 2);
    return label;
}

/* Keeps the greatest, by insertion: there are few places. */
int learner_drift__greatest(const struct learner_drift *drift, const struct learner_schema *schema,
                            struct learner_column_drift *places, int most)
{
    int count = 0;

    for (int i = 0; i < drift->columns; i++) {
        struct learner_column_drift one = {.column = schema->dense[i], .stability = learner_drift__column(drift, i)};
        int at = count;

        if (one.stability <= 0 || (count == most && one.stability <= places[most - 1].stability))
            continue;
        if (count < most)
            count++;
        else
            at--;
        for (; at > 0 && places[at - 1].stability < one.stability; at--)
            places[at] = places[at - 1];
        places[at] = one;
    }
    return count;
}
