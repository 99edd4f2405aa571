/* Looks at candidates: each entity once, under its own lock, after one load of all of them. */
#include "glimpse.h"
#include "decayed.h"
#include "tables.h"

#include <stdlib.h>

bool agg_glimpses__fail(struct agg_glimpses *glimpses)
{
    return fr_fail(glimpses->err, FR_EXHAUSTED, "the reply grows beyond its limit; ask for fewer candidates");
}

static struct store_key key_of(const struct agg_entity *entity, uint64_t id, uint64_t scope)
{
    struct store_key key = {.kind = entity->kind, .id_count = (uint8_t)entity->key_count, .ids = {id}};

    if (entity->key_count > 1)
        key.ids[1] = scope;
    return key;
}

bool agg_glimpses__load(struct agg_glimpses *glimpses, const struct agg_entity *entity, const uint64_t *ids, int count,
                        uint64_t scope)
{
    struct store *store = glimpses->agg->store;
    struct store_key *keys;
    uint64_t *hashes;

    if (count == 0 || store_is_whole(store))
        return true;
    keys = fr_arena_take(glimpses->arena, (size_t)count * sizeof *keys);
    hashes = fr_arena_take(glimpses->arena, (size_t)count * sizeof *hashes);
    if (!keys || !hashes)
        return agg_glimpses__fail(glimpses);
    for (int i = 0; i < count; i++) {
        keys[i] = key_of(entity, ids[i], scope);
        hashes[i] = store_key_hash(store, &keys[i]);
    }
    return store_load(store, keys, hashes, count, glimpses->err);
}

/* What the entity is ranked by: a decayed sum, or what is left of a quota. */
static double sum_of(const struct agg_glimpses *glimpses, const struct agg_entity *entity, const struct agg_rows *rows,
                     const void *sketches, const struct agg_feature *sums)
{
    struct agg_moment moment;
    struct agg_view view;

    if (sums->aggregate != AGG_QUOTA)
        return agg_decayed__value(sums, agg_cells__read(sketches, entity, sums), glimpses->time_ms);
    if (!agg_rows__is_present(rows, entity, glimpses->time_ms))
        return 0;
    moment = agg_window__moment(glimpses->time_ms);
    agg_view__init(&view, rows, entity, &moment);
    return agg_quota__left(sums, &view);
}

void agg_glimpses__look(struct agg_glimpses *glimpses, const struct agg_entity *entity, uint64_t id, uint64_t scope,
                        const struct agg_feature *life, const struct agg_feature *sums, struct agg_glimpse *glimpse)
{
    struct store *store = glimpses->agg->store;
    struct store_key key = key_of(entity, id, scope);
    struct store_entry *entry = store_entry_lock(store, &key, store_key_hash(store, &key), false);
    const struct agg_rows *rows;
    const void *sketches;
    uint32_t bytes;

    *glimpse = (struct agg_glimpse){0};
    if (!entry)
        return;
    if (!store_entry_is_corrupt(entry)) {
        rows = store_entry_read(entry, STORE_PART_ROWS, &bytes);
        sketches = store_entry_read(entry, STORE_PART_SKETCHES, &bytes);
        glimpse->is_present = agg_rows__is_present(rows, entity, glimpses->time_ms);
        glimpse->latest_ms = rows ? rows->latest_ms : 0;
        for (int i = 0; i < AGG_ATTRIBUTES; i++)
            glimpse->bits[i] = agg_attributes__read(rows, entity, i, glimpses->time_ms);
        if (life)
            glimpse->life = agg_life__read(life, agg_cells__read(sketches, entity, life), glimpses->time_ms);
        if (sums)
            glimpse->sum = sum_of(glimpses, entity, rows, sketches, sums);
    }
    store_entry_unlock(store, entry);
}

/* ---- seen ---- */

static int by_id(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static bool is_seen(const struct agg_glimpses *glimpses, uint64_t id)
{
    return glimpses->seen_count > 0 && bsearch(&id, glimpses->seen, glimpses->seen_count, sizeof id, by_id);
}

static bool add_seen(struct agg_glimpses *glimpses, const struct agg_ring *rings, const struct agg_feature *feature)
{
    uint32_t count = rings ? rings[feature->sequence].count : 0;
    uint64_t *seen = fr_arena_take(glimpses->arena, ((size_t)glimpses->seen_count + count + 1) * sizeof *seen);
    int word = agg_order__word(PROTO_FIELD_ITEM_ID);

    if (!seen)
        return false;
    if (glimpses->seen_count > 0)
        memcpy(seen, glimpses->seen, glimpses->seen_count * sizeof *seen);
    glimpses->seen = seen;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t *order = agg_sequence__record(rings, feature->entity, feature->sequence, i);

        if (!agg_entity__is_expired(feature->entity, (int64_t)order[0], glimpses->time_ms) &&
            (glimpses->seen_within_ms == 0 || glimpses->time_ms - (int64_t)order[0] < glimpses->seen_within_ms))
            seen[glimpses->seen_count++] = order[word];
    }
    return true;
}

