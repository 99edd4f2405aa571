/*
 * What text means: spans, sizes, ids, numbers, and the known name nearest to a mistyped one. Nothing here looks at the locale.
 */
#include "internal.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

enum { DOUBLE_TEXT_MAX = 1100, NAME_BYTES_MAX = 64, FRACTION_DIGITS_MAX = 9 };

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit span_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {
    {"", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", UINT64_C(1000000000000)},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static const struct unit *find_unit(const struct unit *units, size_t count, struct fr_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (fr_slice_is(name, units[i].name))
            return &units[i];
    return NULL;
}

/* Takes digits from `text` into *value. False when there is none or they do not fit. */
static bool take_digits(struct fr_slice *text, uint64_t *value)
{
    const char *at = text->bytes;
    size_t i = 0;

    *value = 0;
    for (; i < text->length && is_digit(at[i]); i++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, (uint64_t)(at[i] - '0'), value))
            return false;
    if (i == 0)
        return false;
    *text = fr_slice(at + i, text->length - i);
    return true;
}

bool fr_text_span(struct fr_slice text, int64_t *ms)
{
    uint64_t whole;
    uint64_t fraction = 0;
    uint64_t scale = 1;
    const struct unit *unit;
    unsigned __int128 scaled;

    if (fr_slice_is(text, "0")) {
        *ms = 0;
        return true;
    }
    if (!take_digits(&text, &whole))
        return false;
    if (text.length > 0 && *(const char *)text.bytes == '.') {
        struct fr_slice rest = fr_slice((const char *)text.bytes + 1, text.length - 1);
        struct fr_slice from = rest;

        if (!take_digits(&rest, &fraction) || from.length - rest.length > FRACTION_DIGITS_MAX)
            return false;
        for (size_t i = from.length - rest.length; i > 0; i--)
            scale *= 10;
        text = rest;
    }
    unit = find_unit(span_units, sizeof(span_units) / sizeof(span_units[0]), text);
    if (!unit)
        return false;
    scaled = ((unsigned __int128)whole * scale + fraction) * unit->factor; /* < 2^64 · 2^30 · 2^27 */
    if (scaled % scale != 0 || scaled / scale > INT64_MAX)
        return false;
    *ms = (int64_t)(scaled / scale);
    return true;
}

void fr_text_span_print(int64_t ms, char out[24])
{
    const struct unit *unit = span_units;

    if (ms == 0) {
        snprintf(out, 24, "0");
        return;
    }
    while (ms % (int64_t)unit->factor != 0)
        unit++; /* ends at ms, whose factor is 1 */
    snprintf(out, 24, "%" PRId64 "%s", ms / (int64_t)unit->factor, unit->name);
}

bool fr_text_size(struct fr_slice text, uint64_t *bytes)
{
    uint64_t count;
    uint64_t size;
    const struct unit *unit;

    if (!take_digits(&text, &count))
        return false;
    unit = find_unit(size_units, sizeof(size_units) / sizeof(size_units[0]), text);
    if (!unit || __builtin_mul_overflow(count, unit->factor, &size))
        return false;
    *bytes = size;
    return true;
}

bool fr_text_uint64(struct fr_slice text, uint64_t *value)
{
    uint64_t parsed;

    if (!take_digits(&text, &parsed) || text.length > 0)
        return false;
    *value = parsed;
    return true;
}

bool fr_text_int64(struct fr_slice text, int64_t *value)
{
    const char *at = text.bytes;
    bool is_negative = text.length > 0 && *at == '-';
    bool is_signed = is_negative || (text.length > 0 && *at == '+');
    uint64_t size;

    if (is_signed)
        text = fr_slice(at + 1, text.length - 1);
    if (!fr_text_uint64(text, &size) || size > (uint64_t)INT64_MAX + is_negative)
        return false;
    *value = is_negative ? (int64_t)-size : (int64_t)size;
    return true;
}

static size_t count_digits(const char *at, const char *end)
{
    size_t count = 0;

    while (at + count < end && is_digit(at[count]))
        count++;
    return count;
}

/* [+-] (digits [. [digits]] | . digits) [e [+-] digits], or inf, infinity, nan: what strtod takes, without hex and spaces. */
static bool is_double(struct fr_slice text)
{
    const char *at = text.bytes;
    const char *end = at + text.length;
    size_t digits;

    if (at < end && (*at == '+' || *at == '-'))
        at++;
    if (fr_text_equal_nocase(fr_slice(at, (size_t)(end - at)), "inf") ||
        fr_text_equal_nocase(fr_slice(at, (size_t)(end - at)), "infinity") ||
        fr_text_equal_nocase(fr_slice(at, (size_t)(end - at)), "nan"))
        return true;
    digits = count_digits(at, end);
    at += digits;
    if (at < end && *at == '.') {
        size_t fraction = count_digits(++at, end);

        digits += fraction;
        at += fraction;
    }
    if (digits == 0)
        return false;
    if (at == end)
        return true;
    if (lower(*at++) != 'e')
        return false;
    if (at < end && (*at == '+' || *at == '-'))
        at++;
    digits = count_digits(at, end);
    return digits > 0 && at + digits == end;
}

