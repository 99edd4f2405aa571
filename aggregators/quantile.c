/*
 * `quantile`: the value at a rank, within 1 %. A DDSketch (ALGORITHMS.md 6; Masson and others, VLDB 2019): value x counts in bucket
 * ⌈log_γ x⌉, whose value is 2γ^i/(γ + 1), so that everything in it is within α = 0.9 % of that; the rest up to 1 % is room for
 * float32. Values are clamped to [10^−3, 10^9], which makes 1,536 buckets.
 *
 * The bucket is the same on every machine, whatever its logarithm says of the last bit: that only tells where to look, and powers of γ
 * made of IEEE products, always in the same order, decide.
 */
#include "panes.h"

#include <math.h>
#include <stdlib.h>

#define ALPHA 0.009
#define VALUE_LEAST 1e-3
#define VALUE_MOST 1e9

enum { BUCKET_LEAST = -383, BUCKETS = 1536, COUNT_BITS = 52 }; /* a word of a body: bucket << 52 | events */

static const uint64_t count_mask = (UINT64_C(1) << COUNT_BITS) - 1;
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

static uint32_t bucket(uint64_t word)
{
    return (uint32_t)(word >> COUNT_BITS);
}

static uint64_t events(uint64_t word)
{
    return word & count_mask;
}

/* No more than it can hold, so that no bytes from disk make one bucket another. */
static uint64_t add_events(uint64_t word, uint64_t more)
{
    return more > count_mask - events(word) ? word | count_mask : word + more;
}

/* The place of the bucket, or that which it would have. */
static uint32_t lower_bound(const uint64_t *words, uint32_t count, uint32_t wanted)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (bucket(words[middle]) < wanted)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

static void merge(struct agg_sketch *into, const struct agg_body *from)
{
    uint64_t words[BUCKETS];
    const uint64_t *a = into->words, *b = from->bytes, *a_end = a + into->count, *b_end = b + from->count;
    uint32_t count = 0;

    while (a < a_end || b < b_end) {
        bool is_a = a < a_end && (b == b_end || bucket(*a) <= bucket(*b));
        bool is_b = b < b_end && (a == a_end || bucket(*b) <= bucket(*a));

        words[count++] = is_a && is_b ? add_events(*a, events(*b)) : is_a ? *a : *b;
        a += is_a;
        b += is_b;
    }
    memcpy(into->words, words, count * sizeof *words);
    into->count = count;
}

static void encode(const struct agg_body *body, struct fr_buffer *disk)
{
    const uint64_t *words = body->bytes;

    fr_buffer_append_varint(disk, body->count);
    for (uint32_t i = 0; i < body->count; i++) {
        fr_buffer_append_varint(disk, bucket(words[i]) - (i > 0 ? bucket(words[i - 1]) : 0));
        fr_buffer_append_varint(disk, events(words[i]));
    }
}

static void decode(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), at = 0;

    sketch->form = form;
    sketch->count = count;
    if (form != AGG_FORM_WORDS || count == 0 || count > BUCKETS)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), of_bucket = fr_reader_varint(reader);

        if (more >= BUCKETS - at || (i > 0 && more == 0) || of_bucket == 0 || of_bucket > count_mask) {
            reader->is_failed = true;
            return;
        }
        at += more;
        sketch->words[i] = at << COUNT_BITS | of_bucket;
    }
}

/* ---- cells ---- */

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    double number = cell->feature->of == PROTO_FIELD_DURATION_S ? input->event->duration_s : input->event->value;
    uint32_t wanted = bucket_of(number), index, count, at;
    enum agg_added added = agg_panes__place(cell, input, &index);
    uint64_t *words;

    if (added != AGG_ADDED)
        return added;
    words = agg_panes__bytes(cell, index);
    count = agg_panes__pane(cell, index)->count;
    at = lower_bound(words, count, wanted);
    if (at == count || bucket(words[at]) != wanted) {
        if (!agg_panes__reserve(cell, index))
            return AGG_NO_MEMORY;
        words = agg_panes__bytes(cell, index);
        memmove(&words[at + 1], &words[at], (count - at) * sizeof *words);
        words[at] = (uint64_t)wanted << COUNT_BITS;
        agg_panes__pane(cell, index)->count++;
    }
    words[at] = add_events(words[at], 1);
    return AGG_ADDED;
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
        distribution->events[bucket(words[i])] += events(words[i]);
        distribution->all += events(words[i]);
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

static const struct agg_pane_type panes = {.merge = merge, .encode = encode, .decode = decode, .words_most = BUCKETS};
static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
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
                                            .panes = &panes};

_Static_assert((int)BUCKETS <= (int)AGG_BODY_WORDS_MAX, "a body has a word for each bucket");
