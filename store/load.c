/*
 * Bringing entities from disk into the table. Lanes ask for a batch's keys before they take the gate, readers for a request's
 * misses; both may ask for the same key at once. The first to insert wins, and the other drops what it read: nothing leaves the
 * table, so a key that is not in it has not changed since it was read.
 *
 * When clean entities are to leave the table, that argument needs one thing more: between one thread's read and its insert the
 * entity could have come, changed, become durable and left, and the insert would bring the old state back. Then a stripe counts
 * what leaves it, and a read that straddles such a departure is read again.
 */
#include "internal.h"

#include <freshet/log.h>

#include <stdlib.h>

enum { SLICE_ENTITIES = 64, SLICE_KEYS = SLICE_ENTITIES * STORE_PARTS, PREFETCH_AHEAD = 8 };

struct missing {
    struct store_disk_key disk_key; /* of part 0 */
    uint64_t hash;
    const struct store_key *key;
};

/* One MultiGet: a slice of entities, each with all its parts. */
struct slice {
    struct store_disk_key keys[SLICE_KEYS];
    const char *key_bytes[SLICE_KEYS];
    size_t key_lengths[SLICE_KEYS];
    rocksdb_pinnableslice_t *values[SLICE_KEYS];
    char *messages[SLICE_KEYS];
};

static int compare_missing(const void *a, const void *b)
{
    return store_disk_key__compare(&((const struct missing *)a)->disk_key, &((const struct missing *)b)->disk_key);
}

/* Those not in the table, in the order of the disk and each once: MultiGet of 7.8 is not to be trusted with duplicates. */
static int collect_missing(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count,
                           struct missing *missing)
{
    int found = 0, kept = 0;

    for (int i = 0; i < count; i++) {
        struct store_stripe *stripe = store_stripe__of(store->stripes, hashes[i]);

        if (i + 2 * PREFETCH_AHEAD < count)
            store_prefetch(store, hashes[i + 2 * PREFETCH_AHEAD]);
        if (i + PREFETCH_AHEAD < count)
            store_prefetch_entry(store, hashes[i + PREFETCH_AHEAD]);
        pthread_mutex_lock(&stripe->lock);
        bool is_here = store_stripe__find(stripe, &keys[i], hashes[i]) != NULL;
        pthread_mutex_unlock(&stripe->lock);
        if (is_here)
            continue;
        missing[found] = (struct missing){.hash = hashes[i], .key = &keys[i]};
        store_key__encode(&keys[i], STORE_PART_ROWS, &missing[found++].disk_key);
    }
    qsort(missing, (size_t)found, sizeof(*missing), compare_missing);
    for (int i = 0; i < found; i++)
        if (kept == 0 || compare_missing(&missing[kept - 1], &missing[i]) != 0)
            missing[kept++] = missing[i];
    return kept;
}

static void read_slice(struct store *store, const struct missing *missing, int count, struct slice *slice)
{
    size_t key_count = (size_t)count * STORE_PARTS;
    bool is_sorted = true; /* unless a kind mixes numbers of ids; RocksDB asserts what it is told */

    for (size_t i = 0; i < key_count; i++) {
        struct store_disk_key *key = &slice->keys[i];

        store_key__encode(missing[i / STORE_PARTS].key, i % STORE_PARTS, key);
        slice->key_bytes[i] = (const char *)key->bytes;
        slice->key_lengths[i] = store_disk_key__length(key);
        is_sorted = is_sorted && (i == 0 || store_disk_key__compare(&slice->keys[i - 1], key) < 0);
    }
    rocksdb_batched_multi_get_cf(store->disk.db, store->disk.read, store->disk.family, key_count, slice->key_bytes,
                                 slice->key_lengths, slice->values, slice->messages, is_sorted);
}

static void free_slice(struct slice *slice, int count)
{
    for (int i = 0; i < count * STORE_PARTS; i++) {
        if (slice->values[i] != NULL)
            rocksdb_pinnableslice_destroy(slice->values[i]);
        rocksdb_free(slice->messages[i]);
    }
}

/* ---- One entity ---- */

enum outcome { LOADED, DAMAGED, NO_MEMORY };

static enum outcome decode_part(const struct store_codec *codec, const struct store_key *key, enum store_part part,
                                struct fr_slice disk, struct store_entry *entry)
{
    enum outcome outcome = NO_MEMORY;
    struct fr_buffer memory;

    fr_buffer_init(&memory);
    bool is_sound = codec->decode(codec->user, key, part, disk, &memory);
    if (!is_sound && !memory.is_failed)
        outcome = DAMAGED;
    else if (is_sound && !memory.is_failed && memory.length == 0)
        outcome = LOADED;
    else if (is_sound && !memory.is_failed)
        outcome = (entry->parts[part] = store_block__new(fr_buffer_slice(&memory))) != NULL ? LOADED : NO_MEMORY;
    fr_buffer_fini(&memory);
    entry->flags = (uint8_t)(entry->flags | 1 << part);
    return outcome;
}

