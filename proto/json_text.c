/*
 * Strings and names as JSON writes them.
 */
#include "internal.h"

#include <freshet/text.h>

enum { SHOWN_BYTES_MAX = 40 };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static void append_escape(uint8_t c, struct fr_buffer *out)
{
    static const char names[] = "\"\\bfnrt", points[] = "\"\\\b\f\n\r\t";
    const char *point = memchr(points, c, sizeof points - 1);

    if (point)
        fr_buffer_append_format(out, "\\%c", names[point - points]);
    else
        fr_buffer_append_format(out, "\\u%04x", c);
}

void proto_json_quote(struct fr_slice text, struct fr_buffer *out)
{
    const uint8_t *at = proto__begin(text), *end = at + text.length;
    /* What reaches us was checked; should something not have been, the reply stays JSON all the same. */
    uint8_t last = fr_text_is_utf8(text) ? 0xff : 0x7f;

    fr_buffer_append_byte(out, '"');
    while (at < end) {
        const uint8_t *start = at;

        while (at < end && *at >= 0x20 && *at != '"' && *at != '\\' && *at <= last)
            at++;
        fr_buffer_append(out, start, (size_t)(at - start));
        if (at == end)
            break;
        if (*at > last)
            fr_buffer_append_text(out, replacement);
        else
            append_escape(*at, out);
        at++;
    }
    fr_buffer_append_byte(out, '"');
}

int proto__json_shown(struct fr_slice text)
{
    const uint8_t *at = proto__begin(text);
    size_t length = text.length;

    if (length <= SHOWN_BYTES_MAX)
        return (int)length;
    for (length = SHOWN_BYTES_MAX; length > 0 && (at[length] & 0xc0) == 0x80; length--)
        ;
    return (int)length;
}

size_t proto__camel(const char *name, char out[PROTO__NAME_BYTES])
{
    size_t length = 0;

    for (; *name && length < PROTO__NAME_BYTES - 1; name++) {
        if (*name == '_' && name[1])
            out[length++] = upper(*++name);
        else
            out[length++] = *name;
    }
    out[length] = '\0';
    return length;
}

static bool is_camel(struct fr_slice text, const char *name)
{
    const char *at = text.bytes;
    size_t i = 0;

    for (; *name; name++, i++) {
        char c = *name == '_' && name[1] ? upper(*++name) : *name;

        if (i == text.length || at[i] != c)
            return false;
    }
    return i == text.length;
}

bool proto__is_field_name(struct fr_slice text, const char *name)
{
    return fr_slice_is(text, name) || is_camel(text, name);
}
