#include <freshet/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_wall_clock_counts_unix_milliseconds(void **state)
{
    (void)state;
    assert_true(fr_clock_wall_ms() > INT64_C(1600000000000)); /* 2020 */
    assert_true(fr_clock_wall_ms() < INT64_C(9000000000000)); /* 2255 */
}

static void a_sleep_takes_its_time_and_none_takes_none(void **state)
{
    int64_t before_us = fr_clock_monotonic_us();

    (void)state;
    fr_clock_sleep_ms(0);
    fr_clock_sleep_ms(-5);
    fr_clock_sleep_ms(3);
    assert_true(fr_clock_monotonic_us() - before_us >= 3000);
}

static void both_monotonic_clocks_are_one(void **state)
{
    int64_t before_ms = fr_clock_monotonic_ms();
    int64_t us = fr_clock_monotonic_us();
    int64_t after_ms = fr_clock_monotonic_ms();

    (void)state;
    assert_true(before_ms <= us / 1000 && us / 1000 <= after_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wall_clock_counts_unix_milliseconds),
        cmocka_unit_test(a_sleep_takes_its_time_and_none_takes_none),
        cmocka_unit_test(both_monotonic_clocks_are_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
