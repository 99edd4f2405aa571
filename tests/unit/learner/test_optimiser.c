#include "fixture.h"

#include <math.h>

static const struct learner_optimiser plain = {.alpha = 0.1, .beta = 1, .factor_rate = 0.05, .admit = 1, .admit_factors = 1};

/* The paper's closed form, in doubles. */
static double closed_form(const struct learner_optimiser *optimiser, double z, double n)
{
    if (fabs(z) <= optimiser->l1)
        return 0;
    return -(z - copysign(optimiser->l1, z)) / ((optimiser->beta + sqrt(n)) / optimiser->alpha + optimiser->l2);
}

static void ftrl_follows_the_closed_form(void **state)
{
    static const double gradients[] = {-0.8, 0.3, 0.5, -0.25, 0.9, -0.05, 0.7, -1.5};
    struct learner_optimiser optimiser = plain;
    struct learner_weight weight = {0};
    double z = 0, n = 0, w = 0;

    (void)state;
    optimiser.l1 = 0.2;
    optimiser.l2 = 0.5;
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) {
        double g = gradients[i], sigma = (sqrt(n + g * g) - sqrt(n)) / optimiser.alpha;

        z += g - sigma * w;
        n += g * g;
        w = closed_form(&optimiser, z, n);
        learner_ftrl__step(&optimiser, &weight, g);
        assert_true(fabs((double)weight.w - w) < 1e-6);
        assert_true(fabs((double)weight.z - z) < 1e-6 && fabs((double)weight.n - n) < 1e-6);
    }
}

/* z = −2, λ1 = 0.5: 1.5 / 30 by the paper; shrinking the other way would give 0.083. */
static void a_weight_shrinks_towards_zero_from_either_side(void **state)
{
    struct learner_optimiser optimiser = plain;
    struct learner_weight weight = {0};

    (void)state;
    optimiser.l1 = 0.5;
    learner_ftrl__step(&optimiser, &weight, -2);
    assert_true(fabs((double)weight.w - 0.05) < 1e-7);
    weight = (struct learner_weight){0};
    learner_ftrl__step(&optimiser, &weight, 2);
    assert_true(fabs((double)weight.w + 0.05) < 1e-7);
    weight = (struct learner_weight){0};
    learner_ftrl__step(&optimiser, &weight, 0.4);
    assert_true(weight.w == 0.0F);
}

static void a_weight_that_is_set_is_what_was_asked_and_goes_on_from_there(void **state)
{
    struct learner_weight weight = {0};
    double before;

    (void)state;
    learner_ftrl__step(&plain, &weight, 0.5);
    learner_ftrl__set(&plain, &weight, 0.75F);
    assert_true(weight.w == 0.75F);
    assert_true(fabs(closed_form(&plain, (double)weight.z, (double)weight.n) - 0.75) < 1e-6);
    before = (double)weight.w;
    learner_ftrl__step(&plain, &weight, 1e-4);
    assert_true((double)weight.w < before && (double)weight.w > before - 1e-4);
}

static double loss(double logit, double label)
{
    double p = learner_probability(logit);

    return -(label * log(p) + (1 - label) * log(1 - p));
}

/*
 * One example with nothing but its gradient in the optimisers' state: z, n and AdaGrad's sums then hold the gradient, which is
 * compared with the slope of the loss.
 */
static void gradients_equal_finite_differences(void **state)
{
    struct fixture fixture;
    struct learner_trainer trainer;
    struct fixture_row row;
    const struct learner_example *example;
    float weights[3] = {0.3F, -0.2F, 0.1F}, factors[3][2] = {{0.3F, -0.1F}, {0.2F, 0.4F}, {-0.5F, 0.25F}};
    const float *at[3] = {factors[0], factors[1], factors[2]};
    double importance, base, probability, step = 1e-6;

    (void)state;
    fixture_init(&fixture, "bits: 16, factors: 2, dense: none, sparse: [user_id, item_id, [user_id, item_id]], "
                           "optimiser: { factor_l2: 0 }, tasks: { click: { actions: [click] } }");
    assert_true(learner_trainer__init(&trainer, &fixture.schema, &fixture.schema.model->optimiser));
    example = fixture_example(&fixture, 3, &row);
    for (int i = 0; i < 3; i++) {
        struct learner_row *learned = learner_trainer__row(&trainer, (uint32_t)example->sparse[i]);

        learned->weights[0].w = weights[i];
        memcpy(learner_trainer__factors(&trainer, learned), factors[i], sizeof factors[i]);
    }
    base = (double)weights[0] + (double)weights[1] + (double)weights[2] + learner_logit__pairs(at, 3, 2);
    probability = learner_trainer__learn(&trainer, example, false, &importance);
    assert_true(fabs(probability - learner_probability(base)) < 1e-12);
    for (int i = 0; i < 3; i++) {
        const struct learner_row *learned = learner_trainer__row(&trainer, (uint32_t)example->sparse[i]);
        const float *sums = (const float *)learner_slab__at(&trainer.pairs, learned->factors) + 2;
        double label = (double)example->label;
        double slope = (loss(base + step, label) - loss(base - step, label)) / (2 * step);

        assert_true(fabs(sqrt((double)learned->weights[0].n) - fabs(slope)) < 1e-6);
        for (int f = 0; f < 2; f++) {
            double sum = (double)factors[0][f] + (double)factors[1][f] + (double)factors[2][f] - (double)factors[i][f];
            double numeric = (loss(base + step * sum, label) - loss(base - step * sum, label)) / (2 * step);

            assert_true(fabs(sqrt((double)sums[f]) - fabs(numeric)) < 1e-6);
        }
    }
    learner_trainer__fini(&trainer);
    fixture_fini(&fixture);
}

/* What the factors of one coordinate add to a logit, by the double sum over pairs. */
static void pairs_equal_the_sum_over_all_pairs(void **state)
{
    float v[4][3] = {{0.1F, 0.2F, 0.3F}, {-0.4F, 0.5F, 0.6F}, {0.7F, -0.8F, 0.9F}, {1, 2, -3}};
    const float *at[4] = {v[0], NULL, v[2], v[3]};
    double want = 0;

    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int k = i + 1; k < 4; k++) {
            for (int f = 0; f < 3 && at[i] && at[k]; f++)
                want += (double)v[i][f] * (double)v[k][f];
        }
    }
    assert_true(fabs(learner_logit__pairs(at, 4, 3) - want) < 1e-12);
}

/* Many passes over a stream whose truth is known: the intercept finds the rate, and n tells how sure it is. */
static void the_variance_is_that_of_the_estimate(void **state)
{
    struct learner_weight weight = {0};
    double variance;

    (void)state;
    for (int i = 0; i < 4000; i++)
        learner_ftrl__step(&plain, &weight, learner_probability((double)weight.w) - (i % 4 == 0));
    assert_true(fabs(learner_probability((double)weight.w) - 0.25) < 0.02);
    variance = learner_ftrl__variance(&plain, &weight);
    assert_true(variance > 1 / (4000 * 0.1875) * 0.9); /* Fisher: 1 / Σ p (1 − p) */
    weight = (struct learner_weight){0};
    assert_true(learner_ftrl__variance(&plain, &weight) == LEARNER_PRIOR_VARIANCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ftrl_follows_the_closed_form),
        cmocka_unit_test(a_weight_shrinks_towards_zero_from_either_side),
        cmocka_unit_test(a_weight_that_is_set_is_what_was_asked_and_goes_on_from_there),
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(pairs_equal_the_sum_over_all_pairs),
        cmocka_unit_test(the_variance_is_that_of_the_estimate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
