/*
 * Watches: entities that are read again every so often, and whose columns are offered to their stream when they differ from what
 * it sent last. One thread, the watcher, reads for all streams, so that no loop waits for a disk and a slow client costs nobody
 * anything. Between it and a stream's loop lies, for each entity, a place for one message: the watcher puts it there, the loop takes
 * it, and a newer reading takes back what was not taken, counts it as skipped and puts itself there.
 */
#include "watch.h"
#include "cluster.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <assert.h>
#include <stdlib.h>

enum { READ_ATTEMPTS = 5, IDLE_MS = 60000 };

/* ---- what is offered ---- */

/* A message not taken is free to be used again, unless nothing is new. */
static struct pipeline_update *take_back(struct pipeline_watched *watched)
{
    struct pipeline_update *update = pipeline_watched__take(watched);

    if (!update && watched->is_offered) { /* it was taken: that is what the client has */
        float *sent = watched->sent;

        watched->sent = watched->offered;
        watched->offered = sent;
        watched->has_sent = true;
        watched->is_offered = false;
        watched->skipped = 0;
    }
    return update;
}

static bool is_same(const float *a, const float *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0; /* as bits: what a client gets is what it had */
}

/* False: out of memory. */
static bool offer(struct pipeline_watches *watches, struct pipeline_watched *watched, const float *values,
                  const struct pipeline_now *now)
{
    size_t bytes = (size_t)watched->kind->count * sizeof *values;
    struct pipeline_update *update = take_back(watched);

    if (update && !is_same(update->values, values, bytes)) {
        watched->skipped++;
        fr_counter_add(watches->replaced, 1);
        watched->is_offered = false;
    }
    if (!watched->is_offered && watched->has_sent && is_same(watched->sent, values, bytes)) {
        free(update); /* it changed and changed back before the client could take it */
        return true;
    }
    if (!update)
        update = malloc(sizeof *update + bytes);
    if (!update)
        return false;
    memcpy(update->values, values, bytes);
    memcpy(watched->offered, values, bytes);
    update->skipped = watched->skipped;
    update->stream_time_ms = now->stream_time_ms;
    update->applied_lag_ms = now->applied_lag_ms;
    watched->is_offered = true;
    atomic_store_explicit(&watched->update, update, memory_order_release);
    return true;
}

struct pipeline_update *pipeline_watched__take(struct pipeline_watched *watched)
{
    return atomic_exchange_explicit(&watched->update, NULL, memory_order_acq_rel);
}

/* ---- the watcher ---- */

/* Again at a new T when state may have been pruned past this one meanwhile, as with every read. */
static bool read_entity(struct pipeline_watches *watches, const struct pipeline_watched *watched, struct pipeline_now *now,
                        float *values, struct fr_err *err)
{
    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        struct store_visit visit = store_visit_enter(watches->store);
        bool is_read = agg_columns_read(watched->kind->columns, watched->key, now->read_time_ms, values, err);

        store_visit_leave(watches->store, visit);
        if (!is_read || pipeline_stream__horizon(watches->stream) <= now->read_time_ms)
            return is_read;
        *now = pipeline_stream__now(watches->stream);
    }
    return fr_fail(err, FR_UNAVAILABLE, "the stream ran ahead of %d attempts to read; watch again", READ_ATTEMPTS);
}

/* Partitions may come back: only once they are another's is the watch over, which then tells whose. */
static bool check_here(const struct pipeline_watches *watches, const struct pipeline_watched *watched, bool *is_here,
                       struct fr_err *err)
{
    *is_here = !watches->cluster || pipeline_cluster__check_owned(watches->cluster, watched->user_id, err);
    return *is_here || err->code == FR_UNAVAILABLE;
}

static bool read_all(struct pipeline_watches *watches, struct pipeline_watch *watch, struct fr_err *err)
{
    struct pipeline_now now = pipeline_stream__now(watches->stream);

    for (int i = 0; i < watch->entity_count; i++) {
        const struct pipeline_watched *watched = &watch->entities[i];
        bool is_here;

        if (!read_entity(watches, watched, &now, watch->values, err))
            return false;
        if (!check_here(watches, watched, &is_here, err)) /* afterwards: what is being given away is not read half-way */
            return false;
        if (!is_here)
            continue;
        if (!offer(watches, &watch->entities[i], watch->values, &now))
            return fr_fail(err, FR_EXHAUSTED, "out of memory for an update");
    }
    return true;
}

static void read_watch(struct pipeline_watches *watches, struct pipeline_watch *watch)
{
    int64_t began_us = fr_clock_monotonic_us(), now_ms;

    if (!read_all(watches, watch, &watch->failure)) {
        watch->due_ms = INT64_MAX;
        atomic_store_explicit(&watch->is_failed, true, memory_order_release);
        return;
    }
    fr_histogram_add_us(watches->read, fr_clock_monotonic_us() - began_us);
    now_ms = fr_clock_monotonic_ms();
    watch->due_ms += watch->interval_ms;
    if (watch->due_ms <= now_ms) {
        fr_counter_add(watches->late, 1);
        watch->due_ms = now_ms + watch->interval_ms;
    }
    atomic_store_explicit(&watch->next_ms, watch->due_ms, memory_order_relaxed);
    atomic_fetch_add_explicit(&watch->readings, 1, memory_order_release);
}

static void set_gauges(struct pipeline_watches *watches)
{
    fr_gauge_set(watches->streams_gauge, watches->count);
    fr_gauge_set(watches->entities_gauge, watches->entity_count);
}

