/* What `status --watch` shows: figures of now with the last minutes beside them, partitions, models; as many lines as the screen has. */
#include "watch.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LABEL_CELLS = 12, FIGURE_CELLS = 32, BAR_CELLS_MOST = 40, NUMBER_BYTES = 40 };

struct drawing {
    const struct cli_watch_seen *seen;
    const struct cli_screen *screen;
    struct fr_buffer *out;
    int lines;
};

/* ---- pieces ---- */

static void colour(const struct drawing *drawing, const char *code)
{
    if (drawing->screen->has_colour)
        fr_buffer_append_format(drawing->out, "\033[%sm", code);
}

static void end_line(struct drawing *drawing)
{
    fr_buffer_append_text(drawing->out, "\n");
    drawing->lines++;
}

static void label(const struct drawing *drawing, const char *name)
{
    colour(drawing, "2");
    fr_buffer_append_format(drawing->out, " %-*s", LABEL_CELLS, name);
    colour(drawing, "0");
}

/* "850 µs", "12 ms", "1.2 s"; "-" of a negative one. */
static const char *seconds_text(double seconds, bool has_unicode, char out[NUMBER_BYTES])
{
    if (seconds < 0)
        snprintf(out, NUMBER_BYTES, "-");
    else if (seconds < 0.001)
        snprintf(out, NUMBER_BYTES, "%.0f %s", seconds * 1e6, has_unicode ? "µs" : "us");
    else if (seconds < 1)
        snprintf(out, NUMBER_BYTES, "%.*f ms", seconds < 0.01 ? 1 : 0, seconds * 1e3);
    else
        snprintf(out, NUMBER_BYTES, "%.1f s", seconds);
    return out;
}

static const char *size_text(double bytes, char out[NUMBER_BYTES])
{
    if (bytes >= 1024.0 * 1024 * 1024)
        snprintf(out, NUMBER_BYTES, "%.2f GiB", bytes / (1024.0 * 1024 * 1024));
    else
        snprintf(out, NUMBER_BYTES, "%.1f MiB", bytes / (1024.0 * 1024));
    return out;
}

static const char *rate_text(double rate, char out[NUMBER_BYTES])
{
    if (rate < 0)
        snprintf(out, NUMBER_BYTES, "-");
    else
        cli_progress__grouped((uint64_t)llround(rate), out);
    return out;
}

/* The last seconds of a figure as bars, the newest to the right, the highest of them as high as a cell. */
static void sparkline(const struct drawing *drawing, enum cli_figure figure, int cells)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    const struct cli_figures *figures = drawing->seen->figures;
    int kept = figures->count < CLI_FIGURES_KEPT ? figures->count : CLI_FIGURES_KEPT;
    double most = 0;

    cells = cells < kept ? cells : kept;
    for (int i = 0; i < cells; i++)
        most = fmax(most, figures->history[figure][(figures->count - 1 - i) % CLI_FIGURES_KEPT]);
    colour(drawing, "36");
    for (int i = cells - 1; i >= 0; i--) {
        double value = figures->history[figure][(figures->count - 1 - i) % CLI_FIGURES_KEPT];
        int height = most > 0 ? (int)(value / most * 7 + 0.5) : 0;

        fr_buffer_append_text(drawing->out, value < 0 ? " " : drawing->screen->has_unicode ? blocks[height] : letters[height]);
    }
    colour(drawing, "0");
}

static void bar(const struct drawing *drawing, double share, int cells, const char *code)
{
    int full;

    share = share < 0 ? 0 : share > 1 ? 1 : share;
    full = (int)(share * cells + 0.5);
    colour(drawing, code);
    for (int i = 0; i < full; i++)
        fr_buffer_append_text(drawing->out, drawing->screen->has_unicode ? "█" : "#");
    colour(drawing, "2");
    for (int i = full; i < cells; i++)
        fr_buffer_append_text(drawing->out, drawing->screen->has_unicode ? "░" : "-");
    colour(drawing, "0");
}

/* A label, a text padded to its column, and the last minutes. */
static void figure_line(struct drawing *drawing, const char *name, const char *text, enum cli_figure figure)
{
    int cells = 0;

    for (const char *at = text; *at; at++)
        cells += (*at & 0xc0) != 0x80; /* letters of more than one byte are one cell */
    label(drawing, name);
    fr_buffer_append_format(drawing->out, "%s%*s", text, cells < FIGURE_CELLS ? FIGURE_CELLS - cells : 1, "");
    sparkline(drawing, figure, drawing->screen->columns - LABEL_CELLS - FIGURE_CELLS - 3);
    end_line(drawing);
}

/* ---- blocks ---- */

