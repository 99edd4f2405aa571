/*
 * The wire form of GetFeaturesResponse in one pass, byte for byte what proto_pack() makes. A reply is a few thousand numbers in large
 * arrays and a hundred names; protobuf-c looks at each of them twice, by descriptor. Here arrays of floats and bools are copied whole
 * (the wire and the machine are both little endian), and what has to know its length first is written behind a gap and moved back.
 */
#include "internal.h"

#include <freshet/v1/feature.pb-c.h>

#include <assert.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed floats are copied as they lie");
_Static_assert(sizeof(protobuf_c_boolean) == sizeof(int), "packed bools are looked at one by one");

enum { VARINT_BYTES_MAX = 10, GAP_BYTES = 1 + VARINT_BYTES_MAX }; /* a tag of one byte and a length */

static uint8_t tag_of(int number, int type)
{
    return (uint8_t)(number << 3 | type);
}

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* Room for `bytes` of payload behind a gap for tag and length; NULL: the buffer has failed. */
static uint8_t *open_field(struct fr_buffer *out, size_t bytes)
{
    uint8_t *room = fr_buffer_reserve(out, bytes + GAP_BYTES);

    return room ? room + GAP_BYTES : NULL;
}

/* The payload ends at `end`: what of the gap is not needed goes. */
static void close_field(struct fr_buffer *out, int number, const uint8_t *payload, const uint8_t *end)
{
    uint8_t *to = out->bytes + out->length;
    size_t bytes = (size_t)(end - payload);

    *to++ = tag_of(number, PROTO__BYTES);
    to = put_varint(to, bytes);
    memmove(to, payload, bytes);
    out->length = (size_t)(to - out->bytes) + bytes;
}

static void put_bytes(struct fr_buffer *out, int number, const void *bytes, size_t length)
{
    uint8_t *to = fr_buffer_reserve(out, length + GAP_BYTES);

    if (!to)
        return;
    *to++ = tag_of(number, PROTO__BYTES);
    to = put_varint(to, length);
    if (length > 0)
        memcpy(to, bytes, length);
    out->length = (size_t)(to - out->bytes) + length;
}

static void put_number(struct fr_buffer *out, int number, uint64_t value)
{
    if (value == 0)
        return;
    fr_buffer_append_byte(out, tag_of(number, PROTO__VARINT));
    fr_buffer_append_varint(out, value);
}

static void put_text(struct fr_buffer *out, int number, const char *text)
{
    if (text && *text)
        put_bytes(out, number, text, strlen(text));
}

static void put_texts(struct fr_buffer *out, int number, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_bytes(out, number, texts[i], texts[i] ? strlen(texts[i]) : 0);
}

static void put_floats(struct fr_buffer *out, int number, const float *values, size_t count)
{
    if (count > 0)
        put_bytes(out, number, values, count * sizeof *values);
}

static void put_longs(struct fr_buffer *out, int number, const void *values, size_t count)
{
    if (count > 0)
        put_bytes(out, number, values, count * sizeof(uint64_t));
}

static void put_varints(struct fr_buffer *out, int number, const uint64_t *values, size_t count)
{
    uint8_t *payload = count > 0 ? open_field(out, count * VARINT_BYTES_MAX) : NULL, *to = payload;

    if (!payload)
        return;
    for (size_t i = 0; i < count; i++)
        to = put_varint(to, values[i]);
    close_field(out, number, payload, to);
}

static void put_rows(struct fr_buffer *out, int number, const uint32_t *values, size_t count)
{
    uint8_t *payload = count > 0 ? open_field(out, count * VARINT_BYTES_MAX) : NULL, *to = payload;

    if (!payload)
        return;
    for (size_t i = 0; i < count; i++)
        to = put_varint(to, values[i]);
    close_field(out, number, payload, to);
}

static void put_bools(struct fr_buffer *out, int number, const protobuf_c_boolean *values, size_t count)
{
    uint8_t *payload = count > 0 ? open_field(out, count) : NULL;

    if (!payload)
        return;
    for (size_t i = 0; i < count; i++)
        payload[i] = values[i] != 0;
    close_field(out, number, payload, payload + count);
}

