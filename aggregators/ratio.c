/*
 * `ratio`: two counters of an entity over each other, drawn towards a prior: the parent's ratio, itself drawn towards that of all
 * events (ALGORITHMS.md 13; docs/values.md). It keeps nothing itself: the measures of parent and all are hidden features.
 */
#include "ratio.h"

#include <math.h>

#define Z_DEFAULT 1.96 /* 95 % */

enum { NUMERATOR, DENOMINATOR };

/* ---- value ---- */

double agg_ratio__take(const struct agg_ratio_column *column, const double *operands, enum agg_prior prior, int side)
{
    int place = column->operands[prior][side];

    return place < 0 ? 0 : operands[place];
}

/* 0/0 is what it is drawn towards. */
static double drawn(double numerator, double denominator, double strength, double towards)
{
    double whole = denominator + strength;

    return fabs(whole) > 0 ? (numerator + strength * towards) / whole : towards;
}

double agg_ratio__prior(const struct agg_ratio_column *column, const double *operands)
{
    const struct agg_feature *feature = column->feature;
    double towards;

    if (!feature->operands[AGG_GLOBAL][NUMERATOR])
        return 0;
    towards = drawn(agg_ratio__take(column, operands, AGG_GLOBAL, NUMERATOR),
                    agg_ratio__take(column, operands, AGG_GLOBAL, DENOMINATOR), 0, 0);
    for (enum agg_prior prior = AGG_GLOBAL - 1; prior >= AGG_PARENT; prior--) {
        if (feature->operands[prior][NUMERATOR])
            towards = drawn(agg_ratio__take(column, operands, prior, NUMERATOR),
                            agg_ratio__take(column, operands, prior, DENOMINATOR), feature->strength, towards);
    }
    return towards;
}

const struct agg_feature *agg_ratio__operand(const struct agg_feature *feature, const struct agg_output_column *output,
                                             enum agg_prior prior, int side)
{
    if (output->output == AGG_OUTPUT_AGE)
        return prior == AGG_OWN ? feature->operand_ages[side] : NULL;
    if (output->output == AGG_OUTPUT_CHAIN && (prior != output->prior || side != output->side))
        return NULL;
    return feature->operands[prior][side];
}

/* Standard deviation of the beta distribution that the counts and the prior make. */
static double deviation(double numerator, double denominator, double strength, double prior)
{
    double q = fmin(fmax(prior, 0), 1);
    double a = fmax(fmin(numerator, denominator), 0) + strength * q;
    double b = fmax(denominator - numerator, 0) + strength * (1 - q);
    double sum = a + b;

    return fabs(sum) > 0 ? sqrt(a * b / (sum * sum * (sum + 1))) : 0;
}

/*
 * Wilson's bounds of the share that the same two make: where the true one lies if what is seen is `z` standard deviations off. Of
 * nothing, all from 0 to 1.
 */
static double bound(double numerator, double denominator, double strength, double prior, double z)
{
    double q = fmin(fmax(prior, 0), 1);
    double a = fmax(fmin(numerator, denominator), 0) + strength * q;
    double whole = a + fmax(denominator - numerator, 0) + strength * (1 - q);
    double share, middle;

    if (!(whole > 0))
        return z < 0 ? 0 : 1;
    share = a / whole;
    middle = share + z * z / (2 * whole);
    return fmin(fmax((middle + z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))) / (1 + z * z / whole), 0),
                1);
}

