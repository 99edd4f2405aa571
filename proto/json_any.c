/*
 * google.protobuf.Any: a message of a type that is told beside it, whose JSON is that message's with the type as one more member,
 * "@type". That may come behind the others, so it is looked for first. Whoever asks knows which types there may be.
 */
#include "json_message.h"

#include <freshet/base64.h>

#include <google/protobuf/any.pb-c.h>

enum { UNPACKED_BYTES_MAX = 16 << 20 };

bool proto__is_any(const ProtobufCMessageDescriptor *type)
{
    return type == &google__protobuf__any__descriptor;
}

static const ProtobufCMessageDescriptor *find_type(proto_find_fn find, const char *url)
{
    const char *slash = strrchr(url, '/');
    const ProtobufCMessageDescriptor *type = find && slash ? find(slash + 1) : NULL;

    return type && !proto__is_any(type) ? type : NULL;
}

/* --- Read --- */

static const char url_form[] = "\"type.googleapis.com/package.Message\"";

static bool is_type_key(const struct proto__json_value *key)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];

    return fr_slice_is(proto__json_short(key, room), "@type");
}

static bool fail(const struct proto__parsing *parsing, const struct proto__place *place, const char *what)
{
    return proto__parse_refuse(parsing, place, &(struct proto__json_value){.kind = PROTO__JSON_OBJECT}, what,
                               "one member \"@type\"");
}

/*
 * Looks through the members for the type, of kind null when there are no members at all; the reader stays where it is, unless there is
 * a fault.
 */
static bool find_url(struct proto__parsing *parsing, const struct proto__place *place, struct proto__json_value *url)
{
    struct proto__json here = parsing->json;
    struct proto__json_value key, value;
    bool has_members = false, is_found = false;

    *url = (struct proto__json_value){.kind = PROTO__JSON_NULL};
    for (; proto__json_member(&parsing->json, &key); has_members = true) {
        if (!proto__json_value(&parsing->json, &value) || !proto__json_skip(&parsing->json, &value))
            return false;
        if (!is_type_key(&key))
            continue;
        if (is_found)
            return fail(parsing, place, "of two types");
        is_found = true;
        *url = value;
    }
    if (parsing->json.fault)
        return false;
    if (has_members && !is_found)
        return fail(parsing, place, "of no type");
    if (has_members && url->kind != PROTO__JSON_STRING)
        return proto__parse_refuse(parsing, place, url, "no type", url_form);
    parsing->json = here;
    return true;
}

static bool read_content(struct proto__parsing *parsing, const struct proto__place *place, ProtobufCMessage *message)
{
    struct proto__place content = *place; /* its fields have the path that they are written at */
    struct proto__json_value key;

    if (++content.depth >= PROTO_MESSAGE_DEPTH_MAX)
        return fr_fail(parsing->err, FR_BAD_INPUT, "%s: nested more than %d deep", place->name, PROTO_MESSAGE_DEPTH_MAX);
    while (proto__json_member(&parsing->json, &key)) {
        struct proto__json_value type;

        if (is_type_key(&key) ? !proto__json_value(&parsing->json, &type)
                              : !proto__parse_member(parsing, &content, &key, message))
            return false;
    }
    return !parsing->json.fault;
}

bool proto__parse_any(struct proto__parsing *parsing, const struct proto__place *place, ProtobufCMessage *any_in)
{
    Google__Protobuf__Any *any = (Google__Protobuf__Any *)any_in;
    const struct proto__place type_place = {.outer = place, .name = "@type"};
    const ProtobufCMessageDescriptor *type;
    struct proto__json_value url;
    ProtobufCMessage *message;

    if (!find_url(parsing, place, &url))
        return false;
    if (url.kind == PROTO__JSON_NULL)
        return !proto__json_member(&parsing->json, &url); /* nothing in it: to its end */
    if (!proto__parse_string(parsing, &type_place, &url, &any->type_url))
        return false;
    type = find_type(parsing->find, any->type_url);
    if (!type)
        return proto__parse_refuse(parsing, &type_place, &url, "no type that is known here", url_form);
    message = proto__parse_new(parsing, type);
    if (!message)
        return proto__parse_exhausted(parsing);
    if (!read_content(parsing, place, message))
        return false;
    any->value.len = protobuf_c_message_get_packed_size(message);
    any->value.data = fr_arena_take(parsing->arena, any->value.len + 1);
    if (!any->value.data)
        return proto__parse_exhausted(parsing);
    protobuf_c_message_pack(message, any->value.data);
    return true;
}

/* --- Written --- */

/* False when it is none that we could print; nothing is printed then. */
static bool print_content(struct proto__printing *printing, const Google__Protobuf__Any *any)
{
    const ProtobufCMessageDescriptor *type = find_type(printing->find, any->type_url);
    struct fr_arena *arena;
    ProtobufCMessage *message;
    struct fr_err err;

    if (!type || printing->any_depth == PROTO_MESSAGE_DEPTH_MAX)
        return false;
    arena = fr_arena_new(UNPACKED_BYTES_MAX);
    message = arena ? proto_unpack(type, fr_slice(any->value.data, any->value.len), arena, &err) : NULL;
    if (!arena || (!message && err.code == FR_EXHAUSTED))
        printing->out->is_failed = true;
    if (message) {
        printing->any_depth++;
        proto__print_fields(printing, message, true);
        printing->any_depth--;
    }
    fr_arena_free(arena);
    return message != NULL;
}

void proto__print_any(struct proto__printing *printing, const ProtobufCMessage *any_in)
{
    const Google__Protobuf__Any *any = (const Google__Protobuf__Any *)any_in;
    struct fr_buffer *out = printing->out;

    if (any->type_url[0] == '\0' && any->value.len == 0)
        return;
    fr_buffer_append_text(out, "\"@type\":");
    proto_json_quote(fr_slice_of(any->type_url), out);
    if (print_content(printing, any))
        return;
    fr_buffer_append_text(out, ",\"value\":\"");
    fr_base64_print(fr_slice(any->value.data, any->value.len), true, out);
    fr_buffer_append_byte(out, '"');
}
