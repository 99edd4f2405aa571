/* Reading: every record once, in the order of its partition, whatever the sink does. */
#include "harness.h"

enum { EVENTS = 20000, PARTITIONS = 8 };

static uint64_t sum_to(uint64_t n)
{
    return n * (n + 1) / 2;
}

static void check_order(struct sink *sink)
{
    for (int i = 0; i < sink->partitions; i++)
        assert_int_equal(sink->written[i].disorders, 0);
}

static void events_of_eight_partitions_over_two_lanes_come_once_and_in_order(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", PARTITIONS);
    fill(&cluster, "t", PARTITIONS, 0, EVENTS);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_records(&sink) >= EVENTS);
    wait_until(ingest_is_assigned(consumer.ingest));
    assert_true(ingest_is_connected(consumer.ingest));
    fill(&cluster, "t", PARTITIONS, EVENTS, EVENTS); /* live, now that it waits at the end */
    wait_until(sink_records(&sink) >= 2 * EVENTS);
    wait_until(ingest_partition_at(consumer.ingest, 0).end == 2 * EVENTS / PARTITIONS);

    assert_int_equal(ingest_partition_count(consumer.ingest), PARTITIONS);
    assert_string_equal(ingest_partition_at(consumer.ingest, 3).topic, "t");
    assert_int_equal(ingest_partition_at(consumer.ingest, 3).number, 3);
    assert_int_equal(ingest_partition_at(consumer.ingest, 3).gap_events, 0);
    ingest_stop(consumer.ingest);
    assert_int_equal(sink.events, 2 * EVENTS);
    assert_true(sink.event_ids_sum == sum_to(2 * EVENTS));
    assert_true(sink.greatest_batch <= 512);
    check_order(&sink);
    assert_int_equal(consumer_count(&consumer, "freshet_ingest_records_total", "outcome=\"decoded\""), 2 * EVENTS);
    assert_int_equal(strncmp(sink.cluster, "mockCluster", 11), 0);
    assert_int_equal(sink.clusters, 1);
    assert_int_equal(sink.fatals, 0);
    consumer_close(&consumer);
    cluster_fini(&cluster);
}

static void a_restart_goes_on_from_the_sinks_offsets(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink first, second;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    fill(&cluster, "t", 2, 0, 1000);
    sink_init(&first);
    consumer_init(&consumer, cluster.brokers, "t", &first);
    consumer_open(&consumer);
    wait_until(sink_records(&first) == 1000);
    consumer_close(&consumer);

    fill(&cluster, "t", 2, 1000, 500);
    sink_init(&second);
    for (int i = 0; i < 2; i++)
        second.start[i] = first.written[i].next_offset;
    consumer_init(&consumer, cluster.brokers, "t", &second);
    consumer_open(&consumer);
    wait_until(sink_records(&second) >= 500);
    consumer_close(&consumer);
    assert_true(first.event_ids_sum + second.event_ids_sum == sum_to(1500));
    assert_int_equal(second.events, 500);
    check_order(&second);
    cluster_fini(&cluster);
}

static void an_exhausted_sink_gets_the_same_batch_again(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    fill(&cluster, "t", 1, 0, 3000);
    sink_init(&sink);
    sink.refusals_left = 5;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.lanes = 1;
    consumer_open(&consumer);
    wait_until(sink_records(&sink) >= 3000);
    consumer_close(&consumer);
    assert_int_equal(sink.refused, 5);
    assert_int_equal(sink.repeats_that_differ, 0);
    assert_int_equal(sink.events, 3000);
    assert_true(sink.event_ids_sum == sum_to(3000));
    check_order(&sink);
    cluster_fini(&cluster);
}

static void a_sink_that_is_exhausted_for_ever_does_not_hold_up_stopping(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 2);
    fill(&cluster, "t", 2, 0, 100);
    sink_init(&sink);
    sink.refusals_left = INT32_MAX;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_refused(&sink) > 2);
    ingest_stop(consumer.ingest);
    assert_int_equal(sink_records(&sink), 0);
    consumer_close(&consumer);
    cluster_fini(&cluster);
}

static void an_error_of_the_sink_is_fatal_and_stops_the_lanes(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 4);
    fill(&cluster, "t", 4, 0, 100);
    sink_init(&sink);
    sink.fails = true;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_fatals(&sink) == 1);
    assert_string_equal(sink.fatal.message, "the disk is gone");
    consumer_close(&consumer);
    assert_int_equal(sink.fatals, 1);
    cluster_fini(&cluster);
}

static void a_refused_cluster_is_fatal_before_anything_is_read(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    sink_init(&sink);
    sink.refuses_cluster = true;
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_fatals(&sink) == 1);
    assert_string_equal(sink.fatal.message, "another cluster");
    consumer_close(&consumer);
    assert_int_equal(sink.partitions, 0);
    cluster_fini(&cluster);
}

static void a_given_cluster_id_is_told_instead_of_the_brokers(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.cluster_id = "embedded-1";
    consumer_open(&consumer);
    wait_until(ingest_is_assigned(consumer.ingest));
    consumer_close(&consumer);
    assert_string_equal(sink.cluster, "embedded-1");
    cluster_fini(&cluster);
}

