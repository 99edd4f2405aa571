/* Each label policy on sequences that a reader can follow: when it makes an example, of what, and how late. */
#include "join.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SHOWN_MS = 1000000, WINDOW_MS = 60000, ENDLESS = 10 };

struct story {
    struct learner_task task;
    struct learner_clockwork of;
    struct learner_label_state state;
    struct learner_made made[ENDLESS];
    int count;
};

static struct story begin(enum learner_policy policy)
{
    return (struct story){.task = {.policy = policy, .window_ms = WINDOW_MS}};
}

static struct learner_clockwork *of(struct story *story)
{
    story->of.task = &story->task;
    story->of.shown_ms = SHOWN_MS;
    return &story->of;
}

static enum learner_counted watch(struct story *story, int64_t after_ms, uint16_t watched)
{
    struct learner_happened happened = {.ts_ms = SHOWN_MS + after_ms, .watched = watched};
    bool is_made;
    enum learner_counted counted =
        learner_policy__outcome(of(story), &story->state, &happened, &story->made[story->count], &is_made);

    story->count += is_made;
    return counted;
}

static enum learner_counted outcome(struct story *story, int64_t after_ms)
{
    return watch(story, after_ms, 0);
}

static void pass(struct story *story, int64_t after_ms)
{
    while (learner_policy__due(of(story), &story->state, SHOWN_MS + after_ms, &story->made[story->count]))
        assert_in_range(++story->count, 0, ENDLESS - 1);
}

static void served(struct story *story) /* the rows are there; no time has passed */
{
    while (learner_policy__due(of(story), &story->state, INT64_MIN, &story->made[story->count]))
        assert_in_range(++story->count, 0, ENDLESS - 1);
}

#define assert_made(story, i, step_, is_positive_, delay_ms_)                                                                  \
    do {                                                                                                                       \
        assert_true((story).count > (i));                                                                                      \
        assert_int_equal((story).made[i].step, step_);                                                                         \
        assert_int_equal((story).made[i].is_positive, is_positive_);                                                           \
        assert_int_equal((story).made[i].delay_ms, delay_ms_);                                                                 \
    } while (0)

static void wait_tells_nothing_before_the_window_is_over(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    served(&story);
    assert_int_equal(outcome(&story, 7000), LEARNER_LABEL);
    pass(&story, WINDOW_MS - 1);
    assert_int_equal(story.count, 0);
    pass(&story, WINDOW_MS);
    assert_int_equal(story.count, 1);
    assert_made(story, 0, 0, true, 7000);
    assert_int_equal(story.made[0].at_ms, SHOWN_MS + WINDOW_MS);
}

static void wait_takes_the_earliest_of_several_outcomes(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    assert_int_equal(outcome(&story, 9000), LEARNER_LABEL);
    assert_int_equal(outcome(&story, 4000), LEARNER_LABEL_DUPLICATE);
    assert_int_equal(outcome(&story, 8000), LEARNER_LABEL_DUPLICATE);
    pass(&story, WINDOW_MS);
    assert_made(story, 0, 0, true, 4000);
}

static void wait_without_an_outcome_is_negative_after_the_whole_window(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    pass(&story, WINDOW_MS + 5);
    pass(&story, 3 * WINDOW_MS);
    assert_int_equal(story.count, 1);
    assert_made(story, 0, 0, false, WINDOW_MS);
}

static void an_outcome_at_the_windows_end_is_outside(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    assert_int_equal(outcome(&story, WINDOW_MS), LEARNER_LABEL_LATE);
    assert_int_equal(outcome(&story, WINDOW_MS - 1), LEARNER_LABEL);
}

static void an_outcome_after_a_final_negative_is_late(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    pass(&story, WINDOW_MS);
    assert_int_equal(outcome(&story, 10), LEARNER_LABEL_LATE);
    assert_int_equal(story.count, 1);
}

static void fnw_tells_a_negative_at_once_and_the_positive_again(void **state)
{
    struct story story = begin(LEARNER_FNW);

    (void)state;
    served(&story);
    assert_int_equal(story.count, 1);
    assert_made(story, 0, 0, false, 0);
    assert_int_equal(outcome(&story, 5000), LEARNER_LABEL);
    assert_int_equal(outcome(&story, 6000), LEARNER_LABEL_DUPLICATE);
    pass(&story, 2 * WINDOW_MS);
    assert_int_equal(story.count, 2);
    assert_made(story, 1, 1, true, 5000);
}