void pipeline_watch__free(struct pipeline_watch *watch)
{
    struct pipeline_watches *watches = watch->watches;

    for (int i = 0; i < watch->entity_count; i++)
        free(pipeline_watched__take(&watch->entities[i]));
    for (int i = 0; i < watch->kind_count; i++)
        agg_columns_free(watch->kinds[i].columns);
    if (watch->is_counted) {
        atomic_fetch_sub(&watches->streams, 1);
        atomic_fetch_sub(&watches->values, watch->value_count);
    }
    fr_arena_free(watch->arena); /* the watch lies in it */
}

/* A watch comes twice: when it begins, and when its stream is over. */
static void take(struct pipeline_watches *watches, struct pipeline_watch *watch)
{
    int at = 0;

    if (!watch->is_known) {
        assert(watches->count < watches->limits->streams); /* admitted by pipeline_watches__add() */
        watch->is_known = true;
        watch->due_ms = fr_clock_monotonic_ms();
        watches->list[watches->count++] = watch;
        watches->entity_count += watch->entity_count;
    } else {
        while (watches->list[at] != watch)
            at++;
        watches->list[at] = watches->list[--watches->count];
        watches->entity_count -= watch->entity_count;
        pipeline_watch__free(watch);
    }
    set_gauges(watches);
}

/* Returns when the next one is due. */
static int64_t read_due(struct pipeline_watches *watches)
{
    int64_t next_ms = INT64_MAX, now_ms = fr_clock_monotonic_ms();

    for (int i = 0; i < watches->count && !atomic_load(&watches->is_stopping); i++) {
        struct pipeline_watch *watch = watches->list[i];

        if (watch->due_ms <= now_ms)
            read_watch(watches, watch);
        next_ms = watch->due_ms < next_ms ? watch->due_ms : next_ms;
    }
    return next_ms;
}

static void *run(void *user)
{
    struct pipeline_watches *watches = user;
    void *message;

    while (!atomic_load(&watches->is_stopping)) {
        int64_t wait_ms = read_due(watches) - fr_clock_monotonic_ms();
        bool has_message = fr_queue_receive(watches->queue, &message,
                                            wait_ms < 0         ? 0
                                            : wait_ms < IDLE_MS ? (int)wait_ms
                                                                : IDLE_MS);

        for (; has_message; has_message = fr_queue_receive(watches->queue, &message, 0))
            take(watches, message);
    }
    return NULL;
}

/* ---- for the streams ---- */

bool pipeline_watches__add(struct pipeline_watches *watches, struct pipeline_watch *watch, struct fr_err *err)
{
    void *message = watch;
    int streams, values;
    bool is_sent;

    watch->is_counted = true;
    streams = atomic_fetch_add(&watches->streams, 1);
    values = atomic_fetch_add(&watches->values, watch->value_count);
    if (streams >= watches->limits->streams)
        return fr_fail(err, FR_EXHAUSTED,
                       "%d watches are open on this node already (server.limits.watches); end some, or ask another node",
                       (int)watches->limits->streams);
    if (values > watches->limits->values - watch->value_count)
        return fr_fail(
            err, FR_EXHAUSTED,
            "the watches of this node have %d columns of entities at most (server.limits.watch_values); watch fewer, "
            "or ask another node",
            (int)watches->limits->values);
    atomic_store(&watch->next_ms, fr_clock_monotonic_ms());
    is_sent = fr_queue_send(watches->queue, &message, 0);
    assert(is_sent); /* it has room for the beginning and the end of all */
    return true;
}

void pipeline_watches__end(struct pipeline_watch *watch)
{
    void *message = watch;
    bool is_sent = fr_queue_send(watch->watches->queue, &message, 0);

    assert(is_sent);
}

/* ---- the node's ---- */

bool pipeline_watches__start(struct pipeline_watches *watches, const struct pipeline_watch_limits *limits,
                             struct pipeline_engine *engine, struct fr_err *err)
{
    struct fr_metrics *metrics = engine->metrics;
    static const char updates_help[] = "Updates of watched entities: sent, or replaced by a newer one before they could be.";

    watches->limits = limits;
    watches->store = engine->store;
    watches->stream = &engine->stream;
    watches->cluster = engine->committer.cluster;
    watches->streams_gauge = fr_metrics_gauge(metrics, "freshet_watches", NULL, "Open streams of WatchFeatures.");
    watches->entities_gauge = fr_metrics_gauge(metrics, "freshet_watched_entities", NULL, "Entities that they watch.");
    watches->sent = fr_metrics_counter(metrics, "freshet_watch_updates_total", "outcome=\"sent\"", updates_help);
    watches->replaced = fr_metrics_counter(metrics, "freshet_watch_updates_total", "outcome=\"replaced\"", updates_help);
    watches->late = fr_metrics_counter(metrics, "freshet_watch_late_total", NULL,
                                       "Readings of a watch that began so late that one was left out.");
    watches->read =
        fr_metrics_histogram(metrics, "freshet_watch_read_seconds", NULL, "Time to read all that a stream watches.");
    watches->queue = fr_queue_new((int)limits->streams * 2);
    watches->list = calloc((size_t)limits->streams, sizeof(struct pipeline_watch *));
    if (!watches->queue || !watches->list)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for watches");
    if (pthread_create(&watches->thread, NULL, run, watches) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the watcher's thread; raise the limit of threads");
    watches->is_started = true;
    return true;
}

void pipeline_watches__stop(struct pipeline_watches *watches)
{
    void *message;

    if (!watches->queue)
        return;
    atomic_store(&watches->is_stopping, true);
    fr_queue_close(watches->queue);
    if (watches->is_started)
        pthread_join(watches->thread, NULL);
    while (fr_queue_receive(watches->queue, &message, 0))
        take(watches, message);
    while (watches->count > 0)
        take(watches, watches->list[0]); /* none: their streams have ended with the server */
    fr_queue_free(watches->queue);
    free(watches->list);
    watches->queue = NULL;
    watches->list = NULL;
}
