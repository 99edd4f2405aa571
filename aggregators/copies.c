/*
 * Copies: parts of users' entities as another instance had them on disk, put in their places as they are; and what makes two stores'
 * bytes mean the same.
 */
#include "cells.h"
#include "type.h"

#include <freshet/deltas.h>
#include <freshet/text.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- what can be carried ---- */

static void tell(void (*each)(void *user, const char *line), void *user, const char *what, const char *name, const char *why)
{
    char line[256];

    snprintf(line, sizeof line, "%s '%s' %s", what, name, why);
    each(user, line);
}

static bool is_carried(const struct agg_feature *feature)
{
    return feature->entity->has_user || feature->entity->is_fed || !feature->type->cells || feature->type->cells->merge;
}

void agg_catalogue_uncarried(const struct agg_catalogue *catalogue, void (*each)(void *user, const char *line), void *user)
{
    for (int i = 0; i < catalogue->list_count; i++)
        if (catalogue->lists[i].entity && catalogue->lists[i].entity->has_user)
            tell(each, user, "list", catalogue->lists[i].name,
                 "ranks users, each of whom one instance of a cluster knows alone");
    for (int i = 0; i < catalogue->feature_count; i++) {
        const struct agg_feature *feature = catalogue->features[i];
        char why[128];

        if (is_carried(feature) || feature->is_hidden)
            continue;
        snprintf(why, sizeof why, "is a %s of '%s', which instances of a cluster cannot add up yet", feature->type->name,
                 feature->entity->name);
        tell(each, user, "feature", feature->name, why);
    }
}

uint64_t agg_fingerprint(const struct agg *agg)
{
    const struct agg_catalogue *catalogue = agg->catalogue;
    uint64_t print = STORE_FORMAT;

    for (int kind = 1; kind <= AGG_KINDS_MAX; kind++) {
        const struct agg_entity *entity = catalogue->kinds[kind];
        uint64_t words[] = {print, (uint64_t)kind, entity ? fr_text_hash(entity->key, (size_t)entity->key_count, 0) : 0};

        print = fr_text_hash(words, sizeof words, 0);
    }
    for (uint32_t slot = 0; slot < catalogue->slot_count; slot++) {
        const struct agg_feature *feature = catalogue->slots[slot];
        uint64_t words[] = {print, slot, feature ? feature->definition_hash : 0};

        print = fr_text_hash(words, sizeof words, 0);
    }
    return print;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t feature_seen_ms(const struct agg_feature *feature)
{
    int64_t seen_ms = greater(feature->bin_ms * feature->bins, feature->half_life_ms * 32);

    for (int i = 0; i < feature->window_count; i++)
        seen_ms = greater(seen_ms, feature->windows[i].span_ms);
    return greater(seen_ms, greater(feature->newer.span_ms, feature->known.span_ms));
}

int64_t agg_catalogue_seen_ms(const struct agg *agg)
{
    const struct agg_catalogue *catalogue = agg->catalogue;
    int64_t seen_ms = 0;

    for (int i = 0; i < catalogue->entity_count; i++) {
        if (catalogue->entities[i]->has_user || catalogue->entities[i]->is_hidden)
            continue; /* whether all events are present nobody asks */
        if (catalogue->entities[i]->retention_ms == 0)
            return -1;
        seen_ms = greater(seen_ms, catalogue->entities[i]->retention_ms);
    }
    for (int i = 0; i < catalogue->feature_count; i++)
        seen_ms = greater(seen_ms, feature_seen_ms(catalogue->features[i]));
    return seen_ms;
}

/* ---- copies ---- */

void agg_carry(struct agg *agg, uint8_t kind, bool (*is_good)(struct fr_slice disk))
{
    agg->carried_kind = kind;
    agg->is_carried_good = is_good;
}

static bool is_carried_kind(const struct agg *agg, const struct store_key *key)
{
    return agg->carried_kind != 0 && key->kind == agg->carried_kind;
}

bool agg_is_of_user(const struct agg *agg, const struct store_key *key)
{
    const struct agg_entity *entity = agg->catalogue->kinds[key->kind];

    return (entity && entity->has_user) || is_carried_kind(agg, key);
}

bool agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    struct store_key *keys = calloc((size_t)count + 1, sizeof *keys);
    uint64_t *hashes = calloc((size_t)count + 1, sizeof *hashes);
    bool ok = keys && hashes;

    for (int i = 0; i < count && ok; i++) {
        keys[i] = copies[i].key;
        hashes[i] = store_key_hash(agg->store, &keys[i]);
        if (!agg_is_of_user(agg, &keys[i]) || copies[i].part >= STORE_PARTS) {
            free(keys);
            free(hashes);
            return fr_fail(err, FR_CORRUPT,
                           "aggregators: a copy of an entity that the configuration does not have; all instances of a cluster "
                           "need the same");
        }
    }
    ok = ok ? store_load(agg->store, keys, hashes, count, err) : fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    free(keys);
    free(hashes);
    return ok;
}

