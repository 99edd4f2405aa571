/*
 * Metrics: counters, gauges and latency histograms, registered once and printed in the Prometheus text format. A value has one
 * home; adding is a relaxed atomic and never blocks. Names start with "freshet_". Any thread.
 */
#ifndef FRESHET_METRICS_H
#define FRESHET_METRICS_H

#include <freshet/buffer.h>

struct fr_metrics; /* a registry */
struct fr_counter; /* monotonic, uint64 */
struct fr_gauge; /* double, goes up and down */
struct fr_histogram; /* of microseconds, log-spaced buckets 1 µs … 100 s, exported in seconds */

struct fr_metrics *fr_metrics_new(void); /* NULL when out of memory */
void fr_metrics_free(struct fr_metrics *metrics);

/*
 * The metric of this name and these labels, made at the first call: the same arguments give the same pointer, valid until the
 * registry is freed. `labels` is Prometheus text without braces, `action="watch",outcome="applied"`, or NULL. Never NULL: when
 * out of memory a shared sink is returned, so that callers need no check. Takes a lock: keep the pointer on hot paths.
 */
struct fr_counter *fr_metrics_counter(struct fr_metrics *metrics, const char *name, const char *labels, const char *help);
struct fr_gauge *fr_metrics_gauge(struct fr_metrics *metrics, const char *name, const char *labels, const char *help);
struct fr_histogram *fr_metrics_histogram(struct fr_metrics *metrics, const char *name, const char *labels, const char *help);

void fr_counter_add(struct fr_counter *counter, uint64_t value);
uint64_t fr_counter_read(const struct fr_counter *counter);
void fr_gauge_set(struct fr_gauge *gauge, double value);
double fr_gauge_read(const struct fr_gauge *gauge);
void fr_histogram_add_us(struct fr_histogram *histogram, int64_t us);
double fr_histogram_quantile_us(const struct fr_histogram *histogram, double q); /* 0 when empty */

/* A label value with \, " and newline escaped, for `labels`. */
void fr_metrics_escape(struct fr_buffer *out, const char *value);

/* Appends all of it as Prometheus text, grouped by name with HELP and TYPE. */
void fr_metrics_print(struct fr_metrics *metrics, struct fr_buffer *out);

#endif
