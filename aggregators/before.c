/*
 * What an epoch added to rows, by subtraction. An event is applied once, and what others are to be told of it is found at the epoch's
 * end: the rows of the entity as the epoch writes them, less those that it had before its first event of this instance. What other
 * instances told meanwhile is merged into both, and so is no difference.
 *
 * Rows move to coarser levels as time passes, when somebody needs their place. Of an even entity the level of a number is a function of
 * its time and the horizon alone, once both are pruned to one horizon; so after that equal panes hold what can be subtracted.
 */
#include "feeds.h"
#include "merge.h"

#include <pthread.h>
#include <stdlib.h>

struct agg_before {
    pthread_mutex_t lock; /* of this epoch's: several lanes keep, one thread merges */
    struct agg_deltas
        *images[2]; /* rows in memory, without totals, by turn: of this epoch, and of the one that is being written */
    int turn;
    bool is_due; /* of the last turn nothing was asked yet */
};

bool agg_deltas_begin(struct agg *agg)
{
    struct agg_before *before = calloc(1, sizeof *before);

    if (!before)
        return false;
    pthread_mutex_init(&before->lock, NULL);
    agg->before = before;
    before->images[0] = agg_deltas_new(agg);
    before->images[1] = agg_deltas_new(agg);
    return before->images[0] && before->images[1];
}

void agg_before__free(struct agg_before *before)
{
    if (!before)
        return;
    agg_deltas_free(before->images[0]);
    agg_deltas_free(before->images[1]);
    pthread_mutex_destroy(&before->lock);
    free(before);
}

bool agg_deltas_turn(struct agg *agg)
{
    struct agg_before *before = agg->before;

    if (before->is_due && agg_deltas_count(before->images[!before->turn]) > 0)
        return false;
    before->turn = !before->turn;
    before->is_due = true;
    return true;
}

/* ---- while events are applied ---- */

static bool append_rows(struct fr_buffer *image, const void *rows, uint32_t used)
{
    fr_buffer_append(image, rows, used);
    if (!image->is_failed && used > 0)
        ((struct agg_rows *)(void *)image->bytes)->has_no_totals = true;
    return !image->is_failed;
}

bool agg_before__keep(struct agg *agg, struct store_entry *entry, const struct agg_entity *entity, const struct store_key *key,
                      uint64_t hash)
{
    struct agg_before *before = agg->before;
    struct fr_buffer *parts;
    const void *rows;
    uint32_t bytes;
    int64_t *fed_ms;
    bool ok;

    if (!store_entry_mark(agg->store, entry))
        return true;
    rows = store_entry_read(entry, STORE_PART_ROWS, &bytes);
    pthread_mutex_lock(&before->lock);
    parts = agg_deltas__want(before->images[before->turn], key, hash, &fed_ms);
    ok = parts && append_rows(&parts[STORE_PART_ROWS], rows, bytes > 0 ? agg_rows__used(rows, entity) : 0);
    pthread_mutex_unlock(&before->lock);
    return ok;
}

bool agg_before__merge(struct agg *agg, const struct store_entry *entry, const struct agg_entity *entity,
                       const struct store_key *key, uint64_t hash, const struct fr_buffer *rows)
{
    struct agg_before *before = agg->before;
    struct fr_buffer *parts;
    struct agg_blob blob;
    bool ok = true;

    if (!before || !entity->is_told_by_rows || rows->length == 0 || !store_entry_is_marked(agg->store, entry))
        return true;
    pthread_mutex_lock(&before->lock);
    parts = agg_deltas__find(before->images[before->turn], key, hash);
    if (parts) {
        blob = agg_blob__of_buffer(&parts[STORE_PART_ROWS]);
        blob.is_writable = blob.bytes > 0;
        ok = agg_rows__open_scratch(&blob, entity) && agg_merge__part(&blob, entity, STORE_PART_ROWS, rows->bytes, NULL);
    }
    pthread_mutex_unlock(&before->lock);
    return ok;
}

/* ---- the difference ---- */

struct adding {
    struct agg *agg;
    const struct agg_deltas *images;
    struct agg_deltas *into;
    struct agg_moment horizon;
    struct fr_buffer now;
};

/* Until both are of one horizon. */
static bool settle(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_moment *horizon)
{
    struct agg_rows *rows = blob->memory;

    rows->has_no_totals = true;
    rows->due_s = 0;
    return agg_rows__prune(blob, entity, horizon);
}

/* The row that was there before; NULL: none was. `index` goes on from row to row of a level. */
static const struct agg_row *row_before(const struct agg_rows *before, const struct agg_entity *entity, int level,
                                        uint32_t pane, uint32_t *index)
{
    const struct agg_row *row = NULL;

    while (before && *index < before->row_count[level] && (row = agg_rows__row(before, entity, level, *index))->pane < pane)
        ++*index;
    return row && *index < before->row_count[level] && row->pane == pane ? row : NULL;
}

