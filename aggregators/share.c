/*
 * `share`: how much of its scope an entity has: what a counter of its own holds over what the same counter holds of all entities of its
 * kind there, in the parent's whole or in everything (ALGORITHMS.md 17; docs/ledger.md). Only events that name one of the kind
 * are in the whole, so shares of a scope add up to 1. With targets it tells how much each falls short, too. It keeps nothing
 * itself: the whole is a hidden counter of the scope.
 */
#include "ratio.h"

#include <freshet/text.h>

#include <math.h>
#include <stdio.h>

enum { NUMERATOR, DENOMINATOR };

#define SUM_ERROR 1e-6 /* of targets: what writing 0.333333 three times leaves */

/* ---- value ---- */

/* Of what no target names, 0. */
static double target_of(const struct agg_feature *feature, uint64_t id)
{
    for (int i = 0; i < feature->target_count; i++) {
        if (feature->targets[i].id == id)
            return feature->targets[i].share;
    }
    return 0;
}

static enum agg_prior scope_of(const struct agg_feature *feature)
{
    return feature->is_of_parent ? AGG_PARENT : AGG_GLOBAL;
}

static float reckon(const struct agg_ratio_column *column, const double *operands, uint64_t id)
{
    const struct agg_feature *feature = column->feature;
    double whole = agg_ratio__take(column, operands, scope_of(feature), DENOMINATOR);
    double own = agg_ratio__take(column, operands, AGG_OWN, NUMERATOR);
    double share = fabs(whole) > 0 ? own / whole : 0;

    if (column->output->output == AGG_OUTPUT_N)
        return (float)whole;
    if (column->output->output == AGG_OUTPUT_DEFICIT)
        return id == 0 ? 0 : (float)(target_of(feature, id) - share);
    return (float)share;
}

/* ---- targets ---- */

/* The one place of the key that the scope's has not; −1: there are none, or several. */
static int place_in_scope(const struct agg_feature *feature)
{
    const struct agg_entity *entity = feature->entity, *scope = feature->is_of_parent ? entity->parent : NULL;
    int found = -1, count = 0;

    for (int i = 0; i < entity->key_count; i++) {
        bool is_scopes = false;

        for (int k = 0; scope && k < scope->key_count; k++)
            is_scopes = is_scopes || scope->key[k] == entity->key[i];
        if (is_scopes)
            continue;
        found = i;
        count++;
    }
    return count == 1 ? found : -1;
}

static bool parse_target(struct agg_parse *parse, struct fr_yaml *map, int index, struct agg_target *targets)
{
    const struct fr_yaml *key = map->keys[index];
    struct agg_target *target = &targets[index];

    *target = (struct agg_target){.name = fr_arena_copy(parse->catalogue->arena, key->text), .id = fr_text_id(key->text)};
    if (!target->name)
        return false;
    if (target->id == 0)
        return fr_diagnostics_add(parse->diagnostics, key, "features.%s.targets: '%s' names nothing", parse->feature->name,
                                  target->name);
    for (int i = 0; i < index; i++) {
        if (targets[i].id == target->id)
            return fr_diagnostics_add(parse->diagnostics, key, "features.%s.targets: '%s' twice", parse->feature->name,
                                      target->name);
    }
    return fr_yaml_double(map, target->name, 0, 1, &target->share, parse->diagnostics);
}

static bool parse_targets(struct agg_parse *parse)
{
    struct fr_yaml *map = fr_yaml_get(parse->map, "targets");
    struct agg_target *targets;
    double sum = 0;
    bool ok = true;

    if (!map)
        return (parse->feature->emits >> AGG_OUTPUT_DEFICIT & 1) == 0 ||
               agg_parse__tell(parse, fr_yaml_get(parse->map, "emit"), "emit",
                               "a deficit is against targets; say targets, as in { new: 0.2, known: 0.8 }");
    if (map->kind != FR_YAML_MAP || map->count == 0 || map->count > AGG_TARGETS_MAX)
        return fr_diagnostics_add(parse->diagnostics, map,
                                  "features.%s.targets: should be a map of 1 to %d shares, { new: 0.2, known: 0.8 }",
                                  parse->feature->name, AGG_TARGETS_MAX);
    targets = fr_arena_take_zeroed(parse->catalogue->arena, (size_t)map->count, sizeof *targets);
    for (int i = 0; targets && i < map->count; i++) {
        ok = parse_target(parse, map, i, targets) && ok;
        sum += targets[i].share;
    }
    if (targets && ok && fabs(sum - 1) > SUM_ERROR)
        ok = fr_diagnostics_add(parse->diagnostics, map, "features.%s.targets: they add up to %.9g, not to 1; mend one of them",
                                parse->feature->name, sum);
    parse->feature->targets = targets;
    parse->feature->target_count = targets ? map->count : 0;
    return ok && targets;
}

