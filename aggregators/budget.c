/*
 * `budget`: what is left of an allowance: a part of one counter, and so many beside it, less what another has spent. For exploration: how
 * many impressions of a user, an item or a scene may still go to what nobody knows yet (docs/values.md). It keeps nothing itself.
 */
#include "ratio.h"

enum { SPENT, WHOLE };

static float left(const struct agg_ratio_column *column, const double *operands, uint64_t id)
{
    const struct agg_feature *feature = column->feature;

    (void)id;
    return (float)(feature->part * agg_ratio__take(column, operands, AGG_OWN, WHOLE) + feature->plus -
                   agg_ratio__take(column, operands, AGG_OWN, SPENT));
}

static bool parse_budget(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    const struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST);

    if (!of)
        ok = agg_parse__tell(parse, parse->at, "of", "missing; name what spends and what it is a part of, [explored, shown]");
    else if (of->kind != FR_YAML_LIST || of->count != 2)
        ok = agg_parse__tell(parse, of, "of",
                             "should name two counters, what spends and what it is a part of: [explored, shown]");
    ok = fr_yaml_double(parse->map, "share", 0, 1, &feature->part, parse->diagnostics) && ok;
    ok = fr_yaml_double(parse->map, "plus", 0, 1e12, &feature->plus, parse->diagnostics) && ok;
    if (ok && !fr_yaml_get(parse->map, "share") && !fr_yaml_get(parse->map, "plus"))
        ok = agg_parse__tell(parse, parse->at, "share",
                             "missing; say which part may be spent, as in 0.05, or how many, as plus: 100");
    return ok;
}

static bool link_budget(struct agg_parse *parse)
{
    bool ok = agg_ratio__link(parse, SPENT);

    return agg_ratio__link(parse, WHOLE) && ok;
}

static void define_budget(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; %.17g of %s and %.17g less %s", feature->part, feature->operands[AGG_OWN][WHOLE]->name,
                            feature->plus, feature->operands[AGG_OWN][SPENT]->name);
}

static const char *const keys[] = {"of", "windows", "share", "plus", NULL};

const struct agg_type agg_type__budget = {.name = "budget",
                                          .keys = keys,
                                          .emits = 1 << AGG_OUTPUT_VALUE,
                                          .parse = parse_budget,
                                          .link = link_budget,
                                          .define = define_budget,
                                          .of_operands = left};
