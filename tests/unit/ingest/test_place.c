/* Where a partition starts. */
#include "harness.h"

static void check(struct ingest_place place, enum ingest_placed placed, int64_t next_offset, int64_t gap)
{
    assert_int_equal(place.placed, placed);
    assert_int_equal(place.next_offset, next_offset);
    assert_int_equal(place.gap, gap);
}

static void a_known_offset_goes_on_where_it_was(void **state)
{
    (void)state;
    check(ingest_place__choose(50, -1, 10, 90, INGEST_FAIL, false), INGEST_PLACED, 50, 0);
    check(ingest_place__choose(10, -1, 10, 90, INGEST_LATEST, true), INGEST_PLACED, 10, 0);
    check(ingest_place__choose(90, -1, 10, 90, INGEST_EARLIEST, false), INGEST_PLACED, 90, 0);
    check(ingest_place__choose(0, -1, 0, 0, INGEST_FAIL, false), INGEST_PLACED, 0, 0);
}

static void an_offset_that_retention_took_is_a_gap_from_the_first_that_is_left(void **state)
{
    (void)state;
    check(ingest_place__choose(3, -1, 10, 90, INGEST_LATEST, false), INGEST_PLACED_AFTER_GAP, 10, 7);
    check(ingest_place__choose(0, -1, 90, 90, INGEST_EARLIEST, true), INGEST_PLACED_AFTER_GAP, 90, 90);
}

static void the_record_before_a_known_offset_is_looked_at_where_it_is_still_there(void **state)
{
    (void)state;
    assert_true(ingest_place__choose(50, 49, 10, 90, INGEST_FAIL, false).is_checked);
    assert_true(ingest_place__choose(50, 10, 10, 90, INGEST_FAIL, false).is_checked);
    assert_false(ingest_place__choose(50, 9, 10, 90, INGEST_FAIL, false).is_checked);
    assert_false(ingest_place__choose(50, -1, 0, 90, INGEST_FAIL, false).is_checked);
    assert_false(ingest_place__choose(-1, -1, 0, 90, INGEST_LATEST, false).is_checked);
}

static void an_offset_past_the_end_belongs_to_another_log(void **state)
{
    (void)state;
    check(ingest_place__choose(91, -1, 10, 90, INGEST_EARLIEST, false), INGEST_PLACED_BEYOND, 91, 0);
}

static void an_unknown_partition_starts_as_configured(void **state)
{
    (void)state;
    check(ingest_place__choose(-1, -1, 10, 90, INGEST_EARLIEST, false), INGEST_PLACED, 10, 0);
    check(ingest_place__choose(-1, -1, 10, 90, INGEST_LATEST, false), INGEST_PLACED, 90, 0);
    assert_int_equal(ingest_place__choose(-1, -1, 10, 90, INGEST_FAIL, false).placed, INGEST_PLACED_NOWHERE);
}

static void a_partition_that_came_later_is_read_from_its_first_offset(void **state)
{
    (void)state;
    check(ingest_place__choose(-1, -1, 0, 90, INGEST_LATEST, true), INGEST_PLACED, 0, 0);
    check(ingest_place__choose(-1, -1, 0, 90, INGEST_FAIL, true), INGEST_PLACED, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_offset_goes_on_where_it_was),
        cmocka_unit_test(an_offset_that_retention_took_is_a_gap_from_the_first_that_is_left),
        cmocka_unit_test(the_record_before_a_known_offset_is_looked_at_where_it_is_still_there),
        cmocka_unit_test(an_offset_past_the_end_belongs_to_another_log),
        cmocka_unit_test(an_unknown_partition_starts_as_configured),
        cmocka_unit_test(a_partition_that_came_later_is_read_from_its_first_offset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
