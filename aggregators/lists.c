/*
 * `lists`: the entities of one kind with the greatest decayed sums, of all events and per value of a field. For `global` the ranking
 * feature itself tells the sum; for a scope a hidden feature of a hidden entity (entity, scope value) keeps the same sum of the
 * events with that value. What candidates a list has lies in a hidden entity per scope value.
 */
#include "tables.h"
#include "type.h"

#include <freshet/text.h>

#include <stdio.h>

static const uint8_t scope_fields[AGG_SCOPES_MAX] = {AGG_KEY_ALL,       PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_REGION,
                                                     PROTO_FIELD_SCENE, PROTO_FIELD_CREATOR_ID,  PROTO_FIELD_ROOM_ID};
static const char *const keys[] = {"of", "rank", "scopes", "limit", "weigh", "without"};
enum { KEYS = sizeof keys / sizeof keys[0] };

/* One list while it is parsed. */
struct parse {
    struct agg_catalogue *catalogue;
    struct agg_list *list;
    struct fr_yaml *at, *map;
    struct fr_diagnostics *diagnostics;
};

static const char *scope_name(int field)
{
    return field == AGG_KEY_ALL ? "global" : proto_field_name(field);
}

static bool tell(const struct parse *parse, const struct fr_yaml *at, const char *key, const char *what)
{
    return fr_diagnostics_add(parse->diagnostics, at, "lists.%s.%s: %s", parse->list->name, key, what);
}

static bool tell_nearest(const struct parse *parse, const struct fr_yaml *at, const char *key, const char *const *names,
                         int count)
{
    const char *nearest = fr_text_nearest(at->text, names, count);

    return fr_diagnostics_add(parse->diagnostics, at, "lists.%s.%s: unknown name '%s'%s%s%s", parse->list->name, key,
                              (const char *)at->text.bytes, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                              nearest ? "'?" : "");
}

/* A key that must be there, with one name. */
static struct fr_yaml *get_name(const struct parse *parse, const char *key, const char *what)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, key);

    if (at && at->kind == FR_YAML_SCALAR)
        return at;
    fr_diagnostics_add(parse->diagnostics, at ? at : parse->at, "lists.%s.%s: %s; name %s", parse->list->name, key,
                       at ? "should be one name" : "missing", what);
    return NULL;
}

static bool parse_of(const struct parse *parse)
{
    const struct fr_yaml *at = get_name(parse, "of", "one of the entities");
    const char *names[AGG_ENTITIES_MAX];
    struct agg_entity *entity;

    if (!at)
        return false;
    entity = agg_catalogue__entity(parse->catalogue, at->text);
    for (int i = 0; i < parse->catalogue->visible_count; i++)
        names[i] = parse->catalogue->entities[i]->name;
    if (!entity || entity->is_hidden)
        return tell_nearest(parse, at, "of", names, parse->catalogue->visible_count);
    if (entity->key_count != 1)
        return tell(parse, at, "of", "has a key of several fields; use an entity of one, as item");
    parse->list->entity = entity;
    return true;
}

static bool parse_rank(const struct parse *parse)
{
    const struct fr_yaml *at = get_name(parse, "rank", "a decayed feature");
    const char *names[AGG_FEATURES_MAX];
    struct agg_feature *feature;

    if (!at)
        return false;
    feature = agg_catalogue__feature(parse->catalogue, at->text);
    for (int i = 0; i < parse->catalogue->visible_feature_count; i++)
        names[i] = parse->catalogue->features[i]->name;
    if (!feature || feature->is_hidden)
        return tell_nearest(parse, at, "rank", names, parse->catalogue->visible_feature_count);
    if (feature->aggregate != AGG_DECAYED && feature->aggregate != AGG_QUOTA)
        return tell(parse, at, "rank", "is no decayed sum; name a feature with aggregate: decayed, or a quota");
    if (parse->list->entity && feature->entity && feature->entity != parse->list->entity)
        return tell(parse, at, "rank", "is a feature of another entity than 'of'");
    parse->list->rank = feature;
    return true;
}

