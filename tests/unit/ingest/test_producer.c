/* Producing: where a record goes, what is told when it cannot, and never more than the embedded broker keeps. */
#include "harness.h"

static struct ingest_producer *open_paced(const struct cluster *cluster, const char *group)
{
    struct ingest_producer_options options = {.brokers = cluster->brokers, .pace_group = group};
    struct ingest_producer *producer;
    struct fr_err err;

    if (!ingest_producer_open(&options, &producer, &err))
        fail_msg("%s", err.message);
    return producer;
}

/* Reads the only record of a partition. */
static rd_kafka_message_t *read_one(const struct cluster *cluster, const char *topic, int partition, rd_kafka_t **reader,
                                    rd_kafka_topic_t **handle)
{
    struct ingest_client client = {.role = INGEST_CONSUMER, .brokers = cluster->brokers, .queue_bytes = 64 << 20};
    rd_kafka_message_t *message;
    struct fr_err err;

    assert_true(ingest_client__new(&client, reader, &err));
    *handle = rd_kafka_topic_new(*reader, topic, NULL);
    assert_int_equal(rd_kafka_consume_start(*handle, partition, 0), 0);
    message = rd_kafka_consume(*handle, partition, WAIT_MS);
    assert_non_null(message);
    assert_int_equal(message->err, 0);
    return message;
}

static void a_key_goes_where_javas_murmur2_sends_it(void **state)
{
    struct ingest_record record = {.topic = "t", .partition = -1, .key = fr_slice_of("21"), .value = fr_slice_of("v")};
    struct cluster cluster;
    struct ingest_producer *producer;
    rd_kafka_message_t *message;
    rd_kafka_topic_t *handle;
    rd_kafka_t *reader;
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1000);
    producer = producer_open(&cluster);
    assert_true(ingest_producer_send(producer, &record, &err));
    flush(producer);
    assert_int_equal(ingest_producer_delivered(producer), 1);
    /* org.apache.kafka.common.utils.Utils.murmur2("21") is −973932308: without its sign 1173551340, modulo 1000 it is 340. */
    message = read_one(&cluster, "t", 340, &reader, &handle);
    rd_kafka_message_destroy(message);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(reader);
    ingest_producer_close(producer);
    cluster_fini(&cluster);
}

static void key_headers_and_time_arrive_as_given(void **state)
{
    struct ingest_property headers[] = {{"a", "1"}, {"b", "two"}};
    struct ingest_record record = {.topic = "t",
                                   .partition = 1,
                                   .key = fr_slice_of("k"),
                                   .value = fr_slice_of("v"),
                                   .kafka_ts_ms = 1234567,
                                   .headers = headers,
                                   .header_count = 2};
    struct cluster cluster;
    struct ingest_producer *producer;
    rd_kafka_message_t *message;
    rd_kafka_topic_t *handle;
    rd_kafka_headers_t *got;
    rd_kafka_t *reader;
    rd_kafka_timestamp_type_t kind;
    const void *value;
    size_t bytes;
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    producer = producer_open(&cluster);
    assert_true(ingest_producer_send(producer, &record, &err));
    flush(producer);
    message = read_one(&cluster, "t", 1, &reader, &handle);
    assert_memory_equal(message->key, "k", 1);
    assert_int_equal(rd_kafka_message_timestamp(message, &kind), 1234567);
    assert_int_equal(rd_kafka_message_headers(message, &got), 0);
    assert_int_equal(rd_kafka_header_get_last(got, "b", &value, &bytes), 0);
    assert_int_equal(bytes, 3);
    assert_memory_equal(value, "two", 3);
    rd_kafka_message_destroy(message);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(reader);
    ingest_producer_close(producer);
    cluster_fini(&cluster);
}

