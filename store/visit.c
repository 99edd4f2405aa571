/*
 * Visits: what was in the table while somebody relied on it stays there until he is done.
 *
 * Time is cut into eras. Each slot of the table carries the era in which it was last touched (found by a load, inserted, locked),
 * and each visit is counted under the era in which it began. The era goes up only when no visit of the era before is left, so
 * the visits that run began in this era or in the last one, and whatever one of them touched carries this era or the last: an
 * entity leaves only when it is older than that (evict.c). Hence, from store_load() to the end of the visit, a key is in the
 * table, or it is nowhere; and one that another thread makes meanwhile was touched, too, and stays.
 *
 * The same makes a load safe: between its look at the table and its insert, the entity may have come, changed, and become
 * durable, but it cannot have left again, so the insert finds it and drops what was read.
 *
 * A slot's era is read and written with the stripe locked; what one thread wrote there the next one cannot undo with an
 * older era, because the era never goes back and the lock orders their reads of it.
 */
#include "internal.h"

struct store_visit store_visit_enter(struct store *store)
{
    struct store_eras *eras = &store->eras;

    for (;;) {
        uint64_t era = atomic_load(&eras->now);

        atomic_fetch_add(&eras->visits[era % STORE_VISIT_ERAS].count, 1);
        if (atomic_load(&eras->now) == era)
            return (struct store_visit){.era = era};
        atomic_fetch_sub(&eras->visits[era % STORE_VISIT_ERAS].count, 1); /* it went up in between: count under the new one */
    }
}

void store_visit_leave(struct store *store, struct store_visit visit)
{
    uint64_t before = atomic_fetch_sub(&store->eras.visits[visit.era % STORE_VISIT_ERAS].count, 1);

    assert(before > 0);
}

bool store_visit__is_any(const struct store *store)
{
    uint64_t visits = 0;

    for (int i = 0; i < STORE_VISIT_ERAS; i++)
        visits += atomic_load(&store->eras.visits[i].count);
    return visits > 0;
}

void store_visit__advance(struct store *store)
{
    struct store_eras *eras = &store->eras;
    uint64_t era = atomic_load(&eras->now);

    /* A count may be one of a visitor who is about to move on to the new era: that delays, and never hurries. */
    if (atomic_load(&eras->visits[(era - 1) % STORE_VISIT_ERAS].count) == 0)
        (void)atomic_compare_exchange_strong(&eras->now, &era, era + 1);
}
