/* Where reading begins, and what becomes of offsets and topics that are not there. */
#include "harness.h"

#include <dlfcn.h>

enum { FETCH_REQUEST = 1 }; /* of the protocol */

/*
 * The mock cluster cannot add partitions to a topic. So librdkafka's answer is cut here, between it and the consumer: of each topic
 * only so many partitions are seen.
 */
static atomic_int visible_partitions = PARTITIONS_MAX;

rd_kafka_resp_err_t rd_kafka_metadata(rd_kafka_t *client, int all_topics, rd_kafka_topic_t *only,
                                      const struct rd_kafka_metadata **answer, int timeout_ms)
{
    rd_kafka_resp_err_t (*real)(rd_kafka_t *, int, rd_kafka_topic_t *, const struct rd_kafka_metadata **, int);
    rd_kafka_resp_err_t error;

    *(void **)&real = dlsym(RTLD_NEXT, "rd_kafka_metadata");
    error = real(client, all_topics, only, answer, timeout_ms);
    for (int i = 0; !error && i < (*answer)->topic_cnt; i++)
        if ((*answer)->topics[i].partition_cnt > atomic_load(&visible_partitions))
            (*answer)->topics[i].partition_cnt = atomic_load(&visible_partitions);
    return error;
}

/* And a start can be lost on its way, as if librdkafka had forgotten the partition. */
static atomic_int starts_to_lose;

int rd_kafka_consume_start_queue(rd_kafka_topic_t *handle, int32_t partition, int64_t offset, rd_kafka_queue_t *queue)
{
    int (*real)(rd_kafka_topic_t *, int32_t, int64_t, rd_kafka_queue_t *);

    if (atomic_load(&starts_to_lose) > 0) {
        atomic_fetch_sub(&starts_to_lose, 1);
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "rd_kafka_consume_start_queue");
    return real(handle, partition, offset, queue);
}

static void a_partition_that_has_records_and_gives_none_is_started_again(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    fill(&cluster, "t", 2, 0, 100);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.lanes = 1;
    atomic_store(&starts_to_lose, 1);
    consumer_open(&consumer);
    atomic_store(&consumer.ingest->quiet_ms, 200);
    wait_until(sink_records(&sink) == 100);
    assert_int_equal(consumer_count(&consumer, "freshet_ingest_restarts_total", NULL), 1);
    consumer_close(&consumer);
    assert_int_equal(sink.written[0].disorders + sink.written[1].disorders, 0);
    cluster_fini(&cluster);
}

static void partitions_added_later_are_read_from_their_first_record(void **state)
{
    struct ingest_property property = {"topic.metadata.refresh.interval.ms", "100"};
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    int count = 0;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 4);
    fill(&cluster, "t", 4, 0, 400);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.start = INGEST_LATEST;
    consumer.options.properties = &property;
    consumer.options.property_count = 1;
    atomic_store(&visible_partitions, 2);
    consumer_open(&consumer);
    wait_until(ingest_is_assigned(consumer.ingest));
    assert_int_equal(ingest_partition_count(consumer.ingest), 2);
    wait_until(sink_written(&sink, 1).next_offset == 100); /* told where `latest` is, without a record */
    assert_int_equal(sink_events(&sink), 0);
    assert_true(ingest_topics_are_found(consumer.ingest, &count) && count == 2);
    atomic_store(&visible_partitions, PARTITIONS_MAX);
    wait_until(ingest_topics_are_found(consumer.ingest, &count) && count == 4); /* asked while the helper finds them */
    wait_until(sink_records(&sink) == 200);
    assert_int_equal(ingest_partition_count(consumer.ingest), 4);
    fill(&cluster, "t", 4, 400, 40);
    wait_until(sink_records(&sink) >= 240);
    consumer_close(&consumer);
    assert_int_equal(sink.written[0].events, 10);
    assert_int_equal(sink.written[2].events, 110);
    assert_int_equal(sink.written[3].disorders, 0);
    cluster_fini(&cluster);
}

static void start_fail_refuses_an_unknown_partition_and_names_the_choices(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    sink_init(&sink);
    sink.start[0] = 0;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.start = INGEST_FAIL;
    consumer_open(&consumer);
    wait_until(sink_fatals(&sink) == 1);
    consumer_close(&consumer);
    assert_int_equal(sink.fatal.code, FR_BAD_CONFIG);
    assert_non_null(strstr(sink.fatal.message, "t [1]"));
    assert_non_null(strstr(sink.fatal.message, "earliest or latest"));
    cluster_fini(&cluster);
}

