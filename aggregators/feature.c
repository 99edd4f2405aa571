/* One of `features`: which events it takes, and what it makes of them. */
#include "internal.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>

const char *const agg__aggregate_names[AGG_AGGREGATES] = {"count", "sum", "min", "max", "last"};

static const char *const aggregates_to_come[] = {"mean",  "decayed", "match",  "distinct", "quantile",
                                                 "ratio", "gauge",   "series", "covisit"};
static const char *const keys_to_come[] = {"emit", "q",       "weights", "half_life", "prior", "strength", "up",
                                           "down", "timeout", "bin",     "bins",      "match", "from",     "within"};
static const char *const keys_known[] = {"entity",  "aggregate", "actions", "scenes", "where",
                                         "windows", "of",        "limit",   "fields", "seen"};
static const char *const sequence_fields[] = {"item_id",    "creator_id", "room_id", "category_id", "region",
                                              "request_id", "event_id",   "user_id", "action",      "scene",
                                              "ts_ms",      "position",   "value",   "duration_s",  "propensity"};

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* What the parts of one feature's parse share. */
struct parse {
    struct agg_catalogue *catalogue;
    struct agg_feature *feature;
    struct fr_yaml *at, *map; /* its name, its settings */
    struct fr_buffer where; /* in one spelling */
    struct fr_diagnostics *diagnostics;
};

static bool tell(struct parse *parse, const struct fr_yaml *at, const char *key, const char *what)
{
    return fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: %s", parse->feature->name, key, what);
}

static bool tell_nearest(struct parse *parse, const struct fr_yaml *at, const char *key, const char *const *names, int count)
{
    const char *nearest = fr_text_nearest(at->text, names, count);

    return fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: unknown name '%s'%s%s%s", parse->feature->name, key,
                              (const char *)at->text.bytes, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                              nearest ? "'?" : "");
}

static bool parse_entity(struct parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "entity");
    const char *names[AGG_ENTITIES_MAX];

    if (!at)
        return tell(parse, parse->at, "entity", "missing; name one of the entities");
    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "entity", "should be the name of one of the entities");
    parse->feature->entity = agg_catalogue__entity(parse->catalogue, at->text);
    if (parse->feature->entity)
        return true;
    for (int i = 0; i < parse->catalogue->entity_count; i++)
        names[i] = parse->catalogue->entities[i]->name;
    return tell_nearest(parse, at, "entity", names, parse->catalogue->entity_count);
}

static bool parse_aggregate(struct parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "aggregate");

    if (!at)
        return tell(parse, parse->at, "aggregate", "missing; use count, sum, min, max or last");
    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "aggregate", "should be count, sum, min, max or last");
    for (int i = 0; i < AGG_AGGREGATES; i++) {
        if (fr_text_equal_nocase(at->text, agg__aggregate_names[i])) {
            parse->feature->aggregate = (enum agg_aggregate)i;
            return true;
        }
    }
    for (int i = 0; i < COUNT_OF(aggregates_to_come); i++) {
        if (fr_text_equal_nocase(at->text, aggregates_to_come[i]))
            return fr_diagnostics_add(parse->diagnostics, at,
                                      "features.%s.aggregate: '%s' is not in this version; it has count, sum, min, max, last",
                                      parse->feature->name, aggregates_to_come[i]);
    }
    return tell_nearest(parse, at, "aggregate", agg__aggregate_names, AGG_AGGREGATES);
}

/* A list of actions or scenes as bits; absent: all. */
static bool parse_names(struct parse *parse, const char *key, int (*number_of)(struct fr_slice),
                        const char *(*name_of)(uint32_t), int most, uint32_t *bits)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, key);
    const char *names[PROTO_ACTIONS];
    bool ok = true;

    *bits = UINT32_MAX;
    if (!list)
        return true;
    *bits = 0;
    if (list->kind != FR_YAML_LIST || list->count == 0)
        return tell(parse, list, key, "should be a list of names; leave it out to take all");
    for (int i = 1; i < most; i++)
        names[i - 1] = name_of((uint32_t)i);
    for (int i = 0; i < list->count; i++) {
        struct fr_yaml *at = list->values[i];
        int number = at->kind == FR_YAML_SCALAR ? number_of(at->text) : 0;

        if (at->kind != FR_YAML_SCALAR)
            ok = tell(parse, at, key, "should be a list of names");
        else if (number <= 0)
            ok = tell_nearest(parse, at, key, names, most - 1);
        else if ((*bits >> number & 1) != 0)
            ok = fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: '%s' twice", parse->feature->name, key,
                                    name_of((uint32_t)number));
        else
            *bits |= UINT32_C(1) << number;
    }
    return ok;
}

static bool parse_where(struct parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "where");
    struct fr_err err;

    if (!at)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "where", "should be a condition, \"value >= 3\"");
    if (agg_where__compile(at->text, parse->catalogue->arena, &parse->feature->where, &parse->where, &err))
        return true;
    return tell(parse, at, "where", err.message);
}

