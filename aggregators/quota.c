/*
 * `quota`: how many of the exposures that a new entity is to have it has not had yet. Whether it is new is told by counts, too: all events
 * that it had for long are of late. So what it is never depends on the order of events, and nothing has to be remembered of
 * when it was first seen. It keeps nothing itself; the counts are hidden features of the entity.
 */
#include "plan.h"
#include "type.h"

#include <freshet/text.h>

#include <inttypes.h>

/* ---- value ---- */

static int64_t count_in(const struct agg_view *view, const struct agg_feature *counter, const struct agg_window *window)
{
    return (int64_t)agg_view__value(view, counter, agg_feature__window(counter, window->span_ms));
}

double agg_quota__left(const struct agg_feature *feature, const struct agg_view *view)
{
    int64_t shown;

    if (!view)
        return feature->quota; /* nobody is newer than who was never seen */
    if (count_in(view, feature->events, &feature->known) > count_in(view, feature->events, &feature->newer))
        return 0;
    shown = count_in(view, feature->shown, &feature->newer);
    return (double)shown < feature->quota ? feature->quota - (double)shown : 0;
}

static float of_rows(const struct agg_feature *feature, const struct agg_view *view)
{
    return (float)agg_quota__left(feature, view);
}

/* ---- settings ---- */

static bool parse_span(struct agg_parse *parse, const char *key, const char *otherwise, struct agg_window *window)
{
    const struct fr_yaml *at = fr_yaml_get(parse->map, key);

    *window = (struct agg_window){.level = -1, .text = otherwise};
    if (at && at->kind == FR_YAML_SCALAR)
        window->text = fr_arena_copy(parse->catalogue->arena, at->text);
    if (!window->text)
        return at ? false : agg_parse__tell(parse, parse->at, key, "missing; for how long is one new, as in 24h");
    if ((!at || at->kind == FR_YAML_SCALAR) && fr_text_span(fr_slice_of(window->text), &window->span_ms) &&
        window->span_ms <= INT64_C(36500) * 86400000)
        window->level = agg_window__level(window->span_ms, AGG_PANES_LEAST);
    if (window->level < 0)
        return agg_parse__tell(parse, at, key, "should be whole seconds, at least 24s, as in 24h");
    window->panes = window->span_ms / agg__level_ms[window->level];
    return true;
}

static bool parse_quota(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    int64_t quota = 0;
    bool ok = parse_span(parse, "newer_than", NULL, &feature->newer);

    ok = parse_span(parse, "forgotten_after", "30d", &feature->known) && ok;
    if (ok && feature->known.span_ms <= feature->newer.span_ms)
        ok = agg_parse__tell(
            parse, fr_yaml_get(parse->map, fr_yaml_get(parse->map, "forgotten_after") ? "forgotten_after" : "newer_than"),
            "forgotten_after", "should be longer than newer_than, or everybody is new");
    if (!fr_yaml_get(parse->map, "quota"))
        return agg_parse__tell(parse, parse->at, "quota", "missing; how many exposures is each to have, as in 1000");
    ok = fr_yaml_int(parse->map, "quota", 1, INT64_C(1000000000), &quota, parse->diagnostics) && ok;
    feature->quota = (double)quota;
    return ok;
}

static bool add_window(struct agg_parse *parse, struct agg_feature *counter, const struct agg_window *window)
{
    if (counter && agg_feature__add_window(counter, window))
        return true;
    return fr_diagnostics_add(parse->diagnostics, parse->at,
                              "features.%s: out of memory, or the quotas of %s have more than %d different spans",
                              parse->feature->name, parse->feature->entity->name, AGG_WINDOWS_MAX);
}

static bool link_quota(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    struct agg_feature *shown = agg_feature__hidden(parse->catalogue, feature, feature->entity, "shown", AGG_COUNT);
    struct agg_feature *events = agg_feature__kept(parse->catalogue, feature->entity, "(events)", AGG_COUNT);

    if (feature->entity->listed >= 0)
        return agg_parse__tell(parse, fr_yaml_get(parse->map, "entity"), "entity",
                               "an item has many of these, by what a table lists; which of them is new?");
    feature->shown = shown;
    feature->events = events;
    return add_window(parse, shown, &feature->newer) && add_window(parse, events, &feature->newer) &&
           add_window(parse, events, &feature->known);
}

static void define_quota(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; newer than %" PRId64 " of %" PRId64, feature->newer.span_ms, feature->known.span_ms);
}

static const char *const keys[] = {"actions", "scenes", "where", "quota", "newer_than", "forgotten_after", NULL};

const struct agg_type agg_type__quota = {.name = "quota",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE,
                                         .parse = parse_quota,
                                         .link = link_quota,
                                         .define = define_quota,
                                         .of_rows = of_rows};
