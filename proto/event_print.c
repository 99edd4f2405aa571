/*
 * An event as one JSON object: every field, in the order of their numbers, 64-bit ones as strings.
 */
#include "internal.h"

struct printing {
    struct fr_buffer *out;
    bool is_first;
};

static void print_key(int field, struct fr_buffer *out)
{
    char camel[PROTO__NAME_BYTES];

    fr_buffer_append_byte(out, field == PROTO_FIELD_EVENT_ID ? '{' : ',');
    fr_buffer_append_byte(out, '"');
    fr_buffer_append(out, camel, proto__camel(proto_field_name(field), camel));
    fr_buffer_append(out, "\":", 2);
}

/* Enum values in capitals, as the .proto has them. */
static void print_name(const char *name, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '"');
    for (; *name; name++)
        fr_buffer_append_byte(out, (uint8_t)(*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name));
    fr_buffer_append_byte(out, '"');
}

static void print_attribute(void *user, struct fr_slice key, struct fr_slice value)
{
    struct printing *printing = user;

    if (!printing->is_first)
        fr_buffer_append_byte(printing->out, ',');
    printing->is_first = false;
    proto_json_quote(key, printing->out);
    fr_buffer_append_byte(printing->out, ':');
    proto_json_quote(value, printing->out);
}

static void print_attributes(const struct proto_event *event, struct fr_buffer *out)
{
    struct printing printing = {.out = out, .is_first = true};

    fr_buffer_append_byte(out, '{');
    if (!proto_event_attributes(event, print_attribute, &printing))
        out->is_failed = true;
    fr_buffer_append_byte(out, '}');
}

static void print_field(const struct proto_event *event, int field, struct fr_buffer *out)
{
    switch (field) {
    case PROTO_FIELD_TS_MS:
        proto__print_int_quoted(event->ts_ms, out);
        break;
    case PROTO_FIELD_ACTION:
        print_name(proto_action_name(event->action), out);
        break;
    case PROTO_FIELD_VALUE:
        proto__print_double(event->value, out);
        break;
    case PROTO_FIELD_DURATION_S:
        proto__print_double(event->duration_s, out);
        break;
    case PROTO_FIELD_SCENE:
        print_name(proto_scene_name(event->scene), out);
        break;
    case PROTO_FIELD_POSITION:
        proto__print_uint(event->position, out);
        break;
    case PROTO_FIELD_PROPENSITY:
        proto__print_float(event->propensity, out);
        break;
    case PROTO_FIELD_TEXT:
        proto_json_quote(event->text, out);
        break;
    case PROTO_FIELD_ATTRIBUTES:
        print_attributes(event, out);
        break;
    default:
        proto__print_uint_quoted(proto_event_id_field(event, field), out);
    }
}

void proto_event_to_json(const struct proto_event *event, struct fr_buffer *out)
{
    for (int field = PROTO_FIELD_EVENT_ID; field <= PROTO_FIELD_ATTRIBUTES; field++) {
        print_key(field, out);
        print_field(event, field, out);
    }
    fr_buffer_append_byte(out, '}');
}
