/* Whatever comes: what a model is stays finite, what it answers too; and exploration is as wide as it says. */
#include "fixture.h"

#include <math.h>

static const char *const model =
    "bits: 12, factors: 3, sparse: [user_id, item_id, [user_id, item_id]], optimiser: { admit_factors: 2, "
    "factor_rate: 1 }, dense: { all: standard, item_rate: raw }, "
    "tasks: { click: { actions: [click] }, buy: { actions: [purchase], policy: fnw } }";

/* Every weight of the last version; how many there are. */
static size_t check_finite(struct learner *learner)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct learner_pull pull = {0};
    struct learner_delta delta;
    size_t seen = 0;

    while (learner_pull(learner, &pull, arena, &delta) == LEARNER_PULLED) {
        for (size_t i = 0; i < delta.count * delta.width; i++)
            assert_true(isfinite(delta.weights[i]));
        for (int i = 0; i < 4; i++)
            assert_true(isfinite(delta.dense_mean[i]) && isfinite(delta.dense_scale[i]) && delta.dense_scale[i] > 0);
        seen += delta.count;
    }
    fr_arena_free(arena);
    return seen;
}

static struct learner_scores score(struct learner *learner, struct learner_ask *ask, struct fr_arena *arena)
{
    static const int tasks[] = {0, 1};
    struct learner_scores scores;
    struct fr_err err;

    ask->tasks = tasks;
    if (ask->task_count == 0)
        ask->task_count = 2;
    if (!learner_score(learner, ask, arena, &scores, &err))
        fail_msg("%s", err.message);
    return scores;
}

static float hostile_number(uint64_t random)
{
    static const float numbers[] = {NAN, INFINITY, -INFINITY, 3e38F, -3e38F, 1e-45F, 0, 1};

    return numbers[random % 8];
}

