/*
 * What a batch does: load what only the disk has, then, inside the gate, apply the events and move the offsets and the stream's
 * time, so that an epoch has all of a batch or nothing of it. Both on one visit of the store: what was loaded stays.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { UNCHECKED_EVENTS_MOST = 4096 };

static struct fr_counter *event_counter(struct fr_metrics *metrics, int action, const char *outcome)
{
    char labels[96];

    snprintf(labels, sizeof labels, "action=\"%s\",outcome=\"%s\"", proto_action_name((uint32_t)action), outcome);
    return fr_metrics_counter(metrics, "freshet_events_total", labels, "Valid events by action and what became of them.");
}

static void register_metrics(struct pipeline_lanes *lanes, struct fr_metrics *metrics)
{
    for (int action = 1; action < PROTO_ACTIONS; action++) {
        lanes->applied[action] = event_counter(metrics, action, "applied");
        lanes->duplicate[action] = event_counter(metrics, action, "duplicate");
        lanes->forgotten[action] = event_counter(metrics, action, "forgotten");
        lanes->blocked[action] = event_counter(metrics, action, "blocked");
    }
    lanes->dedupe_unchecked = fr_metrics_counter(metrics, "freshet_dedupe_unchecked_total", NULL,
                                                 "Events applied although a duplicate of them could no longer be told.");
    lanes->too_late = fr_metrics_counter(metrics, "freshet_too_late_total", NULL,
                                         "Shares of events that no window of an entity can count any more.");
    lanes->corrupt = fr_metrics_counter(metrics, "freshet_corrupt_dropped_total", NULL,
                                        "Shares of events dropped because their entity is quarantined.");
    lanes->apply = fr_metrics_histogram(metrics, "freshet_apply_seconds", NULL, "Time to apply one batch.");
    lanes->freshness =
        fr_metrics_histogram(metrics, "freshet_freshness_seconds", NULL,
                             "From a record's Kafka timestamp to its being readable, for the last record of a batch.");
}

bool pipeline_lanes__init(struct pipeline_lanes *lanes, struct agg *agg, int count, struct fr_metrics *metrics,
                          struct fr_err *err)
{
    lanes->count = count;
    register_metrics(lanes, metrics);
    for (int i = 0; i < count; i++) {
        lanes->lanes[i].scratch = agg_lane_new(agg, PIPELINE_BATCH_EVENTS);
        lanes->lanes[i].outcomes = calloc(PIPELINE_BATCH_EVENTS, sizeof *lanes->lanes[i].outcomes);
        lanes->lanes[i].wanted = calloc(PIPELINE_BATCH_EVENTS, sizeof *lanes->lanes[i].wanted);
        lanes->lanes[i].is_skipped = calloc(PIPELINE_BATCH_EVENTS, sizeof *lanes->lanes[i].is_skipped);
        if (!lanes->lanes[i].scratch || !lanes->lanes[i].outcomes || !lanes->lanes[i].wanted || !lanes->lanes[i].is_skipped)
            return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for %d lanes", count);
    }
    return true;
}

void pipeline_lanes__fini(struct pipeline_lanes *lanes)
{
    for (int i = 0; i < lanes->count; i++) {
        agg_lane_free(lanes->lanes[i].scratch);
        free(lanes->lanes[i].outcomes);
        free(lanes->lanes[i].wanted);
        free(lanes->lanes[i].is_skipped);
    }
    lanes->count = 0;
}

/*
 * The budget's guard: an epoch sooner when much is dirty, no batch at all when far too much is. Asked now and then: the answer takes
 * a look at every stripe, and a few thousand events more or less are no matter.
 */
static bool has_room(struct pipeline_lanes *lanes, struct pipeline_lane *lane, const struct ingest_batch *batch,
                     struct fr_err *err)
{
    struct store_stats stats;

