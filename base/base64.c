#include <freshet/base64.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void fr_base64_print(struct fr_slice bytes, bool is_padded, struct fr_buffer *out)
{
    const uint8_t *in = bytes.bytes;

    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t count = bytes.length - i < 3 ? bytes.length - i : 3;
        uint32_t group = (uint32_t)in[i] << 16 | (count > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (count > 2 ? in[i + 2] : 0);
        char letters[4];

        for (size_t j = 0; j < 4; j++)
            letters[j] = j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
        fr_buffer_append(out, letters, is_padded ? 4 : count + 1);
    }
}

enum { DIGIT_NONE = 64, PLAIN = 62 }; /* from 62 on the alphabets differ */

static uint32_t digit_of(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return (uint32_t)(letter - 'A');
    if (letter >= 'a' && letter <= 'z')
        return (uint32_t)(letter - 'a' + 26);
    if (letter >= '0' && letter <= '9')
        return (uint32_t)(letter - '0' + 52);
    return letter == '+' || letter == '-' ? PLAIN : letter == '/' || letter == '_' ? PLAIN + 1 : DIGIT_NONE;
}

/* Without its padding, which fills up the last group when it is there at all. False when it does not. */
static bool take_padding(const uint8_t *text, size_t *length)
{
    size_t padding = 0;

    while (padding < 2 && padding < *length && text[*length - 1 - padding] == '=')
        padding++;
    if (padding > 0 && *length % 4 != 0)
        return false;
    *length -= padding;
    return *length % 4 != 1;
}

bool fr_base64_read(struct fr_slice text, uint8_t *out, size_t *length)
{
    const uint8_t *letters = text.bytes;
    bool is_standard = false, is_url = false;
    size_t count = text.length, written = 0;
    uint32_t bits = 0;

    if (!take_padding(letters, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        uint8_t letter = letters[i];
        uint32_t digit = digit_of(letter);

        if (digit == DIGIT_NONE)
            return false;
        is_standard = is_standard || letter == '+' || letter == '/';
        is_url = is_url || letter == '-' || letter == '_';
        bits = bits << 6 | digit;
        if (i % 4 != 0)
            out[written++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *length = written;
    return !(is_standard && is_url);
}
