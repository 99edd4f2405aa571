/* A store: opened and closed. */
#include "internal.h"

#include <freshet/fault.h>
#include <freshet/text.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static bool init_gate(pthread_rwlock_t *gate)
{
    pthread_rwlockattr_t attributes;

    /* The committer comes first: lanes that keep entering would starve it. No lane enters twice. */
    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    bool is_made = pthread_rwlock_init(gate, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return is_made;
}

static struct store *store_new(const struct store_options *options, struct fr_err *err)
{
    struct store *store = aligned_alloc(alignof(struct store), sizeof(*store)); /* a multiple of it */

    if (store != NULL)
        memset(store, 0, sizeof(*store));
    if (store == NULL || !init_gate(&store->gate)) {
        free(store);
        (void)fr_fail(err, FR_EXHAUSTED, "store: out of memory");
        return NULL;
    }
    store->lock_fd = -1;
    store->turn = 1;
    atomic_init(&store->eras.now, STORE_AGE_SAFE);
    store->memory_bytes = options->memory_bytes;
    store->free_bytes_least = options->free_bytes_least;
    store->codec = options->codec;
    store->has_metrics = options->metrics != NULL;
    if (store->has_metrics)
        store__register_metrics(&store->metrics, options->metrics);
    fr_buffer_init(&store->taken);
    fr_buffer_init(&store->scratch);
    store->path = options->path != NULL ? strdup(options->path) : NULL;
    store_excerpts__init(store);
    store->stripes = store_table__new();
    bool is_made = store_sst__init(&store->sst) && store->stripes != NULL && (store->path != NULL || options->path == NULL);
    bool is_seeded = getrandom(store->seeds, sizeof(store->seeds), 0) == sizeof(store->seeds);
    if (is_made && is_seeded)
        return store;
    (void)fr_fail(err, FR_EXHAUSTED, is_made ? "store: no random seed" : "store: out of memory");
    store_close(store);
    return NULL;
}

/*
 * The format, as an epoch of its own. 2: what stands beside an offset tells whether a topic was made anew (1 had the offset alone, and is
 * read as it is). Who does not know that would leave it out, so it must not open what has it.
 */
static bool put_format(struct store *store, struct fr_err *err)
{
    char format[16];

    (void)snprintf(format, sizeof(format), "%d", STORE_FORMAT);
    store_meta__put(&store->meta, "format", fr_slice_of(format));
    return store_epoch__write(store, err);
}

/* Writes the format into a store that has nothing yet. */
static bool write_format(struct store *store, struct fr_err *err)
{
    if (atomic_load(&store->has_unloaded) || store->meta.count > 0)
        return fr_fail(err, FR_CORRUPT,
                       "store: '%s' does not say its format; restore a backup, or move the directory away and "
                       "replay from Kafka",
                       store->path);
    return put_format(store, err);
}

static bool check_format(struct store *store, bool is_read_only, struct fr_err *err)
{
    struct fr_slice text = store_meta__get(&store->meta, "format");
    struct fr_slice epoch_text = store_meta__get(&store->meta, "epoch");
    uint64_t format, epoch, entities;

    if (text.length == 0 && is_read_only)
        return fr_fail(err, FR_CORRUPT, "store: '%s' does not say its format: no epoch was ever finished in it", store->path);
    store->is_disk_counted = text.length == 0;
    if (text.length == 0)
        return write_format(store, err);
    if (!fr_text_uint64(text, &format) || format == 0 || !fr_text_uint64(epoch_text, &epoch))
        return fr_fail(err, FR_CORRUPT, "store: '%s' has a format or epoch that makes no sense; restore a backup", store->path);
    if (format > STORE_FORMAT)
        return fr_fail(
            err, FR_BAD_CONFIG,
            "store: '%s' has format %lu, this freshet knows %d; use the newer one that wrote it, or go back: restore a "
            "backup of before, or replay from Kafka into another directory",
            store->path, (unsigned long)format, STORE_FORMAT);
    atomic_store(&store->epoch, epoch);
    if (fr_text_uint64(store_meta__get(&store->meta, "entities"), &entities))
        atomic_store(&store->unloaded, entities);
    store->is_disk_counted = fr_text_uint64(store_meta__get(&store->meta, "disk_entities"), &entities);
    if (store->is_disk_counted)
        atomic_store(&store->disk_entities, entities);
    return format == STORE_FORMAT || is_read_only || put_format(store, err);
}

static bool find_entities(struct store *store, struct fr_err *err)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(store->disk.db, store->disk.read, store->disk.family);
    char *message = NULL;

    rocksdb_iter_seek(iterator, "\1", 1);
    atomic_store(&store->has_unloaded, rocksdb_iter_valid(iterator) != 0);
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    if (message != NULL)
        return store_disk__fail(message, err, store->path, "find the first entity");
    atomic_store(&store->are_kinds_known, !atomic_load(&store->has_unloaded)); /* from now on each is noted */
    atomic_store(&store->is_filter_built, !atomic_load(&store->has_unloaded));
    return true;
}

static bool open_disk(struct store *store, bool is_read_only, struct fr_err *err)
{
    if (is_read_only ? !store_disk__open(store->path, true, &store->disk, err)
                     : !store_rescue__open(store->path, &store->disk, err))
        return false;
    return store_disk__check_files(&store->disk, store->path, err) &&
           (is_read_only || store_directory__clear_epochs(store->path, err));
}

bool store_open(const struct store_options *options, struct store **store, struct fr_err *err)
{
    struct store *opened = store_new(options, err);

    if (opened == NULL)
        return false;
    if ((options->is_read_only ? store_directory__look(opened->path, err)
                               : store_directory__open(opened->path, &opened->lock_fd, err)) &&
        open_disk(opened, options->is_read_only, err) && fr_fault(FR_FAULT_MID_OPEN, err) &&
        store_meta__load(&opened->meta, &opened->disk, opened->path, err) && find_entities(opened, err) &&
        check_format(opened, options->is_read_only, err) && fr_fault(FR_FAULT_MID_OPEN, err)) {
        atomic_store(&opened->level0_files, store_disk__level0_files(&opened->disk));
        atomic_store(&opened->index_bytes, store_disk__index_bytes(&opened->disk));
        *store = opened;
        return true;
    }
    store_close(opened);
    return false;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store_disk__close(&store->disk);
    store_directory__close(store->lock_fd); /* last: until RocksDB is done nobody else may begin */
    store_meta__fini(&store->meta);
    store_sst__fini(&store->sst);
    fr_buffer_fini(&store->taken);
    fr_buffer_fini(&store->scratch);
    free(store->leaving.hashes);
    store_build__fini(store);
    store_table__free(store->stripes);
    store_excerpts__fini(store);
    pthread_rwlock_destroy(&store->gate);
    free(store->path);
    free(store);
}