static void draw_head(struct drawing *drawing)
{
    const Freshet__V1__StatusResponse *status = drawing->seen->status;
    const char *state = drawing->seen->trouble                ? "does not answer"
                        : status->ready                       ? "serving"
                        : status->not_ready_reason[0] != '\0' ? status->not_ready_reason
                                                              : "starting";
    char now[32];

    cli_time__print(drawing->seen->now_ms, now);
    colour(drawing, "1");
    fr_buffer_append_format(drawing->out, " freshet %s", status->version);
    colour(drawing, "0");
    fr_buffer_append_format(drawing->out, "  %s  ", drawing->seen->api);
    colour(drawing, drawing->seen->trouble ? "1;31" : status->ready ? "1;32" : "1;33");
    fr_buffer_append_text(drawing->out, state);
    colour(drawing, "0");
    fr_buffer_append_format(drawing->out, "  %.8s", now + 11);
    end_line(drawing);
    end_line(drawing);
}

static void draw_rates(struct drawing *drawing)
{
    const struct cli_figures *figures = drawing->seen->figures;
    const Freshet__V1__StatusResponse *status = drawing->seen->status;
    char text[160], first[NUMBER_BYTES], second[NUMBER_BYTES];
    bool has_unicode = drawing->screen->has_unicode;

    snprintf(text, sizeof text, "%s  %s/s", cli_progress__grouped(status->applied_events, first),
             rate_text(cli_figures__last(figures, CLI_APPLIED), second));
    figure_line(drawing, "applied", text, CLI_APPLIED);
    if (status->lag_events < 0)
        snprintf(text, sizeof text, "not known yet");
    else
        snprintf(text, sizeof text, "%s events, stale %s", cli_progress__grouped((uint64_t)status->lag_events, first),
                 status->stale_ms > 0 ? seconds_text((double)status->stale_ms / 1000, has_unicode, second) : "0");
    figure_line(drawing, "lag", text, CLI_LAG);
    if (!figures->has_metrics) {
        label(drawing, "reads");
        fr_buffer_append_format(drawing->out, "no metrics at %s: --operations HOST:PORT", drawing->seen->operations);
        end_line(drawing);
        return;
    }
    snprintf(text, sizeof text, "p50 %s  p99 %s", seconds_text(figures->freshness_p50, has_unicode, first),
             seconds_text(cli_figures__last(figures, CLI_FRESHNESS), has_unicode, second));
    figure_line(drawing, "freshness", text, CLI_FRESHNESS);
    snprintf(text, sizeof text, "%s/s", rate_text(cli_figures__last(figures, CLI_READS), first));
    figure_line(drawing, "reads", text, CLI_READS);
    snprintf(text, sizeof text, "p50 %s  p99 %s", seconds_text(figures->latency_p50, has_unicode, first),
             seconds_text(cli_figures__last(figures, CLI_LATENCY), has_unicode, second));
    figure_line(drawing, "latency", text, CLI_LATENCY);
}

static void draw_state(struct drawing *drawing)
{
    const Freshet__V1__StatusResponse *status = drawing->seen->status;
    const struct cli_scrape *scrape = &drawing->seen->figures->scrape;
    int cells = drawing->screen->columns - LABEL_CELLS - FIGURE_CELLS - 3;
    char text[120], first[NUMBER_BYTES], second[NUMBER_BYTES], stream[32];

    label(drawing, "memory");
    size_text((double)status->memory_bytes, first);
    if (drawing->seen->figures->has_metrics && scrape->budget_bytes > 0) {
        snprintf(text, sizeof text, "%s of %s", first, size_text(scrape->budget_bytes, second));
        fr_buffer_append_format(drawing->out, "%-*s", FIGURE_CELLS, text);
        bar(drawing, (double)status->memory_bytes / scrape->budget_bytes, cells < BAR_CELLS_MOST ? cells : BAR_CELLS_MOST,
            (double)status->memory_bytes > 0.95 * scrape->budget_bytes ? "33" : "32");
    } else {
        fr_buffer_append_text(drawing->out, first);
    }
    end_line(drawing);
    label(drawing, "entities");
    fr_buffer_append_format(drawing->out, "%s, epoch %" PRIu64, cli_progress__grouped(status->entities, first), status->epoch);
    end_line(drawing);
    label(drawing, "stream time");
    cli_time__print(status->stream_time_ms, stream);
    fr_buffer_append_format(drawing->out, "%s (clock: %s)", status->stream_time_ms > 0 ? stream : "nothing came yet",
                            status->clock);
    end_line(drawing);
    label(drawing, "outcomes");
    for (size_t i = 0; i < status->n_outcomes; i++)
        if (status->outcomes[i]->events > 0)
            fr_buffer_append_format(drawing->out, "%s %s  ", status->outcomes[i]->outcome,
                                    cli_progress__grouped(status->outcomes[i]->events, first));
    end_line(drawing);
}

