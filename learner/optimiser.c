/*
 * The optimisers' single steps. The linear part is FTRL-proximal as in the paper (McMahan 2013): the sign of z decides towards which
 * side the weight is shrunk. Factors are AdaGrad's, with 1 added to the root so that the first steps are no leaps.
 */
#include "internal.h"

#include <math.h>

enum { BLOCK = 16 };

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

/*
 * The same for many at once. Each number is rounded as one after the other would round it, whatever the processor does at a time: no
 * product and sum become one (CMakeLists.txt), and square roots and quotients are exact.
 */
static inline __attribute__((always_inline)) void step_all(const struct learner_optimiser *optimiser, double *restrict z,
                                                           double *restrict n, double *restrict w, double gradient)
{
    double square = gradient * gradient, alpha = optimiser->alpha, beta = optimiser->beta, l1 = optimiser->l1;
    double l2 = optimiser->l2;

    for (int i = 0; i < BLOCK; i++) {
        double next_n = n[i] + square, root = sqrt(n[i]), next = sqrt(next_n);
        double next_z = z[i] + gradient - (next - root) / alpha * w[i];
        double size = fabs(next_z) - l1;

        size = size > 0 ? size : 0;
        size /= (beta + next) / alpha + l2;
        z[i] = next_z;
        n[i] = next_n;
        w[i] = next_z > 0 ? -size : size;
    }
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void step_wide(const struct learner_optimiser *optimiser, double *restrict z,
                                                      double *restrict n, double *restrict w, double gradient)
{
    step_all(optimiser, z, n, w, gradient);
}
#endif

static void step_block(const struct learner_optimiser *optimiser, double *restrict z, double *restrict n, double *restrict w,
                       double gradient)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        step_wide(optimiser, z, n, w, gradient);
        return;
    }
#endif
    step_all(optimiser, z, n, w, gradient);
}

void learner_ftrl__steps(const struct learner_optimiser *optimiser, struct learner_weight *const *weights, int count,
                         double gradient)
{
    double z[BLOCK] = {0}, n[BLOCK] = {0}, w[BLOCK] = {0};

    for (int from = 0; from < count; from += BLOCK) {
        int some = count - from < BLOCK ? count - from : BLOCK;

        for (int i = 0; i < some; i++) {
            z[i] = (double)weights[from + i]->z;
            n[i] = (double)weights[from + i]->n;
            w[i] = (double)weights[from + i]->w;
        }
        step_block(optimiser, z, n, w, gradient);
        for (int i = 0; i < some; i++)
            *weights[from + i] = (struct learner_weight){.z = (float)z[i], .n = (float)n[i], .w = (float)w[i]};
    }
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
