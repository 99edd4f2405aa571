/*
 * JSON to messages, by their descriptors. Whoever asks is told which field is wrong and what would be right, by its path.
 */
#include "json_message.h"

#include <freshet/text.h>

#include <stdio.h>

enum { NAMES_MAX = 64 };

static bool read_message(struct proto__parsing *parsing, const struct proto__place *place,
                         const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret);

/* "after[2].partition" */
static size_t print_place(const struct proto__place *place, char path[PROTO__PATH_BYTES], size_t length)
{
    int printed;

    if (!place->outer)
        return length;
    length = print_place(place->outer, path, length);
    if (length >= PROTO__PATH_BYTES)
        return length;
    printed = snprintf(path + length, PROTO__PATH_BYTES - length, "%s%s", length > 0 ? "." : "", place->name);
    length += (size_t)printed;
    if (place->has_index && length < PROTO__PATH_BYTES)
        length += (size_t)snprintf(path + length, PROTO__PATH_BYTES - length, "[%zu]", place->index);
    return length;
}

bool proto__parse_refuse(const struct proto__parsing *parsing, const struct proto__place *place,
                         const struct proto__json_value *value, const char *what, const char *use)
{
    static const char *const kinds[] = {"null", "false", "true", "", "", "an object", "an array"};
    bool is_shown = value->kind == PROTO__JSON_NUMBER || value->kind == PROTO__JSON_STRING;
    const char *quote = value->kind == PROTO__JSON_STRING ? "\"" : "";
    char path[PROTO__PATH_BYTES] = "";

    print_place(place, path, 0);
    return fr_fail(parsing->err, FR_BAD_INPUT, "%s: %s%.*s%s is %s; use %s", path[0] ? path : "the message", quote,
                   is_shown ? proto__json_shown(value->text) : (int)strlen(kinds[value->kind]),
                   is_shown ? (const char *)value->text.bytes : kinds[value->kind], quote, what, use);
}

bool proto__parse_exhausted(const struct proto__parsing *parsing)
{
    return fr_fail(parsing->err, FR_EXHAUSTED, "the request takes more memory than a call may; send less at once");
}

/* A value that is not null, into `ret` by the field's type. */
static bool read_value(struct proto__parsing *parsing, const struct proto__place *place, const ProtobufCFieldDescriptor *field,
                       const struct proto__json_value *value, void *ret)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return proto__parse_scalar(parsing, place, field, value, ret);
    if (value->kind != PROTO__JSON_OBJECT)
        return proto__parse_refuse(parsing, place, value, "not an object", "one in braces");
    return read_message(parsing, place, field->descriptor, ret);
}

/* Counted first: an array takes exactly what it needs. */
static bool read_list(struct proto__parsing *parsing, struct proto__place *place, const ProtobufCFieldDescriptor *field,
                      const struct proto__json_value *array, ProtobufCMessage *message)
{
    size_t *count = (size_t *)(void *)((uint8_t *)message + field->quantifier_offset);
    void **values = (void **)(void *)((uint8_t *)message + field->offset);
    size_t bytes = proto__value_bytes(field->type);
    size_t given;
    uint8_t *room;

    if (array->kind != PROTO__JSON_ARRAY)
        return proto__parse_refuse(parsing, place, array, "not a list", "one in brackets");
    given = proto__json_count(&parsing->json);
    room = fr_arena_take_zeroed(parsing->arena, given + 1, bytes);
    if (!room)
        return proto__parse_exhausted(parsing);
    place->has_index = true;
    for (place->index = 0; proto__json_element(&parsing->json); place->index++) {
        struct proto__json_value value;

        if (!proto__json_value(&parsing->json, &value))
            break;
        if (value.kind == PROTO__JSON_NULL)
            return proto__parse_refuse(parsing, place, &value, "no element", "a value");
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

static bool refuse_unknown(const struct proto__parsing *parsing, const struct proto__place *place,
                           const ProtobufCMessageDescriptor *type, struct fr_slice name)
{
    char camel[NAMES_MAX / 2][PROTO__NAME_BYTES];
    const char *names[NAMES_MAX];
    const char *nearest;
    char path[PROTO__PATH_BYTES] = "";
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

/* Of fields that exclude each other the first is noted; the same again takes its own place. */
static bool choose(const struct proto__parsing *parsing, const struct proto__place *place,
                   const ProtobufCFieldDescriptor *field, ProtobufCMessage *message)
{
    uint32_t *chosen = (uint32_t *)(void *)((uint8_t *)message + field->quantifier_offset);
    char path[PROTO__PATH_BYTES] = "";

    if (*chosen == 0 || *chosen == field->id) {
        *chosen = field->id;
        return true;
    }
    print_place(place, path, 0);
    return fr_fail(parsing->err, FR_BAD_INPUT, "%s: excludes %s, which is there too; give one of them", path,
                   protobuf_c_message_descriptor_get_field(message->descriptor, *chosen)->name);
}

bool proto__parse_member(struct proto__parsing *parsing, const struct proto__place *outer, const struct proto__json_value *key,
                         ProtobufCMessage *message)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice name = proto__json_short(key, room);
    const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);
    struct proto__place place = {.outer = outer, .depth = outer->depth + 1};
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
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && !choose(parsing, &place, field, message))
        return false;
    return read_value(parsing, &place, field, &value, (uint8_t *)message + field->offset);
}

ProtobufCMessage *proto__parse_new(const struct proto__parsing *parsing, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = fr_arena_take_zeroed(parsing->arena, 1, type->sizeof_message);

    if (message)
        protobuf_c_message_init(type, message);
    return message;
}

/* The members of an object just opened. */
static bool read_message(struct proto__parsing *parsing, const struct proto__place *place,
                         const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
    ProtobufCMessage *message;
    struct proto__json_value key;

    if (place->depth >= PROTO_MESSAGE_DEPTH_MAX)
        return fr_fail(parsing->err, FR_BAD_INPUT, "%s: nested more than %d deep", place->name, PROTO_MESSAGE_DEPTH_MAX);
    message = proto__parse_new(parsing, type);
    if (!message)
        return proto__parse_exhausted(parsing);
    *ret = message;
    if (proto__is_any(type))
        return proto__parse_any(parsing, place, message);
    while (proto__json_member(&parsing->json, &key)) {
        if (!proto__parse_member(parsing, place, &key, message))
            return false;
    }
    return !parsing->json.fault;
}

ProtobufCMessage *proto_json_parse(const ProtobufCMessageDescriptor *type, struct fr_slice json, struct fr_arena *arena,
                                   struct fr_err *err)
{
    return proto_json_parse_with(type, json, NULL, arena, err);
}

ProtobufCMessage *proto_json_parse_with(const ProtobufCMessageDescriptor *type, struct fr_slice json, proto_find_fn find,
                                        struct fr_arena *arena, struct fr_err *err)
{
    struct proto__parsing parsing = {.json = proto__json_open(json), .find = find, .arena = arena, .err = err};
    const struct proto__place whole = {.name = type->short_name};
    struct proto__json_value object;
    ProtobufCMessage *message = NULL;

    if (proto__json_value(&parsing.json, &object)) {
        if (object.kind != PROTO__JSON_OBJECT) {
            proto__parse_refuse(&parsing, &whole, &object, "not an object", "one in braces");
            return NULL;
        }
        if (read_message(&parsing, &whole, type, &message) && proto__json_close(&parsing.json))
            return message;
    }
    if (parsing.json.fault)
        proto__json_fail(&parsing.json, type->short_name, err);
    return NULL;
}
