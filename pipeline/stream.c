/*
 * How far the stream has come. S, the greatest event time applied, is the maximum over the lanes, each of which writes its own; T,
 * the time that reads use, follows from it and never goes back while the node runs.
 */
#include "internal.h"

#include <freshet/clock.h>

static const char stream_meta[] = "stream";

enum { CAUGHT_UP_MS = 2500 }; /* somebody looks at the lag every second */

void pipeline_stream__restore(struct pipeline_stream *stream, struct store *store)
{
    struct fr_slice value = store_meta_get(store, stream_meta);
    struct fr_reader reader = fr_reader(value);

    if (value.length > 0) {
        stream->restored_time_ms = fr_reader_zigzag(&reader);
        stream->restored_records = fr_reader_varint(&reader);
        stream->restored_kafka_ts_ms = fr_reader_zigzag(&reader);
    }
    pipeline_stream__raise_horizon(stream); /* twice: so that it is that of the epoch */
    pipeline_stream__raise_horizon(stream);
}

static int64_t kafka_ts(struct pipeline_stream *stream)
{
    int64_t latest = stream->restored_kafka_ts_ms;

    for (int i = 0; i < stream->lanes; i++) {
        int64_t ts = atomic_load_explicit(&stream->progress[i].kafka_ts_ms, memory_order_relaxed);

        latest = ts > latest ? ts : latest;
    }
    return latest;
}

void pipeline_stream__save(struct pipeline_stream *stream, struct store *store)
{
    struct fr_buffer value;

    fr_buffer_init(&value);
    fr_buffer_append_zigzag(&value, pipeline_stream__time(stream));
    fr_buffer_append_varint(&value, pipeline_stream__records(stream));
    fr_buffer_append_zigzag(&value, kafka_ts(stream));
    if (value.is_failed)
        store_spoil(store); /* an epoch without its own time would be a lie */
    else
        store_meta_put(store, stream_meta, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
}

/* Released: who sees the new time sees the state that it belongs to. */
void pipeline_stream__raise(struct pipeline_stream *stream, int lane, int64_t stream_time_ms)
{
    struct pipeline_progress *progress = &stream->progress[lane];

    if (stream_time_ms > atomic_load_explicit(&progress->stream_time_ms, memory_order_relaxed))
        atomic_store_explicit(&progress->stream_time_ms, stream_time_ms, memory_order_release);
}

void pipeline_stream__advance(struct pipeline_stream *stream, int lane, uint64_t records, int64_t kafka_ts_ms)
{
    struct pipeline_progress *progress = &stream->progress[lane];
    uint64_t count = atomic_load_explicit(&progress->records, memory_order_relaxed);

    if (kafka_ts_ms >= 0)
        atomic_store_explicit(&progress->kafka_ts_ms, kafka_ts_ms, memory_order_relaxed);
    atomic_store_explicit(&progress->records, count + records, memory_order_release);
}

int64_t pipeline_stream__time(struct pipeline_stream *stream)
{
    int64_t time_ms = stream->restored_time_ms;

    for (int i = 0; i < stream->lanes; i++) {
        int64_t lane_ms = atomic_load_explicit(&stream->progress[i].stream_time_ms, memory_order_acquire);

        time_ms = lane_ms > time_ms ? lane_ms : time_ms;
    }
    return time_ms;
}

uint64_t pipeline_stream__records(struct pipeline_stream *stream)
{
    uint64_t records = stream->restored_records;

    for (int i = 0; i < stream->lanes; i++)
        records += atomic_load_explicit(&stream->progress[i].records, memory_order_acquire);
    return records;
}

int64_t pipeline_stream__horizon(struct pipeline_stream *stream)
{
    return atomic_load_explicit(&stream->horizon_ms, memory_order_acquire);
}

void pipeline_stream__raise_horizon(struct pipeline_stream *stream)
{
    int64_t time_ms = pipeline_stream__time(stream);

    atomic_store_explicit(&stream->horizon_ms, stream->next_horizon_ms, memory_order_release);
    stream->next_horizon_ms = stream->is_event_clock ? time_ms : time_ms - stream->max_future_ms;
}

/* Σ over partitions of end − next; −1 when one of them is not known yet. */
static int64_t count_lag(struct pipeline_stream *stream, struct ingest *ingest)
{
    int count = ingest_partition_count(ingest);
    int64_t lag = 0;

    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t next = pipeline_offsets__next(stream->offsets, i);

        if (!partition.is_owned)
            continue;
        if (!partition.is_started || partition.end < 0 || next < 0)
            return -1;
        next = next < partition.low ? partition.low : next;
        lag += partition.end > next ? partition.end - next : 0;
    }
    return lag;
}

