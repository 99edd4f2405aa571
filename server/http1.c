/*
 * The HTTP/1.1 parser: RFC 9112 without its leniencies. Two readers of the same bytes that disagree where a request ends is how
 * requests are smuggled, so whatever the RFC lets a recipient repair is refused here: bare LF, folded lines, space before a colon,
 * two lengths. It reads byte by byte and remembers where it was, so the result cannot depend on how the bytes were cut.
 */
#include "internal.h"

#include <freshet/text.h>

enum {
    STATE_METHOD,
    STATE_TARGET,
    STATE_VERSION,
    STATE_LINE_LF,
    STATE_FIELD, /* the first byte of a field or of the end */
    STATE_NAME,
    STATE_VALUE,
    STATE_VALUE_LF,
    STATE_END_LF,
    STATE_HEAD_DONE,
    STATE_FIXED, /* bodies from here on */
    STATE_SIZE,
    STATE_EXTENSION,
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER,
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_LAST_LF,
    STATE_BODY_DONE,
};

enum { METHOD_BYTES = 20, VERSION_BYTES = 8, SIZE_DIGITS = 16, EXTENSION_BYTES = 1024 };

static const struct server__fault_text fault_texts[SERVER_FAULTS] = {
    [SERVER_FAULT_REQUEST_LINE] = {"request_line", 400, SERVER_STATUS_INVALID_ARGUMENT,
                                   "malformed request line; send 'METHOD /path HTTP/1.1' and CRLF"},
    [SERVER_FAULT_METHOD] = {"method", 501, SERVER_STATUS_UNIMPLEMENTED, "unknown HTTP method"},
    [SERVER_FAULT_TARGET] = {"target", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed request target; send '/path'"},
    [SERVER_FAULT_TARGET_LONG] = {"target_long", 414, SERVER_STATUS_RESOURCE_EXHAUSTED, "request line is too long"},
    [SERVER_FAULT_VERSION] = {"version", 505, SERVER_STATUS_UNIMPLEMENTED, "HTTP version not supported; use HTTP/1.1"},
    [SERVER_FAULT_HEADER] = {"header", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed header field"},
    [SERVER_FAULT_HEADERS_LARGE] = {"headers_large", 431, SERVER_STATUS_RESOURCE_EXHAUSTED,
                                    "header is too large or has too many fields"},
    [SERVER_FAULT_HOST] = {"host", 400, SERVER_STATUS_INVALID_ARGUMENT, "send exactly one valid Host"},
    [SERVER_FAULT_LENGTH] = {"length", 400, SERVER_STATUS_INVALID_ARGUMENT,
                             "malformed or contradictory Content-Length, or one beside Transfer-Encoding"},
    [SERVER_FAULT_TRANSFER] = {"transfer", 400, SERVER_STATUS_INVALID_ARGUMENT,
                               "bad Transfer-Encoding; send 'chunked' once, or Content-Length"},
    [SERVER_FAULT_TRANSFER_UNKNOWN] = {"transfer_unknown", 501, SERVER_STATUS_UNIMPLEMENTED,
                                       "unknown transfer coding; only chunked is accepted"},
    [SERVER_FAULT_EXPECT] = {"expect", 417, SERVER_STATUS_INVALID_ARGUMENT, "unknown expectation; only 100-continue is known"},
    [SERVER_FAULT_CHUNK] = {"chunk", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed chunk"},
    [SERVER_FAULT_TRAILER] = {"trailer", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed trailer field"},
    [SERVER_FAULT_BODY_LARGE] = {"body_large", 413, SERVER_STATUS_RESOURCE_EXHAUSTED, "body is too large"},
    [SERVER_FAULT_HTTP2] = {"http2", 505, SERVER_STATUS_UNIMPLEMENTED, "HTTP/2 is not in this version; use HTTP/1.1"},
    [SERVER_FAULT_SLOW] = {"slow", 408, SERVER_STATUS_DEADLINE_EXCEEDED, "the request did not arrive in time"},
    [SERVER_FAULT_OVERLOAD] = {"overload", 503, SERVER_STATUS_UNAVAILABLE,
                               "too many bytes of unfinished requests are held; retry later"},
};

const struct server__fault_text *server__fault_text(enum server__fault fault)
{
    return &fault_texts[fault];
}

static bool is_token_byte(uint8_t byte)
{
    static const bool token[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
        ['%'] = true,         ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,
        ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true, ['|'] = true, ['~'] = true,
    };

    return token[byte];
}

static bool is_value_byte(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f); /* bytes above 0x7f are opaque, RFC 9110 5.5 */
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool fail(struct server__http1 *parser, enum server__fault fault)
{
    parser->fault = fault;
    return false;
}

static struct fr_slice slice_of(struct server__span span, const void *head)
{
    return fr_slice((const char *)head + span.at, span.length);
}

static struct fr_slice trim(const uint8_t *from, const uint8_t *to)
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
            return fail(parser, SERVER_FAULT_REQUEST_LINE);
        if (server__known_method(fr_slice(head, parser->at)) < 0 || fr_slice_is(fr_slice(head, parser->at), "CONNECT"))
            return fail(parser, SERVER_FAULT_METHOD); /* after CONNECT nothing would be a request any more */
        parser->target.at = parser->at + 1;
        parser->state = STATE_TARGET;
        return true;
    }
    if (!is_token_byte(byte))
        return fail(parser, SERVER_FAULT_REQUEST_LINE);
    return parser->at < METHOD_BYTES || fail(parser, SERVER_FAULT_METHOD);
}

static bool take_target(struct server__http1 *parser, uint8_t byte)
{
    if (byte == ' ') {
        parser->target.length = parser->at - parser->target.at;
        parser->state = STATE_VERSION;
        return parser->target.length > 0 || fail(parser, SERVER_FAULT_REQUEST_LINE);
    }
    if (byte == '\r' || byte == '\n')
        return fail(parser, SERVER_FAULT_REQUEST_LINE); /* HTTP/0.9, or a bare LF */
    return (byte > ' ' && byte < 0x7f && byte != '#') || fail(parser, SERVER_FAULT_TARGET);
}

static bool take_version(struct server__http1 *parser, const uint8_t *head, uint8_t byte)
{
    size_t begin = parser->target.at + parser->target.length + 1;
    const uint8_t *version = head + begin;

    if (byte != '\r')
        return parser->at - begin < VERSION_BYTES || fail(parser, SERVER_FAULT_REQUEST_LINE);
    if (parser->at - begin != VERSION_BYTES || memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.' ||
        !is_digit(version[7]))
        return fail(parser, SERVER_FAULT_REQUEST_LINE);
    if (version[5] != '1' || version[7] > '1')
        return fail(parser, SERVER_FAULT_VERSION);
    parser->is_1_0 = version[7] == '0';
    parser->state = STATE_LINE_LF;
    return true;
}

static bool take_field_begin(struct server__http1 *parser, uint8_t byte)
{
    if (byte == '\r') {
        parser->state = STATE_END_LF;
        return true;
    }
    if (!is_token_byte(byte))
        return fail(parser, SERVER_FAULT_HEADER); /* a space here would be a folded line */
    if (++parser->fields > parser->header_count_max)
        return fail(parser, SERVER_FAULT_HEADERS_LARGE);
    parser->state = STATE_NAME;
    return true;
}

static bool take_head_byte(struct server__http1 *parser, const uint8_t *head, uint8_t byte)
{
    switch (parser->state) {
    case STATE_METHOD:
        return take_method(parser, head, byte);
    case STATE_TARGET:
        return take_target(parser, byte);
    case STATE_VERSION:
        return take_version(parser, head, byte);
    case STATE_LINE_LF:
        parser->fields_at = parser->at + 1;
        parser->state = STATE_FIELD;
        return byte == '\n' || fail(parser, SERVER_FAULT_REQUEST_LINE);
    case STATE_FIELD:
        return take_field_begin(parser, byte);
    case STATE_NAME:
        if (byte == ':')
            parser->state = STATE_VALUE;
        return byte == ':' || is_token_byte(byte) || fail(parser, SERVER_FAULT_HEADER);
    case STATE_VALUE:
        if (byte == '\r')
            parser->state = STATE_VALUE_LF;
        return byte == '\r' || is_value_byte(byte) || fail(parser, SERVER_FAULT_HEADER);
    case STATE_VALUE_LF:
        parser->state = STATE_FIELD;
        return byte == '\n' || fail(parser, SERVER_FAULT_HEADER);
    default: /* STATE_END_LF */
        parser->state = STATE_HEAD_DONE;
        return byte == '\n' || fail(parser, SERVER_FAULT_HEADER);
    }
}

/* ---- What the fields say about framing ---- */

struct framing {
    int hosts;
    int lengths;
    int transfers;
    int expects;
};

static bool is_host_byte(uint8_t byte, bool is_in_brackets)
{
    if (is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z'))
        return true;
    return byte != 0 && strchr(is_in_brackets ? ":." : "-._~!$&'()*+,;=%", byte);
}

/* uri-host [ ":" port ]; empty is allowed by RFC 9112 3.2. */
static bool host_is_valid(struct fr_slice host)
{
    const uint8_t *at = host.bytes;
    const uint8_t *end = at + host.length;
    bool is_in_brackets = host.length > 0 && *at == '[';

    if (is_in_brackets)
        at++;
    while (at < end && is_host_byte(*at, is_in_brackets))
        at++;
    if (is_in_brackets) {
        if (at == end || *at != ']' || at == (const uint8_t *)host.bytes + 1)
            return false;
        at++;
    }
    if (at < end && *at == ':' && at > (const uint8_t *)host.bytes)
        for (at++; at < end && is_digit(*at);)
            at++;
    return at == end;
}

static bool take_length(struct server__http1 *parser, struct framing *framing, struct fr_slice value)
{
    const uint8_t *digits = value.bytes;
    uint64_t length = 0;

    if (value.length == 0)
        return fail(parser, SERVER_FAULT_LENGTH);
    for (size_t i = 0; i < value.length; i++) {
        if (!is_digit(digits[i]))
            return fail(parser, SERVER_FAULT_LENGTH);
        if (__builtin_mul_overflow(length, 10, &length) || __builtin_add_overflow(length, (uint64_t)(digits[i] - '0'), &length))
            length = UINT64_MAX; /* a number all the same, and above any limit */
    }
    if (framing->lengths++ > 0 && length != parser->length)
        return fail(parser, SERVER_FAULT_LENGTH);
    parser->length = length;
    parser->has_length = true;
    return true;
}

static bool take_transfer(struct server__http1 *parser, struct framing *framing, struct fr_slice value)
{
    const char *comma;

    if (framing->transfers++ > 0 || parser->is_1_0)
        return fail(parser, SERVER_FAULT_TRANSFER);
    parser->is_chunked = fr_text_equal_nocase(value, "chunked");
    if (parser->is_chunked)
        return true;
    /* Codings before a final chunked could be undone by a better server; anything else leaves the length unknown. */
    comma = memrchr(value.bytes, ',', value.length);
    if (comma) {
        struct fr_slice last = trim((const uint8_t *)comma + 1, (const uint8_t *)value.bytes + value.length);
        struct fr_slice first = trim(value.bytes, (const uint8_t *)comma);

        if (fr_text_equal_nocase(last, "chunked") && first.length > 0 && !fr_text_equal_nocase(first, "chunked"))
            return fail(parser, SERVER_FAULT_TRANSFER_UNKNOWN);
    }
    return fail(parser, SERVER_FAULT_TRANSFER);
}

static void take_connection(struct server__http1 *parser, struct fr_slice value)
{
    const uint8_t *at = value.bytes;
    const uint8_t *end = at + value.length;

    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *stop = comma ? comma : end;

        if (fr_text_equal_nocase(trim(at, stop), "close"))
            parser->is_close = true;
        at = stop + 1;
    }
}

static bool take_field(struct server__http1 *parser, struct framing *framing, const uint8_t *head, struct fr_slice name,
                       struct fr_slice value)
{
    if (fr_text_equal_nocase(name, "host")) {
        parser->host = (struct server__span){(size_t)((const uint8_t *)value.bytes - head), value.length};
        parser->has_host = true;
        return (framing->hosts++ == 0 && host_is_valid(value)) || fail(parser, SERVER_FAULT_HOST);
    }
    if (fr_text_equal_nocase(name, "content-length"))
        return take_length(parser, framing, value);
    if (fr_text_equal_nocase(name, "transfer-encoding"))
        return take_transfer(parser, framing, value);
    if (fr_text_equal_nocase(name, "connection"))
        take_connection(parser, value);
    if (fr_text_equal_nocase(name, "expect") && !parser->is_1_0) {
        parser->expects_continue = true;
        return (framing->expects++ == 0 && fr_text_equal_nocase(value, "100-continue")) || fail(parser, SERVER_FAULT_EXPECT);
    }
    return true;
}

/* "http://host", before a path: its host must be the Host, and stands for it. Returns its length, 0 when it is none. */
static size_t take_authority(struct server__http1 *parser, const uint8_t *head, struct fr_slice target)
{
    const char *text = target.bytes;
    size_t begin = target.length > 7 && fr_text_equal_nocase(fr_slice(text, 7), "http://")    ? 7
                   : target.length > 8 && fr_text_equal_nocase(fr_slice(text, 8), "https://") ? 8
                                                                                              : 0;
    size_t end = begin;
    struct fr_slice host;

    while (end < target.length && text[end] != '/' && text[end] != '?')
        end++;
    host = fr_slice(text + begin, end - begin);
    if (begin == 0 || host.length == 0 || !host_is_valid(host)) {
        fail(parser, SERVER_FAULT_TARGET);
        return 0;
    }
    if (parser->has_host && !fr_slice_equal(host, slice_of(parser->host, head))) {
        fail(parser, SERVER_FAULT_HOST);
        return 0;
    }
    parser->host = (struct server__span){parser->target.at + begin, host.length};
    return end;
}

/* "/path?query", "*" for OPTIONS, or "http://host/path". */
static bool take_target_form(struct server__http1 *parser, const uint8_t *head)
{
    struct fr_slice target = slice_of(parser->target, head);
    const char *text = target.bytes;
    size_t at = 0;

    if (fr_slice_is(target, "*")) {
        parser->path = parser->target;
        return fr_slice_is(slice_of(parser->method_text, head), "OPTIONS") || fail(parser, SERVER_FAULT_TARGET);
    }
    if (text[0] != '/') {
        at = take_authority(parser, head, target);
        if (at == 0)
            return false;
    }
    parser->path = (struct server__span){parser->target.at + at, 0};
    while (at + parser->path.length < target.length && text[at + parser->path.length] != '?')
        parser->path.length++;
    return true;
}

static bool finish_head(struct server__http1 *parser, const uint8_t *head)
{
    struct framing framing = {0};
    struct fr_slice method = slice_of(parser->method_text, head);
    struct fr_slice name, value;
    size_t at = 0;

    parser->method = fr_slice_is(method, "GET")    ? SERVER_HTTP_GET
                     : fr_slice_is(method, "HEAD") ? SERVER_HTTP_HEAD
                     : fr_slice_is(method, "POST") ? SERVER_HTTP_POST
                                                   : SERVER_HTTP_OTHER;
    parser->is_close = parser->is_1_0;
    while (server__http1_field(parser, head, &at, &name, &value))
        if (!take_field(parser, &framing, head, name, value))
            return false;
    if (framing.hosts == 0 && !parser->is_1_0)
        return fail(parser, SERVER_FAULT_HOST);
    if (framing.lengths > 0 && framing.transfers > 0)
        return fail(parser, SERVER_FAULT_LENGTH);
    if (!take_target_form(parser, head))
        return false;

    parser->remaining = parser->length;
    parser->state = parser->is_chunked ? STATE_SIZE : STATE_FIXED;
    return true;
}

static bool has_room(struct server__http1 *parser)
{
    if (parser->state < STATE_LINE_LF && parser->at >= parser->header_bytes_max / 2)
        return fail(parser, SERVER_FAULT_TARGET_LONG);
    return parser->at < parser->header_bytes_max || fail(parser, SERVER_FAULT_HEADERS_LARGE);
}

enum server__parsed server__http1_head(struct server__http1 *parser, struct fr_slice bytes)
{
    const uint8_t *head = bytes.bytes;

    while (parser->at < bytes.length) {
        if (!has_room(parser) || !take_head_byte(parser, head, head[parser->at]))
            return SERVER_FAILED;
        parser->at++;
        if (parser->state == STATE_HEAD_DONE)
            return finish_head(parser, head) ? SERVER_DONE : SERVER_FAILED;
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
    *value = trim(colon + 1, stop);
    *at = (size_t)(stop + 2 - (const uint8_t *)head);
    return true;
}

struct fr_slice server__http1_path(const struct server__http1 *parser, const void *head)
{
    return parser->path.length > 0 ? slice_of(parser->path, head) : fr_slice_of("/");
}

/* ---- The body ---- */

bool server__http1_has_body(const struct server__http1 *parser)
{
    return parser->is_chunked || parser->length > 0;
}

static bool take_size(struct server__http1 *parser, uint8_t byte)
{
    int digit = is_digit(byte)               ? byte - '0'
                : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                             : -1;

    if (digit >= 0) {
        parser->remaining = parser->remaining << 4 | (uint64_t)digit;
        return ++parser->digits <= SIZE_DIGITS || fail(parser, SERVER_FAULT_CHUNK);
    }
    if (parser->digits == 0 || (byte != '\r' && byte != ';'))
        return fail(parser, SERVER_FAULT_CHUNK);
    if (parser->remaining > parser->body_bytes_max - parser->received)
        return fail(parser, SERVER_FAULT_BODY_LARGE);
    parser->state = byte == '\r' ? STATE_SIZE_LF : STATE_EXTENSION;
    return true;
}

static bool take_extension(struct server__http1 *parser, uint8_t byte)
{
    if (byte == '\r') {
        parser->state = STATE_SIZE_LF;
        return true;
    }
    return (is_value_byte(byte) && ++parser->overhead <= EXTENSION_BYTES) || fail(parser, SERVER_FAULT_CHUNK);
}

static bool take_trailer(struct server__http1 *parser, uint8_t byte)
{
    if (++parser->overhead > parser->header_bytes_max)
        return fail(parser, SERVER_FAULT_HEADERS_LARGE);
    switch (parser->state) {
    case STATE_TRAILER:
        if (byte == '\r') {
            parser->state = STATE_LAST_LF;
            return true;
        }
        parser->state = STATE_TRAILER_NAME;
        if (++parser->fields > parser->header_count_max)
            return fail(parser, SERVER_FAULT_HEADERS_LARGE);
        return is_token_byte(byte) || fail(parser, SERVER_FAULT_TRAILER);
    case STATE_TRAILER_NAME:
        if (byte == ':')
            parser->state = STATE_TRAILER_VALUE;
        return byte == ':' || is_token_byte(byte) || fail(parser, SERVER_FAULT_TRAILER);
    case STATE_TRAILER_VALUE:
        if (byte == '\r')
            parser->state = STATE_TRAILER_LF;
        return byte == '\r' || is_value_byte(byte) || fail(parser, SERVER_FAULT_TRAILER);
    case STATE_TRAILER_LF:
        parser->state = STATE_TRAILER;
        return byte == '\n' || fail(parser, SERVER_FAULT_TRAILER);
    default: /* STATE_LAST_LF */
        parser->state = STATE_BODY_DONE;
        return byte == '\n' || fail(parser, SERVER_FAULT_TRAILER);
    }
}

static bool take_chunk_byte(struct server__http1 *parser, uint8_t byte)
{
    switch (parser->state) {
    case STATE_SIZE:
        return take_size(parser, byte);
    case STATE_EXTENSION:
        return take_extension(parser, byte);
    case STATE_SIZE_LF:
        parser->state = parser->remaining > 0 ? STATE_DATA : STATE_TRAILER;
        return byte == '\n' || fail(parser, SERVER_FAULT_CHUNK);
    case STATE_DATA_CR:
        parser->state = STATE_DATA_LF;
        return byte == '\r' || fail(parser, SERVER_FAULT_CHUNK);
    case STATE_DATA_LF:
        parser->state = STATE_SIZE;
        parser->digits = 0;
        return byte == '\n' || fail(parser, SERVER_FAULT_CHUNK);
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
        parser->state = parser->state == STATE_FIXED ? STATE_BODY_DONE : STATE_DATA_CR;
}

enum server__parsed server__http1_body(struct server__http1 *parser, struct fr_slice bytes, size_t *used,
                                       struct fr_slice *piece)
{
    const uint8_t *from = bytes.bytes;

    *used = 0;
    *piece = fr_slice(NULL, 0);
    if (parser->state == STATE_FIXED && parser->remaining > parser->body_bytes_max) {
        parser->fault = SERVER_FAULT_BODY_LARGE;
        return SERVER_FAILED;
    }
    if (parser->state == STATE_FIXED)
        take_data(parser, from, bytes.length, used, piece);
    while (*used < bytes.length && parser->state != STATE_BODY_DONE && parser->state != STATE_FIXED) {
        if (parser->state == STATE_DATA) {
            take_data(parser, from + *used, bytes.length - *used, used, piece);
            return SERVER_MORE;
        }
        if (!take_chunk_byte(parser, from[*used]))
            return SERVER_FAILED;
        ++*used;
    }
    return parser->state == STATE_BODY_DONE ? SERVER_DONE : SERVER_MORE;
}