static bool parse_window(struct parse *parse, struct fr_yaml *at)
{
    struct agg_feature *feature = parse->feature;
    struct agg_window window = {.level = -1};

    if (at->kind == FR_YAML_SCALAR && fr_text_span(at->text, &window.span_ms) && window.span_ms <= INT64_C(36500) * 86400000)
        window.level = agg_window__level(window.span_ms);
    if (window.level < 0)
        return fr_diagnostics_add(parse->diagnostics, at,
                                  "features.%s.windows: '%s' is no window; use whole seconds, at least 24s, as in 5m, 1h or 7d",
                                  feature->name, at->kind == FR_YAML_SCALAR ? (const char *)at->text.bytes : "a list or map");
    for (int i = 0; i < feature->window_count; i++) {
        if (feature->windows[i].span_ms == window.span_ms)
            return fr_diagnostics_add(parse->diagnostics, at, "features.%s.windows: '%s' is there already", feature->name,
                                      (const char *)at->text.bytes);
    }
    window.panes = window.span_ms / agg__level_ms[window.level];
    window.text = fr_arena_copy(parse->catalogue->arena, at->text);
    feature->windows_ms[feature->window_count] = window.span_ms;
    feature->resolutions_ms[feature->window_count] = agg__level_ms[window.level];
    feature->windows[feature->window_count++] = window;
    return window.text != NULL;
}

static bool name_columns(struct parse *parse)
{
    struct agg_feature *feature = parse->feature;

    feature->columns = fr_arena_take_zeroed(parse->catalogue->arena, AGG_WINDOWS_MAX, sizeof(const char *));
    if (!feature->columns)
        return false;
    for (int i = 0; i < feature->window_count; i++) {
        size_t bytes = strlen(feature->name) + strlen(feature->windows[i].text) + 2;
        char *column = fr_arena_take(parse->catalogue->arena, bytes);

        if (!column)
            return false;
        snprintf(column, bytes, "%s.%s", feature->name, feature->windows[i].text);
        feature->columns[feature->column_count++] = column;
    }
    return true;
}

static bool parse_windows(struct parse *parse)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "windows");
    bool ok = true;

    if (!list)
        return tell(parse, parse->at, "windows", "missing; use a list like [5m, 1h, 24h]");
    if (list->kind != FR_YAML_LIST || list->count == 0 || list->count > AGG_WINDOWS_MAX)
        return fr_diagnostics_add(parse->diagnostics, list,
                                  "features.%s.windows: should be a list of 1 to %d spans, [5m, 1h, 24h]", parse->feature->name,
                                  AGG_WINDOWS_MAX);
    for (int i = 0; i < list->count; i++)
        ok = parse_window(parse, list->values[i]) && ok;
    return ok && name_columns(parse);
}

static bool is_of_number(const struct agg_feature *feature)
{
    return feature->aggregate == AGG_SUM || feature->aggregate == AGG_MIN || feature->aggregate == AGG_MAX;
}

static bool parse_of(struct parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "of");

    parse->feature->of = PROTO_FIELD_VALUE;
    if (!at)
        return true;
    parse->feature->of = at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    if (parse->feature->of == PROTO_FIELD_VALUE || parse->feature->of == PROTO_FIELD_DURATION_S)
        return true;
    return tell(parse, at, "of", "a sum, min or max is of value or duration_s");
}

static bool parse_field(struct parse *parse, struct fr_yaml *at)
{
    struct agg_feature *feature = parse->feature;
    int field = at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    int word = field > 0 ? agg_order__word(field) : -1;

    if (at->kind != FR_YAML_SCALAR)
        return tell(parse, at, "fields", "should be a list of event fields");
    if (word < 0)
        return tell_nearest(parse, at, "fields", sequence_fields, COUNT_OF(sequence_fields));
    for (int i = 0; i < feature->field_count; i++) {
        if (feature->fields[i] == field)
            return fr_diagnostics_add(parse->diagnostics, at, "features.%s.fields: '%s' twice", feature->name,
                                      proto_field_name(field));
    }
    feature->field_names[feature->field_count] = proto_field_name(field);
    feature->fields[feature->field_count++] = (uint8_t)field;
    if (feature->order_words <= word)
        feature->order_words = word + 1;
    return true;
}

static bool parse_sequence(struct parse *parse)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "fields");
    int64_t limit = 0;
    bool ok = fr_yaml_int(parse->map, "limit", 1, AGG_LIMIT_MAX, &limit, parse->diagnostics);

    if (ok && limit == 0)
        ok = tell(parse, parse->at, "limit", "missing; say how many events to keep");
    parse->feature->limit = (uint32_t)limit;
    ok = fr_yaml_bool(parse->map, "seen", &parse->feature->is_seen, parse->diagnostics) && ok;
    parse->feature->order_words = 2; /* time and id at least: most events differ there already */
    if (!list)
        return tell(parse, parse->at, "fields", "missing; use a list of event fields, [item_id, ts_ms]");
    if (list->kind != FR_YAML_LIST || list->count == 0)
        return tell(parse, list, "fields", "should be a list of event fields, [item_id, ts_ms]");
    for (int i = 0; i < list->count; i++)
        ok = parse_field(parse, list->values[i]) && ok;
    return ok;
}

