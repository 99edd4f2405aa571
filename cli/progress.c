/*
 * How far a long job is: one line that is drawn over, on a terminal only, so that logs and pipes stay clean.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <unistd.h>

enum { PROGRESS_CELLS = 24, PROGRESS_EVERY_MS = 100 };

const char *cli_progress__grouped(uint64_t value, char out[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    int at = 0;

    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

void cli_progress__line(uint64_t at, int64_t size, uint64_t count, const char *what, int64_t elapsed_ms, char *out,
                        size_t capacity)
{
    char grouped[32], rate[32];
    uint64_t per_second = elapsed_ms > 0 ? count * 1000 / (uint64_t)elapsed_ms : 0;
    double share = size > 0 ? (double)at / (double)size : 0;
    int cells;
    int64_t left_s;

    cli_progress__grouped(count, grouped);
    cli_progress__grouped(per_second, rate);
    if (size <= 0) {
        snprintf(out, capacity, "%s %s  %s/s", grouped, what, rate);
        return;
    }
    share = share > 1 ? 1 : share;
    cells = (int)(share * PROGRESS_CELLS);
    left_s = share > 0 ? (int64_t)((double)elapsed_ms / share * (1 - share) / 1000) : 0;
    snprintf(out, capacity, "[%.*s%.*s] %3d %%  %s %s  %s/s  %lld:%02lld left", cells, "########################",
             PROGRESS_CELLS - cells, "------------------------", (int)(share * 100), grouped, what, rate,
             (long long)(left_s / 60), (long long)(left_s % 60));
}

void cli_progress__init(struct cli_progress *progress, const char *what)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    *progress =
        (struct cli_progress){.what = what, .is_shown = isatty(STDERR_FILENO) == 1, .start_ms = now_ms, .drawn_ms = now_ms};
}

void cli_progress__show(struct cli_progress *progress, uint64_t at, int64_t size, uint64_t count)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    char line[160];

    if (!progress->is_shown || now_ms - progress->drawn_ms < PROGRESS_EVERY_MS)
        return;
    progress->drawn_ms = now_ms;
    cli_progress__line(at, size, count, progress->what, now_ms - progress->start_ms, line, sizeof line);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
}

void cli_progress__fini(struct cli_progress *progress)
{
    if (progress->is_shown && progress->drawn_ms != progress->start_ms) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

int64_t cli_progress__pause_ms(uint64_t rate, uint64_t count, int64_t elapsed_us)
{
    double due_us = rate > 0 ? (double)count * 1e6 / (double)rate : 0;

    return due_us > (double)elapsed_us ? (int64_t)((due_us - (double)elapsed_us + 999) / 1000) : 0;
}
