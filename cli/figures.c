/*
 * What a node did in each of the last seconds: rates from two looks at its status, quantiles from two looks at the histograms of
 * /metrics, whose buckets only grow.
 */
#include "watch.h"

#include <freshet/text.h>

#include <stdlib.h>
#include <string.h>

/* ---- /metrics ---- */

/* The value of `label` in {a="b",c="d"}; empty when it has none. What is looked for has no escapes in it. */
static struct fr_slice label_of(struct fr_slice labels, const char *label)
{
    char wanted[32];
    int length = snprintf(wanted, sizeof wanted, "%s=\"", label);
    const char *at = labels.length > 0 ? memmem(labels.bytes, labels.length, wanted, (size_t)length) : NULL;
    const char *end = (const char *)labels.bytes + labels.length, *quote;

    if (!at)
        return fr_slice("", 0);
    at += length;
    quote = memchr(at, '"', (size_t)(end - at));
    return fr_slice(at, quote ? (size_t)(quote - at) : 0);
}

static bool begins(struct fr_slice text, const char *with)
{
    return text.length >= strlen(with) && memcmp(text.bytes, with, strlen(with)) == 0;
}

/* Whose calls count as reads: those of rankers. */
static bool is_read(struct fr_slice labels)
{
    struct fr_slice method = label_of(labels, "method");

    return begins(method, "freshet.v1.FeatureService/") || begins(method, "freshet.v1.RecallService/") ||
           fr_slice_is(method, "freshet.v1.ModelService/Score");
}

static void add_bucket(struct cli_histogram *histogram, struct fr_slice labels, double value)
{
    double least;
    int at = 0;

    if (!fr_text_double(label_of(labels, "le"), &least))
        return;
    while (at < histogram->count && histogram->least[at] < least)
        at++;
    if (at < histogram->count && histogram->least[at] <= least) {
        histogram->counts[at] += value;
        return;
    }
    if (histogram->count == CLI_FIGURES_BUCKETS)
        return;
    memmove(&histogram->least[at + 1], &histogram->least[at], (size_t)(histogram->count - at) * sizeof(double));
    memmove(&histogram->counts[at + 1], &histogram->counts[at], (size_t)(histogram->count - at) * sizeof(double));
    histogram->least[at] = least;
    histogram->counts[at] = value;
    histogram->count++;
}

static void take(struct fr_slice name, struct fr_slice labels, double value, struct cli_scrape *scrape)
{
    if (fr_slice_is(name, "freshet_freshness_seconds_bucket"))
        add_bucket(&scrape->freshness, labels, value);
    else if (fr_slice_is(name, "freshet_request_seconds_bucket") && is_read(labels))
        add_bucket(&scrape->latency, labels, value);
    else if (fr_slice_is(name, "freshet_request_seconds_count") && is_read(labels))
        scrape->reads += value;
    else if (fr_slice_is(name, "freshet_state_budget_bytes"))
        scrape->budget_bytes = value;
    else if (fr_slice_is(name, "freshet_resident_memory_bytes"))
        scrape->resident_bytes = value;
    else if (fr_slice_is(name, "freshet_dead_letters_total"))
        scrape->dead_letters += value;
}

void cli_scrape__read(struct fr_slice text, struct cli_scrape *scrape)
{
    const char *at = text.bytes, *end = at + text.length;

    *scrape = (struct cli_scrape){0};
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *space, *brace;
        double value;

        line_end = line_end ? line_end : end;
        space = memrchr(at, ' ', (size_t)(line_end - at));
        if (*at != '#' && space && fr_text_double(fr_slice(space + 1, (size_t)(line_end - space - 1)), &value)) {
            brace = memchr(at, '{', (size_t)(space - at));
            brace = brace ? brace : space;
            take(fr_slice(at, (size_t)(brace - at)), fr_slice(brace, (size_t)(space - brace)), value, scrape);
        }
        at = line_end + 1;
    }
}

static double between(const struct cli_histogram *before, const struct cli_histogram *now, int bucket)
{
    for (int i = 0; i < before->count; i++) {
        if (before->least[i] >= now->least[bucket])
            return now->counts[bucket] - before->counts[i];
    }
    return now->counts[bucket];
}

double cli_histogram__quantile(const struct cli_histogram *before, const struct cli_histogram *now, double q)
{
    double total = now->count > 0 ? between(before, now, now->count - 1) : 0;
    int last = now->count - 1;

    if (total <= 0)
        return -1;
    for (int i = 0; i < last; i++) {
        if (between(before, now, i) >= q * total)
            return now->least[i];
    }
    return last > 0 ? now->least[last - 1] : 0; /* beyond the last bucket that has an end */
}

/* ---- the last minutes ---- */

static void add_metrics(struct cli_figures *figures, const struct fr_buffer *metrics, double seconds, int slot)
{
    struct cli_scrape before = figures->scrape;
    bool has_before = figures->has_metrics;

    figures->has_metrics = metrics != NULL;
    if (!metrics)
        return;
    cli_scrape__read(fr_buffer_slice(metrics), &figures->scrape);
    if (!has_before || seconds <= 0 || figures->scrape.reads < before.reads)
        return; /* the first look, or another process */
    figures->history[CLI_READS][slot] = (figures->scrape.reads - before.reads) / seconds;
    figures->history[CLI_FRESHNESS][slot] = cli_histogram__quantile(&before.freshness, &figures->scrape.freshness, 0.99);
    figures->history[CLI_LATENCY][slot] = cli_histogram__quantile(&before.latency, &figures->scrape.latency, 0.99);
    figures->freshness_p50 = cli_histogram__quantile(&before.freshness, &figures->scrape.freshness, 0.5);
    figures->latency_p50 = cli_histogram__quantile(&before.latency, &figures->scrape.latency, 0.5);
}

void cli_figures__add(struct cli_figures *figures, const Freshet__V1__StatusResponse *status, const struct fr_buffer *metrics,
                      int64_t now_ms)
{
    int slot = figures->count++ % CLI_FIGURES_KEPT;
    double seconds = figures->has_before ? (double)(now_ms - figures->at_ms) / 1000 : 0;

    for (int i = 0; i < CLI_FIGURES; i++)
        figures->history[i][slot] = -1;
    figures->freshness_p50 = figures->latency_p50 = -1;
    if (seconds > 0 && status->applied_events >= figures->applied)
        figures->history[CLI_APPLIED][slot] = (double)(status->applied_events - figures->applied) / seconds;
    figures->history[CLI_LAG][slot] = (double)status->lag_events;
    add_metrics(figures, metrics, seconds, slot);
    figures->applied = status->applied_events;
    figures->at_ms = now_ms;
    figures->has_before = true;
}

double cli_figures__last(const struct cli_figures *figures, enum cli_figure figure)
{
    return figures->count > 0 ? figures->history[figure][(figures->count - 1) % CLI_FIGURES_KEPT] : -1;
}
