/*
 * Metrics. A registry is a sorted list of families (one name, one HELP), each a list of series (one set of labels). The lock
 * guards the lists only: values are atomics, and a series lives as long as its registry, so a pointer once given stays good.
 *
 * A histogram counts whole microseconds in 90 equal buckets per decade, from 1 µs to 100 s: fine enough for a quantile within a
 * few percent, and each edge of the exported 1-2-5 series is an edge of these buckets, so the export is exact.
 */
#include <freshet/metrics.h>

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DECADES = 8, /* 1 µs … 100 s */
    DECADE_BUCKETS = 90, /* 1.0, 1.1 … 9.9 times the decade */
    BUCKETS = 1 + DECADES * DECADE_BUCKETS, /* the first holds 0 and 1 µs */
    CACHE_LINE = 64, /* counters of different threads do not share one */
};

struct fr_counter {
    _Alignas(CACHE_LINE) _Atomic uint64_t value;
};

struct fr_gauge {
    _Alignas(CACHE_LINE) _Atomic double value;
};

struct fr_histogram {
    _Alignas(CACHE_LINE) _Atomic uint64_t sum_us;
    _Atomic uint64_t above; /* more than 100 s */
    _Atomic uint64_t buckets[BUCKETS];
};

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct series {
    struct series *next;
    char *labels; /* "" for none */
    union {
        struct fr_counter *counter;
        struct fr_gauge *gauge;
        struct fr_histogram *histogram;
        void *any;
    } value;
};

struct family {
    struct family *next;
    char *name;
    char *help;
    enum kind kind;
    struct series *series;
};

struct fr_metrics {
    pthread_mutex_t lock;
    struct family *families; /* by name */
};

/* Where counts go when a series could not be made; never printed. */
static struct fr_counter sink_counter;
static struct fr_gauge sink_gauge;
static struct fr_histogram sink_histogram;

static const uint64_t powers_of_10[DECADES + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

struct fr_metrics *fr_metrics_new(void)
{
    struct fr_metrics *metrics = calloc(1, sizeof(*metrics));

    if (!metrics)
        return NULL;
    if (pthread_mutex_init(&metrics->lock, NULL) != 0) {
        free(metrics);
        return NULL;
    }
    return metrics;
}

static void free_series(struct series *series)
{
    if (!series)
        return;
    free(series->value.any);
    free(series->labels);
    free(series);
}

static void free_family(struct family *family)
{
    if (!family)
        return;
    while (family->series) {
        struct series *next = family->series->next;

        free_series(family->series);
        family->series = next;
    }
    free(family->name);
    free(family->help);
    free(family);
}

void fr_metrics_free(struct fr_metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->families) {
        struct family *next = metrics->families->next;

        free_family(metrics->families);
        metrics->families = next;
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static struct family *find_family(struct fr_metrics *metrics, enum kind kind, const char *name, const char *help)
{
    struct family **at = &metrics->families;
    struct family *family;

    while (*at && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->name, name) == 0) {
        assert((*at)->kind == kind); /* one name is one kind: a second one is a mistake in the code */
        return *at;
    }
    family = calloc(1, sizeof(*family));
    if (!family)
        return NULL;
    family->kind = kind;
    family->name = strdup(name);
    family->help = strdup(help);
    if (!family->name || !family->help) {
        free_family(family);
        return NULL;
    }
    family->next = *at;
    *at = family;
    return family;
}

static void *new_value(enum kind kind)
{
    size_t bytes = kind == COUNTER ? sizeof(struct fr_counter)
                   : kind == GAUGE ? sizeof(struct fr_gauge)
                                   : sizeof(struct fr_histogram);
    void *value = aligned_alloc(CACHE_LINE, bytes); /* sizes are multiples of the alignment */

    if (value)
        memset(value, 0, bytes);
    return value;
}

static struct series *find_series(struct family *family, const char *labels)
{
    struct series **at = &family->series;
    struct series *series;

    while (*at && strcmp((*at)->labels, labels) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->labels, labels) == 0)
        return *at;
    series = calloc(1, sizeof(*series));
    if (!series)
        return NULL;
    series->labels = strdup(labels);
    series->value.any = new_value(family->kind);
    if (!series->labels || !series->value.any) {
        free_series(series);
        return NULL;
    }
    series->next = *at;
    *at = series;
    return series;
}

