/*
 * Messages as JSON, by their descriptors: every field, also what is zero, false or empty.
 */
#include "internal.h"

static void print_message(const ProtobufCMessage *message, struct fr_buffer *out);

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

static void print_submessage(const ProtobufCMessage *message, struct fr_buffer *out)
{
    if (message)
        print_message(message, out);
    else
        fr_buffer_append_text(out, "null");
}

/* One value of the field's type, at `value`. */
static void print_value(const ProtobufCFieldDescriptor *field, const void *value, struct fr_buffer *out)
{
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
        print_submessage(*(ProtobufCMessage *const *)value, out);
        break;
    case PROTOBUF_C_TYPE_BYTES: /* no message has any: a test keeps watch */
        fr_buffer_append_text(out, "null");
        break;
    }
}

static void print_list(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, struct fr_buffer *out)
{
    const uint8_t *at = (const uint8_t *)message;
    size_t count = *(const size_t *)(at + field->quantifier_offset);
    const uint8_t *values = *(uint8_t *const *)(at + field->offset);
    size_t bytes = proto__value_bytes(field->type);

    fr_buffer_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            fr_buffer_append_byte(out, ',');
        print_value(field, values + i * bytes, out);
    }
    fr_buffer_append_byte(out, ']');
}

static void print_message(const ProtobufCMessage *message, struct fr_buffer *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    fr_buffer_append_byte(out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char camel[PROTO__NAME_BYTES];

        fr_buffer_append_text(out, i > 0 ? ",\"" : "\"");
        fr_buffer_append(out, camel, proto__camel(field->name, camel));
        fr_buffer_append(out, "\":", 2);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            print_list(field, message, out);
        else
            print_value(field, (const uint8_t *)message + field->offset, out);
    }
    fr_buffer_append_byte(out, '}');
}

void proto_json_print(const ProtobufCMessage *message, struct fr_buffer *out)
{
    print_message(message, out);
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
