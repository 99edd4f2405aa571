/*
 * What the tests of ingest share: a mock cluster that can be taken down, a sink that writes down what it was given, and waiting for
 * something to become true. Included once by each test program.
 */
#ifndef FRESHET_TEST_INGEST_HARNESS_H
#define FRESHET_TEST_INGEST_HARNESS_H

#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka_mock.h>

#define MAYBE_UNUSED __attribute__((unused))

enum { WAIT_MS = 20000, PARTITIONS_MAX = 64, RECORDS_MAX = 1 << 17 };

/* Waits until `claim` holds; fails the test when it does not within 20 s. */
#define wait_until(claim)                                                                                                      \
    do {                                                                                                                       \
        int64_t until_ms_ = fr_clock_monotonic_ms() + WAIT_MS;                                                                 \
        while (!(claim)) {                                                                                                     \
            if (fr_clock_monotonic_ms() > until_ms_)                                                                           \
                fail_msg("not within %d ms: %s", WAIT_MS, #claim);                                                             \
            fr_clock_sleep_ms(2);                                                                                              \
        }                                                                                                                      \
    } while (0)

/* ---- A cluster ---- */

struct cluster {
    rd_kafka_t *client;
    rd_kafka_mock_cluster_t *mock;
    const char *brokers;
};

static MAYBE_UNUSED void cluster_init(struct cluster *cluster)
{
    struct ingest_client client = {.role = INGEST_BROKER};
    struct fr_err err;

    assert_true(ingest_client__new(&client, &cluster->client, &err));
    cluster->mock = rd_kafka_mock_cluster_new(cluster->client, 1);
    assert_non_null(cluster->mock);
    cluster->brokers = rd_kafka_mock_cluster_bootstraps(cluster->mock);
}

static MAYBE_UNUSED void cluster_topic(struct cluster *cluster, const char *topic, int partitions)
{
    assert_int_equal(rd_kafka_mock_topic_create(cluster->mock, topic, partitions, 1), 0);
}

static MAYBE_UNUSED void cluster_fini(struct cluster *cluster)
{
    rd_kafka_mock_cluster_destroy(cluster->mock);
    rd_kafka_destroy(cluster->client);
}

/* ---- A member of a group, which is given nothing ---- */

static MAYBE_UNUSED bool never_assigned(void *user, const int32_t *partitions, int count, struct fr_err *err)
{
    (void)user, (void)partitions, (void)count, (void)err;
    return true;
}

static MAYBE_UNUSED bool never_revoked(void *user, bool is_lost, bool *is_settled, struct fr_err *err)
{
    (void)user, (void)is_lost, (void)is_settled, (void)err;
    return true;
}

/* ---- Filling it ---- */

static MAYBE_UNUSED struct ingest_producer *producer_open(const struct cluster *cluster)
{
    struct ingest_producer_options options = {.brokers = cluster->brokers};
    struct ingest_producer *producer;
    struct fr_err err;

    if (!ingest_producer_open(&options, &producer, &err))
        fail_msg("%s", err.message);
    return producer;
}

static MAYBE_UNUSED void send_bytes(struct ingest_producer *producer, const char *topic, int partition, struct fr_slice value)
{
    struct ingest_record record = {.topic = topic, .partition = partition, .key = fr_slice_of("7"), .value = value};
    struct fr_err err;

    if (!ingest_producer_send(producer, &record, &err))
        fail_msg("%s", err.message);
}

static MAYBE_UNUSED struct fr_slice make_event(uint64_t event_id, int64_t ts_ms, struct fr_buffer *buffer)
{
    struct proto_event event = {.event_id = event_id, .ts_ms = ts_ms, .user_id = 7, .item_id = 8, .action = 3, .value = 2.5};

    fr_buffer_clear(buffer);
    proto_event_encode(&event, buffer);
    return fr_buffer_slice(buffer);
}

/* Events number first … first + count − 1, round the partitions. */
static MAYBE_UNUSED void send_events(struct ingest_producer *producer, const char *topic, int partitions, int first, int count)
{
    struct fr_buffer buffer;

    fr_buffer_init(&buffer);
    for (int i = first; i < first + count; i++)
        send_bytes(producer, topic, i % partitions, make_event((uint64_t)i + 1, 1000 + i, &buffer));
    fr_buffer_fini(&buffer);
}

static MAYBE_UNUSED void flush(struct ingest_producer *producer)
{
    struct fr_err err;

    if (!ingest_producer_flush(producer, WAIT_MS, &err))
        fail_msg("%s", err.message);
}

static MAYBE_UNUSED void fill(const struct cluster *cluster, const char *topic, int partitions, int first, int count)
{
    struct ingest_producer *producer = producer_open(cluster);

    send_events(producer, topic, partitions, first, count);
    flush(producer);
    ingest_producer_close(producer);
}

/* ---- A sink that writes down ---- */

struct written { /* of one partition */
    int32_t number;
    char topic[64];
    int64_t next_offset;
    struct ingest_mark last;
    uint64_t records;
    int events;
    int64_t last_offset;
    int disorders; /* events or advances that were not later than the one before */
};

struct sink {
    pthread_mutex_t lock;
    int64_t start[PARTITIONS_MAX]; /* what `start` answers, by partition number */
    struct ingest_mark last[PARTITIONS_MAX];
    struct written written[PARTITIONS_MAX];
    int partitions;
    uint64_t records;
    uint64_t event_ids_sum;
    int events;
    int entered, batches, greatest_batch;
    int refusals_left; /* so many batches are answered with FR_EXHAUSTED */
    int refused;
    int refused_events; /* in the batch that was refused last */
    int repeats_that_differ;
    bool fails, refuses_cluster;
    int pause_ms;
    char cluster[64];
    int clusters, fatals;
    struct fr_err fatal;
};

static MAYBE_UNUSED void sink_init(struct sink *sink)
{
    memset(sink, 0, sizeof *sink);
    pthread_mutex_init(&sink->lock, NULL);
    for (int i = 0; i < PARTITIONS_MAX; i++)
        sink->start[i] = sink->last[i].offset = -1;
}

static MAYBE_UNUSED bool on_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    struct sink *sink = user;

    pthread_mutex_lock(&sink->lock);
    snprintf(sink->cluster, sizeof sink->cluster, "%s", cluster_id);
    sink->clusters++;
    pthread_mutex_unlock(&sink->lock);
    return !sink->refuses_cluster || fr_fail(err, FR_BAD_CONFIG, "another cluster");
}

