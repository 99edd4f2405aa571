/*
 * A blocked Bloom filter: which entities the disk may have that the table lacks. A key is one bit in each of the eight words of
 * one cache line, so asking costs one miss. It has no false "no"; at its capacity of 12 bits a key a false "yes" comes about once
 * in 200 keys, and costs a look at the disk. Nothing can be taken out of it: when too much of it is stale, or it is full, it is
 * built anew (build.c). Each stripe has its own, under the stripe's lock.
 */
#include "internal.h"

enum { WORDS = 8, BLOCK_BYTES = 8 * WORDS, BLOCK_BITS = 8 * BLOCK_BYTES };

uint64_t store_filter__bytes_for(uint64_t keys)
{
    uint64_t blocks = (keys * STORE_FILTER_KEY_BITS + BLOCK_BITS - 1) / BLOCK_BITS;

    blocks = blocks > 0 ? blocks : 1;
    return (blocks < UINT32_MAX ? blocks : UINT32_MAX) * BLOCK_BYTES;
}

void store_filter__set(struct store_filter *filter, uint64_t *blocks, uint64_t bytes)
{
    atomic_store_explicit(&filter->blocks, blocks, memory_order_relaxed);
    atomic_store_explicit(&filter->block_count, bytes / BLOCK_BYTES, memory_order_relaxed);
    filter->capacity = bytes * 8 / STORE_FILTER_KEY_BITS;
    filter->keys = 0;
}

bool store_filter__is_none(const struct store_filter *filter)
{
    return atomic_load_explicit(&filter->blocks, memory_order_relaxed) == NULL;
}

/* The top byte of a hash is the same in the whole stripe, and the table uses the low bits: all are mixed once more. */
static uint64_t mix(uint64_t hash)
{
    unsigned __int128 product = (unsigned __int128)(hash ^ UINT64_C(0x2545F4914F6CDD1D)) * UINT64_C(0x9E3779B97F4A7C15);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t *block_of(const struct store_filter *filter, uint64_t mixed)
{
    uint64_t index = (mixed >> 32) * atomic_load_explicit(&filter->block_count, memory_order_relaxed) >> 32;

    return atomic_load_explicit(&filter->blocks, memory_order_relaxed) + index * WORDS;
}

/* Six bits for each word, independent of those that chose the block. */
static uint64_t places_of(uint64_t mixed)
{
    return (mixed & UINT32_MAX) * UINT64_C(0xD1B54A32D192ED03);
}

void store_filter__prefetch(const struct store_filter *filter, uint64_t hash)
{
    const uint64_t *blocks = atomic_load_explicit(&filter->blocks, memory_order_relaxed);
    uint64_t count = atomic_load_explicit(&filter->block_count, memory_order_relaxed);

    /* Without the lock: the two may be of different moments, and then the fetch is for nothing. */
    __builtin_prefetch((const void *)((uintptr_t)blocks + ((mix(hash) >> 32) * count >> 32) * BLOCK_BYTES));
}

void store_filter__add(struct store_filter *filter, uint64_t hash)
{
    uint64_t mixed = mix(hash), places = places_of(mixed);
    uint64_t *block = block_of(filter, mixed), added = 0;

    for (int word = 0; word < WORDS; word++, places >>= 6) {
        uint64_t bit = UINT64_C(1) << (places >> 10 & 63);

        added |= ~block[word] & bit;
        block[word] |= bit;
    }
    filter->keys += added != 0; /* one that was here before, or looks as if it had been, takes no room */
}

bool store_filter__has(const struct store_filter *filter, uint64_t hash)
{
    uint64_t mixed = mix(hash), places = places_of(mixed);
    const uint64_t *block = block_of(filter, mixed);
    bool has = true;

    for (int word = 0; word < WORDS; word++, places >>= 6)
        has &= (block[word] >> (places >> 10 & 63) & 1) != 0;
    return has;
}
