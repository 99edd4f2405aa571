/*
 * `features`: each is parsed by itself, then linked to those it names; hidden ones are added for companions and the like.
 */
#include "type.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>

static const char *const common_keys[] = {"entity", "aggregate", "emit"};
static const char *const output_names[AGG_OUTPUTS] = {"value", "n", "sd", "age", "lower", "upper", "chain", "deficit"};
enum { COMMON_KEYS = sizeof common_keys / sizeof common_keys[0], KEYS_MAX = 64 };

static bool parse_entity(struct agg_parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "entity");
    const char *names[AGG_ENTITIES_MAX];

    if (!at)
        return agg_parse__tell(parse, parse->at, "entity", "missing; name one of the entities");
    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "entity", "should be the name of one of the entities");
    parse->feature->entity = agg_catalogue__entity(parse->catalogue, at->text);
    if (parse->feature->entity)
        return true;
    for (int i = 0; i < parse->catalogue->entity_count; i++)
        names[i] = parse->catalogue->entities[i]->name;
    return agg_parse__tell_nearest(parse, at, "entity", names, parse->catalogue->entity_count);
}

static bool parse_aggregate(struct agg_parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "aggregate");
    const char *names[AGG_AGGREGATES];
    int count = 0;

    for (int i = 0; i < AGG_AGGREGATES; i++) {
        if (!agg__types[i] || agg__types[i]->is_hidden || i == AGG_MATCH)
            continue; /* a match is a `last` that says what to match */
        if (at && at->kind == FR_YAML_SCALAR && fr_text_equal_nocase(at->text, agg__types[i]->name)) {
            if (i == AGG_LAST && fr_yaml_get(parse->map, "match"))
                i = AGG_MATCH;
            parse->feature->aggregate = (enum agg_aggregate)i;
            parse->feature->type = agg__types[i];
            return true;
        }
        names[count++] = agg__types[i]->name;
    }
    if (!at)
        return agg_parse__tell(parse, parse->at, "aggregate", "missing; say what to make of the events: count, sum, last ...");
    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "aggregate", "should be one name: count, sum, last ...");
    return agg_parse__tell_nearest(parse, at, "aggregate", names, count);
}

static bool parse_where(struct agg_parse *parse)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "where");
    const struct agg_where_names names = {.catalogue = parse->catalogue};
    struct fr_err err;

    if (!at)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "where", "should be a condition, \"value >= 3\"");
    if (agg_where__compile_of(&names, at->text, parse->catalogue->arena, &parse->feature->where, &parse->where, &err)) {
        parse->catalogue->joined |= agg_where__tables(parse->feature->where);
        return true;
    }
    return agg_parse__tell(parse, at, "where", err.message);
}

/* What is shown beside the value, or instead of it. */
static bool parse_emit(struct agg_parse *parse)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "emit");
    struct agg_feature *feature = parse->feature;
    bool ok = true;

    feature->emits = 1 << AGG_OUTPUT_VALUE;
    if (!list)
        return true;
    if (list->kind != FR_YAML_LIST || list->count == 0)
        return agg_parse__tell(parse, list, "emit", "should be a list, [value, n]");
    feature->emits = 0;
    for (int i = 0; i < list->count; i++) {
        struct fr_yaml *at = list->values[i];
        int output = 0;

        while (output < AGG_OUTPUTS && !(at->kind == FR_YAML_SCALAR && fr_text_equal_nocase(at->text, output_names[output])))
            output++;
        if (at->kind != FR_YAML_SCALAR)
            ok = agg_parse__tell(parse, at, "emit", "should be a list of names, [value, n]");
        else if (output == AGG_OUTPUTS)
            ok = agg_parse__tell_nearest(parse, at, "emit", output_names, AGG_OUTPUTS);
        else if ((feature->type->emits >> output & 1) == 0)
            ok = fr_diagnostics_add(parse->diagnostics, at, "features.%s.emit: %s has no %s; take it out", feature->name,
                                    feature->type->name, output_names[output]);
        else if ((feature->emits >> output & 1) != 0)
            ok =
                fr_diagnostics_add(parse->diagnostics, at, "features.%s.emit: '%s' twice", feature->name, output_names[output]);
        else
            feature->emits |= (uint8_t)(1 << output);
    }
    return ok;
}

