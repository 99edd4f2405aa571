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

/* A later one takes the place of an earlier. */
static bool keep(struct pipeline_tombstones *tombstones, const struct pipeline_tombstone *tombstone)
{
    int place = place_of(tombstones, tombstone->user_id);

    if (place < tombstones->count && tombstones->entries[place].user_id == tombstone->user_id) {
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

static void name_of(uint64_t user_id, char name[48])
{
    snprintf(name, 48, "%s%" PRIu64, tombstone_prefix, user_id);
}

static void load_one(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_tombstones *tombstones = user;
    struct fr_reader reader = fr_reader(value);
    struct pipeline_tombstone tombstone = {.is_told = true};

    tombstone.user_id = strtoull(name + strlen(tombstone_prefix), NULL, 10);
    tombstone.forgotten_ms = fr_reader_zigzag(&reader);
    tombstone.until_ms = fr_reader_zigzag(&reader);
    if (reader.is_failed || !keep(tombstones, &tombstone))
        tombstones->is_failed = true;
}

bool pipeline_tombstones__load(struct pipeline_tombstones *tombstones, struct store *store, struct fr_err *err)
{
    store_meta_each(store, tombstone_prefix, load_one, tombstones);
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

bool pipeline_tombstones__add(struct pipeline_tombstones *tombstones, struct store *store,
                              const struct pipeline_tombstone *tombstone, struct fr_err *err)
{
    if (tombstones->count >= PIPELINE_TOMBSTONES_MAX)
        return fr_fail(err, FR_EXHAUSTED,
                       "forget: %d users are forgotten already and their tombstones still last; wait for some, or shorten "
                       "node.tombstones",
                       tombstones->count);
    return pipeline_tombstones__put(tombstones, store, tombstone, err);
}

bool pipeline_tombstones__put(struct pipeline_tombstones *tombstones, struct store *store,
                              const struct pipeline_tombstone *tombstone, struct fr_err *err)
{
    struct fr_buffer value;
    char name[48];
    bool is_put;

    name_of(tombstone->user_id, name);
    fr_buffer_init(&value);
    fr_buffer_append_zigzag(&value, tombstone->forgotten_ms);
    fr_buffer_append_zigzag(&value, tombstone->until_ms);
    is_put = !value.is_failed && keep(tombstones, tombstone);
    tombstones->untold += is_put && !tombstone->is_told;
    if (is_put)
        store_meta_put(store, name, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    return is_put || fr_fail(err, FR_EXHAUSTED, "forget: out of memory; ask again");
}

/* Without memory for it the changelog keeps it, and its next owner takes it out. */
static void note_gone(struct pipeline_tombstones *tombstones, uint64_t user_id)
{
    if (!tombstones->are_told)
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
        char name[48];

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

bool pipeline_tombstones__drops(const struct pipeline_tombstones *tombstones, const struct proto_event *event)
{
    int place = place_of(tombstones, event->user_id);

    return place < tombstones->count && tombstones->entries[place].user_id == event->user_id &&
           event->ts_ms <= tombstones->entries[place].forgotten_ms;
}
