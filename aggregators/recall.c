/*
 * Recall: candidates in the order of a list, each looked at for what it is worth now and whether it may be shown. Lists keep scores
 * that only events change; the values, and whether an item is off, come from the candidates themselves. They are looked at in the
 * order of their scores until no later one can be worth more than what is found.
 */
#include "covisit.h"
#include "feeds.h"
#include "glimpse.h"
#include "life.h"
#include "tables.h"
#include "top.h"
#include "type.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>

enum { CHUNK = 256, RECENT_DEFAULT = 100, RECENT_MOST = 1000 };

/* ---- the candidates of a list ---- */

static bool fail_corrupt(const struct store_key *key, const struct agg_entity *entity, struct fr_err *err)
{
    char name[160];

    agg_key__print(entity, key, name);
    return fr_fail(err, FR_CORRUPT, "the state of %s failed its check and is set aside; restore a backup, or replay", name);
}

/* Appends the candidates that lie under the key. */
static bool read_top(struct agg_glimpses *glimpses, const struct agg_feature *top, const struct store_key *key,
                     struct agg_ranked **ranked, uint32_t *count)
{
    struct store *store = glimpses->agg->store;
    uint64_t hash = store_key_hash(store, key);
    struct store_entry *entry;
    struct agg_ranked *all;
    struct fr_slice cell;
    uint32_t bytes;

    if (!store_load(store, key, &hash, 1, glimpses->err))
        return false;
    entry = store_entry_lock(store, key, hash, false);
    if (!entry)
        return true;
    if (store_entry_is_corrupt(entry)) {
        store_entry_unlock(store, entry);
        return fail_corrupt(key, top->entity, glimpses->err);
    }
    cell = agg_cells__read(store_entry_read(entry, STORE_PART_LISTS, &bytes), top->entity, top);
    all = fr_arena_take(glimpses->arena, ((size_t)*count + agg_top__count(cell) + 1) * sizeof *all);
    if (all) {
        if (*count > 0)
            memcpy(all, *ranked, *count * sizeof *all);
        *count += agg_top__read(top, cell, glimpses->time_ms, all + *count);
        *ranked = all;
    }
    store_entry_unlock(store, entry);
    return all || agg_glimpses__fail(glimpses);
}

static bool read_shards(struct agg_glimpses *glimpses, const struct agg_feature *top, struct agg_ranked **ranked,
                        uint32_t *count)
{
    for (uint64_t shard = 1; shard <= AGG_SHARDS; shard++) {
        struct store_key key = {.kind = top->entity->kind, .id_count = 1, .ids = {shard}};

        if (!read_top(glimpses, top, &key, ranked, count))
            return false;
    }
    agg_top__sort(*ranked, *count);
    return true;
}

/* ---- the reply ---- */

static bool candidates_init(struct agg_candidates *candidates, uint32_t most, struct agg_glimpses *glimpses)
{
    *candidates = (struct agg_candidates){.ids = fr_arena_take(glimpses->arena, ((size_t)most + 1) * sizeof(uint64_t)),
                                          .scores = fr_arena_take(glimpses->arena, ((size_t)most + 1) * sizeof(float))};
    return (candidates->ids && candidates->scores) || agg_glimpses__fail(glimpses);
}

static void candidates_add(struct agg_candidates *candidates, uint64_t id, double score)
{
    candidates->ids[candidates->count] = id;
    candidates->scores[candidates->count++] = (float)score;
}

static uint32_t limit_of(uint32_t asked, uint32_t most)
{
    return asked == 0 || asked > most ? most : asked;
}

static bool fail_unknown(const char *field, const char *what, const char *name, const char *const *names, int count,
                         struct fr_err *err)
{
    const char *nearest = fr_text_nearest(fr_slice_of(name), names, count);

    return fr_fail(err, FR_BAD_INPUT, "%s: unknown %s '%.100s'%s%s%s", field, what, name, nearest ? "; did you mean '" : "",
                   nearest ? nearest : "", nearest ? "'?" : "");
}

/* ---- lists ---- */

