/*
 * `capped`: events of which no user counts for more than `cap` in a pane, so that nobody makes a trend alone. A pane keeps the users
 * with the least hashes, 512 and one, with how often each came: a set that no order of events or merges can show in, exact while it
 * has room for all, and after that a sample of which the number of users is told by how small its hashes are (bottom-k; Bar-Yossef and
 * others, RANDOM 2002).
 *
 * A word of a body: 56 bits of the user's hash, 8 bits of how often, up to 255.
 */
#include "panes.h"

#include <freshet/text.h>

enum { USERS = 512, WORDS = USERS + 1, OFTEN_BITS = 8, OFTEN_MOST = 255, HASH_BITS = 56 };

static uint64_t hash_of(uint64_t user_id)
{
    return fr_text_hash(&user_id, sizeof user_id, UINT64_C(0x636170706564)) >> OFTEN_BITS;
}

static uint64_t often(uint64_t word)
{
    return word & OFTEN_MOST;
}

static uint64_t come_again(uint64_t word, uint64_t times)
{
    return times > OFTEN_MOST - often(word) ? word | OFTEN_MOST : word + times;
}

/* ---- bodies ---- */

static void merge(struct agg_sketch *into, const struct agg_body *from)
{
    uint64_t words[WORDS];
    const uint64_t *a = into->words, *b = from->bytes, *a_end = a + into->count, *b_end = b + from->count;
    uint32_t count = 0;

    while ((a < a_end || b < b_end) && count < WORDS) {
        bool is_a = a < a_end && (b == b_end || *a >> OFTEN_BITS <= *b >> OFTEN_BITS);
        bool is_b = b < b_end && (a == a_end || *b >> OFTEN_BITS <= *a >> OFTEN_BITS);

        words[count++] = is_a && is_b ? come_again(*a, often(*b)) : is_a ? *a : *b;
        a += is_a;
        b += is_b;
    }
    memcpy(into->words, words, count * sizeof *words);
    into->count = count;
}

static void encode(const struct agg_body *body, struct fr_buffer *disk)
{
    const uint64_t *words = body->bytes;
    uint64_t before = 0;

    fr_buffer_append_varint(disk, body->count);
    for (uint32_t i = 0; i < body->count; i++) {
        fr_buffer_append_varint(disk, (words[i] >> OFTEN_BITS) - before);
        fr_buffer_append_varint(disk, often(words[i]));
        before = words[i] >> OFTEN_BITS;
    }
}

static void decode(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), hash = 0;

    sketch->form = form;
    sketch->count = count;
    if (form != AGG_FORM_WORDS || count == 0 || count > WORDS)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), times = fr_reader_varint(reader);

        if (more >= (UINT64_C(1) << HASH_BITS) - hash || (i > 0 && more == 0) || times == 0 || times > OFTEN_MOST) {
            reader->is_failed = true;
            return;
        }
        hash += more;
        sketch->words[i] = hash << OFTEN_BITS | times;
    }
}

/* ---- cells ---- */

/* The place of the hash, or that which it would have. */
static uint32_t lower_bound(const uint64_t *words, uint32_t count, uint64_t hash)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (words[middle] >> OFTEN_BITS < hash)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* A user who falls out has more than 512 before him, and so has every pane that this one is merged into: he never comes back. */
static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    uint64_t hash = hash_of(input->event->user_id);
    uint32_t index, count, at;
    enum agg_added added = agg_panes__place(cell, input, &index);
    uint64_t *words;

    if (added != AGG_ADDED)
        return added;
    words = agg_panes__bytes(cell, index);
    count = agg_panes__pane(cell, index)->count;
    at = lower_bound(words, count, hash);
    if (at < count && words[at] >> OFTEN_BITS == hash) {
        words[at] = come_again(words[at], 1);
        return AGG_ADDED;
    }
    if (at == WORDS)
        return AGG_ADDED;
    if (count < WORDS) {
        if (!agg_panes__reserve(cell, index))
            return AGG_NO_MEMORY;
        words = agg_panes__bytes(cell, index);
        agg_panes__pane(cell, index)->count++;
    } else {
        count--;
    }
    memmove(&words[at + 1], &words[at], (count - at) * sizeof *words);
    words[at] = hash << OFTEN_BITS | 1;
    return AGG_ADDED;
}

/* ---- value ---- */

static double in_pane(const struct agg_feature *feature, const struct agg_body *body)
{
    const uint64_t *words = body->bytes;
    uint32_t users = body->count < WORDS ? body->count : USERS;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < users; i++)
        sum += often(words[i]) < feature->cap ? often(words[i]) : feature->cap;
    if (body->count < WORDS)
        return (double)sum;
    return (double)sum * (double)(UINT64_C(1) << HASH_BITS) / ((double)(words[USERS] >> OFTEN_BITS) + 1);
}

struct counted {
    const struct agg_feature *feature;
    double sum;
};

static bool add_pane(void *user, const struct agg_body *body)
{
    struct counted *counted = user;

    counted->sum += in_pane(counted->feature, body);
    return true;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    struct counted counted = {.feature = feature};

    (void)output;
    agg_panes__each_whole(feature, memory, window, time_ms, add_pane, &counted);
    return (float)counted.sum;
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    piece->form = "users";
    piece->count = body->count;
    piece->value = in_pane(feature, body);
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_capped(struct agg_parse *parse)
{
    int64_t cap = 0;
    bool ok = agg_panes__parse_windows(parse);

    parse->feature->needs = PROTO_FIELD_USER_ID;
    if (!fr_yaml_get(parse->map, "cap"))
        return agg_parse__tell(parse, parse->at, "cap", "missing; say how many events of a user count in a pane, as in 3");
    ok = fr_yaml_int(parse->map, "cap", 1, OFTEN_MOST, &cap, parse->diagnostics) && ok;
    parse->feature->cap = (uint32_t)cap;
    return ok;
}

static void define_capped(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; cap %d", (int)feature->cap);
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
static const char *const keys[] = {"actions", "scenes", "where", "windows", "cap", NULL};

const struct agg_type agg_type__capped = {.name = "capped",
                                          .keys = keys,
                                          .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                          .parse = parse_capped,
                                          .define = define_capped,
                                          .cells = &cells,
                                          .panes = &panes};

_Static_assert((int)WORDS <= (int)AGG_BODY_WORDS_MAX, "a body has a word for each user");
