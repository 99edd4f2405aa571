/*
 * Delayed feedback: a stream whose outcomes come late, with known chances and delays, goes through each label policy and into a model of
 * its own, in the order in which examples would leave. What each model then predicts is compared with the truth, and where the chances
 * change again and again, how long each goes on with what was. What it prints as JSON is drawn by tests/bench/learning.py.
 */
#include "fixture.h"

#include "join.h"

#include <math.h>

enum { IMPRESSIONS = 100000, ITEMS = 20, WINDOW_MS = 600000, MEAN_DELAY_MS = 120000, STEP_MS = 500, BATCH = 500, MADE_MAX = 3 };

enum { WAVE_MS = 5000000, WAVE_IMPRESSIONS = 60000, SAMPLE_MS = 200000, SAMPLES = WAVE_MS / SAMPLE_MS };

struct shown {
    int64_t shown_ms;
    uint64_t item_id;
    int64_t outcome_ms; /* 0: none */
};

struct told { /* an example, when it was made */
    int64_t at_ms;
    uint32_t shown;
    uint32_t step;
    float label;
};

static uint64_t random_state;

static double draw(void) /* in (0, 1) */
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}

static double chance_of(uint64_t item_id) /* that there is an outcome, ever */
{
    return 0.02 + 0.02 * (double)item_id;
}

/* Where it changes, it is that of a middling item, then twice as much, and so on. */
static double chance_at(int64_t at_ms)
{
    return (at_ms - 1000000) / WAVE_MS % 2 ? 0.4 : 0.2;
}

static struct shown *make_stream(bool is_wave)
{
    struct shown *stream = calloc(IMPRESSIONS, sizeof *stream);

    random_state = 7;
    for (int i = 0; i < IMPRESSIONS; i++) {
        stream[i].shown_ms = 1000000 + (int64_t)i * STEP_MS;
        stream[i].item_id = 1 + (uint64_t)(draw() * ITEMS);
        if (draw() < (is_wave ? chance_at(stream[i].shown_ms) : chance_of(stream[i].item_id)))
            stream[i].outcome_ms = stream[i].shown_ms + 1 + (int64_t)(-log(draw()) * MEAN_DELAY_MS);
    }
    return stream;
}

/* What a perfect model says: the chance of an outcome within the window. */
static double truth_of(uint64_t item_id)
{
    return chance_of(item_id) * (1 - exp(-(double)WINDOW_MS / MEAN_DELAY_MS));
}

static int compare_told(const void *a, const void *b)
{
    const struct told *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->shown != y->shown ? (x->shown < y->shown ? -1 : 1) : (x->step > y->step) - (x->step < y->step);
}

/* The examples of one impression, as the join asks its policy for them. The stream is still running when the models are looked at. */
static int tell(const struct learner_task *task, const struct shown *shown, uint32_t index, struct told *told)
{
    struct learner_clockwork of = {.task = task, .shown_ms = shown->shown_ms, .seed = index * UINT64_C(0x9e3779b97f4a7c15)};
    struct learner_label_state state = {0};
    struct learner_made made[MADE_MAX];
    int count = 0;
    bool is_made;

    while (learner_policy__due(&of, &state, INT64_MIN, &made[count]))
        count++;
    if (shown->outcome_ms > 0) {
        struct learner_happened happened = {.ts_ms = shown->outcome_ms};

        (void)learner_policy__outcome(&of, &state, &happened, &made[count], &is_made);
        count += is_made;
    }
    while (learner_policy__due(&of, &state, shown->shown_ms + WINDOW_MS, &made[count]))
        count++;
    for (int i = 0; i < count; i++)
        told[i] =
            (struct told){.at_ms = made[i].at_ms, .shown = index, .step = made[i].step, .label = made[i].is_positive ? 1 : 0};
    return count;
}

static struct told *tell_all(const struct learner_task *task, const struct shown *stream, int *count)
{
    struct told *told = calloc((size_t)IMPRESSIONS * MADE_MAX, sizeof *told);