static bool find_list(const struct agg_catalogue *catalogue, const char *name, const struct agg_list **list, struct fr_err *err)
{
    const char *names[AGG_LISTS_MAX];

    for (int i = 0; i < catalogue->list_count; i++) {
        names[i] = catalogue->lists[i].name;
        if (strcmp(names[i], name) == 0) {
            *list = &catalogue->lists[i];
            return true;
        }
    }
    return fail_unknown("list", "list", name, names, catalogue->list_count, err);
}

static bool find_scope(const struct agg_list *list, const char *name, const struct agg_scope **scope, struct fr_err *err)
{
    if (!*name)
        name = "global";
    for (int i = 0; i < list->scope_count; i++) {
        if (strcmp(list->scope_names[i], name) == 0) {
            *scope = &list->scopes[i];
            return true;
        }
    }
    return fail_unknown("scope", "scope", name, list->scope_names, list->scope_count, err);
}

/* What a chunk of candidates is worth, and which may be shown; the good ones are put in front again. */
static bool weigh(struct agg_glimpses *glimpses, const struct agg_list *list, const struct agg_scope *scope, uint64_t scope_id,
                  struct agg_ranked *ranked, uint32_t count, struct agg_ranked *good, uint32_t *good_count)
{
    uint64_t ids[CHUNK];
    bool is_out[CHUNK];

    for (uint32_t i = 0; i < count; i++)
        ids[i] = ranked[i].id;
    if (!agg_glimpses__out(glimpses, list->entity, ids, (int)count, is_out) ||
        !agg_glimpses__load(glimpses, scope->source->entity, ids, (int)count, scope_id))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct agg_glimpse glimpse;

        if (is_out[i])
            continue;
        agg_glimpses__look(glimpses, scope->source->entity, ids[i], scope_id, NULL, scope->source, &glimpse);
        if (glimpse.sum > 0)
            good[(*good_count)++] = (struct agg_ranked){.id = ids[i], .latest_ms = ranked[i].latest_ms, .score = glimpse.sum};
    }
    return true;
}

/* Takes those whose row has the field out of the candidates. */
static bool leave_out(struct agg_glimpses *glimpses, const struct agg_list *list, struct agg_ranked *good, uint32_t *count)
{
    const struct agg_table_field *field = &glimpses->agg->catalogue->table_fields[list->without];
    struct store *store = glimpses->agg->store;
    uint64_t words[PROTO_TABLE_WORDS_MAX];
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *count; i++) {
        struct store_key key;
        uint64_t hash;

        if (!agg_table__key(field->table, good[i].id, &key))
            continue;
        hash = store_key_hash(store, &key);
        if (!store_load(store, &key, &hash, 1, glimpses->err))
            return false;
        if (agg_table__read(store, field->table, good[i].id, words, NULL, NULL) == 0 || (words[0] >> field->field & 1) == 0)
            good[kept++] = good[i];
    }
    *count = kept;
    return true;
}

/* Sums by what each candidate's column says; what is worth nothing then is left out. */
static bool multiply(struct agg_glimpses *glimpses, const struct agg_list *list, struct agg_ranked *good, uint32_t *count)
{
    char *names[] = {(char *)(uintptr_t)list->weigh};
    struct agg_columns *columns;
    uint32_t kept = 0;
    bool ok = true;

    if (!agg_columns_new(glimpses->agg, list->entity->name, names, 1, &columns, glimpses->err))
        return false;
    for (uint32_t i = 0; i < *count && ok; i++) {
        float values[AGG_OUTPUTS + 2 * AGG_PRIORS]; /* a value brings its companions along, behind it */

        ok = agg_columns_read(columns, &good[i].id, glimpses->time_ms, values, glimpses->err);
        good[i].score *= (double)values[0];
        if (good[i].score > 0)
            good[kept++] = good[i];
    }
    *count = kept;
    agg_columns_free(columns);
    return ok;
}

