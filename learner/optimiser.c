/*
 * The optimisers' single steps. The linear part is FTRL-proximal as in the paper (McMahan 2013): the sign of z decides towards which
 * side the weight is shrunk. Factors are AdaGrad's, with 1 added to the root so that the first steps are no leaps.
 */
#include "internal.h"

#include <math.h>

static double weight_of(const struct learner_optimiser *optimiser, double z, double root_n)
{
    double size = fabs(z) - optimiser->l1;

    if (size <= 0)
        return 0;
    size /= (optimiser->beta + root_n) / optimiser->alpha + optimiser->l2;
    return z > 0 ? -size : size;
}

void learner_ftrl__step(const struct learner_optimiser *optimiser, struct learner_weight *weight, double gradient)
{
    double n = weight->n, root = sqrt(n), next = sqrt(n + gradient * gradient);
    double z = weight->z + gradient - (next - root) / optimiser->alpha * weight->w;

    weight->z = (float)z;
    weight->n = (float)(n + gradient * gradient);
    weight->w = (float)weight_of(optimiser, z, next);
}

void learner_ftrl__set(const struct learner_optimiser *optimiser, struct learner_weight *weight, float w)
{
    double z = -(double)w * ((optimiser->beta + sqrt((double)weight->n)) / optimiser->alpha + optimiser->l2);

    weight->z = (float)(w > 0 ? z - optimiser->l1 : w < 0 ? z + optimiser->l1 : 0);
    weight->w = w;
}

double learner_ftrl__variance(const struct learner_optimiser *optimiser, const struct learner_weight *weight)
{
    double known = 1 / ((double)weight->n + 1 / LEARNER_PRIOR_VARIANCE);
    double moving = optimiser->alpha / (optimiser->beta + sqrt((double)weight->n)) / 2;

    return known > moving ? known : moving;
}

void learner_adagrad__step(const struct learner_optimiser *optimiser, float *v, float *sum, double gradient)
{
    double squares = (double)*sum + gradient * gradient;

    *v = (float)((double)*v - optimiser->factor_rate * gradient / (1 + sqrt(squares)));
    *sum = (float)squares;
}