/* Keys that mean something, but not here. */
static bool refuse_keys(struct parse *parse)
{
    static const char *const of_counters[] = {"windows", "of"}, *const of_sequences[] = {"limit", "fields", "seen"};
    bool is_sequence = parse->feature->aggregate == AGG_LAST;
    const char *const *others = is_sequence ? of_counters : of_sequences;
    int count = is_sequence ? COUNT_OF(of_counters) : COUNT_OF(of_sequences);
    bool ok = true;

    for (int i = 0; i < count; i++) {
        const struct fr_yaml *at = fr_yaml_get(parse->map, others[i]);

        if (at)
            ok = fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: %s has none; take it out", parse->feature->name,
                                    others[i], agg__aggregate_names[parse->feature->aggregate]);
    }
    if (parse->feature->aggregate == AGG_COUNT && fr_yaml_get(parse->map, "of"))
        ok = tell(parse, fr_yaml_get(parse->map, "of"), "of", "count counts events; take it out, or use sum");
    for (int i = 0; i < COUNT_OF(keys_to_come); i++) {
        const struct fr_yaml *at = fr_yaml_get(parse->map, keys_to_come[i]);

        if (at)
            ok = tell(parse, at, keys_to_come[i], "not in this version; take it out");
    }
    return ok;
}

/* Everything that makes the state what it is: a change of any of it starts a new generation. */
static bool define(struct parse *parse)
{
    struct agg_feature *feature = parse->feature;
    struct fr_buffer text;
    uint64_t name_hash;

    fr_buffer_init(&text);
    fr_buffer_append_format(&text, "%s of", agg__aggregate_names[feature->aggregate]);
    for (int i = 0; i < feature->entity->key_count; i++)
        fr_buffer_append_format(&text, " %s", proto_field_name(feature->entity->key[i]));
    fr_buffer_append_format(&text, " in %s; actions %" PRIx32 "; scenes %" PRIx32, feature->entity->name, feature->actions,
                            feature->scenes);
    if (is_of_number(feature))
        fr_buffer_append_format(&text, "; of %s", proto_field_name(feature->of));
    for (int i = 0; i < feature->field_count; i++)
        fr_buffer_append_format(&text, "%s %s", i == 0 ? "; fields" : "", feature->field_names[i]);
    if (feature->is_seen)
        fr_buffer_append_text(&text, "; seen");
    if (feature->where) {
        fr_buffer_append_text(&text, "; where ");
        fr_buffer_append(&text, parse->where.bytes, parse->where.length);
    }
    feature->definition = text.is_failed ? NULL : fr_arena_copy(parse->catalogue->arena, fr_buffer_slice(&text));
    name_hash = fr_text_hash(feature->name, strlen(feature->name), 0);
    feature->definition_hash = fr_text_hash(text.bytes, text.length, name_hash);
    fr_buffer_fini(&text);
    return feature->definition != NULL;
}

static bool parse_settings(struct parse *parse)
{
    struct agg_feature *feature = parse->feature;
    char where[AGG_NAME_MAX + 16];
    bool ok = parse_entity(parse);

    if (!parse_aggregate(parse))
        return false; /* what else it may say depends on that */
    ok = parse_names(parse, "actions", proto_action_number, proto_action_name, PROTO_ACTIONS, &feature->actions) && ok;
    ok = parse_names(parse, "scenes", proto_scene_number, proto_scene_name, PROTO_SCENES, &feature->scenes) && ok;
    ok = parse_where(parse) && ok;
    ok = refuse_keys(parse) && ok;
    if (feature->aggregate == AGG_LAST)
        ok = parse_sequence(parse) && ok;
    else
        ok = parse_windows(parse) && ok;
    if (is_of_number(feature))
        ok = parse_of(parse) && ok;
    snprintf(where, sizeof where, "features.%s", feature->name);
    fr_yaml_finish(parse->map, where, keys_known, COUNT_OF(keys_known), parse->diagnostics);
    return ok && define(parse);
}

bool agg_feature__parse(struct agg_catalogue *catalogue, struct fr_slice name, struct fr_yaml *at, struct fr_yaml *map,
                        struct fr_diagnostics *diagnostics)
{
    struct agg_feature *feature = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *feature);
    struct parse parse = {.catalogue = catalogue, .feature = feature, .at = at, .map = map, .diagnostics = diagnostics};
    bool ok;

    if (!feature)
        return false;
    feature->name = fr_arena_copy(catalogue->arena, name);
    if (!feature->name)
        return false;
    catalogue->features[catalogue->feature_count++] = feature; /* wrong or not: a feature set may name it */
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map->kind == FR_YAML_NULL ? at : map,
                                  "features.%s: should be a map with entity and aggregate", feature->name);
    fr_buffer_init(&parse.where);
    ok = parse_settings(&parse);
    fr_buffer_fini(&parse.where);
    return ok;
}
