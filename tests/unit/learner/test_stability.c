/* Whether examples look as they used to: the index of a model against one that is reckoned from the list of all examples. */
#include "fixture.h"

#include <math.h>

enum { COLUMNS = 4, MINUTE_MS = 60000, HOUR_MS = 3600000, EXAMPLES = 80000 };

static const char *const model = "dense: all, bits: 10, factors: 0, sparse: [user_id], drift: { current: 1h, reference: 2d }, "
                                 "tasks: { click: { actions: [click] }, buy: { actions: [purchase] } }";

struct seen {
    int64_t ms;
    float dense[COLUMNS];
    float label;
    int task;
};

static bool is_looked_at(uint64_t id)
{
    return (id * UINT64_C(0x9E3779B97F4A7C15)) >> 61 == 0;
}

/* ln and sums of the definition, without forward decay or scaling. */
static double oracle(const struct seen *seen, int count, int64_t now_ms, const double halves_ms[2], int column, int task)
{
    double bins[2][LEARNER_DRIFT_BINS] = {{0}}, all[2] = {0}, index = 0;
    int occupied = 0, most = column >= 0 ? LEARNER_DRIFT_BINS : 2;

    for (int i = 0; i < count; i++) {
        for (int k = 0; k < 2; k++) {
            double weight = exp2((double)(seen[i].ms - now_ms) / halves_ms[k]);

            if (column < 0 && seen[i].task != task)
                continue;
            all[k] += weight;
            if (column >= 0) {
                bins[k][learner_drift__bin(seen[i].dense[column])] += weight;
            } else {
                bins[k][1] += weight * (double)seen[i].label;
                bins[k][0] += weight * (1 - (double)seen[i].label);
            }
        }
    }
    for (int b = 0; b < most; b++)
        occupied += column < 0 || bins[1][b] > 0;
    for (int b = 0; b < most; b++) {
        double p = (bins[0][b] + 0.5) / (all[0] + 0.5 * occupied), q = (bins[1][b] + 0.5) / (all[1] + 0.5 * occupied);

        if (column < 0 || bins[1][b] > 0)
            index += (p - q) * log(p / q);
    }
    return index;
}

static uint64_t draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

static double unit(uint64_t *state)
{
    return (double)draw(state) / 0x1p31;
}

/* Column 1 is four times as large in the last two hours, the first task's labels become rarer; the rest stays. Somewhat out of order. */
static struct seen make(uint64_t *random, int number)
{
    double at = (double)number / EXAMPLES;
    bool is_after = at > 0.95;
    struct seen one = {.ms = INT64_C(1700000000000) + (int64_t)(at * 40 * HOUR_MS) - (int64_t)(unit(random) * MINUTE_MS),
                       .task = (int)(draw(random) % 2)};

    one.dense[0] = (float)(30 * unit(random));
    one.dense[1] = (float)((is_after ? 4.0 : 1.0) * 0.01 * -log(1 - unit(random)));
    one.dense[2] = draw(random) % 3 == 0 ? 0 : (float)(-5 * unit(random));
    one.dense[3] = (float)exp(3 * unit(random));
    one.label = unit(random) < (is_after && one.task == 0 ? 0.02 : 0.2);
    if (one.task == 1 && one.label > 0)
        one.label = (float)unit(random); /* ranks */
    return one;
}

/* Those that were looked at. */
static int run(struct learner_drift *drift, struct seen *seen, bool is_backwards)
{
    uint64_t random = 7;
    struct seen *all = calloc(EXAMPLES, sizeof *all);
    int count = 0;

    for (int i = 0; i < EXAMPLES; i++)
        all[i] = make(&random, i);
    for (int i = 0; i < EXAMPLES; i++) {
        int at = is_backwards ? EXAMPLES - 1 - i : i;
        const struct learner_example example = {.example_id = (uint64_t)at + 1,
                                                .task = all[at].task,
                                                .served_ms = all[at].ms,
                                                .dense = all[at].dense,
                                                .dense_count = COLUMNS,
                                                .label = all[at].label,
                                                .weight = 1};

        learner_drift__add(drift, &example);
        if (is_looked_at(example.example_id))
            seen[count++] = all[at];
    }
    free(all);
    return count;
}

static int64_t newest(const struct seen *seen, int count)
{
    int64_t ms = 0;

    for (int i = 0; i < count; i++)
        ms = seen[i].ms > ms ? seen[i].ms : ms;
    return ms;
}

