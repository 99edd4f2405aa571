/*
 * gzip by zlib. Replies are packed at its fastest, with small tables: floats shrink little more at any other level.
 */
#include "internal.h"

#include <freshet/text.h>

#include <zlib.h>

enum {
    GZIP = 16, /* added to the window's bits: zlib writes or wants gzip's head and sum */
    UNPACK_BITS = 15,
    PACK_BITS = 14,
    PACK_MEMORY = 7,
    PIECE_BYTES = 16 << 10,
    LOOK_BYTES = 256 << 10, /* 0.3 ms: of what says that it is too large, to tell it from what is no gzip */
    MEMBER_BYTES_LEAST = 18
};

/* How long the member says that it is: its last word, mod 2^32 (RFC 1952). */
static uint64_t claimed_bytes(struct fr_slice packed)
{
    const uint8_t *end = (const uint8_t *)packed.bytes + packed.length;

    if (packed.length < MEMBER_BYTES_LEAST)
        return 0;
    return (uint64_t)end[-4] | (uint64_t)end[-3] << 8 | (uint64_t)end[-2] << 16 | (uint64_t)end[-1] << 24;
}

/* Up to so many bytes; LARGE when there are more. */
static enum server__unpacked unpack(z_stream *stream, uint64_t most, struct fr_buffer *out)
{
    size_t from = out->length;
    int result = Z_OK;

    if (!fr_buffer_reserve(out, (size_t)most + PIECE_BYTES)) /* at once: it is not moved as it grows */
        return SERVER_UNPACKED_NO_MEMORY;

    while (result == Z_OK) {
        uint8_t *room = fr_buffer_reserve(out, PIECE_BYTES);

        if (!room)
            return SERVER_UNPACKED_NO_MEMORY;
        stream->next_out = room;
        stream->avail_out = PIECE_BYTES;
        result = inflate(stream, Z_NO_FLUSH);
        out->length += PIECE_BYTES - stream->avail_out;
        if (out->length - from > most)
            return SERVER_UNPACKED_LARGE;
    }
    if (result == Z_MEM_ERROR)
        return SERVER_UNPACKED_NO_MEMORY;
    return result == Z_STREAM_END && stream->avail_in == 0 ? SERVER_UNPACKED : SERVER_UNPACKED_BAD;
}

enum server__unpacked server__gzip_unpack(struct fr_slice packed, uint64_t bytes_max, struct fr_buffer *out)
{
    z_stream stream = {.next_in = (Bytef *)packed.bytes, .avail_in = (uInt)packed.length};
    uint64_t claimed = claimed_bytes(packed), look = bytes_max < LOOK_BYTES ? bytes_max : LOOK_BYTES;
    enum server__unpacked unpacked;

    if (inflateInit2(&stream, UNPACK_BITS + GZIP) != Z_OK)
        return SERVER_UNPACKED_NO_MEMORY;
    unpacked = unpack(&stream, claimed > bytes_max ? look : claimed, out);
    inflateEnd(&stream);
    if (unpacked == SERVER_UNPACKED_LARGE && claimed <= bytes_max)
        return SERVER_UNPACKED_BAD; /* more than it says */
    return unpacked == SERVER_UNPACKED && claimed > bytes_max ? SERVER_UNPACKED_BAD : unpacked;
}

bool server__gzip_pack(struct fr_slice plain, struct fr_buffer *out)
{
    z_stream stream = {.next_in = (Bytef *)plain.bytes, .avail_in = (uInt)plain.length};
    uint8_t *room = fr_buffer_reserve(out, plain.length);
    bool is_shorter = false;

    if (!room || deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, PACK_BITS + GZIP, PACK_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    stream.next_out = room;
    stream.avail_out = (uInt)plain.length;
    is_shorter = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    if (is_shorter)
        out->length += plain.length - stream.avail_out;
    deflateEnd(&stream);
    return is_shorter;
}

static struct fr_slice next_item(struct fr_slice *list)
{
    const char *text = list->bytes;
    size_t length = 0, past;

    while (length < list->length && text[length] != ',')
        length++;
    past = length < list->length ? length + 1 : length;
    *list = fr_slice(text + past, list->length - past);
    return server__http1_trim((const uint8_t *)text, (const uint8_t *)text + length);
}

/* ";q=0", ";q=0.000": not acceptable. */
static bool is_refused(const char *weight, size_t length)
{
    const char *is = memchr(weight, '=', length);

    if (!is)
        return false;
    for (const char *at = is + 1; at < weight + length; at++)
        if (*at != '0' && *at != '.' && *at != ' ')
            return false;
    return true;
}

bool server__gzip_is_accepted(struct fr_slice list)
{
    while (list.length > 0) {
        struct fr_slice item = next_item(&list);
        const char *text = item.bytes;
        const char *weight = item.length > 0 ? memchr(text, ';', item.length) : NULL;
        size_t length = weight ? (size_t)(weight - text) : item.length;

        while (length > 0 && text[length - 1] == ' ')
            length--;
        if (fr_text_equal_nocase(fr_slice(text, length), "gzip"))
            return !weight || !is_refused(weight, item.length - (size_t)(weight - text));
    }
    return false;
}

bool server__gzip_request(struct server__call *call, struct fr_slice *body, struct fr_buffer *plain)
{
    uint64_t most = call->loop->server->options.limits.message_bytes;

    if (!call->coding.is_packed || body->length == 0) /* nothing is nothing in any coding */
        return true;
    switch (server__gzip_unpack(*body, most, plain)) {
    case SERVER_UNPACKED:
        *body = fr_buffer_slice(plain);
        return true;
    case SERVER_UNPACKED_LARGE:
        fr_counter_add(call->loop->server->bombs, 1);
        server__call_refuse(
            call, SERVER_STATUS_RESOURCE_EXHAUSTED,
            "the request unpacks to more than the limit of %llu bytes (server.limits.message); ask for less at once",
            (unsigned long long)most);
        return false;
    case SERVER_UNPACKED_BAD:
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT, "the request is no gzip, or not all of it, or more");
        return false;
    case SERVER_UNPACKED_NO_MEMORY:
        break;
    }
    server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the request");
    return false;
}

void server__gzip_reply(struct server__call *call)
{
    struct fr_slice plain = fr_buffer_slice(call->body);
    struct fr_buffer packed;

    if (!call->coding.accepts || plain.length < SERVER_GZIP_LEAST_BYTES ||
        (plain.length > SERVER_GZIP_LOOP_BYTES && !call->seen.may_block))
        return;
    fr_buffer_init(&packed);
    if (server__gzip_pack(plain, &packed)) {
        struct fr_buffer before = *call->body;

        *call->body = packed;
        packed = before;
        call->coding.is_reply_packed = true;
    }
    fr_buffer_fini(&packed);
}
