/*
 * JSON to messages, by their descriptors. Whoever asks is told which field is wrong and what would be right, by its path.
 */
#include "internal.h"

#include <freshet/text.h>

#include <stdio.h>

enum { NAMES_MAX = 64, PATH_BYTES = 160 };

struct parsing {
    struct proto__json json;
    struct fr_arena *arena;
    struct fr_err *err;
};

/* Where we are: a chain through the stack, made into text only when something is wrong. */
struct place {
    const struct place *outer; /* NULL: the whole message */
    const char *name;
    size_t index;
    bool has_index;
    int depth;
};

static bool read_message(struct parsing *parsing, const struct place *place, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret);

/* "after[2].partition" */
static size_t print_place(const struct place *place, char path[PATH_BYTES], size_t length)
{
    int printed;

    if (!place->outer)
        return length;
    length = print_place(place->outer, path, length);
    if (length >= PATH_BYTES)
        return length;
    printed = snprintf(path + length, PATH_BYTES - length, "%s%s", length > 0 ? "." : "", place->name);
    length += (size_t)printed;
    if (place->has_index && length < PATH_BYTES)
        length += (size_t)snprintf(path + length, PATH_BYTES - length, "[%zu]", place->index);
    return length;
}

static bool refuse(const struct parsing *parsing, const struct place *place, const struct proto__json_value *value,
                   const char *what, const char *use)
{
    static const char *const kinds[] = {"null", "false", "true", "", "", "an object", "an array"};
    bool is_shown = value->kind == PROTO__JSON_NUMBER || value->kind == PROTO__JSON_STRING;
    const char *quote = value->kind == PROTO__JSON_STRING ? "\"" : "";
    char path[PATH_BYTES] = "";

    print_place(place, path, 0);
    return fr_fail(parsing->err, FR_BAD_INPUT, "%s: %s%.*s%s is %s; use %s", path[0] ? path : "the message", quote,
                   is_shown ? proto__json_shown(value->text) : (int)strlen(kinds[value->kind]),
                   is_shown ? (const char *)value->text.bytes : kinds[value->kind], quote, what, use);
}

static bool exhausted(const struct parsing *parsing)
{
    return fr_fail(parsing->err, FR_EXHAUSTED, "the request takes more memory than a call may; send less at once");
}

/* A string without its escapes, terminated, in the arena. */
static bool read_plain(struct parsing *parsing, const struct proto__json_value *string, struct fr_slice *text)
{
    uint8_t *copy = fr_arena_take(parsing->arena, string->text.length + 1);
    size_t length;

    *text = fr_slice(copy, 0);
    if (!copy)
        return exhausted(parsing);
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

static bool read_uint64(struct parsing *parsing, const struct place *place, const struct proto__json_value *value,
                        uint64_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    if (is_id_field(place->name)) {
        if (value->kind == PROTO__JSON_STRING) {
            text = value->text;
            if (value->has_escapes && !read_plain(parsing, value, &text))
                return false;
            *ret = fr_text_id(text);
            return true;
        }
        if (value->kind == PROTO__JSON_NUMBER && proto__number_uint(value->text, 64, ret))
            return true;
        return refuse(parsing, place, value, "not an id", "0 to 18446744073709551615 or a string");
    }
    return (number_text(value, room, &text) && proto__number_uint(text, 64, ret)) ||
           refuse(parsing, place, value, "not an unsigned integer", "0 to 18446744073709551615");
}

static bool read_int64(struct parsing *parsing, const struct place *place, const struct proto__json_value *value, int64_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    return (number_text(value, room, &text) && proto__number_int(text, 64, ret)) ||
           refuse(parsing, place, value, "not an integer", "-9223372036854775808 to 9223372036854775807");
}

static bool read_uint32(struct parsing *parsing, const struct place *place, const struct proto__json_value *value,
                        uint32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;
    uint64_t number;

    if (!number_text(value, room, &text) || !proto__number_uint(text, 32, &number))
        return refuse(parsing, place, value, "not an unsigned integer", "0 to 4294967295");
    *ret = (uint32_t)number;
    return true;
}

static bool read_int32(struct parsing *parsing, const struct place *place, const struct proto__json_value *value, int32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;
    int64_t number;

    if (!number_text(value, room, &text) || !proto__number_int(text, 32, &number))
        return refuse(parsing, place, value, "not an integer", "-2147483648 to 2147483647");
    *ret = (int32_t)number;
    return true;
}

static bool read_double(struct parsing *parsing, const struct place *place, const struct proto__json_value *value, double *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice text;

    return (number_text(value, room, &text) && proto__number_double(text, value->kind == PROTO__JSON_STRING, ret)) ||
           refuse(parsing, place, value, "not a number", "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
}

static bool read_float(struct parsing *parsing, const struct place *place, const struct proto__json_value *value, float *ret)
{
    double number;

    if (!read_double(parsing, place, value, &number))
        return false;
    *ret = (float)number;
    return true;
}

static bool read_bool(struct parsing *parsing, const struct place *place, const struct proto__json_value *value,
                      protobuf_c_boolean *ret)
{
    if (value->kind != PROTO__JSON_TRUE && value->kind != PROTO__JSON_FALSE)
        return refuse(parsing, place, value, "not a boolean", "true or false");
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

static bool read_enum(struct parsing *parsing, const struct place *place, const ProtobufCEnumDescriptor *type,
                      const struct proto__json_value *value, int32_t *ret)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    char names[PATH_BYTES] = "";
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
    return refuse(parsing, place, value, "not known", names);
}

static bool read_string(struct parsing *parsing, const struct place *place, const struct proto__json_value *value, char **ret)
{
    struct fr_slice text;

    if (value->kind != PROTO__JSON_STRING)
        return refuse(parsing, place, value, "not a string", "one in double quotes");
    if (!read_plain(parsing, value, &text))
        return false;
    if (memchr(text.bytes, 0, text.length))
        return refuse(parsing, place, value, "a string with a NUL in it", "one without");
    *ret = (char *)(uintptr_t)text.bytes; /* ours, so it may be written */
    return true;
}

/* A value that is not null, into `ret` by the field's type. */
static bool read_value(struct parsing *parsing, const struct place *place, const ProtobufCFieldDescriptor *field,
                       const struct proto__json_value *value, void *ret)
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
        return read_string(parsing, place, value, ret);
    case PROTOBUF_C_TYPE_MESSAGE:
        if (value->kind != PROTO__JSON_OBJECT)
            return refuse(parsing, place, value, "not an object", "one in braces");
        return read_message(parsing, place, field->descriptor, ret);
    default: /* bytes: no message has any, a test keeps watch */
        return refuse(parsing, place, value, "of a type without a JSON form", "null");
    }
}