/* The value of this series, made when new; NULL when out of memory. */
static void *find_value(struct fr_metrics *metrics, enum kind kind, const char *name, const char *labels, const char *help)
{
    struct family *family;
    struct series *series = NULL;

    pthread_mutex_lock(&metrics->lock);
    family = find_family(metrics, kind, name, help);
    if (family)
        series = find_series(family, labels ? labels : "");
    pthread_mutex_unlock(&metrics->lock);
    return series ? series->value.any : NULL;
}

struct fr_counter *fr_metrics_counter(struct fr_metrics *metrics, const char *name, const char *labels, const char *help)
{
    struct fr_counter *counter = find_value(metrics, COUNTER, name, labels, help);

    return counter ? counter : &sink_counter;
}

struct fr_gauge *fr_metrics_gauge(struct fr_metrics *metrics, const char *name, const char *labels, const char *help)
{
    struct fr_gauge *gauge = find_value(metrics, GAUGE, name, labels, help);

    return gauge ? gauge : &sink_gauge;
}

struct fr_histogram *fr_metrics_histogram(struct fr_metrics *metrics, const char *name, const char *labels, const char *help)
{
    struct fr_histogram *histogram = find_value(metrics, HISTOGRAM, name, labels, help);

    return histogram ? histogram : &sink_histogram;
}

void fr_counter_add(struct fr_counter *counter, uint64_t value)
{
    atomic_fetch_add_explicit(&counter->value, value, memory_order_relaxed);
}

uint64_t fr_counter_read(const struct fr_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

void fr_gauge_set(struct fr_gauge *gauge, double value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

double fr_gauge_read(const struct fr_gauge *gauge)
{
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

/*
 * The bucket of values above `below_us`: buckets are (lower, upper], as Prometheus wants them, so a value v goes to
 * bucket_above(v − 1). BUCKETS at 100 s and over.
 */
static int bucket_above(uint64_t below_us)
{
    int decade = 0;

    if (below_us == 0)
        return 0;
    if (below_us >= powers_of_10[DECADES])
        return BUCKETS;
    while (below_us >= powers_of_10[decade + 1])
        decade++;
    return 1 + decade * DECADE_BUCKETS + (int)(below_us * 10 / powers_of_10[decade]) - 10;
}

/* The lower edge of a bucket in µs; of bucket i + 1 it is the upper edge of bucket i. */
static double bucket_edge_us(int bucket)
{
    int place = bucket - 1;

    if (bucket == 0)
        return 0;
    return (double)(place % DECADE_BUCKETS + 10) * (double)powers_of_10[place / DECADE_BUCKETS] / 10;
}

void fr_histogram_add_us(struct fr_histogram *histogram, int64_t us)
{
    uint64_t span = us > 0 ? (uint64_t)us : 0;
    int bucket = bucket_above(span > 0 ? span - 1 : 0);

    atomic_fetch_add_explicit(&histogram->sum_us, span, memory_order_relaxed);
    atomic_fetch_add_explicit(bucket < BUCKETS ? &histogram->buckets[bucket] : &histogram->above, 1, memory_order_relaxed);
}

static uint64_t count_of(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

double fr_histogram_quantile_us(const struct fr_histogram *histogram, double q)
{
    uint64_t counts[BUCKETS]; /* read once: others go on adding */
    uint64_t total = count_of(&histogram->above);
    double rank;
    double before = 0;

    for (int i = 0; i < BUCKETS; i++) {
        counts[i] = count_of(&histogram->buckets[i]);
        total += counts[i];
    }
    if (total == 0)
        return 0;
    rank = fmin(fmax(q, 0), 1) * (double)total;
    for (int i = 0; i < BUCKETS; i++) {
        double lower = bucket_edge_us(i);

        if (counts[i] > 0 && before + (double)counts[i] >= rank)
            return lower + (bucket_edge_us(i + 1) - lower) * (rank - before) / (double)counts[i];
        before += (double)counts[i];
    }
    return (double)powers_of_10[DECADES];
}

void fr_metrics_escape(struct fr_buffer *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n') {
            fr_buffer_append_text(out, "\\n");
            continue;
        }
        if (*value == '\\' || *value == '"')
            fr_buffer_append_byte(out, '\\');
        fr_buffer_append_byte(out, (uint8_t)*value);
    }
}

static void print_help(struct fr_buffer *out, const struct family *family)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    fr_buffer_append_format(out, "# HELP %s ", family->name);
    for (const char *at = family->help; *at; at++) {
        if (*at == '\\' || *at == '\n')
            fr_buffer_append_text(out, *at == '\n' ? "\\n" : "\\\\");
        else
            fr_buffer_append_byte(out, (uint8_t)*at);
    }
    fr_buffer_append_format(out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]);
}

