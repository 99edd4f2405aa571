/*
 * Numbers to JSON, each as the shortest text that reads back to the same bits.
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { INTEGER_TEXT_MAX = 24, FLOAT_TEXT_MAX = 32 };

static uint8_t *put_digits(uint64_t value, uint8_t *end)
{
    do {
        *--end = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

static void print_integer(bool is_negative, uint64_t magnitude, bool is_quoted, struct fr_buffer *out)
{
    uint8_t text[INTEGER_TEXT_MAX], *end = text + sizeof text, *at = end;

    if (is_quoted)
        *--at = '"';
    at = put_digits(magnitude, at);
    if (is_negative)
        *--at = '-';
    if (is_quoted)
        *--at = '"';
    fr_buffer_append(out, at, (size_t)(end - at));
}

void proto__print_uint(uint64_t value, struct fr_buffer *out)
{
    print_integer(false, value, false, out);
}

void proto__print_uint_quoted(uint64_t value, struct fr_buffer *out)
{
    print_integer(false, value, true, out);
}

void proto__print_int(int64_t value, struct fr_buffer *out)
{
    print_integer(value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value, false, out);
}

void proto__print_int_quoted(int64_t value, struct fr_buffer *out)
{
    print_integer(value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value, true, out);
}

/* What needs no search for its shortest text: not finite, or whole and small, as most counters are. */
static bool print_plain(double value, struct fr_buffer *out)
{
    if (isnan(value)) {
        fr_buffer_append_text(out, "\"NaN\"");
    } else if (isinf(value)) {
        fr_buffer_append_text(out, value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    } else if (fabs(value) < 1e6 && value == (double)(int64_t)value) {
        if (signbit(value) && value == 0)
            fr_buffer_append_text(out, "-0");
        else
            proto__print_int((int64_t)value, out);
    } else {
        return false;
    }
    return true;
}

void proto__print_double(double value, struct fr_buffer *out)
{
    char text[FLOAT_TEXT_MAX];

    if (print_plain(value, out))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (digits == 17 || strtod(text, NULL) == value)
            break;
    }
    fr_buffer_append_text(out, text);
}

/* A mantissa × 10^−scale in plain digits; `scale` at most 13. */
static void print_decimal(bool is_negative, uint64_t mantissa, int scale, struct fr_buffer *out)
{
    uint8_t text[FLOAT_TEXT_MAX], *end = text + sizeof text, *at = end;

    for (; scale > 0 && mantissa % 10 == 0; scale--)
        mantissa /= 10;
    if (scale > 0) {
        for (; scale > 0; scale--, mantissa /= 10)
            *--at = (uint8_t)('0' + mantissa % 10);
        *--at = '.';
    }
    for (; scale < 0; scale++)
        *--at = '0';
    at = put_digits(mantissa, at);
    if (is_negative)
        *--at = '-';
    fr_buffer_append(out, at, (size_t)(end - at));
}

/*
 * A float of everyday size, in double arithmetic: a reply has a hundred thousand of them, and snprintf with strtof to check takes
 * 1 us each. A text is taken when it lies well inside of what rounds to the float: nearer than 0.49 of the gap to the next one
 * towards zero, where the errors of the doubles, 2^-29 of that gap, do not matter.
 */
static bool print_everyday(float value, struct fr_buffer *out)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13};
    double magnitude = fabs((double)value);
    double gap = magnitude - (double)nextafterf(fabsf(value), 0);
    int exponent = 0;

    if (!(magnitude >= 1e-5 && magnitude < 1e13))
        return false;
    while (magnitude >= powers[exponent + 1])
        exponent++;
    while (exponent <= 0 && magnitude * powers[-exponent] < 1)
        exponent--;
    for (int digits = 6; digits <= 9; digits++) {
        int scale = digits - 1 - exponent;
        double power = powers[scale < 0 ? -scale : scale];
        long long mantissa = llround(scale < 0 ? magnitude / power : magnitude * power);
        double read = scale < 0 ? (double)mantissa * power : (double)mantissa / power;

        if (fabs(read - magnitude) < 0.49 * gap) {
            print_decimal(value < 0, (uint64_t)mantissa, scale, out);
            return true;
        }
    }
    return false;
}

void proto__print_float(float value, struct fr_buffer *out)
{
    char text[FLOAT_TEXT_MAX];

    if (print_plain((double)value, out) || print_everyday(value, out))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (digits == 9 || strtof(text, NULL) == value)
            break;
    }
    fr_buffer_append_text(out, text);
}
