/*
 * What the files share that make JSON of messages and messages of JSON: json_parse.c and json_print.c go through the fields of a
 * message, json_scalar.c reads single values, json_any.c knows google.protobuf.Any, whose JSON is that of what is in it.
 */
#ifndef FRESHET_PROTO_JSON_MESSAGE_H
#define FRESHET_PROTO_JSON_MESSAGE_H

#include "internal.h"

/* --- Read --- */

enum { PROTO__PATH_BYTES = 160 };

struct proto__parsing {
    struct proto__json json;
    proto_find_fn find; /* what an Any may hold; NULL: nothing */
    struct fr_arena *arena;
    struct fr_err *err;
};

/* Where we are: a chain through the stack, made into text only when something is wrong. */
struct proto__place {
    const struct proto__place *outer; /* NULL: the whole message */
    const char *name;
    size_t index;
    bool has_index;
    int depth;
};

/* All of these are false, or return false, when `err` says why or the reader has a fault, which the outermost caller reports. */
bool proto__parse_refuse(const struct proto__parsing *parsing, const struct proto__place *place,
                         const struct proto__json_value *value, const char *what, const char *use);
bool proto__parse_exhausted(const struct proto__parsing *parsing);

/* A string without its escapes, terminated, in the arena. */
bool proto__parse_plain(struct proto__parsing *parsing, const struct proto__json_value *string, struct fr_slice *text);

/* The same as C has it: without a NUL in it. */
bool proto__parse_string(struct proto__parsing *parsing, const struct proto__place *place,
                         const struct proto__json_value *value, char **ret);

/* A value that is not null, into `ret` by the type of `field`, which is no message. */
bool proto__parse_scalar(struct proto__parsing *parsing, const struct proto__place *place,
                         const ProtobufCFieldDescriptor *field, const struct proto__json_value *value, void *ret);

/* The member of `message` whose key was just read. */
bool proto__parse_member(struct proto__parsing *parsing, const struct proto__place *outer, const struct proto__json_value *key,
                         ProtobufCMessage *message);

/* A message of `type` without any field, in the arena; NULL when memory is out. */
ProtobufCMessage *proto__parse_new(const struct proto__parsing *parsing, const ProtobufCMessageDescriptor *type);

bool proto__is_any(const ProtobufCMessageDescriptor *type);

/* The members of an Any, an object just opened. */
bool proto__parse_any(struct proto__parsing *parsing, const struct proto__place *place, ProtobufCMessage *any);

/* --- Written --- */

struct proto__printing {
    struct fr_buffer *out;
    proto_find_fn find; /* as above */
    int any_depth; /* how many lie around this one */
};

/* The fields, without braces; `has_before`: behind a member. */
void proto__print_fields(struct proto__printing *printing, const ProtobufCMessage *message, bool has_before);
void proto__print_any(struct proto__printing *printing, const ProtobufCMessage *any);

#endif