/* Reads ten records, then again from the mark that the first reader left, or a wrong one. */
static void read_twice(bool is_same, bool is_adopting, struct sink *sink)
{
    struct cluster cluster;
    struct consumer consumer;

    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    fill(&cluster, "t", 1, 0, 10);
    sink_init(sink);
    consumer_init(&consumer, cluster.brokers, "t", sink);
    consumer_open(&consumer);
    wait_until(sink_written(sink, 0).next_offset == 10);
    consumer_close(&consumer);
    struct ingest_mark last = sink->written[0].last;

    assert_int_equal(last.offset, 9);
    last.hash += !is_same;
    sink_init(sink);
    sink->start[0] = 10;
    sink->last[0] = last;
    consumer_init(&consumer, cluster.brokers, "t", sink);
    consumer.options.is_adopting = is_adopting;
    consumer_open(&consumer);
    fill(&cluster, "t", 1, 10, 5);
    wait_until(sink_written(sink, 0).next_offset == 15 || sink_fatals(sink) == 1);
    consumer_close(&consumer);
    cluster_fini(&cluster);
}

static void a_topic_whose_last_record_is_the_same_is_read_on(void **state)
{
    struct sink sink;

    (void)state;
    read_twice(true, false, &sink);
    assert_int_equal(sink.fatals, 0);
    assert_int_equal(sink.written[0].events, 5);
    assert_int_equal(sink.written[0].last.offset, 14);
}

static void a_topic_with_another_record_at_its_last_offset_is_refused(void **state)
{
    struct sink sink;

    (void)state;
    read_twice(false, false, &sink);
    assert_int_equal(sink.fatals, 1);
    assert_int_equal(sink.fatal.code, FR_BAD_CONFIG);
    assert_non_null(strstr(sink.fatal.message, "t [0]"));
    assert_non_null(strstr(sink.fatal.message, "kafka.recreated"));
    assert_int_equal(sink.events, 0);
}

static void a_topic_made_anew_is_begun_again_where_that_is_wanted(void **state)
{
    struct sink sink;

    (void)state;
    read_twice(false, true, &sink);
    assert_int_equal(sink.fatals, 0);
    assert_int_equal(sink.written[0].events, 15);
}

/* 20 records of 500 KB in one partition: the mock keeps 5 MiB. */
static int64_t trim(const struct cluster *cluster, const char *topic)
{
    struct ingest_producer *producer = producer_open(cluster);
    struct ingest_client client = {.role = INGEST_PRODUCER, .brokers = cluster->brokers};
    static char large[500000];
    rd_kafka_t *asker;
    int64_t low, end;
    struct fr_err err;

    for (uint64_t i = 0, x = 1; i < sizeof large; i++, x ^= x << 13, x ^= x >> 7, x ^= x << 17)
        large[i] = (char)x; /* does not compress */
    for (int i = 0; i < 20; i++) {
        send_bytes(producer, topic, 0, fr_slice(large, sizeof large));
        flush(producer);
    }
    ingest_producer_close(producer);
    assert_true(ingest_client__new(&client, &asker, &err));
    assert_int_equal(rd_kafka_query_watermark_offsets(asker, topic, 0, &low, &end, 5000), 0);
    rd_kafka_destroy(asker);
    assert_true(low > 0 && end > low);
    return low;
}

static void an_offset_that_retention_took_starts_at_the_first_one_left_and_counts_the_gap(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    int64_t low;
    struct ingest_partition seen;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    low = trim(&cluster, "t");
    sink_init(&sink);
    sink.start[0] = 2;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_written(&sink, 0).next_offset == 20);
    seen = ingest_partition_at(consumer.ingest, 0);
    assert_int_equal(seen.gap_events, low - 2);
    assert_int_equal(seen.low, low);
    assert_int_equal(consumer_count(&consumer, "freshet_ingest_gap_events_total", "topic=\"t\",partition=\"0\""), low - 2);
    consumer_close(&consumer);
    assert_int_equal(sink.records, 20 - low);
    cluster_fini(&cluster);
}

/* The sink is stuck and the queue holds one record, so retention overtakes the reader. */
static void an_offset_that_is_lost_while_reading_is_found_again_with_the_gap_counted(void **state)
{
    struct ingest_property property = {"queued.min.messages", "1"};
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    uint64_t gap;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    fill(&cluster, "t", 1, 0, 1);
    sink_init(&sink);
    sink.refusals_left = INT32_MAX;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.properties = &property;
    consumer.options.property_count = 1;
    consumer.options.batch_max = 1;
    consumer_open(&consumer);
    wait_until(sink_refused(&sink) > 0);
    trim(&cluster, "t");
    sink_accept(&sink);
    wait_until(sink_written(&sink, 0).next_offset == 21);
    gap = ingest_partition_at(consumer.ingest, 0).gap_events;
    consumer_close(&consumer);
    assert_true(gap > 0);
    assert_int_equal(sink.records + gap, 21); /* every offset was read, or is known to be gone */
    assert_int_equal(sink.written[0].disorders, 0);
    assert_int_equal(sink.fatals, 0);
    cluster_fini(&cluster);
}