    *count = 0;
    for (uint32_t i = 0; i < IMPRESSIONS; i++) {
        int made = tell(task, &stream[i], i, told + *count), kept = 0;

        for (int k = 0; k < made; k++) {
            struct told one = told[*count + k];
            uint64_t id = ((uint64_t)i + 1) * 4 + one.step % 4;

            if (one.at_ms <= stream[IMPRESSIONS - 1].shown_ms &&
                (one.label > 0 || learner_example__is_kept(id, task->negatives)))
                told[*count + kept++] = one;
        }
        *count += kept;
    }
    qsort(told, (size_t)*count, sizeof *told, compare_told);
    return told;
}

static void learn_all(struct fixture *fixture, struct learner *learner, const struct shown *stream, const struct told *told,
                      int count)
{
    struct learner_batch *batch = NULL;

    for (int i = 0; i < count; i++) {
        struct learner_ids ids = {.user_id = 1, .item_id = stream[told[i].shown].item_id};
        float user_values[1] = {0}, item_values[3] = {0}, dense[4];
        uint64_t sparse[4];
        struct learner_example example = {.served_ms = stream[told[i].shown].shown_ms,
                                          .dense = dense,
                                          .sparse = sparse,
                                          .dense_count = fixture->schema.dense_count,
                                          .sparse_count = fixture->schema.sparse_count,
                                          .label = told[i].label,
                                          .weight = 1,
                                          .log_rate = (float)log(fixture->config->models[0].tasks[0].negatives)};

        learner_schema_dense(&fixture->schema, user_values, item_values, dense);
        learner_schema_sparse(&fixture->schema, &ids, user_values, item_values, sparse);
        if (!batch)
            batch = learner_batch_new(0);
        assert_true(learner_batch_add(batch, &example));
        if (learner_batch_count(batch) == BATCH || i == count - 1)
            assert_true(learner_learn(learner, &batch, -1));
    }
    fixture_settle(learner);
}

/* Σ of what is predicted / Σ of the truth, over the items. */
static double calibration_of(struct fixture *fixture, struct learner *learner)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    double predicted = 0, truth = 0;

    for (uint64_t item = 1; item <= ITEMS; item++) {
        struct learner_ids ids = {.user_id = 1, .item_id = item};
        float user_values[1] = {0}, item_values[3] = {0}, dense[4];
        uint64_t sparse[4];
        int task = 0;
        struct learner_ask ask = {
            .tasks = &task, .task_count = 1, .item_ids = &item, .dense = dense, .sparse = sparse, .item_count = 1};
        struct learner_scores scores;
        struct fr_err err;

        learner_schema_dense(&fixture->schema, user_values, item_values, dense);
        learner_schema_sparse(&fixture->schema, &ids, user_values, item_values, sparse);
        assert_true(learner_score(learner, &ask, arena, &scores, &err));
        predicted += (double)scores.probabilities[0];
        truth += truth_of(item);
    }
    fr_arena_free(arena);
    return predicted / truth;
}

/* Says, too, how late a policy's examples are: the mean from the impression to the example. */
static void check(const char *policy, double negatives, double most_off)
{
    struct fixture fixture;
    struct learner *learner;
    char model[256];
    double late_ms = 0, calibration;
    struct shown *stream = make_stream(false);
    struct told *told;
    int count;

    snprintf(model, sizeof model,
             "dense: none, factors: 0, sparse: [item_id], tasks: { buy: { actions: [purchase], policy: %s, window: 10m, "
             "negatives: %g } }",
             policy, negatives);
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    told = tell_all(&fixture.config->models[0].tasks[0], stream, &count);
    learn_all(&fixture, learner, stream, told, count);
    calibration = calibration_of(&fixture, learner);
    for (int i = 0; i < count; i++)
        late_ms += (double)(told[i].at_ms - stream[told[i].shown].shown_ms) / count;
    printf(
        "{\"figure\":\"calibration\",\"policy\":\"%s\",\"negatives\":%g,\"examples\":%d,\"lateS\":%.1f,\"calibration\":%.4f}\n",
        policy, negatives, count, late_ms / 1000, calibration);
    learner_close(learner);
    fixture_fini(&fixture);
    free(stream);
    free(told);
    if (fabs(calibration - 1) > most_off)
        fail_msg("%s with negatives %g is off by %.3f", policy, negatives, calibration - 1);
}