static enum outcome decode_entity(const struct store *store, const struct missing *missing,
                                  rocksdb_pinnableslice_t *const *values, char *const *messages, struct store_entry *entry)
{
    enum outcome outcome = LOADED;

    for (enum store_part part = 0; part < STORE_PARTS && outcome == LOADED; part++) {
        size_t length = 0;
        const char *bytes = values[part] != NULL ? rocksdb_pinnableslice_value(values[part], &length) : NULL;

        if (messages[part] != NULL)
            outcome = DAMAGED; /* the disk's own failures were told before */
        else if (bytes != NULL)
            outcome = decode_part(&store->codec, missing->key, part, fr_slice(bytes, length), entry);
    }
    return outcome;
}

/* Its bytes stay on disk for whoever comes to mend them; nothing of it is in memory, and nothing is written over it. */
static void quarantine(const struct store *store, const struct missing *missing, struct store_entry *entry)
{
    static struct fr_log_place place;
    struct fr_slice key = fr_slice(missing->disk_key.bytes, store_disk_key__length(&missing->disk_key) - 1);

    for (int part = 0; part < STORE_PARTS; part++) {
        free(entry->parts[part]);
        entry->parts[part] = NULL;
    }
    entry->flags = STORE_ON_DISK | STORE_CORRUPT;
    if (store->has_metrics)
        fr_counter_add(store->metrics.corrupt, 1);
    fr_log_limited(&place, 20, FR_LOG_ERROR, "store", "the state of entity %s in '%s' is damaged: quarantined",
                   store_key__print(key).text, store->path);
}

/* Into the table, unless another thread was first. */
static bool insert(struct store *store, const struct missing *missing, struct store_entry *entry)
{
    struct store_stripe *stripe = &store->stripes[entry->stripe];

    pthread_mutex_lock(&stripe->lock);
    bool is_here = store_stripe__find(stripe, missing->key, missing->hash) != NULL;
    bool is_inserted = !is_here && store_stripe__insert(stripe, entry, missing->hash);
    pthread_mutex_unlock(&stripe->lock);
    if (is_inserted)
        store__count_loaded(store);
    if (!is_inserted)
        store_entry__free(entry);
    return is_here || is_inserted;
}

static bool load_entity(struct store *store, const struct missing *missing, rocksdb_pinnableslice_t *const *values,
                        char *const *messages)
{
    bool is_absent = true;

    for (int part = 0; part < STORE_PARTS; part++)
        is_absent = is_absent && values[part] == NULL && messages[part] == NULL;
    if (store->has_metrics)
        fr_counter_add(is_absent ? store->metrics.loads_absent : store->metrics.loads_found, 1);
    if (is_absent)
        return true;

    struct store_entry *entry = store_entry__new(missing->key, (uint8_t)(missing->hash >> 56));
    if (entry == NULL)
        return false;
    enum outcome outcome = decode_entity(store, missing, values, messages, entry);
    if (outcome == NO_MEMORY) {
        store_entry__free(entry);
        return false;
    }
    if (outcome == DAMAGED)
        quarantine(store, missing, entry);
    return insert(store, missing, entry);
}

/* ---- All of them ---- */

bool store_is_whole(const struct store *store)
{
    return !atomic_load_explicit(&store->has_unloaded, memory_order_acquire);
}

/* A failed checksum is one entity's trouble; anything else is the disk's, and everybody's. */
static bool check_disk(const struct store *store, const struct slice *slice, int count, struct fr_err *err)
{
    for (int i = 0; i < count * STORE_PARTS; i++)
        if (slice->messages[i] != NULL && !store_disk__is_corruption(slice->messages[i]))
            return fr_fail(err, FR_UNAVAILABLE, "store: cannot read from '%s': %s", store->path, slice->messages[i]);
    return true;
}

static bool load_slice(struct store *store, const struct missing *missing, int count, struct fr_err *err)
{
    struct slice slice;

    read_slice(store, missing, count, &slice);
    bool is_loaded = check_disk(store, &slice, count, err);
    for (int i = 0; is_loaded && i < count; i++)
        if (!load_entity(store, &missing[i], &slice.values[i * STORE_PARTS], &slice.messages[i * STORE_PARTS]))
            is_loaded = fr_fail(err, FR_EXHAUSTED, "store: out of memory while loading an entity");
    free_slice(&slice, count);
    return is_loaded;
}

bool store_load(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count, struct fr_err *err)
{
    if (count <= 0 || store_is_whole(store))
        return true;

    struct missing *missing = reallocarray(NULL, (size_t)count, sizeof(*missing));
    if (missing == NULL)
        return fr_fail(err, FR_EXHAUSTED, "store: out of memory while loading %d entities", count);
    int missing_count = collect_missing(store, keys, hashes, count, missing);
    bool is_loaded = true;
    for (int at = 0; is_loaded && at < missing_count; at += SLICE_ENTITIES) {
        int rest = missing_count - at;

        is_loaded = load_slice(store, missing + at, rest < SLICE_ENTITIES ? rest : SLICE_ENTITIES, err);
    }
    free(missing);
    return is_loaded;
}
