/*
 * The catalogue: what the configuration says about entities, features and feature sets, checked and laid out. Everything lives in
 * one arena. Mistakes are collected, so that one look at the output mends them all.
 */
#include "tables.h"
#include "type.h"

#include <freshet/text.h>

#include <stdlib.h>

enum { CATALOGUE_BYTES_MAX = 64 << 20 };

bool agg_name__check(struct fr_yaml *key, const char *where, struct fr_diagnostics *diagnostics)
{
    const char *at = key->text.bytes;
    bool is_word = key->text.length > 0 && key->text.length <= AGG_NAME_MAX && !(at[0] >= '0' && at[0] <= '9');

    for (size_t i = 0; i < key->text.length && is_word; i++)
        is_word =
            (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= 'A' && at[i] <= 'Z') || (at[i] >= '0' && at[i] <= '9') || at[i] == '_';
    return is_word || fr_diagnostics_add(diagnostics, key, "%s: '%s' is no name; use letters, digits and _, at most %d of them",
                                         where, at, AGG_NAME_MAX);
}

struct agg_entity *agg_catalogue__entity(const struct agg_catalogue *catalogue, struct fr_slice name)
{
    for (int i = 0; i < catalogue->entity_count; i++) {
        if (fr_slice_is(name, catalogue->entities[i]->name))
            return catalogue->entities[i];
    }
    return NULL;
}

struct agg_feature *agg_catalogue__feature(const struct agg_catalogue *catalogue, struct fr_slice name)
{
    for (int i = 0; i < catalogue->feature_count; i++) {
        if (fr_slice_is(name, catalogue->features[i]->name))
            return catalogue->features[i];
    }
    return NULL;
}

