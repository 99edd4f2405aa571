/*
 * An event to wire bytes: what producers send, and what an event given as JSON becomes.
 */
#include "internal.h"

enum {
    NUMBER_BYTES_MAX = 2 + PROTO__VARINT_BYTES_MAX, /* key and value of what is no string */
    NUMBER_FIELDS = PROTO_FIELD_PROPENSITY,
};

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/* Fields of one-byte keys; zeros are left out. */
static uint8_t *put_number(uint8_t *at, int field, uint64_t value)
{
    if (value == 0)
        return at;
    *at++ = (uint8_t)PROTO__TAG(field, PROTO__VARINT);
    return put_varint(at, value);
}

static uint8_t *put_fixed64(uint8_t *at, int field, uint64_t bits)
{
    if (bits == 0)
        return at;
    *at++ = (uint8_t)PROTO__TAG(field, PROTO__FIXED64);
    bits = htole64(bits);
    memcpy(at, &bits, sizeof bits);
    return at + sizeof bits;
}

/* Only +0.0 is zero: −0.0 has a bit set. */
static uint8_t *put_double(uint8_t *at, int field, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return put_fixed64(at, field, bits);
}

static uint8_t *put_float(uint8_t *at, int field, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if (bits == 0)
        return at;
    *at++ = (uint8_t)PROTO__TAG(field, PROTO__FIXED32);
    bits = htole32(bits);
    memcpy(at, &bits, sizeof bits);
    return at + sizeof bits;
}

static void append_bytes(struct fr_buffer *out, int field, struct fr_slice bytes)
{
    fr_buffer_append_varint(out, PROTO__TAG(field, PROTO__BYTES));
    fr_buffer_append_varint(out, bytes.length);
    fr_buffer_append(out, bytes.bytes, bytes.length);
}

/* The attributes as they are on the wire, doubles and all. */
static void copy_attributes(struct fr_slice wire, struct fr_buffer *out)
{
    const uint8_t *at = proto__begin(wire);
    const uint8_t *end = at + wire.length;

    while (at && at < end) {
        struct proto__field field;

        at = proto__wire_next(at, end, &field);
        if (at && field.number == PROTO_FIELD_ATTRIBUTES && field.type == PROTO__BYTES)
            append_bytes(out, PROTO_FIELD_ATTRIBUTES, field.bytes);
    }
}

void proto_event_encode(const struct proto_event *event, struct fr_buffer *out)
{
    uint8_t *start = fr_buffer_reserve(out, NUMBER_FIELDS * NUMBER_BYTES_MAX);
    uint8_t *at = start;

    if (!start)
        return;
    at = put_fixed64(at, PROTO_FIELD_EVENT_ID, event->event_id);
    at = put_number(at, PROTO_FIELD_TS_MS, (uint64_t)event->ts_ms);
    at = put_number(at, PROTO_FIELD_USER_ID, event->user_id);
    at = put_number(at, PROTO_FIELD_ITEM_ID, event->item_id);
    at = put_number(at, PROTO_FIELD_CREATOR_ID, event->creator_id);
    at = put_number(at, PROTO_FIELD_ROOM_ID, event->room_id);
    at = put_number(at, PROTO_FIELD_CATEGORY_ID, event->category_id);
    at = put_number(at, PROTO_FIELD_REGION, event->region);
    at = put_number(at, PROTO_FIELD_ACTION, event->action);
    at = put_double(at, PROTO_FIELD_VALUE, event->value);
    at = put_double(at, PROTO_FIELD_DURATION_S, event->duration_s);
    at = put_number(at, PROTO_FIELD_SCENE, event->scene);
    at = put_fixed64(at, PROTO_FIELD_REQUEST_ID, event->request_id);
    at = put_number(at, PROTO_FIELD_POSITION, event->position);
    at = put_float(at, PROTO_FIELD_PROPENSITY, event->propensity);
    out->length += (size_t)(at - start);
    if (event->text.length > 0)
        append_bytes(out, PROTO_FIELD_TEXT, event->text);
    copy_attributes(event->wire, out);
}

void proto_event_encode_attribute(struct fr_buffer *out, struct fr_slice key, struct fr_slice value)
{
    fr_buffer_append_varint(out, PROTO__TAG(PROTO_FIELD_ATTRIBUTES, PROTO__BYTES));
    fr_buffer_append_varint(out, proto__wire_string_bytes(key.length) + proto__wire_string_bytes(value.length));
    append_bytes(out, 1, key);
    append_bytes(out, 2, value);
}
