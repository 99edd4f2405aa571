/*
 * Bringing entities from disk into the table. Lanes ask for a batch's keys before they take the gate, readers for a request's
 * misses; both may ask for the same key at once. The first to insert wins, and the other drops what it read: what came into the
 * table during a visit does not leave before its end (visit.c), so a key that is not there at the insert has not changed
 * since it was read.
 *
 * What is neither in the table nor in the filter is nowhere: most keys that are new are known to be so without the disk. One that
 * the disk was asked for in vain gets an empty entity that says so, lest it be asked for again.
 */
#include "internal.h"

#include <freshet/log.h>

#include <stdlib.h>

enum { SLICE_ENTITIES = 64, SLICE_KEYS = SLICE_ENTITIES * STORE_PARTS, LOOK_AHEAD = 8, EVICT_SLICES = 128 };

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

enum where { HERE, NOWHERE, MAYBE_ON_DISK };

/* Where the key is; from now to the end of the visit, unless it may be on disk. */
static enum where look(struct store *store, const struct store_key *key, uint64_t hash)
{
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    enum where where = MAYBE_ON_DISK;

    pthread_mutex_lock(&stripe->lock);
    if (store_stripe__find(stripe, key, hash, &store->eras) != NULL)
        where = HERE;
    else if (!store_filter__is_none(&stripe->filter) && !store_filter__has(&stripe->filter, hash))
        where = NOWHERE;
    pthread_mutex_unlock(&stripe->lock);
    return where;
}

static void look_ahead(const struct store *store, const uint64_t *hashes, int at, int count)
{
    for (int i = at == 0 ? 0 : at + LOOK_AHEAD - 1; i < count && i < at + LOOK_AHEAD; i++) {
        store_prefetch(store, hashes[i]);
        store_filter__prefetch(&store->stripes[hashes[i] >> 56].filter, hashes[i]);
    }
}

static void count_looks(const struct store *store, const uint64_t counts[3])
{
    if (!store->has_metrics)
        return;
    fr_counter_add(store->metrics.looks_here, counts[HERE]);
    fr_counter_add(store->metrics.looks_filtered, counts[NOWHERE]);
}

/* Those that may be on disk, in its order and each once: MultiGet of 7.8 is not to be trusted with duplicates. */
static int collect_missing(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count,
                           struct missing *missing)
{
    uint64_t counts[3] = {0};
    int found = 0, kept = 0;

    for (int i = 0; i < count; i++) {
        look_ahead(store, hashes, i, count);
        enum where where = look(store, &keys[i], hashes[i]);
        counts[where]++;
        if (where != MAYBE_ON_DISK)
            continue;
        missing[found] = (struct missing){.hash = hashes[i], .key = &keys[i]};
        store_key__encode(&keys[i], STORE_PART_ROWS, &missing[found++].disk_key);
    }
    count_looks(store, counts);
    qsort(missing, (size_t)found, sizeof(*missing), compare_missing);
    for (int i = 0; i < found; i++)
        if (kept == 0 || compare_missing(&missing[kept - 1], &missing[i]) != 0)
            missing[kept++] = missing[i];
    return kept;
}

/* The parts that any entity of the kind has on disk: the others need not be asked for. */
static unsigned parts_of(struct store *store, uint8_t kind)
{
    return atomic_load(&store->are_kinds_known) ? atomic_load(&store->kind_parts[kind]) : STORE_ON_DISK;
}