static bool fail_nearest(struct fr_slice name, const char *const *names, int count, const char *what, struct fr_err *err)
{
    const char *nearest = fr_text_nearest(name, names, count);

    return fr_fail(err, FR_BAD_INPUT, "unknown %s '%.*s'%s%s%s", what, (int)(name.length > 200 ? 200 : name.length),
                   (const char *)name.bytes, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

struct agg_entity *agg_catalogue__kind(const struct agg_catalogue *catalogue, const char *name, struct fr_err *err)
{
    const char *names[AGG_ENTITIES_MAX];

    for (int i = 0; i < catalogue->visible_count; i++) {
        names[i] = catalogue->entities[i]->name;
        if (strcmp(names[i], name) == 0)
            return catalogue->entities[i];
    }
    (void)fail_nearest(fr_slice_of(name), names, catalogue->visible_count, "entity", err);
    return NULL;
}

bool agg_catalogue__resolve(const struct agg_catalogue *catalogue, struct fr_slice name, struct agg_feature **feature,
                            int *column, struct fr_err *err)
{
    const char *dot = name.length ? memchr(name.bytes, '.', name.length) : NULL;
    struct fr_slice stem = fr_slice(name.bytes, dot ? (size_t)(dot - (const char *)name.bytes) : name.length);

    *column = -1;
    *feature = agg_catalogue__feature(catalogue, stem);
    if (!*feature) {
        const char *names[AGG_FEATURES_MAX];

        for (int i = 0; i < catalogue->visible_feature_count; i++)
            names[i] = catalogue->features[i]->name;
        return fail_nearest(stem, names, catalogue->visible_feature_count, "feature", err);
    }
    if (!dot || !(*feature)->outputs)
        return true; /* without outputs: a mistake in it is told already */
    for (int i = 0; i < (*feature)->column_count; i++) {
        if (fr_slice_is(name, (*feature)->columns[i]))
            *column = i;
    }
    return *column >= 0 || fail_nearest(name, (*feature)->columns, (*feature)->column_count, "column", err);
}

bool agg_catalogue__slots_reset(struct agg_catalogue *catalogue, uint32_t count)
{
    catalogue->slots = fr_arena_take_zeroed(catalogue->arena, (size_t)count + 1, sizeof(struct agg_feature *));
    catalogue->slot_count = catalogue->slots ? count : 0;
    return catalogue->slots != NULL;
}

static bool is_counter(const struct agg_feature *feature)
{
    return feature->aggregate == AGG_COUNT || feature->aggregate == AGG_SUM || feature->aggregate == AGG_MEAN ||
           feature->aggregate == AGG_MIN || feature->aggregate == AGG_MAX || feature->aggregate == AGG_IPS;
}

static enum agg_measure measure_of(const struct agg_feature *feature)
{
    switch (feature->aggregate) {
    case AGG_COUNT:
        return AGG_MEASURE_COUNT;
    case AGG_MIN:
    case AGG_MAX:
        return AGG_MEASURE_GREATEST;
    default:
        return AGG_MEASURE_SUM;
    }
}

static void layout_counter(struct agg_feature *feature)
{
    struct agg_entity *entity = feature->entity;

    feature->measure = measure_of(feature);
    entity->counters[entity->counter_count++] = feature;
    for (int i = 0; i < feature->window_count; i++) {
        const struct agg_window *window = &feature->windows[i];

        if (feature->panes_most[window->level] < window->panes)
            feature->panes_most[window->level] = window->panes;
        if (entity->panes_most[window->level] < window->panes)
            entity->panes_most[window->level] = window->panes;
    }
}

static void layout_feature(struct agg_feature *feature)
{
    struct agg_entity *entity = feature->entity;

    feature->is_counter = is_counter(feature);
    feature->is_joined = entity->is_joined || (feature->where && agg_where__tables(feature->where) != 0) ||
                         (feature->named && feature->named->is_joined);
    if (feature->is_counter) {
        layout_counter(feature);
    } else if (feature->aggregate == AGG_LAST) {
        entity->needs_order = true;
        feature->sequence = entity->sequence_count;
        entity->sequences[entity->sequence_count++] = feature;
    } else if (feature->type->cells) {
        enum store_part part = feature->type->cells->part;

        entity->needs_order = true;
        feature->cell = entity->cell_count[part];
        if (feature->type->cells->add)
            entity->cell_actions[part] |= feature->actions;
        entity->cells[part][entity->cell_count[part]++] = feature;
    }
}

/* Where each feature's numbers lie in its entity's memory; provisional kinds and slots until a registry gives the lasting ones. */
static bool layout(struct agg_catalogue *catalogue)
{
    size_t features = (size_t)catalogue->feature_count;

    if (!agg_catalogue__slots_reset(catalogue, (uint32_t)features))
        return false;
    for (int i = 0; i < catalogue->entity_count; i++) {
        struct agg_entity *entity = catalogue->entities[i];

        entity->kind = (uint8_t)(i + 1);
        catalogue->kinds[i + 1] = entity;
        entity->counters = fr_arena_take_zeroed(catalogue->arena, features + 1, sizeof(struct agg_feature *));
        entity->sequences = fr_arena_take_zeroed(catalogue->arena, features + 1, sizeof(struct agg_feature *));
        if (!entity->counters || !entity->sequences)
            return false;
        for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
            entity->cells[part] = fr_arena_take_zeroed(catalogue->arena, features + 1, sizeof(struct agg_feature *));
            if (!entity->cells[part])
                return false;
        }
        entity->needs_order = entity->remembered != 0;
    }
    for (int i = 0; i < catalogue->feature_count; i++) {
        layout_feature(catalogue->features[i]);
        catalogue->features[i]->slot = (uint32_t)i;
        catalogue->slots[i] = catalogue->features[i];
    }
    for (int i = 0; i < catalogue->entity_count; i++) {
        if (!agg_layout__counters(catalogue->entities[i], catalogue->arena))
            return false;
    }
    return true;
}

struct agg_entity *agg_catalogue__hidden(struct agg_catalogue *catalogue, const char *name, const uint8_t *key, int key_count)
{
    struct agg_entity *entity = agg_catalogue__entity(catalogue, fr_slice_of(name));

    if (entity || catalogue->entity_count == AGG_KEEPERS_MAX)
        return entity;
    entity = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *entity);
    if (!entity)
        return NULL;
    entity->name = fr_arena_copy(catalogue->arena, fr_slice_of(name));
    for (int i = 0; i < key_count; i++)
        agg_key__add(catalogue, entity, key[i]);
    entity->is_hidden = true;
    catalogue->entities[catalogue->entity_count++] = entity;
    return entity->name ? entity : NULL;
}

