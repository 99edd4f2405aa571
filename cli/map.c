/*
 * Reads --map: `column[:unit]=field[(from:to,…)]` and `'constant'=field`, separated by commas. A column with a comma, '=' or ':'
 * in its name is put in double quotes; a value with ',', ':' or ')' in single quotes. A doubled quote stands for itself.
 */
#include "internal.h"

#include <freshet/text.h>

#include <assert.h>
#include <stdlib.h>

enum { MAP_ARENA_BYTES = 1 << 22 };

struct map_reader {
    const char *text;
    const char *at;
    struct cli_map *map;
};

static int position(const struct map_reader *reader)
{
    return (int)(reader->at - reader->text) + 1;
}

static void skip_spaces(struct map_reader *reader)
{
    while (*reader->at == ' ')
        reader->at++;
}

static struct fr_slice trimmed(const char *start, const char *end)
{
    while (start < end && *start == ' ')
        start++;
    while (start < end && end[-1] == ' ')
        end--;
    return fr_slice(start, (size_t)(end - start));
}

/* Text between quotes, the doubled ones made single. The reader stands on the opening quote. */
static bool read_quoted(struct map_reader *reader, struct fr_slice *value, struct fr_err *err)
{
    int start = position(reader);
    char quote = *reader->at++;
    char *copy = fr_arena_take(reader->map->arena, strlen(reader->at) + 1);
    size_t length = 0;

    if (!copy)
        return fr_fail(err, FR_BAD_CONFIG, "--map is too long");
    for (; *reader->at; reader->at++) {
        if (*reader->at == quote && *++reader->at != quote) {
            copy[length] = 0;
            *value = fr_slice(copy, length);
            return true;
        }
        copy[length++] = *reader->at;
    }
    return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: the quote %c is never closed", start, quote);
}

/* Bare text up to one of `stops`, or quoted text. */
static bool read_word(struct map_reader *reader, const char *stops, struct fr_slice *value, struct fr_err *err)
{
    const char *start;

    skip_spaces(reader);
    if (*reader->at == '\'') {
        if (!read_quoted(reader, value, err))
            return false;
        skip_spaces(reader);
        return true;
    }
    start = reader->at;
    reader->at += strcspn(reader->at, stops);
    *value = trimmed(start, reader->at);
    return true;
}

/* ---- Left of '=' ---- */

static bool read_unit(struct fr_slice text, int at, enum cli_unit *unit, struct fr_err *err)
{
    static const char *const names[] = {"s", "ms", "us", "iso"};

    for (int i = 0; i < 4; i++) {
        if (fr_slice_is(text, names[i])) {
            *unit = (enum cli_unit)(CLI_UNIT_S + i);
            return true;
        }
    }
    return fr_fail(
        err, FR_BAD_CONFIG,
        "--map, character %d: unknown unit '%.*s'; use s, ms, us or iso, or put a column with ':' in its name in \"…\"", at,
        (int)text.length, (const char *)text.bytes);
}

static bool read_bare_column(struct map_reader *reader, struct cli_map_rule *rule, struct fr_err *err)
{
    const char *start = reader->at, *end, *colon = NULL;

    reader->at += strcspn(reader->at, "=,");
    if (*reader->at != '=')
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: '=' is missing behind '%.*s'; write column=field",
                       position(reader), (int)(reader->at - start), start);
    end = reader->at;
    for (const char *at = start; at < end; at++)
        colon = *at == ':' ? at : colon;
    if (colon && !read_unit(trimmed(colon + 1, end), (int)(colon - reader->text) + 2, &rule->unit, err))
        return false;
    rule->column = trimmed(start, colon ? colon : end);
    if (rule->column.length == 0)
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: a column's name is missing before '='", rule->position);
    return true;
}

