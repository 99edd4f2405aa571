/* Model files, refusals, and what guards a model against bad labels. */
#include "fixture.h"

#include <math.h>
#include <stdio.h>

static const char *const model = "bits: 12, factors: 3, sparse: [user_id, item_id, [user_id, item_id]], optimiser: { admit: 2, "
                                 "admit_factors: 3 }, tasks: { click: { actions: [click] }, buy: { actions: [purchase] } }";

static uint64_t digest_of(struct learner *learner)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct learner_pull pull = {0};
    struct learner_delta delta;
    uint64_t digest = 0;

    while (learner_pull(learner, &pull, arena, &delta) == LEARNER_PULLED)
        digest = delta.is_last ? delta.digest : digest;
    fr_arena_free(arena);
    return digest;
}

static void a_model_that_was_saved_goes_on_bit_by_bit(void **state)
{
    struct fixture fixture, other;
    struct learner *whole, *halves;
    struct learner_state told;

    (void)state;
    fixture_init(&fixture, model);
    fixture_init(&other, model);
    whole = fixture_open(&fixture);
    halves = fixture_open(&other);
    fixture_learn(&fixture, whole, 0, 1000, 1);
    fixture_learn(&other, halves, 0, 1000, 1);
    learner_close(halves);
    halves = fixture_open(&other);
    assert_int_equal(learner_position(halves), 1);
    fixture_learn(&other, halves, 0, 1000, 1); /* again, as an outbox would: skipped */
    fixture_learn(&fixture, whole, 1000, 2000, 2);
    fixture_learn(&other, halves, 1000, 2000, 2);
    fixture_settle(whole);
    fixture_settle(halves);
    assert_true(digest_of(whole) == digest_of(halves));
    assert_true(learner_state(halves, 0, false, &told));
    assert_int_equal(told.examples, 2000);
    assert_int_equal(told.tasks[0].examples, 1000);
    assert_true(told.version > 1000000); /* never a version of the run before */
    learner_close(whole);
    learner_close(halves);
    assert_true(learner_durable_position(halves = fixture_open(&other)) == 2);
    learner_close(halves);
    fixture_fini(&fixture);
    fixture_fini(&other);
}