    if (store_is_failed(lanes->store))
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the store has failed; batches wait");
    if (lanes->tables && !pipeline_tables__is_caught_up(lanes->tables))
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the tables are not read yet; events wait");
    if (lane->unchecked_events < UNCHECKED_EVENTS_MOST) {
        lane->unchecked_events += batch->event_count;
        return true;
    }
    store_stats_read(lanes->store, &stats);
    uint64_t unwritten_bytes = stats.unwritten_bytes + stats.pending_bytes;
    if (unwritten_bytes > lanes->dirty_bytes_most)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: %llu bytes wait for an epoch", (unsigned long long)unwritten_bytes);
    if (lanes->learning && !pipeline_learning__has_room(lanes->learning))
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the outbox is full; batches wait until Kafka takes examples and sessions");
    lane->unchecked_events = 0;
    return true;
}

struct events {
    const struct proto_event *at;
    int count;
};

static void count_events(struct pipeline_lanes *lanes, struct events events, const enum agg_outcome *outcomes,
                         const struct agg_tally *tally)
{
    uint32_t applied[PROTO_ACTIONS] = {0}, duplicate[PROTO_ACTIONS] = {0};

    for (int i = 0; i < events.count; i++)
        ++*(outcomes[i] == AGG_DUPLICATE ? &duplicate[events.at[i].action] : &applied[events.at[i].action]);
    for (int action = 0; action < PROTO_ACTIONS; action++) {
        if (applied[action] > 0)
            fr_counter_add(lanes->applied[action], applied[action]);
        if (duplicate[action] > 0)
            fr_counter_add(lanes->duplicate[action], duplicate[action]);
    }
    fr_counter_add(lanes->dedupe_unchecked, tally->dedupe_unchecked);
    fr_counter_add(lanes->too_late, tally->too_late);
    fr_counter_add(lanes->corrupt, tally->corrupt);
}

static int64_t greatest_time(struct events events)
{
    int64_t greatest_ms = 0;

    for (int i = 0; i < events.count; i++)
        greatest_ms = events.at[i].ts_ms > greatest_ms ? events.at[i].ts_ms : greatest_ms;
    return greatest_ms;
}

/* The counter of events that are not applied, by why this one is not; NULL: it is. Inside the gate. A table's row may come between two answers. */
static struct fr_counter *dropped(const struct pipeline_lanes *lanes, const struct proto_event *event)
{
    if (lanes->tombstones->count > 0 && pipeline_tombstones__drops(lanes->tombstones, event))
        return lanes->forgotten[event->action];
    return agg_is_blocked(lanes->agg, AGG_BLOCKED_USER, event->user_id) ? lanes->blocked[event->action] : NULL;
}

/*
 * What of a batch is to be applied: all of it, but for what users made before they were forgotten, or while they are blocked. Where some
 * is not, `is_skipped` says which, so that it is asked once.
 */
static struct events take_wanted(struct pipeline_lanes *lanes, const struct ingest_batch *batch)
{
    struct events all = {batch->events, batch->event_count};
    struct pipeline_lane *lane = &lanes->lanes[batch->lane];
    int count = 0;

    if (lanes->tombstones->count == 0 && !agg_is_blocking(lanes->agg, AGG_BLOCKED_USER))
        return all;
    for (int i = 0; i < all.count; i++) {
        struct fr_counter *counter = dropped(lanes, &all.at[i]);

        lane->is_skipped[i] = counter != NULL;
        if (counter)
            fr_counter_add(counter, 1);
        else
            lane->wanted[count++] = all.at[i];
    }
    return count == all.count ? all : (struct events){lane->wanted, count};
}

/* Who sees an offset applied finds the stream's time and the state to be as far already. */
static int64_t advance_offsets(struct pipeline_lanes *lanes, const struct ingest_batch *batch, uint64_t *records)
{
    int64_t kafka_ts_ms = -1;

    for (int i = 0; i < batch->advance_count; i++) {
        const struct ingest_advance *advance = &batch->advances[i];

        if (advance->partition >= 0) /* what comes from a file has none */
            pipeline_offsets__advance(lanes->offsets, advance->partition,
                                      (struct ingest_position){advance->next_offset, advance->last});
        *records += advance->records;
        kafka_ts_ms = advance->kafka_ts_ms > kafka_ts_ms ? advance->kafka_ts_ms : kafka_ts_ms;
    }
    return kafka_ts_ms;
}

