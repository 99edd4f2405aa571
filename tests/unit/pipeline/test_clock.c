/* This machine's clock beside those of who stamps records: what a lane met, and what is told of it. */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { START_MS = 1000000, MINUTE_MS = 60000, HOUR_MS = 3600000 };

static struct pipeline_clock clock_of_ours;

static int set_up(void **state)
{
    (void)state;
    pipeline_clock__init(&clock_of_ours);
    return 0;
}

static void nothing_is_said_of_a_clock_before_a_record_came(void **state)
{
    (void)state;
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS), 0);
}

static void the_youngest_record_of_all_lanes_counts(void **state)
{
    (void)state;
    pipeline_clock__note(&clock_of_ours, 0, 70, false, START_MS);
    pipeline_clock__note(&clock_of_ours, 1, 40, false, START_MS + 1);
    pipeline_clock__note(&clock_of_ours, 1, 90000, false, START_MS + 2);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS + 3), 40);
}

static void one_record_of_the_future_is_enough(void **state)
{
    (void)state;
    pipeline_clock__note(&clock_of_ours, 0, 20, false, START_MS);
    pipeline_clock__note(&clock_of_ours, 0, -90000, true, START_MS + 1);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS + 2), -90000);
}

static void what_may_have_waited_says_nothing_by_being_old(void **state)
{
    (void)state;
    pipeline_clock__note(&clock_of_ours, 0, HOUR_MS, true, START_MS);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS), 0);
    pipeline_clock__note(&clock_of_ours, 0, HOUR_MS, false, START_MS);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS), HOUR_MS);
}

static void a_clock_that_was_mended_is_forgotten_after_a_minute(void **state)
{
    (void)state;
    pipeline_clock__note(&clock_of_ours, 0, -HOUR_MS, false, START_MS);
    for (int64_t at = 1000; at < MINUTE_MS; at += 1000)
        pipeline_clock__note(&clock_of_ours, 0, 15, false, START_MS + at);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS + MINUTE_MS - 1), -HOUR_MS);
    pipeline_clock__note(&clock_of_ours, 0, 15, false, START_MS + MINUTE_MS);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS + MINUTE_MS), 15);
}

static void nothing_is_said_when_nothing_came_for_a_minute(void **state)
{
    (void)state;
    pipeline_clock__note(&clock_of_ours, 0, -HOUR_MS, false, START_MS);
    assert_int_equal(pipeline_clock__skew_ms(&clock_of_ours, START_MS + MINUTE_MS), 0);
}

static void small_differences_are_no_trouble(void **state)
{
    char text[PIPELINE_CLOCK_TEXT_BYTES];

    (void)state;
    pipeline_clock__describe(-4999, MINUTE_MS, text);
    assert_string_equal(text, "");
    pipeline_clock__describe(29999, MINUTE_MS, text);
    assert_string_equal(text, "");
}

static void trouble_says_what_becomes_of_events_and_what_to_mend(void **state)
{
    char text[PIPELINE_CLOCK_TEXT_BYTES];

    (void)state;
    pipeline_clock__describe(-30000, MINUTE_MS, text);
    assert_non_null(
        strstr(text, "30.0 s behind a record's timestamp: events count only once this clock has reached them; set the clock"));
    pipeline_clock__describe(-90000, MINUTE_MS, text);
    assert_non_null(strstr(text, "beyond node.max_future become dead letters (future); set the clock"));
    assert_non_null(strstr(text, ", then produce the dead letters again"));
    pipeline_clock__describe(INT64_C(-99) * 365 * 24 * HOUR_MS, MINUTE_MS, text);
    assert_non_null(strstr(text, "again")); /* it all fits */
    pipeline_clock__describe(INT64_C(99) * 365 * 24 * HOUR_MS, MINUTE_MS, text);
    assert_non_null(strstr(text, "hold events back"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_said_of_a_clock_before_a_record_came, set_up),
        cmocka_unit_test_setup(the_youngest_record_of_all_lanes_counts, set_up),
        cmocka_unit_test_setup(one_record_of_the_future_is_enough, set_up),
        cmocka_unit_test_setup(what_may_have_waited_says_nothing_by_being_old, set_up),
        cmocka_unit_test_setup(a_clock_that_was_mended_is_forgotten_after_a_minute, set_up),
        cmocka_unit_test_setup(nothing_is_said_when_nothing_came_for_a_minute, set_up),
        cmocka_unit_test_setup(small_differences_are_no_trouble, set_up),
        cmocka_unit_test_setup(trouble_says_what_becomes_of_events_and_what_to_mend, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
