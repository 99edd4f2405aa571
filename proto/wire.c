/*
 * The protobuf wire format, one field at a time, for whoever does not know beforehand what comes: unknown fields, attributes, the
 * scan before protobuf-c. The event decoder has its own loop and shares only the pieces.
 */
#include "internal.h"

const uint8_t *proto__wire_varint_slow(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;

    for (int i = 0; i < PROTO__VARINT_BYTES_MAX && at < end; i++) {
        uint8_t byte = *at++;

        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = result;
            return at;
        }
    }
    return NULL;
}

/* A varint of at most five bytes, as keys and lengths are. */
static const uint8_t *short_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    return proto__wire_varint_slow(at, end - at > 5 ? at + 5 : end, value);
}

const uint8_t *proto__wire_tag(const uint8_t *at, const uint8_t *end, uint64_t *tag)
{
    at = short_varint(at, end, tag);
    return at && *tag >> 3 != 0 ? at : NULL;
}

const uint8_t *proto__wire_bytes(const uint8_t *at, const uint8_t *end, struct fr_slice *bytes)
{
    uint64_t length;

    at = short_varint(at, end, &length);
    if (!at || length > (uint64_t)(end - at))
        return NULL;
    *bytes = fr_slice(at, length);
    return at + length;
}

/* What follows a key whose type is not a group's. */
static const uint8_t *read_content(const uint8_t *at, const uint8_t *end, struct proto__field *field)
{
    switch (field->type) {
    case PROTO__VARINT:
        return proto__wire_varint(at, end, &field->bits);
    case PROTO__FIXED64:
        if (end - at < 8)
            return NULL;
        field->bits = proto__load64(at);
        return at + 8;
    case PROTO__BYTES:
        return proto__wire_bytes(at, end, &field->bytes);
    case PROTO__FIXED32:
        if (end - at < 4)
            return NULL;
        field->bits = proto__load32(at);
        return at + 4;
    default:
        return NULL;
    }
}

/* Behind the start of group `number`. A stack of our own: the depth of the input is not the depth of ours. */
static const uint8_t *skip_group(const uint8_t *at, const uint8_t *end, uint64_t number)
{
    uint64_t open[PROTO__GROUP_DEPTH_MAX] = {number};
    int depth = 1;

    while (depth > 0) {
        struct proto__field field = {0};
        uint64_t tag;

        at = proto__wire_tag(at, end, &tag);
        if (!at)
            return NULL;
        field.type = (int)(tag & 7);
        if (field.type == PROTO__GROUP) {
            if (depth == PROTO__GROUP_DEPTH_MAX)
                return NULL;
            open[depth++] = tag >> 3;
        } else if (field.type == PROTO__GROUP_END) {
            if (open[--depth] != tag >> 3)
                return NULL;
        } else {
            at = read_content(at, end, &field);
            if (!at)
                return NULL;
        }
    }
    return at;
}

const uint8_t *proto__wire_skip(const uint8_t *at, const uint8_t *end, uint64_t tag)
{
    struct proto__field field = {.type = (int)(tag & 7)};

    return field.type == PROTO__GROUP ? skip_group(at, end, tag >> 3) : read_content(at, end, &field);
}

const uint8_t *proto__wire_next(const uint8_t *at, const uint8_t *end, struct proto__field *field)
{
    uint64_t tag;

    at = proto__wire_tag(at, end, &tag);
    if (!at)
        return NULL;
    *field = (struct proto__field){.number = tag >> 3, .type = (int)(tag & 7)};
    return field->type == PROTO__GROUP ? skip_group(at, end, field->number) : read_content(at, end, field);
}
