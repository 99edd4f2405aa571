/*
 * `coec`: clicks over position-expected clicks (ALGORITHMS.md 17). Of each entity impressions and clicks are kept by position; the curve,
 * which click rate each position has, is that of all events (curves.h). The value is the entity's clicks over what its impressions
 * would have got had it been like everything else at their positions.
 *
 * A bucket: ((clicked, scene) × places + place). Position 0, also an absent one, is a place of its own; those beyond the last one
 * are the last one.
 */
#include "curves.h"

#include <math.h>

enum { POSITIONS_DEFAULT = 50, POSITIONS_MOST = 100, SHOWN = 0, CLICKED = 1 };

static uint32_t scenes_of(const struct agg_feature *feature)
{
    return feature->is_by_scene ? PROTO_SCENES : 1;
}

/* How many buckets each of the two sides has. */
static uint32_t side_of(const struct agg_feature *feature)
{
    return scenes_of(feature) * feature->places;
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    const struct agg_feature *feature = cell->feature;
    const struct proto_event *event = input->event;
    uint32_t place = event->position < feature->places ? event->position : feature->places - 1;
    uint32_t scene = feature->is_by_scene ? event->scene : 0; /* a known one: the feature took it */
    uint32_t side = (feature->ups >> event->action & 1) != 0 ? SHOWN : CLICKED;

    return agg_buckets__add(cell, input, (side * scenes_of(feature) + scene) * feature->places + place);
}

/* A rate for each bucket of what is shown; of what was never shown 0. */
static void draw(const struct agg_feature *feature, const uint64_t *all, double *curve)
{
    uint32_t side = side_of(feature);

    for (uint32_t i = 0; i < side; i++)
        curve[i] = all[i] > 0 ? (double)all[CLICKED * side + i] / (double)all[i] : 0;
}

static double value(const struct agg_feature *feature, const uint64_t *own, const double *curve, enum agg_output output)
{
    uint32_t side = side_of(feature);
    double expected = feature->strength, clicks = feature->strength;
    uint64_t shown = 0;

    for (uint32_t i = 0; i < side; i++) {
        shown += own[i];
        expected += (double)own[i] * curve[i];
        clicks += (double)own[CLICKED * side + i];
    }
    if (output == AGG_OUTPUT_N)
        return (double)shown;
    if (output == AGG_OUTPUT_SD)
        return expected > 0 ? sqrt(clicks) / expected : 0;
    return expected > 0 ? clicks / expected : 1;
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    const uint64_t *words = body->bytes;
    uint64_t clicks = 0;

    piece->form = "positions";
    for (uint32_t i = 0; i < body->count; i++) {
        if (agg_bucket__of(words[i]) < side_of(feature))
            piece->count += agg_bucket__events(words[i]);
        else
            clicks += agg_bucket__events(words[i]);
    }
    piece->value = (double)clicks;
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    return agg_curves__bytes(feature, 2 * (int64_t)side_of(feature));
}

/* ---- settings ---- */

static bool parse_side(struct agg_parse *parse, const char *key, const char *otherwise, uint32_t *bits)
{
    if (fr_yaml_get(parse->map, key))
        return agg_parse__actions(parse, key, bits);
    *bits = UINT32_C(1) << proto_action_number(fr_slice_of(otherwise));
    return true;
}

static bool parse_coec(struct agg_parse *parse)
{
    static const char *const curves[] = {"global", "scene"};
    struct agg_feature *feature = parse->feature;
    int64_t positions = POSITIONS_DEFAULT;
    int curve = 0;
    uint32_t clicked = 0;
    bool ok = agg_panes__parse_windows(parse);

    ok = parse_side(parse, "shown", "impression", &feature->ups) && ok;
    ok = parse_side(parse, "clicked", "click", &clicked) && ok;
    if (ok && (feature->ups & clicked) != 0)
        ok = agg_parse__tell(parse, fr_yaml_get(parse->map, fr_yaml_get(parse->map, "clicked") ? "clicked" : "shown"),
                             "clicked", "an action is in 'shown' too; it can't be both");
    feature->actions = feature->ups | clicked;
    ok = fr_yaml_int(parse->map, "positions", 1, POSITIONS_MOST, &positions, parse->diagnostics) && ok;
    ok = fr_yaml_choice(parse->map, "curve", curves, 2, &curve, parse->diagnostics) && ok;
    feature->places = (uint32_t)positions + 1;
    feature->is_by_scene = curve == 1;
    return fr_yaml_double(parse->map, "strength", 0, 1e12, &feature->strength, parse->diagnostics) && ok;
}

static void define_coec(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; shown %x; positions %d; curve %s; strength %.17g", feature->ups, (int)feature->places - 1,
                            feature->is_by_scene ? "scene" : "global", feature->strength);
}

static const struct agg_curve_type curve = {.draw = draw, .value = value};
static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = agg_panes__merge,
                                           .prune = agg_panes__prune,
                                           .encode = agg_panes__encode,
                                           .decode = agg_panes__decode,
                                           .digest = agg_panes__digest,
                                           .value = agg_curves__nothing,
                                           .explain = explain,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"shown", "clicked", "scenes", "where", "windows", "positions", "curve", "strength", NULL};

const struct agg_type agg_type__coec = {.name = "coec",
                                        .keys = keys,
                                        .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_SD |
                                                 1 << AGG_OUTPUT_AGE,
                                        .parse = parse_coec,
                                        .link = agg_curves__link,
                                        .define = define_coec,
                                        .cells = &cells,
                                        .panes = &agg_buckets__panes,
                                        .curve = &curve};

_Static_assert(2 * PROTO_SCENES * (POSITIONS_MOST + 1) <= AGG_BUCKETS_MOST, "a bucket for each side, scene and place");
