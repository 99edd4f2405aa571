/*
 * Warming: after a restart all entities are on disk only, and each costs a look there of its own when it is first wanted. State that is
 * small beside the budget is brought into the table ahead of that, in the order in which it lies: a fifth of the work (measured).
 *
 * A load may insert what it read because it looked at the table first, on a visit (visit.c). This does not look. It notes how many entities
 * have left the table so far, then scans a piece, and inserts only while that number stands: who is not in the table then was not
 * there at the scan's snapshot either, so it has not changed since. Once anything has left there is no room to fill, and warming is over.
 *
 * What cannot be read or decoded is left to whoever wants it, who tells it.
 */
#include "internal.h"

#include <freshet/clock.h>

enum {
    PIECE_ENTITIES = 1024, /* between two looks at the clock */
    DISK_SHARE = 8, /* of the budget at most is warmed: in memory it is some three times as much */
    TABLE_SHARE = 2, /* of what the table may have is filled so at most */
};

struct piece {
    struct store *store;
    uint64_t departed; /* from the table, before the snapshot */
    bool is_over;
};

static bool is_worth_it(const struct store *store)
{
    uint64_t bytes = 0;

    if (store_is_whole(store) || rocksdb_property_int(store->disk.db, "rocksdb.live-sst-files-size", &bytes) != 0)
        return false;
    return store->memory_bytes == 0 || bytes <= store->memory_bytes / DISK_SHARE;
}

/* NULL: out of memory, or it makes no sense. */
static struct store_entry *decode(const struct store *store, const struct store_key *key, uint64_t hash,
                                  const struct fr_slice disk[STORE_PARTS])
{
    struct store_entry *entry = store_entry__new(key, (uint8_t)(hash >> 56));

    for (enum store_part part = 0; part < STORE_PARTS && entry != NULL; part++)
        if (disk[part].length > 0 && store_load__part(&store->codec, key, part, disk[part], entry) != STORE_LOADED) {
            store_entry__free(entry);
            entry = NULL;
        }
    return entry;
}

/* Into the table, unless it is there or may have been. */
static bool warm_entity(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct piece *piece = user;
    struct store *store = piece->store;
    uint64_t hash = store_key_hash(store, key);
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    struct store_entry *entry = decode(store, key, hash, disk);
    bool is_inserted = false;

    if (entry == NULL)
        return true;
    pthread_mutex_lock(&stripe->lock);
    piece->is_over = atomic_load(&store->departed) != piece->departed;
    if (!piece->is_over && store_stripe__find(stripe, key, hash, &store->eras) == NULL)
        is_inserted = store_stripe__insert(stripe, entry, hash, &store->eras);
    pthread_mutex_unlock(&stripe->lock);
    if (is_inserted)
        store__count_loaded(store);
    else
        store_entry__free(entry);
    return !piece->is_over;
}

static bool warm_piece(struct store *store)
{
    struct piece piece = {.store = store, .departed = atomic_load(&store->departed)};
    struct fr_err err;

    if (store_memory__table(store) > store_memory__table_most(store) / TABLE_SHARE)
        return false;
    return store_scan_some(store, &store->warming.cursor, PIECE_ENTITIES, warm_entity, &piece, &err) && !piece.is_over &&
           store->warming.cursor.length > 0;
}

bool store_warm(struct store *store, int64_t work_us)
{
    struct store_warming *warming = &store->warming;
    int64_t until_us = fr_clock_monotonic_us() + work_us;

    if (warming->is_over || (warming->cursor.length == 0 && !is_worth_it(store)))
        warming->is_over = true;
    do
        warming->is_over = warming->is_over || !warm_piece(store);
    while (!warming->is_over && fr_clock_monotonic_us() < until_us);
    return !warming->is_over;
}
