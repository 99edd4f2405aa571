/*
 * Wire bytes for tests, one field after the other, and events from them.
 */
#ifndef FRESHET_TEST_WIRE_H
#define FRESHET_TEST_WIRE_H

#include <freshet/event.h>

static inline void put_varint(struct fr_buffer *wire, uint32_t field, uint64_t value)
{
    fr_buffer_append_varint(wire, field << 3 | 0);
    fr_buffer_append_varint(wire, value);
}

static inline void put_fixed64(struct fr_buffer *wire, uint32_t field, uint64_t bits)
{
    fr_buffer_append_varint(wire, field << 3 | 1);
    fr_buffer_append_fixed64(wire, bits);
}

static inline void put_bytes(struct fr_buffer *wire, uint32_t field, struct fr_slice bytes)
{
    fr_buffer_append_varint(wire, field << 3 | 2);
    fr_buffer_append_varint(wire, bytes.length);
    fr_buffer_append(wire, bytes.bytes, bytes.length);
}

static inline void put_text(struct fr_buffer *wire, uint32_t field, const char *text)
{
    put_bytes(wire, field, fr_slice_of(text));
}

static inline bool decodes(struct fr_slice wire, struct proto_event *event)
{
    struct fr_err err;

    return proto_event_decode(wire, event, &err);
}

#endif