static void topics_are_told_apart(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    struct ingest_producer *producer;
    struct ingest_topic topics[2] = {{.name = "wire", .format = PROTO_FORMAT_PROTOBUF},
                                     {.name = "json", .format = PROTO_FORMAT_JSON}};
    const char *json = "{\"event_id\":\"5\",\"ts_ms\":1000,\"user_id\":1,\"action\":\"like\"}";

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "wire", 1);
    cluster_topic(&cluster, "json", 1);
    fill(&cluster, "wire", 1, 0, 1);
    producer = producer_open(&cluster);
    send_bytes(producer, "json", 0, fr_slice_of(json));
    flush(producer);
    ingest_producer_close(producer);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.topics = topics;
    consumer.options.topic_count = 2;
    consumer_open(&consumer);
    wait_until(sink_records(&sink) == 2);
    consumer_close(&consumer);
    assert_int_equal(sink.events, 2);
    assert_int_equal(sink.partitions, 2);
    assert_true(sink.event_ids_sum == 1 + 5);
    cluster_fini(&cluster);
}

static void a_broker_that_goes_and_comes_back_costs_no_record(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 4);
    fill(&cluster, "t", 4, 0, 1000);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer_open(&consumer);
    wait_until(sink_records(&sink) == 1000 && ingest_is_connected(consumer.ingest));
    rd_kafka_mock_broker_set_down(cluster.mock, 1);
    wait_until(!ingest_is_connected(consumer.ingest));
    rd_kafka_mock_broker_set_up(cluster.mock, 1);
    fill(&cluster, "t", 4, 1000, 1000);
    wait_until(sink_records(&sink) >= 2000 && ingest_is_connected(consumer.ingest));
    consumer_close(&consumer);
    assert_true(sink.event_ids_sum == sum_to(2000));
    check_order(&sink);
    cluster_fini(&cluster);
}

static void errors_of_the_broker_are_survived_and_no_record_lost_or_repeated(void **state)
{
    enum { FETCH = 1, LIST_OFFSETS = 2, METADATA = 3 };
    static const int requests[] = {FETCH, LIST_OFFSETS, METADATA};
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_UNKNOWN,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR__TRANSPORT, /* the mock closes the connection */
    };
    enum { ERRORS = sizeof errors / sizeof *errors };
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 4);
    fill(&cluster, "t", 4, 0, 1000);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    for (int i = 0; i < 3; i++)
        rd_kafka_mock_push_request_errors_array(cluster.mock, (int16_t)requests[i], ERRORS, errors);
    consumer_open(&consumer);
    wait_until(sink_records(&sink) == 1000);
    for (int i = 0; i < 3; i++)
        rd_kafka_mock_push_request_errors_array(cluster.mock, (int16_t)requests[i], ERRORS, errors);
    fill(&cluster, "t", 4, 1000, 1000);
    wait_until(sink_records(&sink) >= 2000);
    consumer_close(&consumer);
    assert_true(sink.event_ids_sum == sum_to(2000));
    assert_int_equal(sink.fatals, 0);
    check_order(&sink);
    cluster_fini(&cluster);
}

/* The queue holds a fiftieth of it, so it is full most of the time. */
static void a_backlog_larger_than_the_queue_drains_without_waiting_for_librdkafka(void **state)
{
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    int64_t began_ms;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 16);
    fill(&cluster, "t", 16, 0, RECORDS_MAX);
    sink_init(&sink);
    consumer_init(&consumer, cluster.brokers, "t", &sink);
    consumer.options.queue_bytes = 4 << 20;
    consumer_open(&consumer);
    wait_until(sink_records(&sink) > 0);
    began_ms = fr_clock_monotonic_ms();
    wait_until(sink_records(&sink) >= RECORDS_MAX);
    print_message("drained %d events in %d ms\n", RECORDS_MAX, (int)(fr_clock_monotonic_ms() - began_ms));
    consumer_close(&consumer);
    assert_true(sink.event_ids_sum == sum_to(RECORDS_MAX));
    check_order(&sink);
    cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_of_eight_partitions_over_two_lanes_come_once_and_in_order),
        cmocka_unit_test(a_restart_goes_on_from_the_sinks_offsets),
        cmocka_unit_test(an_exhausted_sink_gets_the_same_batch_again),
        cmocka_unit_test(a_sink_that_is_exhausted_for_ever_does_not_hold_up_stopping),
        cmocka_unit_test(an_error_of_the_sink_is_fatal_and_stops_the_lanes),
        cmocka_unit_test(a_refused_cluster_is_fatal_before_anything_is_read),
        cmocka_unit_test(a_given_cluster_id_is_told_instead_of_the_brokers),
        cmocka_unit_test(topics_are_told_apart),
        cmocka_unit_test(a_broker_that_goes_and_comes_back_costs_no_record),
        cmocka_unit_test(errors_of_the_broker_are_survived_and_no_record_lost_or_repeated),
        cmocka_unit_test(a_backlog_larger_than_the_queue_drains_without_waiting_for_librdkafka),
    };

    fr_log_level_set(FR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
