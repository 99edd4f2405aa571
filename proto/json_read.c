/*
 * A strict JSON reader that builds nothing: each call takes the next piece of the text. See internal.h for why it is our own.
 */
#include "internal.h"

#include <freshet/text.h>

/* What a string does not simply go on with. */
static const bool is_special[256] = {[0 ... 0x1f] = true, ['"'] = true, ['\\'] = true};

static bool fault(struct proto__json *json, const char *what)
{
    if (!json->fault)
        json->fault = what;
    return false;
}

/* 0 at the end: no byte that may stand outside of a string is 0. */
static uint8_t peek(const struct proto__json *json)
{
    return json->at < json->end ? *json->at : 0;
}

static void skip_space(struct proto__json *json)
{
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
}

struct proto__json proto__json_open(struct fr_slice text)
{
    const uint8_t *begin = proto__begin(text);
    struct proto__json json = {.begin = begin, .at = begin, .end = begin + text.length};

    if (!fr_text_is_utf8(text))
        fault(&json, "the text is not UTF-8");
    return json;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of a \u escape; −1 when they are not there. */
static int read_hex4(const uint8_t *at, const uint8_t *end)
{
    int value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* One escape, at its backslash: the code point, and where the text goes on. NULL when it is none. */
static const uint8_t *read_escape(const uint8_t *at, const uint8_t *end, uint32_t *point)
{
    static const char names[] = "\"\\/bfnrt", points[] = "\"\\/\b\f\n\r\t";
    const char *name;
    int high, low;

    if (end - at < 2)
        return NULL;
    if (at[1] != 'u') {
        name = memchr(names, at[1], sizeof names - 1);
        if (!name)
            return NULL;
        *point = (uint8_t)points[name - names];
        return at + 2;
    }
    high = read_hex4(at + 2, end);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return NULL;
    *point = (uint32_t)high;
    if (high < 0xd800 || high >= 0xe000)
        return at + 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return NULL;
    low = read_hex4(at + 8, end);
    if (low < 0xdc00 || low >= 0xe000)
        return NULL;
    *point = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return at + 12;
}

/* At the opening quote. */
static bool read_string(struct proto__json *json, struct proto__json_value *value)
{
    const uint8_t *start = ++json->at;

    *value = (struct proto__json_value){.kind = PROTO__JSON_STRING};
    for (;;) {
        const uint8_t *at = json->at;
        uint32_t point;

        while (at < json->end && !is_special[*at])
            at++;
        json->at = at;
        if (at == json->end)
            return fault(json, "a string without its closing quote");
        if (*at == '"')
            break;
        if (*at != '\\')
            return fault(json, "a control character in a string; escape it");
        at = read_escape(at, json->end, &point);
        if (!at)
            return fault(json, "an escape that JSON does not know, or half a surrogate pair");
        value->has_escapes = true;
        json->at = at;
    }
    value->text = fr_slice(start, (size_t)(json->at - start));
    json->at++;
    return true;
}

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool read_number(struct proto__json *json, struct proto__json_value *value)
{
    const uint8_t *start = json->at, *end = json->end;
    const uint8_t *at = start + (*start == '-');
    const uint8_t *digits = at;

    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return fault(json, "not a number as JSON writes one");
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return fault(json, "a number that ends in its point");
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return fault(json, "a number that ends in its exponent's sign");
    }
    *value = (struct proto__json_value){.kind = PROTO__JSON_NUMBER, .text = fr_slice(start, (size_t)(at - start))};
    json->at = at;
    return true;
}

static bool read_word(struct proto__json *json, const char *word, enum proto__json_kind kind, struct proto__json_value *value)
{
    size_t length = strlen(word);

    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0)
        return fault(json, "expected a value");
    *value = (struct proto__json_value){.kind = kind, .text = fr_slice(json->at, length)};
    json->at += length;
    return true;
}

static bool open_container(struct proto__json *json, enum proto__json_kind kind, struct proto__json_value *value)
{
    if (json->depth == PROTO__JSON_DEPTH_MAX)
        return fault(json, "nested too deep");
    *value = (struct proto__json_value){.kind = kind, .text = fr_slice(json->at, 1)};
    json->at++;
    json->depth++;
    json->is_first = true;
    return true;
}