static bool has_key(const struct agg_type *type, const char *key)
{
    for (int i = 0; i < COMMON_KEYS; i++) {
        if (strcmp(key, common_keys[i]) == 0)
            return true;
    }
    for (int i = 0; type->keys[i]; i++) {
        if (strcmp(key, type->keys[i]) == 0)
            return true;
    }
    return false;
}

static bool is_some_key(const char *key)
{
    for (int i = 0; i < AGG_AGGREGATES; i++) {
        if (agg__types[i] && !agg__types[i]->is_hidden && has_key(agg__types[i], key))
            return true;
    }
    return false;
}

/* Keys that mean something, but not here; then those that mean nothing. */
static bool refuse_keys(struct agg_parse *parse)
{
    const struct agg_type *type = parse->feature->type;
    const char *known[KEYS_MAX];
    char where[AGG_NAME_MAX + 16];
    int count = 0;
    bool ok = true;

    for (int i = 0; i < parse->map->count; i++) {
        const char *key = parse->map->keys[i]->text.bytes;

        if (has_key(type, key) || !is_some_key(key))
            continue;
        ok = fr_diagnostics_add(parse->diagnostics, fr_yaml_get(parse->map, key), "features.%s.%s: %s has none; take it out",
                                parse->feature->name, key, type->name);
    }
    for (int i = 0; i < COMMON_KEYS; i++)
        known[count++] = common_keys[i];
    for (int i = 0; type->keys[i] && count < KEYS_MAX; i++)
        known[count++] = type->keys[i];
    snprintf(where, sizeof where, "features.%s", parse->feature->name);
    fr_yaml_finish(parse->map, where, known, count, parse->diagnostics);
    return ok;
}

/* Everything that makes the state what it is: a change of any of it starts a new generation. */
static bool define(const struct agg_catalogue *catalogue, struct agg_feature *feature, struct fr_slice where)
{
    struct fr_buffer text;
    uint64_t name_hash;

    fr_buffer_init(&text);
    fr_buffer_append_format(&text, "%s of", feature->type->name);
    for (int i = 0; i < feature->entity->key_count; i++)
        fr_buffer_append_format(&text, " %s", agg_key__field(feature->entity, i));
    fr_buffer_append_format(&text, " in %s; actions %" PRIx32 "; scenes %" PRIx32, feature->entity->name, feature->actions,
                            feature->scenes);
    for (int i = 0; feature->named && i < feature->named->key_count; i++)
        fr_buffer_append_format(&text, "; with %s", feature->named->key_names[i]);
    if (feature->needs != 0)
        fr_buffer_append_format(&text, "; of %s", proto_field_name(feature->needs));
    if (feature->type->define)
        feature->type->define(feature, &text);
    if (where.length > 0) {
        fr_buffer_append_text(&text, "; where ");
        fr_buffer_append(&text, where.bytes, where.length);
    }
    feature->definition = text.is_failed ? NULL : fr_arena_copy(catalogue->arena, fr_buffer_slice(&text));
    name_hash = fr_text_hash(feature->name, strlen(feature->name), 0);
    feature->definition_hash = fr_text_hash(text.bytes, text.length, name_hash);
    fr_buffer_fini(&text);
    return feature->definition != NULL;
}