static void a_record_that_is_too_large_is_refused_and_the_next_one_is_taken(void **state)
{
    static char large[5000000];
    struct ingest_record record = {.topic = "t", .value = fr_slice(large, sizeof large)};
    struct cluster cluster;
    struct ingest_producer *producer;
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    producer = producer_open(&cluster);
    assert_false(ingest_producer_send(producer, &record, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    assert_non_null(strstr(err.message, "'t'"));
    record.value.length = 10;
    assert_true(ingest_producer_send(producer, &record, &err));
    flush(producer);
    ingest_producer_close(producer);
    cluster_fini(&cluster);
}

static void what_kafka_refuses_later_is_told_by_the_next_call_once(void **state)
{
    struct ingest_record record = {.topic = "t", .value = fr_slice_of("v")};
    struct cluster cluster;
    struct ingest_producer *producer;
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    producer = producer_open(&cluster);
    rd_kafka_mock_push_request_errors(cluster.mock, 0, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_true(ingest_producer_send(producer, &record, &err));
    assert_false(ingest_producer_flush(producer, WAIT_MS, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "'t'"));
    assert_int_equal(ingest_producer_delivered(producer), 0);
    assert_true(ingest_producer_flush(producer, WAIT_MS, &err));
    ingest_producer_close(producer);
    cluster_fini(&cluster);
}

static void a_flush_without_a_broker_is_unavailable_in_its_time(void **state)
{
    struct ingest_producer_options options = {.brokers = "127.0.0.1:1"};
    struct ingest_record record = {.topic = "t", .value = fr_slice_of("v")};
    struct ingest_producer *producer;
    struct fr_err err;

    (void)state;
    assert_true(ingest_producer_open(&options, &producer, &err));
    assert_true(ingest_producer_send(producer, &record, &err));
    assert_false(ingest_producer_flush(producer, 100, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    ingest_producer_close(producer);
}

static void a_topic_is_made_once(void **state)
{
    struct cluster cluster;
    struct ingest_producer *producer;
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "old", 3);
    producer = producer_open(&cluster);
    assert_true(ingest_producer_topic(producer, "old", 8, &err));
    assert_true(ingest_producer_topic(producer, "new", 4, &err));
    assert_true(ingest_producer_topic(producer, "new", 4, &err));
    send_bytes(producer, "new", 3, fr_slice_of("v"));
    flush(producer);
    ingest_producer_close(producer);
    cluster_fini(&cluster);
}

static void the_embedded_broker_has_the_topics_it_was_given(void **state)
{
    struct ingest_topic topics[] = {{.name = "a", .partitions = 3}, {.name = "b"}, {.name = "a", .partitions = 5}};
    struct ingest_broker *broker;
    struct ingest_topic_state states[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    struct ingest_client client = {.role = INGEST_CONSUMER, .queue_bytes = 1 << 20};
    rd_kafka_t *asker;
    struct fr_err err;

    (void)state;
    assert_true(ingest_broker_start(topics, 3, &broker, &err));
    assert_int_equal(strncmp(ingest_broker_address(broker), "127.0.0.1:", 10), 0);
    client.brokers = ingest_broker_address(broker);
    assert_true(ingest_client__new(&client, &asker, &err));
    assert_true(ingest_topic__find(asker, states, 3, true));
    assert_int_equal(states[0].partitions, 3);
    assert_int_equal(states[1].partitions, 8);
    assert_int_equal(states[2].found, INGEST_TOPIC_MISSING);
    rd_kafka_destroy(asker);
    ingest_broker_stop(broker);
}

/* The committing half of a node: tells the group's offsets every few ms, from what the sink was given. */
struct committer {
    struct consumer *consumer;
    struct sink *sink;
    pthread_t thread;
    atomic_bool stops;
};

static void *commit_often(void *arg)
{
    struct committer *committer = arg;

    while (!atomic_load(&committer->stops)) {
        int count = sink_partitions(committer->sink);
        int64_t next_offsets[PARTITIONS_MAX];

        for (int i = 0; i < count; i++)
            next_offsets[i] = sink_written(committer->sink, i).next_offset;
        ingest_offsets_commit(committer->consumer->ingest, next_offsets, count);
        fr_clock_sleep_ms(30);
    }
    return NULL;
}

/* 2 partitions keep 10 MiB; 40 MB go through, by a producer that could send them in a moment. */
static void a_paced_producer_loses_nothing_to_a_slow_reader(void **state)
{
    enum { COUNT = 40000, BYTES = 1000 };
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    struct committer committer = {.consumer = &consumer, .sink = &sink};
    struct ingest_producer *producer;
    static char value[BYTES];

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    sink_init(&sink);
    sink.pause_ms = 5;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    atomic_init(&committer.stops, false);
    pthread_create(&committer.thread, NULL, commit_often, &committer);
    producer = open_paced(&cluster, "freshet");
    for (uint64_t i = 0, x = 88172645463325252u; i < COUNT; i++) {
        for (size_t k = 0; k < sizeof value; k += 8, x ^= x << 13, x ^= x >> 7, x ^= x << 17)
            memcpy(value + k, &x, 8); /* does not compress */
        value[0] = '\xff'; /* is no event */
        send_bytes(producer, "t", -1, fr_slice(value, sizeof value));
        send_bytes(producer, "t", (int)(i % 2), fr_slice("\x10\x05", 2));
    }
    flush(producer); /* which checks that nothing was dropped unread */
    wait_until(sink_records(&sink) == 2 * COUNT);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ingest_partition_at(consumer.ingest, i).gap_events, 0);
    atomic_store(&committer.stops, true);
    pthread_join(committer.thread, NULL);
    ingest_producer_close(producer);
    consumer_close(&consumer);
    cluster_fini(&cluster);
}

static void what_was_dropped_unread_is_told_by_the_flush(void **state)
{
    struct cluster cluster;
    struct ingest_producer *paced, *other;
    static char large[500000];
    struct fr_err err;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    paced = open_paced(&cluster, "nobody");
    other = producer_open(&cluster);
    send_bytes(paced, "t", 0, fr_slice_of("v"));
    for (uint64_t i = 0, x = 1; i < sizeof large; i++, x ^= x << 13, x ^= x >> 7, x ^= x << 17)
        large[i] = (char)x;
    for (int i = 0; i < 12; i++) {
        send_bytes(other, "t", 0, fr_slice(large, sizeof large));
        flush(other);
    }
    assert_false(ingest_producer_flush(paced, WAIT_MS, &err));
    assert_int_equal(err.code, FR_CORRUPT);
    assert_non_null(strstr(err.message, "t [0]"));
    ingest_producer_close(paced);
    ingest_producer_close(other);
    cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_goes_where_javas_murmur2_sends_it),
        cmocka_unit_test(key_headers_and_time_arrive_as_given),
        cmocka_unit_test(a_record_that_is_too_large_is_refused_and_the_next_one_is_taken),
        cmocka_unit_test(what_kafka_refuses_later_is_told_by_the_next_call_once),
        cmocka_unit_test(a_flush_without_a_broker_is_unavailable_in_its_time),
        cmocka_unit_test(a_topic_is_made_once),
        cmocka_unit_test(the_embedded_broker_has_the_topics_it_was_given),
        cmocka_unit_test(a_paced_producer_loses_nothing_to_a_slow_reader),
        cmocka_unit_test(what_was_dropped_unread_is_told_by_the_flush),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