bool proto__json_value(struct proto__json *json, struct proto__json_value *value)
{
    if (json->fault)
        return false;
    skip_space(json);
    switch (peek(json)) {
    case '{':
        return open_container(json, PROTO__JSON_OBJECT, value);
    case '[':
        return open_container(json, PROTO__JSON_ARRAY, value);
    case '"':
        return read_string(json, value);
    case 't':
        return read_word(json, "true", PROTO__JSON_TRUE, value);
    case 'f':
        return read_word(json, "false", PROTO__JSON_FALSE, value);
    case 'n':
        return read_word(json, "null", PROTO__JSON_NULL, value);
    case '-':
    case '0' ... '9':
        return read_number(json, value);
    default:
        return fault(json, "expected a value");
    }
}

/* To the next member or element, past its comma; false when the container closes here. */
static bool next_item(struct proto__json *json, uint8_t closing, const char *expected)
{
    if (json->fault)
        return false;
    skip_space(json);
    if (peek(json) == closing) {
        json->at++;
        json->depth--;
        json->is_first = false; /* the container itself was an item of the outer one */
        return false;
    }
    if (!json->is_first) {
        if (peek(json) != ',')
            return fault(json, expected);
        json->at++;
        skip_space(json);
    }
    json->is_first = false;
    return true;
}

bool proto__json_member(struct proto__json *json, struct proto__json_value *key)
{
    if (!next_item(json, '}', "expected ',' or '}'"))
        return false;
    if (peek(json) != '"')
        return fault(json, "expected a key in double quotes");
    if (!read_string(json, key))
        return false;
    skip_space(json);
    if (peek(json) != ':')
        return fault(json, "expected ':'");
    json->at++;
    return true;
}

bool proto__json_element(struct proto__json *json)
{
    return next_item(json, ']', "expected ',' or ']'");
}

bool proto__json_skip(struct proto__json *json, const struct proto__json_value *value)
{
    struct proto__json_value inner;

    if (value->kind == PROTO__JSON_OBJECT) {
        while (proto__json_member(json, &inner)) {
            if (!proto__json_value(json, &inner) || !proto__json_skip(json, &inner))
                return false;
        }
    } else if (value->kind == PROTO__JSON_ARRAY) {
        while (proto__json_element(json)) {
            if (!proto__json_value(json, &inner) || !proto__json_skip(json, &inner))
                return false;
        }
    }
    return !json->fault;
}

size_t proto__json_count(struct proto__json *json)
{
    struct proto__json probe = *json;
    struct proto__json_value value;
    size_t count = 0;

    while (proto__json_element(&probe)) {
        if (!proto__json_value(&probe, &value) || !proto__json_skip(&probe, &value))
            break;
        count++;
    }
    if (probe.fault)
        *json = probe;
    return count;
}

bool proto__json_close(struct proto__json *json)
{
    if (json->fault)
        return false;
    skip_space(json);
    return json->at == json->end || fault(json, "something behind the end of the value");
}

bool proto__json_fail(const struct proto__json *json, const char *what, struct fr_err *err)
{
    return fr_fail(err, FR_BAD_INPUT, "%s: not JSON at byte %zu: %s", what, (size_t)(json->at - json->begin),
                   json->at == json->end ? "it ends too early" : json->fault);
}

/* A code point as UTF-8 into `out` (NULL: only counted). */
static size_t put_point(uint32_t point, uint8_t *out)
{
    size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

    if (!out)
        return length;
    for (size_t i = length; i-- > 1; point >>= 6)
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(leads[length] | point);
    return length;
}

size_t proto__json_unescape(const struct proto__json_value *string, uint8_t *out)
{
    const uint8_t *at = proto__begin(string->text);
    const uint8_t *end = at + string->text.length;
    size_t length = 0;

    if (!string->has_escapes) {
        if (out)
            memcpy(out, at, string->text.length);
        return string->text.length;
    }
    while (at < end) {
        uint32_t point = *at;

        if (point == '\\') {
            at = read_escape(at, end, &point); /* it was read before: not NULL */
            length += put_point(point, out ? out + length : NULL);
        } else {
            if (out)
                out[length] = *at;
            length++;
            at++;
        }
    }
    return length;
}

struct fr_slice proto__json_short(const struct proto__json_value *string, uint8_t room[PROTO__JSON_SHORT_BYTES])
{
    if (!string->has_escapes || proto__json_unescape(string, NULL) > PROTO__JSON_SHORT_BYTES)
        return string->text;
    return fr_slice(room, proto__json_unescape(string, room));
}
