/* The bucket of a watch: by the length of what was watched, and by the part of it that was. */
#include <freshet/event.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int bucket(double value, double duration_s)
{
    struct proto_event event = {.value = value, .duration_s = duration_s};

    return proto_event_watched(&event);
}

static int at(int length, int time)
{
    return length * PROTO_WATCHED_TIMES + time;
}

static void lengths_are_powers_of_two_of_seconds(void **state)
{
    (void)state;
    assert_int_equal(bucket(0, 1e-9), at(0, 0));
    assert_int_equal(bucket(0, 1.999), at(0, 0));
    assert_int_equal(bucket(0, 2), at(1, 0));
    assert_int_equal(bucket(0, 3.999), at(1, 0));
    assert_int_equal(bucket(0, 4095), at(11, 0));
    assert_int_equal(bucket(0, 4096), at(12, 0));
    assert_int_equal(bucket(0, 1e12), at(12, 0));
}

static void times_are_eighths_of_a_power_of_two_of_the_length(void **state)
{
    (void)state;
    assert_int_equal(bucket(16.0 / 64, 20), at(4, 1)); /* of 16 s 1/64 */
    assert_int_equal(bucket(16.0 / 64 - 1e-9, 20), at(4, 0));
    assert_int_equal(bucket(16, 20), at(4, 49));
    assert_int_equal(bucket(16 * 1.0905, 20), at(4, 49));
    assert_int_equal(bucket(16 * 1.0906, 20), at(4, 50)); /* 2^(1/8) is 1.09051 */
    assert_int_equal(bucket(16 * 1.999, 20), at(4, 56));
    assert_int_equal(bucket(32, 20), at(4, 57));
    assert_int_equal(bucket(16 * 14.6, 20), at(4, 79));
    assert_int_equal(bucket(16 * 14.7, 20), at(4, 80)); /* 2^(31/8) is 14.67 */
    assert_int_equal(bucket(1e12, 20), at(4, 80));
}

static void nothing_and_less_is_the_least_time_and_no_length_is_no_bucket(void **state)
{
    (void)state;
    assert_int_equal(bucket(0, 20), at(4, 0));
    assert_int_equal(bucket(-5, 20), at(4, 0));
    assert_int_equal(bucket(5, 0), -1);
    assert_int_equal(bucket(5, -20), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_powers_of_two_of_seconds),
        cmocka_unit_test(times_are_eighths_of_a_power_of_two_of_the_length),
        cmocka_unit_test(nothing_and_less_is_the_least_time_and_no_length_is_no_bucket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