static void draw_model(struct drawing *drawing, const Freshet__V1__ModelState *model)
{
    char first[NUMBER_BYTES];

    label(drawing, model->name);
    fr_buffer_append_format(drawing->out, "%s, version %" PRIu64 ", %s examples", model->role, model->version,
                            cli_progress__grouped(model->examples, first));
    for (size_t i = 0; i < model->n_tasks; i++)
        fr_buffer_append_format(drawing->out, "; %s AUC %.3f, calibration %.2f", model->tasks[i]->name, model->tasks[i]->auc,
                                model->tasks[i]->calibration);
    end_line(drawing);
}

/* The bar is how much of the partition is applied. */
static void draw_partition(struct drawing *drawing, const Freshet__V1__PartitionStatus *partition)
{
    char topic[64], next[NUMBER_BYTES], lag[NUMBER_BYTES];
    int cells = drawing->screen->columns - 65;

    snprintf(topic, sizeof topic, "%s/%" PRId32, partition->topic, partition->partition);
    fr_buffer_append_format(drawing->out, " %-30.30s %14s ", topic,
                            cli_progress__grouped(partition->next_offset > 0 ? (uint64_t)partition->next_offset : 0, next));
    fr_buffer_append_format(drawing->out, "%14s  ",
                            partition->lag_events < 0 ? "-" : cli_progress__grouped((uint64_t)partition->lag_events, lag));
    if (cells > 4 && partition->end_offset > 0)
        bar(drawing, (double)partition->next_offset / (double)partition->end_offset,
            cells < BAR_CELLS_MOST ? cells : BAR_CELLS_MOST, partition->lag_events > 0 ? "33" : "32");
    end_line(drawing);
}

/* As many as fit: with room for a line that says how many do not, and for the last line. */
static void draw_partitions(struct drawing *drawing)
{
    const Freshet__V1__StatusResponse *status = drawing->seen->status;
    int room = drawing->screen->lines - drawing->lines - 3;
    int shown = room < (int)status->n_partitions ? room - 1 : (int)status->n_partitions;

    if (shown < 1)
        return;
    end_line(drawing);
    colour(drawing, "2");
    fr_buffer_append_format(drawing->out, " %-30s %14s %14s  applied", "partition", "next", "lag");
    colour(drawing, "0");
    end_line(drawing);
    for (int i = 0; i < shown; i++)
        draw_partition(drawing, status->partitions[i]);
    if (shown < (int)status->n_partitions) {
        fr_buffer_append_format(drawing->out, " and %d more", (int)status->n_partitions - shown);
        end_line(drawing);
    }
}

void cli_watch__frame(const struct cli_watch_seen *seen, const struct cli_screen *screen, struct fr_buffer *frame)
{
    struct drawing drawing = {.seen = seen, .screen = screen, .out = frame};

    draw_head(&drawing);
    draw_rates(&drawing);
    draw_state(&drawing);
    for (size_t i = 0; i < seen->status->n_models && drawing.lines < screen->lines - 2; i++)
        draw_model(&drawing, seen->status->models[i]);
    draw_partitions(&drawing);
    while (drawing.lines < screen->lines - 1)
        end_line(&drawing);
    colour(&drawing, "2");
    fr_buffer_append_format(frame, " %s", seen->trouble ? seen->trouble : "^C ends; freshet status --json has everything");
    colour(&drawing, "0");
}

void cli_watch__line(const struct cli_watch_seen *seen, struct fr_buffer *line)
{
    const Freshet__V1__StatusResponse *status = seen->status;
    char now[32], first[NUMBER_BYTES], second[NUMBER_BYTES];

    cli_time__print(seen->now_ms, now);
    fr_buffer_append_format(line, "%s %s  applied %s (%s/s)", now, status->ready ? "serving" : "not ready",
                            cli_progress__grouped(status->applied_events, first),
                            rate_text(cli_figures__last(seen->figures, CLI_APPLIED), second));
    fr_buffer_append_format(line, "  lag %" PRId64 "  stale %" PRId64 " ms", status->lag_events, status->stale_ms);
    if (seen->figures->has_metrics) {
        fr_buffer_append_format(line, "  reads %s/s  p99 %s", rate_text(cli_figures__last(seen->figures, CLI_READS), first),
                                seconds_text(cli_figures__last(seen->figures, CLI_LATENCY), false, second));
        fr_buffer_append_format(line, "  fresh p99 %s",
                                seconds_text(cli_figures__last(seen->figures, CLI_FRESHNESS), false, first));
    }
    fr_buffer_append_format(line, "  memory %s  epoch %" PRIu64 "\n", size_text((double)status->memory_bytes, first),
                            status->epoch);
}
