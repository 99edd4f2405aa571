/*
 * `distinct`: how many different ids. A pane keeps the ids themselves up to 128, so a window with no more of them is counted
 * exactly; a pane with more keeps registers (hyperloglog.c): those above 0 as a list while it is short, then all. Which of the three is
 * told by the set, so bytes are a function of it.
 */
#include "hyperloglog.h"
#include "panes.h"

#include <math.h>

enum { EXACT_MOST = 128, ENTRIES_MOST = 512, RANK_MASK = (1 << AGG_HLL_RANK_BITS) - 1 };

/* ---- sets ---- */

/* The place of the register, or that which it would have. */
static uint32_t lower_entry(const uint32_t *entries, uint32_t count, uint32_t entry)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (entries[middle] >> AGG_HLL_RANK_BITS < entry >> AGG_HLL_RANK_BITS)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* The union of two ascending lists, as far as EXACT_MOST + 1 of them; `into` has room for that many. */
static uint32_t unite(uint64_t *into, const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count)
{
    uint32_t count = 0, i = 0, k = 0;

    while ((i < a_count || k < b_count) && count <= EXACT_MOST) {
        bool is_a = k == b_count || (i < a_count && a[i] <= b[k]);
        uint64_t word = is_a ? a[i] : b[k];

        i += i < a_count && a[i] == word;
        k += k < b_count && b[k] == word;
        into[count++] = word;
    }
    return count;
}

static void raise_all(uint64_t registers[AGG_HLL_WORDS], const struct agg_body *body)
{
    const uint64_t *ids = body->bytes;

    switch (body->form) {
    case AGG_FORM_REGISTERS:
        agg_hll__merge(registers, body->bytes);
        break;
    case AGG_FORM_ENTRIES:
        agg_hll__merge_list(registers, body->bytes, body->count);
        break;
    default:
        for (uint32_t i = 0; i < body->count; i++)
            agg_hll__raise(registers, agg_hll__entry(ids[i]));
        break;
    }
}

static void list_entries(struct agg_sketch *sketch, const uint64_t registers[AGG_HLL_WORDS])
{
    uint32_t entries[ENTRIES_MOST] = {0};
    struct agg_body body = {.form = AGG_FORM_ENTRIES, .bytes = entries};

    for (uint32_t index = 0; index < AGG_HLL_REGISTERS; index++) {
        uint32_t rank = agg_hll__rank(registers, index);

        if (rank > 0)
            entries[body.count++] = index << AGG_HLL_RANK_BITS | rank;
    }
    agg_sketch__load(sketch, &body);
}

static void merge(struct agg_sketch *into, const struct agg_body *from)
{
    struct agg_body mine = agg_sketch__body(into);
    uint64_t registers[AGG_HLL_WORDS] = {0};
    struct agg_body all = {.form = AGG_FORM_REGISTERS, .count = AGG_HLL_WORDS, .bytes = registers};

    if (mine.form == AGG_FORM_WORDS && from->form == AGG_FORM_WORDS) {
        uint64_t ids[EXACT_MOST + 1];
        struct agg_body exact = {.form = AGG_FORM_WORDS, .bytes = ids};

        exact.count = unite(ids, mine.bytes, mine.count, from->bytes, from->count);
        if (exact.count <= EXACT_MOST) {
            agg_sketch__load(into, &exact);
            return;
        }
    }
    raise_all(registers, &mine);
    raise_all(registers, from);
    if (agg_hll__filled(registers) <= ENTRIES_MOST)
        list_entries(into, registers);
    else
        agg_sketch__load(into, &all);
}

/* ---- disk ---- */

static void encode(const struct agg_body *body, struct fr_buffer *disk)
{
    const uint64_t *words = body->bytes;
    const uint32_t *entries = body->bytes;
    uint64_t before = 0;

    if (body->form != AGG_FORM_REGISTERS)
        fr_buffer_append_varint(disk, body->count);
    for (uint32_t i = 0; i < body->count; i++) {
        if (body->form == AGG_FORM_REGISTERS) {
            fr_buffer_append_fixed64(disk, words[i]);
        } else if (body->form == AGG_FORM_WORDS) {
            fr_buffer_append_varint(disk, words[i] - before);
            before = words[i];
        } else { /* the rank in the low bits, less none */
            fr_buffer_append_varint(disk, entries[i] - before);
            before = entries[i] & ~(uint32_t)RANK_MASK;
        }
    }
}

