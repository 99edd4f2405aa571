/*
 * The hottest few of the last seconds.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_most_frequent_come_first(void **state)
{
    struct cli_hot hot = {0};
    struct cli_hot_entry top[HOT_SHOWN];

    (void)state;
    assert_int_equal(cli_hot__top(&hot, top), 0);
    for (uint64_t id = 1; id <= 8; id++) {
        for (uint64_t i = 0; i < id; i++)
            cli_hot__add(&hot, id, 1, 0);
    }
    cli_hot__add(&hot, 0, 100, 0); /* nothing is never hot */
    assert_int_equal(cli_hot__top(&hot, top), HOT_SHOWN);
    for (uint64_t i = 0; i < HOT_SHOWN; i++)
        assert_int_equal(top[i].id, 8 - i);
}

static void what_was_hot_fades(void **state)
{
    struct cli_hot hot = {0};
    struct cli_hot_entry top[HOT_SHOWN];

    (void)state;
    cli_hot__add(&hot, 1, 100, 0);
    cli_hot__add(&hot, 2, 10, 20000);
    assert_int_equal(cli_hot__top(&hot, top), 2);
    assert_int_equal(top[0].id, 2);
    cli_hot__add(&hot, 3, 1, 10000000);
    assert_int_equal(cli_hot__top(&hot, top), 1);
    assert_int_equal(top[0].id, 3);
}

static void a_newcomer_takes_the_place_of_the_coldest(void **state)
{
    struct cli_hot hot = {0};
    struct cli_hot_entry top[HOT_SHOWN];

    (void)state;
    for (uint64_t id = 1; id <= HOT_ENTRIES; id++)
        cli_hot__add(&hot, id, id == 7 ? 1 : 50, 0);
    cli_hot__add(&hot, 1000, 60, 0);
    assert_int_equal(cli_hot__top(&hot, top), HOT_SHOWN);
    assert_int_equal(top[0].id, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_frequent_come_first),
        cmocka_unit_test(what_was_hot_fades),
        cmocka_unit_test(a_newcomer_takes_the_place_of_the_coldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
