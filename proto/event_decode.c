/*
 * Wire bytes to an event: one pass, one switch, nothing allocated. This is the lane's hot path.
 *
 * The switch is over the whole key (number and wire type), so a known number with another wire type falls through to the unknown
 * ones and is skipped: protobuf's rule, and where protobuf-c refuses the message instead.
 */
#include "internal.h"

#include <freshet/text.h>

enum {
    EVENT_ID = PROTO__TAG(PROTO_FIELD_EVENT_ID, PROTO__FIXED64),
    TS_MS = PROTO__TAG(PROTO_FIELD_TS_MS, PROTO__VARINT),
    USER_ID = PROTO__TAG(PROTO_FIELD_USER_ID, PROTO__VARINT),
    ITEM_ID = PROTO__TAG(PROTO_FIELD_ITEM_ID, PROTO__VARINT),
    CREATOR_ID = PROTO__TAG(PROTO_FIELD_CREATOR_ID, PROTO__VARINT),
    ROOM_ID = PROTO__TAG(PROTO_FIELD_ROOM_ID, PROTO__VARINT),
    CATEGORY_ID = PROTO__TAG(PROTO_FIELD_CATEGORY_ID, PROTO__VARINT),
    REGION = PROTO__TAG(PROTO_FIELD_REGION, PROTO__VARINT),
    ACTION = PROTO__TAG(PROTO_FIELD_ACTION, PROTO__VARINT),
    VALUE = PROTO__TAG(PROTO_FIELD_VALUE, PROTO__FIXED64),
    DURATION_S = PROTO__TAG(PROTO_FIELD_DURATION_S, PROTO__FIXED64),
    SCENE = PROTO__TAG(PROTO_FIELD_SCENE, PROTO__VARINT),
    REQUEST_ID = PROTO__TAG(PROTO_FIELD_REQUEST_ID, PROTO__FIXED64),
    POSITION = PROTO__TAG(PROTO_FIELD_POSITION, PROTO__VARINT),
    PROPENSITY = PROTO__TAG(PROTO_FIELD_PROPENSITY, PROTO__FIXED32),
    TEXT = PROTO__TAG(PROTO_FIELD_TEXT, PROTO__BYTES),
    ATTRIBUTES = PROTO__TAG(PROTO_FIELD_ATTRIBUTES, PROTO__BYTES),
};

/* Any 4 or 8 bytes of the wire into a field of that size, bits as they are. */
static inline const uint8_t *take_fixed64(const uint8_t *at, const uint8_t *end, void *field)
{
    if (end - at < 8)
        return NULL;
    uint64_t bits = proto__load64(at);

    memcpy(field, &bits, sizeof bits);
    return at + 8;
}

static inline const uint8_t *take_fixed32(const uint8_t *at, const uint8_t *end, void *field)
{
    if (end - at < 4)
        return NULL;
    uint32_t bits = proto__load32(at);

    memcpy(field, &bits, sizeof bits);
    return at + 4;
}

/* Protobuf cuts what is declared with 32 bits. */
static inline const uint8_t *take_uint32(const uint8_t *at, const uint8_t *end, uint32_t *field)
{
    uint64_t value = 0;

    at = proto__wire_varint(at, end, &value);
    *field = (uint32_t)value;
    return at;
}

static const uint8_t *take_text(const uint8_t *at, const uint8_t *end, struct fr_slice *text)
{
    at = proto__wire_bytes(at, end, text);
    return at && fr_text_is_utf8(*text) ? at : NULL;
}

static const uint8_t *check_attribute(const uint8_t *at, const uint8_t *end)
{
    struct fr_slice entry, key, value;

    at = proto__wire_bytes(at, end, &entry);
    return at && proto__attribute_read(entry, &key, &value) ? at : NULL;
}

/* What follows `tag`, into its field. */
static inline const uint8_t *take_field(uint64_t tag, const uint8_t *at, const uint8_t *end, struct proto_event *event,
                                        bool *has_attributes)
{
    uint64_t value = 0;

    switch (tag) {
    case EVENT_ID:
        return take_fixed64(at, end, &event->event_id);
    case TS_MS:
        at = proto__wire_varint(at, end, &value);
        event->ts_ms = (int64_t)value;
        return at;
    case USER_ID:
        return proto__wire_varint(at, end, &event->user_id);
    case ITEM_ID:
        return proto__wire_varint(at, end, &event->item_id);
    case CREATOR_ID:
        return proto__wire_varint(at, end, &event->creator_id);
    case ROOM_ID:
        return proto__wire_varint(at, end, &event->room_id);
    case CATEGORY_ID:
        return proto__wire_varint(at, end, &event->category_id);
    case REGION:
        return proto__wire_varint(at, end, &event->region);
    case ACTION:
        return take_uint32(at, end, &event->action);
    case VALUE:
        return take_fixed64(at, end, &event->value);
    case DURATION_S:
        return take_fixed64(at, end, &event->duration_s);
    case SCENE:
        return take_uint32(at, end, &event->scene);
    case REQUEST_ID:
        return take_fixed64(at, end, &event->request_id);
    case POSITION:
        return take_uint32(at, end, &event->position);
    case PROPENSITY:
        return take_fixed32(at, end, &event->propensity);
    case TEXT:
        return take_text(at, end, &event->text);
    case ATTRIBUTES:
        *has_attributes = true;
        return check_attribute(at, end);
    default:
        return proto__wire_skip(at, end, tag);
    }
}

bool proto_event_decode(struct fr_slice wire, struct proto_event *event, struct fr_err *err)
{
    const uint8_t *begin = proto__begin(wire);
    const uint8_t *at = begin, *end = begin + wire.length;
    bool has_attributes = false;

    memset(event, 0, sizeof *event);
    while (at < end) {
        const uint8_t *start = at;
        uint64_t tag = *at;

        if (tag >= 8 && tag < 0x80)
            at++;
        else
            at = proto__wire_tag(at, end, &tag);
        if (at)
            at = take_field(tag, at, end, event, &has_attributes);
        if (!at)
            return fr_fail(err, FR_BAD_INPUT,
                           "event: not the wire form of a freshet.v1.Event, or a string is not UTF-8: byte %zu of %zu",
                           (size_t)(start - begin), wire.length);
    }
    if (event->action >= PROTO_ACTIONS)
        event->action = 0;
    if (event->scene >= PROTO_SCENES)
        event->scene = 0;
    if (has_attributes)
        event->wire = wire;
    return true;
}
