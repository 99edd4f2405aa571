/*
 * What a long job shows.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_line_shows_share_rate_and_time_left(void **state)
{
    char line[160];

    (void)state;
    cli_progress__line(500, 1000, 120000, "events", 60000, line, sizeof line);
    assert_string_equal(line, "[############------------]  50 %  120,000 events  2,000/s  1:00 left");
    cli_progress__line(0, 1000, 0, "events", 0, line, sizeof line);
    assert_string_equal(line, "[------------------------]   0 %  0 events  0/s  0:00 left");
    cli_progress__line(2000, 1000, 5, "events", 1000, line, sizeof line); /* a file that grows meanwhile */
    assert_string_equal(line, "[########################] 100 %  5 events  5/s  0:00 left");
}

static void without_a_size_there_is_no_bar(void **state)
{
    char line[160];

    (void)state;
    cli_progress__line(500, -1, 1234567, "events", 1000, line, sizeof line);
    assert_string_equal(line, "1,234,567 events  1,234,567/s");
}

static void numbers_are_grouped_by_thousands(void **state)
{
    char text[32];

    (void)state;
    assert_string_equal(cli_progress__grouped(0, text), "0");
    assert_string_equal(cli_progress__grouped(999, text), "999");
    assert_string_equal(cli_progress__grouped(1000, text), "1,000");
    assert_string_equal(cli_progress__grouped(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void a_rate_makes_the_next_event_wait_for_its_turn(void **state)
{
    (void)state;
    assert_int_equal(cli_progress__pause_ms(0, 1000000, 0), 0);
    assert_int_equal(cli_progress__pause_ms(100, 0, 0), 0);
    assert_int_equal(cli_progress__pause_ms(100, 1, 0), 10);
    assert_int_equal(cli_progress__pause_ms(100, 50, 499000), 1);
    assert_int_equal(cli_progress__pause_ms(100, 50, 600000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_shows_share_rate_and_time_left),
        cmocka_unit_test(without_a_size_there_is_no_bar),
        cmocka_unit_test(numbers_are_grouped_by_thousands),
        cmocka_unit_test(a_rate_makes_the_next_event_wait_for_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
