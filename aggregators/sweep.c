/*
 * Forgetting what nobody touches: events prune the entities that they change, but one that gets no event any more would stay for
 * ever. The sweep reads the last epoch's entities in the order of the disk, and where it finds one that is dead, or has records
 * past their retention, it does inside the gate what an event would have done. The state in memory may be newer than the epoch, so
 * it is judged again there, on a copy: looking at an entity must not make it dirty.
 */
#include "cells.h"
#include "internal.h"
#include "tables.h"

enum { SWEEP_MOST = 1024 };

struct sweeping {
    struct agg *agg;
    struct agg_sweep *sweep;
    struct agg_moment horizon;
    struct fr_buffer copy; /* of the part that is judged */
    struct store_key keys[SWEEP_MOST]; /* to be pruned */
    uint64_t hashes[SWEEP_MOST];
    int count;
    bool is_out_of_memory;
};

/* Of these an event that is older than every window, and past every retention, changes nothing. */
static bool has_end(const struct agg_feature *feature)
{
    switch (feature->aggregate) {
    case AGG_COUNT:
    case AGG_SUM:
    case AGG_MEAN:
    case AGG_MIN:
    case AGG_MAX:
    case AGG_LAST:
    case AGG_MATCH:
    case AGG_ENTROPY:
    case AGG_TOP_VALUES:
    case AGG_RATIO:
    case AGG_BUDGET:
    case AGG_LIFT:
    case AGG_DISTINCT:
    case AGG_QUANTILE:
    case AGG_COEC:
    case AGG_WATCH_RANK:
    case AGG_IPS:
    case AGG_CAPPED:
    case AGG_ACTOR:
    case AGG_SHARE:
    case AGG_GINI:
    case AGG_QUOTA:
    case AGG_RETURNING:
    case AGG_AGE: /* of these and the next the event's own time counts, and is past its retention */
    case AGG_LIFE:
    case AGG_TOP: /* scores what another feature holds */
        return true;
    default:
        return false;
    }
}

bool agg_sweep__is_past(const struct agg_catalogue *catalogue, int64_t ts_ms, int64_t horizon_ms)
{
    int64_t age_ms = horizon_ms - ts_ms;

    /* The hidden ones behind recall rank what these hold. */
    for (int i = 0; i < catalogue->visible_count; i++)
        if (catalogue->entities[i]->retention_ms == 0 || age_ms < catalogue->entities[i]->retention_ms)
            return false;
    if (catalogue->user->retention_ms == 0 || age_ms < catalogue->user->retention_ms)
        return false;
    for (int i = 0; i < catalogue->feature_count; i++) {
        const struct agg_feature *feature = catalogue->features[i];

        if (!has_end(feature))
            return false;
        for (int w = 0; w < feature->window_count; w++)
            if (age_ms < feature->windows[w].span_ms + agg__level_ms[AGG_LEVELS - 1]) /* and a pane of whatever level */
                return false;
    }
    return true;
}

/* What is left of a part at the horizon. */
enum left { ALL, LESS, NONE };

static bool are_ids_past(const struct sweeping *sweeping, struct agg_rows *rows)
{
    return rows->kept_count == 0 ||
           agg_sweep__is_past(sweeping->agg->catalogue, (int64_t)agg_rows__kept(rows)[(size_t)(rows->kept_count - 1) * 2],
                              sweeping->horizon.time_ms);
}

/* `blob` is a copy, which this spoils. */
static enum left judge_rows(struct sweeping *sweeping, const struct agg_entity *entity, struct agg_blob *blob)
{
    struct agg_rows *rows;

    if (!are_ids_past(sweeping, blob->memory))
        return ALL;
    ((struct agg_rows *)blob->memory)->kept_count = 0;
    if (!agg_rows__prune(blob, entity, &sweeping->horizon)) {
        sweeping->is_out_of_memory = true;
        return ALL;
    }
    rows = blob->memory;
    return agg_rows__is_dead(rows, entity, sweeping->horizon.time_ms) ? NONE : ALL;
}

static uint64_t count_records(const struct agg_ring *rings, const struct agg_entity *entity)
{
    uint64_t count = 0;

    for (int i = 0; i < entity->sequence_count; i++)
        count += rings[i].count;
    return count;
}

static enum left judge_sequences(const struct sweeping *sweeping, const struct agg_entity *entity, struct agg_blob *blob)
{
    uint64_t before = count_records(blob->memory, entity);

    if (!agg_sequence__prune(blob, entity, sweeping->horizon.time_ms))
        return NONE;
    return count_records(blob->memory, entity) < before ? LESS : ALL;
}

static enum left judge_cells(const struct sweeping *sweeping, const struct agg_entity *entity, enum store_part part,
                             struct agg_blob *blob)
{
    uint32_t before = agg_cells__used(blob->memory, entity, part),
             used = agg_cells__prune(blob, entity, part, &sweeping->horizon);

    return used == 0 ? NONE : used < before ? LESS : ALL;
}

/* Judges what is in `copy`. */
static enum left judge(struct sweeping *sweeping, const struct agg_entity *entity, enum store_part part)
{
    struct agg_blob blob = agg_blob__of_buffer(&sweeping->copy);