static void check_against_the_list(bool is_backwards)
{
    static const double halves_ms[2] = {HOUR_MS, 48.0 * HOUR_MS};
    struct seen *seen = calloc(EXAMPLES, sizeof *seen);
    struct learner_drift drift;
    struct fixture fixture;
    int64_t now_ms;
    int count;

    fixture_init(&fixture, model);
    assert_true(learner_drift__init(&drift, &fixture.schema));
    count = run(&drift, seen, is_backwards);
    now_ms = newest(seen, count);
    for (int i = 0; i < COLUMNS; i++)
        assert_true(fabs(learner_drift__column(&drift, i) - oracle(seen, count, now_ms, halves_ms, i, 0)) < 1e-9);
    for (int i = 0; i < 2; i++)
        assert_true(fabs(learner_drift__label(&drift, i).stability - oracle(seen, count, now_ms, halves_ms, -1, i)) < 1e-9);
    assert_true(learner_drift__column(&drift, 1) > 0.25);
    assert_true(learner_drift__column(&drift, 0) < 0.1 && learner_drift__column(&drift, 3) < 0.1);
    assert_true(learner_drift__label(&drift, 0).stability > 0.1 && learner_drift__label(&drift, 1).stability < 0.05);
    assert_true(learner_drift__label(&drift, 0).rate < 0.5 * learner_drift__label(&drift, 0).reference_rate);
    learner_drift__fini(&drift);
    fixture_fini(&fixture);
    free(seen);
}

static void the_index_is_what_the_list_of_examples_gives(void **state)
{
    (void)state;
    check_against_the_list(false);
}

static void order_does_not_matter(void **state)
{
    (void)state;
    check_against_the_list(true);
}

static void nothing_is_said_of_few_examples(void **state)
{
    struct learner_drift drift;
    struct fixture fixture;
    uint64_t random = 3;

    (void)state;
    fixture_init(&fixture, model);
    assert_true(learner_drift__init(&drift, &fixture.schema));
    for (int i = 0; i < 600; i++) { /* of which an eighth is looked at */
        struct seen one = make(&random, i % 2 == 0 ? 0 : EXAMPLES - 1);
        const struct learner_example example = {.example_id = (uint64_t)i, .served_ms = one.ms, .dense = one.dense};

        learner_drift__add(&drift, &example);
    }
    for (int i = 0; i < COLUMNS; i++)
        assert_true(learner_drift__column(&drift, i) == 0);
    assert_true(learner_drift__label(&drift, 0).stability == 0);
    learner_drift__fini(&drift);
    fixture_fini(&fixture);
}

static void bins_are_half_octaves(void **state)
{
    (void)state;
    assert_int_equal(learner_drift__bin(0), 0);
    assert_int_equal(learner_drift__bin(NAN), 0);
    assert_int_equal(learner_drift__bin(1.0f) + 1, learner_drift__bin(1.5f));
    assert_int_equal(learner_drift__bin(1.0f) + 2, learner_drift__bin(2.0f));
    assert_int_equal(learner_drift__bin(1e-30f), 1);
    assert_int_equal(learner_drift__bin(1e30f), 63);
    assert_int_equal(learner_drift__bin(-1e-30f), 64);
    assert_int_equal(learner_drift__bin(-1e30f), LEARNER_DRIFT_BINS - 1);
}

/* A thousand examples, two seconds apart. */
static void learn(const struct fixture *fixture, struct learner *learner, int position)
{
    struct learner_batch *batch = learner_batch_new(position);
    struct fixture_row row;

    for (uint64_t i = 1000 * (uint64_t)position; i < 1000 * (uint64_t)(position + 1); i++) {
        struct learner_example example = *fixture_example(fixture, i, &row);

        example.served_ms += (int64_t)i * 2000;
        row.dense[1] *= i < 8000 ? 1 : 8;
        assert_true(learner_batch_add(batch, &example));
    }
    assert_true(learner_learn(learner, &batch, -1));
}

static void what_is_kept_in_a_file_goes_on(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state before, after;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    for (int i = 1; i < 9; i++)
        learn(&fixture, learner, i);
    learner_close(learner);
    learner = fixture_open(&fixture);
    assert_true(learner_state(learner, 0, false, &before));
    assert_int_equal(before.drift_count, 4);
    assert_true(before.drift[0].stability > 0.01);
    learner_close(learner);
    learner = fixture_open(&fixture);
    assert_true(learner_state(learner, 0, false, &after));
    assert_int_equal(after.drift_count, before.drift_count);
    for (int i = 0; i < after.drift_count; i++)
        assert_true(after.drift[i].stability > 0 && after.drift[i].stability == before.drift[i].stability);
    learner_close(learner);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_is_what_the_list_of_examples_gives),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(nothing_is_said_of_few_examples),
        cmocka_unit_test(bins_are_half_octaves),
        cmocka_unit_test(what_is_kept_in_a_file_goes_on),
    };

    return cmocka_run_group_tests_name("learner.stability", tests, NULL, NULL);
}
