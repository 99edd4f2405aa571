/*
 * A growable run of bytes, and the reader that takes such runs apart.
 */
#include <freshet/buffer.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 128 };

void fr_buffer_init(struct fr_buffer *buffer)
{
    *buffer = (struct fr_buffer){0};
}

void fr_buffer_fini(struct fr_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct fr_buffer){0};
}

void fr_buffer_clear(struct fr_buffer *buffer)
{
    buffer->length = 0;
    buffer->is_failed = false;
}

static bool grow(struct fr_buffer *buffer, size_t bytes)
{
    size_t needed;
    size_t capacity = buffer->capacity ? buffer->capacity : FIRST_BYTES;
    uint8_t *grown;

    if (__builtin_add_overflow(buffer->length, bytes, &needed))
        return false;
    while (capacity < needed)
        if (__builtin_mul_overflow(capacity, 2, &capacity))
            return false;
    grown = realloc(buffer->bytes, capacity);
    if (!grown)
        return false;
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return true;
}

uint8_t *fr_buffer__make_room(struct fr_buffer *buffer, size_t bytes)
{
    if (buffer->is_failed)
        return NULL;
    if (!buffer->bytes || buffer->capacity - buffer->length < bytes)
        if (!grow(buffer, bytes)) {
            buffer->is_failed = true;
            return NULL;
        }
    return buffer->bytes + buffer->length;
}

void fr_buffer_append(struct fr_buffer *buffer, const void *bytes, size_t length)
{
    uint8_t *to;

    if (length == 0)
        return;
    to = fr_buffer_reserve(buffer, length);
    if (!to)
        return;
    memcpy(to, bytes, length);
    buffer->length += length;
}

void fr_buffer_append_text(struct fr_buffer *buffer, const char *text)
{
    fr_buffer_append(buffer, text, strlen(text));
}

void fr_buffer_append_format(struct fr_buffer *buffer, const char *format, ...)
{
    va_list args;
    int length;
    uint8_t *to;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        buffer->is_failed = true;
        return;
    }
    to = fr_buffer_reserve(buffer, (size_t)length + 1); /* vsnprintf writes a NUL, which is not kept */
    if (!to)
        return;
    va_start(args, format);
    vsnprintf((char *)to, (size_t)length + 1, format, args);
    va_end(args);
    buffer->length += (size_t)length;
}

void fr_buffer_append_be64(struct fr_buffer *buffer, uint64_t value)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    fr_buffer_append(buffer, bytes, sizeof(bytes));
}

uint64_t fr_reader_varint(struct fr_reader *reader)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 64 && !reader->is_failed && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;

        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->is_failed = true;
    return 0;
}

int64_t fr_reader_zigzag(struct fr_reader *reader)
{
    uint64_t value = fr_reader_varint(reader);

    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

struct fr_slice fr_reader_bytes(struct fr_reader *reader, size_t length)
{
    struct fr_slice bytes;

    if (reader->is_failed || (size_t)(reader->end - reader->at) < length) {
        reader->is_failed = true;
        return fr_slice(NULL, 0);
    }
    bytes = fr_slice(reader->at, length);
    if (length > 0)
        reader->at += length;
    return bytes;
}

uint64_t fr_reader_fixed64(struct fr_reader *reader)
{
    struct fr_slice eight = fr_reader_bytes(reader, 8);
    const uint8_t *bytes = eight.bytes;
    uint64_t value = 0;

    for (size_t i = 0; i < eight.length; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint64_t fr_reader_be64(struct fr_reader *reader)
{
    struct fr_slice eight = fr_reader_bytes(reader, 8);
    const uint8_t *bytes = eight.bytes;
    uint64_t value = 0;

    for (size_t i = 0; i < eight.length; i++)
        value = value << 8 | bytes[i];
    return value;
}