static void every_policy_is_calibrated_within_three_percent_of_the_truth(void **state)
{
    static const char *const policies[] = {"wait", "fnw", "first_only", "sliver"};

    (void)state;
    for (int i = 0; i < 4; i++)
        check(policies[i], 1, 0.03);
}

/* ---- How long a policy goes on with what was ---- */

/* Of what is said of an item by a model that knows nothing of items. */
static double said_of(struct fixture *fixture, struct learner *learner)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    uint64_t item = 1;
    float dense[1];
    uint64_t sparse[1];
    int task = 0;
    struct learner_ask ask = {
        .tasks = &task, .task_count = 1, .item_ids = &item, .dense = dense, .sparse = sparse, .item_count = 1};
    struct learner_scores scores;
    struct fr_err err;
    double said;

    assert_int_equal(fixture->schema.sparse_count + fixture->schema.dense_count, 0);
    assert_true(learner_score(learner, &ask, arena, &scores, &err));
    said = (double)scores.probabilities[0];
    fr_arena_free(arena);
    return said;
}

/*
 * How far the model has come from the chance before a change to the one after it, by the time since; the mean over all changes but the
 * first. Gives the area above: the mean age of what it says, in seconds.
 */
static double age_of(const char *policy)
{
    double window_share = 1 - exp(-(double)WINDOW_MS / MEAN_DELAY_MS), way[SAMPLES] = {0}, age_s = 0;
    int64_t end_ms = 1000000 + (int64_t)WAVE_IMPRESSIONS * STEP_MS;
    struct shown *stream = make_stream(true);
    struct fixture fixture;
    struct learner *learner;
    struct told *told;
    char model[256];
    int count, at = 0, changes = (int)((int64_t)WAVE_IMPRESSIONS * STEP_MS / WAVE_MS) - 1;

    snprintf(model, sizeof model,
             "dense: none, factors: 0, sparse: [], optimiser: { alpha: 2 }, "
             "tasks: { buy: { actions: [purchase], policy: %s, window: 10m } }",
             policy);
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    told = tell_all(&fixture.config->models[0].tasks[0], stream, &count);
    for (int64_t now_ms = 1000000 + SAMPLE_MS; now_ms < end_ms; now_ms += SAMPLE_MS) {
        double before = chance_at(now_ms - WAVE_MS) * window_share, after = chance_at(now_ms) * window_share;
        int from = at;

        while (at < count && told[at].at_ms < now_ms)
            at++;
        learn_all(&fixture, learner, stream, told + from, at - from);
        if (now_ms >= 1000000 + WAVE_MS)
            way[(now_ms - 1000000) % WAVE_MS / SAMPLE_MS] += (said_of(&fixture, learner) - before) / (after - before) / changes;
    }
    for (int i = 0; i < SAMPLES; i++) {
        printf("{\"figure\":\"way\",\"policy\":\"%s\",\"sinceS\":%d,\"way\":%.4f}\n", policy, i * SAMPLE_MS / 1000, way[i]);
        age_s += (i > 0 ? 1 : 0.5) * (1 - way[i]) * SAMPLE_MS / 1000;
    }
    learner_close(learner);
    fixture_fini(&fixture);
    free(stream);
    free(told);
    return age_s;
}

static void a_waiting_model_is_behind_the_others_by_more_than_a_third_of_its_window(void **state)
{
    static const char *const policies[] = {"wait", "fnw", "first_only", "sliver"};
    double age_s[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        age_s[i] = age_of(policies[i]);
        printf("{\"figure\":\"age\",\"policy\":\"%s\",\"ageS\":%.1f}\n", policies[i], age_s[i]);
    }
    for (int i = 1; i < 4; i++)
        assert_true(age_s[0] > age_s[i] + (double)WINDOW_MS / 1000 / 3);
}

static void so_it_is_with_a_third_of_the_negatives(void **state)
{
    static const char *const policies[] = {"wait", "first_only", "sliver"};

    (void)state;
    for (int i = 0; i < 3; i++)
        check(policies[i], 0.3, 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_is_calibrated_within_three_percent_of_the_truth),
        cmocka_unit_test(so_it_is_with_a_third_of_the_negatives),
        cmocka_unit_test(a_waiting_model_is_behind_the_others_by_more_than_a_third_of_its_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