bool agg_recall_trending(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                         struct agg_candidates *candidates, struct fr_err *err)
{
    struct agg_glimpses glimpses = {
        .agg = agg, .arena = arena, .time_ms = ask->time_ms, .seen_within_ms = ask->seen_within_ms, .err = err};
    const struct agg_list *list = NULL;
    const struct agg_scope *scope = NULL;
    struct agg_ranked *ranked = NULL, *good;
    uint32_t count = 0, good_count = 0, limit;
    struct store_key key;
    bool is_pool;

    if (!find_list(agg->catalogue, ask->name, &list, err) || !find_scope(list, ask->scope, &scope, err))
        return false;
    is_pool = list->rank->aggregate == AGG_QUOTA; /* all that are new lie by their first events, not by what is left */
    limit = limit_of(ask->limit, list->limit);
    key = (struct store_key){.kind = scope->top->entity->kind, .id_count = 1, .ids = {ask->id}};
    if (scope->field == AGG_KEY_ALL)
        key.ids[0] = 1;
    if (is_pool ? !read_shards(&glimpses, scope->top, &ranked, &count)
                : key.ids[0] != 0 && !read_top(&glimpses, scope->top, &key, &ranked, &count))
        return false;
    agg_top__sort(ranked, count);
    good = fr_arena_take(arena, ((size_t)count + 1) * sizeof *good);
    if (!good || !candidates_init(candidates, limit, &glimpses))
        return agg_glimpses__fail(&glimpses);
    if (!agg_glimpses__see(&glimpses, list->entity, ask->user_id))
        return false;
    for (uint32_t at = 0, chunk; at < count; at += chunk) {
        chunk = count - at < CHUNK ? count - at : CHUNK;
        if (!weigh(&glimpses, list, scope, ask->id, ranked + at, chunk, good, &good_count))
            return false;
        agg_top__sort(good, good_count);
        if (at + chunk < count && !is_pool && good_count >= limit && !list->weigh && list->without < 0 &&
            good[limit - 1].score >= agg_decayed__bound(list->rank, ranked[at + chunk].score, ask->time_ms))
            break;
    }
    if ((list->without >= 0 && !leave_out(&glimpses, list, good, &good_count)) ||
        (list->weigh && !multiply(&glimpses, list, good, &good_count)))
        return false;
    agg_top__sort(good, good_count);
    for (uint32_t i = 0; i < good_count && i < limit; i++)
        candidates_add(candidates, good[i].id, good[i].score);
    return true;
}

/* ---- covisitation ---- */

static bool find_feature(const struct agg_catalogue *catalogue, enum agg_aggregate aggregate, const char *name,
                         const struct agg_feature **feature, struct fr_err *err)
{
    const char *kind = agg__types[aggregate]->name, *names[AGG_FEATURES_MAX];
    char what[AGG_NAME_MAX];
    int count = 0;

    for (int i = 0; i < catalogue->visible_feature_count; i++) {
        const struct agg_feature *each = catalogue->features[i];

        if (each->aggregate != aggregate)
            continue;
        names[count++] = each->name;
        *feature = each;
        if (strcmp(each->name, name) == 0)
            return true;
    }
    if (!*name && count == 1)
        return true;
    if (!*name)
        return fr_fail(err, FR_BAD_INPUT, "feature: this node has %s; name one with aggregate: %s",
                       count == 0 ? "none" : "several", kind);
    snprintf(what, sizeof what, "%s feature", kind);
    return fail_unknown("feature", what, name, names, count, err);
}

static bool read_partners(struct agg_glimpses *glimpses, const struct agg_feature *feature, uint64_t item_id,
                          struct agg_ranked **ranked, uint32_t *count)
{
    struct store *store = glimpses->agg->store;
    struct store_key key = {.kind = feature->entity->kind, .id_count = 1, .ids = {item_id}};
    uint64_t hash = store_key_hash(store, &key);
    struct store_entry *entry;
    struct fr_slice cell;
    uint32_t bytes;
    bool ok = true;

