/* Settings that several aggregates have. */
#include "type.h"

#include <freshet/text.h>

bool agg_parse__tell(struct agg_parse *parse, const struct fr_yaml *at, const char *key, const char *what)
{
    return fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: %s", parse->feature->name, key, what);
}

bool agg_parse__tell_nearest(struct agg_parse *parse, const struct fr_yaml *at, const char *key, const char *const *names,
                             int count)
{
    const char *nearest = fr_text_nearest(at->text, names, count);

    return fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: unknown name '%s'%s%s%s", parse->feature->name, key,
                              (const char *)at->text.bytes, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                              nearest ? "'?" : "");
}

/* A list of actions or scenes as bits; absent: all. */
static bool parse_names(struct agg_parse *parse, const char *key, int (*number_of)(struct fr_slice),
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
        return agg_parse__tell(parse, list, key, "should be a list of names; leave it out to take all");
    for (int i = 1; i < most; i++)
        names[i - 1] = name_of((uint32_t)i);
    for (int i = 0; i < list->count; i++) {
        struct fr_yaml *at = list->values[i];
        int number = at->kind == FR_YAML_SCALAR ? number_of(at->text) : 0;

        if (at->kind != FR_YAML_SCALAR)
            ok = agg_parse__tell(parse, at, key, "should be a list of names");
        else if (number <= 0)
            ok = agg_parse__tell_nearest(parse, at, key, names, most - 1);
        else if ((*bits >> number & 1) != 0)
            ok = fr_diagnostics_add(parse->diagnostics, at, "features.%s.%s: '%s' twice", parse->feature->name, key,
                                    name_of((uint32_t)number));
        else
            *bits |= UINT32_C(1) << number;
    }
    return ok;
}

bool agg_parse__actions(struct agg_parse *parse, const char *key, uint32_t *bits)
{
    return parse_names(parse, key, proto_action_number, proto_action_name, PROTO_ACTIONS, bits);
}

bool agg_parse__scenes(struct agg_parse *parse, uint32_t *bits)
{
    return parse_names(parse, "scenes", proto_scene_number, proto_scene_name, PROTO_SCENES, bits);
}

static bool parse_window(struct agg_parse *parse, struct fr_yaml *at, int panes_least)
{
    struct agg_feature *feature = parse->feature;
    struct agg_window window = {.level = -1};

    if (at->kind == FR_YAML_SCALAR && fr_text_span(at->text, &window.span_ms) && window.span_ms <= INT64_C(36500) * 86400000)
        window.level = agg_window__level(window.span_ms, panes_least);
    if (window.level < 0)
        return fr_diagnostics_add(parse->diagnostics, at,
                                  "features.%s.windows: '%s' is no window; use whole seconds, at least %ds, as in 5m, 1h or 7d",
                                  feature->name, at->kind == FR_YAML_SCALAR ? (const char *)at->text.bytes : "a list or map",
                                  panes_least);
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

bool agg_parse__windows(struct agg_parse *parse, int panes_least)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "windows");
    bool ok = true;

    if (!list)
        return agg_parse__tell(parse, parse->at, "windows", "missing; use a list like [5m, 1h, 24h]");
    if (list->kind != FR_YAML_LIST || list->count == 0 || list->count > AGG_WINDOWS_MAX)
        return fr_diagnostics_add(parse->diagnostics, list,
                                  "features.%s.windows: should be a list of 1 to %d spans, [5m, 1h, 24h]", parse->feature->name,
                                  AGG_WINDOWS_MAX);
    for (int i = 0; i < list->count; i++)
        ok = parse_window(parse, list->values[i], panes_least) && ok;
    return ok;
}

bool agg_parse__of(struct agg_parse *parse, const uint8_t *fields)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "of");
    const char *names[AGG_FIELDS_MAX];
    int count = 0;

    parse->feature->of = fields[0];
    if (!at)
        return true;
    parse->feature->of = at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    for (; fields[count] != 0; count++) {
        if (parse->feature->of == fields[count])
            return true;
        names[count] = proto_field_name(fields[count]);
    }
    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "of", "should be the name of an event field");
    return agg_parse__tell_nearest(parse, at, "of", names, count);
}

bool agg_parse__narrow(struct agg_parse *parse, const char *condition)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, "where");
    struct fr_buffer text;
    struct fr_err err;
    bool ok;

    if (at && !parse->feature->where)
        return true; /* its mistake is told */
    fr_buffer_init(&text);
    if (at)
        fr_buffer_append_format(&text, "(%.*s) and ", (int)at->text.length, (const char *)at->text.bytes);
    fr_buffer_append_text(&text, condition);
    fr_buffer_clear(&parse->where);
    ok = !text.is_failed &&
         agg_where__compile(fr_buffer_slice(&text), parse->catalogue->arena, &parse->feature->where, &parse->where, &err);
    fr_buffer_fini(&text);
    return ok || agg_parse__tell(parse, at ? at : parse->at, "where", "is too long; make it simpler");
}

