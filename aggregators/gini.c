/*
 * `gini`: how unevenly a scope's events are spread over its members, say a category's impressions over creators: 0 when each has as many,
 * near 1 when one has all. A pane keeps how many events there were and, of the members with the least hashes, 512 and one, how many each
 * had: a set that no order of events or merges can show in. As long as there is room for all the value is exact. After that it is
 * drawn from the sample, but over the exact number of events: so what one great member has, which a sample most often misses, is
 * in the mean all the same, and a sampled one weighs the less in the sum the greater it is.
 *
 * A body's first word is how many events; then words of 36 bits of the member's hash and 28 of its events, ascending.
 */
#include "panes.h"

#include <freshet/text.h>

#include <math.h>
#include <stdlib.h>

enum { MEMBERS = 512, KEPT = MEMBERS + 1, WORDS = KEPT + 1, EVENT_BITS = 28, HASH_BITS = 64 - EVENT_BITS };

static const uint64_t events_most = (UINT64_C(1) << EVENT_BITS) - 1;

static uint64_t hash_of(uint64_t id)
{
    return fr_text_hash(&id, sizeof id, UINT64_C(0x67696e69)) >> EVENT_BITS;
}

static uint64_t events_of(uint64_t word)
{
    return word & events_most;
}

static uint64_t come_again(uint64_t word, uint64_t events)
{
    return events > events_most - events_of(word) ? word | events_most : word + events;
}

/* ---- bodies ---- */

static void merge(struct agg_sketch *into, const struct agg_body *from)
{
    uint64_t words[KEPT];
    const uint64_t *all = from->bytes, *a = into->words + 1, *b = all + 1;
    const uint64_t *a_end = into->words + into->count, *b_end = all + from->count;
    uint32_t count = 0;

    while ((a < a_end || b < b_end) && count < KEPT) {
        bool is_a = a < a_end && (b == b_end || *a >> EVENT_BITS <= *b >> EVENT_BITS);
        bool is_b = b < b_end && (a == a_end || *b >> EVENT_BITS <= *a >> EVENT_BITS);

        words[count++] = is_a && is_b ? come_again(*a, events_of(*b)) : is_a ? *a : *b;
        a += is_a;
        b += is_b;
    }
    into->words[0] += all[0];
    memcpy(into->words + 1, words, count * sizeof *words);
    into->count = count + 1;
}

static void encode(const struct agg_body *body, struct fr_buffer *disk)
{
    const uint64_t *words = body->bytes;
    uint64_t before = 0;

    fr_buffer_append_varint(disk, body->count - 1);
    fr_buffer_append_varint(disk, words[0]);
    for (uint32_t i = 1; i < body->count; i++) {
        fr_buffer_append_varint(disk, (words[i] >> EVENT_BITS) - before);
        fr_buffer_append_varint(disk, events_of(words[i]));
        before = words[i] >> EVENT_BITS;
    }
}

static void decode(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), all = fr_reader_varint(reader), hash = 0, sum = 0;

    sketch->form = form;
    sketch->count = count + 1;
    sketch->words[0] = all;
    if (form != AGG_FORM_WORDS || count == 0 || count > KEPT)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), events = fr_reader_varint(reader);

        if (more >= (UINT64_C(1) << HASH_BITS) - hash || (i > 0 && more == 0) || events == 0 || events > events_most) {
            reader->is_failed = true;
            return;
        }
        hash += more;
        sum += events;
        sketch->words[i + 1] = hash << EVENT_BITS | events;
    }
    reader->is_failed |= all < sum;
}

/* ---- cells ---- */