/* Counted first: an array takes exactly what it needs. */
static bool read_list(struct parsing *parsing, struct place *place, const ProtobufCFieldDescriptor *field,
                      const struct proto__json_value *array, ProtobufCMessage *message)
{
    size_t *count = (size_t *)(void *)((uint8_t *)message + field->quantifier_offset);
    void **values = (void **)(void *)((uint8_t *)message + field->offset);
    size_t bytes = proto__value_bytes(field->type);
    size_t given;
    uint8_t *room;

    if (array->kind != PROTO__JSON_ARRAY)
        return refuse(parsing, place, array, "not a list", "one in brackets");
    given = proto__json_count(&parsing->json);
    room = fr_arena_take_zeroed(parsing->arena, given + 1, bytes);
    if (!room)
        return exhausted(parsing);
    place->has_index = true;
    for (place->index = 0; proto__json_element(&parsing->json); place->index++) {
        struct proto__json_value value;

        if (!proto__json_value(&parsing->json, &value))
            break;
        if (value.kind == PROTO__JSON_NULL)
            return refuse(parsing, place, &value, "no element", "a value");
        if (!read_value(parsing, place, field, &value, room + place->index * bytes))
            return false;
    }
    *count = given;
    *values = room;
    return !parsing->json.fault;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, struct fr_slice name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (proto__is_field_name(name, type->fields[i].name))
            return &type->fields[i];
    }
    return NULL;
}

static bool refuse_unknown(const struct parsing *parsing, const struct place *place, const ProtobufCMessageDescriptor *type,
                           struct fr_slice name)
{
    char camel[NAMES_MAX / 2][PROTO__NAME_BYTES];
    const char *names[NAMES_MAX];
    const char *nearest;
    char path[PATH_BYTES] = "";
    int count = 0;

    for (unsigned i = 0; i < type->n_fields && count < NAMES_MAX; i++) {
        proto__camel(type->fields[i].name, camel[i]);
        names[count++] = type->fields[i].name;
        names[count++] = camel[i];
    }
    nearest = fr_text_nearest(name, names, count);
    print_place(place, path, 0);
    return fr_fail(parsing->err, FR_BAD_INPUT, "%s%s%.*s: %s has no such field%s%s%s", path, path[0] ? "." : "",
                   proto__json_shown(name), (const char *)name.bytes, type->short_name, nearest ? "; did you mean '" : "",
                   nearest ? nearest : "", nearest ? "'?" : "");
}

static bool read_member(struct parsing *parsing, const struct place *outer, const struct proto__json_value *key,
                        ProtobufCMessage *message)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice name = proto__json_short(key, room);
    const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);
    struct place place = {.outer = outer, .depth = outer->depth + 1};
    struct proto__json_value value;

    if (!field)
        return refuse_unknown(parsing, outer, message->descriptor, name);
    place.name = field->name;
    if (!proto__json_value(&parsing->json, &value))
        return false;
    if (value.kind == PROTO__JSON_NULL)
        return true;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(parsing, &place, field, &value, message);
    return read_value(parsing, &place, field, &value, (uint8_t *)message + field->offset);
}

/* The members of an object just opened. False also on a fault of the reader, which the outermost caller reports. */
static bool read_message(struct parsing *parsing, const struct place *place, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret)
{
    ProtobufCMessage *message;
    struct proto__json_value key;

    if (place->depth >= PROTO_MESSAGE_DEPTH_MAX)
        return fr_fail(parsing->err, FR_BAD_INPUT, "%s: nested more than %d deep", place->name, PROTO_MESSAGE_DEPTH_MAX);
    message = fr_arena_take_zeroed(parsing->arena, 1, type->sizeof_message);
    if (!message)
        return exhausted(parsing);
    protobuf_c_message_init(type, message);
    while (proto__json_member(&parsing->json, &key)) {
        if (!read_member(parsing, place, &key, message))
            return false;
    }
    *ret = message;
    return !parsing->json.fault;
}

ProtobufCMessage *proto_json_parse(const ProtobufCMessageDescriptor *type, struct fr_slice json, struct fr_arena *arena,
                                   struct fr_err *err)
{
    struct parsing parsing = {.json = proto__json_open(json), .arena = arena, .err = err};
    const struct place whole = {.name = type->short_name};
    struct proto__json_value object;
    ProtobufCMessage *message = NULL;

    if (proto__json_value(&parsing.json, &object)) {
        if (object.kind != PROTO__JSON_OBJECT) {
            refuse(&parsing, &whole, &object, "not an object", "one in braces");
            return NULL;
        }
        if (read_message(&parsing, &whole, type, &message) && proto__json_close(&parsing.json))
            return message;
    }
    if (parsing.json.fault)
        proto__json_fail(&parsing.json, type->short_name, err);
    return NULL;
}