/* ---- settings ---- */

static bool parse_share(struct agg_parse *parse)
{
    static const char *const scopes[] = {"global", "parent"};
    const struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    int scope = 0;
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST);

    if (!of)
        ok = agg_parse__tell(parse, parse->at, "of", "missing; name a counter of the entity, as in creator_shown");
    ok = fr_yaml_choice(parse->map, "scope", scopes, 2, &scope, parse->diagnostics) && ok;
    parse->feature->is_of_parent = scope == 1;
    return parse_targets(parse) && ok;
}

static bool link_own(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    const struct fr_yaml *at = fr_yaml_get(parse->map, "of");
    struct agg_feature *counter = agg_parse__feature(parse, at, "of", false);

    feature->operands[AGG_OWN][NUMERATOR] = counter;
    if (!counter)
        return false;
    if (counter->aggregate != AGG_COUNT && counter->aggregate != AGG_SUM && counter->aggregate != AGG_IPS)
        return agg_parse__tell(parse, at, "of", "is neither a count nor a sum nor an ips");
    for (int i = 0; i < feature->window_count; i++) {
        if (!agg_feature__window(counter, feature->windows_ms[i]))
            return fr_diagnostics_add(parse->diagnostics, at,
                                      "features.%s.of: %s has no window %s; add it there, or take it out here", feature->name,
                                      counter->name, feature->windows[i].text);
    }
    return true;
}

/* The same counter of all that the scope has of the kind. */
static bool link_whole(struct agg_parse *parse, struct agg_entity *scope)
{
    struct agg_feature *feature = parse->feature, *own = feature->operands[AGG_OWN][NUMERATOR], *whole;
    char suffix[2 * AGG_NAME_MAX];

    snprintf(suffix, sizeof suffix, "(whole %s)", scope->name);
    whole = agg_feature__hidden(parse->catalogue, own, scope, suffix, own->aggregate);
    if (!whole)
        return fr_diagnostics_add(parse->diagnostics, parse->at, "features.%s: out of memory, or too many features",
                                  feature->name);
    agg_feature__narrow(whole, parse->catalogue, feature->entity);
    for (int i = 0; i < feature->window_count; i++) {
        if (!agg_feature__add_window(whole, &feature->windows[i]))
            return fr_diagnostics_add(parse->diagnostics, parse->at,
                                      "features.%s.windows: with other shares of %s more than %d", feature->name, own->name,
                                      AGG_WINDOWS_MAX);
    }
    feature->operands[scope_of(feature)][DENOMINATOR] = whole;
    return true;
}

static bool link_share(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;

    if (!link_own(parse))
        return false;
    if (feature->entity->listed >= 0)
        return agg_parse__tell(parse, fr_yaml_get(parse->map, "entity"), "entity",
                               "an item has many of these, by what a table lists; shares of it would not add up");
    if (feature->is_of_parent && !agg_parse__parent(parse, "scope", feature->entity->parent))
        return false;
    feature->target_place = place_in_scope(feature);
    if (feature->targets && feature->target_place < 0)
        return agg_parse__tell(parse, fr_yaml_get(parse->map, "targets"), "targets",
                               "the entity's key has not one field more than its scope's: which do they name?");
    if (feature->is_of_parent)
        return link_whole(parse, feature->entity->parent);
    return agg_catalogue__global(parse->catalogue) && link_whole(parse, parse->catalogue->global);
}

/* Not the targets: nothing is kept by them, so they may change at any time. */
static void define_share(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; %s in %s", feature->operands[AGG_OWN][NUMERATOR]->name,
                            feature->is_of_parent ? feature->entity->parent->name : "all");
}

static const char *const keys[] = {"of", "windows", "scope", "targets", NULL};

const struct agg_type agg_type__share = {.name = "share",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_DEFICIT,
                                         .parse = parse_share,
                                         .link = link_share,
                                         .define = define_share,
                                         .of_operands = reckon};