/* The later of two ages, where −1 is never. */
static double later(double a, double b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static float value(const struct agg_ratio_column *column, const double *operands, uint64_t id)
{
    double numerator = agg_ratio__take(column, operands, AGG_OWN, NUMERATOR);
    double denominator = agg_ratio__take(column, operands, AGG_OWN, DENOMINATOR);
    double strength = column->feature->strength;

    (void)id;
    switch (column->output->output) {
    case AGG_OUTPUT_CHAIN:
        return (float)agg_ratio__take(column, operands, column->output->prior, column->output->side);
    case AGG_OUTPUT_N:
        return (float)denominator;
    case AGG_OUTPUT_SD:
        return (float)deviation(numerator, denominator, strength, agg_ratio__prior(column, operands));
    case AGG_OUTPUT_LOWER:
        return (float)bound(numerator, denominator, strength, agg_ratio__prior(column, operands), -column->feature->z);
    case AGG_OUTPUT_UPPER:
        return (float)bound(numerator, denominator, strength, agg_ratio__prior(column, operands), column->feature->z);
    case AGG_OUTPUT_AGE:
        return (float)later(numerator, denominator);
    default:
        return (float)drawn(numerator, denominator, strength, agg_ratio__prior(column, operands));
    }
}

/* ---- settings ---- */

/* A chain, `[creator, category, global]`: the nearest first. All events are behind the last, said or not. */
static bool parse_chain(struct agg_parse *parse, const struct fr_yaml *list)
{
    struct agg_feature *feature = parse->feature;
    const char *names[AGG_ENTITIES_MAX];
    int count = list->count;

    if (count > 0 && list->values[count - 1]->kind == FR_YAML_SCALAR && fr_slice_is(list->values[count - 1]->text, "global"))
        count--;
    if (list->count < 1 || count >= AGG_GLOBAL)
        return agg_parse__tell(parse, list, "prior",
                               "a chain has at most three entities, the nearest first: [creator, category]");
    for (int i = 0; i < parse->catalogue->visible_count; i++)
        names[i] = parse->catalogue->entities[i]->name;
    for (int i = 0; i < count; i++) {
        const struct fr_yaml *at = list->values[i];
        struct agg_entity *entity = at->kind == FR_YAML_SCALAR ? agg_catalogue__entity(parse->catalogue, at->text) : NULL;

        if (at->kind != FR_YAML_SCALAR)
            return agg_parse__tell(parse, at, "prior", "should be a list of entities, [creator, category]");
        if (!entity || entity->is_hidden)
            return agg_parse__tell_nearest(parse, at, "prior", names, parse->catalogue->visible_count);
        for (int before = AGG_PARENT; before <= i; before++)
            if (feature->priors[before] == entity)
                return agg_parse__tell(parse, at, "prior", "names an entity twice");
        feature->priors[AGG_PARENT + i] = entity;
    }
    return true;
}

/* Leaves feature->priors; whether a read can tell which entities those are, link says. */
static bool parse_prior(struct agg_parse *parse, bool *has_prior)
{
    static const char *const priors[] = {"parent", "global"};
    const struct fr_yaml *at = fr_yaml_get(parse->map, "prior");
    int prior = -1;

    *has_prior = at != NULL;
    if (at && at->kind == FR_YAML_LIST)
        return parse_chain(parse, at);
    if (!fr_yaml_choice(parse->map, "prior", priors, 2, &prior, parse->diagnostics))
        return false;
    parse->feature->is_of_parent = prior == 0;
    return true;
}

static bool parse_ratio(struct agg_parse *parse)
{
    const struct fr_yaml *of = fr_yaml_get(parse->map, "of"), *strength = fr_yaml_get(parse->map, "strength");
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST), has_prior;

    if (!of)
        ok = agg_parse__tell(parse, parse->at, "of", "missing; name two counters, [item_likes, item_watches]");
    else if (of->kind != FR_YAML_LIST || of->count != 2)
        ok = agg_parse__tell(parse, of, "of", "should name two counters, [item_likes, item_watches]");
    ok = parse_prior(parse, &has_prior) && ok;
    ok = fr_yaml_double(parse->map, "strength", 0, 1e12, &parse->feature->strength, parse->diagnostics) && ok;
    parse->feature->z = Z_DEFAULT;
    ok = fr_yaml_double(parse->map, "z", 0.1, 10, &parse->feature->z, parse->diagnostics) && ok;
    parse->feature->has_prior = has_prior;
    if (!has_prior && strength)
        ok = agg_parse__tell(parse, strength, "strength",
                             "without a prior there is nothing to be drawn to; take it out, or say prior");
    if (has_prior && !strength)
        ok = agg_parse__tell(parse, parse->at, "strength", "missing; how many events the prior weighs, as in 50");
    if (!has_prior && (parse->feature->emits >> AGG_OUTPUT_CHAIN & 1) != 0)
        ok = agg_parse__tell(parse, parse->at, "emit", "chain: without a prior there is none; take it out, or say prior");
    return ok;
}