struct pipeline_lag pipeline_stream__lag(struct pipeline_stream *stream)
{
    struct ingest *ingest = atomic_load_explicit(&stream->ingest, memory_order_acquire);
    struct pipeline_lag lag = {0};
    int64_t now_ms = fr_clock_wall_ms();
    bool has_begun = true;

    if (ingest) {
        int64_t events = ingest_is_assigned(ingest) ? count_lag(stream, ingest) : -1;

        lag.is_known = events >= 0;
        lag.is_connected = ingest_is_connected(ingest);
        lag.events = events < 0 ? 0 : events;
    }
    if (lag.is_known && lag.is_connected && lag.events == 0) {
        atomic_store_explicit(&stream->caught_up_ms, now_ms, memory_order_relaxed);
    } else {
        int64_t since_ms = atomic_load_explicit(&stream->caught_up_ms, memory_order_relaxed);
        int64_t applied_ms = kafka_ts(stream);

        since_ms = applied_ms > since_ms ? applied_ms : since_ms;
        has_begun = since_ms > 0; /* else nothing was ever read: it is behind since it runs, and was not fresh then */
        since_ms = has_begun ? since_ms : stream->begun_ms;
        lag.stale_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    }
    if (lag.is_known && has_begun && lag.stale_ms < stream->ready_lag_ms)
        atomic_store_explicit(&stream->was_fresh, true, memory_order_relaxed);
    return lag;
}

int64_t pipeline_stream__skew(struct pipeline_stream *stream)
{
    return stream->is_event_clock ? 0 : pipeline_clock__skew_ms(&stream->clock, fr_clock_monotonic_ms());
}

void pipeline_stream__stamp(struct pipeline_stream *stream, int lane, int64_t kafka_ts_ms, int64_t wall_ms)
{
    int64_t since_ms = wall_ms - atomic_load_explicit(&stream->caught_up_ms, memory_order_relaxed);

    pipeline_clock__note(&stream->clock, lane, wall_ms - kafka_ts_ms, since_ms > CAUGHT_UP_MS, fr_clock_monotonic_ms());
}

/* T never goes back: the greatest one given out so far, or `time_ms`. */
static int64_t raise_read_time(struct pipeline_stream *stream, int64_t time_ms)
{
    int64_t given = atomic_load_explicit(&stream->read_time_ms, memory_order_relaxed);

    while (time_ms > given)
        if (atomic_compare_exchange_weak_explicit(&stream->read_time_ms, &given, time_ms, memory_order_relaxed,
                                                  memory_order_relaxed))
            return time_ms;
    return given;
}

struct pipeline_now pipeline_stream__now(struct pipeline_stream *stream)
{
    struct pipeline_now now = {.stream_time_ms = pipeline_stream__time(stream)};
    struct pipeline_lag lag;
    int64_t wall_ms;

    if (stream->is_event_clock) {
        now.read_time_ms = raise_read_time(stream, now.stream_time_ms);
        return now;
    }
    lag = pipeline_stream__lag(stream);
    wall_ms = fr_clock_wall_ms();
    if (lag.is_known && lag.events == 0) {
        now.read_time_ms = raise_read_time(stream, wall_ms);
        return now;
    }
    now.read_time_ms = raise_read_time(stream, now.stream_time_ms < wall_ms ? now.stream_time_ms : wall_ms);
    if (now.stream_time_ms > 0) /* also while nobody knows what there is to apply */
        now.applied_lag_ms = wall_ms > now.stream_time_ms ? wall_ms - now.stream_time_ms : 0;
    return now;
}
