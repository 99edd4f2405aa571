/*
 * Messages as JSON, by their descriptors: every field, also what is zero, false or empty.
 */
#include "json_message.h"

#include <freshet/base64.h>

static void print_message(struct proto__printing *printing, const ProtobufCMessage *message);

static void print_enum(const ProtobufCEnumDescriptor *type, int value, struct fr_buffer *out)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

    if (known)
        proto_json_quote(fr_slice_of(known->name), out);
    else
        proto__print_int(value, out);
}

static void print_text(const char *text, struct fr_buffer *out)
{
    proto_json_quote(fr_slice_of(text ? text : ""), out);
}

static void print_bytes(const ProtobufCBinaryData *bytes, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '"');
    fr_base64_print(fr_slice(bytes->data, bytes->len), true, out);
    fr_buffer_append_byte(out, '"');
}

static void print_submessage(struct proto__printing *printing, const ProtobufCMessage *message)
{
    if (message)
        print_message(printing, message);
    else
        fr_buffer_append_text(printing->out, "null");
}

/* One value of the field's type, at `value`. */
static void print_value(struct proto__printing *printing, const ProtobufCFieldDescriptor *field, const void *value)
{
    struct fr_buffer *out = printing->out;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        proto__print_int(*(const int32_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        proto__print_uint(*(const uint32_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        proto__print_int_quoted(*(const int64_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        proto__print_uint_quoted(*(const uint64_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        proto__print_float(*(const float *)value, out);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        proto__print_double(*(const double *)value, out);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        fr_buffer_append_text(out, *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(field->descriptor, *(const int *)value, out);
        break;
    case PROTOBUF_C_TYPE_STRING:
        print_text(*(char *const *)value, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        print_submessage(printing, *(ProtobufCMessage *const *)value);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        print_bytes(value, out);
        break;
    }
}

static void print_list(struct proto__printing *printing, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    struct fr_buffer *out = printing->out;
    const uint8_t *at = (const uint8_t *)message;
    size_t count = *(const size_t *)(at + field->quantifier_offset);
    const uint8_t *values = *(uint8_t *const *)(at + field->offset);
    size_t bytes = proto__value_bytes(field->type);

    fr_buffer_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            fr_buffer_append_byte(out, ',');
        print_value(printing, field, values + i * bytes);
    }
    fr_buffer_append_byte(out, ']');
}

/* Of fields that exclude each other one is there at most. */
static bool is_there(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    const void *chosen = (const uint8_t *)message + field->quantifier_offset;

    return !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *(const uint32_t *)chosen == field->id;
}

void proto__print_fields(struct proto__printing *printing, const ProtobufCMessage *message, bool has_before)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    struct fr_buffer *out = printing->out;

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char camel[PROTO__NAME_BYTES];

        if (!is_there(field, message))
            continue;
        fr_buffer_append_text(out, has_before ? ",\"" : "\"");
        fr_buffer_append(out, camel, proto__camel(field->name, camel));
        fr_buffer_append(out, "\":", 2);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            print_list(printing, field, message);
        else
            print_value(printing, field, (const uint8_t *)message + field->offset);
        has_before = true;
    }
}

static void print_message(struct proto__printing *printing, const ProtobufCMessage *message)
{
    fr_buffer_append_byte(printing->out, '{');
    if (proto__is_any(message->descriptor))
        proto__print_any(printing, message);
    else
        proto__print_fields(printing, message, false);
    fr_buffer_append_byte(printing->out, '}');
}

void proto_json_print(const ProtobufCMessage *message, struct fr_buffer *out)
{
    proto_json_print_with(message, NULL, out);
}

void proto_json_print_with(const ProtobufCMessage *message, proto_find_fn find, struct fr_buffer *out)
{
    struct proto__printing printing = {.out = out, .find = find};

    print_message(&printing, message);
}

size_t proto__value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}
