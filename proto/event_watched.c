/*
 * A length is a power of 2 of seconds; times are in eighths of a power of 2 of it. Powers are of exact doubles, so that a watch is
 * in the same bucket on every machine.
 */
#include <freshet/event.h>

#include <math.h>

enum { EIGHTHS = 8, LEAST_POWER = -6 };

/* The doubles nearest to 2^(k/8). */
static const double steps[EIGHTHS] = {0x1p+0,
                                      0x1.172b83c7d517bp+0,
                                      0x1.306fe0a31b715p+0,
                                      0x1.4bfdad5362a27p+0,
                                      0x1.6a09e667f3bcdp+0,
                                      0x1.8ace5422aa0dbp+0,
                                      0x1.ae89f995ad3adp+0,
                                      0x1.d5818dcfba487p+0};

static int length_of(double duration_s)
{
    int length = ilogb(duration_s);

    return length < 0 ? 0 : length < PROTO_WATCHED_LENGTHS ? length : PROTO_WATCHED_LENGTHS - 1;
}

/* The time watched, as a part of the length's lower edge. */
static int time_of(double part)
{
    int power, time, k = EIGHTHS - 1;
    double mantissa;

    if (!(part >= ldexp(1, LEAST_POWER)))
        return 0; /* also of a negative one */
    power = ilogb(part);
    mantissa = ldexp(part, -power);
    while (mantissa < steps[k])
        k--;
    time = 1 + (power - LEAST_POWER) * EIGHTHS + k;
    return time < PROTO_WATCHED_TIMES ? time : PROTO_WATCHED_TIMES - 1;
}

int proto_event_watched(const struct proto_event *event)
{
    int length;

    if (!(event->duration_s > 0))
        return -1;
    length = length_of(event->duration_s);
    return length * PROTO_WATCHED_TIMES + time_of(ldexp(event->value, -length));
}