static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's own static object */
}

bool fr_text_double(struct fr_slice text, double *value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char copy[DOUBLE_TEXT_MAX + 1]; /* strtod wants an end; the longest exact double has some 1,080 digits */

    if (text.length == 0 || text.length > DOUBLE_TEXT_MAX || !is_double(text))
        return false;
    pthread_once(&once, make_c_locale);
    if (!c_locale)
        return false;
    memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    *value = strtod_l(copy, NULL, c_locale);
    return true;
}

uint64_t fr_text_hash(const void *bytes, size_t length, uint64_t seed)
{
    return XXH64(bytes, length, seed);
}

uint32_t fr_text_murmur2(struct fr_slice key)
{
    const uint32_t m = 0x5bd1e995;
    const uint8_t *at = key.bytes;
    uint32_t hash = UINT32_C(0x9747b28c) ^ (uint32_t)key.length;
    size_t left = key.length;

    for (; left >= 4; at += 4, left -= 4) {
        uint32_t word = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;

        word *= m;
        word ^= word >> 24;
        hash = hash * m ^ word * m;
    }
    for (size_t i = left; i-- > 0;)
        hash ^= (uint32_t)at[i] << (8 * i);
    if (left > 0)
        hash *= m;
    hash ^= hash >> 13;
    hash *= m;
    hash ^= hash >> 15;
    return hash & INT32_MAX;
}

uint64_t fr_text_id(struct fr_slice text)
{
    const char *at = text.bytes;
    uint64_t id;

    if (text.length == 0)
        return 0;
    if ((at[0] != '0' || text.length == 1) && fr_text_uint64(text, &id))
        return id;
    id = fr_text_hash(text.bytes, text.length, 0);
    return id != 0 ? id : 1;
}

/* The length of the well-formed sequence at `at`, or 0. Ranges as in table 3-7 of the Unicode standard. */
static size_t sequence_length(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    if (length == 0 || length > left)
        return 0;
    if (length > 1 && (at[1] < least || at[1] > most))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool fr_text_is_utf8(struct fr_slice text)
{
    const uint8_t *bytes = text.bytes;
    size_t i = 0;

    while (i < text.length) {
        size_t length;
        uint64_t eight;

        if (text.length - i >= sizeof(eight)) {
            memcpy(&eight, bytes + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        length = sequence_length(bytes + i, text.length - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

bool fr_text_equal_nocase(struct fr_slice a, const char *b)
{
    const char *at = a.bytes;

    if (a.length != strlen(b))
        return false;
    for (size_t i = 0; i < a.length; i++)
        if (lower(at[i]) != lower(b[i]))
            return false;
    return true;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, changes and swaps of neighbours that make `b` of `a`, without regard to case; both short. */
static size_t edit_distance(struct fr_slice a, struct fr_slice b)
{
    const char *from = a.bytes;
    const char *to = b.bytes;
    size_t rows[3][NAME_BYTES_MAX + 1];

    for (size_t j = 0; j <= b.length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.length; i++) {
        size_t *row = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *two_before = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b.length; j++) {
            size_t change = lower(from[i - 1]) == lower(to[j - 1]) ? 0 : 1;

            row[j] = least_of(least_of(before[j], row[j - 1]) + 1, before[j - 1] + change);
            if (i > 1 && j > 1 && lower(from[i - 1]) == lower(to[j - 2]) && lower(from[i - 2]) == lower(to[j - 1]))
                row[j] = least_of(row[j], two_before[j - 2] + 1);
        }
    }
    return rows[a.length % 3][b.length];
}

/* The first name that was cut short: "user" for "user_id". */
static const char *longer_name(struct fr_slice text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (text.length >= 3 && strncmp(names[i], text.bytes, text.length) == 0)
            return names[i];
    }
    return NULL;
}

const char *fr_text_nearest(struct fr_slice text, const char *const *names, int count)
{
    size_t best_distance = text.length / 3 > 1 ? text.length / 3 : 1;
    const char *best = NULL;

    if (text.length == 0 || text.length > NAME_BYTES_MAX)
        return NULL;
    for (int i = 0; i < count; i++) {
        struct fr_slice name = fr_slice_of(names[i]);
        size_t distance;

        if (name.length > NAME_BYTES_MAX)
            continue;
        distance = edit_distance(text, name);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best ? best : longer_name(text, names, count);
}

size_t fr_text__one_line(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f) {
            text[i] = ' ';
        } else if (c == 0xc2 && i + 1 < length && ((unsigned char)text[i + 1] & 0xe0) == 0x80) {
            text[i] = text[i + 1] = ' '; /* U+0080 to U+009F steer terminals too */
        }
    }
    return length;
}
