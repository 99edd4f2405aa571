/*
 * Reading a durable epoch from a snapshot, entity by entity, without the table: all of it, for digests, backups and checks, or a
 * piece at a time, for what goes round and round.
 */
#include "internal.h"

enum { READAHEAD_BYTES = 2 << 20, READAHEAD_SOME_BYTES = 128 << 10 };

/* The parts of the entity the iterator is at, gathered until the next one begins. */
struct gathered {
    struct store_key key;
    bool is_any;
    struct fr_buffer parts[STORE_PARTS];
};

/* Which snapshot the running scan of this thread sees, so that store_scan_meta() inside it sees the same. */
static _Thread_local struct {
    const struct store *store;
    const rocksdb_snapshot_t *snapshot;
} running;

static bool deliver(struct gathered *gathered,
                    bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]), void *user)
{
    struct fr_slice disk[STORE_PARTS];

    if (!gathered->is_any)
        return true;
    for (int part = 0; part < STORE_PARTS; part++)
        disk[part] = fr_buffer_slice(&gathered->parts[part]);
    bool goes_on = each(user, &gathered->key, disk);
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_clear(&gathered->parts[part]);
    gathered->is_any = false;
    return goes_on;
}

static_assert(sizeof(((struct store_cursor *)0)->bytes) >= STORE_KEY_BYTES_MAX, "a cursor holds any key");

/* Where a walk begins, how far it goes, and where the next one is to begin. */
struct range {
    struct store_cursor *cursor; /* NULL: all */
    uint64_t left; /* entities */
};

static void seek(rocksdb_iterator_t *iterator, const struct range *range)
{
    if (range->cursor == NULL || range->cursor->length == 0)
        rocksdb_iter_seek(iterator, "\1", 1);
    else
        rocksdb_iter_seek(iterator, (const char *)range->cursor->bytes, range->cursor->length);
}

/* True when the entity that begins at this key is for the next walk. */
static bool is_far_enough(struct range *range, const char *key, size_t key_bytes)
{
    if (range->cursor == NULL || range->left-- > 0)
        return false;
    memcpy(range->cursor->bytes, key, key_bytes);
    range->cursor->length = (uint8_t)key_bytes;
    return true;
}

/* Walks the records; `last` is the key met last, for the message when the disk fails behind it. */
static bool walk(rocksdb_iterator_t *iterator, struct range *range, struct gathered *gathered, struct store_key_text *last,
                 bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]), void *user,
                 struct fr_err *err)
{
    for (seek(iterator, range); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t key_bytes, value_bytes;
        const char *key_at = rocksdb_iter_key(iterator, &key_bytes);
        const char *value = rocksdb_iter_value(iterator, &value_bytes);
        struct store_key key;
        enum store_part part;

        *last = store_key__print(fr_slice(key_at, key_bytes));
        if (!store_key__decode(fr_slice(key_at, key_bytes), &key, &part))
            return fr_fail(err, FR_CORRUPT, "store: a key that makes no sense: %s", last->text);
        bool is_new = !gathered->is_any || !store_key__is_same(&gathered->key, &key);
        if (gathered->is_any && is_new && !deliver(gathered, each, user))
            return true;
        if (is_new && is_far_enough(range, key_at, key_bytes))
            return true;
        gathered->key = key;
        gathered->is_any = true;
        fr_buffer_append(&gathered->parts[part], value, value_bytes);
        if (gathered->parts[part].is_failed)
            return fr_fail(err, FR_EXHAUSTED, "store: out of memory while reading entity %s", last->text);
    }
    if (range->cursor != NULL)
        *range->cursor = (struct store_cursor){0}; /* through: the next walk begins anew */
    return true;
}

static bool scan_snapshot(struct store *store, rocksdb_readoptions_t *read, struct range *range,
                          bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]),
                          void *user, struct fr_err *err)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(store->disk.db, read, store->disk.family);
    struct store_key_text last = {"(the first)"};
    struct gathered gathered = {0};
    char *message = NULL;

    bool is_done = walk(iterator, range, &gathered, &last, each, user, err);
    rocksdb_iter_get_error(iterator, &message);
    if (is_done && message != NULL)
        is_done = fr_fail(err, store_disk__is_corruption(message) ? FR_CORRUPT : FR_UNAVAILABLE,
                          "store: cannot read '%s' behind key %s: %s", store->path, last.text, message);
    if (is_done)
        (void)deliver(&gathered, each, user);
    rocksdb_free(message);
    rocksdb_iter_destroy(iterator);
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_fini(&gathered.parts[part]);
    return is_done;
}

static bool scan_range(struct store *store, struct range *range, size_t readahead_bytes,
                       bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]),
                       void *user, struct fr_err *err)
{
    const rocksdb_snapshot_t *snapshot = rocksdb_create_snapshot(store->disk.db);
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    typeof(running) outer = running;

    rocksdb_readoptions_set_snapshot(read, snapshot);
    rocksdb_readoptions_set_verify_checksums(read, 1);
    rocksdb_readoptions_set_fill_cache(read, 0); /* a scan must not push the hot blocks out */
    rocksdb_readoptions_set_readahead_size(read, readahead_bytes);
    running.store = store;
    running.snapshot = snapshot;
    bool is_done = scan_snapshot(store, read, range, each, user, err);
    running = outer;
    rocksdb_readoptions_destroy(read);
    rocksdb_release_snapshot(store->disk.db, snapshot);
    return is_done;
}