static bool parse_settings(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = parse_entity(parse);

    feature->actions = feature->scenes = UINT32_MAX;
    if (!parse_aggregate(parse))
        return false; /* what else it may say depends on that */
    if (feature->entity && feature->entity->key_count > 0 && feature->entity->listed >= 0 &&
        (feature->aggregate == AGG_LAST || feature->aggregate == AGG_SERIES || feature->aggregate == AGG_COVISIT))
        ok = fr_diagnostics_add(
            parse->diagnostics, fr_yaml_get(parse->map, "aggregate"),
            "features.%s.aggregate: an item has many of %s, by what a table lists; take one that has columns", feature->name,
            feature->entity->name);
    if (has_key(feature->type, "actions"))
        ok = agg_parse__actions(parse, "actions", &feature->actions) && ok;
    if (has_key(feature->type, "scenes"))
        ok = agg_parse__scenes(parse, &feature->scenes) && ok;
    if (has_key(feature->type, "where"))
        ok = parse_where(parse) && ok;
    ok = parse_emit(parse) && ok;
    ok = feature->type->parse(parse) && ok;
    ok = refuse_keys(parse) && ok;
    feature->where_text = fr_slice(fr_arena_copy(parse->catalogue->arena, fr_buffer_slice(&parse->where)), parse->where.length);
    return ok && feature->where_text.bytes;
}

static bool parse_feature(struct agg_catalogue *catalogue, struct fr_slice name, struct fr_yaml *at, struct fr_yaml *map,
                          struct fr_diagnostics *diagnostics)
{
    struct agg_feature *feature = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *feature);
    struct agg_parse parse = {.catalogue = catalogue, .feature = feature, .at = at, .map = map, .diagnostics = diagnostics};
    bool ok;

    if (!feature)
        return false;
    feature->name = fr_arena_copy(catalogue->arena, name);
    if (!feature->name)
        return false;
    catalogue->features[catalogue->feature_count++] = feature; /* wrong or not: others may name it */
    catalogue->visible_feature_count = catalogue->feature_count;
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map->kind == FR_YAML_NULL ? at : map,
                                  "features.%s: should be a map with entity and aggregate", feature->name);
    fr_buffer_init(&parse.where);
    ok = parse_settings(&parse);
    fr_buffer_fini(&parse.where);
    return ok;
}

/* ---- hidden features ---- */

/* The feature of that name, made of all events when it isn't there; NULL: out of memory or of room. */
static struct agg_feature *keep(struct agg_catalogue *catalogue, struct agg_entity *entity, const char *name,
                                enum agg_aggregate aggregate)
{
    struct agg_feature *feature = agg_catalogue__feature(catalogue, fr_slice_of(name));

    if (feature || catalogue->feature_count == AGG_STATES_MAX)
        return feature;
    feature = fr_arena_take_zeroed(catalogue->arena, 1, sizeof *feature);
    if (!feature)
        return NULL;
    feature->name = fr_arena_copy(catalogue->arena, fr_slice_of(name));
    feature->entity = entity;
    feature->aggregate = aggregate;
    feature->type = agg__types[aggregate];
    feature->is_hidden = true;
    feature->actions = feature->scenes = UINT32_MAX;
    catalogue->features[catalogue->feature_count++] = feature;
    return feature->name ? feature : NULL;
}

struct agg_feature *agg_feature__hidden(struct agg_catalogue *catalogue, const struct agg_feature *of,
                                        struct agg_entity *entity, const char *suffix, enum agg_aggregate aggregate)
{
    char name[2 * AGG_NAME_MAX + 2];
    struct agg_feature *feature;

    snprintf(name, sizeof name, "%s.%s", of->name, suffix);
    feature = keep(catalogue, entity, name, aggregate);
    if (!feature)
        return NULL;
    feature->actions = of->actions;
    feature->scenes = of->scenes;
    feature->where = of->where;
    feature->where_text = of->where_text;
    feature->of = of->of;
    feature->needs = of->needs;
    feature->floor = of->floor;
    feature->ups = of->ups;
    memcpy(feature->weights, of->weights, sizeof feature->weights);
    return feature;
}

