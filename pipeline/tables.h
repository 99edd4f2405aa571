/*
 * The topics of tables. A consumer of its own reads them, apart from the events: rows change nothing but rows, and events wait until the
 * tables are read to where they ended when the node came up, so that the first events of a new store find what was there before them.
 * Rows and how far they are read are of the same epochs as events and their offsets.
 */
#ifndef PIPELINE_TABLES_H
#define PIPELINE_TABLES_H

#include <freshet/aggregators.h>
#include <freshet/ingest.h>
#include <freshet/metrics.h>

struct pipeline_config;
struct pipeline_tables;

struct pipeline_tables_options {
    const struct pipeline_config *config;
    struct agg *agg;
    struct store *store;
    struct fr_metrics *metrics;
    uint64_t dirty_bytes_most; /* rows wait above it */
    /* Once, when they are read no more: a missing topic, a topic made anew. */
    void (*fatal)(void *user, const struct fr_err *err);
    void *user;
};

/* NULL where the configuration has no tables, as in all of these. To be closed after a failure too. */
FR_CHECKED bool pipeline_tables__open(const struct pipeline_tables_options *options, struct pipeline_tables **tables,
                                      struct fr_err *err);
/* Starts reading. `cluster_id`: of an embedded broker, else NULL. */
FR_CHECKED bool pipeline_tables__start(struct pipeline_tables *tables, const char *brokers, const char *cluster_id,
                                       struct fr_err *err);
void pipeline_tables__stop(struct pipeline_tables *tables); /* no row is applied after it */
bool pipeline_tables__close(struct pipeline_tables *tables, int deadline_ms); /* false: a client is abandoned */

/* Whether they are read to where they ended when that was first known; true from then on. Any thread. */
bool pipeline_tables__is_caught_up(struct pipeline_tables *tables);
int64_t pipeline_tables__lag(struct pipeline_tables *tables); /* records; −1: not known */

/* In the committer's boundary, and before what it put is durable. */
void pipeline_tables__save(struct pipeline_tables *tables, struct store *store);
FR_CHECKED bool pipeline_tables__flush(struct pipeline_tables *tables, int timeout_ms, bool is_last, struct fr_err *err);

#endif
