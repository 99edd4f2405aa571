/*
 * Time, from the two clocks that matter: the wall's for people and event time, the monotonic one for spans.
 */
#include <freshet/clock.h>

#include <time.h>

static struct timespec now_of(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now); /* fails for an unknown clock only */
    return now;
}

int64_t fr_clock_wall_ms(void)
{
    struct timespec now = now_of(CLOCK_REALTIME);

    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t fr_clock_monotonic_ms(void)
{
    struct timespec now = now_of(CLOCK_MONOTONIC);

    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t fr_clock_monotonic_us(void)
{
    struct timespec now = now_of(CLOCK_MONOTONIC);

    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void fr_clock_sleep_ms(int64_t ms)
{
    struct timespec span;

    if (ms <= 0)
        return;
    span = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL); /* a signal ends it early, as promised */
}