bool agg_ratio__link(struct agg_parse *parse, int side)
{
    struct agg_feature *feature = parse->feature;
    const struct fr_yaml *at = fr_yaml_get(parse->map, "of")->values[side];
    struct agg_feature *counter = agg_parse__feature(parse, at, "of", false);

    feature->operands[AGG_OWN][side] = counter;
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

/* The same measure of another entity. */
static bool link_hidden(struct agg_parse *parse, enum agg_prior prior, struct agg_entity *entity)
{
    struct agg_feature *feature = parse->feature;

    for (int side = 0; side < 2; side++) {
        struct agg_feature *own = feature->operands[AGG_OWN][side];
        struct agg_feature *hidden = agg_feature__hidden(parse->catalogue, own, entity, entity->name, own->aggregate);

        feature->operands[prior][side] = hidden;
        for (int i = 0; hidden && i < feature->window_count; i++) {
            if (!agg_feature__add_window(hidden, &feature->windows[i]))
                return fr_diagnostics_add(parse->diagnostics, parse->at,
                                          "features.%s.windows: with other ratios of %s more than %d", feature->name, own->name,
                                          AGG_WINDOWS_MAX);
        }
        if (!hidden)
            return fr_diagnostics_add(parse->diagnostics, parse->at, "features.%s: out of memory, or too many features",
                                      feature->name);
    }
    return true;
}

static bool link_ages(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;

    if ((feature->emits >> AGG_OUTPUT_AGE & 1) == 0)
        return true;
    for (int side = 0; side < 2; side++) {
        struct agg_feature *own = feature->operands[AGG_OWN][side];

        feature->operand_ages[side] = agg_feature__hidden(parse->catalogue, own, own->entity, "age", AGG_AGE);
        if (!feature->operand_ages[side])
            return false;
    }
    return true;
}

static bool link_ratio(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = agg_ratio__link(parse, NUMERATOR);

    ok = agg_ratio__link(parse, DENOMINATOR) && ok;
    if (!ok || !link_ages(parse))
        return false;
    if (!feature->has_prior)
        return true;
    if (feature->is_of_parent && !feature->entity->parent)
        return fr_diagnostics_add(parse->diagnostics, fr_yaml_get(parse->map, "prior"),
                                  "features.%s.prior: entities.%s has no parent; give it one, or use global", feature->name,
                                  feature->entity->name);
    if (feature->is_of_parent)
        feature->priors[AGG_PARENT] = feature->entity->parent;
    for (enum agg_prior prior = AGG_PARENT; prior < AGG_GLOBAL && feature->priors[prior]; prior++) {
        if (!agg_parse__parent(parse, "prior", feature->priors[prior]) || !link_hidden(parse, prior, feature->priors[prior]))
            return false;
    }
    return agg_catalogue__global(parse->catalogue) && link_hidden(parse, AGG_GLOBAL, parse->catalogue->global);
}

static void define_ratio(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; %s over %s; prior", feature->operands[AGG_OWN][NUMERATOR]->name,
                            feature->operands[AGG_OWN][DENOMINATOR]->name);
    for (int i = AGG_PARENT; i < AGG_GLOBAL && feature->priors[i] && !feature->is_of_parent; i++)
        fr_buffer_append_format(text, " %s", feature->priors[i]->name);
    if (!feature->priors[AGG_PARENT] || feature->is_of_parent)
        fr_buffer_append_format(text, " %s", feature->is_of_parent ? "parent" : feature->has_prior ? "global" : "none");
    fr_buffer_append_format(text, " %.17g", feature->strength);
    if (feature->z < Z_DEFAULT || feature->z > Z_DEFAULT) /* the others' text is that of versions that knew no bounds */
        fr_buffer_append_format(text, "; z %.17g", feature->z);
}

static const char *const keys[] = {"of", "windows", "prior", "strength", "z", NULL};

const struct agg_type agg_type__ratio = {.name = "ratio",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_SD |
                                                  1 << AGG_OUTPUT_AGE | 1 << AGG_OUTPUT_LOWER | 1 << AGG_OUTPUT_UPPER |
                                                  1 << AGG_OUTPUT_CHAIN,
                                         .parse = parse_ratio,
                                         .link = link_ratio,
                                         .define = define_ratio,
                                         .of_operands = value};