static void read_slice(struct store *store, const struct missing *missing, int count, struct slice *slice)
{
    rocksdb_pinnableslice_t *values[SLICE_KEYS];
    char *messages[SLICE_KEYS];
    int places[SLICE_KEYS];
    size_t asked = 0;
    bool is_sorted = true; /* unless a kind mixes numbers of ids; RocksDB asserts what it is told */

    for (int i = 0; i < count * STORE_PARTS; i++) {
        struct store_disk_key *key = &slice->keys[asked];

        slice->values[i] = NULL;
        slice->messages[i] = NULL;
        if ((parts_of(store, missing[i / STORE_PARTS].key->kind) & 1U << i % STORE_PARTS) == 0)
            continue;
        store_key__encode(missing[i / STORE_PARTS].key, (enum store_part)(i % STORE_PARTS), key);
        slice->key_bytes[asked] = (const char *)key->bytes;
        slice->key_lengths[asked] = store_disk_key__length(key);
        is_sorted = is_sorted && (asked == 0 || store_disk_key__compare(key - 1, key) < 0);
        places[asked++] = i;
    }
    if (asked == 0)
        return;
    rocksdb_batched_multi_get_cf(store->disk.db, store->disk.read, store->disk.family, asked, slice->key_bytes,
                                 slice->key_lengths, values, messages, is_sorted);
    for (size_t i = 0; i < asked; i++) {
        slice->values[places[i]] = values[i];
        slice->messages[places[i]] = messages[i];
    }
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

enum store_outcome store_load__part(const struct store_codec *codec, const struct store_key *key, enum store_part part,
                                    struct fr_slice disk, struct store_entry *entry)
{
    enum store_outcome outcome = STORE_NO_MEMORY;
    struct fr_buffer memory;

    fr_buffer_init(&memory);
    bool is_sound = codec->decode(codec->user, key, part, disk, &memory);
    if (!is_sound && !memory.is_failed)
        outcome = STORE_DAMAGED;
    else if (is_sound && !memory.is_failed && memory.length == 0)
        outcome = STORE_LOADED;
    else if (is_sound && !memory.is_failed)
        outcome = (entry->parts[part] = store_block__new(fr_buffer_slice(&memory))) != NULL ? STORE_LOADED : STORE_NO_MEMORY;
    fr_buffer_fini(&memory);
    entry->flags = (uint8_t)(entry->flags | 1 << part);
    return outcome;
}

static enum store_outcome decode_entity(const struct store *store, const struct missing *missing,
                                        rocksdb_pinnableslice_t *const *values, char *const *messages,
                                        struct store_entry *entry)
{
    enum store_outcome outcome = STORE_LOADED;

    for (enum store_part part = 0; part < STORE_PARTS && outcome == STORE_LOADED; part++) {
        size_t length = 0;
        const char *bytes = values[part] != NULL ? rocksdb_pinnableslice_value(values[part], &length) : NULL;

        if (messages[part] != NULL)
            outcome = STORE_DAMAGED; /* the disk's own failures were told before */
        else if (bytes != NULL)
            outcome = store_load__part(&store->codec, missing->key, part, fr_slice(bytes, length), entry);
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
    bool is_nothing = (entry->flags & STORE_NOTHING) != 0;

    pthread_mutex_lock(&stripe->lock);
    bool is_here = store_stripe__find(stripe, missing->key, missing->hash, &store->eras) != NULL;
    bool is_inserted = !is_here && store_stripe__insert(stripe, entry, missing->hash, &store->eras);
    pthread_mutex_unlock(&stripe->lock);
    if (is_inserted && !is_nothing)
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

    struct store_entry *entry = store_entry__new(missing->key, (uint8_t)(missing->hash >> 56));
    if (entry == NULL)
        return false;
    if (is_absent) {
        entry->flags = STORE_NOTHING;
        return insert(store, missing, entry);
    }
    enum store_outcome outcome = decode_entity(store, missing, values, messages, entry);
    if (outcome == STORE_NO_MEMORY) {
        store_entry__free(entry);
        return false;
    }
    if (outcome == STORE_DAMAGED)
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

static bool load_missing(struct store *store, const struct missing *missing, int count, struct fr_err *err)
{
    bool is_loaded = true;

    for (int at = 0; is_loaded && at < count; at += SLICE_ENTITIES)
        is_loaded = load_slice(store, missing + at, count - at < SLICE_ENTITIES ? count - at : SLICE_ENTITIES, err);
    return is_loaded;
}

bool store_load(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count, struct fr_err *err)
{
    if (count <= 0)
        return true;
    store_evict__to_budget(store, EVICT_SLICES); /* whoever brings more makes room */
    if (store_is_whole(store))
        return true;

    struct missing *missing = reallocarray(NULL, (size_t)count, sizeof(*missing));
    if (missing == NULL)
        return fr_fail(err, FR_EXHAUSTED, "store: out of memory while loading %d entities", count);
    struct store_visit visit = store_visit_enter(store);
    int missing_count = collect_missing(store, keys, hashes, count, missing);
    bool is_loaded = load_missing(store, missing, missing_count, err);
    store_visit_leave(store, visit);
    free(missing);
    return is_loaded;
}

bool store_is_loaded(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count)
{
    uint64_t counts[3] = {0};

    if (store_is_whole(store))
        return true;
    for (int i = 0; i < count && counts[MAYBE_ON_DISK] == 0; i++) {
        look_ahead(store, hashes, i, count);
        counts[look(store, &keys[i], hashes[i])]++;
    }
    if (counts[MAYBE_ON_DISK] == 0)
        count_looks(store, counts);
    return counts[MAYBE_ON_DISK] == 0;
}