    if (!store_load(store, &key, &hash, 1, glimpses->err))
        return false;
    entry = store_entry_lock(store, &key, hash, false);
    if (!entry)
        return true;
    if (store_entry_is_corrupt(entry)) {
        store_entry_unlock(store, entry);
        return fail_corrupt(&key, feature->entity, glimpses->err);
    }
    if (agg_rows__is_present(store_entry_read(entry, STORE_PART_ROWS, &bytes), feature->entity, glimpses->time_ms)) {
        cell = agg_cells__read(store_entry_read(entry, STORE_PART_LISTS, &bytes), feature->entity, feature);
        *ranked = fr_arena_take(glimpses->arena, (agg_covisit__most(cell) + 1) * sizeof **ranked);
        ok = *ranked != NULL;
        if (ok)
            *count = agg_covisit__read(feature, cell, glimpses->time_ms, *ranked);
    }
    store_entry_unlock(store, entry);
    return ok || agg_glimpses__fail(glimpses);
}

bool agg_recall_related(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                        struct agg_candidates *candidates, struct fr_err *err)
{
    struct agg_glimpses glimpses = {
        .agg = agg, .arena = arena, .time_ms = ask->time_ms, .seen_within_ms = ask->seen_within_ms, .err = err};
    const struct agg_feature *feature = NULL;
    struct agg_ranked *ranked = NULL;
    uint32_t count = 0, limit;

    if (!find_feature(agg->catalogue, AGG_COVISIT, ask->name, &feature, err))
        return false;
    limit = limit_of(ask->limit, feature->limit);
    if (!candidates_init(candidates, limit, &glimpses) ||
        (ask->id != 0 && !read_partners(&glimpses, feature, ask->id, &ranked, &count)) ||
        !agg_glimpses__see(&glimpses, feature->entity, ask->user_id))
        return false;
    agg_top__sort(ranked, count);
    for (uint32_t at = 0, chunk; at < count && candidates->count < limit; at += chunk) {
        uint64_t ids[CHUNK];
        bool is_out[CHUNK];

        chunk = count - at < CHUNK ? count - at : CHUNK;
        for (uint32_t i = 0; i < chunk; i++)
            ids[i] = ranked[at + i].id;
        if (!agg_glimpses__out(&glimpses, feature->entity, ids, (int)chunk, is_out))
            return false;
        for (uint32_t i = 0; i < chunk && candidates->count < limit; i++) {
            if (!is_out[i])
                candidates_add(candidates, ids[i], ranked[at + i].score);
        }
    }
    return true;
}

/* ---- labels ---- */

bool agg_recall_labels(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena, struct agg_candidates *candidates,
                       struct fr_err *err)
{
    struct agg_glimpses glimpses = {.agg = agg, .arena = arena, .time_ms = ask->time_ms, .err = err};
    const struct agg_feature *feature = NULL;
    struct agg_ranked *partners = NULL, *labels;
    uint32_t partner_count = 0, count, limit;

    if (!find_feature(agg->catalogue, AGG_LIFT, ask->name, &feature, err))
        return false;
    limit = limit_of(ask->limit, feature->limit);
    if (!candidates_init(candidates, limit, &glimpses) ||
        (ask->id != 0 && !read_partners(&glimpses, feature->source, ask->id, &partners, &partner_count)))
        return false;
    agg_top__sort(partners, partner_count);
    if (!agg_lift__read(&glimpses, feature, partners, partner_count, &labels, &count))
        return false;
    for (uint32_t i = 0; i < count && i < limit; i++)
        candidates_add(candidates, labels[i].id, labels[i].score);
    return true;
}

/* ---- what is recent ---- */

enum recent { ROOMS_LIVE, CREATORS_LIVE, NEW_ITEMS, RECENTS };
static const char *const recent_names[RECENTS] = {"rooms_live", "creators_live", "new_items"};

static double seconds_before(int64_t time_ms, double moment_ms)
{
    return moment_ms >= (double)time_ms ? 0 : ((double)time_ms - moment_ms) / 1e3;
}

static bool is_live(const struct agg_glimpse *room, int64_t time_ms)
{
    if (!room->is_present)
        return false;
    if (room->life == AGG_LIFE_UNSAID)
        return time_ms - room->latest_ms < AGG_IDLE_MS;
    return room->life == AGG_LIFE_ON;
}

