/* Counted buckets: bodies of panes, from one event to a window. */
#include "buckets.h"

static const uint64_t count_mask = (UINT64_C(1) << AGG_BUCKET_COUNT_BITS) - 1;

/* No more than it can hold, so that no bytes from disk make one bucket another. */
static uint64_t add_events(uint64_t word, uint64_t more)
{
    return more > count_mask - agg_bucket__events(word) ? word | count_mask : word + more;
}

static void merge(struct agg_sketch *into, const struct agg_body *from)
{
    uint64_t words[AGG_BUCKETS_MOST];
    const uint64_t *a = into->words, *b = from->bytes, *a_end = a + into->count, *b_end = b + from->count;
    uint32_t count = 0;

    while (a < a_end || b < b_end) {
        bool is_a = a < a_end && (b == b_end || agg_bucket__of(*a) <= agg_bucket__of(*b));
        bool is_b = b < b_end && (a == a_end || agg_bucket__of(*b) <= agg_bucket__of(*a));

        words[count++] = is_a && is_b ? add_events(*a, agg_bucket__events(*b)) : is_a ? *a : *b;
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
        fr_buffer_append_varint(disk, agg_bucket__of(words[i]) - (i > 0 ? agg_bucket__of(words[i - 1]) : 0));
        fr_buffer_append_varint(disk, agg_bucket__events(words[i]));
    }
}

static void decode(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), at = 0;

    sketch->form = form;
    sketch->count = count;
    if (form != AGG_FORM_WORDS || count == 0 || count > AGG_BUCKETS_MOST)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), of_bucket = fr_reader_varint(reader);

        if (more >= AGG_BUCKETS_MOST - at || (i > 0 && more == 0) || of_bucket == 0 || of_bucket > count_mask) {
            reader->is_failed = true;
            return;
        }
        at += more;
        sketch->words[i] = at << AGG_BUCKET_COUNT_BITS | of_bucket;
    }
}

/* ---- cells ---- */

enum agg_added agg_buckets__add(struct agg_cell *cell, const struct agg_input *input, uint32_t wanted)
{
    uint32_t index, count, at;
    enum agg_added added = agg_panes__place(cell, input, &index);
    uint64_t *words;

    if (added != AGG_ADDED)
        return added;
    words = agg_panes__bytes(cell, index);
    count = agg_panes__pane(cell, index)->count;
    at = agg_words__lower_bound(words, count, AGG_BUCKET_COUNT_BITS, wanted);
    if (at == count || agg_bucket__of(words[at]) != wanted) {
        if (!agg_panes__reserve(cell, index))
            return AGG_NO_MEMORY;
        words = agg_panes__bytes(cell, index);
        memmove(&words[at + 1], &words[at], (count - at) * sizeof *words);
        words[at] = (uint64_t)wanted << AGG_BUCKET_COUNT_BITS;
        agg_panes__pane(cell, index)->count++;
    }
    words[at] = add_events(words[at], 1);
    return AGG_ADDED;
}

static bool add_body(void *user, const struct agg_body *body)
{
    const uint64_t *words = body->bytes;
    uint64_t *counts = user;

    for (uint32_t i = 0; i < body->count; i++)
        counts[agg_bucket__of(words[i])] += agg_bucket__events(words[i]);
    return true;
}

void agg_buckets__count(struct fr_slice memory, const struct agg_window *window, int64_t time_ms, uint64_t *counts)
{
    agg_panes__each(memory, window, time_ms, add_body, counts);
}

const struct agg_pane_type agg_buckets__panes = {
    .merge = merge, .encode = encode, .decode = decode, .words_most = AGG_BUCKETS_MOST};

_Static_assert((int)AGG_BUCKETS_MOST <= 1 << (64 - AGG_BUCKET_COUNT_BITS), "a word names its bucket");
