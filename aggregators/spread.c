/*
 * `entropy` and `top_values`: how the records of a sequence are spread over the values of one of their fields. Nothing is kept for them: a
 * read counts what the sequence holds.
 */
#include "spread.h"

#include <math.h>
#include <stdlib.h>

static const uint8_t spread_fields[] = {PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ITEM_ID,
                                        PROTO_FIELD_ROOM_ID,     PROTO_FIELD_REGION,     PROTO_FIELD_ACTION,
                                        PROTO_FIELD_SCENE};
enum { SPREAD_FIELDS = sizeof spread_fields / sizeof spread_fields[0], TOP_MOST = 100 };

struct counted { /* a value, and in how many records it is */
    uint64_t value;
    uint32_t count;
};

static int by_value(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static int by_count(const void *a, const void *b)
{
    const struct counted *left = a, *right = b;

    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return left->value < right->value ? -1 : left->value > right->value;
}

/* The values that are not 0 of the records that are there at time_ms, ascending. */
static uint32_t values_of(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms, uint64_t *values)
{
    const struct agg_feature *source = feature->source;
    uint32_t kept = rings ? rings[source->sequence].count : 0, count = 0;

    for (uint32_t i = kept; i-- > 0;) {
        const uint64_t *order = agg_sequence__record(rings, source->entity, source->sequence, i);

        if (agg_entity__is_expired(source->entity, (int64_t)order[0], time_ms))
            break; /* and all that are older */
        if (order[feature->match_word] != 0)
            values[count++] = order[feature->match_word];
    }
    qsort(values, count, sizeof *values, by_value);
    return count;
}

static uint32_t run_length(const uint64_t *values, uint32_t at, uint32_t count)
{
    uint32_t length = 1;

    while (at + length < count && values[at + length] == values[at])
        length++;
    return length;
}

float agg_spread__entropy(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms)
{
    uint64_t values[AGG_LIMIT_MAX];
    uint32_t count = values_of(feature, rings, time_ms, values), length;
    double bits = 0;

    for (uint32_t at = 0; at < count; at += length) {
        length = run_length(values, at, count);
        bits += length / (double)count * log2((double)count / length);
    }
    return (float)bits;
}

static bool put_values(const struct agg_feature *feature, const struct counted *counted, uint32_t count, struct fr_arena *arena,
                       struct agg_sequence *sequence)
{
    bool is_id = feature->of != PROTO_FIELD_ACTION && feature->of != PROTO_FIELD_SCENE;
    struct agg_values *fields = fr_arena_take_zeroed(arena, 2, sizeof *fields);

    if (!fields)
        return false;
    for (int i = 0; i < 2; i++)
        fields[i] = (struct agg_values){.name = feature->field_names[i], .count = (int)count};
    fields[0].ids = is_id ? fr_arena_take(arena, (count + 1) * sizeof *fields[0].ids) : NULL;
    fields[0].ints = is_id ? NULL : fr_arena_take(arena, (count + 1) * sizeof *fields[0].ints);
    fields[1].ints = fr_arena_take(arena, (count + 1) * sizeof *fields[1].ints);
    if ((!fields[0].ids && !fields[0].ints) || !fields[1].ints)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (is_id)
            fields[0].ids[i] = counted[i].value;
        else
            fields[0].ints[i] = (int64_t)counted[i].value;
        fields[1].ints[i] = counted[i].count;
    }
    sequence->fields = fields;
    sequence->field_count = 2;
    return true;
}

bool agg_spread__top(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms, struct fr_arena *arena,
                     struct agg_sequence *sequence)
{
    uint64_t values[AGG_LIMIT_MAX];
    uint32_t count = values_of(feature, rings, time_ms, values), different = 0, length;
    struct counted *counted = fr_arena_take(arena, (count + 1) * sizeof *counted);

    if (!counted)
        return false;
    for (uint32_t at = 0; at < count; at += length) {
        length = run_length(values, at, count);
        counted[different++] = (struct counted){values[at], length};
    }
    qsort(counted, different, sizeof *counted, by_count);
    return put_values(feature, counted, different < feature->limit ? different : feature->limit, arena, sequence);
}

/* ---- settings ---- */

/* `of: user_recent.category_id`: the sequence, and the field of its records. */
static bool parse_of(struct agg_parse *parse)
{
    struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    const char *dot = of && of->kind == FR_YAML_SCALAR ? memchr(of->text.bytes, '.', of->text.length) : NULL;
    struct agg_feature *feature = parse->feature;
    const char *names[SPREAD_FIELDS];
    struct fr_yaml field;

    if (!dot)
        return agg_parse__tell(parse, of ? of : parse->at, "of",
                               "should be a sequence and a field of its records, user_recent.category_id");
    field = *of;
    field.text = fr_slice(dot + 1, of->text.length - (size_t)(dot + 1 - (const char *)of->text.bytes));
    for (int i = 0; i < SPREAD_FIELDS; i++) {
        names[i] = proto_field_name(spread_fields[i]);
        if (fr_slice_is(field.text, names[i]))
            feature->of = spread_fields[i];
    }
    if (feature->of == 0) {
        field.text.bytes = fr_arena_copy(parse->catalogue->arena, field.text);
        return field.text.bytes && agg_parse__tell_nearest(parse, &field, "of", names, SPREAD_FIELDS);
    }
    feature->match_word = agg_order__word(feature->of);
    feature->field_names[0] = proto_field_name(feature->of);
    feature->field_names[1] = "count";
    return true;
}

static bool parse_top(struct agg_parse *parse)
{
    int64_t limit = 10;
    bool ok = fr_yaml_int(parse->map, "limit", 1, TOP_MOST, &limit, parse->diagnostics);

    parse->feature->limit = (uint32_t)limit;
    parse->feature->field_count = 2;
    return parse_of(parse) && ok;
}

/* The source keeps what is counted, whether it shows it or not. */
static bool link_of(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature, *source;
    struct fr_yaml *of = fr_yaml_get(parse->map, "of"), named;
    const char *dot = memchr(of->text.bytes, '.', of->text.length);

    named = *of;
    named.text.length = (size_t)(dot - (const char *)of->text.bytes);
    named.text.bytes = fr_arena_copy(parse->catalogue->arena, named.text);
    source = named.text.bytes ? agg_parse__feature(parse, &named, "of", false) : NULL;
    if (!source)
        return false;
    if (source->aggregate != AGG_LAST)
        return agg_parse__tell(parse, of, "of", "is no sequence; name a feature with aggregate: last");
    feature->source = source;
    if (source->order_words <= feature->match_word)
        source->order_words = feature->match_word + 1;
    return true;
}

static void define_spread(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; of %s by %s", feature->source->name, proto_field_name(feature->of));
}

static const char *const entropy_keys[] = {"of", NULL};
static const char *const top_keys[] = {"of", "limit", NULL};

const struct agg_type agg_type__entropy = {.name = "entropy",
                                           .keys = entropy_keys,
                                           .emits = 1 << AGG_OUTPUT_VALUE,
                                           .parse = parse_of,
                                           .link = link_of,
                                           .define = define_spread,
                                           .of_records = agg_spread__entropy};
const struct agg_type agg_type__top_values = {.name = "top_values",
                                              .keys = top_keys,
                                              .emits = 1 << AGG_OUTPUT_VALUE,
                                              .parse = parse_top,
                                              .link = link_of,
                                              .define = define_spread,
                                              .list_records = agg_spread__top};
