/*
 * Building the filters: a scan of all keys on disk, a slice at a time, while the store is in use. It begins at open (until it is
 * through, every key that is not in the table is asked of the disk), when a filter has more keys than it is good for, and when
 * half of its keys are gone from the disk. A store that began empty has none until the first entity leaves the table, and then
 * an empty one, which is right: what memory has room for costs nothing here.
 *
 * The new filters are there before the scan begins, and whatever leaves the table goes into both. So when the scan is through
 * they have every key that is on disk and not in the table: either it was durable when the scan came by, or it became so later,
 * and then it was in the table, and has left it since or is still there.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <stdlib.h>

enum {
    TEND_SLICES = 4 * STORE_STRIPES,
    READAHEAD_BYTES = 1 << 20,
    BUDGET_SHARE = 256, /* a filter has at the least 1/256 of the budget */
    ROOM = 2, /* for so many times the keys that there are */
};

static uint64_t keys_least(const struct store *store)
{
    return store->memory_bytes / BUDGET_SHARE * 8 / STORE_FILTER_KEY_BITS / STORE_STRIPES;
}

/* The filters that are being built, or none. */
static void set_next(struct store *store, uint64_t *blocks, uint64_t stripe_bytes)
{
    for (uint64_t i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        pthread_mutex_lock(&stripe->lock);
        store_filter__set(&stripe->filter_next, blocks != NULL ? blocks + i * stripe_bytes / sizeof(*blocks) : NULL,
                          blocks != NULL ? stripe_bytes : 0);
        pthread_mutex_unlock(&stripe->lock);
    }
}

static bool make_next(struct store *store, uint64_t keys)
{
    uint64_t stripe_bytes = store_filter__bytes_for(keys), bytes = stripe_bytes * STORE_STRIPES;
    uint64_t *blocks = aligned_alloc(64, bytes);

    if (blocks == NULL)
        return false;
    memset(blocks, 0, bytes);
    store->build.blocks_next = blocks;
    store->build.stripe_bytes_next = stripe_bytes;
    store_stripe__count(&store->filter_bytes, bytes);
    set_next(store, blocks, stripe_bytes);
    return true;
}

/* What was built is what counts from now on. */
static void use_next(struct store *store)
{
    struct store_build *build = &store->build;

    for (int i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        pthread_mutex_lock(&stripe->lock);
        uint64_t keys = stripe->filter_next.keys;
        store_filter__set(&stripe->filter, atomic_load(&stripe->filter_next.blocks), build->stripe_bytes_next);
        stripe->filter.keys = keys;
        store_filter__set(&stripe->filter_next, NULL, 0);
        pthread_mutex_unlock(&stripe->lock);
    }
    free(build->blocks);
    build->blocks = build->blocks_next;
    build->blocks_next = NULL;
    build->is_running = false;
    atomic_store_explicit(&store->filter_bytes, build->stripe_bytes_next * STORE_STRIPES, memory_order_relaxed);
    atomic_store(&store->are_kinds_known, true);
    atomic_store(&store->is_filter_built, true);
}

static uint64_t keys_wanted(struct store *store)
{
    uint64_t least = keys_least(store), keys;
    struct store_stats stats;

    store_stats_read(store, &stats);
    keys = ROOM * stats.entities / STORE_STRIPES + 1;
    return keys > least ? keys : least;
}

void store_build__begin_empty(struct store *store)
{
    if (make_next(store, keys_wanted(store)))
        use_next(store);
}

void store_build__fini(struct store *store)
{
    free(store->build.blocks);
    free(store->build.blocks_next);
}

/* ---- When ---- */

static bool is_needed(struct store *store)
{
    uint64_t keys = 0, capacity = 0;

    for (int i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        pthread_mutex_lock(&stripe->lock);
        bool is_none = store_filter__is_none(&stripe->filter);
        keys += stripe->filter.keys;
        capacity += stripe->filter.capacity;
        pthread_mutex_unlock(&stripe->lock);
        if (is_none)
            return true;
    }
    return keys > capacity || store_stripe__read(&store->gone) > capacity / 2;
}

static bool begin(struct store *store)
{
    store->build.is_running = make_next(store, keys_wanted(store));
    store->build.at_bytes = 0;
    atomic_store(&store->gone, 0);
    return store->build.is_running;
}

/* ---- The scan ---- */

/* The next slice begins at the last key that was added. One that makes no sense is left to whoever reads it. */
static void add_key(struct store *store, const char *bytes, size_t length)
{
    struct store_build *build = &store->build;
    enum store_part part;
    struct store_key key;

    if (!store_key__decode(fr_slice(bytes, length), &key, &part))
        return;
    store__note_part(store, key.kind, part);
    bool is_same = build->at_bytes == length && memcmp(build->at, bytes, length - 1) == 0;
    memcpy(build->at, bytes, length);
    build->at_bytes = length;
    if (is_same)
        return;

    uint64_t hash = store_key_hash(store, &key);
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    pthread_mutex_lock(&stripe->lock);
    store_filter__add(&stripe->filter_next, hash);
    pthread_mutex_unlock(&stripe->lock);
}

static bool scan_slice(struct store *store, int64_t until_us, bool *is_through, struct fr_err *err)
{
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    char *message = NULL;

    rocksdb_readoptions_set_fill_cache(read, 0);
    rocksdb_readoptions_set_readahead_size(read, READAHEAD_BYTES);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(store->disk.db, read, store->disk.family);
    if (store->build.at_bytes == 0)
        rocksdb_iter_seek(iterator, "\1", 1);
    else
        rocksdb_iter_seek(iterator, (const char *)store->build.at, store->build.at_bytes);
    for (int i = 0; rocksdb_iter_valid(iterator) && (i % 64 != 63 || fr_clock_monotonic_us() < until_us); i++) {
        size_t length;
        const char *bytes = rocksdb_iter_key(iterator, &length);

        add_key(store, bytes, length);
        rocksdb_iter_next(iterator);
    }
    *is_through = rocksdb_iter_valid(iterator) == 0;
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(read);
    return message == NULL || store_disk__fail(message, err, store->path, "read the keys");
}

/* A block that cannot be read may hold any keys: what is asked of the disk stays as it is. */
static bool give_up(struct store *store)
{
    struct store_build *build = &store->build;

    set_next(store, NULL, 0);
    free(build->blocks_next);
    build->blocks_next = NULL;
    build->is_running = false;
    build->has_failed = true;
    store_stripe__count(&store->filter_bytes, 0 - build->stripe_bytes_next * STORE_STRIPES);
    return false;
}

bool store_tend(struct store *store, int64_t work_us, struct fr_err *err)
{
    int64_t until_us = fr_clock_monotonic_us() + work_us;
    bool is_through = false;

    store_visit__advance(store);
    store_evict__to_budget(store, TEND_SLICES);
    if (store->build.has_failed || store_is_whole(store))
        return true;
    if (!store->build.is_running && (!is_needed(store) || !begin(store)))
        return true;
    if (!scan_slice(store, until_us, &is_through, err))
        return give_up(store);
    if (is_through)
        use_next(store);
    return true;
}
