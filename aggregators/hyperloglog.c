/*
 * The estimator is the improved raw one of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
 * (arXiv:1702.01284, algorithm 6). The classic one, with linear counting below 2.5 m, is off by 2.9 % (RMS) at 10,000 ids, where
 * one takes over from the other; this one by 1.1 % to 1.6 % everywhere.
 */
#include "hyperloglog.h"

#include <freshet/text.h>

#include <math.h>

enum { SLICE = 64, RANK_MASK = (1 << AGG_HLL_RANK_BITS) - 1 };

static const uint64_t seed = UINT64_C(0x64697374696e6374); /* never changes: sets on disk were made with it */
static const double alpha_infinity = 0.721347520444481703680; /* 1 / (2 ln 2) */

uint32_t agg_hll__entry(uint64_t id)
{
    uint8_t bytes[sizeof id];
    uint64_t hash;

    for (unsigned i = 0; i < sizeof id; i++) /* little endian everywhere */
        bytes[i] = (uint8_t)(id >> 8 * i);
    hash = fr_text_hash(bytes, sizeof bytes, seed);
    return (uint32_t)(hash >> (64 - AGG_HLL_INDEX_BITS)) << AGG_HLL_RANK_BITS |
           (uint32_t)(__builtin_clzll(hash << AGG_HLL_INDEX_BITS | UINT64_C(1) << (AGG_HLL_INDEX_BITS - 1)) + 1);
}

uint32_t agg_hll__rank(const uint64_t registers[AGG_HLL_WORDS], uint32_t index)
{
    const uint64_t *slice = registers + (size_t)(index / SLICE) * AGG_HLL_RANK_BITS;
    uint32_t rank = 0;

    for (int k = 0; k < AGG_HLL_RANK_BITS; k++)
        rank |= (uint32_t)(slice[k] >> index % SLICE & 1) << k;
    return rank;
}

void agg_hll__raise(uint64_t registers[AGG_HLL_WORDS], uint32_t entry)
{
    uint32_t index = entry >> AGG_HLL_RANK_BITS, rank = entry & RANK_MASK;
    uint64_t *slice = registers + (size_t)(index / SLICE) * AGG_HLL_RANK_BITS;
    uint64_t bit = UINT64_C(1) << index % SLICE;

    if (rank <= agg_hll__rank(registers, index))
        return;
    for (int k = 0; k < AGG_HLL_RANK_BITS; k++)
        slice[k] = (rank >> k & 1) != 0 ? slice[k] | bit : slice[k] & ~bit;
}

void agg_hll__merge(uint64_t into[AGG_HLL_WORDS], const uint64_t from[AGG_HLL_WORDS])
{
    for (size_t at = 0; at < AGG_HLL_WORDS; at += AGG_HLL_RANK_BITS) {
        uint64_t greater = 0, equal = UINT64_MAX; /* so far, of the bits from the highest down */

        for (int k = AGG_HLL_RANK_BITS - 1; k >= 0; k--) {
            greater |= equal & from[at + (size_t)k] & ~into[at + (size_t)k];
            equal &= ~(from[at + (size_t)k] ^ into[at + (size_t)k]);
        }
        for (size_t k = 0; k < AGG_HLL_RANK_BITS; k++)
            into[at + k] ^= (into[at + k] ^ from[at + k]) & greater;
    }
}

void agg_hll__merge_list(uint64_t into[AGG_HLL_WORDS], const uint32_t *entries, uint32_t count)
{
    uint64_t listed[AGG_HLL_WORDS] = {0};

    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = entries[i] >> AGG_HLL_RANK_BITS;
        uint64_t *slice = listed + (size_t)(index / SLICE) * AGG_HLL_RANK_BITS;

        for (int k = 0; k < AGG_HLL_RANK_BITS; k++)
            slice[k] |= (uint64_t)(entries[i] >> k & 1) << index % SLICE;
    }
    agg_hll__merge(into, listed);
}

uint32_t agg_hll__filled(const uint64_t registers[AGG_HLL_WORDS])
{
    uint32_t filled = 0;

    for (size_t at = 0; at < AGG_HLL_WORDS; at += AGG_HLL_RANK_BITS) {
        uint64_t any = 0;

        for (size_t k = 0; k < AGG_HLL_RANK_BITS; k++)
            any |= registers[at + k];
        filled += (uint32_t)__builtin_popcountll(any);
    }
    return filled;
}

/* Adds up how many of the slice's registers in `mask`, whose bits above `bit` say `rank`, have each rank. */
static void count_ranks(const uint64_t *slice, int bit, uint64_t mask, uint32_t rank, uint32_t counts[RANK_MASK + 1])
{
    if (mask == 0)
        return;
    if (bit == 0) {
        counts[rank] += (uint32_t)__builtin_popcountll(mask);
        return;
    }
    bit--;
    count_ranks(slice, bit, mask & slice[bit], rank | 1U << bit, counts);
    count_ranks(slice, bit, mask & ~slice[bit], rank, counts);
}

/* x + Σ x^(2^k) · 2^(k−1) */
static double sigma(double x)
{
    double sum = x, weight = 1, before;

    do {
        x *= x;
        before = sum;
        sum += x * weight;
        weight += weight;
    } while (sum > before);
    return sum;
}

/* (1 − x − Σ (1 − x^(2^−k))² · 2^−k) / 3 */
static double tau(double x)
{
    double sum = 1 - x, weight = 1, before;

    if (x <= 0 || x >= 1)
        return 0;
    do {
        x = sqrt(x);
        before = sum;
        weight *= 0.5;
        sum -= (1 - x) * (1 - x) * weight;
    } while (sum < before);
    return sum / 3;
}

double agg_hll__estimate(const uint64_t registers[AGG_HLL_WORDS])
{
    const double m = AGG_HLL_REGISTERS;
    uint32_t counts[RANK_MASK + 1] = {0};
    double sum;

    for (size_t at = 0; at < AGG_HLL_WORDS; at += AGG_HLL_RANK_BITS)
        count_ranks(registers + at, AGG_HLL_RANK_BITS, UINT64_MAX, 0, counts);
    if (counts[0] == AGG_HLL_REGISTERS)
        return 0;
    sum = m * tau(1 - counts[AGG_HLL_RANK_MAX] / m);
    for (int rank = AGG_HLL_RANK_MAX - 1; rank >= 1; rank--)
        sum = 0.5 * (sum + counts[rank]);
    sum += m * sigma(counts[0] / m);
    return alpha_infinity * m * m / sum;
}