static bool decode(const struct agg *agg, const struct agg_copy *copy, struct fr_buffer *memory)
{
    if (!is_carried_kind(agg, &copy->key))
        return agg_codec__decode(agg->catalogue, &copy->key, copy->part, copy->bytes, memory);
    fr_buffer_append(memory, copy->bytes.bytes, copy->bytes.length);
    return agg->is_carried_good(copy->bytes) && !memory->is_failed;
}

static bool put(struct agg *agg, const struct agg_copy *copy, struct fr_buffer *memory, struct fr_err *err)
{
    struct store_entry *entry;
    void *to;

    fr_buffer_clear(memory);
    if (copy->bytes.length > 0 && !decode(agg, copy, memory))
        return fr_fail(err, FR_CORRUPT, "aggregators: the bytes of a copy make no sense; is every instance of this version?");
    entry = store_entry_lock(agg->store, &copy->key, store_key_hash(agg->store, &copy->key), true);
    if (!entry)
        return fr_fail(err, FR_UNAVAILABLE, "aggregators: out of memory for a copy; restart with less store.memory");
    to = store_entry_write(agg->store, entry, copy->part, (uint32_t)memory->length);
    if (to)
        memcpy(to, memory->bytes, memory->length);
    store_entry_unlock(agg->store, entry);
    return to || memory->length == 0 ||
           fr_fail(err, FR_UNAVAILABLE, "aggregators: out of memory for a copy; restart with less store.memory");
}

bool agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    struct fr_buffer memory;
    bool ok = true;

    fr_buffer_init(&memory);
    for (int i = 0; i < count && ok; i++)
        ok = put(agg, &copies[i], &memory, err);
    fr_buffer_fini(&memory);
    return ok;
}

/* ---- dropping ---- */

struct dropping {
    struct agg *agg;
    bool (*is_gone)(void *user, uint64_t user_id);
    bool (*is_over)(void *user);
    void *user;
    struct store_key *keys;
    size_t count, capacity;
    bool is_failed;
};

static bool note(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct dropping *dropping = user;

    (void)disk;
    if (dropping->is_over && dropping->is_over(dropping->user))
        return false;
    if (!agg_is_of_user(dropping->agg, key) || !dropping->is_gone(dropping->user, key->ids[0]))
        return true;
    if (dropping->count == dropping->capacity) {
        size_t capacity = dropping->capacity ? dropping->capacity * 2 : 1024;
        struct store_key *grown = reallocarray(dropping->keys, capacity, sizeof *grown);

        dropping->is_failed = !grown;
        if (!grown)
            return false;
        dropping->keys = grown;
        dropping->capacity = capacity;
    }
    dropping->keys[dropping->count++] = *key;
    return true;
}

static bool erase(struct agg *agg, const struct store_key *key, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(agg->store);
    uint64_t hash = store_key_hash(agg->store, key);
    bool ok = store_load(agg->store, key, &hash, 1, err);
    struct store_entry *entry;
    int erased = 0;

    if (ok) {
        store_gate_enter(agg->store);
        entry = store_entry_lock(agg->store, key, hash, false);
        if (entry) {
            ok = store_entry_erase(agg->store, entry, &erased) ||
                 fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory to give users away");
            store_entry_unlock(agg->store, entry);
        }
        store_gate_leave(agg->store);
    }
    store_visit_leave(agg->store, visit);
    return ok;
}

bool agg_users_drop(struct agg *agg, bool (*is_gone)(void *user, uint64_t user_id), bool (*is_over)(void *user), void *user,
                    uint64_t *count, struct fr_err *err)
{
    struct dropping dropping = {.agg = agg, .is_gone = is_gone, .is_over = is_over, .user = user};
    bool ok = store_scan(agg->store, note, &dropping, err);

    if (ok && dropping.is_failed)
        ok = fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory to give users away");
    for (size_t i = 0; i < dropping.count && ok && !(is_over && is_over(user)); i++) {
        ok = erase(agg, &dropping.keys[i], err);
        *count += ok;
    }
    free(dropping.keys);
    return ok;
}
