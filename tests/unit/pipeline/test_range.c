/* Who would own what: each case is compared with the assignment that there would be, written out by hand or tried one by one. */
#include "cluster_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 8, MEMBERS_MAX = 12 };

static void every_partition_has_one_owner_and_shares_differ_by_one(void **state)
{
    (void)state;
    for (int members = 1; members <= MEMBERS_MAX; members++) {
        int of[MEMBERS_MAX] = {0};

        for (int i = 0; i < PARTITIONS; i++) {
            int owners = 0;

            for (int k = 0; k < members; k++)
                if (pipeline_range__is_of(PARTITIONS, members, k, i)) {
                    owners++;
                    of[k]++;
                }
            assert_int_equal(owners, 1);
        }
        for (int k = 1; k < members; k++)
            assert_true(of[k] == of[k - 1] || of[k] == of[k - 1] - 1);
    }
}

static void the_first_by_name_have_the_longer_shares(void **state)
{
    static const int owner_of_three[PARTITIONS] = {0, 0, 0, 1, 1, 1, 2, 2};

    (void)state;
    for (int i = 0; i < PARTITIONS; i++)
        assert_true(pipeline_range__is_of(PARTITIONS, 3, owner_of_three[i], i));
}

/* Any subset of the others leaves: what the member has then is wanted, and nothing else is. */
static void what_is_wanted_is_what_it_would_have_without_any_of_the_others(void **state)
{
    (void)state;
    for (int members = 1; members <= 6; members++)
        for (int own = 0; own < members; own++)
            for (int most = 0; most <= 3; most++) {
                bool wanted[PARTITIONS] = {false}, tried[PARTITIONS] = {false};

                for (unsigned left = 1; left < 1u << members; left++) {
                    int count = __builtin_popcount(left), before = __builtin_popcount(left & ((1u << own) - 1));

                    if (left & 1u << own || count > most)
                        continue;
                    for (int i = 0; i < PARTITIONS; i++)
                        tried[i] = tried[i] || pipeline_range__is_of(PARTITIONS, members - count, own - before, i);
                }
                pipeline_range__standbys(PARTITIONS, members, own, most, wanted);
                assert_memory_equal(wanted, tried, sizeof wanted);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_partition_has_one_owner_and_shares_differ_by_one),
        cmocka_unit_test(the_first_by_name_have_the_longer_shares),
        cmocka_unit_test(what_is_wanted_is_what_it_would_have_without_any_of_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
