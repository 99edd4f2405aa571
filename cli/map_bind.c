/*
 * Puts a map and a header together: each rule finds its column, and columns that are called like a field map by themselves.
 */
#include "internal.h"

#include <freshet/text.h>

static bool missing_column(struct cli_map *map, const struct cli_map_rule *rule, const struct fr_slice *header, int count,
                           struct fr_err *err)
{
    const char **names = fr_arena_take_zeroed(map->arena, (size_t)count + 1, sizeof *names);
    const char *nearest = NULL;
    int known = 0;

    for (int i = 0; names && i < count; i++) {
        const char *name = fr_arena_copy(map->arena, header[i]);

        if (name)
            names[known++] = name;
    }
    if (known > 0)
        nearest = fr_text_nearest(rule->column, names, known);
    return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: the file has no column '%.*s'%s%s", rule->position,
                   (int)rule->column.length, (const char *)rule->column.bytes, nearest ? "; did you mean " : "",
                   nearest ? nearest : "");
}

static int find_column(struct fr_slice name, const struct fr_slice *header, int count)
{
    for (int i = 0; i < count; i++) {
        if (fr_slice_equal(name, header[i]))
            return i;
    }
    return -1;
}

static bool is_mapped(const struct cli_map *map, int explicit_count, int index, const struct cli_map_rule *rule)
{
    for (int i = 0; i < map->rule_count; i++) {
        const struct cli_map_rule *other = &map->rules[i];

        if (i < explicit_count && other->index == index)
            return true;
        if (other->field == rule->field && fr_slice_equal(other->attribute, rule->attribute))
            return true;
    }
    return false;
}

/* A column called like a field, `attributes.NAME` too, unless the map says something else about column or field. */
static void map_by_itself(struct cli_map *map, int explicit_count, struct fr_slice name, int index)
{
    static const char prefix[] = "attributes.";
    struct cli_map_rule rule = {.column = name, .index = index, .field = proto_field_number(name)};

    if (name.length >= sizeof prefix && memcmp(name.bytes, prefix, sizeof prefix - 1) == 0) {
        char *key = fr_arena_copy(map->arena,
                                  fr_slice((const char *)name.bytes + sizeof prefix - 1, name.length - (sizeof prefix - 1)));

        if (!key || !fr_text_is_utf8(fr_slice_of(key)))
            return;
        rule.field = PROTO_FIELD_ATTRIBUTES;
        rule.attribute = fr_slice_of(key);
    } else if (rule.field == PROTO_FIELD_ATTRIBUTES) {
        return;
    }
    if (rule.field == 0 || map->rule_count == CLI_MAP_RULES_MAX || is_mapped(map, explicit_count, index, &rule))
        return;
    rule.column = fr_slice(NULL, 0); /* the header does not live as long as the map */
    map->rules[map->rule_count++] = rule;
}

static bool has_rule(const struct cli_map *map, int field)
{
    for (int i = 0; i < map->rule_count; i++) {
        if (map->rules[i].field == field)
            return true;
    }
    return false;
}

bool cli_map__bind(struct cli_map *map, const struct fr_slice *header, int count, struct fr_err *err)
{
    int explicit_count = map->rule_count;

    for (int i = 0; i < explicit_count; i++) {
        struct cli_map_rule *rule = &map->rules[i];

        rule->index = rule->is_constant ? -1 : find_column(rule->column, header, count);
        if (!rule->is_constant && rule->index < 0)
            return missing_column(map, rule, header, count, err);
    }
    for (int i = 0; i < count; i++)
        map_by_itself(map, explicit_count, header[i], i);
    map->column_count = count;
    if (!has_rule(map, PROTO_FIELD_TS_MS))
        return fr_fail(err, FR_BAD_CONFIG,
                       "no column gives the time of an event; say which with --map, as in timestamp:s=ts_ms");
    if (!has_rule(map, PROTO_FIELD_ACTION))
        return fr_fail(
            err, FR_BAD_CONFIG,
            "no column gives the action; say which with --map, as in type=action(view:click,buy:purchase) or 'watch'=action");
    return true;
}