static void print_name(struct fr_buffer *out, const struct family *family, const char *suffix, const char *labels)
{
    fr_buffer_append_format(out, "%s%s", family->name, suffix);
    if (*labels)
        fr_buffer_append_format(out, "{%s}", labels);
    fr_buffer_append_byte(out, ' ');
}

static void print_double(struct fr_buffer *out, double value)
{
    char text[32];

    if (isnan(value) || isinf(value)) {
        fr_buffer_append_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    fr_buffer_append_text(out, text);
}

static void print_bucket(struct fr_buffer *out, const struct family *family, const char *labels, const char *edge,
                         uint64_t count)
{
    fr_buffer_append_format(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", family->name, labels, *labels ? "," : "", edge,
                            count);
}

static void print_histogram(struct fr_buffer *out, const struct family *family, const struct series *series)
{
    static const uint64_t steps[] = {1, 2, 5};
    const struct fr_histogram *histogram = series->value.histogram;
    uint64_t sum_us = count_of(&histogram->sum_us);
    uint64_t count = 0;
    int bucket = 0;
    char edge[32];

    for (int i = 0; i <= 3 * DECADES; i++) {
        uint64_t edge_us = powers_of_10[i / 3] * steps[i % 3];

        for (; bucket < bucket_above(edge_us); bucket++)
            count += count_of(&histogram->buckets[bucket]);
        snprintf(edge, sizeof(edge), "%g", (double)edge_us / 1e6);
        print_bucket(out, family, series->labels, edge, count);
    }
    count += count_of(&histogram->above);
    print_bucket(out, family, series->labels, "+Inf", count);
    print_name(out, family, "_sum", series->labels);
    fr_buffer_append_format(out, "%" PRIu64 ".%06" PRIu64 "\n", sum_us / 1000000, sum_us % 1000000);
    print_name(out, family, "_count", series->labels);
    fr_buffer_append_format(out, "%" PRIu64 "\n", count);
}

static void print_series(struct fr_buffer *out, const struct family *family, const struct series *series)
{
    if (family->kind == HISTOGRAM) {
        print_histogram(out, family, series);
        return;
    }
    print_name(out, family, "", series->labels);
    if (family->kind == COUNTER)
        fr_buffer_append_format(out, "%" PRIu64, fr_counter_read(series->value.counter));
    else
        print_double(out, fr_gauge_read(series->value.gauge));
    fr_buffer_append_byte(out, '\n');
}

void fr_metrics_print(struct fr_metrics *metrics, struct fr_buffer *out)
{
    pthread_mutex_lock(&metrics->lock);
    for (const struct family *family = metrics->families; family; family = family->next) {
        print_help(out, family);
        for (const struct series *series = family->series; series; series = series->next)
            print_series(out, family, series);
    }
    pthread_mutex_unlock(&metrics->lock);
}