/* Served rows and what the events mean for them. Of duplicates and of what forgotten users did, nothing is learned. */
static bool join(struct pipeline_lanes *lanes, const struct ingest_batch *batch, struct events events, struct fr_err *err)
{
    struct pipeline_lane *lane = &lanes->lanes[batch->lane];

    for (int i = 0, k = 0; i < batch->event_count; i++) {
        bool is_dropped = events.count < batch->event_count && lane->is_skipped[i];

        lane->is_skipped[i] = is_dropped || lane->outcomes[k] == AGG_DUPLICATE;
        k += !is_dropped;
    }
    return pipeline_learning__apply(lanes->learning, batch, lane->is_skipped, lanes->tombstones, err);
}

/* What comes with events that are in the state; should it fail, they are there without their offsets. */
static bool follow(struct pipeline_lanes *lanes, const struct ingest_batch *batch, struct events events, struct fr_err *err)
{
    return (events.count == 0 || fr_fault(FR_FAULT_MID_APPLY, err)) && (!lanes->learning || join(lanes, batch, events, err));
}

/* On a visit. */
static bool apply(struct pipeline_lanes *lanes, const struct ingest_batch *batch, struct events *events,
                  struct agg_tally *tally, int64_t *kafka_ts_ms, struct fr_err *err)
{
    struct pipeline_lane *lane = &lanes->lanes[batch->lane];
    uint64_t records = 0;
    bool is_applied = true;

    if (batch->event_count > 0 && !agg_batch_load(lane->scratch, batch->events, batch->event_count, err))
        return false;
    if (lanes->learning && !pipeline_learning__load(lanes->learning, batch, err))
        return false;
    store_gate_enter(lanes->store);
    atomic_fetch_add(&lane->turns, 1);
    *events = take_wanted(lanes, batch);
    if (events->count > 0)
        is_applied = agg_batch_apply(lane->scratch, events->at, events->count, pipeline_stream__horizon(lanes->stream),
                                     lane->outcomes, tally, err);
    if (is_applied && !follow(lanes, batch, *events, err)) {
        store_spoil(lanes->store);
        is_applied = false;
    }
    if (is_applied) {
        pipeline_stream__raise(lanes->stream, batch->lane, greatest_time(*events));
        *kafka_ts_ms = advance_offsets(lanes, batch, &records);
        pipeline_stream__advance(lanes->stream, batch->lane, records, *kafka_ts_ms);
    }
    atomic_fetch_add(&lane->turns, 1);
    store_gate_leave(lanes->store);
    fr_fault_meet(FR_FAULT_AFTER_GATE);
    return is_applied;
}

/* How old its records are, by Kafka's timestamps and this machine's clock. */
static void note_age(struct pipeline_lanes *lanes, const struct ingest_batch *batch, int64_t kafka_ts_ms)
{
    int64_t now_ms = fr_clock_wall_ms(), most_ms = -1;

    for (int i = 0; i < batch->advance_count; i++)
        most_ms = batch->advances[i].kafka_ts_most_ms > most_ms ? batch->advances[i].kafka_ts_most_ms : most_ms;
    if (most_ms >= 0)
        pipeline_stream__stamp(lanes->stream, batch->lane, most_ms, now_ms);
    if (kafka_ts_ms >= 0)
        fr_histogram_add_us(lanes->freshness, (now_ms - kafka_ts_ms) * 1000);
}

bool pipeline_lanes__batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct pipeline_lanes *lanes = user;
    struct pipeline_lane *lane = &lanes->lanes[batch->lane];
    struct agg_tally tally = {0};
    int64_t start_us = fr_clock_monotonic_us(), kafka_ts_ms = -1;
    struct store_visit visit;
    struct events events = {0};
    bool is_applied;

    assert(batch->lane < lanes->count && batch->event_count <= PIPELINE_BATCH_EVENTS);
    if (!has_room(lanes, lane, batch, err))
        return false;
    visit = store_visit_enter(lanes->store);
    is_applied = apply(lanes, batch, &events, &tally, &kafka_ts_ms, err);
    store_visit_leave(lanes->store, visit);
    if (!is_applied)
        return false;

    count_events(lanes, events, lane->outcomes, &tally);
    fr_histogram_add_us(lanes->apply, fr_clock_monotonic_us() - start_us);
    note_age(lanes, batch, kafka_ts_ms);
    return true;
}