    if (part == STORE_PART_ROWS && blob.bytes > 0)
        return judge_rows(sweeping, entity, &blob);
    if (part == STORE_PART_SEQUENCES && blob.bytes > 0)
        return judge_sequences(sweeping, entity, &blob);
    return blob.bytes > 0 ? judge_cells(sweeping, entity, part, &blob) : ALL;
}

/* ---- On disk: whom to look at ---- */

static bool note(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct sweeping *sweeping = user;
    struct agg_catalogue *catalogue = sweeping->agg->catalogue;
    const struct agg_entity *entity = catalogue->kinds[key->kind];
    bool is_wanted = agg_table__is_retired(catalogue, key);

    for (enum store_part part = 0; entity && part < STORE_PARTS; part++) {
        fr_buffer_clear(&sweeping->copy);
        if (disk[part].length == 0 || !agg_codec__decode(catalogue, key, part, disk[part], &sweeping->copy))
            continue; /* what makes no sense is told by who reads it */
        is_wanted = is_wanted || judge(sweeping, entity, part) != ALL;
        sweeping->is_out_of_memory |= sweeping->copy.is_failed;
    }
    if (is_wanted) {
        sweeping->keys[sweeping->count] = *key;
        sweeping->hashes[sweeping->count++] = store_key_hash(sweeping->agg->store, key);
    }
    return !sweeping->is_out_of_memory;
}

/* ---- In memory: taking it away ---- */

/* What the copy's judgement was, done to the part itself. */
static bool prune_blob(struct sweeping *sweeping, const struct agg_entity *entity, struct agg_blob *blob)
{
    uint32_t used;

    if (!agg_blob__open(blob, 0))
        return false;
    if (blob->part == STORE_PART_SEQUENCES)
        used = agg_sequence__prune(blob, entity, sweeping->horizon.time_ms) ? agg_sequence__used(blob->memory, entity) : 0;
    else
        used = agg_cells__prune(blob, entity, blob->part, &sweeping->horizon);
    agg_blob__trim(blob, used);
    return true;
}

/* True when something of the part is left. */
static bool prune_part(struct sweeping *sweeping, const struct agg_entity *entity, struct store_entry *entry,
                       enum store_part part, bool *is_changed)
{
    struct agg_blob blob = agg_blob__of_entry(sweeping->agg->store, entry, part);
    enum left left;

    if (blob.bytes == 0)
        return false;
    fr_buffer_clear(&sweeping->copy);
    fr_buffer_append(&sweeping->copy, blob.memory, blob.bytes);
    left = sweeping->copy.is_failed ? ALL : judge(sweeping, entity, part);
    *is_changed |= left != ALL;
    if (left == NONE)
        (void)store_entry_write(sweeping->agg->store, entry, part, 0);
    else if (left == LESS)
        sweeping->is_out_of_memory |= !prune_blob(sweeping, entity, &blob);
    sweeping->is_out_of_memory |= sweeping->copy.is_failed;
    return left != NONE;
}

static void prune_entity(struct sweeping *sweeping, int index)
{
    struct store *store = sweeping->agg->store;
    const struct store_key *key = &sweeping->keys[index];
    const struct agg_entity *entity = sweeping->agg->catalogue->kinds[key->kind];
    struct store_entry *entry = store_entry_lock(store, key, sweeping->hashes[index], false);
    bool is_changed = false, is_left = false;

    if (!entry)
        return;
    if (!entity) { /* a row of a table that there is no more */
        int erased = 0;

        sweeping->is_out_of_memory |= !store_entry_erase(store, entry, &erased);
        sweeping->sweep->forgotten += erased > 0;
        store_entry_unlock(store, entry);
        return;
    }
    for (enum store_part part = 0; part < STORE_PARTS && !store_entry_is_corrupt(entry); part++)
        is_left |= prune_part(sweeping, entity, entry, part, &is_changed);
    sweeping->sweep->forgotten += is_changed && !is_left;
    sweeping->sweep->pruned += is_changed && is_left;
    store_entry_unlock(store, entry);
}

static bool prune_all(struct sweeping *sweeping, struct fr_err *err)
{
    struct store *store = sweeping->agg->store;
    struct store_visit visit = store_visit_enter(store);
    bool is_loaded = store_load(store, sweeping->keys, sweeping->hashes, sweeping->count, err);

    for (int i = 0; is_loaded && i < sweeping->count; i++) {
        store_gate_enter(store); /* one by one: an epoch need not wait for all of them */
        prune_entity(sweeping, i);
        store_gate_leave(store);
    }
    store_visit_leave(store, visit);
    return is_loaded;
}

bool agg_sweep(struct agg *agg, struct agg_sweep *sweep, int64_t horizon_ms, int most, struct fr_err *err)
{
    struct sweeping sweeping = {.agg = agg, .sweep = sweep, .horizon = agg_window__moment(horizon_ms)};
    bool is_swept;

    fr_buffer_init(&sweeping.copy);
    is_swept =
        store_scan_some(agg->store, &sweep->cursor, (uint64_t)(most < SWEEP_MOST ? most : SWEEP_MOST), note, &sweeping, err) &&
        (sweeping.count == 0 || prune_all(&sweeping, err));
    fr_buffer_fini(&sweeping.copy);
    if (is_swept && sweeping.is_out_of_memory)
        return fr_fail(err, FR_EXHAUSTED, "sweep: out of memory");
    sweep->passes += is_swept && sweep->cursor.length == 0;
    return is_swept;
}
