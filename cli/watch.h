/*
 * `freshet status --watch`: figures of the last minutes (figures.c), drawn (watch_view.c) on a screen (screen.c), or a line a second where
 * stdout is no terminal (watch.c, which also asks the node). One thread, the main one.
 */
#ifndef FRESHET_CLI_WATCH_H
#define FRESHET_CLI_WATCH_H

#include "internal.h"

#include <freshet/v1/admin.pb-c.h>

/* ---- The screen: screen.c ---- */

struct cli_screen {
    int columns, lines; /* of the terminal, as it is now */
    bool has_unicode, has_colour;
    bool is_open;
};

/* Another screen than that of the shell, without a cursor, until it is closed. `fd` 1 is a terminal. */
void cli_screen__open(struct cli_screen *screen);
void cli_screen__close(struct cli_screen *screen); /* also of one that is not open */

/* Shows the frame, lines ended by \n, in place of the one before, in one write; what does not fit is cut. */
void cli_screen__show(struct cli_screen *screen, const struct fr_buffer *frame);

/* Waits; true at once when the terminal's size has changed. A stop ends it too. */
bool cli_screen__wait(struct cli_screen *screen, int64_t ms);

/* ---- Figures of the last minutes: figures.c ---- */

enum { CLI_FIGURES_KEPT = 240, CLI_FIGURES_BUCKETS = 64 };

enum cli_figure { /* those that have a history */
                  CLI_APPLIED, /* events a second */
                  CLI_READS, /* calls a second */
                  CLI_LAG, /* events */
                  CLI_FRESHNESS, /* p99 of the last second, in s; negative: nothing came */
                  CLI_LATENCY, /* p99 of the last second, in s; negative: nobody asked */
                  CLI_FIGURES
};

struct cli_histogram { /* cumulative, as Prometheus has them */
    double least[CLI_FIGURES_BUCKETS], counts[CLI_FIGURES_BUCKETS];
    int count;
};

struct cli_scrape { /* what is taken of /metrics */
    struct cli_histogram freshness, latency;
    double reads; /* calls of rankers, ever */
    double budget_bytes, resident_bytes;
    double dead_letters;
};

/* Reads the text of /metrics. */
void cli_scrape__read(struct fr_slice text, struct cli_scrape *scrape);

/* The quantile of what came between two scrapes, up to a bucket's upper end; −1 when nothing did. */
double cli_histogram__quantile(const struct cli_histogram *before, const struct cli_histogram *now, double q);

struct cli_figures {
    double history[CLI_FIGURES][CLI_FIGURES_KEPT]; /* a ring */
    int count; /* ever added */
    double freshness_p50, latency_p50;
    bool has_metrics; /* the operations port answered */
    struct cli_scrape scrape;
    uint64_t applied;
    int64_t at_ms; /* of the last look; 0: none */
    bool has_before;
};

/* One more second; `metrics` NULL: the operations port did not answer. */
void cli_figures__add(struct cli_figures *figures, const Freshet__V1__StatusResponse *status, const struct fr_buffer *metrics,
                      int64_t now_ms);
double cli_figures__last(const struct cli_figures *figures, enum cli_figure figure); /* −1 before the second look */

/* ---- The view: watch_view.c ---- */

struct cli_watch_seen {
    const Freshet__V1__StatusResponse *status; /* NULL: never yet */
    const struct cli_figures *figures;
    const char *api, *operations;
    const char *trouble; /* NULL: the node answered just now */
    int64_t now_ms; /* wall clock */
};
void cli_watch__frame(const struct cli_watch_seen *seen, const struct cli_screen *screen, struct fr_buffer *frame);
void cli_watch__line(const struct cli_watch_seen *seen, struct fr_buffer *line);

/* ---- watch.c ---- */

int cli_watch__run(const struct cli_command *command, const struct cli_node *node, const char *operations);

#endif
