/*
 * Numbers from JSON. Integers never go through a double: ids use all of their 64 bits.
 */
#include "internal.h"

#include <freshet/text.h>

#include <math.h>

enum { PLAIN_DIGITS_MAX = 19 };

/* value × 10^power + digit; false when that is beyond 64 bits. */
static bool shift_in(uint64_t *value, int64_t power, uint64_t digit)
{
    if (*value == 0)
        power = 0;
    for (; power > 0; power--) {
        if (__builtin_mul_overflow(*value, 10, value))
            return false;
    }
    return !__builtin_add_overflow(*value, digit, value);
}

/* The exponent of a number, "e3", "E+3", "e-3"; what is out of all proportion is cut. */
static const char *read_exponent(const char *at, const char *end, int64_t *exponent)
{
    bool is_negative;
    const char *digits;
    int64_t value = 0;

    if (++at < end && (*at == '+' || *at == '-'))
        at++;
    is_negative = at[-1] == '-';
    for (digits = at; at < end && *at >= '0' && *at <= '9'; at++)
        value = value < INT64_C(1) << 40 ? value * 10 + (*at - '0') : value;
    *exponent = is_negative ? -value : value;
    return at > digits ? at : NULL;
}

/* Digits alone, too few to overflow: what nearly all integers are. */
static bool read_plain(const char *at, const char *end, uint64_t *value)
{
    if (at == end || end - at > PLAIN_DIGITS_MAX)
        return false;
    for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (uint64_t)(*at - '0');
    return at == end;
}

bool proto__number_integer(struct fr_slice text, bool *is_negative, uint64_t *magnitude)
{
    const char *at = (const char *)proto__begin(text), *end = at + text.length;
    uint64_t value = 0;
    int64_t zeros = 0; /* seen, and not yet multiplied in: 1.000 has to be no larger than 1 */
    int64_t fraction = 0; /* digits behind the point */
    int64_t exponent = 0;
    bool has_point = false, has_digits = false;

    *is_negative = at < end && *at == '-';
    at += *is_negative;
    if (read_plain(at, end, magnitude))
        return true;
    for (; at < end && ((*at >= '0' && *at <= '9') || (*at == '.' && !has_point)); at++) {
        if (*at == '.') {
            has_point = true;
            continue;
        }
        has_digits = true;
        fraction += has_point;
        if (*at == '0') {
            zeros++;
            continue;
        }
        if (!shift_in(&value, zeros + 1, (uint64_t)(*at - '0')))
            return false;
        zeros = 0;
    }
    if (at < end && has_digits && (*at == 'e' || *at == 'E'))
        at = read_exponent(at, end, &exponent);
    if (!has_digits || at != end)
        return false;
    exponent += zeros - fraction;
    if (value != 0 && (exponent < 0 || !shift_in(&value, exponent, 0)))
        return false;
    *magnitude = value;
    return true;
}

bool proto__number_int(struct fr_slice text, int bits, int64_t *value)
{
    uint64_t magnitude, most = UINT64_MAX >> (65 - bits);
    bool is_negative;

    if (!proto__number_integer(text, &is_negative, &magnitude) || magnitude > most + is_negative)
        return false;
    *value = is_negative ? (int64_t)-magnitude : (int64_t)magnitude;
    return true;
}

bool proto__number_uint(struct fr_slice text, int bits, uint64_t *value)
{
    uint64_t magnitude;
    bool is_negative;

    if (!proto__number_integer(text, &is_negative, &magnitude) || magnitude > UINT64_MAX >> (64 - bits))
        return false;
    *value = magnitude;
    return !is_negative || magnitude == 0;
}

bool proto__number_double(struct fr_slice text, bool is_string, double *value)
{
    if (is_string) {
        const char *at = (const char *)proto__begin(text);

        if (fr_slice_is(text, "NaN"))
            *value = (double)NAN;
        else if (fr_slice_is(text, "Infinity"))
            *value = (double)INFINITY;
        else if (fr_slice_is(text, "-Infinity"))
            *value = -(double)INFINITY;
        else /* as JSON writes it: no "+1", and no "-inf", which ends in a letter */
            return text.length > 0 && (*at == '-' || (*at >= '0' && *at <= '9')) && at[text.length - 1] < 'A' &&
                   fr_text_double(text, value);
        return true;
    }
    return fr_text_double(text, value);
}
