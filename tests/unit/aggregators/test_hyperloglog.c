/* How far off the estimate is, over many sets of each size; and that registers don't tell how they were filled. */
#include "stream.h"

#include "hyperloglog.h"

#include <math.h>

enum { SETS = 1000, SETS_OF_A_MILLION = 250 };

static const int64_t sizes[] = {100,   129,   200,   500,   1000,  2000,  4000,   8000,   10000,
                                12000, 14000, 16000, 20000, 30000, 50000, 100000, 300000, 1000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void the_standard_error_is_within_the_contract(void **state)
{
    double squares[SIZES] = {0}, greatest[SIZES] = {0};
    int sets[SIZES] = {0};

    (void)state;
    for (uint64_t set = 1; set <= SETS; set++) {
        uint64_t registers[AGG_HLL_WORDS] = {0};
        int64_t id = 0;

        for (int i = 0; i < SIZES && (sizes[i] <= 100000 || set <= SETS_OF_A_MILLION); i++) {
            double error;

            for (; id < sizes[i]; id++) /* ids as databases give them: one after the other */
                agg_hll__raise(registers, agg_hll__entry(set << 32 | (uint64_t)id));
            error = fabs(agg_hll__estimate(registers) / (double)sizes[i] - 1);
            squares[i] += error * error;
            greatest[i] = fmax(greatest[i], error);
            sets[i]++;
        }
    }
    for (int i = 0; i < SIZES; i++) {
        double rms = sqrt(squares[i] / sets[i]);

        print_message("%7lld ids, %4d sets: RMS %.2f %%, greatest %.2f %%\n", (long long)sizes[i], sets[i], 100 * rms,
                      100 * greatest[i]);
        assert_true(rms <= 0.017);
        assert_true(greatest[i] <= 5 * 0.017);
    }
}

static void a_union_is_what_adding_all_would_be(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng = {seed};
        uint64_t one[AGG_HLL_WORDS] = {0}, other[AGG_HLL_WORDS] = {0}, both[AGG_HLL_WORDS] = {0}, listed[AGG_HLL_WORDS];
        uint32_t entries[AGG_HLL_REGISTERS], count = 0, filled = 0;

        for (int64_t i = rng_below(&rng, 20000); i > 0; i--) {
            uint32_t entry = agg_hll__entry(rng_next(&rng));

            agg_hll__raise(rng_one_in(&rng, 2) ? one : other, entry);
            agg_hll__raise(both, entry);
        }
        for (uint32_t i = 0; i < AGG_HLL_REGISTERS; i++) {
            if (agg_hll__rank(other, i) > 0)
                entries[count++] = i << AGG_HLL_RANK_BITS | agg_hll__rank(other, i);
        }
        memcpy(listed, one, sizeof one);
        agg_hll__merge_list(listed, entries, count);
        assert_memory_equal(listed, both, sizeof both);
        agg_hll__merge(one, other);
        assert_memory_equal(one, both, sizeof both);
        for (uint32_t i = 0; i < AGG_HLL_REGISTERS; i++)
            filled += agg_hll__rank(both, i) > 0;
        assert_int_equal(agg_hll__filled(both), filled);
    }
}

static void of_nothing_it_is_0_and_of_all_ranks_it_is_finite(void **state)
{
    uint64_t registers[AGG_HLL_WORDS] = {0};

    (void)state;
    assert_float_equal(agg_hll__estimate(registers), 0, 0);
    for (uint32_t i = 0; i < AGG_HLL_REGISTERS; i++) {
        agg_hll__raise(registers, i << AGG_HLL_RANK_BITS | (1 + i % AGG_HLL_RANK_MAX));
        assert_int_equal(agg_hll__rank(registers, i), 1 + i % AGG_HLL_RANK_MAX);
        assert_true(agg_hll__estimate(registers) > 0 && isfinite(agg_hll__estimate(registers)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_error_is_within_the_contract),
        cmocka_unit_test(a_union_is_what_adding_all_would_be),
        cmocka_unit_test(of_nothing_it_is_0_and_of_all_ranks_it_is_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
