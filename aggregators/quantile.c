/*
 * `quantile`: the value at a rank, within 1 %. A DDSketch (ALGORITHMS.md 6; Masson and others, VLDB 2019): value x counts in bucket
 * ⌈log_γ x⌉, whose value is 2γ^i/(γ + 1), so that everything in it is within α = 0.9 % of that; the rest up to 1 % is room for
 * float32. Values are clamped to [10^−3, 10^9], which makes 1,536 buckets.
 *
 * The bucket is the same on every machine, whatever its logarithm says of the last bit: that only tells where to look, and powers of γ
 * made of IEEE products, always in the same order, decide.
 */
#include "buckets.h"

#include <math.h>
#include <stdlib.h>

#define ALPHA 0.009
#define VALUE_LEAST 1e-3
#define VALUE_MOST 1e9

enum { BUCKET_LEAST = -383, BUCKETS = AGG_BUCKETS_MOST };

static const double gamma_ratio = (1 + ALPHA) / (1 - ALPHA);

static double power(int exponent)
{
    double power = 1, square = gamma_ratio;

    for (unsigned bits = (unsigned)abs(exponent); bits != 0; bits >>= 1) {
        if ((bits & 1) != 0)
            power *= square;
        square *= square;
    }
    return exponent < 0 ? 1 / power : power;
}

/* From 0. A NaN, which proto refuses, is a least. */
static uint32_t bucket_of(double value)
{
    int exponent;

    value = value >= VALUE_LEAST ? fmin(value, VALUE_MOST) : VALUE_LEAST;
    exponent = (int)ceil(log(value) / log(gamma_ratio));
    while (value > power(exponent))
        exponent++;
    while (value <= power(exponent - 1))
        exponent--;
    return (uint32_t)(exponent - BUCKET_LEAST);
}

/* ---- cells ---- */

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    double number = cell->feature->of == PROTO_FIELD_DURATION_S ? input->event->duration_s : input->event->value;

    return agg_buckets__add(cell, input, bucket_of(number));
}

/* ---- value ---- */

struct distribution {
    uint64_t all, events[BUCKETS];
};

static bool add_body(void *user, const struct agg_body *body)
{
    struct distribution *distribution = user;
    const uint64_t *words = body->bytes;

    for (uint32_t i = 0; i < body->count; i++) {
        distribution->events[agg_bucket__of(words[i])] += agg_bucket__events(words[i]);
        distribution->all += agg_bucket__events(words[i]);
    }
    return true;
}

static float at_rank(const struct agg_feature *feature, const struct distribution *distribution)
{
    uint64_t rank, before = 0;
    int at = 0;

    if (distribution->all == 0)
        return 0;
    rank = (uint64_t)floor(feature->q * (double)(distribution->all - 1));
    while (at < BUCKETS - 1 && before + distribution->events[at] <= rank)
        before += distribution->events[at++];
    return (float)(2 * power(at + BUCKET_LEAST) / (gamma_ratio + 1));
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    struct distribution distribution;

    (void)output;
    if (memory.length == 0)
        return 0;
    memset(&distribution, 0, sizeof distribution);
    agg_panes__each(memory, window, time_ms, add_body, &distribution);
    return at_rank(feature, &distribution);
}

/* The quantile of the pane by itself. */
static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    struct distribution distribution;

    memset(&distribution, 0, sizeof distribution);
    add_body(&distribution, body);
    piece->form = "buckets";
    piece->count = distribution.all;
    piece->value = (double)at_rank(feature, &distribution);
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_quantile(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_VALUE, PROTO_FIELD_DURATION_S, 0};
    bool ok = agg_panes__parse_windows(parse);

    ok = agg_parse__of(parse, fields) && ok;
    if (!fr_yaml_get(parse->map, "q"))
        return agg_parse__tell(parse, parse->at, "q", "missing; 0.5 is the median, 0.9 what nine in ten stay below");
    return fr_yaml_double(parse->map, "q", 0, 1, &parse->feature->q, parse->diagnostics) && ok;
}

static void define_quantile(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; of %s; q %.17g", proto_field_name(feature->of), feature->q);
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = agg_panes__merge,
                                           .prune = agg_panes__prune,
                                           .encode = agg_panes__encode,
                                           .decode = agg_panes__decode,
                                           .digest = agg_panes__digest,
                                           .value = value,
                                           .explain = explain,
                                           .bytes_most = agg_panes__bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "windows", "of", "q", NULL};

const struct agg_type agg_type__quantile = {.name = "quantile",
                                            .keys = keys,
                                            .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                            .parse = parse_quantile,
                                            .define = define_quantile,
                                            .cells = &cells,
                                            .panes = &agg_buckets__panes};
