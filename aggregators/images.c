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

#include <assert.h>
#include <stdlib.h>

enum { IMAGES_FIRST = 32, KEPT_BYTES_MAX = 1024 };

struct image {
    struct store_key key;
    uint64_t hash;
    struct fr_buffer rows; /* in memory, without totals; empty: there were none */
};

/* Of one stripe and turn. Who has an entity of the stripe locked may touch that of this turn, the committer alone the other. */
struct shelf {
    struct image *images;
    uint32_t count, capacity;
    uint32_t made; /* images that have been something; those from `count` on are empty, and keep memory for the next epoch */
    uint32_t *table; /* hash → image + 1, open addressing, twice the capacity */
};

struct agg_images {
    struct shelf shelves[2][STORE_STRIPES];
    int turn; /* changes with the gate held alone */
    uint64_t bytes[2]; /* of each turn, as they were when it was told; the committer's */
};

bool agg_images_open(struct agg *agg)
{
    agg->images = calloc(1, sizeof *agg->images);
    return agg->images != NULL;
}

/* As deltas do: to give all back and take it again would have the kernel empty megabytes of pages an epoch. */
static void clear(struct shelf *shelf)
{
    uint32_t kept = shelf->count * 2;

    for (uint32_t i = 0; i < shelf->made; i++) {
        struct fr_buffer *rows = &shelf->images[i].rows;

        if (i >= kept || rows->capacity > KEPT_BYTES_MAX)
            fr_buffer_fini(rows);
        else
            fr_buffer_clear(rows);
    }
    shelf->made = shelf->made > kept ? kept : shelf->made;
    if (shelf->count > 0)
        memset(shelf->table, 0, (size_t)shelf->capacity * 2 * sizeof *shelf->table);
    shelf->count = 0;
}

static uint64_t bytes_of(const struct shelf *shelf)
{
    uint64_t bytes = (uint64_t)shelf->capacity * (sizeof *shelf->images + 2 * sizeof *shelf->table);

    for (uint32_t i = 0; i < shelf->made; i++)
        bytes += shelf->images[i].rows.capacity;
    return bytes;
}

void agg_images__free(struct agg_images *images)
{
    for (int turn = 0; images && turn < 2; turn++) {
        for (int i = 0; i < STORE_STRIPES; i++) {
            struct shelf *shelf = &images->shelves[turn][i];

            for (uint32_t k = 0; k < shelf->made; k++)
                fr_buffer_fini(&shelf->images[k].rows);
            free(shelf->images);
            free(shelf->table);
        }
    }
    free(images);
}

bool agg_images_turn(struct agg *agg)
{
    struct agg_images *images = agg->images;

    for (int i = 0; i < STORE_STRIPES; i++)
        if (images->shelves[!images->turn][i].count > 0)
            return false;
    images->turn = !images->turn;
    return true;
}

/* ---- the table ---- */

