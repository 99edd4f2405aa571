/*
 * The query of a page, "a=1&b=two%20words", as forms and curl write it. What is no escape is taken as it stands.
 */
#include "internal.h"

static int digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void decode(struct fr_slice text, struct fr_buffer *out)
{
    const char *bytes = text.bytes;

    for (size_t i = 0; i < text.length; i++) {
        bool is_escape = bytes[i] == '%' && i + 2 < text.length && digit(bytes[i + 1]) >= 0 && digit(bytes[i + 2]) >= 0;

        if (is_escape) {
            fr_buffer_append_byte(out, (uint8_t)(digit(bytes[i + 1]) << 4 | digit(bytes[i + 2])));
            i += 2;
        } else {
            fr_buffer_append_byte(out, (uint8_t)(bytes[i] == '+' ? ' ' : bytes[i]));
        }
    }
}

bool server_query_find(struct fr_slice query, const char *name, struct fr_buffer *value)
{
    const char *at = query.bytes, *end = at + query.length;
    size_t length = strlen(name);

    while (at < end) {
        const char *ampersand = memchr(at, '&', (size_t)(end - at));
        const char *stop = ampersand ? ampersand : end;

        if ((size_t)(stop - at) > length && memcmp(at, name, length) == 0 && at[length] == '=') {
            decode(fr_slice(at + length + 1, (size_t)(stop - at) - length - 1), value);
            return true;
        }
        at = ampersand ? ampersand + 1 : end;
    }
    return false;
}
