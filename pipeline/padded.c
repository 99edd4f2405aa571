/*
 * The sequences of a reply as arrays of one shape. What there is of a feature's fields is known from its blank, so the shape does not
 * depend on what anybody did; rows are of distinct keys, as sequences are, so that a search in the candidates' categories is not
 * repeated for each candidate.
 */
#include "services.h"

#include <freshet/v1/feature.pb-c.h>

#include <string.h>

enum { RECORDS_MAX = 10000, NO_ROW = UINT32_MAX };

bool pipeline_padded__check(const Freshet__V1__Shape *shape, struct fr_err *err)
{
    if (shape && (shape->length == 0 || shape->length > RECORDS_MAX))
        return fr_fail(err, FR_BAD_INPUT, "shape.length: %u given; use 1 to %d records, or leave shape out", shape->length,
                       RECORDS_MAX);
    return true;
}

struct padding { /* of one feature */
    const Freshet__V1__Shape *shape;
    const struct agg_blank *blank;
    Freshet__V1__PaddedSequence *to;
    size_t row; /* the next */
};

/* Where the record goes that stands at `at` of `count` in the sequence; false: it is left out. */
static bool place_of(const struct padding *padding, uint32_t at, uint32_t count, uint32_t *place)
{
    uint32_t length = padding->shape->length, kept = count < length ? count : length;
    bool is_oldest_first = padding->blank->is_oldest_first;

    if (is_oldest_first && at < count - kept)
        return false;
    at -= is_oldest_first ? count - kept : 0;
    if (at >= kept)
        return false;
    if (padding->shape->oldest_first && !is_oldest_first)
        at = kept - 1 - at;
    *place = at + (padding->shape->pad_left ? length - kept : 0);
    return true;
}

/* A field of a sequence into its column of one of the blocks. */
static void put_column(const struct padding *padding, const struct agg_values *values, const void *from, void *block,
                       size_t width, size_t column)
{
    size_t first = padding->row * padding->shape->length;
    const uint64_t *bits = from;
    uint64_t *to = block;
    uint32_t place;

    for (int i = 0; i < values->count; i++)
        if (place_of(padding, (uint32_t)i, (uint32_t)values->count, &place))
            to[(first + place) * width + column] = bits[i];
}

static void put_row(struct padding *padding, const struct agg_sequence *sequence)
{
    Freshet__V1__PaddedSequence *to = padding->to;
    size_t ids = 0, ints = 0, numbers = 0;
    uint32_t count = sequence->field_count > 0 ? (uint32_t)sequence->fields[0].count : 0, place;

    for (int i = 0; i < sequence->field_count; i++) {
        const struct agg_values *values = &sequence->fields[i];

        if (values->ids)
            put_column(padding, values, values->ids, to->ids, to->n_id_fields, ids++);
        else if (values->ints)
            put_column(padding, values, values->ints, to->ints, to->n_int_fields, ints++);
        else
            put_column(padding, values, values->numbers, to->numbers, to->n_number_fields, numbers++);
    }
    for (uint32_t at = 0; at < count; at++)
        if (place_of(padding, at, count, &place))
            to->mask[padding->row * padding->shape->length + place] = true;
    to->keys[padding->row] = sequence->key;
    to->lengths[padding->row] = count < padding->shape->length ? count : padding->shape->length;
    for (int i = 0; i < sequence->row_count; i++)
        to->item_rows[sequence->rows[i]] = (uint32_t)padding->row;
    padding->row++;
}

/* The names of its fields, by the block that they are in. */
static bool name_fields(const struct agg_sequence *blank, struct fr_arena *arena, Freshet__V1__PaddedSequence *to)
{
    to->id_fields = fr_arena_take(arena, (size_t)(blank->field_count + 1) * sizeof *to->id_fields);
    to->int_fields = fr_arena_take(arena, (size_t)(blank->field_count + 1) * sizeof *to->int_fields);
    to->number_fields = fr_arena_take(arena, (size_t)(blank->field_count + 1) * sizeof *to->number_fields);
    if (!to->id_fields || !to->int_fields || !to->number_fields)
        return false;
    for (int i = 0; i < blank->field_count; i++) {
        char *name = (char *)(uintptr_t)blank->fields[i].name; /* only read */

        if (blank->fields[i].ids)
            to->id_fields[to->n_id_fields++] = name;
        else if (blank->fields[i].ints)
            to->int_fields[to->n_int_fields++] = name;
        else
            to->number_fields[to->n_number_fields++] = name;
    }
    return true;
}

