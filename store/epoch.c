/*
 * The epoch. For an instant the committer holds the gate alone: the meta records of that instant are put, each stripe's list of
 * changed entities is set aside, and the turn counts up; from then on changes are the next epoch's. Then, with lanes running, it
 * encodes what was set aside part by part (encode.c), before anything that may wait (the dead letters, the disk): the sooner a
 * part is encoded, the less is copied. One SST then makes all of it durable at once.
 *
 * A bit per part and turn says what is dirty. One epoch is in flight, so two turns are enough: even and odd.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

enum {
    SST_SPARE_BYTES = 1 << 20, /* what an SST has beside its values, at the least */
    KEEP_SHARE = 32, /* of the memory budget stays with the committer between two epochs */
    FETCH_AHEAD = 8,
};

void store_gate_enter(struct store *store)
{
    pthread_rwlock_rdlock(&store->gate);
}

void store_gate_leave(struct store *store)
{
    pthread_rwlock_unlock(&store->gate);
}

/* Both refusals come before the turn: nothing has happened, and the store goes on. */
static bool check_room(struct store *store, struct fr_err *err)
{
    int level0_files = store_disk__level0_files(&store->disk);
    uint64_t dirty_bytes = 0, free_bytes;

    atomic_store_explicit(&store->level0_files, level0_files, memory_order_relaxed);
    if (level0_files > STORE_LEVEL0_FILES_MAX)
        return fr_fail(err, FR_EXHAUSTED, "store: level 0 is deep (%d files; up to %d): compaction is behind; the epoch waits",
                       level0_files, STORE_LEVEL0_FILES_MAX);

    for (int i = 0; i < STORE_STRIPES; i++)
        dirty_bytes += atomic_load_explicit(&store->stripes[i].dirty_bytes, memory_order_relaxed);
    if (!store_directory__free_bytes(store->path, &free_bytes, err))
        return false;
    uint64_t needed = store->free_bytes_least + dirty_bytes + dirty_bytes / 2 + SST_SPARE_BYTES;
    return free_bytes >= needed ||
           fr_fail(err, FR_EXHAUSTED,
                   "store: %" PRIu64 " MiB free on the disk of '%s', the epoch waits for %" PRIu64 " MiB; make room",
                   free_bytes >> 20, store->path, needed >> 20);
}