/* A member who falls out has more than 512 before him, and so has every pane that this one is merged into: he never comes back. */
static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    uint64_t hash = hash_of(proto_event_id_field(input->event, cell->feature->of));
    uint32_t index, count, at;
    enum agg_added added = agg_panes__place(cell, input, &index);
    uint64_t *words;

    if (added != AGG_ADDED)
        return added;
    words = agg_panes__bytes(cell, index);
    if (agg_panes__pane(cell, index)->count == 0) { /* a new one has room for a few */
        agg_panes__pane(cell, index)->count = 1;
        words[0] = 0;
    }
    count = agg_panes__pane(cell, index)->count - 1U;
    at = agg_words__lower_bound(words + 1, count, EVENT_BITS, hash);
    if (at == KEPT || (at < count && words[at + 1] >> EVENT_BITS == hash)) {
        words[0]++;
        if (at < count)
            words[at + 1] = come_again(words[at + 1], 1);
        return AGG_ADDED;
    }
    if (count < KEPT && !agg_panes__reserve(cell, index))
        return AGG_NO_MEMORY;
    words = agg_panes__bytes(cell, index);
    words[0]++;
    if (count < KEPT)
        agg_panes__pane(cell, index)->count++;
    else
        count--; /* the last falls out */
    memmove(&words[at + 2], &words[at + 1], (count - at) * sizeof *words);
    words[at + 1] = hash << EVENT_BITS | 1;
    return AGG_ADDED;
}

/* ---- value ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/*
 * With x ascending from i = 1 on: Σ (2i − n − 1) x_i / (n · Σ x) of everybody; of a sample 1 − Σ (2(n − i) + 1) x_i / (n² · mean), which is the same
 * when the mean is the sample's, and here it is that of all: as many members as so small a hash tells of.
 */
static double spread(const uint64_t *words, uint32_t count)
{
    bool is_sample = count - 1 == KEPT;
    uint32_t members = is_sample ? MEMBERS : count - 1;
    double n = members, apart = 0, weighed = 0, mean;
    uint64_t events[MEMBERS];

    for (uint32_t i = 0; i < members; i++)
        events[i] = events_of(words[i + 1]);
    qsort(events, members, sizeof *events, by_size);
    for (uint32_t i = 0; i < members; i++) {
        apart += (2.0 * (i + 1) - n - 1) * (double)events[i];
        weighed += (2.0 * (n - i - 1) + 1) * (double)events[i];
    }
    if (!is_sample)
        return fmin(fmax(apart / (n * (double)words[0]), 0), 1);
    mean = (double)words[0] * ((double)(words[KEPT] >> EVENT_BITS) + 1) / (MEMBERS * (double)(UINT64_C(1) << HASH_BITS));
    return fmin(fmax(1 - weighed / (n * n * mean), 0), 1);
}

static bool unite(void *user, const struct agg_body *body)
{
    struct agg_sketch *all = user;

    if (all->count == 0)
        agg_sketch__load(all, body);
    else
        merge(all, body);
    return true;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    struct agg_sketch all;

    (void)feature, (void)output;
    all.count = 0;
    agg_panes__each(memory, window, time_ms, unite, &all);
    return all.count == 0 ? 0 : (float)spread(all.words, (uint32_t)all.count);
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    const uint64_t *words = body->bytes;

    (void)feature;
    piece->form = "members";
    piece->count = words[0];
    piece->value = spread(words, body->count);
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_gini(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_CREATOR_ID,
                                     PROTO_FIELD_ITEM_ID,
                                     PROTO_FIELD_ROOM_ID,
                                     PROTO_FIELD_CATEGORY_ID,
                                     PROTO_FIELD_REGION,
                                     PROTO_FIELD_USER_ID,
                                     0};
    bool ok = agg_panes__parse_windows(parse);

    ok = agg_parse__of(parse, fields) && ok;
    parse->feature->needs = parse->feature->of;
    return ok;
}

static const struct agg_pane_type panes = {.merge = merge, .encode = encode, .decode = decode, .words_most = WORDS};
static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .prune = agg_panes__prune,
                                           .encode = agg_panes__encode,
                                           .decode = agg_panes__decode,
                                           .digest = agg_panes__digest,
                                           .value = value,
                                           .explain = explain,
                                           .bytes_most = agg_panes__bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "windows", "of", NULL};

const struct agg_type agg_type__gini = {.name = "gini",
                                        .keys = keys,
                                        .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                        .parse = parse_gini,
                                        .cells = &cells,
                                        .panes = &panes};

_Static_assert((int)WORDS <= (int)AGG_BODY_WORDS_MAX, "a body has a word for each member and one for all");
