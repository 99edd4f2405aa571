/* Users of a pane with how often each came: bodies, and what an event does to them. */
#include "users.h"

#include <freshet/text.h>

enum {
    WORDS = AGG_USERS_WORDS,
    OFTEN_BITS = AGG_USERS_OFTEN_BITS,
    OFTEN_MOST = AGG_USERS_OFTEN_MOST,
    HASH_BITS = AGG_USERS_HASH_BITS
};

static uint64_t hash_of(uint64_t user_id)
{
    return fr_text_hash(&user_id, sizeof user_id, UINT64_C(0x636170706564)) >> OFTEN_BITS;
}

static uint64_t come_again(uint64_t word, uint64_t times)
{
    return times > OFTEN_MOST - agg_user__often(word) ? word | OFTEN_MOST : word + times;
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

        words[count++] = is_a && is_b ? come_again(*a, agg_user__often(*b)) : is_a ? *a : *b;
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
        fr_buffer_append_varint(disk, agg_user__often(words[i]));
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

/* A user who falls out has more than 512 before him, and so has every pane that this one is merged into: he never comes back. */
enum agg_added agg_users__add(struct agg_cell *cell, const struct agg_input *input)
{
    uint64_t hash = hash_of(input->event->user_id);
    uint32_t index, count, at;
    enum agg_added added = agg_panes__place(cell, input, &index);
    uint64_t *words;

    if (added != AGG_ADDED)
        return added;
    words = agg_panes__bytes(cell, index);
    count = agg_panes__pane(cell, index)->count;
    at = agg_words__lower_bound(words, count, OFTEN_BITS, hash);
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

const struct agg_pane_type agg_users__panes = {.merge = merge, .encode = encode, .decode = decode, .words_most = WORDS};

_Static_assert((int)WORDS <= (int)AGG_BODY_WORDS_MAX, "a body has a word for each user");
