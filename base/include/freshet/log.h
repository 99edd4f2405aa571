/*
 * Logs on stderr, one line each: "2026-11-23T08:11:02.123Z warn ingest: message". A line that comes more than `per_minute`
 * times from one place is counted and summed up in one line a minute. No payloads and no secrets in logs. Any thread.
 */
#ifndef FRESHET_LOG_H
#define FRESHET_LOG_H

#include <freshet/error.h>

enum fr_log_level { FR_LOG_DEBUG, FR_LOG_INFO, FR_LOG_WARN, FR_LOG_ERROR };

/* Lines below `level` are dropped. Default FR_LOG_INFO. */
void fr_log_level_set(enum fr_log_level level);

/* `room` is the module: "ingest". */
void fr_log(enum fr_log_level level, const char *room, const char *format, ...) FR_PRINTF(3, 4);

/* The rate limit's memory of one place in the code; static, zeroed. */
struct fr_log_place {
    int64_t minute;
    int64_t lines;
    int64_t held_back;
    int lock;
};

/* At most `per_minute` lines a minute from this place; what was held back is told with the next line that passes. */
void fr_log_limited(struct fr_log_place *place, int per_minute, enum fr_log_level level, const char *room, const char *format,
                    ...) FR_PRINTF(5, 6);

#endif
