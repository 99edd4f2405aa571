/* `feature_sets`: named lists of features for one model or stage, by where they come from: the user, the item, or both. */
#include "tables.h"

#include <freshet/text.h>

#include <stdio.h>

static const char *const list_names[AGG_SET_LISTS] = {"user", "item", "cross"};
static const char *const list_keys[AGG_SET_LISTS] = {"the user alone", "no user", "the user and something else"};

static bool belongs(const struct agg_feature *feature, enum agg_set_list list)
{
    const struct agg_entity *entity = feature->entity;

    if (feature->aggregate == AGG_MATCH)
        return list == AGG_SET_CROSS; /* the user's, for each candidate */
    switch (list) {
    case AGG_SET_USER:
        return entity->has_user && entity->key_count == 1;
    case AGG_SET_ITEM:
        return !entity->has_user;
    default:
        return entity->has_user && entity->key_count > 1;
    }
}

static bool add_name(struct agg_catalogue *catalogue, struct agg_set *set, const struct fr_yaml *at,
                     struct fr_diagnostics *diagnostics)
{
    for (int i = 0; i < set->count; i++) {
        if (fr_slice_is(at->text, set->names[i]))
            return fr_diagnostics_add(diagnostics, at, "feature_sets.%s: '%s' twice", set->name, set->names[i]);
    }
    set->names[set->count] = fr_arena_copy(catalogue->arena, at->text);
    return set->names[set->count++] != NULL;
}

/* A table, or a field of one; what it has not is told as a feature that there is not. */
static bool is_of_table(const struct agg_catalogue *catalogue, struct fr_slice name, struct fr_err *err)
{
    return agg_tables__find(catalogue, name) || agg_tables__resolve(catalogue, name, err) >= 0;
}

static bool parse_name(struct agg_catalogue *catalogue, struct agg_set *set, enum agg_set_list list, struct fr_yaml *at,
                       struct fr_diagnostics *diagnostics)
{
    struct agg_feature *feature;
    struct fr_err err;
    int window;

    if (at->kind != FR_YAML_SCALAR)
        return fr_diagnostics_add(diagnostics, at, "feature_sets.%s.%s: should be a list of features", set->name,
                                  list_names[list]);
    if (list == AGG_SET_ITEM && is_of_table(catalogue, at->text, &err))
        return add_name(catalogue, set, at, diagnostics);
    if (!agg_catalogue__resolve(catalogue, at->text, &feature, &window, &err))
        return fr_diagnostics_add(diagnostics, at, "feature_sets.%s.%s: %s", set->name, list_names[list], err.message);
    if (feature->entity && feature->entity->key_count > 0 && !belongs(feature, list)) {
        int home = AGG_SET_USER;

        while (!belongs(feature, (enum agg_set_list)home))
            home++;
        return fr_diagnostics_add(diagnostics, at, "feature_sets.%s.%s: the key of '%s' is not of %s; list it under '%s'",
                                  set->name, list_names[list], feature->name, list_keys[list], list_names[home]);
    }
    return add_name(catalogue, set, at, diagnostics);
}

static bool parse_set(struct agg_catalogue *catalogue, struct agg_set *set, struct fr_yaml *key, struct fr_yaml *map,
                      struct fr_diagnostics *diagnostics)
{
    char where[AGG_NAME_MAX + 16];
    size_t most = 1;
    bool ok = true;

    set->name = fr_arena_copy(catalogue->arena, key->text);
    if (!set->name)
        return false;
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map->kind == FR_YAML_NULL ? key : map,
                                  "feature_sets.%s: should be a map with user, item or cross", set->name);
    for (int i = 0; i < map->count; i++)
        most += (size_t)map->values[i]->count;
    set->names = fr_arena_take_zeroed(catalogue->arena, most, sizeof(const char *));
    if (!set->names)
        return false;
    for (int list = 0; list < AGG_SET_LISTS; list++) {
        struct fr_yaml *names = fr_yaml_get(map, list_names[list]);

        if (names && names->kind != FR_YAML_LIST)
            ok = fr_diagnostics_add(diagnostics, names, "feature_sets.%s.%s: should be a list of features", set->name,
                                    list_names[list]);
        for (int i = 0; names && names->kind == FR_YAML_LIST && i < names->count; i++)
            ok = parse_name(catalogue, set, (enum agg_set_list)list, names->values[i], diagnostics) && ok;
    }
    snprintf(where, sizeof where, "feature_sets.%s", set->name);
    fr_yaml_finish(map, where, list_names, AGG_SET_LISTS, diagnostics);
    return ok;
}

bool agg_sets__parse(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    bool ok = true;

    if (!map)
        return true;
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map, "feature_sets: should be a map from name to its lists");
    catalogue->sets = fr_arena_take_zeroed(catalogue->arena, (size_t)map->count + 1, sizeof *catalogue->sets);
    if (!catalogue->sets)
        return false;
    for (int i = 0; i < map->count; i++) {
        if (!agg_name__check(map->keys[i], "feature_sets", diagnostics))
            ok = false;
        else
            ok =
                parse_set(catalogue, &catalogue->sets[catalogue->set_count++], map->keys[i], map->values[i], diagnostics) && ok;
    }
    return ok;
}
