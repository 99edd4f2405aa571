/*
 * Warming: after a restart all entities are on disk only, and each costs a look there of its own when it is first wanted. State that is
 * small beside the budget is brought into the table ahead of that, in the order in which it lies: a fifth of the work (measured).
 *
 * A load may insert what it read because it looked at the table first, on a visit (visit.c). This does not look. It notes how many entities
 * have left the table so far, then takes its snapshot, and inserts only while that number stands: who is not in the table then was not
 * there at the snapshot either, so it has not changed since. Once anything has left there is no room to fill, and warming is over.
 *
 * What cannot be read or decoded is left to whoever wants it, who tells it.
 */
#include "internal.h"

#include <freshet/clock.h>

enum {
    READAHEAD_BYTES = 1 << 20,
    CLOCK_RECORDS = 64, /* between two looks at the clock */
    DISK_SHARE = 8, /* of the budget at most is warmed: in memory it is some three times as much */
    TABLE_SHARE = 2, /* of what the table may have is filled so at most */
};

struct walk {
    struct store *store;
    uint64_t departed; /* from the table, before the snapshot */
    struct store_key key;
    struct store_entry *entry; /* of `key`, with its parts so far; NULL: none yet, or it is left out */
    bool is_any;
    bool is_over;
};

static bool is_worth_it(const struct store *store)
{
    uint64_t bytes = 0;

    if (store_is_whole(store) || rocksdb_property_int(store->disk.db, "rocksdb.live-sst-files-size", &bytes) != 0)
        return false;
    return store->memory_bytes == 0 || bytes <= store->memory_bytes / DISK_SHARE;
}

/* Into the table, unless it is there or may have been. Takes the entry. */
static void insert(struct walk *walk)
{
    struct store *store = walk->store;
    struct store_entry *entry = walk->entry;
    bool is_inserted = false;

    walk->entry = NULL;
    if (entry == NULL)
        return;
    uint64_t hash = store_key_hash(store, &walk->key);
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    pthread_mutex_lock(&stripe->lock);
    walk->is_over = walk->is_over || atomic_load(&store->departed) != walk->departed;
    if (!walk->is_over && store_stripe__find(stripe, &walk->key, hash, &store->eras) == NULL)
        is_inserted = store_stripe__insert(stripe, entry, hash, &store->eras);
    pthread_mutex_unlock(&stripe->lock);
    if (is_inserted)
        store__count_loaded(store);
    else
        store_entry__free(entry);
}

static void begin_entity(struct walk *walk, const struct store_key *key)
{
    walk->key = *key;
    walk->is_any = true;
    walk->entry = store_entry__new(key, (uint8_t)(store_key_hash(walk->store, key) >> 56));
}

static void add_part(struct walk *walk, enum store_part part, struct fr_slice disk)
{
    if (walk->entry == NULL || store_load__part(&walk->store->codec, &walk->key, part, disk, walk->entry) == STORE_LOADED)
        return;
    store_entry__free(walk->entry);
    walk->entry = NULL;
}

static void note_place(struct store_warming *warming, const char *bytes, size_t length)
{
    memcpy(warming->at, bytes, length);
    warming->at_bytes = length;
}

/* Up to the end of the first entity after `until_us`; there warming goes on. */
static void go(struct walk *walk, rocksdb_iterator_t *iterator, int64_t until_us)
{
    struct store_warming *warming = &walk->store->warming;

    for (int i = 0; rocksdb_iter_valid(iterator); i++, rocksdb_iter_next(iterator)) {
        size_t key_bytes, value_bytes;
        const char *key_at = rocksdb_iter_key(iterator, &key_bytes);
        const char *value = rocksdb_iter_value(iterator, &value_bytes);
        struct store_key key;
        enum store_part part;

        if (!store_key__decode(fr_slice(key_at, key_bytes), &key, &part))
            continue;
        if (!walk->is_any || !store_key__is_same(&walk->key, &key)) {
            insert(walk);
            if (walk->is_over)
                return;
            if (i >= CLOCK_RECORDS && fr_clock_monotonic_us() >= until_us) {
                note_place(warming, key_at, key_bytes);
                return;
            }
            i = i >= CLOCK_RECORDS ? 0 : i;
            begin_entity(walk, &key);
        }
        add_part(walk, part, fr_slice(value, value_bytes));
    }
    insert(walk);
    walk->is_over = true;
}

bool store_warm(struct store *store, int64_t work_us)
{
    struct store_warming *warming = &store->warming;
    struct walk walk = {.store = store};

    if (warming->is_over || (warming->at_bytes == 0 && !is_worth_it(store)) ||
        store_memory__table(store) > store_memory__table_most(store) / TABLE_SHARE) {
        warming->is_over = true;
        return false;
    }
    walk.departed = atomic_load(&store->departed);
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(read, 1);
    rocksdb_readoptions_set_readahead_size(read, READAHEAD_BYTES);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(store->disk.db, read, store->disk.family);
    if (warming->at_bytes == 0)
        rocksdb_iter_seek(iterator, "\1", 1);
    else
        rocksdb_iter_seek(iterator, (const char *)warming->at, warming->at_bytes);
    go(&walk, iterator, fr_clock_monotonic_us() + work_us);
    if (walk.entry != NULL)
        store_entry__free(walk.entry);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(read);
    warming->is_over = walk.is_over;
    return !warming->is_over;
}