bool agg_glimpses__see(struct agg_glimpses *glimpses, const struct agg_entity *asked, uint64_t user_id)
{
    struct agg_catalogue *catalogue = glimpses->agg->catalogue;
    struct store *store = glimpses->agg->store;
    const struct agg_entity *user = catalogue->user;
    bool ok = true;

    if (user_id == 0 || asked != catalogue->item)
        return true;
    for (int i = 0; i < catalogue->entity_count && ok; i++) {
        struct store_key key;
        struct store_entry *entry;
        uint32_t bytes;

        user = catalogue->entities[i];
        if (!user->has_user || user->key_count != 1 || user->sequence_count == 0)
            continue;
        if (!agg_glimpses__load(glimpses, user, &user_id, 1, 0))
            return false;
        key = key_of(user, user_id, 0);
        entry = store_entry_lock(store, &key, store_key_hash(store, &key), false);
        if (!entry)
            continue;
        for (int s = 0; s < user->sequence_count && ok && !store_entry_is_corrupt(entry); s++) {
            if (user->sequences[s]->is_seen)
                ok = add_seen(glimpses, store_entry_read(entry, STORE_PART_SEQUENCES, &bytes), user->sequences[s]);
        }
        store_entry_unlock(store, entry);
    }
    if (ok && glimpses->seen_count > 1)
        qsort(glimpses->seen, glimpses->seen_count, sizeof *glimpses->seen, by_id);
    return ok || agg_glimpses__fail(glimpses);
}

/* ---- off and ended ---- */

static bool ended(struct agg_glimpses *glimpses, const uint64_t *room_ids, int count, bool *is_out)
{
    const struct agg_catalogue *catalogue = glimpses->agg->catalogue;

    if (!catalogue->room)
        return true;
    if (!agg_glimpses__load(glimpses, catalogue->room, room_ids, count, 0))
        return false;
    for (int i = 0; i < count; i++) {
        struct agg_glimpse room;

        if (room_ids[i] == 0 || is_out[i])
            continue;
        agg_glimpses__look(glimpses, catalogue->room, room_ids[i], 0, catalogue->room_life, NULL, &room);
        is_out[i] = room.life == AGG_LIFE_OFF || agg_blocked__is_by_others(glimpses->agg, &room);
    }
    return true;
}

/* Rows that turn their item off, now: whatever an event says of it. */
static bool off_by_table(struct agg_glimpses *glimpses, const struct agg_table *table, const uint64_t *ids, int count,
                         bool *is_out)
{
    struct store *store = glimpses->agg->store;
    struct store_key *keys = fr_arena_take(glimpses->arena, ((size_t)count + 1) * sizeof *keys);
    uint64_t *hashes = fr_arena_take(glimpses->arena, ((size_t)count + 1) * sizeof *hashes);
    uint64_t words[PROTO_TABLE_WORDS_MAX];
    const uint64_t *rows[AGG_TABLES_MAX] = {NULL};
    const struct proto_event nothing = {.joined = rows};

    if (!keys || !hashes)
        return agg_glimpses__fail(glimpses);
    for (int i = 0, held = 0; i < count; i++) {
        held += agg_table__key(table, ids[i], &keys[held]);
        if (held > 0)
            hashes[held - 1] = store_key_hash(store, &keys[held - 1]);
        if (i + 1 == count && held > 0 && !store_load(store, keys, hashes, held, glimpses->err))
            return false;
    }
    for (int i = 0; i < count; i++) {
        if (is_out[i] || agg_table__read(store, table, ids[i], words, NULL, NULL) == 0)
            continue;
        rows[table->number] = words;
        is_out[i] = agg_where__holds(table->off, &nothing);
    }
    return true;
}

static bool off_by_tables(struct agg_glimpses *glimpses, const uint64_t *ids, int count, bool *is_out)
{
    const struct agg_catalogue *catalogue = glimpses->agg->catalogue;

    for (int t = 0; t < catalogue->table_count; t++)
        if (catalogue->tables[t].off && !off_by_table(glimpses, &catalogue->tables[t], ids, count, is_out))
            return false;
    return true;
}

static bool off(struct agg_glimpses *glimpses, const uint64_t *ids, int count, bool *is_out)
{
    const struct agg_catalogue *catalogue = glimpses->agg->catalogue;
    uint64_t *room_ids = fr_arena_take_zeroed(glimpses->arena, (size_t)count + 1, sizeof *room_ids);

    if (!room_ids)
        return agg_glimpses__fail(glimpses);
    if (!agg_glimpses__load(glimpses, catalogue->item, ids, count, 0))
        return false;
    for (int i = 0; i < count; i++) {
        struct agg_glimpse item;

        is_out[i] = is_out[i] || is_seen(glimpses, ids[i]);
        if (is_out[i])
            continue;
        agg_glimpses__look(glimpses, catalogue->item, ids[i], 0, catalogue->item_life, NULL, &item);
        is_out[i] = item.life == AGG_LIFE_OFF || agg_blocked__is_by_others(glimpses->agg, &item);
        room_ids[i] = item.bits[agg_attribute__index(PROTO_FIELD_ROOM_ID)];
    }
    return ended(glimpses, room_ids, count, is_out) && off_by_tables(glimpses, ids, count, is_out);
}

bool agg_glimpses__out(struct agg_glimpses *glimpses, const struct agg_entity *entity, const uint64_t *ids, int count,
                       bool *is_out)
{
    memset(is_out, 0, (size_t)count * sizeof *is_out);
    agg_blocked__out(glimpses->agg, entity, ids, count, is_out);
    if (entity == glimpses->agg->catalogue->item)
        return off(glimpses, ids, count, is_out);
    return entity != glimpses->agg->catalogue->room || ended(glimpses, ids, count, is_out);
}