bool store_scan(struct store *store,
                bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]), void *user,
                struct fr_err *err)
{
    return scan_range(store, &(struct range){0}, READAHEAD_BYTES, each, user, err);
}

bool store_scan_is_sound(const struct store *store, const struct store_key *key, const struct fr_slice disk[STORE_PARTS],
                         struct fr_buffer *memory)
{
    const struct store_codec *codec = &store->codec;

    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        fr_buffer_clear(memory);
        if (disk[part].length > 0 && (!codec->decode(codec->user, key, part, disk[part], memory) || memory->is_failed))
            return false;
    }
    return true;
}

bool store_scan_some(struct store *store, struct store_cursor *cursor, uint64_t most,
                     bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]), void *user,
                     struct fr_err *err)
{
    return scan_range(store, &(struct range){.cursor = cursor, .left = most}, READAHEAD_SOME_BYTES, each, user, err);
}

/* Kind, partition and first id as they begin a key on disk. */
enum { PREFIX_BYTES = 1 + 2 + 8 };

static bool walk_keys(rocksdb_iterator_t *iterator, const struct store_disk_key *from,
                      bool (*each)(void *user, const struct store_key *key), void *user, struct fr_err *err)
{
    struct store_key last = {0};

    for (rocksdb_iter_seek(iterator, (const char *)from->bytes, PREFIX_BYTES); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        size_t bytes;
        const char *at = rocksdb_iter_key(iterator, &bytes);
        struct store_key key;
        enum store_part part;

        if (bytes < PREFIX_BYTES || memcmp(at, from->bytes, PREFIX_BYTES) != 0)
            return true;
        if (!store_key__decode(fr_slice(at, bytes), &key, &part))
            return fr_fail(err, FR_CORRUPT, "store: a key that makes no sense: %s", store_key__print(fr_slice(at, bytes)).text);
        if (!store_key__is_same(&last, &key) && !each(user, &key))
            return true;
        last = key;
    }
    return true;
}

bool store_scan_keys(struct store *store, uint8_t kind, uint16_t partition, uint64_t first_id,
                     bool (*each)(void *user, const struct store_key *key), void *user, struct fr_err *err)
{
    struct store_key first = {.kind = kind, .id_count = 1, .partition = partition, .ids = {first_id}};
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    struct store_disk_key from;
    char *message = NULL;

    store_key__encode(&first, 0, &from);
    rocksdb_readoptions_set_verify_checksums(read, 1);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(store->disk.db, read, store->disk.family);
    bool is_done = walk_keys(iterator, &from, each, user, err);
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(read);
    if (message == NULL)
        return is_done;
    return store_disk__fail(message, err, store->path, "read the keys");
}

bool store_scan_meta(struct store *store, const char *name, struct fr_buffer *value)
{
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    struct fr_buffer key;
    char *message = NULL;
    size_t bytes = 0;

    if (running.store == store)
        rocksdb_readoptions_set_snapshot(read, running.snapshot);
    fr_buffer_init(&key);
    fr_buffer_append_byte(&key, 0);
    fr_buffer_append_text(&key, name);
    char *found = key.is_failed ? NULL
                                : rocksdb_get_cf(store->disk.db, read, store->disk.family, (const char *)key.bytes, key.length,
                                                 &bytes, &message);
    if (found != NULL)
        fr_buffer_append(value, found, bytes);
    rocksdb_free(found);
    rocksdb_free(message);
    fr_buffer_fini(&key);
    rocksdb_readoptions_destroy(read);
    return found != NULL && !value->is_failed;
}

bool store_scan_meta_each(struct store *store, const char *prefix,
                          void (*each)(void *user, const char *name, struct fr_slice value), void *user, struct fr_err *err)
{
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_iterator_t *iterator;
    struct fr_buffer name;
    char *message = NULL;

    if (running.store == store)
        rocksdb_readoptions_set_snapshot(read, running.snapshot);
    iterator = rocksdb_create_iterator_cf(store->disk.db, read, store->disk.family);
    fr_buffer_init(&name);
    fr_buffer_append_byte(&name, 0);
    fr_buffer_append_text(&name, prefix);
    rocksdb_iter_seek(iterator, (const char *)name.bytes, name.length);
    for (; !name.is_failed && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t key_bytes, value_bytes;
        const char *key = rocksdb_iter_key(iterator, &key_bytes);
        const char *value = rocksdb_iter_value(iterator, &value_bytes);

        if (key_bytes < 1 + strlen(prefix) || key[0] != 0 || memcmp(key + 1, prefix, strlen(prefix)) != 0)
            break;
        fr_buffer_clear(&name);
        fr_buffer_append(&name, key + 1, key_bytes - 1);
        fr_buffer_append_byte(&name, 0);
        if (!name.is_failed)
            each(user, (const char *)name.bytes, fr_slice(value, value_bytes));
    }
    bool is_done = !name.is_failed || fr_fail(err, FR_EXHAUSTED, "store: out of memory while reading meta records");
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(read);
    fr_buffer_fini(&name);
    return message == NULL ? is_done : store_disk__fail(message, err, store->path, "read the meta records");
}
