/*
 * The HTTP/1.1 parser: RFC 9112 without its leniencies. Two readers of the same bytes that disagree where a request ends is how
 * requests are smuggled, so whatever the RFC lets a recipient repair is refused here: bare LF, folded lines, space before a
 * colon, two lengths. It reads byte by byte and remembers where it was, so the result cannot depend on how the bytes were cut.
 */
#include "internal.h"

enum { METHOD_BYTES = 20, VERSION_BYTES = 8 };

/* ---- Shared by the parts of the parser ---- */

bool server__http1_is_token(uint8_t byte)
{
    static const bool token[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
        ['%'] = true,         ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,
        ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true, ['|'] = true, ['~'] = true,
    };

    return token[byte];
}

bool server__http1_is_value(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f); /* bytes above 0x7f are opaque, RFC 9110 5.5 */
}

bool server__http1_fail(struct server__http1 *parser, enum server__fault fault)
{
    parser->fault = fault;
    return false;
}

struct fr_slice server__http1_slice(struct server__span span, const void *head)
{
    return fr_slice((const char *)head + span.at, span.length);
}

struct fr_slice server__http1_trim(const uint8_t *from, const uint8_t *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return fr_slice(from, (size_t)(to - from));
}

void server__http1_reset(struct server__http1 *parser)
{
    *parser = (struct server__http1){
        .header_bytes_max = parser->header_bytes_max,
        .header_count_max = parser->header_count_max,
        .body_bytes_max = parser->body_bytes_max,
    };
}

/* ---- The head, byte by byte ---- */

static bool take_method(struct server__http1 *parser, const uint8_t *head, uint8_t byte)
{
    if (byte == ' ') {
        parser->method_text.length = parser->at;
        if (parser->at == 0)
            return server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
        if (server__known_method(fr_slice(head, parser->at)) < 0 || fr_slice_is(fr_slice(head, parser->at), "CONNECT"))
            return server__http1_fail(parser, SERVER_FAULT_METHOD); /* after CONNECT nothing would be a request any more */
        parser->target.at = parser->at + 1;
        parser->state = SERVER_HTTP1_TARGET;
        return true;
    }
    if (!server__http1_is_token(byte))
        return server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
    return parser->at < METHOD_BYTES || server__http1_fail(parser, SERVER_FAULT_METHOD);
}

static bool take_target(struct server__http1 *parser, uint8_t byte)
{
    if (byte == ' ') {
        parser->target.length = parser->at - parser->target.at;
        parser->state = SERVER_HTTP1_VERSION;
        return parser->target.length > 0 || server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
    }
    if (byte == '\r' || byte == '\n')
        return server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE); /* HTTP/0.9, or a bare LF */
    return (byte > ' ' && byte < 0x7f && byte != '#') || server__http1_fail(parser, SERVER_FAULT_TARGET);
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool take_version(struct server__http1 *parser, const uint8_t *head, uint8_t byte)
{
    size_t begin = parser->target.at + parser->target.length + 1;
    const uint8_t *version = head + begin;

    if (byte != '\r')
        return parser->at - begin < VERSION_BYTES || server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
    if (parser->at - begin != VERSION_BYTES || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.' ||
        !is_digit(version[7]))
        return server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
    if (version[5] != '1' || version[7] > '1')
        return server__http1_fail(parser, SERVER_FAULT_VERSION);
    parser->is_1_0 = version[7] == '0';
    parser->state = SERVER_HTTP1_LINE_LF;
    return true;
}

static bool take_field_begin(struct server__http1 *parser, uint8_t byte)
{
    if (byte == '\r') {
        parser->state = SERVER_HTTP1_END_LF;
        return true;
    }
    if (!server__http1_is_token(byte))
        return server__http1_fail(parser, SERVER_FAULT_HEADER); /* a space here would be a folded line */
    if (++parser->fields > parser->header_count_max)
        return server__http1_fail(parser, SERVER_FAULT_HEADERS_LARGE);
    parser->state = SERVER_HTTP1_NAME;
    return true;
}

static bool take_head_byte(struct server__http1 *parser, const uint8_t *head, uint8_t byte)
{
    switch (parser->state) {
    case SERVER_HTTP1_METHOD:
        return take_method(parser, head, byte);
    case SERVER_HTTP1_TARGET:
        return take_target(parser, byte);
    case SERVER_HTTP1_VERSION:
        return take_version(parser, head, byte);
    case SERVER_HTTP1_LINE_LF:
        parser->fields_at = parser->at + 1;
        parser->state = SERVER_HTTP1_FIELD;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_REQUEST_LINE);
    case SERVER_HTTP1_FIELD:
        return take_field_begin(parser, byte);
    case SERVER_HTTP1_NAME:
        if (byte == ':')
            parser->state = SERVER_HTTP1_VALUE;
        return byte == ':' || server__http1_is_token(byte) || server__http1_fail(parser, SERVER_FAULT_HEADER);
    case SERVER_HTTP1_VALUE:
        if (byte == '\r')
            parser->state = SERVER_HTTP1_VALUE_LF;
        return byte == '\r' || server__http1_is_value(byte) || server__http1_fail(parser, SERVER_FAULT_HEADER);
    case SERVER_HTTP1_VALUE_LF:
        parser->state = SERVER_HTTP1_FIELD;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_HEADER);
    default: /* SERVER_HTTP1_END_LF */
        parser->state = SERVER_HTTP1_HEAD_DONE;
        return byte == '\n' || server__http1_fail(parser, SERVER_FAULT_HEADER);
    }
}

static bool has_room(struct server__http1 *parser)
{
    if (parser->state < SERVER_HTTP1_LINE_LF && parser->at >= parser->header_bytes_max / 2)
        return server__http1_fail(parser, SERVER_FAULT_TARGET_LONG);
    return parser->at < parser->header_bytes_max || server__http1_fail(parser, SERVER_FAULT_HEADERS_LARGE);
}

enum server__parsed server__http1_head(struct server__http1 *parser, struct fr_slice bytes)
{
    const uint8_t *head = bytes.bytes;

    while (parser->at < bytes.length) {
        if (!has_room(parser) || !take_head_byte(parser, head, head[parser->at]))
            return SERVER_FAILED;
        parser->at++;
        if (parser->state == SERVER_HTTP1_HEAD_DONE)
            return server__http1_frame(parser, head) ? SERVER_DONE : SERVER_FAILED;
    }
    return SERVER_MORE;
}

bool server__http1_field(const struct server__http1 *parser, const void *head, size_t *at, struct fr_slice *name,
                         struct fr_slice *value)
{
    const uint8_t *from = (const uint8_t *)head + (*at ? *at : parser->fields_at);
    const uint8_t *end = (const uint8_t *)head + parser->at;
    const uint8_t *colon, *stop;

    if (*from == '\r')
        return false;
    colon = memchr(from, ':', (size_t)(end - from)); /* both are there: the head was checked */
    stop = memchr(colon, '\r', (size_t)(end - colon));
    *name = fr_slice(from, (size_t)(colon - from));
    *value = server__http1_trim(colon + 1, stop);
    *at = (size_t)(stop + 2 - (const uint8_t *)head);
    return true;
}

struct fr_slice server__http1_path(const struct server__http1 *parser, const void *head)
{
    return parser->path.length > 0 ? server__http1_slice(parser->path, head) : fr_slice_of("/");
}

struct fr_slice server__http1_query(const struct server__http1 *parser, const void *head)
{
    size_t at = parser->path.at + parser->path.length + 1, end = parser->target.at + parser->target.length;

    return at < end ? fr_slice((const char *)head + at, end - at) : fr_slice_of("");
}
