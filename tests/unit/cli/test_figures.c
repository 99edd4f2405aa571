/*
 * Figures of the last seconds, from two looks at /metrics.
 */
#include "watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char first[] = "# HELP freshet_freshness_seconds From produced to readable.\n"
                            "freshet_freshness_seconds_bucket{le=\"0.01\"} 100\n"
                            "freshet_freshness_seconds_bucket{le=\"0.1\"} 100\n"
                            "freshet_freshness_seconds_bucket{le=\"+Inf\"} 100\n"
                            "freshet_state_budget_bytes 1048576\n"
                            "freshet_request_seconds_count{method=\"freshet.v1.FeatureService/GetFeatures\"} 5\n";
static const char second[] = "freshet_freshness_seconds_bucket{le=\"0.01\"} 150\n"
                             "freshet_freshness_seconds_bucket{le=\"0.1\"} 198\n"
                             "freshet_freshness_seconds_bucket{le=\"+Inf\"} 200\n"
                             "freshet_state_budget_bytes 1048576\n"
                             "freshet_request_seconds_count{method=\"freshet.v1.FeatureService/GetFeatures\"} 25\n"
                             "freshet_request_seconds_count{method=\"freshet.v1.RecallService/Trending\"} 10\n"
                             "freshet_request_seconds_count{method=\"freshet.v1.AdminService/Status\"} 1000\n"
                             "freshet_dead_letters_total{reason=\"bad_json\"} 2\n"
                             "freshet_dead_letters_total{reason=\"future\"} 3";

static void add(struct cli_figures *figures, uint64_t applied, const char *metrics, int64_t now_ms)
{
    Freshet__V1__StatusResponse status;
    struct fr_buffer text;

    freshet__v1__status_response__init(&status);
    status.applied_events = applied;
    status.lag_events = 7;
    fr_buffer_init(&text);
    fr_buffer_append_text(&text, metrics ? metrics : "");
    cli_figures__add(figures, &status, metrics ? &text : NULL, now_ms);
    fr_buffer_fini(&text);
}

static bool is_near(double value, double wanted)
{
    return value > wanted - 1e-9 && value < wanted + 1e-9;
}

static void a_quantile_is_of_what_came_between_two_looks(void **state)
{
    struct cli_scrape before, now;

    (void)state;
    cli_scrape__read(fr_slice_of(first), &before);
    cli_scrape__read(fr_slice_of(second), &now);
    assert_true(is_near(cli_histogram__quantile(&before.freshness, &now.freshness, 0.5), 0.01)); /* 50 of 100 */
    assert_true(is_near(cli_histogram__quantile(&before.freshness, &now.freshness, 0.51), 0.1)); /* 98 of 100 */
    assert_true(is_near(cli_histogram__quantile(&before.freshness, &now.freshness, 0.99), 0.1)); /* beyond: the last end */
    assert_true(cli_histogram__quantile(&now.freshness, &now.freshness, 0.5) < 0); /* nothing came */
    assert_true(is_near(now.dead_letters, 5));
}

static void rates_are_per_second_and_of_rankers_calls(void **state)
{
    struct cli_figures figures = {0};

    (void)state;
    add(&figures, 1000, first, 10000);
    assert_true(cli_figures__last(&figures, CLI_APPLIED) < 0); /* one look is no rate */
    add(&figures, 1500, second, 12000);
    assert_true(is_near(cli_figures__last(&figures, CLI_APPLIED), 250));
    assert_true(is_near(cli_figures__last(&figures, CLI_READS), 15)); /* (35 − 5) in 2 s; the operator's calls are none */
    assert_true(is_near(cli_figures__last(&figures, CLI_LAG), 7));
}

static void another_process_or_no_metrics_give_no_rate(void **state)
{
    struct cli_figures figures = {0};

    (void)state;
    add(&figures, 1500, second, 10000);
    add(&figures, 100, first, 11000); /* it started anew: counters are lower */
    assert_true(cli_figures__last(&figures, CLI_APPLIED) < 0);
    assert_true(cli_figures__last(&figures, CLI_READS) < 0);
    add(&figures, 200, NULL, 12000);
    assert_false(figures.has_metrics);
    add(&figures, 300, second, 13000);
    assert_true(cli_figures__last(&figures, CLI_READS) < 0); /* since when is not known */
    assert_true(is_near(cli_figures__last(&figures, CLI_APPLIED), 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantile_is_of_what_came_between_two_looks),
        cmocka_unit_test(rates_are_per_second_and_of_rankers_calls),
        cmocka_unit_test(another_process_or_no_metrics_give_no_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
