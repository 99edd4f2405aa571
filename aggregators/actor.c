/*
 * `actor`: how much like a machine somebody acts, from the latest records of a sequence: how fast, how much on one and the same, how evenly
 * spaced. It keeps nothing; what it shows is a function of the records that the sequence shows.
 */
#include "type.h"

#include <math.h>

enum { EVENTS_MOST = 256, EVENTS_DEFAULT = 50, INTERVALS_LEAST = 8, FAST_DEFAULT = 10, SCALES = 64, SCALES_USUAL = 16 };
enum show { SHOW_RATE, SHOW_REPETITION, SHOW_REGULARITY, SHOW_SCORE, SHOWS };
static const char *const shows[SHOWS] = {"rate", "repetition", "regularity", "score"};

struct acts { /* newest first */
    int64_t times_ms[EVENTS_MOST];
    uint64_t ids[EVENTS_MOST];
    int count;
};

static void collect(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms, struct acts *acts)
{
    const struct agg_feature *source = feature->source;
    uint32_t kept = rings ? rings[source->sequence].count : 0;

    acts->count = 0;
    while ((uint32_t)acts->count < kept && acts->count < (int)feature->places) {
        uint32_t record = kept - 1 - (uint32_t)acts->count;
        const uint64_t *order = agg_sequence__record(rings, source->entity, source->sequence, record);

        if (agg_entity__is_expired(source->entity, (int64_t)order[0], time_ms))
            break; /* and all that are older */
        acts->times_ms[acts->count] = (int64_t)order[0];
        acts->ids[acts->count++] = order[feature->match_word];
    }
}

/* Events a minute; what takes less than a second counts as a second. */
static double rate(const struct acts *acts)
{
    int64_t span_ms = acts->count > 1 ? acts->times_ms[0] - acts->times_ms[acts->count - 1] : 0;

    return acts->count > 1 ? (acts->count - 1) * 60000.0 / (double)(span_ms > 1000 ? span_ms : 1000) : 0;
}

/* The share of the id that most are on; of none is none. */
static double repetition(const struct acts *acts)
{
    int most = 0;

    for (int i = 0; i < acts->count; i++) {
        int same = 0;

        for (int k = 0; k < acts->count && acts->ids[i] != 0; k++)
            same += acts->ids[k] == acts->ids[i];
        most = same > most ? same : most;
    }
    return acts->count > 1 ? (double)most / acts->count : 0;
}

/* How little the intervals differ: 1 less their entropy by powers of 2 of milliseconds, over the most that so many have. */
static double regularity(const struct acts *acts)
{
    int intervals[SCALES + 1] = {0}, count = acts->count - 1;
    double entropy = 0;

    if (count < INTERVALS_LEAST)
        return 0;
    for (int i = 0; i < count; i++) {
        uint64_t apart_ms = (uint64_t)(acts->times_ms[i] - acts->times_ms[i + 1]);

        intervals[apart_ms == 0 ? 0 : 64 - __builtin_clzll(apart_ms)]++;
    }
    for (int i = 0; i <= SCALES; i++) {
        double share = (double)intervals[i] / count;

        entropy -= intervals[i] > 0 ? share * log(share) : 0;
    }
    return fmax(0, 1 - entropy / log(count < SCALES_USUAL ? count : SCALES_USUAL));
}

static float value(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms)
{
    struct acts acts;
    double fast;

    collect(feature, rings, time_ms, &acts);
    switch ((enum show)feature->show) {
    case SHOW_RATE:
        return (float)rate(&acts);
    case SHOW_REPETITION:
        return (float)repetition(&acts);
    case SHOW_REGULARITY:
        return (float)regularity(&acts);
    default:
        fast = rate(&acts);
        return (float)(fast / (fast + feature->strength) * (1 - (1 - repetition(&acts)) * (1 - regularity(&acts))));
    }
}

/* ---- settings ---- */

static bool parse_field(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_ITEM_ID, PROTO_FIELD_USER_ID,     PROTO_FIELD_CREATOR_ID,
                                     PROTO_FIELD_ROOM_ID, PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_REGION};
    enum { FIELDS = sizeof fields };
    struct fr_yaml *at = fr_yaml_get(parse->map, "field");
    int field = !at ? PROTO_FIELD_ITEM_ID : at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    const char *names[FIELDS];

    for (int i = 0; i < FIELDS; i++) {
        names[i] = proto_field_name(fields[i]);
        if (fields[i] == field)
            parse->feature->match_word = agg_order__word(field);
    }
    if (parse->feature->match_word > 0)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "field", "should be the name of an id field, item_id");
    return agg_parse__tell_nearest(parse, at, "field", names, FIELDS);
}

static bool parse_actor(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    int64_t events = EVENTS_DEFAULT;
    int show = SHOW_SCORE;
    bool ok = parse_field(parse);

    if (!fr_yaml_get(parse->map, "of"))
        ok = agg_parse__tell(parse, parse->at, "of", "missing; name one of the entity's sequences");
    ok = fr_yaml_choice(parse->map, "show", shows, SHOWS, &show, parse->diagnostics) && ok;
    ok = fr_yaml_int(parse->map, "events", 2, EVENTS_MOST, &events, parse->diagnostics) && ok;
    feature->show = show;
    feature->places = (uint32_t)events;
    feature->strength = FAST_DEFAULT;
    return fr_yaml_double(parse->map, "fast", 1e-6, 1e6, &feature->strength, parse->diagnostics) && ok;
}

/* The source keeps what is looked at, whether it shows it or not. */
static bool link_actor(struct agg_parse *parse)
{
    struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    struct agg_feature *source = of ? agg_parse__feature(parse, of, "of", false) : NULL;

    if (!source)
        return false;
    if (source->aggregate != AGG_LAST)
        return agg_parse__tell(parse, of, "of", "is no sequence; name a feature with aggregate: last");
    parse->feature->source = source;
    if (source->order_words <= parse->feature->match_word)
        source->order_words = parse->feature->match_word + 1;
    return true;
}

static void define_actor(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; sequence %s; show %s; word %d; events %d; fast %.17g", feature->source->name,
                            shows[feature->show], feature->match_word, (int)feature->places, feature->strength);
}

static const char *const keys[] = {"of", "show", "field", "events", "fast", NULL};

const struct agg_type agg_type__actor = {.name = "actor",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE,
                                         .parse = parse_actor,
                                         .link = link_actor,
                                         .define = define_actor,
                                         .of_records = value};