bool agg_parse__seconds(struct agg_parse *parse, const char *key, int64_t *ms)
{
    struct fr_yaml *at = fr_yaml_get(parse->map, key);

    if (!at)
        return agg_parse__tell(parse, parse->at, key, "missing; use a span of whole seconds, as in 10m");
    if (at->kind == FR_YAML_SCALAR && fr_text_span(at->text, ms) && *ms >= 1000 && *ms % 1000 == 0 &&
        *ms <= INT64_C(36500) * 86400000)
        return true;
    *ms = 1000;
    return agg_parse__tell(parse, at, key, "should be a span of whole seconds, at least 1s, as in 10m");
}

static bool parse_weight(struct agg_parse *parse, struct fr_yaml *key, struct fr_yaml *weights)
{
    int action = proto_action_number(key->text);
    double weight = 1;

    if (action <= 0 || (parse->feature->actions >> action & 1) == 0)
        return fr_diagnostics_add(parse->diagnostics, key, "features.%s.weights: '%s' is none of its actions",
                                  parse->feature->name, (const char *)key->text.bytes);
    if (!fr_yaml_double(weights, (const char *)key->text.bytes, 0.1, 10000, &weight, parse->diagnostics))
        return false;
    parse->feature->weights[action] = weight;
    return true;
}

bool agg_parse__weights(struct agg_parse *parse)
{
    struct fr_yaml *weights = fr_yaml_get(parse->map, "weights");
    bool ok = true;

    for (int i = 0; i < PROTO_ACTIONS; i++)
        parse->feature->weights[i] = 1;
    if (weights && weights->kind != FR_YAML_MAP)
        return agg_parse__tell(parse, weights, "weights", "should be a map from action to a number, { like: 3 }");
    for (int i = 0; weights && i < weights->count; i++)
        ok = parse_weight(parse, weights->keys[i], weights) && ok;
    return ok;
}

void agg_feature__define_weights(const struct agg_feature *feature, struct fr_buffer *text)
{
    for (int i = 1; i < PROTO_ACTIONS; i++) {
        if ((feature->actions >> i & 1) != 0 && (feature->weights[i] < 1 || feature->weights[i] > 1))
            fr_buffer_append_format(text, "; %s %.17g", proto_action_name((uint32_t)i), feature->weights[i]);
    }
}

struct agg_feature *agg_parse__feature(struct agg_parse *parse, const struct fr_yaml *at, const char *key, bool is_any_entity)
{
    const char *names[AGG_FEATURES_MAX];
    struct agg_feature *feature;

    if (at->kind != FR_YAML_SCALAR) {
        agg_parse__tell(parse, at, key, "should be the name of a feature");
        return NULL;
    }
    feature = agg_catalogue__feature(parse->catalogue, at->text);
    for (int i = 0; i < parse->catalogue->visible_feature_count; i++)
        names[i] = parse->catalogue->features[i]->name;
    if (!feature) {
        agg_parse__tell_nearest(parse, at, key, names, parse->catalogue->visible_feature_count);
        return NULL;
    }
    if (feature->entity == parse->feature->entity || is_any_entity)
        return feature;
    agg_parse__tell(parse, at, key, "is a feature of another entity");
    return NULL;
}

/* A read names the parent by the entity's own key, or by what an item or a room remembers. */
static bool can_name(const struct agg_entity *entity, int field)
{
    int attribute = agg_attribute__index(field);

    for (int i = 0; i < entity->key_count; i++) {
        if (entity->key[i] == field)
            return true;
    }
    return attribute >= 0 && (entity->remembered >> attribute & 1) != 0;
}

bool agg_parse__parent(struct agg_parse *parse, const char *key, const struct agg_entity *parent)
{
    const struct agg_entity *entity = parse->feature->entity;
    const struct fr_yaml *at = fr_yaml_get(parse->map, key);

    if (!parent)
        return fr_diagnostics_add(parse->diagnostics, at,
                                  "features.%s.%s: entities.%s has no parent; give it one, or use global", parse->feature->name,
                                  key, entity->name);
    if (parent == entity)
        return agg_parse__tell(parse, at, key, "names the entity itself; its own counts come first anyway");
    for (int i = 0; i < parent->key_count; i++) {
        if (!can_name(entity, parent->key[i]))
            return fr_diagnostics_add(
                parse->diagnostics, at,
                "features.%s.%s: a read can't tell which %s is the parent of one %s: %s is neither in its "
                "key nor remembered; use global",
                parse->feature->name, key, parent->name, entity->name, parent->key_names[i]);
    }
    return true;
}
