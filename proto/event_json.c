/*
 * Events as JSON. Numbers go into a struct, so that the last of two spellings wins; text and attributes go to the wire as they
 * come. What an event may be is judged later, by proto_event_read(): here only what a field's type cannot hold is refused.
 */
#include "internal.h"

#include <freshet/text.h>

struct reading {
    struct proto__json json;
    struct proto_event event; /* its numbers */
    struct fr_buffer *wire;
    struct fr_err *err;
};

static bool refuse(struct reading *reading, const char *where, const struct proto__json_value *value, const char *use)
{
    static const char *const kinds[] = {"null", "false", "true", "", "", "an object", "an array"};
    const char *quote = value->kind == PROTO__JSON_STRING ? "\"" : "";

    if (value->kind == PROTO__JSON_NUMBER || value->kind == PROTO__JSON_STRING)
        return fr_fail(reading->err, FR_BAD_INPUT, "event: %s: %s%.*s%s; use %s", where, quote, proto__json_shown(value->text),
                       (const char *)value->text.bytes, quote, use);
    return fr_fail(reading->err, FR_BAD_INPUT, "event: %s: %s; use %s", where, kinds[value->kind], use);
}

/* A string without its escapes, valid until the next thing is appended to the wire. False when memory is out. */
static bool plain_text(struct reading *reading, const struct proto__json_value *string, struct fr_slice *text)
{
    uint8_t *room;

    *text = string->text;
    if (!string->has_escapes)
        return true;
    room = fr_buffer_reserve(reading->wire, string->text.length);
    if (!room)
        return fr_fail(reading->err, FR_EXHAUSTED, "event: no memory for %zu bytes", string->text.length);
    *text = fr_slice(room, proto__json_unescape(string, room));
    return true;
}

static bool read_id(struct reading *reading, const char *where, const struct proto__json_value *value, uint64_t *id)
{
    struct fr_slice text;

    if (value->kind == PROTO__JSON_STRING) {
        if (!plain_text(reading, value, &text))
            return false;
        *id = fr_text_id(text);
        return true;
    }
    if (value->kind == PROTO__JSON_NUMBER && proto__number_uint(value->text, 64, id))
        return true;
    return refuse(reading, where, value, "0 to 18446744073709551615 or a string");
}

static bool read_time(struct reading *reading, const char *where, const struct proto__json_value *value, int64_t *ms)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    bool is_text = value->kind == PROTO__JSON_STRING;

    if ((is_text || value->kind == PROTO__JSON_NUMBER) &&
        proto__number_int(is_text ? proto__json_short(value, room) : value->text, 64, ms))
        return true;
    return refuse(reading, where, value, "Unix milliseconds");
}

static bool read_position(struct reading *reading, const char *where, const struct proto__json_value *value, uint32_t *position)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    bool is_text = value->kind == PROTO__JSON_STRING;
    uint64_t number;

    if ((!is_text && value->kind != PROTO__JSON_NUMBER) ||
        !proto__number_uint(is_text ? proto__json_short(value, room) : value->text, 32, &number))
        return refuse(reading, where, value, "0 to 4294967295");
    *position = (uint32_t)number;
    return true;
}

static bool read_double(struct reading *reading, const char *where, const struct proto__json_value *value, double *number)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    bool is_text = value->kind == PROTO__JSON_STRING;

    if ((is_text || value->kind == PROTO__JSON_NUMBER) &&
        proto__number_double(is_text ? proto__json_short(value, room) : value->text, is_text, number))
        return true;
    return refuse(reading, where, value, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
}

static bool read_propensity(struct reading *reading, const char *where, const struct proto__json_value *value)
{
    double number;

    if (!read_double(reading, where, value, &number))
        return false;
    reading->event.propensity = (float)number; /* beyond a float's range infinite, and then a bad_value */
    return true;
}

/* A name in any case or a number; what this node does not know is 0. */
static bool read_enum(struct reading *reading, const char *where, const struct proto__json_value *value,
                      int (*number_of)(struct fr_slice name), int count, uint32_t *number)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    int64_t given;

    if (value->kind == PROTO__JSON_STRING)
        given = number_of(proto__json_short(value, room));
    else if (value->kind != PROTO__JSON_NUMBER || !proto__number_int(value->text, 64, &given))
        return refuse(reading, where, value, "a name or its number");
    *number = given > 0 && given < count ? (uint32_t)given : 0;
    return true;
}

/* Straight to the wire, of `length` bytes without its escapes. */
static void append_string(struct fr_buffer *wire, uint32_t field, const struct proto__json_value *string, size_t length)
{
    uint8_t *room;

    fr_buffer_append_varint(wire, PROTO__TAG(field, PROTO__BYTES));
    fr_buffer_append_varint(wire, length);
    room = fr_buffer_reserve(wire, length);
    if (room)
        wire->length += proto__json_unescape(string, room);
}

static bool read_text(struct reading *reading, const char *where, const struct proto__json_value *value)
{
    if (value->kind != PROTO__JSON_STRING)
        return refuse(reading, where, value, "a string");
    append_string(reading->wire, PROTO_FIELD_TEXT, value, proto__json_unescape(value, NULL));
    return true;
}

