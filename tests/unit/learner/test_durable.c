/* Models that learn ahead of the epoch: what a crash takes, what a file may keep, which roles and versions outlive a restart. */
#include "fixture.h"

static const char *const model = "bits: 12, factors: 3, sparse: [user_id, item_id, [user_id, item_id]], optimiser: { admit: 2, "
                                 "admit_factors: 3 }, tasks: { click: { actions: [click] }, buy: { actions: [purchase] } }";
static const char *const pair = "bits: 12, factors: 2, sparse: [user_id, item_id], shadow: { alpha: 0.5, admit: 2 }, "
                                "tasks: { click: { actions: [click] } }";

static uint64_t digest_of(struct learner *learner, bool is_shadow)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct learner_pull pull = {.is_shadow = is_shadow};
    struct learner_delta delta;
    uint64_t digest = 0;

    while (learner_pull(learner, &pull, arena, &delta) == LEARNER_PULLED)
        digest = delta.is_last ? delta.digest : digest;
    fr_arena_free(arena);
    return digest;
}

static struct learner_state state_of(struct learner *learner, bool is_shadow)
{
    struct learner_state told;

    assert_true(learner_state(learner, 0, is_shadow, &told));
    return told;
}

static void order(struct learner *learner, enum learner_order which)
{
    struct fr_err err;

    if (!learner_order(learner, 0, which, &err))
        fail_msg("%s", err.message);
}