static MAYBE_UNUSED struct ingest_position on_start(void *user, int partition, const char *topic, int32_t number)
{
    struct sink *sink = user;

    pthread_mutex_lock(&sink->lock);
    assert_int_equal(partition, sink->partitions);
    sink->partitions++;
    sink->written[partition] = (struct written){.number = number, .next_offset = sink->start[number], .last_offset = -1};
    snprintf(sink->written[partition].topic, sizeof sink->written[partition].topic, "%s", topic);
    pthread_mutex_unlock(&sink->lock);
    return (struct ingest_position){.next_offset = sink->start[number], .last = sink->last[number]};
}

static MAYBE_UNUSED void write_down(struct sink *sink, const struct ingest_batch *batch)
{
    for (int i = 0; i < batch->event_count; i++) {
        struct written *written = &sink->written[batch->partitions[i]];

        written->disorders += batch->offsets[i] <= written->last_offset;
        written->last_offset = batch->offsets[i];
        written->events++;
        sink->event_ids_sum += batch->events[i].event_id;
        sink->events++;
    }
    for (int i = 0; i < batch->advance_count; i++) {
        struct written *written = &sink->written[batch->advances[i].partition];

        written->disorders += batch->advances[i].next_offset <= written->next_offset;
        written->next_offset = batch->advances[i].next_offset;
        written->last = batch->advances[i].last;
        written->records += batch->advances[i].records;
        sink->records += batch->advances[i].records;
    }
    sink->batches++;
    sink->greatest_batch = batch->event_count > sink->greatest_batch ? batch->event_count : sink->greatest_batch;
}

