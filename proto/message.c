/*
 * Messages in and out of wire bytes, through protobuf-c. It trusts what it unpacks (1.4.1, measured: 64 times the memory for empty
 * submessages, the C stack for depth, strings cut at a NUL), so the bytes are walked first, by the same descriptors.
 */
#include "internal.h"

#include <freshet/text.h>

struct scan {
    const ProtobufCMessageDescriptor *type; /* the outermost */
    const uint8_t *begin;
    size_t fields;
    struct fr_err *err;
};

static bool refuse(const struct scan *scan, const uint8_t *at, const char *what)
{
    return fr_fail(scan->err, FR_BAD_INPUT, "%s: %s, at byte %zu", scan->type->name, what, (size_t)(at - scan->begin));
}

static int wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTO__FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTO__FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTO__BYTES;
    default:
        return PROTO__VARINT;
    }
}

static bool scan_message(struct scan *scan, const ProtobufCMessageDescriptor *type, struct fr_slice wire, int depth);

static bool scan_field(struct scan *scan, const ProtobufCFieldDescriptor *known, const struct proto__field *field,
                       const uint8_t *at, int depth)
{
    int expected = wire_type(known->type);
    bool is_packed = known->label == PROTOBUF_C_LABEL_REPEATED && expected != PROTO__BYTES && field->type == PROTO__BYTES;

    if (field->type != expected && !is_packed)
        return refuse(scan, at, "a field of another wire type than its own");
    if (known->type == PROTOBUF_C_TYPE_STRING) {
        if (!fr_text_is_utf8(field->bytes))
            return refuse(scan, at, "a string that is not UTF-8");
        if (memchr(proto__begin(field->bytes), 0, field->bytes.length))
            return refuse(scan, at, "a string with a NUL in it");
    }
    return known->type != PROTOBUF_C_TYPE_MESSAGE || scan_message(scan, known->descriptor, field->bytes, depth + 1);
}

static bool scan_message(struct scan *scan, const ProtobufCMessageDescriptor *type, struct fr_slice wire, int depth)
{
    const uint8_t *at = proto__begin(wire), *end = at + wire.length;

    if (depth > PROTO_MESSAGE_DEPTH_MAX)
        return refuse(scan, at, "messages nested too deep");
    while (at < end) {
        const ProtobufCFieldDescriptor *known;
        const uint8_t *start = at;
        struct proto__field field;

        at = proto__wire_next(at, end, &field);
        if (!at || field.type == PROTO__GROUP)
            return refuse(scan, start, "not the wire form of a message");
        if (++scan->fields > PROTO_MESSAGE_FIELDS_MAX)
            return refuse(scan, start, "more than 65536 fields");
        known = protobuf_c_message_descriptor_get_field(type, (unsigned)field.number);
        if (known && !scan_field(scan, known, &field, start, depth))
            return false;
    }
    return true;
}

/* protobuf-c's memory: the caller's arena, from which nothing goes back by itself. */
struct allocation {
    ProtobufCAllocator allocator;
    struct fr_arena *arena;
    bool is_exhausted;
};

static void *take(void *user, size_t bytes)
{
    struct allocation *allocation = user;
    void *taken = fr_arena_take(allocation->arena, bytes);

    if (!taken)
        allocation->is_exhausted = true;
    return taken;
}

static void keep(void *user, void *taken)
{
    (void)user;
    (void)taken;
}

ProtobufCMessage *proto_unpack(const ProtobufCMessageDescriptor *type, struct fr_slice wire, struct fr_arena *arena,
                               struct fr_err *err)
{
    struct allocation allocation = {.allocator = {.alloc = take, .free = keep}, .arena = arena};
    struct scan scan = {.type = type, .begin = proto__begin(wire), .err = err};
    ProtobufCMessage *message;

    allocation.allocator.allocator_data = &allocation;
    if (!scan_message(&scan, type, wire, 1))
        return NULL;
    message = protobuf_c_message_unpack(type, &allocation.allocator, wire.length, proto__begin(wire));
    if (message)
        return message;
    if (allocation.is_exhausted)
        fr_fail(err, FR_EXHAUSTED, "%s: what its %zu bytes unpack to is more than a call may take", type->name, wire.length);
    else
        fr_fail(err, FR_BAD_INPUT, "%s: a packed field whose values do not end with it", type->name);
    return NULL;
}

void proto_pack(const ProtobufCMessage *message, struct fr_buffer *out)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *room = fr_buffer_reserve(out, bytes);

    if (room)
        out->length += protobuf_c_message_pack(message, room);
}