static void hostile_examples_are_refused_or_contained_and_weights_stay_finite(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state told;
    struct fixture_row row;
    uint64_t random = 7, refused = 0;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    for (int b = 0; b < 20; b++) {
        struct learner_batch *batch = learner_batch_new(0);

        for (uint64_t i = 0; i < 500; i++) {
            struct learner_example *example = (struct learner_example *)(uintptr_t)fixture_example(&fixture, i, &row);

            random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
            row.dense[random >> 33 & 3] = hostile_number(random >> 40);
            example->label = (random >> 50 & 3) == 0 ? hostile_number(random >> 52) : (float)(random >> 45 & 1);
            example->weight = (random >> 56 & 1) == 0 ? 10000 : 1;
            example->log_rate = (random >> 57 & 3) == 0 ? -34.9F : 0;
            refused += !isfinite(row.dense[0]) || !isfinite(row.dense[1]) || !isfinite(row.dense[2]) ||
                       !isfinite(row.dense[3]) || !(example->label >= 0 && example->label <= 1);
            assert_true(learner_batch_add(batch, example));
        }
        assert_true(learner_learn(learner, &batch, -1));
    }
    fixture_settle(learner);
    assert_true(learner_state(learner, 0, false, &told));
    assert_int_equal(told.rejected, refused);
    assert_true(refused > 1000 && told.examples > 0);
    for (int i = 0; i < 2; i++)
        assert_true(isfinite(told.tasks[i].log_loss) && isfinite(told.tasks[i].auc) && isfinite(told.tasks[i].calibration));
    assert_true(check_finite(learner) > 100);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void a_row_with_numbers_that_are_none_is_scored_as_their_columns_mean(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct fixture_row row;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct learner_ask ask = {.item_count = 1, .dense = row.dense, .sparse = row.sparse};
    struct learner_pull pull = {0};
    struct learner_delta delta;
    double mean, of_nan, of_mean, of_infinite;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 1000, 0);
    fixture_settle(learner);
    assert_int_equal(learner_pull(learner, &pull, arena, &delta), LEARNER_PULLED);
    mean = delta.dense_mean[1];
    (void)fixture_example(&fixture, 5, &row);
    row.dense[1] = NAN;
    of_nan = score(learner, &ask, arena).logits[0];
    row.dense[1] = -INFINITY;
    of_infinite = score(learner, &ask, arena).logits[0];
    row.dense[1] = (float)mean;
    of_mean = score(learner, &ask, arena).logits[0];
    assert_true(isfinite(of_nan) && of_nan == of_infinite);
    assert_true(fabs(of_nan - of_mean) < 1e-6);
    row.dense[1] = 3e38F; /* huge: as far as 20 standard deviations, not further */
    assert_true(fabs(score(learner, &ask, arena).logits[0]) < 100);
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

static double logit(float probability)
{
    return log((double)probability / (1 - (double)probability));
}

/* Draws over many seeds: as wide as score_sd says, and around what is scored without. */
static void thompson_is_as_wide_as_the_deviation_and_ucb_one_of_it_above(void **state)
{
    enum { DRAWS = 4000 };
    struct fixture fixture;
    struct learner *learner;
    struct fixture_row row;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    static const uint64_t items[] = {11};
    struct learner_ask ask = {.item_count = 1, .item_ids = items, .dense = row.dense, .sparse = row.sparse, .task_count = 1};
    double plain, sd, sum = 0, squares = 0;
    struct learner_scores scores;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 1000, 0);
    fixture_settle(learner);
    (void)fixture_example(&fixture, 5, &row);
    scores = score(learner, &ask, arena);
    plain = logit(scores.scores[0]);
    sd = (double)scores.score_sd[0] / ((double)scores.scores[0] * (1 - (double)scores.scores[0]));
    assert_true(sd > 0.01);
    ask.explore = LEARNER_EXPLORE_UCB;
    assert_true(fabs(logit(score(learner, &ask, arena).scores[0]) - plain - sd) < 1e-4 * (1 + sd));
    ask.explore = LEARNER_EXPLORE_THOMPSON;
    for (ask.seed = 1; ask.seed <= DRAWS; ask.seed++) {
        double moved = logit(score(learner, &ask, arena).scores[0]) - plain;

        sum += moved;
        squares += moved * moved;
        fr_arena_reset(arena, 1 << 16);
    }
    assert_true(fabs(sum / DRAWS) < 4 * sd / sqrt(DRAWS)); /* four standard errors */
    assert_true(fabs(sqrt(squares / DRAWS) / sd - 1) < 4 / sqrt(2.0 * DRAWS));
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

/* Negatives kept at 0.1 and told so: what is served is calibrated to all of them, not to those that were kept. */
static void sampled_negatives_are_served_at_the_rate_of_all(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct fixture_row row;
    struct fr_arena *arena = fr_arena_new(4 << 20);
    struct learner_ask ask = {.item_count = 1, .dense = row.dense, .sparse = row.sparse, .task_count = 1};
    double predicted = 0, positives = 0;
    enum { EXAMPLES = 40000, LAST = 5000 };

    (void)state;
    fixture_init(&fixture, "bits: 12, factors: 0, sparse: [user_id, item_id], tasks: { click: { actions: [click] } }");
    learner = fixture_open(&fixture);
    for (uint64_t at = 0; at < EXAMPLES;) {
        struct learner_batch *batch = learner_batch_new(0);

        for (int i = 0; i < 1000; i++, at++) {
            struct learner_example *example = (struct learner_example *)(uintptr_t)fixture_example(&fixture, at, &row);

            example->log_rate = logf(0.1F);
            if (example->label < 1 && (at * UINT64_C(0x9e3779b97f4a7c15) >> 40) % 10 != 0)
                continue;
            assert_true(learner_batch_add(batch, example));
        }
        assert_true(learner_learn(learner, &batch, -1));
    }
    fixture_settle(learner);
    for (uint64_t at = EXAMPLES; at < EXAMPLES + LAST; at++) {
        positives += (double)fixture_example(&fixture, at, &row)->label;
        predicted += (double)score(learner, &ask, arena).probabilities[0];
        fr_arena_reset(arena, 1 << 16);
    }
    assert_true(fabs(predicted / positives - 1) < 0.05);
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_examples_are_refused_or_contained_and_weights_stay_finite),
        cmocka_unit_test(a_row_with_numbers_that_are_none_is_scored_as_their_columns_mean),
        cmocka_unit_test(thompson_is_as_wide_as_the_deviation_and_ucb_one_of_it_above),
        cmocka_unit_test(sampled_negatives_are_served_at_the_rate_of_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
