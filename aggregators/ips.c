/*
 * `ips`: inverse propensity scoring. A sum in which an event weighs its action's weight over the probability with which it was shown,
 * capped by a floor below which no probability is believed. Over the same of impressions (`ratio`) it is the self-normalised estimate.
 * It is a measure of the rows like any sum: in micro-units, exact, in any order.
 */
#include "ips.h"

#include "type.h"

#include <math.h>

#define FLOOR_DEFAULT 0.01
#define AMOUNT_MOST 1e12 /* as of a value: what is beyond counts as that */

int64_t agg_ips__micro(const struct agg_feature *feature, const struct proto_event *event)
{
    double propensity = (double)event->propensity, amount = feature->weights[event->action];

    if (feature->of != PROTO_FIELD_PROPENSITY)
        amount *= feature->of == PROTO_FIELD_DURATION_S ? event->duration_s : event->value;
    amount /= propensity > feature->floor ? propensity : feature->floor;
    if (isnan(amount))
        return 0; /* proto refuses what would make one */
    return llround(fmax(-AMOUNT_MOST, fmin(amount, AMOUNT_MOST)) * 1e6);
}

/* Without `of` each event is one: the field that says how much it weighs stands for that. */
static bool parse_ips(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_PROPENSITY, PROTO_FIELD_VALUE, PROTO_FIELD_DURATION_S, 0};
    struct agg_feature *feature = parse->feature;
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST);

    ok = agg_parse__of(parse, fields) && ok;
    ok = agg_parse__weights(parse) && ok;
    feature->floor = FLOOR_DEFAULT;
    ok = fr_yaml_double(parse->map, "floor", 1e-4, 1, &feature->floor, parse->diagnostics) && ok;
    return agg_parse__narrow(parse, "propensity > 0 and propensity <= 1") && ok;
}

static void define_ips(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; of %s; floor %.17g", proto_field_name(feature->of), feature->floor);
    agg_feature__define_weights(feature, text);
}

static const char *const keys[] = {"actions", "scenes", "where", "windows", "of", "floor", "weights", NULL};

const struct agg_type agg_type__ips = {.name = "ips",
                                       .keys = keys,
                                       .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                       .parse = parse_ips,
                                       .define = define_ips};