static void fnw_makes_both_when_the_outcome_was_there_before_the_rows(void **state)
{
    struct story story = begin(LEARNER_FNW);

    (void)state;
    assert_int_equal(outcome(&story, 5000), LEARNER_LABEL);
    served(&story);
    assert_int_equal(story.count, 2);
    assert_made(story, 0, 1, true, 5000);
    assert_made(story, 1, 0, false, 0);
}

static void first_only_learns_a_positive_once_and_no_negative_before_it_is_due(void **state)
{
    struct story positive = begin(LEARNER_FIRST_ONLY), negative = begin(LEARNER_FIRST_ONLY);

    (void)state;
    served(&positive);
    assert_int_equal(positive.count, 0);
    assert_int_equal(outcome(&positive, 300), LEARNER_LABEL);
    assert_int_equal(outcome(&positive, 400), LEARNER_LABEL_DUPLICATE);
    pass(&positive, 2 * WINDOW_MS);
    assert_int_equal(positive.count, 1);
    assert_made(positive, 0, 0, true, 300);

    pass(&negative, WINDOW_MS - 1);
    assert_int_equal(negative.count, 0);
    pass(&negative, WINDOW_MS);
    assert_int_equal(negative.count, 1);
    assert_made(negative, 0, 1, false, WINDOW_MS);
}

/* The first sliver ends 10 s after the impression, the next ones at 40 s and 70 s. */
static void each_sliver_has_one_positive(void **state)
{
    struct story story = begin(LEARNER_SLIVER);

    (void)state;
    story.of.seed = 10000;
    served(&story);
    assert_int_equal(outcome(&story, 3000), LEARNER_LABEL);
    assert_int_equal(outcome(&story, 9999), LEARNER_LABEL_DUPLICATE);
    assert_int_equal(outcome(&story, 10000), LEARNER_LABEL);
    assert_int_equal(outcome(&story, 45000), LEARNER_LABEL);
    pass(&story, WINDOW_MS);
    assert_int_equal(story.count, 3);
    assert_made(story, 0, 0, true, 3000);
    assert_made(story, 1, 1, true, 10000);
    assert_made(story, 2, 2, true, 45000);
}

static void a_sliver_is_negative_only_when_the_user_leaves(void **state)
{
    struct story story = begin(LEARNER_SLIVER);

    (void)state;
    story.of.seed = 10000;
    served(&story);
    pass(&story, WINDOW_MS - 1);
    assert_int_equal(story.count, 0);
    story.of.exit_ms = SHOWN_MS + 41000;
    served(&story);
    assert_int_equal(story.count, 1);
    assert_made(story, 0, 2, false, 41000);
    assert_int_equal(outcome(&story, 42000), LEARNER_LABEL_LATE);
}

static void a_user_who_stays_leaves_at_the_end_of_the_window(void **state)
{
    struct story story = begin(LEARNER_SLIVER);

    (void)state;
    story.of.exit_ms = SHOWN_MS + 2 * WINDOW_MS;
    pass(&story, WINDOW_MS);
    assert_int_equal(story.count, 1);
    assert_made(story, 0, 3, false, WINDOW_MS); /* slivers begin with the impression here: the end is that of the second */
}

static void another_tasks_label_is_final_when_it_cannot_change(void **state)
{
    struct story story = begin(LEARNER_WAIT);
    bool is_positive;
    int64_t delay_ms;

    (void)state;
    assert_false(learner_policy__is_final(of(&story), &story.state, SHOWN_MS + WINDOW_MS - 1, &is_positive, &delay_ms));
    assert_true(learner_policy__is_final(of(&story), &story.state, SHOWN_MS + WINDOW_MS, &is_positive, &delay_ms));
    assert_false(is_positive);
    assert_int_equal(delay_ms, WINDOW_MS);
    outcome(&story, 500);
    assert_false(learner_policy__is_final(of(&story), &story.state, SHOWN_MS + 499, &is_positive, &delay_ms));
    assert_true(learner_policy__is_final(of(&story), &story.state, SHOWN_MS + 500, &is_positive, &delay_ms));
    assert_true(is_positive);
    assert_int_equal(delay_ms, 500);
}

