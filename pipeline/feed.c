/*
 * What stands in for Kafka when a replay reads a file: records are spread over the lanes by user, gathered in blocks of a batch, judged
 * as ingest judges them and handed to the same sink. A lane has a few blocks and no more, so whoever puts waits for the slowest.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    BLOCKS = 4, /* of each lane */
    BLOCK_BYTES = 1 << 20, /* a block ends when its records exceed this */
    PAUSE_MS_LEAST = 5,
    PAUSE_MS_MOST = 200,
};

struct block {
    struct fr_buffer bytes;
    size_t ends[PIPELINE_BATCH_EVENTS];
    int count;
};

struct pipeline_feed_lane {
    struct pipeline_feed *feed;
    int number;
    pthread_t thread;
    bool is_running;
    struct fr_queue *full, *idle;
    struct block blocks[BLOCKS];
    struct block *current; /* the putter's */
    struct proto_event events[PIPELINE_BATCH_EVENTS];
    int64_t offsets[PIPELINE_BATCH_EVENTS]; /* −1: a file has none */
    int partitions[PIPELINE_BATCH_EVENTS];
};

struct pipeline_feed {
    struct ingest_sink sink;
    int64_t max_future_ms;
    struct fr_counter *outcomes[PROTO_VERDICTS];
    int count;
    struct pipeline_feed_lane *lanes;
    atomic_bool is_failed;
};

struct fr_counter *pipeline_outcome__counter(struct fr_metrics *metrics, enum proto_verdict verdict)
{
    char labels[64];

    snprintf(labels, sizeof labels, "outcome=\"%s\"", verdict == PROTO_EVENT ? "decoded" : proto_verdict_name(verdict));
    return fr_metrics_counter(metrics, "freshet_ingest_records_total", labels,
                              "Records read from Kafka, by what they were found to be");
}

/* ---- a lane ---- */

static bool deliver(struct pipeline_feed *feed, const struct ingest_batch *batch)
{
    int pause_ms = PAUSE_MS_LEAST;
    struct fr_err err;

    while (!atomic_load(&feed->is_failed)) {
        if (feed->sink.batch(feed->sink.user, batch, &err))
            return true;
        if (err.code != FR_EXHAUSTED) {
            if (!atomic_exchange(&feed->is_failed, true))
                feed->sink.fatal(feed->sink.user, &err);
            return false;
        }
        fr_clock_sleep_ms(pause_ms);
        pause_ms = 2 * pause_ms < PAUSE_MS_MOST ? 2 * pause_ms : PAUSE_MS_MOST;
    }
    return false;
}

static bool apply(struct pipeline_feed_lane *lane, const struct block *block)
{
    struct pipeline_feed *feed = lane->feed;
    struct ingest_advance advance = {.partition = -1, .kafka_ts_ms = -1, .kafka_ts_most_ms = -1};
    struct ingest_batch batch = {.lane = lane->number,
                                 .events = lane->events,
                                 .offsets = lane->offsets,
                                 .partitions = lane->partitions,
                                 .advances = &advance,
                                 .advance_count = 1};
    int64_t future_ms = feed->max_future_ms < 0 ? INT64_MAX : fr_clock_wall_ms() + feed->max_future_ms;
    uint64_t outcomes[PROTO_VERDICTS] = {0};
    size_t start = 0;

    for (int i = 0; i < block->count; start = block->ends[i++]) {
        struct fr_slice record = fr_slice(block->bytes.bytes + start, block->ends[i] - start);
        enum proto_verdict verdict =
            proto_event_read(PROTO_FORMAT_PROTOBUF, record, future_ms, NULL, &lane->events[batch.event_count], NULL);

        outcomes[verdict]++;
        batch.event_count += verdict == PROTO_EVENT;
    }
    advance.records = (uint64_t)block->count - outcomes[PROTO_CANARY];
    if (!deliver(feed, &batch))
        return false;
    for (int verdict = 0; verdict < PROTO_VERDICTS; verdict++)
        fr_counter_add(feed->outcomes[verdict], outcomes[verdict]);
    return true;
}

/* Blocks go back to the putter whatever became of them, so that it is never left waiting. */
static void *run(void *user)
{
    struct pipeline_feed_lane *lane = user;
    void *message;

    while (fr_queue_receive(lane->full, &message, -1)) {
        struct block *block = message;

        if (!atomic_load(&lane->feed->is_failed))
            (void)apply(lane, block);
        fr_buffer_clear(&block->bytes);
        block->count = 0;
        (void)fr_queue_send(lane->idle, &message, 0);
    }
    return NULL;
}