struct agg_feature *agg_feature__kept(struct agg_catalogue *catalogue, struct agg_entity *entity, const char *suffix,
                                      enum agg_aggregate aggregate)
{
    char name[2 * AGG_NAME_MAX + 2];

    snprintf(name, sizeof name, "%s.%s", entity->name, suffix);
    return keep(catalogue, entity, name, aggregate);
}

void agg_feature__narrow(struct agg_feature *feature, const struct agg_catalogue *catalogue, const struct agg_entity *entity)
{
    feature->named_in = catalogue;
    feature->named = entity;
}

bool agg_feature__add_window(struct agg_feature *feature, const struct agg_window *window)
{
    for (int i = 0; i < feature->window_count; i++) {
        if (feature->windows[i].span_ms == window->span_ms)
            return true;
    }
    if (feature->window_count == AGG_WINDOWS_MAX)
        return false;
    feature->windows_ms[feature->window_count] = window->span_ms;
    feature->resolutions_ms[feature->window_count] = agg__level_ms[window->level];
    feature->windows[feature->window_count++] = *window;
    return true;
}

/* What counts the feature's events, for companions; a ratio's n is its own business. */
static bool add_companions(struct agg_catalogue *catalogue, struct agg_feature *feature)
{
    bool is_n = (feature->emits >> AGG_OUTPUT_N & 1) != 0 && feature->window_count > 0 && !feature->type->of_operands &&
                !feature->type->curve;

    if (is_n && feature->aggregate == AGG_COUNT)
        feature->n = feature;
    else if (is_n || feature->aggregate == AGG_MEAN)
        feature->n = agg_feature__hidden(catalogue, feature, feature->entity, "n", AGG_COUNT);
    if ((is_n || feature->aggregate == AGG_MEAN) && !feature->n)
        return false;
    for (int i = 0; feature->n && feature->n != feature && i < feature->window_count; i++) {
        if (!agg_feature__add_window(feature->n, &feature->windows[i]))
            return false;
    }
    if ((feature->emits >> AGG_OUTPUT_AGE & 1) != 0 && !feature->type->of_operands) {
        feature->age = agg_feature__hidden(catalogue, feature, feature->entity, "age", AGG_AGE);
        return feature->age != NULL;
    }
    return true;
}

/* ---- columns ---- */

static bool add_column(const struct agg_catalogue *catalogue, struct agg_feature *feature, enum agg_output output, int window,
                       struct agg_output_column *outputs)
{
    const char *text = window >= 0 ? feature->windows[window].text : NULL;
    size_t bytes = strlen(feature->name) + (text ? strlen(text) : 0) + sizeof "..deficit";
    char *name = fr_arena_take(catalogue->arena, bytes);

    if (!name)
        return false;
    snprintf(name, bytes, "%s%s%s%s%s", feature->name, text ? "." : "", text ? text : "", output == AGG_OUTPUT_VALUE ? "" : ".",
             output == AGG_OUTPUT_VALUE ? "" : output_names[output]);
    outputs[feature->column_count] = (struct agg_output_column){.output = output, .window = window};
    feature->columns[feature->column_count++] = name;
    return true;
}

/* What a ratio is drawn towards, as its counts: "ctr.1h.creator.num", "ctr.1h.creator.den", the nearest first, then "global". */
static bool name_chain(const struct agg_catalogue *catalogue, struct agg_feature *feature, struct agg_output_column *outputs)
{
    static const char *const sides[] = {"num", "den"};

    for (int i = 0; i < feature->window_count; i++) {
        for (enum agg_prior prior = AGG_PARENT; prior <= AGG_GLOBAL; prior++) {
            for (int side = 0; side < 2 && (feature->priors[prior] || prior == AGG_GLOBAL); side++) {
                const char *whose = prior == AGG_GLOBAL ? "global" : feature->priors[prior]->name;
                size_t bytes = strlen(feature->name) + strlen(feature->windows[i].text) + strlen(whose) + sizeof "...num";
                char *name = fr_arena_take(catalogue->arena, bytes);

                if (!name)
                    return false;
                snprintf(name, bytes, "%s.%s.%s.%s", feature->name, feature->windows[i].text, whose, sides[side]);
                outputs[feature->column_count] =
                    (struct agg_output_column){.output = AGG_OUTPUT_CHAIN, .window = i, .prior = prior, .side = side};
                feature->columns[feature->column_count++] = name;
            }
        }
    }
    return true;
}

