/*
 * What a benchmark tells: the object of the Contract, medians of ratios, a picture.
 */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Three pairs: ours 2, 6, 4 beside a 1, 2, 4 and b always 4. */
static struct cli_bench_report *make_report(void)
{
    static struct cli_bench_report report;
    const double ours[] = {2, 6, 4}, a[] = {1, 2, 4}, b[] = {4, 4, 4};

    cli_bench_report__init(&report, "ingest", "CPU seconds per million events");
    report.pairs = 3;
    report.peer_count = 2;
    snprintf(report.peers[0].name, sizeof report.peers[0].name, "a");
    snprintf(report.peers[1].name, sizeof report.peers[1].name, "b");
    memcpy(report.ours, ours, sizeof ours);
    memcpy(report.peers[0].values, a, sizeof a);
    memcpy(report.peers[1].values, b, sizeof b);
    return &report;
}

static void the_object_is_that_of_the_contract(void **state)
{
    static const char begins[] = "{\"name\":\"ingest\",\"unit\":\"CPU seconds per million events\",\"ours\":4,"
                                 "\"peers\":{\"a\":2,\"b\":4},\"ratio\":{\"a\":2,\"b\":1},\"pairs\":3,\"machine\":{\"cpu\":\"";
    struct cli_bench_report *report = make_report();
    struct fr_buffer json;

    (void)state;
    fr_buffer_init(&json);
    fr_buffer_append_text(&report->details, ",\"broker\":\"none\"");
    cli_bench_report__json(report, &json);
    fr_buffer_append_byte(&json, 0);
    assert_memory_equal(json.bytes, begins, sizeof begins - 1);
    assert_non_null(strstr((char *)json.bytes, ",\"spread\":{\"ours\":{\"min\":2,\"median\":4,\"max\":6}"));
    assert_non_null(strstr((char *)json.bytes, "},\"broker\":\"none\"}"));
    fr_buffer_fini(&json);
    cli_bench_report__fini(report);
}

/* 2/0.5, 6/2, 4/4: their median is 3; the ratio of the medians would be 4/2. */
static void a_ratio_is_taken_pair_by_pair(void **state)
{
    struct cli_bench_report *report = make_report();
    struct cli_bench_spread ratio;

    (void)state;
    report->peers[0].values[0] = 0.5;
    ratio = cli_bench_report__ratio(report, 0);
    assert_float_equal(ratio.least, 1, 1e-9);
    assert_float_equal(ratio.median, 3, 1e-9);
    assert_float_equal(ratio.most, 4, 1e-9);
    cli_bench_report__fini(report);
}

static void the_median_of_two_is_their_middle(void **state)
{
    struct cli_bench_report *report = make_report();

    (void)state;
    report->pairs = 2;
    assert_float_equal(cli_bench_report__ours(report).median, 4, 1e-9);
    report->pairs = 0;
    assert_float_equal(cli_bench_report__ours(report).median, 0, 1e-9);
    cli_bench_report__fini(report);
}

static void great_numbers_are_grouped_and_small_ones_have_four_digits(void **state)
{
    char text[32];

    (void)state;
    assert_string_equal(cli_bench_report__number(44712.6, text), "44,713");
    assert_string_equal(cli_bench_report__number(0.30461, text), "0.3046");
}

static void bars_name_the_ratios_and_both_colour_schemes(void **state)
{
    struct cli_bench_report *report = make_report();
    struct fr_buffer svg;

    (void)state;
    fr_buffer_init(&svg);
    cli_bench_plot__bars(report, &svg);
    fr_buffer_append_byte(&svg, 0);
    assert_non_null(strstr((char *)svg.bytes, "prefers-color-scheme:dark"));
    assert_non_null(strstr((char *)svg.bytes, "ours is 2.00 ×"));
    assert_non_null(strstr((char *)svg.bytes, "width=\"200.0\"")); /* 4 of 6, where 6 is as wide as the bars can be */
    fr_buffer_fini(&svg);
    cli_bench_report__fini(report);
}

static void a_curve_begins_left_and_rises(void **state)
{
    const struct cli_bench_curve curve = {.title = "t",
                                          .x_label = "x",
                                          .y_label = "y",
                                          .x = {10, 1000},
                                          .y = {1, 2},
                                          .part = {1, 1},
                                          .line_name = "l",
                                          .part_name = "p",
                                          .count = 2,
                                          .is_log_x = true};
    struct fr_buffer svg;

    (void)state;
    fr_buffer_init(&svg);
    cli_bench_plot__curves("t", &curve, 1, &svg);
    fr_buffer_append_byte(&svg, 0);
    assert_non_null(strstr((char *)svg.bytes, "points=\"56.0,170.0 396.0,80.0 \""));
    assert_non_null(strstr((char *)svg.bytes, "points=\"56.0,170.0 396.0,170.0 \""));
    fr_buffer_fini(&svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_object_is_that_of_the_contract),
        cmocka_unit_test(a_ratio_is_taken_pair_by_pair),
        cmocka_unit_test(the_median_of_two_is_their_middle),
        cmocka_unit_test(bars_name_the_ratios_and_both_colour_schemes),
        cmocka_unit_test(great_numbers_are_grouped_and_small_ones_have_four_digits),
        cmocka_unit_test(a_curve_begins_left_and_rises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