static void append_attribute(struct fr_buffer *wire, const struct proto__json_value *key, const struct proto__json_value *value)
{
    size_t key_bytes = proto__json_unescape(key, NULL);
    size_t value_bytes = proto__json_unescape(value, NULL);

    fr_buffer_append_varint(wire, PROTO__TAG(PROTO_FIELD_ATTRIBUTES, PROTO__BYTES));
    fr_buffer_append_varint(wire, proto__wire_string_bytes(key_bytes) + proto__wire_string_bytes(value_bytes));
    append_string(wire, 1, key, key_bytes);
    append_string(wire, 2, value, value_bytes);
}

static bool read_attributes(struct reading *reading, const char *where, const struct proto__json_value *object)
{
    struct proto__json_value key, value;

    if (object->kind != PROTO__JSON_OBJECT)
        return refuse(reading, where, object, "an object of strings");
    while (proto__json_member(&reading->json, &key)) {
        if (!proto__json_value(&reading->json, &value))
            break;
        if (value.kind == PROTO__JSON_NULL)
            continue;
        if (value.kind != PROTO__JSON_STRING)
            return refuse(reading, where, &value, "strings for values");
        append_attribute(reading->wire, &key, &value);
    }
    return true; /* a fault stays with the reader, whose caller looks */
}

static bool read_field(struct reading *reading, int field, const struct proto__json_value *value)
{
    struct proto_event *event = &reading->event;
    const char *where = proto_field_name(field);

    switch (field) {
    case PROTO_FIELD_EVENT_ID:
        return read_id(reading, where, value, &event->event_id);
    case PROTO_FIELD_TS_MS:
        return read_time(reading, where, value, &event->ts_ms);
    case PROTO_FIELD_USER_ID:
        return read_id(reading, where, value, &event->user_id);
    case PROTO_FIELD_ITEM_ID:
        return read_id(reading, where, value, &event->item_id);
    case PROTO_FIELD_CREATOR_ID:
        return read_id(reading, where, value, &event->creator_id);
    case PROTO_FIELD_ROOM_ID:
        return read_id(reading, where, value, &event->room_id);
    case PROTO_FIELD_CATEGORY_ID:
        return read_id(reading, where, value, &event->category_id);
    case PROTO_FIELD_REGION:
        return read_id(reading, where, value, &event->region);
    case PROTO_FIELD_ACTION:
        return read_enum(reading, where, value, proto_action_number, PROTO_ACTIONS, &event->action);
    case PROTO_FIELD_VALUE:
        return read_double(reading, where, value, &event->value);
    case PROTO_FIELD_DURATION_S:
        return read_double(reading, where, value, &event->duration_s);
    case PROTO_FIELD_SCENE:
        return read_enum(reading, where, value, proto_scene_number, PROTO_SCENES, &event->scene);
    case PROTO_FIELD_REQUEST_ID:
        return read_id(reading, where, value, &event->request_id);
    case PROTO_FIELD_POSITION:
        return read_position(reading, where, value, &event->position);
    case PROTO_FIELD_PROPENSITY:
        return read_propensity(reading, where, value);
    case PROTO_FIELD_TEXT:
        return read_text(reading, where, value);
    default:
        return read_attributes(reading, where, value);
    }
}

/* The field that a key names, 0 for none; producers write fields in order, so it is looked for from the last one on. */
static int find_field(const struct proto__json_value *key, int last)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice name = proto__json_short(key, room);

    for (int i = 0; i < PROTO_FIELD_ATTRIBUTES; i++) {
        int field = 1 + (last + i) % PROTO_FIELD_ATTRIBUTES;

        if (proto__is_field_name(name, proto_field_name(field)))
            return field;
    }
    return 0;
}

static bool read_members(struct reading *reading)
{
    struct proto__json *json = &reading->json;
    struct proto__json_value key, value;
    int last = 0;

    while (proto__json_member(json, &key)) {
        int field = find_field(&key, last);

        if (!proto__json_value(json, &value))
            break;
        if (field == 0) {
            if (!proto__json_skip(json, &value))
                break;
        } else if (value.kind != PROTO__JSON_NULL && !read_field(reading, field, &value)) {
            return false;
        }
        last = field != 0 ? field : last;
    }
    return proto__json_close(json) || proto__json_fail(json, "event", reading->err);
}

bool proto_event_from_json(struct fr_slice json, struct fr_buffer *wire, struct fr_err *err)
{
    struct reading reading = {.json = proto__json_open(json), .wire = wire, .err = err};
    struct proto__json_value object;
    size_t start = wire->length;
    bool is_read;

    if (!proto__json_value(&reading.json, &object))
        return proto__json_fail(&reading.json, "event", err);
    if (object.kind != PROTO__JSON_OBJECT)
        return fr_fail(err, FR_BAD_INPUT, "event: JSON, but no object");
    is_read = read_members(&reading);
    if (is_read)
        proto_event_encode(&reading.event, wire);
    if (wire->is_failed)
        return fr_fail(err, FR_EXHAUSTED, "event: no memory for its wire form");
    if (!is_read)
        wire->length = start;
    return is_read;
}
