/*
 * What the workloads draw from: a seeded generator, the same numbers every time, and 63-bit ids by number, so that a load client
 * asks for what a generator wrote. One sequence a program; one thread.
 */
#ifndef BENCH_DRAW_H
#define BENCH_DRAW_H

#include <stdint.h>

enum draw_kind { DRAW_USER = 1, DRAW_ITEM, DRAW_CREATOR, DRAW_CATEGORY };

static inline uint64_t draw_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t draw_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return draw_mix(*state);
}

/* In [0, 1). */
static inline double draw_uniform(uint64_t *state)
{
    return (double)(draw_next(state) >> 11) * 0x1p-53;
}

static inline uint64_t draw_id(enum draw_kind kind, uint64_t number)
{
    return (draw_mix((uint64_t)kind << 40 | (number + 1)) >> 1) | 1;
}

#endif