static bool read_column(struct map_reader *reader, struct cli_map_rule *rule, struct fr_err *err)
{
    struct fr_slice unit;
    int at;

    skip_spaces(reader);
    rule->position = position(reader);
    rule->is_constant = *reader->at == '\'';
    if (*reader->at != '\'' && *reader->at != '"')
        return read_bare_column(reader, rule, err);
    if (!read_quoted(reader, &rule->column, err))
        return false;
    skip_spaces(reader);
    if (*reader->at == ':') {
        at = position(reader) + 1;
        reader->at++;
        if (!read_word(reader, "=,", &unit, err) || !read_unit(unit, at, &rule->unit, err))
            return false;
    }
    if (*reader->at != '=')
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: '=' is missing behind '%.*s'", position(reader),
                       (int)rule->column.length, (const char *)rule->column.bytes);
    return true;
}

/* ---- Right of '=' ---- */

static bool unknown_field(struct fr_slice name, int at, struct fr_err *err)
{
    const char *names[PROTO_FIELD_ATTRIBUTES];
    const char *nearest;
    int count = 0;

    for (int field = 1; field < PROTO_FIELD_ATTRIBUTES; field++)
        names[count++] = proto_field_name(field);
    nearest = fr_text_nearest(name, names, count);
    return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: an event has no field '%.*s'%s%s", at, (int)name.length,
                   (const char *)name.bytes, nearest ? "; did you mean " : "; see event.proto, or use attributes.",
                   nearest ? nearest : "NAME");
}

static bool read_field(struct map_reader *reader, struct cli_map_rule *rule, struct fr_err *err)
{
    static const char prefix[] = "attributes.";
    const char *start;
    struct fr_slice name;
    int at;

    skip_spaces(reader);
    at = position(reader);
    start = reader->at;
    reader->at += strcspn(reader->at, ",(");
    name = trimmed(start, reader->at);
    if (name.length == 0)
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: a field's name is missing behind '='", at);
    if (name.length >= sizeof prefix && memcmp(name.bytes, prefix, sizeof prefix - 1) == 0) {
        rule->field = PROTO_FIELD_ATTRIBUTES;
        rule->attribute = fr_slice((const char *)name.bytes + sizeof prefix - 1, name.length - (sizeof prefix - 1));
        return true;
    }
    rule->field = proto_field_number(name);
    if (rule->field == PROTO_FIELD_ATTRIBUTES)
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: name one attribute, attributes.NAME", at);
    return rule->field != 0 ? true : unknown_field(name, at, err);
}

static bool check_unit(const struct cli_map_rule *rule, struct fr_err *err)
{
    bool is_time = rule->field == PROTO_FIELD_TS_MS;
    bool is_span = rule->field == PROTO_FIELD_VALUE || rule->field == PROTO_FIELD_DURATION_S;

    if (rule->unit == CLI_UNIT_OWN || is_time || (is_span && rule->unit != CLI_UNIT_ISO))
        return true;
    return fr_fail(err, FR_BAD_CONFIG,
                   "--map, character %d: %s has no such unit; s, ms and us go with ts_ms, value and duration_s, iso with ts_ms",
                   rule->position, proto_field_name(rule->field));
}

/* An action or scene by name. */
static bool read_choice(int field, struct fr_slice name, int at, uint32_t *number, struct fr_err *err)
{
    bool is_action = field == PROTO_FIELD_ACTION;
    int found = is_action ? proto_action_number(name) : proto_scene_number(name);
    const char *names[PROTO_ACTIONS];
    const char *nearest;
    int count = 0;

    if (found > 0) {
        *number = (uint32_t)found;
        return true;
    }
    for (uint32_t i = 1; i < (is_action ? PROTO_ACTIONS : PROTO_SCENES); i++)
        names[count++] = is_action ? proto_action_name(i) : proto_scene_name(i);
    nearest = fr_text_nearest(name, names, count);
    return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: no %s '%.*s'%s%s", at, is_action ? "action" : "scene",
                   (int)name.length, (const char *)name.bytes, nearest ? "; did you mean " : "; see event.proto",
                   nearest ? nearest : "");
}

static bool is_choice(int field)
{
    return field == PROTO_FIELD_ACTION || field == PROTO_FIELD_SCENE;
}