struct agg_entity *agg_catalogue__global(struct agg_catalogue *catalogue)
{
    static const uint8_t key[] = {AGG_KEY_ALL};

    if (!catalogue->global)
        catalogue->global = agg_catalogue__hidden(catalogue, "(global)", key, 1);
    return catalogue->global;
}

static bool has_key(const struct agg_entity *entity, int field)
{
    return entity->key_count == 1 && entity->key[0] == field;
}

/* Duplicates are told per user, whether the configuration has features of users or not. */
static bool find_special(struct agg_catalogue *catalogue)
{
    struct agg_entity *user;

    for (int i = catalogue->entity_count - 1; i >= 0; i--) {
        struct agg_entity *entity = catalogue->entities[i];

        if (entity->is_hidden)
            continue;
        if (has_key(entity, PROTO_FIELD_USER_ID))
            catalogue->user = entity;
        if (has_key(entity, PROTO_FIELD_ITEM_ID))
            catalogue->item = entity;
        if (has_key(entity, PROTO_FIELD_ROOM_ID))
            catalogue->room = entity;
    }
    if (!catalogue->user) {
        user = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *user);
        if (!user)
            return false;
        user->name = agg_catalogue__entity(catalogue, fr_slice_of("user")) ? "(user)" : "user";
        agg_key__add(catalogue, user, PROTO_FIELD_USER_ID);
        user->is_hidden = true;
        user->retention_ms = INT64_C(30) * 86400000;
        catalogue->entities[catalogue->entity_count++] = user;
        catalogue->user = user;
    }
    catalogue->user->has_dedupe = true;
    return true;
}

static bool parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics)
{
    int before = diagnostics->count;
    bool ok = agg_tables__parse(catalogue, root, diagnostics);

    ok = agg_entities__parse(catalogue, root, diagnostics) && ok;
    ok = agg_features__parse(catalogue, root, diagnostics) && ok;
    ok = agg_lists__parse(catalogue, fr_yaml_get(root, "lists"), diagnostics) && ok;
    ok = agg_sets__parse(catalogue, fr_yaml_get(root, "feature_sets"), diagnostics) && ok;
    if (!ok && diagnostics->count == before)
        fr_diagnostics_add(diagnostics, NULL, "out of memory, or a catalogue of more than %d MiB", CATALOGUE_BYTES_MAX >> 20);
    if (diagnostics->count > before)
        return false;
    if (find_special(catalogue) && agg_life__add(catalogue) && agg_features__define(catalogue) && layout(catalogue))
        return true;
    return fr_diagnostics_add(diagnostics, NULL, "out of memory");
}

struct agg_catalogue *agg_catalogue_parse(struct fr_yaml *root, const struct agg_dedupe *dedupe,
                                          struct fr_diagnostics *diagnostics)
{
    struct agg_catalogue *catalogue = calloc(1, sizeof *catalogue);

    if (catalogue)
        catalogue->arena = fr_arena_new(CATALOGUE_BYTES_MAX);
    if (!catalogue || !catalogue->arena) {
        fr_diagnostics_add(diagnostics, NULL, "out of memory");
        free(catalogue);
        return NULL;
    }
    catalogue->dedupe = *dedupe;
    if (!parse(catalogue, root, diagnostics)) {
        agg_catalogue_free(catalogue);
        return NULL;
    }
    return catalogue;
}

void agg_catalogue_free(struct agg_catalogue *catalogue)
{
    if (!catalogue)
        return;
    fr_arena_free(catalogue->arena);
    free(catalogue);
}

struct store_codec agg_codec(struct agg_catalogue *catalogue)
{
    return (struct store_codec){.user = catalogue, .encode = agg_codec__encode, .decode = agg_codec__decode};
}