static void decode_ids(struct agg_sketch *sketch, struct fr_reader *reader)
{
    uint64_t id = 0;

    for (uint64_t i = 0; i < sketch->count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader);

        if (more == 0 || id + more < id)
            reader->is_failed = true;
        id += more;
        sketch->words[i] = id;
    }
}

static void decode_entries(struct agg_sketch *sketch, struct fr_reader *reader)
{
    uint32_t entries[ENTRIES_MOST] = {0};
    struct agg_body body = {.form = AGG_FORM_ENTRIES, .count = (uint32_t)sketch->count, .bytes = entries};
    uint64_t before = 0;

    for (uint32_t i = 0; i < body.count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), rank = more & RANK_MASK;

        if (rank == 0 || rank > AGG_HLL_RANK_MAX || (i > 0 && more <= RANK_MASK) || more > UINT32_MAX ||
            (before + more) >> AGG_HLL_RANK_BITS >= AGG_HLL_REGISTERS) {
            reader->is_failed = true;
            return;
        }
        entries[i] = (uint32_t)(before + more);
        before = entries[i] & ~(uint32_t)RANK_MASK;
    }
    agg_sketch__load(sketch, &body);
}

static void decode_registers(struct agg_sketch *sketch, struct fr_reader *reader)
{
    for (uint32_t i = 0; i < AGG_HLL_WORDS; i++)
        sketch->words[i] = fr_reader_fixed64(reader);
    for (uint32_t i = 0; i < AGG_HLL_REGISTERS && !reader->is_failed; i++)
        reader->is_failed = agg_hll__rank(sketch->words, i) > AGG_HLL_RANK_MAX;
    if (!reader->is_failed && agg_hll__filled(sketch->words) <= ENTRIES_MOST)
        reader->is_failed = true; /* would be a list */
}

static void decode(struct agg_sketch *sketch, enum agg_form form, struct fr_reader *reader)
{
    uint32_t most = form == AGG_FORM_WORDS ? EXACT_MOST : ENTRIES_MOST;

    sketch->form = form;
    sketch->count = form == AGG_FORM_REGISTERS ? AGG_HLL_WORDS : fr_reader_varint(reader);
    if (form == AGG_FORM_REGISTERS)
        decode_registers(sketch, reader);
    else if (sketch->count == 0 || sketch->count > most)
        reader->is_failed = true;
    else if (form == AGG_FORM_WORDS)
        decode_ids(sketch, reader);
    else
        decode_entries(sketch, reader);
}

/* ---- cells ---- */

/* The pane has another form with this id. */
static bool add_slowly(struct agg_cell *cell, uint32_t index, uint64_t id)
{
    const struct agg_pane *pane = agg_panes__pane(cell, index);
    struct agg_body mine = {(enum agg_form)pane->form, pane->count, agg_panes__bytes(cell, index)};
    struct agg_body one = {AGG_FORM_WORDS, 1, &id};
    struct agg_sketch sketch;

    agg_sketch__load(&sketch, &mine);
    merge(&sketch, &one);
    return agg_panes__store(cell, index, &sketch);
}

static bool add_id(struct agg_cell *cell, uint32_t index, uint64_t id)
{
    uint32_t count = agg_panes__pane(cell, index)->count;
    uint64_t *ids = agg_panes__bytes(cell, index);
    uint32_t at = agg_words__lower_bound(ids, count, 0, id);

    if (at < count && ids[at] == id)
        return true;
    if (count == EXACT_MOST)
        return add_slowly(cell, index, id);
    if (!agg_panes__reserve(cell, index))
        return false;
    ids = agg_panes__bytes(cell, index);
    memmove(&ids[at + 1], &ids[at], (count - at) * sizeof *ids);
    ids[at] = id;
    agg_panes__pane(cell, index)->count++;
    return true;
}

