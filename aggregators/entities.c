/* `entities`: kinds of things that have state, each with the event's fields that name one. */
#include "tables.h"

#include <freshet/text.h>

#include <stdio.h>

static const char *const key_fields[] = {"user_id",     "item_id", "creator_id", "room_id",
                                         "category_id", "region",  "scene",      "position"};
enum { KEY_FIELDS = sizeof key_fields / sizeof key_fields[0] };
static const char *const known_keys[] = {"key", "parent", "retention"};
static const int64_t retention_default_ms = INT64_C(30) * 86400000;

/* "item_info.language": what a table says of the event. */
static bool parse_joined_field(struct agg_catalogue *catalogue, struct agg_entity *entity, struct fr_yaml *at,
                               struct fr_diagnostics *diagnostics)
{
    struct fr_err err;
    int number = agg_tables__resolve(catalogue, at->text, &err);
    enum proto_table_type type;

    if (number < 0)
        return fr_diagnostics_add(diagnostics, at, "entities.%s.key: %s", entity->name, err.message);
    type = agg_tables__type(catalogue, number);
    if (type != PROTO_TABLE_ID && type != PROTO_TABLE_IDS)
        return fr_diagnostics_add(diagnostics, at,
                                  "entities.%s.key: '%s' is a number; a key is of ids: give it the type id or ids",
                                  entity->name, catalogue->table_fields[number].name);
    for (int i = 0; i < entity->key_count; i++) {
        if (entity->key[i] == AGG_KEY_JOINED + number)
            return fr_diagnostics_add(diagnostics, at, "entities.%s.key: '%s' twice", entity->name,
                                      catalogue->table_fields[number].name);
    }
    if (type == PROTO_TABLE_IDS && entity->key_count > 0 && entity->listed >= 0)
        return fr_diagnostics_add(diagnostics, at, "entities.%s.key: a second list; one key has one list at most",
                                  entity->name);
    catalogue->joined |= UINT32_C(1) << catalogue->table_fields[number].table->number;
    agg_key__add(catalogue, entity, (uint8_t)(AGG_KEY_JOINED + number));
    return true;
}

static bool parse_key_field(struct agg_catalogue *catalogue, struct agg_entity *entity, struct fr_yaml *at,
                            struct fr_diagnostics *diagnostics)
{
    int field = at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    bool is_key = false;

    if (at->kind == FR_YAML_SCALAR && at->text.length > 0 && memchr(at->text.bytes, '.', at->text.length))
        return parse_joined_field(catalogue, entity, at, diagnostics);
    for (int i = 0; i < KEY_FIELDS && field > 0; i++)
        is_key = is_key || strcmp(key_fields[i], proto_field_name(field)) == 0;
    if (!is_key) {
        const char *nearest = at->kind == FR_YAML_SCALAR ? fr_text_nearest(at->text, key_fields, KEY_FIELDS) : NULL;

        return fr_diagnostics_add(diagnostics, at, "entities.%s.key: '%s' names nothing; use %s", entity->name,
                                  at->kind == FR_YAML_SCALAR ? (const char *)at->text.bytes : "a list or map",
                                  nearest ? nearest
                                          : "user_id, item_id, creator_id, room_id, category_id, region, scene or position");
    }
    for (int i = 0; i < entity->key_count; i++) {
        if (entity->key[i] == field)
            return fr_diagnostics_add(diagnostics, at, "entities.%s.key: '%s' twice", entity->name, proto_field_name(field));
    }
    agg_key__add(catalogue, entity, (uint8_t)field);
    return true;
}

static bool parse_key(struct agg_catalogue *catalogue, struct agg_entity *entity, struct fr_yaml *at, struct fr_yaml *map,
                      struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *list = fr_yaml_get(map, "key");
    bool ok = true;

    if (!list)
        return fr_diagnostics_add(diagnostics, at, "entities.%s: key: missing; use a list of event fields, [item_id]",
                                  entity->name);
    if (list->kind != FR_YAML_LIST || list->count < 1 || list->count > STORE_KEY_IDS_MAX)
        return fr_diagnostics_add(diagnostics, list, "entities.%s.key: should be a list of 1 to %d event fields, [item_id]",
                                  entity->name, STORE_KEY_IDS_MAX);
    for (int i = 0; i < list->count; i++)
        ok = parse_key_field(catalogue, entity, list->values[i], diagnostics) && ok;
    /* In keys the user goes first: a user's entities lie together on disk, and move together. */
    for (int i = 0; i < entity->key_count; i++) {
        if (entity->key[i] != PROTO_FIELD_USER_ID)
            continue;
        memmove(entity->key + 1, entity->key, (size_t)i);
        entity->key[0] = PROTO_FIELD_USER_ID;
        entity->listed += entity->listed >= 0 && entity->listed < i; /* it has moved, too */
    }
    return ok;
}