/* Windows as declared, then companions. */
static bool name_columns(const struct agg_catalogue *catalogue, struct agg_feature *feature)
{
    size_t most = ((size_t)feature->window_count + 1) * (AGG_OUTPUTS + 2 * AGG_PRIORS);
    struct agg_output_column *outputs = fr_arena_take_zeroed(catalogue->arena, most, sizeof *outputs);
    bool has_columns = !feature->type->cells || feature->type->cells->value;

    feature->outputs = outputs;
    feature->columns = fr_arena_take_zeroed(catalogue->arena, most, sizeof(const char *));
    if (!outputs || !feature->columns)
        return false;
    for (int output = 0; output < AGG_OUTPUTS; output++) {
        bool is_sequence = output == AGG_OUTPUT_VALUE && (feature->limit > 0 || !has_columns);

        if ((feature->emits >> output & 1) == 0 || is_sequence || output == AGG_OUTPUT_CHAIN)
            continue;
        for (int i = 0; i < feature->window_count && output != AGG_OUTPUT_AGE; i++) {
            if (!add_column(catalogue, feature, (enum agg_output)output, i, outputs))
                return false;
        }
        if ((feature->window_count == 0 || output == AGG_OUTPUT_AGE) &&
            !add_column(catalogue, feature, (enum agg_output)output, -1, outputs))
            return false;
    }
    return (feature->emits >> AGG_OUTPUT_CHAIN & 1) == 0 || name_chain(catalogue, feature, outputs);
}

/* ---- all of them ---- */

static bool link_features(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    bool ok = true;

    for (int i = 0; i < map->count; i++) {
        struct agg_parse parse = {.catalogue = catalogue,
                                  .feature = catalogue->features[i],
                                  .at = map->keys[i],
                                  .map = map->values[i],
                                  .diagnostics = diagnostics};

        if (parse.feature->type->link)
            ok = parse.feature->type->link(&parse) && ok;
    }
    for (int i = 0; i < map->count && ok; i++)
        ok = add_companions(catalogue, catalogue->features[i]) && name_columns(catalogue, catalogue->features[i]);
    return ok && agg_features__define(catalogue);
}

/* Those that go by another one after it: its definition is part of theirs. */
bool agg_features__define(struct agg_catalogue *catalogue)
{
    for (int has_source = 0; has_source <= 1; has_source++) {
        for (int i = 0; i < catalogue->feature_count; i++) {
            struct agg_feature *feature = catalogue->features[i];

            if (!feature->definition && (feature->source != NULL) == has_source &&
                !define(catalogue, feature, feature->where_text))
                return false;
        }
    }
    return true;
}

bool agg_features__parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *map = fr_yaml_get(root, "features");
    bool ok = true;

    if (!map)
        return fr_diagnostics_add(diagnostics, root, "features: missing; name at least one feature");
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, map, "features: should be a map from name to feature");
    if (map->count == 0)
        return fr_diagnostics_add(diagnostics, map, "features: empty; name at least one feature");
    if (map->count > AGG_FEATURES_MAX)
        return fr_diagnostics_add(diagnostics, map, "features: %d are too many; use at most %d", map->count, AGG_FEATURES_MAX);
    for (int i = 0; i < map->count; i++) {
        if (agg_name__check(map->keys[i], "features", diagnostics))
            ok = parse_feature(catalogue, map->keys[i]->text, map->keys[i], map->values[i], diagnostics) && ok;
        else
            ok = false;
    }
    return ok && link_features(catalogue, map, diagnostics);
}
