/*
 * How often a principal may call. See access.h for the idea.
 *
 * A principal may be in any of a few slots behind its hash. Who is not there takes the first that holds nobody, or whose bucket
 * is full. When all of them are busy, which takes thousands of principals at work in one burst, it shares the first.
 */
#include "access.h"

#include <freshet/text.h>

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TAG_BITS = 16, TIME_BITS = 64 - TAG_BITS };

static uint64_t tag_of(uint64_t word)
{
    return word >> TIME_BITS;
}

static int64_t full_us(uint64_t word)
{
    return (int64_t)(word & ((UINT64_C(1) << TIME_BITS) - 1));
}

bool server__rate_open(struct server__rate *rate, int per_second, int burst, int64_t now_us, struct fr_err *err)
{
    *rate = (struct server__rate){.opened_us = now_us};
    if (per_second <= 0)
        return true;
    rate->call_us = 1000000 / per_second > 0 ? 1000000 / per_second : 1;
    rate->burst_us = rate->call_us * (burst > 0 ? burst : per_second);
    rate->slots = calloc(SERVER_RATE_SLOTS, sizeof *rate->slots);
    if (!rate->slots)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for the rates of principals");
    if (getrandom(&rate->seed, sizeof rate->seed, 0) != (ssize_t)sizeof rate->seed)
        rate->seed = (uint64_t)(uintptr_t)rate->slots;
    return true;
}

void server__rate_close(struct server__rate *rate)
{
    free(rate->slots);
    rate->slots = NULL;
}

static _Atomic uint64_t *find(struct server__rate *rate, uint64_t hash, int64_t now_us)
{
    _Atomic uint64_t *free_slot = NULL;

    for (uint64_t i = 0; i < SERVER_RATE_PROBES; i++) {
        _Atomic uint64_t *slot = &rate->slots[(hash + i) % SERVER_RATE_SLOTS];
        uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);

        if (tag_of(word) == tag_of(hash) && full_us(word) > now_us)
            return slot;
        if (!free_slot && full_us(word) <= now_us)
            free_slot = slot;
    }
    return free_slot ? free_slot : &rate->slots[hash % SERVER_RATE_SLOTS];
}

int64_t server__rate_take(struct server__rate *rate, const char *principal, int64_t now_us)
{
    uint64_t hash, word;
    _Atomic uint64_t *slot;
    int64_t from_us, wait_us;

    if (!rate->slots)
        return 0;
    now_us -= rate->opened_us;
    hash = fr_text_hash(principal, strlen(principal), rate->seed);
    slot = find(rate, hash, now_us);
    word = atomic_load_explicit(slot, memory_order_relaxed);
    do {
        from_us = full_us(word) > now_us ? full_us(word) : now_us;
        wait_us = from_us + rate->call_us - now_us - rate->burst_us;
        if (wait_us > 0)
            return wait_us;
    } while (!atomic_compare_exchange_weak_explicit(slot, &word,
                                                    tag_of(hash) << TIME_BITS | (uint64_t)(from_us + rate->call_us),
                                                    memory_order_relaxed, memory_order_relaxed));
    return 0;
}