/* A message within: written where it would lie with the longest length, then closed up. Gives where its bytes begin. */
static size_t open_message(struct fr_buffer *out)
{
    if (fr_buffer_reserve(out, GAP_BYTES))
        out->length += GAP_BYTES;
    return out->length;
}

static void close_message(struct fr_buffer *out, int number, size_t begin)
{
    const uint8_t *payload, *end;

    if (out->is_failed)
        return;
    payload = out->bytes + begin;
    end = out->bytes + out->length;
    out->length = begin - GAP_BYTES;
    close_field(out, number, payload, end);
}

static void put_fields(struct fr_buffer *out, int number, Freshet__V1__Field *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Freshet__V1__Field *field = fields[i];
        size_t begin = open_message(out);

        put_text(out, 1, field->name);
        put_varints(out, 2, field->ids, field->n_ids);
        put_varints(out, 3, (const uint64_t *)field->ints, field->n_ints);
        put_longs(out, 4, field->numbers, field->n_numbers);
        close_message(out, number, begin);
    }
}

static void put_sequences(struct fr_buffer *out, int number, Freshet__V1__Sequence *const *sequences, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Freshet__V1__Sequence *sequence = sequences[i];
        size_t begin = open_message(out);

        put_text(out, 1, sequence->name);
        put_number(out, 2, sequence->key);
        put_rows(out, 3, sequence->rows, sequence->n_rows);
        put_fields(out, 4, sequence->fields, sequence->n_fields);
        close_message(out, number, begin);
    }
}

/* Blocks of 8-byte numbers are copied as they lie, too. */
static void put_padded(struct fr_buffer *out, int number, Freshet__V1__PaddedSequence *const *sequences, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Freshet__V1__PaddedSequence *sequence = sequences[i];
        size_t begin = open_message(out);

        put_text(out, 1, sequence->name);
        put_number(out, 2, sequence->length);
        put_rows(out, 3, sequence->item_rows, sequence->n_item_rows);
        put_longs(out, 4, sequence->keys, sequence->n_keys);
        put_rows(out, 5, sequence->lengths, sequence->n_lengths);
        put_bools(out, 6, sequence->mask, sequence->n_mask);
        put_texts(out, 7, sequence->id_fields, sequence->n_id_fields);
        put_longs(out, 8, sequence->ids, sequence->n_ids);
        put_texts(out, 9, sequence->int_fields, sequence->n_int_fields);
        put_longs(out, 10, sequence->ints, sequence->n_ints);
        put_texts(out, 11, sequence->number_fields, sequence->n_number_fields);
        put_longs(out, 12, sequence->numbers, sequence->n_numbers);
        close_message(out, number, begin);
    }
}

void proto_features_pack(const ProtobufCMessage *message, struct fr_buffer *out)
{
    const Freshet__V1__GetFeaturesResponse *response = (const Freshet__V1__GetFeaturesResponse *)message;

    assert(message->descriptor == &freshet__v1__get_features_response__descriptor && message->n_unknown_fields == 0);
    /* One growth instead of many; the rest is names and a sequence or two. */
    if (!fr_buffer_reserve(out, response->n_item_values * sizeof(float) + response->n_item_present + 4096))
        return;
    if (response->request_id != 0) {
        fr_buffer_append_byte(out, tag_of(1, PROTO__FIXED64));
        fr_buffer_append_fixed64(out, response->request_id);
    }
    put_number(out, 2, (uint64_t)response->stream_time_ms);
    put_number(out, 3, (uint64_t)response->applied_lag_ms);
    put_texts(out, 4, response->user_columns, response->n_user_columns);
    put_floats(out, 5, response->user_values, response->n_user_values);
    put_number(out, 6, response->user_present != 0);
    put_texts(out, 7, response->item_columns, response->n_item_columns);
    put_floats(out, 8, response->item_values, response->n_item_values);
    put_bools(out, 9, response->item_present, response->n_item_present);
    put_fields(out, 10, response->item_fields, response->n_item_fields);
    put_sequences(out, 11, response->sequences, response->n_sequences);
    put_padded(out, 12, response->padded, response->n_padded);
}
