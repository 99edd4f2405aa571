/*
 * Logs. A line is made whole in one buffer and leaves in one write, so that lines of several threads never mix.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, MINUTE_MS = 60000 };

static atomic_int least_level = FR_LOG_INFO;

void fr_log_level_set(enum fr_log_level level)
{
    atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

static bool is_wanted(enum fr_log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

static size_t print_head(char *line, size_t bytes, enum fr_log_level level, const char *room)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    int64_t now_ms = fr_clock_wall_ms();
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm date = {0};
    int length;

    gmtime_r(&now_s, &date);
    length = snprintf(line, bytes, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: ", date.tm_year + 1900, date.tm_mon + 1,
                      date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec, (int)(now_ms % 1000), levels[level], room);
    return length < 0 ? 0 : (size_t)length < bytes ? (size_t)length : bytes - 1;
}

static void print_line(enum fr_log_level level, const char *room, int64_t held_back, const char *format, va_list args)
{
    char line[LINE_BYTES];
    size_t most = sizeof(line) - 64; /* room for the note and the newline */
    size_t length = print_head(line, most, level, room);

    vsnprintf(line + length, most - length, format, args);
    length = fr_text__one_line(line, strlen(line));
    if (held_back > 0)
        length += (size_t)snprintf(line + length, sizeof(line) - length, " (and %" PRId64 " more held back)", held_back);
    line[length++] = '\n';
    while (write(STDERR_FILENO, line, length) < 0 && errno == EINTR)
        continue;
}

void fr_log(enum fr_log_level level, const char *room, const char *format, ...)
{
    va_list args;

    if (!is_wanted(level))
        return;
    va_start(args, format);
    print_line(level, room, 0, format, args);
    va_end(args);
}

/* Whether one more line may leave; then *held_back is what was held back before it. */
static bool may_pass(struct fr_log_place *place, int per_minute, int64_t *held_back)
{
    int64_t minute = fr_clock_monotonic_ms() / MINUTE_MS;
    bool passes;

    while (__atomic_exchange_n(&place->lock, 1, __ATOMIC_ACQUIRE) != 0)
        continue; /* held for a few instructions only */
    if (place->minute != minute) {
        place->minute = minute;
        place->lines = 0;
    }
    passes = place->lines < per_minute;
    if (passes) {
        place->lines++;
        *held_back = place->held_back;
        place->held_back = 0;
    } else {
        place->held_back++;
    }
    __atomic_store_n(&place->lock, 0, __ATOMIC_RELEASE);
    return passes;
}

void fr_log_limited(struct fr_log_place *place, int per_minute, enum fr_log_level level, const char *room, const char *format,
                    ...)
{
    int64_t held_back = 0;
    va_list args;

    if (!is_wanted(level) || !may_pass(place, per_minute, &held_back))
        return;
    va_start(args, format);
    print_line(level, room, held_back, format, args);
    va_end(args);
}
