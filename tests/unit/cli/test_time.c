/*
 * Times and numbers in other people's files.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t decimal(const char *text, int scale)
{
    int64_t value = -1;

    assert_true(cli_time__decimal(fr_slice_of(text), scale, &value));
    return value;
}

static int64_t iso(const char *text)
{
    int64_t ms = -1;

    assert_true(cli_time__iso(fr_slice_of(text), &ms));
    return ms;
}

static void a_decimal_is_scaled_without_a_double_between(void **state)
{
    (void)state;
    assert_int_equal(decimal("1511658000", 3), 1511658000000);
    assert_int_equal(decimal("1511658000.1239", 3), 1511658000123);
    assert_int_equal(decimal("1511658000.999999999999", 3), 1511658000999); /* a double would round up */
    assert_int_equal(decimal("9007199254740993", 0), 9007199254740993); /* 2^53 + 1 */
    assert_int_equal(decimal("1649581149287999", -3), 1649581149287);
    assert_int_equal(decimal("1.511658e9", 3), 1511658000000);
    assert_int_equal(decimal("15E-1", 0), 1);
    assert_int_equal(decimal(" 7 ", 0), 7);
    assert_int_equal(decimal(".5", 3), 500);
    assert_int_equal(decimal("5.", 3), 5000);
    assert_int_equal(decimal("0e99999", 3), 0);
    assert_int_equal(decimal("12", -5), 0);
    assert_int_equal(decimal("12e-99999999999", 0), 0);
}

static void below_zero_a_decimal_is_floored(void **state)
{
    (void)state;
    assert_int_equal(decimal("-0.0001", 3), -1);
    assert_int_equal(decimal("-1.5", 3), -1500);
    assert_int_equal(decimal("-1999", -3), -2);
}

static void what_is_no_decimal_or_does_not_fit_is_refused(void **state)
{
    static const char *const texts[] = {"",     " ",  ".", "-", "1e", "1.2.3", "0x10", "1,5", "nan", "9223372036854775808",
                                        "1e30", "1 2"};
    int64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(cli_time__decimal(fr_slice_of(texts[i]), 0, &value));
    assert_false(cli_time__decimal(fr_slice_of("9223372036854775807"), 1, &value));
}

static void iso_times_are_utc_unless_they_say_otherwise(void **state)
{
    (void)state;
    assert_int_equal(iso("2019-10-01 00:00:00 UTC"), 1569888000000);
    assert_int_equal(iso("2019-10-01T00:00:00.123Z"), 1569888000123);
    assert_int_equal(iso("2019-10-01 00:00:00"), 1569888000000);
    assert_int_equal(iso("2019-10-01T08:00:00+08:00"), 1569888000000);
    assert_int_equal(iso("2019-09-30T18:30:00-0530"), 1569888000000);
    assert_int_equal(iso("2019-10-01 02:00:00 +02"), 1569888000000);
    assert_int_equal(iso("2019-10-01T00:00Z"), 1569888000000);
    assert_int_equal(iso("2019-10-01"), 1569888000000);
    assert_int_equal(iso("2019-11-24 00:00:17.004101+00:00"), 1574553617004); /* cut, not rounded */
    assert_int_equal(iso("2019-11-24 00:00:17.9999"), 1574553617999);
    assert_int_equal(iso("1969-12-31T23:59:59.5Z"), -500);
    assert_int_equal(iso("2000-02-29T12:00:00Z"), 951825600000);
    assert_int_equal(iso("0001-01-01T00:00:00Z"), -62135596800000);
}

static void a_time_that_no_calendar_has_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "2019",
                                        "2019-13-01",
                                        "2019-02-29",
                                        "1900-02-29",
                                        "2019-00-01",
                                        "2019-10-32",
                                        "2019-10-01T24:00:00Z",
                                        "2019-10-01T00:60:00Z",
                                        "2019-10-01T00:00:60Z",
                                        "2019-10-01T00:00:00.Z",
                                        "2019-10-01T00:00:00+24:00",
                                        "2019-10-01T00:00:00 CET",
                                        "2019-10-01T00:00:00Zjunk",
                                        "2019/10/01",
                                        "01-10-2019",
                                        "2019-1-1"};
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(cli_time__iso(fr_slice_of(texts[i]), &ms));
}

static void a_time_is_printed_as_it_is_read(void **state)
{
    static const int64_t times[] = {0, -1, 1569888000123, 951825600000, -62135596800000, INT64_C(4102444799999)};
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        cli_time__print(times[i], text);
        assert_int_equal(iso(text), times[i]);
    }
    cli_time__print(1569888000123, text);
    assert_string_equal(text, "2019-10-01T00:00:00.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decimal_is_scaled_without_a_double_between),
        cmocka_unit_test(below_zero_a_decimal_is_floored),
        cmocka_unit_test(what_is_no_decimal_or_does_not_fit_is_refused),
        cmocka_unit_test(iso_times_are_utc_unless_they_say_otherwise),
        cmocka_unit_test(a_time_that_no_calendar_has_is_refused),
        cmocka_unit_test(a_time_is_printed_as_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