static MAYBE_UNUSED bool on_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct sink *sink = user;
    bool is_refused;

    pthread_mutex_lock(&sink->lock);
    sink->entered++;
    pthread_mutex_unlock(&sink->lock);
    if (sink->fails)
        return fr_fail(err, FR_UNAVAILABLE, "the disk is gone");
    if (sink->pause_ms > 0)
        fr_clock_sleep_ms(sink->pause_ms);
    pthread_mutex_lock(&sink->lock);
    is_refused = sink->refusals_left > 0 && batch->event_count > 0;
    if (is_refused) {
        sink->refusals_left--;
        sink->repeats_that_differ += sink->refused > 0 && sink->refused_events != batch->event_count;
        sink->refused++;
        sink->refused_events = batch->event_count;
    } else {
        write_down(sink, batch);
    }
    pthread_mutex_unlock(&sink->lock);
    return !is_refused || fr_fail(err, FR_EXHAUSTED, "full");
}

static MAYBE_UNUSED void on_fatal(void *user, const struct fr_err *err)
{
    struct sink *sink = user;

    pthread_mutex_lock(&sink->lock);
    sink->fatal = *err;
    sink->fatals++;
    pthread_mutex_unlock(&sink->lock);
}

#define DEFINE_SINK_READ(type, name)                                                                                           \
    static MAYBE_UNUSED type sink_##name(struct sink *sink)                                                                    \
    {                                                                                                                          \
        type value;                                                                                                            \
                                                                                                                               \
        pthread_mutex_lock(&sink->lock);                                                                                       \
        value = sink->name;                                                                                                    \
        pthread_mutex_unlock(&sink->lock);                                                                                     \
        return value;                                                                                                          \
    }
DEFINE_SINK_READ(uint64_t, records)
DEFINE_SINK_READ(int, events)
DEFINE_SINK_READ(int, fatals)
DEFINE_SINK_READ(int, refused)
DEFINE_SINK_READ(int, partitions)
DEFINE_SINK_READ(int, clusters)
DEFINE_SINK_READ(int, entered)

/* From now on it takes what it refused. */
static MAYBE_UNUSED void sink_accept(struct sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->refusals_left = 0;
    pthread_mutex_unlock(&sink->lock);
}

static MAYBE_UNUSED struct written sink_written(struct sink *sink, int partition)
{
    struct written written;

    pthread_mutex_lock(&sink->lock);
    written = sink->written[partition];
    pthread_mutex_unlock(&sink->lock);
    return written;
}

/* ---- A consumer ---- */

struct consumer {
    struct ingest *ingest;
    struct fr_metrics *metrics;
    struct ingest_topic topic;
    struct ingest_options options;
};

static MAYBE_UNUSED void consumer_init(struct consumer *consumer, const char *brokers, const char *topic, struct sink *sink)
{
    memset(consumer, 0, sizeof *consumer);
    consumer->metrics = fr_metrics_new();
    consumer->topic = (struct ingest_topic){.name = topic, .format = PROTO_FORMAT_PROTOBUF};
    consumer->options = (struct ingest_options){
        .brokers = brokers,
        .group = "freshet",
        .topics = &consumer->topic,
        .topic_count = 1,
        .lanes = 2,
        .batch_max = 512,
        .queue_bytes = 16 << 20,
        .max_future_ms = 60000,
        .metrics = consumer->metrics,
        .sink = {.user = sink, .cluster = on_cluster, .start = on_start, .batch = on_batch, .fatal = on_fatal}};
}

static MAYBE_UNUSED void consumer_open(struct consumer *consumer)
{
    struct fr_err err;

    if (!ingest_open(&consumer->options, &consumer->ingest, &err))
        fail_msg("%s", err.message);
}

static MAYBE_UNUSED void consumer_close(struct consumer *consumer)
{
    if (consumer->ingest) {
        ingest_stop(consumer->ingest);
        assert_true(ingest_close(consumer->ingest, 10000));
    }
    consumer->ingest = NULL;
    fr_metrics_free(consumer->metrics);
}

static MAYBE_UNUSED uint64_t consumer_count(struct consumer *consumer, const char *name, const char *labels)
{
    return fr_counter_read(fr_metrics_counter(consumer->metrics, name, labels, NULL));
}

#endif