static bool add_entry(struct agg_cell *cell, uint32_t index, uint64_t id)
{
    uint32_t count = agg_panes__pane(cell, index)->count, entry = agg_hll__entry(id);
    uint32_t *entries = agg_panes__bytes(cell, index);
    uint32_t at = lower_entry(entries, count, entry);

    if (at < count && entries[at] >> AGG_HLL_RANK_BITS == entry >> AGG_HLL_RANK_BITS) {
        if (entries[at] < entry)
            entries[at] = entry;
        return true;
    }
    if (count == ENTRIES_MOST)
        return add_slowly(cell, index, id);
    if (!agg_panes__reserve(cell, index))
        return false;
    entries = agg_panes__bytes(cell, index);
    memmove(&entries[at + 1], &entries[at], (count - at) * sizeof *entries);
    entries[at] = entry;
    agg_panes__pane(cell, index)->count++;
    return true;
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    uint64_t id = proto_event_id_field(input->event, cell->feature->of);
    uint32_t index;
    enum agg_added added = agg_panes__place(cell, input, &index);
    bool ok = true;

    if (added != AGG_ADDED)
        return added;
    switch (agg_panes__pane(cell, index)->form) {
    case AGG_FORM_WORDS:
        ok = add_id(cell, index, id);
        break;
    case AGG_FORM_ENTRIES:
        ok = add_entry(cell, index, id);
        break;
    default:
        agg_hll__raise(agg_panes__bytes(cell, index), agg_hll__entry(id));
        break;
    }
    return ok ? AGG_ADDED : AGG_NO_MEMORY;
}

/* ---- value ---- */

struct exact { /* ids of the panes so far; more than EXACT_MOST: not exact */
    uint64_t ids[EXACT_MOST + 1];
    uint32_t count;
};

static bool unite_body(void *user, const struct agg_body *body)
{
    struct exact *exact = user;
    uint64_t ids[EXACT_MOST + 1];

    if (body->form != AGG_FORM_WORDS) {
        exact->count = EXACT_MOST + 1;
        return false;
    }
    exact->count = unite(ids, exact->ids, exact->count, body->bytes, body->count);
    memcpy(exact->ids, ids, exact->count * sizeof *ids);
    return exact->count <= EXACT_MOST;
}

static bool raise_body(void *user, const struct agg_body *body)
{
    raise_all(user, body);
    return true;
}

static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    uint64_t registers[AGG_HLL_WORDS];
    struct exact exact;

    (void)feature, (void)output;
    exact.count = 0;
    agg_panes__each(memory, window, time_ms, unite_body, &exact);
    if (exact.count <= EXACT_MOST)
        return (float)exact.count;
    memset(registers, 0, sizeof registers);
    agg_panes__each(memory, window, time_ms, raise_body, registers);
    return (float)fmax(round(agg_hll__estimate(registers)), EXACT_MOST + 1); /* that many are known to be there */
}

static void describe(const struct agg_feature *feature, const struct agg_body *body, struct agg_piece *piece)
{
    uint64_t registers[AGG_HLL_WORDS] = {0};

    (void)feature;
    piece->form = body->form == AGG_FORM_WORDS ? "exact" : "registers";
    piece->value = body->count;
    if (body->form == AGG_FORM_WORDS)
        return;
    raise_all(registers, body);
    piece->value = fmax(round(agg_hll__estimate(registers)), EXACT_MOST + 1);
}

static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    agg_panes__explain(feature, memory, time_ms, pieces, describe);
}

/* ---- settings ---- */

static bool parse_distinct(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_USER_ID,    PROTO_FIELD_ITEM_ID,     PROTO_FIELD_CREATOR_ID,
                                     PROTO_FIELD_ROOM_ID,    PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_REGION,
                                     PROTO_FIELD_REQUEST_ID, PROTO_FIELD_EVENT_ID,    0};
    bool ok = agg_panes__parse_windows(parse);

    ok = agg_parse__of(parse, fields) && ok;
    parse->feature->needs = parse->feature->of;
    return ok;
}

static const struct agg_pane_type panes = {.merge = merge, .encode = encode, .decode = decode, .words_most = AGG_HLL_WORDS};
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

const struct agg_type agg_type__distinct = {.name = "distinct",
                                            .keys = keys,
                                            .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE,
                                            .parse = parse_distinct,
                                            .cells = &cells,
                                            .panes = &panes};
