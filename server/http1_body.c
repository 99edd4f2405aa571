/*
 * The body of an HTTP/1.1 request: a run of known length, or chunks. Chunk extensions and trailers are checked, bounded and
 * dropped.
 */
#include "internal.h"

enum { SIZE_DIGITS = 16, EXTENSION_BYTES = 1024 };

bool server__http1_has_body(const struct server__http1 *parser)
{
    return parser->is_chunked || parser->length > 0;
}

static bool take_size(struct server__http1 *parser, uint8_t byte)
{
    int digit = (byte >= '0' && byte <= '9') ? byte - '0'
                : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                             : -1;

    if (digit >= 0) {
        parser->remaining = parser->remaining << 4 | (uint64_t)digit;
        return ++parser->digits <= SIZE_DIGITS || server__http1_fail(parser, SERVER_FAULT_CHUNK);
    }
    if (parser->digits == 0 || (byte != '\r' && byte != ';'))
        return server__http1_fail(parser, SERVER_FAULT_CHUNK);
    if (parser->remaining > parser->body_bytes_max - parser->received)
        return server__http1_fail(parser, SERVER_FAULT_BODY_LARGE);
    parser->state = byte == '\r' ? SERVER_HTTP1_SIZE_LF : SERVER_HTTP1_EXTENSION;
    return true;
}

static bool take_extension(struct server__http1 *parser, uint8_t byte)
{
    if (byte == '\r') {
        parser->state = SERVER_HTTP1_SIZE_LF;
        return true;
    }
    return (server__http1_is_value(byte) && ++parser->overhead <= EXTENSION_BYTES) ||
           server__http1_fail(parser, SERVER_FAULT_CHUNK);
}

static bool take_trailer(struct server__http1 *parser, uint8_t byte)
{
    if (++parser->overhead > parser->header_bytes_max)
        return server__http1_fail(parser, SERVER_FAULT_HEADERS_LARGE);
    switch (parser->state) {
    case SERVER_HTTP1_TRAILER:
        if (byte == '\r') {
            parser->state = SERVER_HTTP1_LAST_LF;
            return true;
        }
        parser->state = SERVER_HTTP1_TRAILER_NAME;
        if (++parser->fields > parser->header_count_max)
            return server__http1_fail(parser, SERVER_FAULT_HEADERS_LARGE);
        return server__http1_is_token(byte) || server__http1_fail(parser, SERVER_FAULT_TRAILER);
    case SERVER_HTTP1_TRAILER_NAME:
        if (byte == ':')
            parser->state = SERVER_HTTP1_TRAILER_VALUE;
        return byte == ':' || server__http1_is_token(byte) || server__http1_fail(parser, SERVER_FAULT_TRAILER);
    case SERVER_HTTP1_TRAILER_VALUE:
        if (byte == '\r')
            parser->state = SERVER_HTTP1_TRAILER_LF;
        return byte == '\r' || server__http1_is_value(byte) || server__http1_fail(parser, SERVER_FAULT_TRAILER);
    case SERVER_HTTP1_TRAILER_LF:
        parser->state = SERVER_HTTP1_TRAILER;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_TRAILER);
    default: /* SERVER_HTTP1_LAST_LF */
        parser->state = SERVER_HTTP1_BODY_DONE;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_TRAILER);
    }
}

static bool take_chunk_byte(struct server__http1 *parser, uint8_t byte)
{
    switch (parser->state) {
    case SERVER_HTTP1_SIZE:
        return take_size(parser, byte);
    case SERVER_HTTP1_EXTENSION:
        return take_extension(parser, byte);
    case SERVER_HTTP1_SIZE_LF:
        parser->state = parser->remaining > 0 ? SERVER_HTTP1_DATA : SERVER_HTTP1_TRAILER;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_CHUNK);
    case SERVER_HTTP1_DATA_CR:
        parser->state = SERVER_HTTP1_DATA_LF;
        return byte == '\r' || server__http1_fail(parser, SERVER_FAULT_CHUNK);
    case SERVER_HTTP1_DATA_LF:
        parser->state = SERVER_HTTP1_SIZE;
        parser->digits = 0;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_CHUNK);
    default:
        return take_trailer(parser, byte);
    }
}

/* Takes what is there of the current run of body bytes. */
static void take_data(struct server__http1 *parser, const uint8_t *from, size_t available, size_t *used, struct fr_slice *piece)
{
    size_t length = available < parser->remaining ? available : (size_t)parser->remaining;

    *piece = fr_slice(from, length);
    *used += length;
    parser->remaining -= length;
    parser->received += length;
    if (parser->remaining == 0)
        parser->state = parser->state == SERVER_HTTP1_FIXED ? SERVER_HTTP1_BODY_DONE : SERVER_HTTP1_DATA_CR;
}

enum server__parsed server__http1_body(struct server__http1 *parser, struct fr_slice bytes, size_t *used,
                                       struct fr_slice *piece)
{
    const uint8_t *from = bytes.bytes;

    *used = 0;
    *piece = fr_slice(NULL, 0);
    if (parser->state == SERVER_HTTP1_FIXED && parser->remaining > parser->body_bytes_max) {
        parser->fault = SERVER_FAULT_BODY_LARGE;
        return SERVER_FAILED;
    }
    if (parser->state == SERVER_HTTP1_FIXED)
        take_data(parser, from, bytes.length, used, piece);
    while (*used < bytes.length && parser->state != SERVER_HTTP1_BODY_DONE && parser->state != SERVER_HTTP1_FIXED) {
        if (parser->state == SERVER_HTTP1_DATA) {
            take_data(parser, from + *used, bytes.length - *used, used, piece);
            return SERVER_MORE;
        }
        if (!take_chunk_byte(parser, from[*used]))
            return SERVER_FAILED;
        ++*used;
    }
    return parser->state == SERVER_HTTP1_BODY_DONE ? SERVER_DONE : SERVER_MORE;
}