static bool read_value(struct map_reader *reader, struct cli_map_rule *rule, struct fr_err *err)
{
    struct cli_map_value *value = &rule->values[rule->value_count];
    int at;

    if (rule->value_count == CLI_MAP_VALUES_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: more than %d values", position(reader), CLI_MAP_VALUES_MAX);
    if (!read_word(reader, ":,)", &value->from, err))
        return false;
    if (*reader->at != ':')
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: ':' is missing; values are written (from:to,…)",
                       position(reader));
    reader->at++;
    skip_spaces(reader);
    at = position(reader);
    if (!read_word(reader, ",)", &value->to, err))
        return false;
    if (is_choice(rule->field) && !read_choice(rule->field, value->to, at, &value->number, err))
        return false;
    rule->value_count++;
    return true;
}

static bool read_values(struct map_reader *reader, struct cli_map_rule *rule, struct fr_err *err)
{
    int start = position(reader);

    if (*reader->at != '(')
        return true;
    rule->has_values = true;
    rule->values = fr_arena_take_zeroed(reader->map->arena, CLI_MAP_VALUES_MAX, sizeof *rule->values);
    if (!rule->values)
        return fr_fail(err, FR_BAD_CONFIG, "--map is too long");
    do {
        reader->at++;
        if (!read_value(reader, rule, err))
            return false;
        if (*reader->at == 0)
            return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: '(' is never closed", start);
    } while (*reader->at == ',');
    if (*reader->at != ')')
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: ',' or ')' is wanted behind a value", position(reader));
    reader->at++;
    skip_spaces(reader);
    return true;
}

/* A constant action or scene that does not exist is a slip in the map, not in the rows. */
static bool check_constant(const struct cli_map_rule *rule, struct fr_err *err)
{
    uint32_t number;

    if (!rule->is_constant || rule->has_values || !is_choice(rule->field))
        return true;
    return read_choice(rule->field, rule->column, rule->position, &number, err);
}

static bool check_twice(const struct cli_map *map, const struct cli_map_rule *rule, struct fr_err *err)
{
    for (int i = 0; i < map->rule_count; i++) {
        const struct cli_map_rule *other = &map->rules[i];

        if (other->field == rule->field && rule->field != PROTO_FIELD_ACTION &&
            fr_slice_equal(other->attribute, rule->attribute))
            return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: %s is mapped twice", rule->position,
                           proto_field_name(rule->field));
    }
    return true;
}

static bool read_rule(struct map_reader *reader, struct fr_err *err)
{
    struct cli_map *map = reader->map;
    struct cli_map_rule rule = {.index = -1};

    if (map->rule_count == CLI_MAP_RULES_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "--map: more than %d columns", CLI_MAP_RULES_MAX);
    if (!read_column(reader, &rule, err))
        return false;
    reader->at++; /* '=' */
    if (!read_field(reader, &rule, err) || !check_unit(&rule, err) || !read_values(reader, &rule, err) ||
        !check_constant(&rule, err) || !check_twice(map, &rule, err))
        return false;
    map->rules[map->rule_count++] = rule;
    if (*reader->at != ',' && *reader->at != 0)
        return fr_fail(err, FR_BAD_CONFIG, "--map, character %d: ',' is wanted before the next column", position(reader));
    return true;
}

bool cli_map__parse(const char *text, struct cli_map **ret, struct fr_err *err)
{
    struct cli_map *map = calloc(1, sizeof *map);
    struct map_reader reader = {.map = map};

    if (!map || !(map->arena = fr_arena_new(MAP_ARENA_BYTES)) ||
        !(reader.text = fr_arena_copy(map->arena, fr_slice_of(text ? text : "")))) {
        cli_map__free(map);
        return fr_fail(err, FR_BAD_CONFIG, "--map is too long");
    }
    if (!fr_text_is_utf8(fr_slice_of(reader.text))) { /* names of attributes go into events */
        cli_map__free(map);
        return fr_fail(err, FR_BAD_CONFIG, "--map is not UTF-8");
    }
    reader.at = reader.text;
    skip_spaces(&reader);
    while (*reader.at) {
        if (!read_rule(&reader, err)) {
            cli_map__free(map);
            return false;
        }
        if (*reader.at == ',')
            reader.at++;
    }
    *ret = map;
    return true;
}

void cli_map__free(struct cli_map *map)
{
    if (!map)
        return;
    fr_arena_free(map->arena);
    free(map);
}