static bool add_row(struct agg_blob *into, const struct agg_entity *entity, int level, const struct agg_rows *now,
                    const struct agg_row *row, const struct agg_rows *before, const struct agg_row *old)
{
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];
        __int128 amount = agg_rows__measure(now, row, feature) - (old ? agg_rows__measure(before, old, feature) : 0);
        int own;

        if (amount == 0)
            continue;
        if (!agg_rows__open_scratch(into, entity) ||
            agg_rows__put(into, entity, feature, level, row->pane, amount, &own) == AGG_NO_MEMORY)
            return false;
    }
    return true;
}

static bool add_rows(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *now,
                     const struct agg_rows *before)
{
    bool is_alike = before && now->is_wide == before->is_wide;

    for (int level = 0; level < AGG_LEVELS; level++) {
        uint32_t index = 0;

        for (uint32_t i = 0; i < now->row_count[level]; i++) {
            const struct agg_row *row = agg_rows__row(now, entity, level, i);
            const struct agg_row *old = row_before(before, entity, level, row->pane, &index);

            if (old && is_alike && memcmp(row, old, agg_rows__row_bytes(now, entity)) == 0)
                continue;
            if (!add_row(into, entity, level, now, row, before, old))
                return false;
        }
    }
    return true;
}

static bool has_new_source(const struct agg_rows *now, const struct agg_rows *before)
{
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        const uint64_t *source = agg_attributes__source(now, i), *old = before ? agg_attributes__source(before, i) : NULL;

        if (source && (!old || agg_order__compare(source, old, AGG_SOURCE_WORDS) != 0))
            return true;
    }
    return false;
}

/*
 * First, latest and attributes are greatest ones: what there is now is told whole. So it is to lists that go by these. Who is told of
 * cells is told when it was seen, too.
 */
static bool add_seen(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *now,
                     const struct agg_rows *before, bool has_cells, int64_t *fed_ms)
{
    bool is_later = !before || now->latest_ms != before->latest_ms;
    bool is_first = entity->has_first && (!before || agg_rows__first_ms(now) != agg_rows__first_ms(before));
    bool is_named = entity->remembered != 0 && has_new_source(now, before);

    for (int i = 0; i < entity->feed_count; i++) {
        const struct agg_feed *feed = &entity->feeds[i];

        if (!feed->source && (feed->top->is_first ? is_first : is_later))
            agg_feeds__note(feed, feed->top->is_first ? agg_rows__first_ms(now) : now->latest_ms, &fed_ms[i]);
    }
    if (!is_later && !is_first && !is_named && !has_cells && into->bytes == 0)
        return true;
    if (!agg_rows__open_scratch(into, entity))
        return false;
    agg_merge__presence(into->memory, now);
    return !is_named || agg_merge__attributes(into, entity, now);
}

static bool add_entity(struct adding *adding, const struct agg_entity *entity, const struct store_key *key, uint64_t hash,
                       struct fr_buffer *image)
{
    struct agg_blob now = agg_blob__of_buffer(&adding->now), before = agg_blob__of_buffer(image), into;
    struct fr_buffer *parts;
    int64_t *fed_ms;

    if (!settle(&now, entity, &adding->horizon) || (before.bytes > 0 && !settle(&before, entity, &adding->horizon)))
        return false;
    parts = agg_deltas__want(adding->into, key, hash, &fed_ms);
    if (!parts)
        return false;
    into = agg_blob__of_buffer(&parts[STORE_PART_ROWS]);
    into.is_writable = into.bytes > 0;
    return add_rows(&into, entity, now.memory, before.bytes > 0 ? before.memory : NULL) &&
           add_seen(&into, entity, now.memory, before.bytes > 0 ? before.memory : NULL,
                    parts[STORE_PART_SKETCHES].length > 0 || parts[STORE_PART_LISTS].length > 0, fed_ms);
}

static bool add_part(void *user, const struct store_key *key, enum store_part part, struct fr_slice value, struct fr_err *err)
{
    struct adding *adding = user;
    const struct agg_entity *entity = adding->agg->catalogue->kinds[key->kind];
    struct fr_buffer *image;
    uint64_t hash;

    if (!entity || !entity->is_told_by_rows || part != STORE_PART_ROWS || value.length == 0)
        return true; /* what is gone was so old that nobody will see it */
    hash = store_key_hash(adding->agg->store, key);
    image = agg_deltas__find(adding->images, key, hash);
    if (!image)
        return true; /* others told of it, nobody else */
    fr_buffer_clear(&adding->now);
    return (agg_codec__decode_delta(adding->agg->catalogue, key, part, value, &adding->now) &&
            (adding->now.length == 0 || add_entity(adding, entity, key, hash, &image[STORE_PART_ROWS]))) ||
           fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for what an epoch tells others");
}

bool agg_deltas_added(struct agg *agg, struct agg_deltas *into, int64_t horizon_ms, struct fr_err *err)
{
    struct agg_before *before = agg->before;
    struct adding adding = {
        .agg = agg, .images = before->images[!before->turn], .into = into, .horizon = agg_window__moment(horizon_ms)};
    bool ok;

    fr_buffer_init(&adding.now);
    ok = store_epoch_each(agg->store, add_part, &adding, err);
    fr_buffer_fini(&adding.now);
    if (!ok)
        return false;
    agg_deltas_clear(before->images[!before->turn]);
    before->is_due = false;
    return true;
}