static bool has_id(const struct agg_candidates *candidates, uint64_t id)
{
    for (uint32_t i = 0; i < candidates->count; i++) {
        if (candidates->ids[i] == id)
            return true;
    }
    return false;
}

/* Live ones of a chunk of rooms, or who is live there. */
static bool add_rooms(struct agg_glimpses *glimpses, enum recent kind, const struct agg_ranked *ranked, uint32_t count,
                      uint32_t limit, struct agg_candidates *candidates)
{
    const struct agg_catalogue *catalogue = glimpses->agg->catalogue;
    uint64_t ids[CHUNK];

    for (uint32_t i = 0; i < count; i++)
        ids[i] = ranked[i].id;
    if (!agg_glimpses__load(glimpses, catalogue->room, ids, (int)count, 0))
        return false;
    for (uint32_t i = 0; i < count && candidates->count < limit; i++) {
        struct agg_glimpse room;
        uint64_t id = ids[i];

        agg_glimpses__look(glimpses, catalogue->room, id, 0, catalogue->room_life, NULL, &room);
        if (!is_live(&room, glimpses->time_ms) || agg_is_blocked(glimpses->agg, AGG_BLOCKED_ROOM, id) ||
            agg_blocked__is_by_others(glimpses->agg, &room))
            continue;
        if (kind == CREATORS_LIVE)
            id = room.bits[agg_attribute__index(PROTO_FIELD_CREATOR_ID)];
        if (id != 0 && (kind == ROOMS_LIVE || !has_id(candidates, id)))
            candidates_add(candidates, id, seconds_before(glimpses->time_ms, ranked[i].score));
    }
    return true;
}

static bool add_items(struct agg_glimpses *glimpses, const struct agg_ranked *ranked, uint32_t count, uint32_t limit,
                      struct agg_candidates *candidates)
{
    const struct agg_entity *item = glimpses->agg->catalogue->item;
    uint64_t ids[CHUNK];
    bool is_out[CHUNK];

    for (uint32_t i = 0; i < count; i++)
        ids[i] = ranked[i].id;
    if (!agg_glimpses__out(glimpses, item, ids, (int)count, is_out))
        return false;
    for (uint32_t i = 0; i < count && candidates->count < limit; i++) {
        struct agg_glimpse glimpse;

        agg_glimpses__look(glimpses, item, ids[i], 0, NULL, NULL, &glimpse);
        if (!is_out[i] && glimpse.is_present)
            candidates_add(candidates, ids[i], seconds_before(glimpses->time_ms, ranked[i].score));
    }
    return true;
}

bool agg_recall_recent(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena, struct agg_candidates *candidates,
                       struct fr_err *err)
{
    struct agg_glimpses glimpses = {
        .agg = agg, .arena = arena, .time_ms = ask->time_ms, .seen_within_ms = ask->seen_within_ms, .err = err};
    uint32_t count = 0, limit = limit_of(ask->limit ? ask->limit : RECENT_DEFAULT, RECENT_MOST);
    struct agg_ranked *ranked = NULL;
    const struct agg_feature *top;
    int kind = 0;

    while (kind < RECENTS && strcmp(recent_names[kind], ask->name) != 0)
        kind++;
    if (kind == RECENTS)
        return fail_unknown("kind", "kind", ask->name, recent_names, RECENTS, err);
    top = kind == NEW_ITEMS ? agg->catalogue->recent_items : agg->catalogue->recent_rooms;
    if (!candidates_init(candidates, limit, &glimpses) || (top && !read_shards(&glimpses, top, &ranked, &count)))
        return false;
    if (kind == NEW_ITEMS && top && !agg_glimpses__see(&glimpses, top->ranked, ask->user_id))
        return false;
    for (uint32_t at = 0, chunk; at < count && candidates->count < limit; at += chunk) {
        chunk = count - at < CHUNK ? count - at : CHUNK;
        if (kind == NEW_ITEMS ? !add_items(&glimpses, ranked + at, chunk, limit, candidates)
                              : !add_rooms(&glimpses, (enum recent)kind, ranked + at, chunk, limit, candidates))
            return false;
    }
    return true;
}
