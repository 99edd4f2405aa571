/*
 * A growable run of bytes, for output: SST records, replies, log lines. Growth doubles. A failed growth sets `is_failed`, and
 * every later append does nothing: write all, check once. One thread at a time. Little helpers for varints (LEB128) live here
 * because every encoder needs them.
 */
#ifndef FRESHET_BUFFER_H
#define FRESHET_BUFFER_H

#include <freshet/error.h>
#include <freshet/slice.h>

#include <stdint.h>

struct fr_buffer {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
    bool is_failed;
};

void fr_buffer_init(struct fr_buffer *buffer); /* empty, no memory yet */
void fr_buffer_fini(struct fr_buffer *buffer); /* frees; the buffer is empty again */
void fr_buffer_clear(struct fr_buffer *buffer); /* length 0, is_failed off, memory kept */

uint8_t *fr_buffer__make_room(struct fr_buffer *buffer, size_t bytes); /* what fr_buffer_reserve() does when there is none */

/* Room for `bytes` more at the end; NULL (and is_failed) when out of memory. The caller adds what it wrote to length. */
static inline uint8_t *fr_buffer_reserve(struct fr_buffer *buffer, size_t bytes)
{
    if (buffer->is_failed || !buffer->bytes || buffer->capacity - buffer->length < bytes)
        return fr_buffer__make_room(buffer, bytes);
    return buffer->bytes + buffer->length;
}

void fr_buffer_append(struct fr_buffer *buffer, const void *bytes, size_t length);
void fr_buffer_append_text(struct fr_buffer *buffer, const char *text);
void fr_buffer_append_format(struct fr_buffer *buffer, const char *format, ...) FR_PRINTF(2, 3);
void fr_buffer_append_be64(struct fr_buffer *buffer, uint64_t value); /* big endian: sorts as the number */

/* Inline, because an epoch is hundreds of these for every entity. */
static inline void fr_buffer_append_byte(struct fr_buffer *buffer, uint8_t byte)
{
    uint8_t *to = fr_buffer_reserve(buffer, 1);

    if (!to)
        return;
    *to = byte;
    buffer->length++;
}

/* 1 to 10 bytes. */
static inline void fr_buffer_append_varint(struct fr_buffer *buffer, uint64_t value)
{
    uint8_t *to = fr_buffer_reserve(buffer, 10);
    size_t length = 0;

    if (!to)
        return;
    while (value >= 0x80) {
        to[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[length++] = (uint8_t)value;
    buffer->length += length;
}

static inline void fr_buffer_append_zigzag(struct fr_buffer *buffer, int64_t value)
{
    fr_buffer_append_varint(buffer, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

/* Little endian. */
static inline void fr_buffer_append_fixed64(struct fr_buffer *buffer, uint64_t value)
{
    uint8_t *to = fr_buffer_reserve(buffer, sizeof value);

    if (!to)
        return;
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
    buffer->length += sizeof value;
}

static inline struct fr_slice fr_buffer_slice(const struct fr_buffer *buffer)
{
    return fr_slice(buffer->bytes, buffer->length);
}

/* A reader over bytes; every take fails (returns false, sets is_failed) past the end, and stays failed. */
struct fr_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool is_failed;
};

static inline struct fr_reader fr_reader(struct fr_slice slice)
{
    const uint8_t *at = slice.bytes;
    return (struct fr_reader){.at = at, .end = slice.length > 0 ? at + slice.length : at};
}

uint64_t fr_reader_varint(struct fr_reader *reader); /* 0 on failure */
int64_t fr_reader_zigzag(struct fr_reader *reader);
uint64_t fr_reader_fixed64(struct fr_reader *reader);
uint64_t fr_reader_be64(struct fr_reader *reader); /* big endian, as of fr_buffer_append_be64() */
struct fr_slice fr_reader_bytes(struct fr_reader *reader, size_t length); /* borrows; empty on failure */

#endif
