/*
 * Where an HTTP/1.1 request ends, whom it is for and whether the connection outlives it: the fields that framing depends on.
 * Two of them that could be read in two ways are refused, for somebody before us may have read the other.
 */
#include "internal.h"

#include <freshet/text.h>

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

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
        return server__http1_fail(parser, SERVER_FAULT_LENGTH);
    for (size_t i = 0; i < value.length; i++) {
        if (!is_digit(digits[i]))
            return server__http1_fail(parser, SERVER_FAULT_LENGTH);
        if (__builtin_mul_overflow(length, 10, &length) || __builtin_add_overflow(length, (uint64_t)(digits[i] - '0'), &length))
            length = UINT64_MAX; /* a number all the same, and above any limit */
    }
    if (framing->lengths++ > 0 && length != parser->length)
        return server__http1_fail(parser, SERVER_FAULT_LENGTH);
    parser->length = length;
    parser->has_length = true;
    return true;
}

static bool take_transfer(struct server__http1 *parser, struct framing *framing, struct fr_slice value)
{
    const char *comma;

    if (framing->transfers++ > 0 || parser->is_1_0)
        return server__http1_fail(parser, SERVER_FAULT_TRANSFER);
    parser->is_chunked = fr_text_equal_nocase(value, "chunked");
    if (parser->is_chunked)
        return true;
    /* Codings before a final chunked could be undone by a better server; anything else leaves the length unknown. */
    comma = memrchr(value.bytes, ',', value.length);
    if (comma) {
        struct fr_slice last = server__http1_trim((const uint8_t *)comma + 1, (const uint8_t *)value.bytes + value.length);
        struct fr_slice first = server__http1_trim(value.bytes, (const uint8_t *)comma);

        if (fr_text_equal_nocase(last, "chunked") && first.length > 0 && !fr_text_equal_nocase(first, "chunked"))
            return server__http1_fail(parser, SERVER_FAULT_TRANSFER_UNKNOWN);
    }
    return server__http1_fail(parser, SERVER_FAULT_TRANSFER);
}

static void take_connection(struct server__http1 *parser, struct fr_slice value)
{
    const uint8_t *at = value.bytes;
    const uint8_t *end = at + value.length;

    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *stop = comma ? comma : end;

        if (fr_text_equal_nocase(server__http1_trim(at, stop), "close"))
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
        return (framing->hosts++ == 0 && host_is_valid(value)) || server__http1_fail(parser, SERVER_FAULT_HOST);
    }
    if (fr_text_equal_nocase(name, "content-length"))
        return take_length(parser, framing, value);
    if (fr_text_equal_nocase(name, "transfer-encoding"))
        return take_transfer(parser, framing, value);
    if (fr_text_equal_nocase(name, "connection"))
        take_connection(parser, value);
    if (fr_text_equal_nocase(name, "expect") && !parser->is_1_0) {
        parser->expects_continue = true;
        return (framing->expects++ == 0 && fr_text_equal_nocase(value, "100-continue")) ||
               server__http1_fail(parser, SERVER_FAULT_EXPECT);
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
        server__http1_fail(parser, SERVER_FAULT_TARGET);
        return 0;
    }
    if (parser->has_host && !fr_slice_equal(host, server__http1_slice(parser->host, head))) {
        server__http1_fail(parser, SERVER_FAULT_HOST);
        return 0;
    }
    parser->host = (struct server__span){parser->target.at + begin, host.length};
    return end;
}

/* "/path?query", "*" for OPTIONS, or "http://host/path". */
static bool take_target_form(struct server__http1 *parser, const uint8_t *head)
{
    struct fr_slice target = server__http1_slice(parser->target, head);
    const char *text = target.bytes;
    size_t at = 0;

    if (fr_slice_is(target, "*")) {
        parser->path = parser->target;
        return fr_slice_is(server__http1_slice(parser->method_text, head), "OPTIONS") ||
               server__http1_fail(parser, SERVER_FAULT_TARGET);
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

bool server__http1_frame(struct server__http1 *parser, const uint8_t *head)
{
    struct framing framing = {0};
    struct fr_slice method = server__http1_slice(parser->method_text, head);
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
        return server__http1_fail(parser, SERVER_FAULT_HOST);
    if (framing.lengths > 0 && framing.transfers > 0)
        return server__http1_fail(parser, SERVER_FAULT_LENGTH);
    if (!take_target_form(parser, head))
        return false;

    parser->remaining = parser->length;
    parser->state = parser->is_chunked ? SERVER_HTTP1_SIZE : SERVER_HTTP1_FIXED;
    return true;
}