static void spoil(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    int byte;

    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void a_file_that_is_not_whole_is_set_aside_and_the_model_begins_anew(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state told;
    char path[128], bad[140];

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 500, 0);
    learner_close(learner);
    snprintf(path, sizeof path, "%s/shop.model", fixture.directory);
    snprintf(bad, sizeof bad, "%s.bad", path);
    spoil(path, 200);
    learner = fixture_open(&fixture);
    assert_true(learner_state(learner, 0, false, &told));
    assert_int_equal(told.examples, 0);
    assert_int_equal(rename(bad, path), 0);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void what_cannot_be_learned_is_refused_and_counted(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_batch *batch = learner_batch_new(0);
    struct learner_state told;
    struct fixture_row row;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    for (int i = 0; i < 12; i++) {
        struct learner_example *example = (struct learner_example *)(uintptr_t)fixture_example(&fixture, 1, &row);

        switch (i) {
        case 0:
            row.dense[1] = NAN;
            break;
        case 1:
            row.dense[0] = INFINITY;
            break;
        case 2:
            row.sparse[2] = LEARNER_SPARSE_BASE + 4096;
            break;
        case 3:
            row.sparse[0] = 17;
            break;
        case 4:
            example->task = 2;
            break;
        case 5:
            example->label = NAN;
            break;
        case 6:
            example->label = 1.5F;
            break;
        case 7:
            example->weight = -1;
            break;
        case 8:
            example->weight = INFINITY;
            break;
        case 9:
            example->log_rate = 1;
            break;
        case 10:
            example->dense_count = 3;
            break;
        default:
            row.dense[1] = 3e38F; /* huge, but a number: clipped */
        }
        assert_true(learner_batch_add(batch, example));
    }
    assert_true(learner_learn(learner, &batch, -1));
    fixture_settle(learner);
    assert_true(learner_state(learner, 0, false, &told));
    assert_int_equal(told.rejected, 11);
    assert_int_equal(told.examples, 1);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void learn_labelled(const struct fixture *fixture, struct learner *learner, uint64_t from, uint64_t to, float label)
{
    struct learner_batch *batch = learner_batch_new(0);
    struct fixture_row row;

    for (uint64_t i = from; i < to; i++) {
        struct learner_example *example = (struct learner_example *)(uintptr_t)fixture_example(fixture, i, &row);

        example->task = 0;
        example->label = i % 20 == 0 ? 1 - label : label;
        assert_true(learner_batch_add(batch, example));
    }
    assert_true(learner_learn(learner, &batch, -1));
}

static void a_burst_of_wrong_labels_is_rolled_back(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state before, after;
    uint64_t digest;
    struct fr_err err;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    for (uint64_t i = 0; i < 8; i++)
        learn_labelled(&fixture, learner, i * 1000, i * 1000 + 1000, 0);
    assert_true(learner_order(learner, 0, LEARNER_SAVE, &err));
    fixture_settle(learner);
    digest = digest_of(learner);
    assert_true(learner_state(learner, 0, false, &before));
    learn_labelled(&fixture, learner, 8000, 9000, 1);
    learn_labelled(&fixture, learner, 9000, 9500, 1);
    fixture_settle(learner);
    assert_true(learner_state(learner, 0, false, &after));
    assert_int_equal(before.rollbacks, 0);
    assert_int_equal(after.rollbacks, 1);
    assert_true(after.version > before.version);
    assert_true(digest_of(learner) == digest); /* nothing of the burst is left, and the rest of it was only judged */
    learner_close(learner);
    fixture_fini(&fixture);
}

static void a_frozen_model_judges_and_learns_no_more(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state told;
    struct fr_err err;
    uint64_t digest;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 500, 0);
    assert_true(learner_order(learner, 0, LEARNER_FREEZE, &err));
    digest = digest_of(learner);
    fixture_learn(&fixture, learner, 500, 600, 0);
    assert_true(learner_order(learner, 0, LEARNER_FREEZE, &err));
    assert_true(learner_state(learner, 0, false, &told));
    assert_string_equal(told.role, "frozen");
    assert_int_equal(told.examples, 500);
    assert_int_equal(told.tasks[0].examples, 300);
    assert_true(digest_of(learner) == digest);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void a_shadow_learns_beside_and_is_promoted(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state live, shadow, promoted;
    struct fr_err err;
    uint64_t digest;

    (void)state;
    fixture_init(&fixture, "bits: 12, factors: 0, sparse: [user_id, item_id], shadow: { alpha: 0.5 }, "
                           "tasks: { click: { actions: [click] } }");
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 1000, 0);
    fixture_settle(learner);
    digest = digest_of(learner);
    assert_true(learner_state(learner, 0, false, &live) && learner_state(learner, 0, true, &shadow));
    assert_string_equal(shadow.role, "shadow");
    assert_int_equal(shadow.examples, 1000);
    assert_true(shadow.tasks[0].log_loss != live.tasks[0].log_loss);
    assert_true(learner_order(learner, 0, LEARNER_PROMOTE, &err));
    assert_true(learner_state(learner, 0, false, &promoted));
    assert_true(promoted.tasks[0].log_loss == shadow.tasks[0].log_loss && promoted.version > live.version);
    assert_true(digest_of(learner) != digest);
    assert_true(learner_order(learner, 0, LEARNER_PROMOTE, &err));
    assert_true(digest_of(learner) == digest); /* back again */
    learner_close(learner);
    fixture_fini(&fixture);
}

/* A stream that is learned: the metrics say what a reader would compute. */
static void validation_tells_auc_log_loss_and_calibration(void **state)
{
    struct learner_judged judged;
    struct learner_task_state told;

    (void)state;
    learner_judged__init(&judged);
    for (int i = 0; i < 4000; i++)
        learner_judged__add(&judged, i % 2 ? 0.8 : 0.4, i % 10 < 5 ? i % 2 : i % 2 == 0, 1);
    told = learner_judged__state(&judged, "click");
    /* Half of the time the higher prediction is the positive: no better than chance. */
    assert_true(fabs(told.auc - 0.5) < 0.1);
    assert_true(fabs(told.calibration - 0.6 / 0.4) < 0.01);
    assert_true(told.log_loss > 0.69 && told.normalized_entropy > 1);
    learner_judged__init(&judged);
    for (int i = 0; i < 4000; i++)
        learner_judged__add(&judged, i % 4 ? 0.1 : 0.9, i % 4 == 0, 1);
    told = learner_judged__state(&judged, "click");
    assert_true(told.auc == 1 && fabs(told.log_loss + log(0.9)) < 1e-6);
    assert_true(fabs(told.normalized_entropy - -log(0.9) / 0.5623) < 1e-3);
    assert_int_equal(told.positives, 1000);
}

/* A rank is a positive of its weight and a negative of the rest, in the same bin. */
static void validation_of_ranks_weighs_both_sides(void **state)
{
    struct learner_judged judged;
    struct learner_task_state told;

    (void)state;
    learner_judged__init(&judged);
    for (int i = 0; i < 4000; i++)
        learner_judged__add(&judged, i % 2 ? 0.8 : 0.4, i % 2 ? 0.8 : 0.25, 1);
    learner_judged__add(&judged, 0.4, 0, 0); /* what nobody watched is no positive */
    told = learner_judged__state(&judged, "long");
    assert_true(fabs(told.auc - (0.8 * (0.75 + 0.1) + 0.25 * 0.375) / (1.05 * 0.95)) < 1e-3);
    assert_true(fabs(told.calibration - 0.6 / 0.525) < 1e-3);
    assert_true(fabs(told.log_loss - 0.5563) < 1e-3 && fabs(told.normalized_entropy - 0.5563 / 0.6919) < 1e-3);
    assert_int_equal(told.positives, 4000);
    assert_int_equal(told.examples, 4001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_was_saved_goes_on_bit_by_bit),
        cmocka_unit_test(a_file_that_is_not_whole_is_set_aside_and_the_model_begins_anew),
        cmocka_unit_test(what_cannot_be_learned_is_refused_and_counted),
        cmocka_unit_test(a_burst_of_wrong_labels_is_rolled_back),
        cmocka_unit_test(a_frozen_model_judges_and_learns_no_more),
        cmocka_unit_test(a_shadow_learns_beside_and_is_promoted),
        cmocka_unit_test(validation_tells_auc_log_loss_and_calibration),
        cmocka_unit_test(validation_of_ranks_weighs_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
