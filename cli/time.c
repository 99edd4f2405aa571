/*
 * Times and decimal numbers in other people's files. Everything is exact integer arithmetic: a time that goes through a double
 * may move by a millisecond, and then a window counts it elsewhere. Gregorian calendar both ways, UTC, no time zone database.
 */
#include "internal.h"

#include <ctype.h>

struct text_reader {
    const char *at, *end;
};

static bool is_next_digit(const struct text_reader *reader)
{
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static bool take(struct text_reader *reader, char wanted)
{
    if (reader->at == reader->end || *reader->at != wanted)
        return false;
    reader->at++;
    return true;
}

static struct text_reader trimmed(struct fr_slice text)
{
    const char *start = text.length > 0 ? text.bytes : ""; /* an empty slice may be NULL */
    struct text_reader reader = {.at = start, .end = start + text.length};

    while (reader.at < reader.end && isspace((unsigned char)*reader.at))
        reader.at++;
    while (reader.at < reader.end && isspace((unsigned char)reader.end[-1]))
        reader.end--;
    return reader;
}

/* ---- Decimal numbers ---- */

struct decimal {
    struct text_reader whole, fraction; /* digits before and after the point */
    int64_t exponent;
    bool is_negative;
};

static bool read_exponent(struct text_reader *reader, int64_t *exponent)
{
    bool is_negative;

    if (!take(reader, 'e') && !take(reader, 'E'))
        return true;
    is_negative = take(reader, '-');
    if (!is_negative)
        (void)take(reader, '+');
    if (!is_next_digit(reader))
        return false;
    for (; is_next_digit(reader); reader->at++) {
        if (*exponent < 100000) /* beyond, all digits are out of reach anyway */
            *exponent = *exponent * 10 + (*reader->at - '0');
    }
    if (is_negative)
        *exponent = -*exponent;
    return true;
}

static bool read_decimal(struct fr_slice text, struct decimal *decimal)
{
    struct text_reader reader = trimmed(text);

    *decimal = (struct decimal){0};
    decimal->is_negative = take(&reader, '-');
    if (!decimal->is_negative)
        (void)take(&reader, '+');
    decimal->whole.at = reader.at;
    while (is_next_digit(&reader))
        reader.at++;
    decimal->whole.end = reader.at;
    decimal->fraction = (struct text_reader){reader.at, reader.at};
    if (take(&reader, '.')) {
        decimal->fraction.at = reader.at;
        while (is_next_digit(&reader))
            reader.at++;
        decimal->fraction.end = reader.at;
    }
    if (decimal->whole.at == decimal->whole.end && decimal->fraction.at == decimal->fraction.end)
        return false;
    return read_exponent(&reader, &decimal->exponent) && reader.at == reader.end;
}

bool cli_time__decimal(struct fr_slice text, int scale, int64_t *value)
{
    struct decimal decimal;
    uint64_t magnitude = 0;
    bool has_rest = false;
    int64_t left; /* digits that still belong to the integer; fewer are there: zeros */

    if (!read_decimal(text, &decimal))
        return false;
    left = (decimal.whole.end - decimal.whole.at) + decimal.exponent + scale;
    for (int part = 0; part < 2; part++) {
        struct text_reader digits = part == 0 ? decimal.whole : decimal.fraction;

        for (; digits.at < digits.end; digits.at++, left--) {
            uint64_t digit = (uint64_t)(*digits.at - '0');

            if (left <= 0)
                has_rest = has_rest || digit != 0;
            else if (__builtin_mul_overflow(magnitude, 10, &magnitude) || __builtin_add_overflow(magnitude, digit, &magnitude))
                return false;
        }
    }
    for (; left > 0 && magnitude > 0; left--) {
        if (__builtin_mul_overflow(magnitude, 10, &magnitude))
            return false;
    }
    if (decimal.is_negative && has_rest)
        magnitude++; /* floor, not cut */
    if (magnitude > INT64_MAX)
        return false;
    *value = decimal.is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

/* ---- ISO 8601 ---- */

/* Exactly `count` digits that lie in [least, most]. */
static bool take_number(struct text_reader *reader, int count, int least, int most, int *value)
{
    int sum = 0;

    for (int i = 0; i < count; i++) {
        if (!is_next_digit(reader))
            return false;
        sum = sum * 10 + (*reader->at++ - '0');
    }
    *value = sum;
    return sum >= least && sum <= most;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; years begin in March, so that a leap day comes last. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* hh:mm[:ss[.fraction]] */
static bool read_clock(struct text_reader *reader, int64_t *ms)
{
    int hour, minute, second = 0, milli = 0;

    if (!take_number(reader, 2, 0, 23, &hour) || !take(reader, ':') || !take_number(reader, 2, 0, 59, &minute))
        return false;
    if (take(reader, ':')) {
        if (!take_number(reader, 2, 0, 59, &second))
            return false;
        if (take(reader, '.') || take(reader, ',')) {
            if (!is_next_digit(reader))
                return false;
            for (int weight = 100; is_next_digit(reader); weight /= 10)
                milli += (*reader->at++ - '0') * weight;
        }
    }
    *ms = ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + milli;
    return true;
}

/* Z, UTC, ±hh:mm, ±hhmm, ±hh or nothing, a space before it allowed: what to take off. */
static bool read_zone(struct text_reader *reader, int64_t *ms)
{
    int hour, minute = 0;
    bool is_west;

    *ms = 0;
    (void)take(reader, ' ');
    if (reader->at == reader->end || take(reader, 'Z') || take(reader, 'z'))
        return true;
    if (take(reader, 'U'))
        return take(reader, 'T') && take(reader, 'C');
    is_west = take(reader, '-');
    if (!is_west && !take(reader, '+'))
        return false;
    if (!take_number(reader, 2, 0, 23, &hour))
        return false;
    if (take(reader, ':') || is_next_digit(reader)) {
        if (!take_number(reader, 2, 0, 59, &minute))
            return false;
    }
    *ms = (hour * 60 + minute) * INT64_C(60000) * (is_west ? -1 : 1);
    return true;
}

bool cli_time__iso(struct fr_slice text, int64_t *ms)
{
    struct text_reader reader = trimmed(text);
    int year, month, day;
    int64_t clock_ms = 0, zone_ms = 0;

    if (!take_number(&reader, 4, 1, 9999, &year) || !take(&reader, '-') || !take_number(&reader, 2, 1, 12, &month) ||
        !take(&reader, '-') || !take_number(&reader, 2, 1, days_in_month(year, month), &day))
        return false;
    if (take(&reader, 'T') || take(&reader, 't') || take(&reader, ' ')) {
        if (!read_clock(&reader, &clock_ms) || !read_zone(&reader, &zone_ms))
            return false;
    }
    if (reader.at != reader.end)
        return false;
    *ms = days_from_civil(year, month, day) * INT64_C(86400000) + clock_ms - zone_ms;
    return true;
}

void cli_time__print(int64_t ms, char out[32])
{
    int64_t days = (ms >= 0 ? ms : ms - 86399999) / 86400000;
    int64_t rest = ms - days * 86400000;
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    int64_t civil_month = month < 10 ? month + 3 : month - 9;

    char text[160]; /* as far as the compiler can tell */

    snprintf(text, sizeof text, "%04lld-%02lld-%02lldT%02lld:%02lld:%02lld.%03lldZ",
             (long long)(year_of_era + era * 400 + (civil_month <= 2)), (long long)civil_month, (long long)day,
             (long long)(rest / 3600000), (long long)(rest / 60000 % 60), (long long)(rest / 1000 % 60),
             (long long)(rest % 1000));
    snprintf(out, 32, "%.31s", text);
}