/* Blocks of so many rows, all padding. False: the arena has no room. */
static bool take_blocks(struct padding *padding, size_t rows, size_t items, struct fr_arena *arena)
{
    Freshet__V1__PaddedSequence *to = padding->to;
    size_t records = rows * padding->shape->length;

    to->length = padding->shape->length;
    to->n_item_rows = padding->blank->is_of_user ? 0 : items;
    to->n_keys = to->n_lengths = rows;
    to->n_mask = records;
    to->n_ids = records * to->n_id_fields;
    to->n_ints = records * to->n_int_fields;
    to->n_numbers = records * to->n_number_fields;
    to->item_rows = fr_arena_take(arena, (to->n_item_rows + 1) * sizeof *to->item_rows);
    to->keys = fr_arena_take_zeroed(arena, rows + 1, sizeof *to->keys);
    to->lengths = fr_arena_take_zeroed(arena, rows + 1, sizeof *to->lengths);
    to->mask = fr_arena_take_zeroed(arena, records + 1, sizeof *to->mask);
    to->ids = fr_arena_take_zeroed(arena, to->n_ids + 1, sizeof *to->ids);
    to->ints = fr_arena_take_zeroed(arena, to->n_ints + 1, sizeof *to->ints);
    to->numbers = fr_arena_take_zeroed(arena, to->n_numbers + 1, sizeof *to->numbers);
    if (!to->item_rows || !to->keys || !to->lengths || !to->mask || !to->ids || !to->ints || !to->numbers)
        return false;
    for (size_t i = 0; i < to->n_item_rows; i++)
        to->item_rows[i] = NO_ROW;
    return true;
}

/* What has no sequence gets a row of padding, one for all of them. */
static void serve_the_rest(struct padding *padding)
{
    Freshet__V1__PaddedSequence *to = padding->to;
    bool is_any = padding->blank->is_of_user && padding->row == 0;

    for (size_t i = 0; i < to->n_item_rows; i++) {
        is_any = is_any || to->item_rows[i] == NO_ROW;
        if (to->item_rows[i] == NO_ROW)
            to->item_rows[i] = (uint32_t)padding->row;
    }
    padding->row += is_any;
}

/* The room was for one more row than was needed. */
static void close_blocks(struct padding *padding)
{
    Freshet__V1__PaddedSequence *to = padding->to;
    size_t records = padding->row * padding->shape->length;

    to->n_keys = to->n_lengths = padding->row;
    to->n_mask = records;
    to->n_ids = records * to->n_id_fields;
    to->n_ints = records * to->n_int_fields;
    to->n_numbers = records * to->n_number_fields;
}

static bool pad(struct padding *padding, const struct agg_reply *reply, size_t items, struct fr_arena *arena)
{
    const char *name = padding->blank->sequence.name;
    size_t rows = 0;

    for (int i = 0; i < reply->sequence_count; i++)
        rows += strcmp(reply->sequences[i].name, name) == 0;
    if (!name_fields(&padding->blank->sequence, arena, padding->to) || !take_blocks(padding, rows + 1, items, arena))
        return false;
    for (int i = 0; i < reply->sequence_count; i++)
        if (strcmp(reply->sequences[i].name, name) == 0)
            put_row(padding, &reply->sequences[i]);
    serve_the_rest(padding);
    close_blocks(padding);
    return true;
}

bool pipeline_padded__put(const Freshet__V1__Shape *shape, const struct agg_blank *blanks, int count,
                          const struct agg_reply *reply, size_t items, struct fr_arena *arena,
                          Freshet__V1__GetFeaturesResponse *response)
{
    Freshet__V1__PaddedSequence *padded = fr_arena_take(arena, (size_t)(count + 1) * sizeof *padded);

    response->padded = fr_arena_take(arena, (size_t)(count + 1) * sizeof *response->padded);
    if (!padded || !response->padded)
        return false;
    for (int i = 0; i < count; i++) {
        struct padding padding = {.shape = shape, .blank = &blanks[i], .to = &padded[i]};

        freshet__v1__padded_sequence__init(&padded[i]);
        padded[i].name = (char *)(uintptr_t)blanks[i].sequence.name; /* only read */
        if (!pad(&padding, reply, items, arena))
            return false;
        response->padded[i] = &padded[i];
    }
    response->n_padded = (size_t)count;
    return true;
}
