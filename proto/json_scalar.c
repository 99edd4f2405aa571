/*
 * Single JSON values to the fields of messages, by the fields' types.
 */
#include "json_message.h"

#include <freshet/base64.h>
#include <freshet/text.h>

#include <assert.h>
#include <stdio.h>

bool proto__parse_plain(struct proto__parsing *parsing, const struct proto__json_value *string, struct fr_slice *text)
{
    uint8_t *copy = fr_arena_take(parsing->arena, string->text.length + 1);
    size_t length;

    *text = fr_slice(copy, 0);
    if (!copy)
        return proto__parse_exhausted(parsing);
    length = proto__json_unescape(string, copy);
    copy[length] = 0;
    *text = fr_slice(copy, length);
    return true;
}

/* All that is counted in uint64 names somebody, but seeds and versions. */
static bool is_id_field(const char *name)
{
    static const char version[] = "version";
    size_t length = strlen(name);

    if (strcmp(name, "seed") == 0)
        return false;
    return length < sizeof version - 1 || strcmp(name + length - (sizeof version - 1), version) != 0;
}

/* A number's text: of a number token or of a string. False for other kinds. */
static bool number_text(const struct proto__json_value *value, uint8_t room[PROTO__JSON_SHORT_BYTES], struct fr_slice *text)
{
    *text = value->kind == PROTO__JSON_STRING ? proto__json_short(value, room) : value->text;
    return value->kind == PROTO__JSON_STRING || value->kind == PROTO__JSON_NUMBER;
}

static bool read_uint64(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                        uint64_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    if (is_id_field(place->name)) {
        if (value->kind == PROTO__JSON_STRING) {
            text = value->text;
            if (value->has_escapes && !proto__parse_plain(parsing, value, &text))
                return false;
            *ret = fr_text_id(text);
            return true;
        }
        if (value->kind == PROTO__JSON_NUMBER && proto__number_uint(value->text, 64, ret))
            return true;
        return proto__parse_refuse(parsing, place, value, "not an id", "0 to 18446744073709551615 or a string");
    }
    return (number_text(value, room, &text) && proto__number_uint(text, 64, ret)) ||
           proto__parse_refuse(parsing, place, value, "not an unsigned integer", "0 to 18446744073709551615");
}

static bool read_int64(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                       int64_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    return (number_text(value, room, &text) && proto__number_int(text, 64, ret)) ||
           proto__parse_refuse(parsing, place, value, "not an integer", "-9223372036854775808 to 9223372036854775807");
}

static bool read_uint32(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                        uint32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;
    uint64_t number;

    if (!number_text(value, room, &text) || !proto__number_uint(text, 32, &number))
        return proto__parse_refuse(parsing, place, value, "not an unsigned integer", "0 to 4294967295");
    *ret = (uint32_t)number;
    return true;
}

static bool read_int32(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                       int32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;
    int64_t number;

    if (!number_text(value, room, &text) || !proto__number_int(text, 32, &number))
        return proto__parse_refuse(parsing, place, value, "not an integer", "-2147483648 to 2147483647");
    *ret = (int32_t)number;
    return true;
}

static bool read_double(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                        double *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    return (number_text(value, room, &text) && proto__number_double(text, value->kind == PROTO__JSON_STRING, ret)) ||
           proto__parse_refuse(parsing, place, value, "not a number", "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
}

static bool read_float(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                       float *ret)
{
    double number;

    if (!read_double(parsing, place, value, &number))
        return false;
    *ret = (float)number;
    return true;
}

static bool read_bool(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                      protobuf_c_boolean *ret)
{
    if (value->kind != PROTO__JSON_TRUE && value->kind != PROTO__JSON_FALSE)
        return proto__parse_refuse(parsing, place, value, "not a boolean", "true or false");
    *ret = value->kind == PROTO__JSON_TRUE;
    return true;
}

/* "NONE, THOMPSON or UCB" */
static void print_names(const ProtobufCEnumDescriptor *type, char *names, size_t bytes)
{
    size_t length = 0;

    for (unsigned i = 0; i < type->n_values && length < bytes; i++) {
        const char *before = i == 0 ? "" : i + 1 < type->n_values ? ", " : " or ";

        length += (size_t)snprintf(names + length, bytes - length, "%s%s", before, type->values[i].name);
    }
}

static bool read_enum(struct proto__parsing *parsing, const struct proto__place *place, const ProtobufCEnumDescriptor *type,
                      const struct proto__json_value *value, int32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    char names[PROTO__PATH_BYTES] = "";
    struct fr_slice name;
    int64_t number;

    if (value->kind == PROTO__JSON_NUMBER && proto__number_int(value->text, 32, &number)) {
        *ret = (int32_t)number;
        return true;
    }
    name = proto__json_short(value, room);
    for (unsigned i = 0; value->kind == PROTO__JSON_STRING && i < type->n_values; i++) {
        if (fr_text_equal_nocase(name, type->values[i].name)) {
            *ret = type->values[i].value;
            return true;
        }
    }
    print_names(type, names, sizeof names);
    return proto__parse_refuse(parsing, place, value, "not known", names);
}

bool proto__parse_string(struct proto__parsing *parsing, const struct proto__place *place,
                         const struct proto__json_value *value, char **ret)
{
    struct fr_slice text;

    if (value->kind != PROTO__JSON_STRING)
        return proto__parse_refuse(parsing, place, value, "not a string", "one in double quotes");
    if (!proto__parse_plain(parsing, value, &text))
        return false;
    if (memchr(text.bytes, 0, text.length))
        return proto__parse_refuse(parsing, place, value, "a string with a NUL in it", "one without");
    *ret = (char *)(uintptr_t)text.bytes; /* ours, so it may be written */
    return true;
}

/* Decoded where its letters lie. */
static bool read_bytes(struct proto__parsing *parsing, const struct proto__place *place, const struct proto__json_value *value,
                       ProtobufCBinaryData *ret)
{
    struct fr_slice text;

    if (value->kind != PROTO__JSON_STRING)
        return proto__parse_refuse(parsing, place, value, "not bytes", "a string of base64");
    if (!proto__parse_plain(parsing, value, &text))
        return false;
    ret->data = (uint8_t *)(uintptr_t)text.bytes; /* ours, so it may be written */
    return fr_base64_read(text, ret->data, &ret->len) ||
           proto__parse_refuse(parsing, place, value, "not base64", "its letters in fours, in one of its alphabets");
}

bool proto__parse_scalar(struct proto__parsing *parsing, const struct proto__place *place,
                         const ProtobufCFieldDescriptor *field, const struct proto__json_value *value, void *ret)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint32(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_int64(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_uint64(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(parsing, place, field->descriptor, value, ret);
    case PROTOBUF_C_TYPE_STRING:
        return proto__parse_string(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    assert(field->type != PROTOBUF_C_TYPE_MESSAGE); /* no scalar */
    return false;
}