static void a_file_waits_until_what_it_learned_is_durable(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct fr_err err;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open_at(&fixture, 1);
    fixture_learn(&fixture, learner, 0, 500, 1);
    order(learner, LEARNER_SAVE);
    assert_false(learner_order(learner, 0, LEARNER_KEEP, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_int_equal(learner_durable_position(learner), 0);
    learner_close(learner); /* without its epoch */
    learner = fixture_open_at(&fixture, 1);
    assert_int_equal(learner_position(learner), 0);
    assert_int_equal(state_of(learner, false).examples, 0);
    fixture_learn(&fixture, learner, 0, 400, 1);
    order(learner, LEARNER_SAVE);
    learner_durable(learner, 2);
    order(learner, LEARNER_KEEP);
    assert_int_equal(learner_durable_position(learner), 1);
    learner_close(learner);
    learner = fixture_open_at(&fixture, 2);
    assert_int_equal(learner_position(learner), 1);
    assert_int_equal(state_of(learner, false).examples, 400);
    learner_close(learner);
    fixture_fini(&fixture);
}

/* Chunks 2 and 3 were learned and lost; others were made in their places. */
static void after_a_crash_the_weights_are_those_of_what_became_durable_bit_by_bit(void **state)
{
    struct fixture fixture, other;
    struct learner *crashed, *undisturbed;

    (void)state;
    fixture_init(&fixture, model);
    fixture_init(&other, model);
    undisturbed = fixture_open(&other);
    fixture_learn(&other, undisturbed, 0, 1000, 1);
    fixture_settle(undisturbed);
    crashed = fixture_open_at(&fixture, 1);
    fixture_learn(&fixture, crashed, 0, 300, 1);
    learner_durable(crashed, 2);
    order(crashed, LEARNER_SAVE);
    order(crashed, LEARNER_KEEP);
    fixture_learn(&fixture, crashed, 300, 700, 2);
    fixture_learn(&fixture, crashed, 2000, 2500, 3); /* a lane that was ahead: never durable */
    order(crashed, LEARNER_SAVE);
    learner_close(crashed);
    crashed = fixture_open_at(&fixture, 2);
    assert_int_equal(learner_position(crashed), 1);
    fixture_learn(&fixture, crashed, 300, 350, 2);
    fixture_learn(&fixture, crashed, 350, 1000, 3);
    fixture_settle(crashed);
    assert_true(digest_of(crashed, false) == digest_of(undisturbed, false));
    learner_close(crashed);
    learner_close(undisturbed);
    fixture_fini(&fixture);
    fixture_fini(&other);
}

static void a_version_that_a_crash_took_back_is_answered_with_everything(void **state)
{
    struct fixture fixture;
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct learner *learner;
    struct learner_pull pull = {0};
    struct learner_delta delta;
    uint64_t lost;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open_at(&fixture, 1);
    fixture_learn(&fixture, learner, 0, 500, 1);
    fixture_settle(learner);
    lost = state_of(learner, false).version;
    learner_close(learner);
    learner = fixture_open_at(&fixture, 1);
    fixture_learn(&fixture, learner, 700, 1000, 1); /* something else at the same place */
    fixture_settle(learner);
    assert_true(state_of(learner, false).version > lost + 1000);
    pull.since_version = lost;
    assert_int_equal(learner_pull(learner, &pull, arena, &delta), LEARNER_PULLED);
    assert_true(delta.is_full);
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

static void a_file_of_a_later_store_skips_no_example_of_this_one(void **state)
{
    struct fixture fixture;
    struct learner *learner;

    (void)state;
    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 500, 90);
    learner_close(learner);
    learner = fixture_open_at(&fixture, 7); /* an older store, which was restored */
    assert_int_equal(learner_position(learner), 6);
    fixture_learn(&fixture, learner, 500, 600, 7);
    fixture_settle(learner);
    assert_int_equal(state_of(learner, false).examples, 600);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void a_frozen_model_is_frozen_after_a_restart(void **state)
{
    struct fixture fixture;
    struct learner *learner;

    (void)state;
    fixture_init(&fixture, pair);
    learner = fixture_open_at(&fixture, 1);
    order(learner, LEARNER_FREEZE);
    order(learner, LEARNER_KEEP);
    learner_close(learner);
    learner = fixture_open_at(&fixture, 1);
    assert_string_equal(state_of(learner, false).role, "frozen");
    assert_string_equal(state_of(learner, true).role, "shadow");
    fixture_learn(&fixture, learner, 0, 100, 1);
    fixture_settle(learner);
    assert_string_equal(state_of(learner, false).role, "live"); /* thawed by settling */
    assert_int_equal(state_of(learner, false).examples, 0);
    assert_int_equal(state_of(learner, true).examples, 100);
    learner_durable(learner, 2);
    order(learner, LEARNER_KEEP);
    learner_close(learner);
    learner = fixture_open_at(&fixture, 2);
    assert_string_equal(state_of(learner, false).role, "live");
    learner_close(learner);
    fixture_fini(&fixture);
}

/* One of two nodes is restarted after the promotion: both go on alike, each line by the settings it had. */
static void a_promotion_outlives_a_restart(void **state)
{
    struct fixture fixture, other;
    struct learner *restarted, *whole;

    (void)state;
    fixture_init(&fixture, pair);
    fixture_init(&other, pair);
    restarted = fixture_open(&fixture);
    whole = fixture_open(&other);
    fixture_learn(&fixture, restarted, 0, 1000, 1);
    fixture_learn(&other, whole, 0, 1000, 1);
    order(restarted, LEARNER_PROMOTE);
    order(whole, LEARNER_PROMOTE);
    for (uint64_t i = 0; i < 2; i++) {
        learner_close(restarted);
        restarted = fixture_open(&fixture);
        fixture_learn(&fixture, restarted, 1000 + 500 * i, 1500 + 500 * i, 2 + (int64_t)i);
        fixture_learn(&other, whole, 1000 + 500 * i, 1500 + 500 * i, 2 + (int64_t)i);
        fixture_settle(restarted);
        fixture_settle(whole);
        assert_true(digest_of(restarted, false) == digest_of(whole, false));
        assert_true(digest_of(restarted, true) == digest_of(whole, true));
        assert_true(digest_of(whole, false) != digest_of(whole, true));
    }
    learner_close(restarted);
    learner_close(whole);
    fixture_fini(&fixture);
    fixture_fini(&other);
}

static void move(const struct fixture *fixture, const char *from, const char *to)
{
    char source[160], target[160];

    snprintf(source, sizeof source, "%s/%s", fixture->directory, from);
    snprintf(target, sizeof target, "%s/%s", fixture->directory, to);
    assert_int_equal(rename(source, target), 0);
}

static void a_promotion_that_was_cut_between_its_two_files_is_finished(void **state)
{
    struct fixture fixture;
    struct learner *learner;
    struct learner_state live, shadow;

    (void)state;
    fixture_init(&fixture, pair);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 1000, 1);
    order(learner, LEARNER_SAVE);
    order(learner, LEARNER_KEEP);
    order(learner, LEARNER_PROMOTE);
    learner_close(learner);
    learner = fixture_open(&fixture);
    live = state_of(learner, false);
    shadow = state_of(learner, true);
    learner_close(learner);
    /* As if the second rename had not been: the shadow's file before, and the new one beside it. */
    move(&fixture, "shop.shadow.model", "shop.shadow.model.new");
    move(&fixture, "shop.shadow.model.1", "shop.shadow.model");
    learner = fixture_open(&fixture);
    assert_true(state_of(learner, false).tasks[0].log_loss == live.tasks[0].log_loss);
    assert_true(state_of(learner, true).tasks[0].log_loss == shadow.tasks[0].log_loss);
    assert_true(live.tasks[0].log_loss != shadow.tasks[0].log_loss);
    learner_close(learner);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_waits_until_what_it_learned_is_durable),
        cmocka_unit_test(after_a_crash_the_weights_are_those_of_what_became_durable_bit_by_bit),
        cmocka_unit_test(a_version_that_a_crash_took_back_is_answered_with_everything),
        cmocka_unit_test(a_file_of_a_later_store_skips_no_example_of_this_one),
        cmocka_unit_test(a_frozen_model_is_frozen_after_a_restart),
        cmocka_unit_test(a_promotion_outlives_a_restart),
        cmocka_unit_test(a_promotion_that_was_cut_between_its_two_files_is_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
