/*
 * `watch_rank`: how long an entity's items are watched beside all of about their length (ALGORITHMS.md 6, D2Q: the quantile of the watch time
 * within the bucket of the duration, which long items can't win by being long). Kept are watches by (length, time watched); the
 * curve gives each such bucket its middle rank among all watches of the length, and the value is the mean of an entity's ranks.
 */
#include "curves.h"

#include <math.h>

enum { LENGTHS = PROTO_WATCHED_LENGTHS, TIMES = PROTO_WATCHED_TIMES };

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    return agg_buckets__add(cell, input,
                            (uint32_t)proto_event_watched(input->event)); /* it has a length: see parse_watch_rank() */
}

static void draw(const struct agg_feature *feature, const uint64_t *all, double *curve)
{
    (void)feature;
    for (int length = 0; length < LENGTHS; length++) {
        const uint64_t *times = all + length * TIMES;
        double sum = 0, below = 0;

        for (int i = 0; i < TIMES; i++)
            sum += (double)times[i];
        for (int i = 0; i < TIMES; i++) {
            curve[length * TIMES + i] = sum > 0 ? (below + (double)times[i] / 2) / sum : 0.5;
            below += (double)times[i];
        }
    }
}

static double value(const struct agg_feature *feature, const uint64_t *own, const double *curve, enum agg_output output)
{
    double n = 0, sum = 0, squares = 0, whole;

    for (int i = 0; i < LENGTHS * TIMES; i++) {
        n += (double)own[i];
        sum += (double)own[i] * curve[i];
        squares += (double)own[i] * curve[i] * curve[i];
    }
    whole = n + feature->strength;
    if (output == AGG_OUTPUT_N)
        return n;
    if (output == AGG_OUTPUT_SD)
        return n > 0 ? sqrt(fmax(squares - sum * (sum / n), 0)) / whole : 0;
    return whole > 0 ? (sum + feature->strength / 2) / whole : 0.5;
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    const uint64_t *words = body->bytes;

    (void)feature;
    piece->form = "watches";
    for (uint32_t i = 0; i < body->count; i++)
        piece->count += agg_bucket__events(words[i]);
    piece->value = (double)piece->count;
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* An item has one length; whoever has several items has any. */
static int64_t bytes_most(const struct agg_feature *feature)
{
    return agg_curves__bytes(feature, feature->entity->key[0] == PROTO_FIELD_ITEM_ID ? TIMES : LENGTHS * TIMES);
}

/* ---- settings ---- */

static bool parse_watch_rank(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = agg_panes__parse_windows(parse);

    if (!fr_yaml_get(parse->map, "actions"))
        feature->actions = UINT32_C(1) << proto_action_number(fr_slice_of("watch"));
    ok = agg_parse__narrow(parse, "duration_s > 0") && ok;
    return fr_yaml_double(parse->map, "strength", 0, 1e12, &feature->strength, parse->diagnostics) && ok;
}

static void define_watch_rank(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; strength %.17g", feature->strength);
}

static const struct agg_curve_type curve = {.draw = draw, .value = value};
static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .prune = agg_panes__prune,
                                           .encode = agg_panes__encode,
                                           .decode = agg_panes__decode,
                                           .digest = agg_panes__digest,
                                           .value = agg_curves__nothing,
                                           .explain = explain,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "windows", "strength", NULL};

const struct agg_type agg_type__watch_rank = {.name = "watch_rank",
                                              .keys = keys,
                                              .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_SD |
                                                       1 << AGG_OUTPUT_AGE,
                                              .parse = parse_watch_rank,
                                              .link = agg_curves__link,
                                              .define = define_watch_rank,
                                              .cells = &cells,
                                              .panes = &agg_buckets__panes,
                                              .curve = &curve};

_Static_assert(LENGTHS *TIMES <= AGG_BUCKETS_MOST, "a bucket for each length and time");
