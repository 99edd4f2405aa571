/*
 * HyperLogLog with 4,096 registers of 6 bits (ALGORITHMS.md 4): how many different ids there are, with a standard error of 1.6 %.
 *
 * Registers are kept in slices: for every 64 of them six words, of which word k holds bit k of each. So 64 registers are merged
 * by some fifty operations on words, and what a set takes is 3,072 bytes, a function of the set alone.
 */
#ifndef FRESHET_AGGREGATORS_HYPERLOGLOG_H
#define FRESHET_AGGREGATORS_HYPERLOGLOG_H

#include <stdint.h>

enum {
    AGG_HLL_INDEX_BITS = 12,
    AGG_HLL_RANK_BITS = 6,
    AGG_HLL_RANK_MAX = 64 - AGG_HLL_INDEX_BITS + 1,
    AGG_HLL_REGISTERS = 1 << AGG_HLL_INDEX_BITS,
    AGG_HLL_WORDS = AGG_HLL_REGISTERS / 64 * AGG_HLL_RANK_BITS
};

/* What an id says: index << 6 | rank, the rank from 1. */
uint32_t agg_hll__entry(uint64_t id);
/* Raises the register to the entry's rank unless it is there already. */
void agg_hll__raise(uint64_t registers[AGG_HLL_WORDS], uint32_t entry);
uint32_t agg_hll__rank(const uint64_t registers[AGG_HLL_WORDS], uint32_t index);
/* The union of both sets. */
void agg_hll__merge(uint64_t into[AGG_HLL_WORDS], const uint64_t from[AGG_HLL_WORDS]);
/* The same with a list of registers above 0, each once; faster than raising one by one. */
void agg_hll__merge_list(uint64_t into[AGG_HLL_WORDS], const uint32_t *entries, uint32_t count);
/* How many registers are above 0. */
uint32_t agg_hll__filled(const uint64_t registers[AGG_HLL_WORDS]);
/* How many ids; the same on every machine, for it takes only additions, products and square roots. */
double agg_hll__estimate(const uint64_t registers[AGG_HLL_WORDS]);

#endif