static uint32_t *slot_of(const struct shelf *shelf, const struct store_key *key, uint64_t hash)
{
    uint32_t mask = shelf->capacity * 2 - 1, slot = (uint32_t)hash & mask;

    while (shelf->table[slot] != 0) {
        const struct image *image = &shelf->images[shelf->table[slot] - 1];

        if (image->hash == hash && image->key.kind == key->kind && memcmp(image->key.ids, key->ids, sizeof key->ids) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return &shelf->table[slot];
}

static struct image *find(const struct shelf *shelf, const struct store_key *key, uint64_t hash)
{
    uint32_t place = shelf->count > 0 ? *slot_of(shelf, key, hash) : 0;

    return place != 0 ? &shelf->images[place - 1] : NULL;
}

static bool grow(struct shelf *shelf)
{
    uint32_t capacity = shelf->capacity ? shelf->capacity * 2 : IMAGES_FIRST;
    struct image *images = reallocarray(shelf->images, capacity, sizeof *images);
    uint32_t *table;

    if (!images)
        return false;
    shelf->images = images;
    table = calloc((size_t)capacity * 2, sizeof *table);
    if (!table)
        return false;
    free(shelf->table);
    shelf->table = table;
    shelf->capacity = capacity;
    for (uint32_t i = 0; i < shelf->count; i++)
        *slot_of(shelf, &images[i].key, images[i].hash) = i + 1;
    return true;
}

/* One that is not there; NULL: out of memory. */
static struct image *add(struct shelf *shelf, const struct store_key *key, uint64_t hash)
{
    struct image *image;

    if (shelf->count == shelf->capacity && !grow(shelf))
        return NULL;
    image = &shelf->images[shelf->count];
    if (shelf->count == shelf->made) {
        shelf->made++;
        *image = (struct image){0};
    }
    *slot_of(shelf, key, hash) = ++shelf->count;
    image->key = *key;
    image->hash = hash;
    return image;
}

/* ---- while events are applied ---- */

static struct shelf *shelf_of(const struct agg *agg, uint64_t hash)
{
    return &agg->images->shelves[agg->images->turn][store_stripe_of(hash)];
}

bool agg_image__keep(struct agg *agg, struct store_entry *entry, const struct agg_entity *entity, const struct store_key *key,
                     uint64_t hash)
{
    struct shelf *shelf = shelf_of(agg, hash);
    struct image *image;
    const void *rows;
    uint32_t bytes;

    if (!store_entry_mark(agg->store, entry))
        return true; /* not looked up to assert that it is there: that was a fifth of what a lane does */
    image = add(shelf, key, hash);
    if (!image)
        return false;
    rows = store_entry_read(entry, STORE_PART_ROWS, &bytes);
    if (bytes == 0)
        return true;
    fr_buffer_append(&image->rows, rows, agg_rows__used(rows, entity));
    if (image->rows.is_failed)
        return false;
    ((struct agg_rows *)(void *)image->rows.bytes)->has_no_totals = true;
    return true;
}

bool agg_image__merge(struct agg *agg, const struct store_entry *entry, const struct agg_entity *entity,
                      const struct store_key *key, uint64_t hash, const struct fr_buffer *rows)
{
    struct image *image;
    struct agg_blob blob;

    if (!agg->images || !entity->is_told_by_rows || rows->length == 0 || !store_entry_is_marked(agg->store, entry))
        return true;
    image = find(shelf_of(agg, hash), key, hash);
    assert(image);
    blob = agg_blob__of_buffer(&image->rows);
    blob.is_writable = blob.bytes > 0;
    return agg_rows__open_scratch(&blob, entity) && agg_merge__part(&blob, entity, STORE_PART_ROWS, rows->bytes, NULL);
}

/* ---- the difference ---- */

struct adding {
    struct agg *agg;
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

static bool add_row(struct agg_blob *into, const struct agg_entity *entity, int level, const struct agg_rows *now,
                    const struct agg_row *row, const struct agg_rows *before, const struct agg_row *old)
{
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];
        __int128 amount =
            (row ? agg_rows__measure(now, row, feature) : 0) - (old ? agg_rows__measure(before, old, feature) : 0);
        int own;

        if (amount == 0)
            continue;
        if (!agg_rows__open_scratch(into, entity) ||
            agg_rows__put(into, entity, feature, level, (row ? row : old)->pane, amount, &own) == AGG_NO_MEMORY)
            return false;
    }
    return true;
}

/* Rows of both, by pane. One that only the image has holds by now nothing but zeros, which the disk leaves out. */
static bool add_level(struct agg_blob *into, const struct agg_entity *entity, int level, const struct agg_rows *now,
                      const struct agg_rows *before)
{
    uint32_t row_count = now->row_count[level], old_count = before ? before->row_count[level] : 0;
    bool is_alike = before && now->is_wide == before->is_wide, ok = true;

    for (uint32_t i = 0, k = 0; (i < row_count || k < old_count) && ok;) {
        const struct agg_row *row = i < row_count ? agg_rows__row(now, entity, level, i) : NULL;
        const struct agg_row *old = k < old_count ? agg_rows__row(before, entity, level, k) : NULL;

        if (row && old && row->pane != old->pane) {
            if (row->pane < old->pane)
                old = NULL;
            else
                row = NULL;
        }
        i += row != NULL;
        k += old != NULL;
        if (!row || !old || !is_alike || memcmp(row, old, agg_rows__row_bytes(now, entity)) != 0)
            ok = add_row(into, entity, level, now, row, before, old);
    }
    return ok;
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
    const struct agg_rows *old;
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
    old = before.bytes > 0 ? before.memory : NULL;
    for (int level = 0; level < AGG_LEVELS; level++)
        if (!add_level(&into, entity, level, now.memory, old))
            return false;
    return add_seen(&into, entity, now.memory, old, parts[STORE_PART_SKETCHES].length > 0 || parts[STORE_PART_LISTS].length > 0,
                    fed_ms);
}

static bool add_part(void *user, const struct store_key *key, enum store_part part, struct fr_slice value, struct fr_err *err)
{
    struct adding *adding = user;
    struct agg_images *images = adding->agg->images;
    const struct agg_entity *entity = adding->agg->catalogue->kinds[key->kind];
    struct image *image;
    uint64_t hash;

    if (!entity || !entity->is_told_by_rows || part != STORE_PART_ROWS || value.length == 0)
        return true; /* what is gone was so old that nobody will see it */
    hash = store_key_hash(adding->agg->store, key);
    image = find(&images->shelves[!images->turn][store_stripe_of(hash)], key, hash);
    if (!image)
        return true; /* others told of it, nobody else */
    fr_buffer_clear(&adding->now);
    if (!agg_codec__decode_delta(adding->agg->catalogue, key, part, value, &adding->now) && !adding->now.is_failed)
        return fr_fail(err, FR_CORRUPT, "aggregators: what an epoch writes of %s cannot be read back", entity->name);
    return (!adding->now.is_failed && (adding->now.length == 0 || add_entity(adding, entity, key, hash, &image->rows))) ||
           fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for what an epoch tells others");
}

bool agg_images_tell(struct agg *agg, struct agg_deltas *into, int64_t horizon_ms, struct fr_err *err)
{
    struct adding adding = {.agg = agg, .into = into, .horizon = agg_window__moment(horizon_ms)};
    struct agg_images *images = agg->images;
    int told = !images->turn;
    bool ok;

    fr_buffer_init(&adding.now);
    ok = store_epoch_each(agg->store, add_part, &adding, err);
    fr_buffer_fini(&adding.now);
    images->bytes[told] = 0;
    for (int i = 0; i < STORE_STRIPES && ok; i++) {
        images->bytes[told] += bytes_of(&images->shelves[told][i]);
        clear(&images->shelves[told][i]);
    }
    return ok;
}

uint64_t agg_images_bytes(const struct agg *agg)
{
    return agg->images->bytes[0] + agg->images->bytes[1];
}
