/*
 * Meta records: a few thousand small named values (the catalogues, offsets, what time it is), all in memory, sorted by name.
 * Only the committer changes them, or whoever opens the store before lanes run; so they need no lock.
 */
#include "internal.h"

#include <stdlib.h>

/* Where `name` is, or belongs. */
static size_t place_of(const struct store_meta *meta, const char *name)
{
    size_t low = 0, high = meta->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(meta->records[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct store_meta_record *find(const struct store_meta *meta, const char *name)
{
    size_t place = place_of(meta, name);

    return place < meta->count && strcmp(meta->records[place].name, name) == 0 ? &meta->records[place] : NULL;
}

static bool reserve(struct store_meta *meta, size_t more)
{
    size_t capacity = meta->capacity > 0 ? meta->capacity : 16;
    struct store_meta_record *records;

    if (meta->count + more <= meta->capacity)
        return true;
    while (capacity < meta->count + more)
        capacity *= 2;
    records = reallocarray(meta->records, capacity, sizeof(*records));
    if (records == NULL)
        return false;
    meta->records = records;
    meta->capacity = capacity;
    return true;
}

static struct store_meta_record *insert(struct store_meta *meta, const char *name)
{
    size_t place = place_of(meta, name);

    if (!reserve(meta, 1))
        return NULL;
    char *copy = strdup(name);
    if (copy == NULL)
        return NULL;
    memmove(&meta->records[place + 1], &meta->records[place], (meta->count - place) * sizeof(meta->records[0]));
    meta->records[place] = (struct store_meta_record){.name = copy};
    meta->count++;
    return &meta->records[place];
}

static bool set(struct store_meta_record *record, struct fr_slice value)
{
    uint8_t *copy = malloc(value.length > 0 ? value.length : 1);

    if (copy == NULL)
        return false;
    if (value.length > 0)
        memcpy(copy, value.bytes, value.length);
    free(record->value);
    record->value = copy;
    record->value_bytes = value.length;
    return true;
}

void store_meta__put(struct store_meta *meta, const char *name, struct fr_slice value)
{
    struct store_meta_record *record = find(meta, name);

    if (record != NULL && !record->is_deleted && fr_slice_equal(fr_slice(record->value, record->value_bytes), value))
        return; /* nothing new for an epoch to write */
    if (record == NULL)
        record = insert(meta, name);
    if (record == NULL || !set(record, value)) {
        meta->is_failed = true;
        return;
    }
    record->is_deleted = false;
    record->is_dirty = true;
}

/* Copies of those names that are not there yet; NULL of the others. NULL: out of memory. */
static char **copy_new_names(const struct store_meta *meta, const struct store_meta_named *records, int count, size_t *found)
{
    char **names = calloc((size_t)count + 1, sizeof *names);

    *found = 0;
    for (int i = 0; i < count && names != NULL; i++) {
        if (find(meta, records[i].name) != NULL)
            continue;
        names[i] = strdup(records[i].name);
        if (names[i] != NULL) {
            ++*found;
            continue;
        }
        while (i-- > 0)
            free(names[i]);
        free(names);
        names = NULL;
    }
    return names;
}

/* Places for those names, from behind: deleted ones until they are put. */
static void make_places(struct store_meta *meta, char **names, int count, size_t more)
{
    size_t from = meta->count, to = meta->count + more;

    meta->count = to;
    for (int i = count - 1; i >= 0; i--) {
        if (names[i] == NULL)
            continue;
        while (from > 0 && strcmp(meta->records[from - 1].name, names[i]) > 0)
            meta->records[--to] = meta->records[--from];
        meta->records[--to] = (struct store_meta_record){.name = names[i], .is_deleted = true};
    }
}

struct fr_slice store_meta__get(const struct store_meta *meta, const char *name)
{
    const struct store_meta_record *record = find(meta, name);

    return record != NULL && !record->is_deleted ? fr_slice(record->value, record->value_bytes) : fr_slice(NULL, 0);
}

bool store_meta__is_dirty(const struct store_meta *meta)
{
    for (size_t i = 0; i < meta->count; i++)
        if (meta->records[i].is_dirty)
            return true;
    return false;
}

void store_meta__settle(struct store_meta *meta)
{
    size_t kept = 0;

    for (size_t i = 0; i < meta->count; i++) {
        struct store_meta_record record = meta->records[i];

        record.is_dirty = false;
        if (record.is_deleted) {
            free(record.name);
            free(record.value);
        } else {
            meta->records[kept++] = record;
        }
    }
    meta->count = kept;
}

void store_meta__fini(struct store_meta *meta)
{
    for (size_t i = 0; i < meta->count; i++) {
        free(meta->records[i].name);
        free(meta->records[i].value);
    }
    free(meta->records);
    *meta = (struct store_meta){0};
}

static bool load_one(struct store_meta *meta, rocksdb_iterator_t *iterator)
{
    size_t key_bytes, value_bytes;
    const char *key = rocksdb_iter_key(iterator, &key_bytes);
    const char *value = rocksdb_iter_value(iterator, &value_bytes);
    char *name = strndup(key + 1, key_bytes - 1);

    if (name != NULL)
        store_meta__put(meta, name, fr_slice(value, value_bytes));
    free(name);
    return name != NULL && !meta->is_failed;
}

bool store_meta__load(struct store_meta *meta, const struct store_disk *disk, const char *path, struct fr_err *err)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(disk->db, disk->read, disk->family);
    bool is_done = true;
    char *message = NULL;
    size_t key_bytes;

    for (rocksdb_iter_seek_to_first(iterator); is_done && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        if (rocksdb_iter_key(iterator, &key_bytes)[0] != 0)
            break;
        is_done = load_one(meta, iterator);
    }
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    store_meta__settle(meta);
    if (message != NULL)
        return store_disk__fail(message, err, path, "read the meta records");
    return is_done || fr_fail(err, FR_EXHAUSTED, "store: out of memory while reading the meta records of '%s'", path);
}

/* ---- The public side ---- */

struct fr_slice store_meta_get(struct store *store, const char *name)
{
    return store_meta__get(&store->meta, name);
}

void store_meta_put(struct store *store, const char *name, struct fr_slice value)
{
    store_meta__put(&store->meta, name, value);
}

void store_meta_put_sorted(struct store *store, const struct store_meta_named *records, int count)
{
    size_t more = 0;
    char **names = copy_new_names(&store->meta, records, count, &more);

    if (names == NULL || !reserve(&store->meta, more)) {
        store->meta.is_failed = true;
        for (int i = 0; i < count && names != NULL; i++)
            free(names[i]);
    } else {
        make_places(&store->meta, names, count, more);
        for (int i = 0; i < count; i++)
            store_meta__put(&store->meta, records[i].name, records[i].value);
    }
    free(names);
}

void store_meta_delete(struct store *store, const char *name)
{
    struct store_meta_record *record = find(&store->meta, name);

    if (record != NULL && !record->is_deleted)
        record->is_deleted = record->is_dirty = true;
}

void store_meta_each(struct store *store, const char *prefix, void (*each)(void *user, const char *name, struct fr_slice value),
                     void *user)
{
    const struct store_meta *meta = &store->meta;
    size_t prefix_bytes = strlen(prefix);

    for (size_t i = place_of(meta, prefix); i < meta->count; i++) {
        const struct store_meta_record *record = &meta->records[i];

        if (strncmp(record->name, prefix, prefix_bytes) != 0)
            break;
        if (!record->is_deleted)
            each(user, record->name, fr_slice(record->value, record->value_bytes));
    }
}
