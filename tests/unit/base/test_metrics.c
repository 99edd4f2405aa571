#include <freshet/metrics.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *print(struct fr_metrics *metrics, struct fr_buffer *out)
{
    fr_buffer_init(out);
    fr_metrics_print(metrics, out);
    fr_buffer_append_byte(out, '\0');
    assert_false(out->is_failed);
    return (const char *)out->bytes;
}

static void the_same_name_and_labels_are_the_same_counter(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_counter *watch = fr_metrics_counter(metrics, "freshet_events_total", "action=\"watch\"", "Events.");
    struct fr_counter *like = fr_metrics_counter(metrics, "freshet_events_total", "action=\"like\"", "Events.");

    (void)state;
    assert_ptr_not_equal(watch, like);
    assert_ptr_equal(watch, fr_metrics_counter(metrics, "freshet_events_total", "action=\"watch\"", "Events."));
    fr_counter_add(watch, 2);
    fr_counter_add(watch, 3);
    assert_int_equal(fr_counter_read(watch), 5);
    assert_int_equal(fr_counter_read(like), 0);
    fr_metrics_free(metrics);
    fr_metrics_free(NULL);
}

static void a_name_is_helped_and_typed_once(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_buffer out;

    (void)state;
    fr_counter_add(fr_metrics_counter(metrics, "freshet_events_total", "action=\"watch\"", "Events\nof \\ all."), 7);
    fr_gauge_set(fr_metrics_gauge(metrics, "freshet_entities", NULL, "Entities."), 0.1);
    fr_counter_add(fr_metrics_counter(metrics, "freshet_events_total", "action=\"like\"", "Events."), 1);
    assert_string_equal(print(metrics, &out), "# HELP freshet_entities Entities.\n"
                                              "# TYPE freshet_entities gauge\n"
                                              "freshet_entities 0.1\n"
                                              "# HELP freshet_events_total Events\\nof \\\\ all.\n"
                                              "# TYPE freshet_events_total counter\n"
                                              "freshet_events_total{action=\"like\"} 1\n"
                                              "freshet_events_total{action=\"watch\"} 7\n");
    fr_buffer_fini(&out);
    fr_metrics_free(metrics);
}

static void gauges_print_what_is_no_number(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_buffer out;

    (void)state;
    fr_gauge_set(fr_metrics_gauge(metrics, "a", NULL, ""), __builtin_nan(""));
    fr_gauge_set(fr_metrics_gauge(metrics, "b", NULL, ""), -__builtin_inf());
    fr_gauge_set(fr_metrics_gauge(metrics, "c", NULL, ""), 1e21);
    print(metrics, &out);
    assert_non_null(strstr((char *)out.bytes, "\na NaN\n"));
    assert_non_null(strstr((char *)out.bytes, "\nb -Inf\n"));
    assert_non_null(strstr((char *)out.bytes, "\nc 1e+21\n"));
    fr_buffer_fini(&out);
    fr_metrics_free(metrics);
}

static void label_values_are_escaped(void **state)
{
    struct fr_buffer out;

    (void)state;
    fr_buffer_init(&out);
    fr_metrics_escape(&out, "a\"b\\c\nd");
    assert_true(fr_slice_is(fr_buffer_slice(&out), "a\\\"b\\\\c\\nd"));
    fr_buffer_fini(&out);
}

static void a_bucket_holds_its_upper_edge(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_histogram *histogram = fr_metrics_histogram(metrics, "freshet_read_seconds", "m=\"x\"", "Reads.");
    struct fr_buffer out;
    const char *text;

    (void)state;
    fr_histogram_add_us(histogram, -4); /* a clock that stepped back: 0 */
    fr_histogram_add_us(histogram, 2); /* le 2 µs */
    fr_histogram_add_us(histogram, 1000); /* le 1 ms */
    fr_histogram_add_us(histogram, 1001); /* le 2 ms */
    fr_histogram_add_us(histogram, 100000000); /* le 100 s */
    fr_histogram_add_us(histogram, 200000000); /* above */
    text = print(metrics, &out);
    assert_non_null(strstr(text, "# TYPE freshet_read_seconds histogram\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"1e-06\"} 1\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"2e-06\"} 2\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"0.0005\"} 2\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"0.001\"} 3\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"0.002\"} 4\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"100\"} 5\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_bucket{m=\"x\",le=\"+Inf\"} 6\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_sum{m=\"x\"} 300.002003\n"));
    assert_non_null(strstr(text, "freshet_read_seconds_count{m=\"x\"} 6\n"));
    fr_buffer_fini(&out);
    fr_metrics_free(metrics);
}

static void quantiles_are_within_a_few_percent(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_histogram *histogram = fr_metrics_histogram(metrics, "h", NULL, "");

    (void)state;
    assert_true(fr_histogram_quantile_us(histogram, 0.5) == 0);
    for (int64_t us = 1; us <= 10000; us++)
        fr_histogram_add_us(histogram, us);
    assert_float_equal(fr_histogram_quantile_us(histogram, 0.5), 5000, 50);
    assert_float_equal(fr_histogram_quantile_us(histogram, 0.99), 9900, 99);
    assert_float_equal(fr_histogram_quantile_us(histogram, 1), 10000, 100);
    fr_metrics_free(metrics);
}

struct adder {
    struct fr_metrics *metrics;
    pthread_t thread;
};

static void *add_many(void *argument)
{
    struct adder *adder = argument;
    struct fr_counter *counter = fr_metrics_counter(adder->metrics, "n_total", NULL, "N.");
    struct fr_histogram *histogram = fr_metrics_histogram(adder->metrics, "h_seconds", NULL, "H.");

    for (int i = 0; i < 10000; i++) {
        fr_counter_add(counter, 1);
        fr_histogram_add_us(histogram, i);
        fr_gauge_set(fr_metrics_gauge(adder->metrics, "g", NULL, "G."), i);
    }
    return NULL;
}

static void no_count_is_lost_between_threads(void **state)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct adder adders[4];
    struct fr_buffer out;

    (void)state;
    for (int i = 0; i < 4; i++) {
        adders[i].metrics = metrics;
        assert_int_equal(pthread_create(&adders[i].thread, NULL, add_many, &adders[i]), 0);
    }
    print(metrics, &out); /* while they add */
    fr_buffer_fini(&out);
    for (int i = 0; i < 4; i++)
        pthread_join(adders[i].thread, NULL);
    assert_non_null(strstr(print(metrics, &out), "n_total 40000\n"));
    assert_non_null(strstr((char *)out.bytes, "h_seconds_count 40000\n"));
    fr_buffer_fini(&out);
    fr_metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_name_and_labels_are_the_same_counter),
        cmocka_unit_test(a_name_is_helped_and_typed_once),
        cmocka_unit_test(gauges_print_what_is_no_number),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(a_bucket_holds_its_upper_edge),
        cmocka_unit_test(quantiles_are_within_a_few_percent),
        cmocka_unit_test(no_count_is_lost_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
