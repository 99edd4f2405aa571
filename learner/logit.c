/*
 * Logits as double sums in declared order. This file is compiled with -ffp-contract=off: no product and sum become one rounding, so
 * that a copy that does the same in the same order has the same bits.
 */
#include "internal.h"

#include <math.h>

double learner_logit__x(enum learner_transform transform, const struct learner_standard *standard, float value)
{
    double x = (double)value;

    if (!isfinite(x))
        return 0;
    if (transform == LEARNER_LOG)
        x = copysign(log1p(fabs(x)), x);
    x = (x - standard->mean) / standard->scale;
    return x > LEARNER_X_MOST ? LEARNER_X_MOST : x < -LEARNER_X_MOST ? -LEARNER_X_MOST : x;
}

double learner_logit__dot(double sum, const float *weights, size_t stride, const double *x, int count)
{
    for (int i = 0; i < count; i++)
        sum += (double)weights[(size_t)i * stride] * x[i];
    return sum;
}

double learner_logit__sum(double sum, const float *const *weights, int count)
{
    for (int i = 0; i < count; i++) {
        if (weights[i])
            sum += (double)*weights[i];
    }
    return sum;
}

double learner_logit__pairs(const float *const *factors, int count, int width)
{
    double total = 0;

    for (int f = 0; f < width; f++) {
        double sum = 0, squares = 0;

        for (int i = 0; i < count; i++) {
            if (factors[i]) {
                double v = (double)factors[i][f];

                sum += v;
                squares += v * v;
            }
        }
        total += sum * sum - squares;
    }
    return 0.5 * total;
}

double learner_probability(double logit)
{
    logit = logit > LEARNER_LOGIT_MOST ? LEARNER_LOGIT_MOST : logit < -LEARNER_LOGIT_MOST ? -LEARNER_LOGIT_MOST : logit;
    return 1 / (1 + exp(-logit));
}
