#include "node.h"

static void resolution_is_the_coarsest_that_gives_24_panes(void **state)
{
    static const int64_t cases[][2] = {
        {24, 1},         {25, 1},          {60, 1},        {90, 1},       {240, 10},     {300, 10},      {3600, 60},
        {3601, 1},       {7200, 60},       {14400, 600},   {86400, 3600}, {90000, 3600}, {172800, 3600}, {518400, 21600},
        {604800, 21600}, {2592000, 86400}, {129600, 3600}, {1440, 60},    {1430, 10},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int level = agg_window__level(cases[i][0] * 1000, AGG_PANES_LEAST);

        assert_true(level >= 0);
        assert_int_equal(agg__level_ms[level], cases[i][1] * 1000);
    }
}

static void what_is_no_window_has_no_resolution(void **state)
{
    (void)state;
    assert_int_equal(agg_window__level(23000, AGG_PANES_LEAST), -1);
    assert_int_equal(agg_window__level(60500, AGG_PANES_LEAST), -1);
    assert_int_equal(agg_window__level(0, AGG_PANES_LEAST), -1);
}

static void levels_nest(void **state)
{
    (void)state;
    for (int level = 1; level < AGG_LEVELS; level++)
        assert_int_equal(agg__level_ms[level] % agg__level_ms[level - 1], 0);
}

static void panes_before_1970_are_floors(void **state)
{
    (void)state;
    assert_int_equal(agg_window__pane(-1, 0), -1);
    assert_int_equal(agg_window__pane(-1000, 0), -1);
    assert_int_equal(agg_window__pane(999, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolution_is_the_coarsest_that_gives_24_panes),
        cmocka_unit_test(what_is_no_window_has_no_resolution),
        cmocka_unit_test(levels_nest),
        cmocka_unit_test(panes_before_1970_are_floors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