static void an_offset_that_the_broker_denies_by_mistake_is_read_on_from(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    size_t errors_left = 3;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    fill(&cluster, "t", 2, 0, 100);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_records(&sink) == 100);
    rd_kafka_mock_broker_push_request_error_rtts(cluster.mock, 1, FETCH_REQUEST, 3, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, 0,
                                                 RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 0,
                                                 RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, 0);
    wait_until(rd_kafka_mock_broker_error_stack_cnt(cluster.mock, 1, FETCH_REQUEST, &errors_left) == 0 && errors_left == 0);
    fill(&cluster, "t", 2, 100, 100);
    wait_until(sink_records(&sink) >= 200);
    consumer_close(&consumer);
    assert_int_equal(sink.events, 200);
    assert_int_equal(sink.written[0].disorders + sink.written[1].disorders, 0);
    assert_int_equal(sink.fatals, 0);
    cluster_fini(&cluster);
}

/* Both take the seconds after which a thing is taken for missing, so they take them together. */
static void a_missing_topic_and_an_offset_past_the_end_are_fatal_and_say_the_way_out(void **state)
{
    struct cluster cluster;
    struct consumer missing, beyond;
    struct sink missing_sink, beyond_sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    sink_init(&missing_sink);
    sink_init(&beyond_sink);
    beyond_sink.start[0] = 7;
    consumer_init(&missing, cluster.brokers, "absent", &missing_sink);
    consumer_init(&beyond, cluster.brokers, "t", &beyond_sink);
    consumer_open(&missing);
    consumer_open(&beyond);
    wait_until(sink_fatals(&missing_sink) == 1 && sink_fatals(&beyond_sink) == 1);
    assert_false(ingest_is_assigned(missing.ingest));
    consumer_close(&missing);
    consumer_close(&beyond);
    assert_int_equal(missing_sink.fatal.code, FR_BAD_CONFIG);
    assert_non_null(strstr(missing_sink.fatal.message, "topic 'absent' does not exist"));
    assert_non_null(strstr(missing_sink.fatal.message, "create it or give partitions"));
    assert_int_equal(beyond_sink.fatal.code, FR_BAD_CONFIG);
    assert_non_null(strstr(beyond_sink.fatal.message, "ends at offset 0, but it was read up to 7"));
    cluster_fini(&cluster);
}

static void a_topic_with_partitions_is_made_when_it_is_missing(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "new", &sink);
    consumer.topic.partitions = 4; /* what the mock makes of itself: it has no CreateTopics */
    consumer.options.start = INGEST_FAIL; /* what we made ourselves has nothing to be lost */
    consumer_open(&consumer);
    wait_until(ingest_is_assigned(consumer.ingest));
    assert_int_equal(ingest_partition_count(consumer.ingest), 4);
    consumer_close(&consumer);
    assert_int_equal(sink.fatals, 0);
    cluster_fini(&cluster);
}

static int64_t committed(rd_kafka_t *reader, const char *topic, int32_t partition)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new(1);
    int64_t offset;

    rd_kafka_topic_partition_list_add(asked, topic, partition);
    assert_int_equal(rd_kafka_committed(reader, asked, 10000), 0);
    offset = asked->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(asked);
    return offset;
}

static void the_groups_offsets_are_told_to_kafka(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *reader;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    fill(&cluster, "t", 2, 0, 100);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_records(&sink) == 100);
    wait_until(ingest_is_connected(consumer.ingest));
    ingest_offsets_commit(consumer.ingest, (const int64_t[]){50, -1, 9}, 3); /* −1: not known; the third does not exist */

    rd_kafka_conf_set(conf, "bootstrap.servers", cluster.brokers, NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "freshet", NULL, 0);
    reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    wait_until(committed(reader, "t", 0) == 50);
    assert_int_equal(committed(reader, "t", 1), RD_KAFKA_OFFSET_INVALID);
    rd_kafka_destroy(reader);

    assert_true(ingest_close(consumer.ingest, 10000));
    assert_int_equal(consumer_count(&consumer, "freshet_ingest_commit_failures_total", NULL), 0);
    fr_metrics_free(consumer.metrics);
    cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_that_has_records_and_gives_none_is_started_again),
        cmocka_unit_test(partitions_added_later_are_read_from_their_first_record),
        cmocka_unit_test(a_topic_whose_last_record_is_the_same_is_read_on),
        cmocka_unit_test(a_topic_with_another_record_at_its_last_offset_is_refused),
        cmocka_unit_test(a_topic_made_anew_is_begun_again_where_that_is_wanted),
        cmocka_unit_test(start_fail_refuses_an_unknown_partition_and_names_the_choices),
        cmocka_unit_test(an_offset_that_retention_took_starts_at_the_first_one_left_and_counts_the_gap),
        cmocka_unit_test(an_offset_that_is_lost_while_reading_is_found_again_with_the_gap_counted),
        cmocka_unit_test(an_offset_that_the_broker_denies_by_mistake_is_read_on_from),
        cmocka_unit_test(a_missing_topic_and_an_offset_past_the_end_are_fatal_and_say_the_way_out),
        cmocka_unit_test(a_topic_with_partitions_is_made_when_it_is_missing),
        cmocka_unit_test(the_groups_offsets_are_told_to_kafka),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