/* False: what is in memory was spoiled while the gate was waited for, or by the boundary, and nothing is turned. */
bool store_epoch__turn(struct store *store, const struct store_epoch *epoch)
{
    uint64_t pending_bytes = 0;

    pthread_rwlock_wrlock(&store->gate);
    if (epoch->boundary != NULL && !store_is_failed(store))
        epoch->boundary(epoch->user, store);
    if (store_is_failed(store)) {
        pthread_rwlock_unlock(&store->gate);
        return false;
    }
    for (int i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        assert(stripe->pending == NULL);
        stripe->pending = stripe->dirty;
        stripe->dirty = NULL;
        pending_bytes += store_stripe__unwritten_bytes(stripe);
        atomic_store_explicit(&stripe->dirty_bytes, 0, memory_order_relaxed);
        atomic_store_explicit(&stripe->dirty_entities, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&store->pending_bytes, pending_bytes, memory_order_relaxed);
    store->turn++;
    pthread_rwlock_unlock(&store->gate);
    return true;
}

/* ---- Telling ---- */

bool store_epoch_each(struct store *store,
                      bool (*each)(void *user, const struct store_key *key, enum store_part part, struct fr_slice value,
                                   struct fr_err *err),
                      void *user, struct fr_err *err)
{
    bool goes_on = true;

    for (size_t i = 0; i < store->sst.count && goes_on; i++) {
        const struct store_record *record = &store->sst.records[i];
        enum store_part part;
        struct store_key key;
        bool is_key = store_key__decode(fr_slice(record->key.bytes, store_disk_key__length(&record->key)), &key, &part);

        assert(is_key);
        goes_on = each(user, &key, part, fr_slice(record->value, record->value ? record->value_bytes : 0), err);
    }
    return goes_on;
}

/* ---- Writing ---- */

bool store_epoch__write(struct store *store, struct fr_err *err)
{
    uint64_t epoch = atomic_load_explicit(&store->epoch, memory_order_relaxed) + 1, file_bytes = 0;
    char path[PATH_MAX], number[24];

    if (store->sst.count == 0 && !store_meta__is_dirty(&store->meta) && !store->meta.is_failed)
        return true;
    if (!store_directory__epoch_path(store->path, epoch, path, sizeof(path), err))
        return false;
    (void)snprintf(number, sizeof(number), "%" PRIu64, epoch);
    store_meta__put(&store->meta, "epoch", fr_slice_of(number));
    store__put_entities(store);
    store__put_disk_entities(store, store_stripe__read(&store->disk_entities) + store->disk_change);
    if (store->meta.is_failed) {
        atomic_store(&store->is_failed, true);
        return fr_fail(err, FR_UNAVAILABLE, "store: out of memory lost a meta record; restart to open the last epoch");
    }

    if (!store_sst__ingest(&store->sst, &store->meta, &store->disk, path, &file_bytes, err)) {
        atomic_store(&store->is_failed, true);
        return false;
    }
    store_stripe__count(&store->disk_entities, store->disk_change);
    atomic_store_explicit(&store->epoch, epoch, memory_order_relaxed);
    atomic_store_explicit(&store->epoch_bytes, file_bytes, memory_order_relaxed);
    store_meta__settle(&store->meta);
    return true;
}

/* Durable: from now on it may leave. What has nothing on disk any more, and was not changed again, is to leave soon. */
static void settle_chunk(struct store *store, struct store_stripe *stripe, const struct store_dirty *chunk)
{
    pthread_mutex_lock(&stripe->lock);
    for (uint32_t i = 0; i < chunk->count; i++) {
        struct store_entry *entry = chunk->entries[i];
        struct store_key key = store_entry__key(entry);

        if (i + FETCH_AHEAD < chunk->count)
            __builtin_prefetch(chunk->entries[i + FETCH_AHEAD]);
        entry->flags = (uint8_t)(entry->flags & ~STORE_IN_EPOCH);
        if (entry->dirty != 0 || (entry->flags & (STORE_ON_DISK | STORE_CORRUPT)) != 0)
            continue;
        store_leaving__note(store, store_key_hash(store, &key));
        atomic_fetch_add_explicit(&store->gone, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&stripe->lock);
}

/* One chunk of each stripe at a time, so that no stripe's lock is taken again at once (encode.c says why). */
static void settle_all(struct store *store)
{
    const struct store_dirty *chunks[STORE_STRIPES];
    bool is_any = true;

    for (int i = 0; i < STORE_STRIPES; i++)
        chunks[i] = store->stripes[i].pending;
    while (is_any) {
        is_any = false;
        for (int i = 0; i < STORE_STRIPES; i++) {
            if (chunks[i] == NULL)
                continue;
            settle_chunk(store, &store->stripes[i], chunks[i]);
            chunks[i] = chunks[i]->next;
            is_any = true;
        }
    }
}

void store_epoch__settle(struct store *store)
{
    store_leaving__let_go(store);
    settle_all(store);
    for (int i = 0; i < STORE_STRIPES; i++)
        store_dirty__free(&store->stripes[i].pending);
    atomic_store_explicit(&store->pending_bytes, 0, memory_order_relaxed);
    store_sst__clear(&store->sst, store->memory_bytes / KEEP_SHARE);
}

/* ---- Taking a failed epoch back ---- */

/*
 * Its parts are the next epoch's now, as they are by now; what was copied of them is dropped. The disk has of it what it had: where RocksDB
 * was asked to write and failed, there is no next epoch. True when the entity was not on the list of changed ones.
 */
static bool take_back_entry(struct store *store, struct store_stripe *stripe, struct store_entry *entry, uint8_t done)
{
    uint64_t turn = store->turn;
    uint8_t pending = store_entry__dirty_parts(entry, turn - 1);
    uint8_t dirty = store_entry__dirty_parts(entry, turn);
    uint8_t parts = (uint8_t)((done & STORE_ON_DISK) | pending);

    if ((done & STORE_ON_DISK) != 0)
        entry->flags = (uint8_t)((entry->flags & ~STORE_ON_DISK) | done >> STORE_PARTS);
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        struct store_block *copy;
        uint32_t bytes;

        if ((pending & 1 << part) != 0) {
            (void)store_entry__take_boundary(stripe, entry, part, &copy);
            store_block__free(copy);
        }
        (void)store_entry_read(entry, part, &bytes);
        if ((parts & ~dirty & 1 << part) != 0)
            store_stripe__count(&stripe->dirty_bytes, bytes);
    }
    entry->copied = (uint8_t)(entry->copied & ~store_entry__mark_of(turn - 1));
    store_entry__clear_dirty(entry, turn - 1, pending);
    store_entry__set_dirty(entry, turn, parts);
    entry->flags = (uint8_t)(entry->flags & ~STORE_IN_EPOCH);
    if (dirty == 0)
        store_stripe__count(&stripe->dirty_entities, 1);
    return dirty == 0;
}

static void take_back_stripe(struct store *store, struct store_stripe *stripe)
{
    for (struct store_dirty *chunk = stripe->pending; chunk != NULL; chunk = chunk->next) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < chunk->count; i++)
            if (take_back_entry(store, stripe, chunk->entries[i], chunk->parts[i]))
                chunk->entries[kept++] = chunk->entries[i];
        memset(chunk->parts, 0, sizeof(chunk->parts));
        chunk->count = kept;
    }
    store_dirty__splice(&stripe->dirty, &stripe->pending);
}

void store_epoch__take_back(struct store *store)
{
    for (int i = 0; i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &store->stripes[i];

        if (stripe->pending == NULL)
            continue;
        pthread_mutex_lock(&stripe->lock);
        take_back_stripe(store, stripe);
        pthread_mutex_unlock(&stripe->lock);
    }
    atomic_store_explicit(&store->pending_bytes, 0, memory_order_relaxed);
    store_sst__clear(&store->sst, store->memory_bytes / KEEP_SHARE);
}

/* ---- All of it ---- */

static bool fail_failed(const struct store *store, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE,
                   "store: '%s' is not written any more, because a write or a change of its state failed before; restart to "
                   "open its last epoch",
                   store->path);
}

void store_spoil(struct store *store)
{
    atomic_store(&store->is_failed, true);
}

bool store_epoch_commit(struct store *store, const struct store_epoch *epoch, struct fr_err *err)
{
    int64_t start_us = fr_clock_monotonic_us();

    if (store_is_failed(store))
        return fail_failed(store, err);
    if (!check_room(store, err))
        return false;

    if (!store_epoch__turn(store, epoch))
        return fail_failed(store, err);
    bool is_durable = store_epoch__encode(store, err) &&
                      (epoch->before_durable == NULL || epoch->before_durable(epoch->user, err)) &&
                      store_epoch__write(store, err);
    if (is_durable)
        store_epoch__settle(store);
    else
        store_epoch__take_back(store);

    store__measure_epoch(store, fr_clock_monotonic_us() - start_us);
    return is_durable;
}