static bool parse_scope(const struct parse *parse, const struct fr_yaml *at)
{
    struct agg_list *list = parse->list;
    const char *names[AGG_SCOPES_MAX];

    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "scopes", "should be a list of names, [global, category_id]");
    for (int i = 0; i < list->scope_count; i++) {
        if (fr_slice_is(at->text, list->scopes[i].name))
            return fr_diagnostics_add(parse->diagnostics, at, "lists.%s.scopes: '%s' twice", list->name, list->scopes[i].name);
    }
    for (int i = 0; i < AGG_SCOPES_MAX; i++) {
        names[i] = scope_name(scope_fields[i]);
        if (!fr_slice_is(at->text, names[i]))
            continue;
        list->scope_names[list->scope_count] = names[i];
        list->scopes[list->scope_count++] = (struct agg_scope){.name = names[i], .field = scope_fields[i]};
        return true;
    }
    return tell_nearest(parse, at, "scopes", names, AGG_SCOPES_MAX);
}

static bool parse_scopes(const struct parse *parse)
{
    const struct fr_yaml *list = fr_yaml_get(parse->map, "scopes");
    bool ok = true;

    if (!list)
        return tell(parse, parse->at, "scopes", "missing; use a list like [global, category_id]");
    if (list->kind != FR_YAML_LIST || list->count == 0)
        return tell(parse, list, "scopes", "should be a list of names, [global, category_id]");
    for (int i = 0; i < list->count; i++)
        ok = parse_scope(parse, list->values[i]) && ok;
    return ok;
}

/* A column of what is ranked, by which sums are multiplied. */
static bool parse_weigh(const struct parse *parse)
{
    const struct fr_yaml *at = fr_yaml_get(parse->map, "weigh");
    struct agg_feature *feature;
    struct fr_err err;
    int column;

    if (!at)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "weigh", "should be one name; name a column of the entity, as in click_rate.24h.sd");
    if (!agg_catalogue__resolve(parse->catalogue, at->text, &feature, &column, &err))
        return tell(parse, at, "weigh", err.message);
    if (feature->entity != parse->list->entity)
        return tell(parse, at, "weigh", "is a column of another entity than 'of'");
    if (column < 0 && feature->column_count != 1)
        return tell(parse, at, "weigh", "has several columns, or none; name one of them, as in click_rate.24h.sd");
    parse->list->weigh = column < 0 ? feature->columns[0] : feature->columns[column];
    return true;
}

/* A field of a table: whoever has it is not on the list. */
static bool parse_without(const struct parse *parse)
{
    const struct fr_yaml *at = fr_yaml_get(parse->map, "without");
    struct fr_err err;

    parse->list->without = -1;
    if (!at)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "without", "should be one name; name the field of a table, as in item_info.tags");
    parse->list->without = agg_tables__resolve(parse->catalogue, at->text, &err);
    if (parse->list->without < 0)
        return tell(parse, at, "without", err.message);
    return !parse->list->entity ||
           parse->catalogue->table_fields[parse->list->without].table->key == parse->list->entity->key[0] ||
           tell(parse, at, "without", "is of a table whose key is not what 'of' ranks");
}

/* ---- what it needs ---- */

/* The sums per (entity, scope value): filters, weights and half-life are the ranking feature's. */
static struct agg_feature *add_sums(struct agg_catalogue *catalogue, struct agg_feature *rank, int field)
{
    struct agg_entity *entity = rank->entity, *pair;
    const uint8_t key[] = {entity->key[0], (uint8_t)field};
    char name[2 * AGG_NAME_MAX];
    struct agg_feature *sums;

    if (field == AGG_KEY_ALL || field == entity->key[0])
        return rank;
    snprintf(name, sizeof name, "(%s %s)", entity->name, scope_name(field));
    pair = agg_catalogue__hidden(catalogue, name, key, 2);
    sums = pair ? agg_feature__hidden(catalogue, rank, pair, scope_name(field), AGG_DECAYED) : NULL;
    if (!sums)
        return NULL;
    pair->retention_ms = entity->retention_ms;
    sums->half_life_ms = rank->half_life_ms;
    memcpy(sums->weights, rank->weights, sizeof sums->weights);
    return sums;
}