/* Items and rooms alone remember what their events said of them. */
static void set_remembered(struct agg_entity *entity)
{
    if (entity->key_count == 1 && entity->key[0] == PROTO_FIELD_ITEM_ID)
        entity->remembered = (1 << AGG_ATTRIBUTES) - 1;
    if (entity->key_count == 1 && entity->key[0] == PROTO_FIELD_ROOM_ID)
        entity->remembered = (uint8_t)(1 << agg_attribute__index(PROTO_FIELD_CREATOR_ID));
}

static bool parse_entity(struct agg_catalogue *catalogue, struct fr_yaml *name, struct fr_yaml *map,
                         struct fr_diagnostics *diagnostics)
{
    struct agg_entity *entity = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *entity);
    char where[AGG_NAME_MAX + 16];
    const char *parent = NULL;
    bool ok;

    if (!entity)
        return false;
    catalogue->entities[catalogue->entity_count++] = entity; /* wrong or not: features may name it */
    catalogue->visible_count = catalogue->entity_count;
    entity->name = fr_arena_copy(catalogue->arena, name->text);
    entity->retention_ms = retention_default_ms;
    if (!entity->name)
        return false;
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map->kind == FR_YAML_NULL ? name : map,
                                  "entities.%s: should be a map with 'key'", entity->name);
    ok = parse_key(catalogue, entity, name, map, diagnostics);
    set_remembered(entity);
    ok = fr_yaml_text(map, "parent", &parent, diagnostics) && ok;
    ok = fr_yaml_span(map, "retention", 0, INT64_C(36500) * 86400000, &entity->retention_ms, diagnostics) && ok;
    if (parent) {
        entity->parent_name = fr_arena_copy(catalogue->arena, fr_slice_of(parent));
        ok = entity->parent_name && ok;
    }
    snprintf(where, sizeof where, "entities.%s", entity->name);
    fr_yaml_finish(map, where, known_keys, sizeof known_keys / sizeof known_keys[0], diagnostics);
    return ok;
}

static bool link_parent(struct agg_catalogue *catalogue, struct agg_entity *entity, struct fr_yaml *at,
                        struct fr_diagnostics *diagnostics)
{
    const char *names[AGG_ENTITIES_MAX];
    const char *nearest;

    entity->parent = agg_catalogue__entity(catalogue, fr_slice_of(entity->parent_name));
    if (entity->parent)
        return true;
    for (int i = 0; i < catalogue->entity_count; i++)
        names[i] = catalogue->entities[i]->name;
    nearest = fr_text_nearest(fr_slice_of(entity->parent_name), names, catalogue->entity_count);
    return fr_diagnostics_add(diagnostics, at, "entities.%s.parent: unknown entity '%s'%s%s%s", entity->name,
                              entity->parent_name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                              nearest ? "'?" : "");
}

static bool link_parents(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    bool ok = true;

    for (int i = 0; i < catalogue->entity_count; i++) {
        struct agg_entity *entity = catalogue->entities[i];

        if (entity->parent_name)
            ok = link_parent(catalogue, entity, fr_yaml_get(fr_yaml_get(map, entity->name), "parent"), diagnostics) && ok;
    }
    for (int i = 0; i < catalogue->entity_count; i++) {
        const struct agg_entity *above = catalogue->entities[i]->parent;
        int steps = 0;

        while (above && ++steps <= catalogue->entity_count)
            above = above->parent;
        if (above)
            return fr_diagnostics_add(diagnostics, fr_yaml_get(fr_yaml_get(map, catalogue->entities[i]->name), "parent"),
                                      "entities.%s.parent: goes in a circle", catalogue->entities[i]->name);
    }
    return ok;
}

bool agg_entities__parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *map = fr_yaml_get(root, "entities");
    bool ok = true;

    if (!map)
        return fr_diagnostics_add(diagnostics, root, "entities: missing; name at least one, item: { key: [item_id] }");
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map, "entities: should be a map from name to entity");
    if (map->count == 0)
        return fr_diagnostics_add(diagnostics, map, "entities: empty; name at least one, item: { key: [item_id] }");
    if (map->count > AGG_ENTITIES_MAX)
        return fr_diagnostics_add(diagnostics, map, "entities: %d are too many; use at most %d", map->count, AGG_ENTITIES_MAX);
    for (int i = 0; i < map->count; i++) {
        if (agg_name__check(map->keys[i], "entities", diagnostics))
            ok = parse_entity(catalogue, map->keys[i], map->values[i], diagnostics) && ok;
        else
            ok = false;
    }
    return link_parents(catalogue, map, diagnostics) && ok;
}