/* ---- opening and closing ---- */

static bool start_lane(struct pipeline_feed *feed, int number)
{
    struct pipeline_feed_lane *lane = &feed->lanes[number];

    lane->feed = feed;
    lane->number = number;
    lane->full = fr_queue_new(BLOCKS);
    lane->idle = fr_queue_new(BLOCKS);
    if (!lane->full || !lane->idle)
        return false;
    for (int i = 0; i < PIPELINE_BATCH_EVENTS; i++)
        lane->offsets[i] = lane->partitions[i] = -1;
    for (int i = 0; i < BLOCKS; i++) {
        void *message = &lane->blocks[i];

        if (!fr_queue_send(lane->idle, &message, 0))
            return false;
    }
    lane->is_running = pthread_create(&lane->thread, NULL, run, lane) == 0;
    return lane->is_running;
}

bool pipeline_feed__open(const struct ingest_sink *sink, int lanes, int64_t max_future_ms, struct fr_metrics *metrics,
                         struct pipeline_feed **ret, struct fr_err *err)
{
    struct pipeline_feed *feed = calloc(1, sizeof *feed);

    if (feed)
        feed->lanes = calloc((size_t)lanes, sizeof *feed->lanes);
    if (!feed || !feed->lanes) {
        free(feed);
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for a replay");
    }
    feed->sink = *sink;
    feed->max_future_ms = max_future_ms;
    feed->count = lanes;
    for (int verdict = 0; verdict < PROTO_VERDICTS; verdict++)
        feed->outcomes[verdict] = pipeline_outcome__counter(metrics, (enum proto_verdict)verdict);
    for (int i = 0; i < lanes; i++) {
        if (!start_lane(feed, i)) {
            pipeline_feed__close(feed);
            return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the thread of lane %d", i);
        }
    }
    *ret = feed;
    return true;
}

static void drain(struct fr_queue *queue)
{
    void *message;

    if (!queue)
        return;
    fr_queue_close(queue);
    while (fr_queue_receive(queue, &message, 0))
        continue;
    fr_queue_free(queue);
}

void pipeline_feed__finish(struct pipeline_feed *feed)
{
    for (int i = 0; i < feed->count; i++) {
        struct pipeline_feed_lane *lane = &feed->lanes[i];
        void *message = lane->current;

        if (lane->current && lane->current->count > 0)
            (void)fr_queue_send(lane->full, &message, -1); /* there is room for all of its blocks */
        lane->current = NULL;
        if (lane->full)
            fr_queue_close(lane->full);
    }
    for (int i = 0; i < feed->count; i++) {
        if (feed->lanes[i].is_running)
            pthread_join(feed->lanes[i].thread, NULL);
        feed->lanes[i].is_running = false;
    }
}

void pipeline_feed__close(struct pipeline_feed *feed)
{
    if (!feed)
        return;
    atomic_store(&feed->is_failed, true); /* what is not applied yet is dropped */
    pipeline_feed__finish(feed);
    for (int i = 0; i < feed->count; i++) {
        drain(feed->lanes[i].full);
        drain(feed->lanes[i].idle);
        for (int b = 0; b < BLOCKS; b++)
            fr_buffer_fini(&feed->lanes[i].blocks[b].bytes);
    }
    free(feed->lanes);
    free(feed);
}

/* ---- putting ---- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ value >> 32;
}

enum pipeline_put pipeline_feed__put(struct pipeline_feed *feed, uint64_t user_id, struct fr_slice record, int timeout_ms)
{
    struct pipeline_feed_lane *lane = &feed->lanes[mix(user_id) % (uint64_t)feed->count];
    struct block *block;
    void *message;

    if (!lane->current) {
        if (!fr_queue_receive(lane->idle, &message, timeout_ms))
            return PIPELINE_PUT_LATER;
        lane->current = message;
    }
    block = lane->current;
    fr_buffer_append(&block->bytes, record.bytes, record.length);
    if (block->bytes.is_failed)
        return PIPELINE_PUT_NO_MEMORY;
    block->ends[block->count++] = block->bytes.length;
    if (block->count == PIPELINE_BATCH_EVENTS || block->bytes.length > BLOCK_BYTES) {
        message = block;
        lane->current = NULL;
        (void)fr_queue_send(lane->full, &message, -1); /* there is room for all of its blocks */
    }
    return PIPELINE_PUT_TAKEN;
}