static bool add_ranking(struct agg_catalogue *catalogue, const struct agg_list *list, struct agg_scope *scope)
{
    const uint8_t key[] = {(uint8_t)scope->field};
    struct agg_feature *sums = add_sums(catalogue, list->rank, scope->field);
    struct agg_feed feed = {.source = sums, .id = 0, .scope = sums && sums != list->rank ? 1 : 0};
    char name[2 * AGG_NAME_MAX];
    struct agg_entity *home;

    if (!sums)
        return false;
    if (scope->field == AGG_KEY_ALL)
        feed.scope = AGG_SCOPE_ALL;
    snprintf(name, sizeof name, "(list %s)", scope->name);
    home = agg_catalogue__hidden(catalogue, name, key, 1);
    if (!home)
        return false;
    home->is_fed = true;
    scope->source = sums;
    scope->top = feed.top = agg_feature__kept(catalogue, home, list->name, AGG_TOP);
    if (!feed.top)
        return false;
    feed.top->limit = AGG_SPARE * list->limit;
    feed.top->source = list->rank;
    feed.top->ranked = list->entity;
    return agg_feed__add(catalogue, sums->entity, &feed);
}

/* All that are new, whatever they have left: that changes as they are shown, and is asked of each when the pool is read. */
static bool add_pool(struct agg_catalogue *catalogue, const struct agg_list *list, struct agg_scope *scope)
{
    char name[2 * AGG_NAME_MAX];

    snprintf(name, sizeof name, "(pool %s)", list->name);
    scope->source = list->rank;
    scope->top = agg_recent__add(catalogue, list->entity, name, true);
    if (!scope->top)
        return false;
    scope->top->new_ms = list->rank->newer.span_ms;
    catalogue->pool = scope->top;
    return true;
}

static bool add_scope(struct agg_catalogue *catalogue, const struct agg_list *list, struct agg_scope *scope)
{
    if (list->rank->aggregate == AGG_QUOTA)
        return add_pool(catalogue, list, scope);
    return add_ranking(catalogue, list, scope);
}

static bool parse_list(struct parse *parse)
{
    struct agg_list *list = parse->list;
    char where[AGG_NAME_MAX + 16];
    int64_t limit = 0;
    bool ok;

    if (parse->map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(parse->diagnostics, parse->map->kind == FR_YAML_NULL ? parse->at : parse->map,
                                  "lists.%s: should be a map with of, rank, scopes and limit", list->name);
    ok = parse_of(parse);
    ok = parse_rank(parse) && ok;
    ok = parse_scopes(parse) && ok;
    ok = parse_weigh(parse) && ok;
    ok = parse_without(parse) && ok;
    ok = fr_yaml_int(parse->map, "limit", 1, AGG_LIST_LIMIT_MAX, &limit, parse->diagnostics) && ok;
    if (ok && limit == 0)
        ok = tell(parse, parse->at, "limit", "missing; say how many a reply has at most");
    list->limit = (uint32_t)limit;
    snprintf(where, sizeof where, "lists.%s", list->name);
    fr_yaml_finish(parse->map, where, keys, KEYS, parse->diagnostics);
    if (ok && list->rank->aggregate == AGG_QUOTA && (list->scope_count > 1 || list->scopes[0].field != AGG_KEY_ALL))
        ok = tell(parse, fr_yaml_get(parse->map, "scopes"), "scopes", "of a pool it is [global] alone");
    if (!ok || !list->rank->entity)
        return ok;
    for (int i = 0; i < list->scope_count; i++) {
        if (!add_scope(parse->catalogue, list, &list->scopes[i]))
            return false;
    }
    return true;
}

bool agg_lists__parse(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    bool ok = true;

    if (!map || map->kind == FR_YAML_NULL)
        return true;
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map, "lists: should be a map from name to list");
    if (map->count > AGG_LISTS_MAX)
        return fr_diagnostics_add(diagnostics, map, "lists: %d are too many; use at most %d", map->count, AGG_LISTS_MAX);
    catalogue->lists = fr_arena_take_zeroed(catalogue->arena, (size_t)map->count + 1, sizeof *catalogue->lists);
    if (!catalogue->lists)
        return false;
    for (int i = 0; i < map->count; i++) {
        struct agg_list *list = &catalogue->lists[catalogue->list_count];
        struct parse parse = {
            .catalogue = catalogue, .list = list, .at = map->keys[i], .map = map->values[i], .diagnostics = diagnostics};

        if (!agg_name__check(map->keys[i], "lists", diagnostics)) {
            ok = false;
            continue;
        }
        list->name = fr_arena_copy(catalogue->arena, map->keys[i]->text);
        if (!list->name)
            return false;
        catalogue->list_count++;
        ok = parse_list(&parse) && ok;
    }
    return ok;
}
