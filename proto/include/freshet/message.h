/*
 * Messages other than Event: protobuf-c's generated structs, packed and unpacked within limits, and their JSON form by
 * descriptors. Everything that is unpacked lives in the caller's arena and is never freed piece by piece. Thread: any.
 *
 * The generated headers are <freshet/v1/feature.pb-c.h> and so on; a `struct proto_message` is the head of each of them.
 */
#ifndef FRESHET_MESSAGE_H
#define FRESHET_MESSAGE_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/slice.h>

#include <protobuf-c/protobuf-c.h>

enum { PROTO_MESSAGE_FIELDS_MAX = 65536, PROTO_MESSAGE_DEPTH_MAX = 8 };

/*
 * Unpacks into `arena` after a pre-scan that bounds fields and depth and checks the UTF-8 of strings and NULs in them. NULL with
 * FR_BAD_INPUT (what and where) or FR_EXHAUSTED (the arena's limit).
 */
FR_CHECKED ProtobufCMessage *proto_unpack(const ProtobufCMessageDescriptor *type, struct fr_slice wire, struct fr_arena *arena,
                                          struct fr_err *err);

/* Appends the wire form. */
void proto_pack(const ProtobufCMessage *message, struct fr_buffer *out);

/* The same of a freshet.v1.GetFeaturesResponse without unknown fields, in a fraction of the time. */
void proto_features_pack(const ProtobufCMessage *message, struct fr_buffer *out);

/*
 * JSON → message in `arena`, by the Contract's rules: lowerCamelCase and proto names; 64-bit integers as numbers or strings;
 * id fields (uint64 and fixed64 but `seed` and versions) also as any string, hashed; enum names in any case; bytes as base64 in either
 * alphabet, padded or not; one field of a oneof at most; null is absent; unknown fields are refused with the nearest name. The
 * message names the field by its path, "item_ids[3]".
 */
FR_CHECKED ProtobufCMessage *proto_json_parse(const ProtobufCMessageDescriptor *type, struct fr_slice json,
                                              struct fr_arena *arena, struct fr_err *err);

/*
 * Appends the JSON form: one line, every field printed (of a oneof the one that is set), 64-bit integers as strings, floats shortest,
 * NaN as "NaN", bytes in padded base64.
 */
void proto_json_print(const ProtobufCMessage *message, struct fr_buffer *out);

/*
 * The same for messages with a google.protobuf.Any, whose JSON is that of the message in it beside its "@type". `find` knows the types
 * that it may hold. Others are refused when read. Printed they are told as what they are, bytes: {"@type":…,"value":base64}; likewise
 * one whose bytes are no such message. One that takes more than 16 MiB to unpack fails the buffer. Types whose own JSON is special (Duration, Struct
 * and so on, Any itself) are none that `find` may give.
 */
typedef const ProtobufCMessageDescriptor *(*proto_find_fn)(const char *full_name);
FR_CHECKED ProtobufCMessage *proto_json_parse_with(const ProtobufCMessageDescriptor *type, struct fr_slice json,
                                                   proto_find_fn find, struct fr_arena *arena, struct fr_err *err);
void proto_json_print_with(const ProtobufCMessage *message, proto_find_fn find, struct fr_buffer *out);

/* Appends `text` as a JSON string with its quotes. */
void proto_json_quote(struct fr_slice text, struct fr_buffer *out);

/* A message type by its full name, "freshet.v1.GetFeaturesRequest"; NULL when there is none. */
const ProtobufCMessageDescriptor *proto_type_find(const char *full_name);

/* The serialized google.protobuf.FileDescriptorSet of all files, imports included, for reflection. Static memory. */
struct fr_slice proto_descriptor_set(void);

#endif
