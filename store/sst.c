/*
 * One epoch's records: collected in any order, sorted once, written as one sorted file, which RocksDB takes over by a hard
 * link and one manifest record. That record is the atom: before it nothing of the epoch is in the store, after it all of it is. The
 * file is synced by its writer, and by the ingestion again together with the directory and the manifest (seen with strace).
 */
#include "internal.h"

#include <freshet/fault.h>

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { FETCH_AHEAD = 8 };

bool store_sst__init(struct store_sst *sst)
{
    *sst = (struct store_sst){.values = fr_arena_new(SIZE_MAX / 2)}; /* what is dirty bounds it */
    return sst->values != NULL;
}

void store_sst__fini(struct store_sst *sst)
{
    free(sst->records);
    free(sst->order_memory);
    fr_arena_free(sst->values);
    *sst = (struct store_sst){0};
}

void store_sst__clear(struct store_sst *sst, size_t keep_bytes)
{
    fr_arena_reset(sst->values, keep_bytes);
    free(sst->order_memory);
    sst->order_memory = NULL;
    sst->order = NULL;
    sst->count = 0;
    if (sst->capacity * sizeof(sst->records[0]) > keep_bytes) {
        free(sst->records);
        sst->records = NULL;
        sst->capacity = 0;
    }
}

size_t store_sst__bytes(const struct store_sst *sst)
{
    return fr_arena_used(sst->values) + sst->capacity * sizeof(sst->records[0]) + 2 * sst->count * sizeof(sst->order[0]);
}

bool store_sst__reserve(struct store_sst *sst, size_t records)
{
    if (sst->count + records <= sst->capacity)
        return true;

    size_t capacity = sst->capacity + sst->capacity / 2 + records + 1024;
    struct store_record *grown = reallocarray(sst->records, capacity, sizeof(*grown));
    if (grown == NULL)
        return false;
    sst->records = grown;
    sst->capacity = capacity;
    return true;
}

bool store_sst__add(struct store_sst *sst, const struct store_key *key, enum store_part part, struct fr_slice value)
{
    struct store_record *record = &sst->records[sst->count];

    store_key__encode(key, part, &record->key);
    record->value = NULL;
    record->value_bytes = value.length;
    if (value.length > 0) {
        void *copy = fr_arena_take(sst->values, value.length);

        if (copy == NULL)
            return false;
        memcpy(copy, value.bytes, value.length);
        record->value = copy;
    }
    sst->count++;
    return true;
}

/* A record's key and value, or its absence, at the end of the file. Stops at the first failure: *message stays set. */
static void write_record(rocksdb_sstfilewriter_t *writer, struct fr_slice key, const void *value, size_t value_bytes,
                         bool is_deleted, char **message)
{
    if (*message != NULL)
        return;
    if (is_deleted)
        rocksdb_sstfilewriter_delete(writer, key.bytes, key.length, message);
    else
        rocksdb_sstfilewriter_put(writer, key.bytes, key.length, value, value_bytes, message);
}

/* A failure that is ours, as RocksDB's are. */
static void meet(enum fr_fault_point point, char **message)
{
    struct fr_err err;

    if (*message == NULL && !fr_fault(point, &err))
        *message = strdup(err.message);
}

/* Kind 0: before every entity, and by name. */
static void write_meta(rocksdb_sstfilewriter_t *writer, const struct store_meta *meta, struct fr_buffer *key, char **message)
{
    for (size_t i = 0; i < meta->count; i++) {
        const struct store_meta_record *record = &meta->records[i];

        if (!record->is_dirty)
            continue;
        fr_buffer_clear(key);
        fr_buffer_append_byte(key, 0);
        fr_buffer_append_text(key, record->name);
        if (key->is_failed && *message == NULL)
            *message = strdup("out of memory");
        write_record(writer, fr_buffer_slice(key), (const char *)record->value, record->value_bytes, record->is_deleted,
                     message);
    }
}

static void write_file(struct store_sst *sst, const struct store_meta *meta, const struct store_disk *disk, const char *path,
                       uint64_t *file_bytes, char **message)
{
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(disk->env, disk->sst_options);
    struct fr_buffer key;

    fr_buffer_init(&key);
    rocksdb_sstfilewriter_open(writer, path, message);
    write_meta(writer, meta, &key, message);
    for (size_t i = 0; i < sst->count && *message == NULL; i++) {
        const struct store_record *record = sst->order[i].record;

        if (i == sst->count / 2)
            meet(FR_FAULT_MID_SST_WRITE, message);
        if (i + FETCH_AHEAD < sst->count) {
            __builtin_prefetch(sst->order[i + FETCH_AHEAD].record);
            __builtin_prefetch(sst->order[i + FETCH_AHEAD / 2].record->value);
        }
        write_record(writer, fr_slice(record->key.bytes, store_disk_key__length(&record->key)), record->value,
                     record->value_bytes, record->value == NULL, message);
    }
    if (*message == NULL)
        rocksdb_sstfilewriter_finish(writer, message);
    if (*message == NULL)
        rocksdb_sstfilewriter_file_size(writer, file_bytes);
    rocksdb_sstfilewriter_destroy(writer);
    fr_buffer_fini(&key);
}

/*
 * RocksDB's writer of ingested files drops each from the page cache (and its C API does not let us say no): read ahead what the
 * ingestion, the next loads and soon a compaction would each wait for the disk for. Only a hint.
 */
static void bring_back(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    (void)close(fd);
}

bool store_sst__ingest(struct store_sst *sst, const struct store_meta *meta, const struct store_disk *disk, const char *path,
                       uint64_t *file_bytes, struct fr_err *err)
{
    const char *paths[] = {path};
    char *message = NULL;

    assert(sst->count == 0 || sst->order != NULL);
    write_file(sst, meta, disk, path, file_bytes, &message);
    if (message == NULL)
        bring_back(path);
    meet(FR_FAULT_AFTER_SST_FINISH, &message);
    meet(FR_FAULT_MID_INGEST, &message);
    if (message == NULL)
        rocksdb_ingest_external_file_cf(disk->db, disk->family, paths, 1, disk->ingest, &message);
    else
        (void)unlink(path); /* but not after a failed hand-over: see rescue.c */
    if (message == NULL)
        return store_disk__check_files(disk, path, err);
    (void)store_disk__fail(message, err, path, "write the epoch");
    err->code = FR_UNAVAILABLE;
    return false;
}