static void a_rank_is_of_the_earliest_watch_and_of_one_moment_of_the_first_that_came(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    story.task.is_watch_rank = true;
    watch(&story, 9000, 5);
    assert_int_equal(story.state.watched, 5);
    watch(&story, 4000, 7);
    watch(&story, 4000, 9);
    watch(&story, 8000, 8);
    assert_int_equal(story.state.watched, 7);
    watch(&story, 3000, 0); /* it said no length: no later one takes its place */
    assert_int_equal(story.state.watched, 0);
    pass(&story, WINDOW_MS);
    assert_made(story, 0, 0, true, 3000);
}

static void a_task_of_outcomes_keeps_nothing_of_what_was_watched(void **state)
{
    struct story story = begin(LEARNER_WAIT);

    (void)state;
    watch(&story, 9000, 5);
    assert_int_equal(story.state.watched, 0);
}

static void first_only_ranks_the_watch_that_came_first(void **state)
{
    struct story story = begin(LEARNER_FIRST_ONLY);

    (void)state;
    story.task.is_watch_rank = true;
    watch(&story, 9000, 5);
    watch(&story, 4000, 7);
    assert_int_equal(story.state.watched, 5);
    assert_made(story, 0, 0, true, 9000);
}

static void negatives_are_kept_at_their_rate_and_always_the_same_ones(void **state)
{
    int kept = 0;

    (void)state;
    for (uint64_t id = 1; id <= 100000; id++) {
        kept += learner_example__is_kept(id, 0.1);
        assert_true(learner_example__is_kept(id, 1));
        assert_true(!learner_example__is_kept(id, 0.1) || learner_example__is_kept(id, 0.2));
    }
    assert_in_range(kept, 9700, 10300); /* the standard deviation is 95 */
}

static void the_ids_of_examples_are_the_documented_bytes(void **state)
{
    struct learner_labelled labelled = {.user_id = 2, .made = {.step = 4}, .shown = {.request_id = 1, .item_id = 3}};

    (void)state;
    /* xxhash.xxh64_intdigest(struct.pack("<QQQQ", 1, 2, 3, 4) + b"shop.buy") */
    assert_true(learner_example__id(&labelled, "shop", "buy") == UINT64_C(0x3131bb1a4e2fd117));
}

static void whoever_is_due_first_is_taken_first(void **state)
{
    struct learner_dues dues;
    struct learner_due taken[ENDLESS];
    struct learner_place end = {.ms = INT64_MAX};

    (void)state;
    assert_true(learner_dues__init(&dues));
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(learner_dues__put(&dues, (struct learner_place){.ms = (int64_t)(i * 7919 % 1000)}, i));
    assert_int_equal(learner_dues__take(&dues, (struct learner_place){.ms = 2}, taken, ENDLESS), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(taken[i].place.ms, i);
    for (int64_t next = 3; next < 1000; next++) {
        assert_int_equal(learner_dues__take(&dues, end, taken, 1), 1);
        assert_int_equal(taken[0].place.ms, next);
    }
    assert_int_equal(learner_dues__take(&dues, end, taken, 1), 0);
    learner_dues__fini(&dues);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_tells_nothing_before_the_window_is_over),
        cmocka_unit_test(wait_takes_the_earliest_of_several_outcomes),
        cmocka_unit_test(wait_without_an_outcome_is_negative_after_the_whole_window),
        cmocka_unit_test(an_outcome_at_the_windows_end_is_outside),
        cmocka_unit_test(an_outcome_after_a_final_negative_is_late),
        cmocka_unit_test(fnw_tells_a_negative_at_once_and_the_positive_again),
        cmocka_unit_test(fnw_makes_both_when_the_outcome_was_there_before_the_rows),
        cmocka_unit_test(first_only_learns_a_positive_once_and_no_negative_before_it_is_due),
        cmocka_unit_test(each_sliver_has_one_positive),
        cmocka_unit_test(a_sliver_is_negative_only_when_the_user_leaves),
        cmocka_unit_test(a_user_who_stays_leaves_at_the_end_of_the_window),
        cmocka_unit_test(another_tasks_label_is_final_when_it_cannot_change),
        cmocka_unit_test(a_rank_is_of_the_earliest_watch_and_of_one_moment_of_the_first_that_came),
        cmocka_unit_test(a_task_of_outcomes_keeps_nothing_of_what_was_watched),
        cmocka_unit_test(first_only_ranks_the_watch_that_came_first),
        cmocka_unit_test(negatives_are_kept_at_their_rate_and_always_the_same_ones),
        cmocka_unit_test(the_ids_of_examples_are_the_documented_bytes),
        cmocka_unit_test(whoever_is_due_first_is_taken_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
