/*
 * Tombstones: users who were forgotten, and until when events of theirs that were made before are dropped. Otherwise what is late, or
 * read again from Kafka, would bring back what was promised to be gone. Few users, so: one array sorted by id.
 *
 * Changed only with the gate held alone (and before lanes run), looked at inside the gate: no lock of its own.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_BYTES = 48 };

static const char tombstone_prefix[] = "tombstone/";

/* Where the user is, or belongs. */
static int place_of(const struct pipeline_tombstones *tombstones, uint64_t user_id)
{
    int low = 0, high = tombstones->count;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (tombstones->entries[middle].user_id < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool grow(struct pipeline_tombstones *tombstones)
{
    int capacity = tombstones->capacity ? 2 * tombstones->capacity : 64;
    struct pipeline_tombstone *grown = reallocarray(tombstones->entries, (size_t)capacity, sizeof *grown);

    if (!grown)
        return false;
    tombstones->entries = grown;
    tombstones->capacity = capacity;
    return true;
}

static bool is_later(const struct pipeline_tombstone *a, const struct pipeline_tombstone *b)
{
    return a->forgotten_ms > b->forgotten_ms || (a->forgotten_ms == b->forgotten_ms && a->until_ms > b->until_ms);
}

/* A later one takes the place of an earlier, by whatever clocks; an earlier one changes nothing. */
static bool keep(struct pipeline_tombstones *tombstones, const struct pipeline_tombstone *tombstone)
{
    int place = place_of(tombstones, tombstone->user_id);

    if (place < tombstones->count && tombstones->entries[place].user_id == tombstone->user_id) {
        if (is_later(tombstone, &tombstones->entries[place]))
            tombstones->entries[place] = *tombstone;
        return true;
    }
    if (tombstones->count == tombstones->capacity && !grow(tombstones))
        return false;
    memmove(&tombstones->entries[place + 1], &tombstones->entries[place],
            (size_t)(tombstones->count - place) * sizeof *tombstones->entries);
    tombstones->entries[place] = *tombstone;
    tombstones->count++;
    return true;
}

/* ---- many at once ---- */

static int by_user_and_time(const void *a, const void *b)
{
    const struct pipeline_tombstone *left = a, *right = b;

    if (left->user_id != right->user_id)
        return left->user_id < right->user_id ? -1 : 1;
    return is_later(right, left) ? -1 : is_later(left, right);
}

/* The later one of each user, in `merged`, which has room for all. What of `added` is news comes to its front: how many. */
static int merge(const struct pipeline_tombstones *known, struct pipeline_tombstone *added, int count,
                 struct pipeline_tombstone *merged, int *merged_count)
{
    int news = 0, old = 0, out = 0;

    for (int i = 0; i < count; i++) {
        if (i + 1 < count && added[i + 1].user_id == added[i].user_id)
            continue; /* a later one of his follows */
        while (old < known->count && known->entries[old].user_id < added[i].user_id)
            merged[out++] = known->entries[old++];
        if (old < known->count && known->entries[old].user_id == added[i].user_id) {
            if (!is_later(&added[i], &known->entries[old])) {
                merged[out++] = known->entries[old++];
                continue;
            }
            old++;
        }
        merged[out++] = added[news++] = added[i];
    }
    while (old < known->count)
        merged[out++] = known->entries[old++];
    *merged_count = out;
    return news;
}

static void name_of(uint64_t user_id, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%s%" PRIu64, tombstone_prefix, user_id);
}

static void encode(const struct pipeline_tombstone *tombstone, struct fr_buffer *value)
{
    fr_buffer_append_zigzag(value, tombstone->forgotten_ms);
    fr_buffer_append_zigzag(value, tombstone->until_ms);
}

struct named {
    char name[NAME_BYTES];
    struct pipeline_tombstone tombstone;
    size_t at, end; /* of the value */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* False: out of memory, nothing is put. */
static bool save_all(struct store *store, const struct pipeline_tombstone *tombstones, int count)
{
    struct named *named = calloc((size_t)count + 1, sizeof *named);
    struct store_meta_named *records = calloc((size_t)count + 1, sizeof *records);
    struct fr_buffer values;
    bool ok = named && records;

    fr_buffer_init(&values);
    for (int i = 0; i < count && ok; i++) {
        named[i].tombstone = tombstones[i];
        name_of(tombstones[i].user_id, named[i].name);
    }
    if (ok)
        qsort(named, (size_t)count, sizeof *named, by_name);
    for (int i = 0; i < count && ok; i++) {
        named[i].at = values.length;
        encode(&named[i].tombstone, &values);
        named[i].end = values.length;
    }
    ok = ok && !values.is_failed;
    for (int i = 0; i < count && ok; i++)
        records[i] = (struct store_meta_named){named[i].name, fr_slice(values.bytes + named[i].at, named[i].end - named[i].at)};
    if (ok)
        store_meta_put_sorted(store, records, count);
    fr_buffer_fini(&values);
    free(records);
    free(named);
    return ok;
}

bool pipeline_tombstones__put_all(struct pipeline_tombstones *tombstones, struct store *store, struct pipeline_tombstone *added,
                                  int count, struct fr_err *err)
{
    struct pipeline_tombstone *merged;
    int merged_count, news;

    if (count == 0)
        return true;
    qsort(added, (size_t)count, sizeof *added, by_user_and_time);
    merged = reallocarray(NULL, (size_t)tombstones->count + (size_t)count, sizeof *merged);
    news = merged ? merge(tombstones, added, count, merged, &merged_count) : 0;
    if (!merged || !save_all(store, added, news)) {
        free(merged);
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for %d users who were forgotten", count);
    }
    for (int i = 0; i < news; i++)
        tombstones->unsent += !added[i].is_sent;
    free(tombstones->entries);
    tombstones->entries = merged;
    tombstones->capacity = tombstones->count + count;
    tombstones->count = merged_count;
    return true;
}

/* ---- of a store ---- */

static void load_one(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_tombstones *tombstones = user;
    struct fr_reader reader = fr_reader(value);
    struct pipeline_tombstone tombstone = {.is_sent = true};

    tombstone.user_id = strtoull(name + strlen(tombstone_prefix), NULL, 10);
    tombstone.forgotten_ms = fr_reader_zigzag(&reader);
    tombstone.until_ms = fr_reader_zigzag(&reader);
    if (reader.is_failed || (tombstones->count == tombstones->capacity && !grow(tombstones)))
        tombstones->is_failed = true;
    else
        tombstones->entries[tombstones->count++] = tombstone; /* by name, and so not by number */
}

bool pipeline_tombstones__load(struct pipeline_tombstones *tombstones, struct store *store, struct fr_err *err)
{
    store_meta_each(store, tombstone_prefix, load_one, tombstones);
    if (tombstones->count > 0)
        qsort(tombstones->entries, (size_t)tombstones->count, sizeof *tombstones->entries, by_user_and_time);
    return !tombstones->is_failed || fr_fail(err, FR_CORRUPT,
                                             "pipeline: the tombstones of forgotten users cannot be read; "
                                             "restore a backup or start with another store.path");
}

void pipeline_tombstones__fini(struct pipeline_tombstones *tombstones)
{
    free(tombstones->entries);
    free(tombstones->gone);
    *tombstones = (struct pipeline_tombstones){0};
}

static bool put(struct pipeline_tombstones *tombstones, struct store *store, const struct pipeline_tombstone *tombstone,
                struct fr_err *err)
{
    struct fr_buffer value;
    char name[NAME_BYTES];
    bool is_put;

    name_of(tombstone->user_id, name);
    fr_buffer_init(&value);
    is_put = keep(tombstones, tombstone);
    if (is_put)
        encode(&tombstones->entries[place_of(tombstones, tombstone->user_id)], &value);
    is_put = is_put && !value.is_failed;
    tombstones->unsent += is_put && !tombstone->is_sent;
    if (is_put)
        store_meta_put(store, name, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    return is_put || fr_fail(err, FR_EXHAUSTED, "forget: out of memory; ask again");
}

bool pipeline_tombstones__add(struct pipeline_tombstones *tombstones, struct store *store,
                              const struct pipeline_tombstone *tombstone, struct fr_err *err)
{
    if (tombstones->count >= PIPELINE_TOMBSTONES_MAX)
        return fr_fail(err, FR_EXHAUSTED,
                       "forget: %d users are forgotten already and their tombstones still last; wait for some, or shorten "
                       "node.tombstones",
                       tombstones->count);
    return put(tombstones, store, tombstone, err);
}

/* Without memory for it the changelog keeps it, and its next owner takes it out. */
static void note_gone(struct pipeline_tombstones *tombstones, uint64_t user_id)
{
    if (!tombstones->are_shared)
        return;
    if (tombstones->gone_count == tombstones->gone_capacity) {
        int capacity = tombstones->gone_capacity ? 2 * tombstones->gone_capacity : 64;
        uint64_t *grown = reallocarray(tombstones->gone, (size_t)capacity, sizeof *grown);

        if (!grown)
            return;
        tombstones->gone = grown;
        tombstones->gone_capacity = capacity;
    }
    tombstones->gone[tombstones->gone_count++] = user_id;
}

void pipeline_tombstones__expire(struct pipeline_tombstones *tombstones, struct store *store, int64_t now_ms)
{
    int kept = 0;

    for (int i = 0; i < tombstones->count; i++) {
        char name[NAME_BYTES];

        if (tombstones->entries[i].until_ms > now_ms) {
            tombstones->entries[kept++] = tombstones->entries[i];
            continue;
        }
        name_of(tombstones->entries[i].user_id, name);
        store_meta_delete(store, name);
        note_gone(tombstones, tombstones->entries[i].user_id);
    }
    tombstones->count = kept;
}

bool pipeline_tombstones__has(const struct pipeline_tombstones *tombstones, uint64_t user_id)
{
    int place = place_of(tombstones, user_id);

    return place < tombstones->count && tombstones->entries[place].user_id == user_id;
}

bool pipeline_tombstones__drops(const struct pipeline_tombstones *tombstones, const struct proto_event *event)
{
    int place = place_of(tombstones, event->user_id);

    return place < tombstones->count && tombstones->entries[place].user_id == event->user_id &&
           event->ts_ms <= tombstones->entries[place].forgotten_ms;
}
