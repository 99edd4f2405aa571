/*
 * The label of a task with `label: watch_rank`: how much of all watches of about an item's length lasted less than this one (docs/examples.md).
 * A curve is counts by (length, time watched) of the watches that the task's examples had. Whoever puts an example into the outbox takes the
 * rank first and counts the watch after that, so ranks follow from the order of examples alone; counts change inside the gate and are
 * saved, those of a length in one record, with the epoch that has the examples.
 */
#include "join.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 48 };

struct learner_watched {
    uint64_t name, definition; /* hashes: whose it is, and of which tasks' watches */
    uint64_t counts[PROTO_WATCHED_LENGTHS][PROTO_WATCHED_TIMES];
    bool is_dirty[PROTO_WATCHED_LENGTHS];
};

static void name_of(const struct learner_watched *watched, int length, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "watched/%016" PRIx64 "/%02d", watched->name, length);
}

/* What the store has of another definition was ranked among other watches: the curve begins anew. */
static void load(struct learner_watched *watched, int length, struct store *store)
{
    uint64_t counts[PROTO_WATCHED_TIMES];
    struct fr_slice value;
    struct fr_reader reader;
    char name[NAME_BYTES];

    name_of(watched, length, name);
    value = store_meta_get(store, name);
    reader = fr_reader(value);
    if (value.length == 0 || fr_reader_fixed64(&reader) != watched->definition)
        return;
    for (int i = 0; i < PROTO_WATCHED_TIMES; i++)
        counts[i] = fr_reader_varint(&reader);
    if (!reader.is_failed)
        memcpy(watched->counts[length], counts, sizeof counts);
}

struct learner_watched *learner_watched__open(uint64_t name, uint64_t definition, struct store *store)
{
    struct learner_watched *watched = calloc(1, sizeof *watched);

    if (!watched)
        return NULL;
    watched->name = name;
    watched->definition = definition;
    for (int length = 0; length < PROTO_WATCHED_LENGTHS; length++)
        load(watched, length, store);
    return watched;
}

void learner_watched__close(struct learner_watched *watched)
{
    free(watched);
}

double learner_watched__rank(const struct learner_watched *watched, uint32_t bucket)
{
    const uint64_t *times = watched->counts[bucket / PROTO_WATCHED_TIMES];
    uint64_t own = times[bucket % PROTO_WATCHED_TIMES] + 1, below = 0, all = 1;

    for (uint32_t i = 0; i < PROTO_WATCHED_TIMES; i++) {
        below += i < bucket % PROTO_WATCHED_TIMES ? times[i] : 0;
        all += times[i];
    }
    return ((double)below + (double)own / 2) / (double)all;
}

void learner_watched__count(struct learner_watched *watched, uint32_t bucket)
{
    watched->counts[bucket / PROTO_WATCHED_TIMES][bucket % PROTO_WATCHED_TIMES]++;
    watched->is_dirty[bucket / PROTO_WATCHED_TIMES] = true;
}

void learner_watched__save(struct learner_watched *watched, struct store *store)
{
    struct fr_buffer value;
    char name[NAME_BYTES];

    fr_buffer_init(&value);
    for (int length = 0; length < PROTO_WATCHED_LENGTHS; length++) {
        if (!watched->is_dirty[length])
            continue;
        fr_buffer_clear(&value);
        fr_buffer_append_fixed64(&value, watched->definition);
        for (int i = 0; i < PROTO_WATCHED_TIMES; i++)
            fr_buffer_append_varint(&value, watched->counts[length][i]);
        if (value.is_failed) {
            store_spoil(store); /* without it watches would be counted again */
            break;
        }
        name_of(watched, length, name);
        store_meta_put(store, name, fr_buffer_slice(&value));
        watched->is_dirty[length] = false;
    }
    fr_buffer_fini(&value);
}
