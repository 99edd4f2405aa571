/* Closing comes back, whatever the broker, the topic and the sink are doing. */
#include "harness.h"

enum { ROUNDS = 12, CLOSE_MS = 5000 };

static void close_in_time(struct consumer *consumer)
{
    int64_t began_ms = fr_clock_monotonic_ms();

    ingest_stop(consumer->ingest);
    assert_true(ingest_close(consumer->ingest, CLOSE_MS));
    assert_true(fr_clock_monotonic_ms() - began_ms < CLOSE_MS);
    fr_metrics_free(consumer->metrics);
}

static void an_unreachable_broker_is_retried_and_closing_is_quick(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct consumer consumer;
        struct sink sink;

        sink_init(&sink);
        consumer_init(&consumer, "127.0.0.1:1", "t", &sink);
        consumer.options.dead_letters = "dead";
        consumer_open(&consumer);
        fr_clock_sleep_ms(i * 10); /* before, during and after the first attempt */
        assert_false(ingest_is_connected(consumer.ingest));
        assert_false(ingest_is_assigned(consumer.ingest));
        close_in_time(&consumer);
        assert_int_equal(sink.clusters + sink.fatals, 0);
    }
}

static void closing_is_quick_at_any_moment_of_the_start(void **state)
{
    struct cluster cluster;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 8);
    cluster_topic(&cluster, "dead", 1);
    fill(&cluster, "t", 8, 0, 8000);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        struct consumer consumer;
        struct sink sink;

        sink_init(&sink);
        sink.pause_ms = i % 3;
        consumer_init(&consumer, cluster.brokers, "t", &sink);
        consumer.options.dead_letters = "dead";
        consumer_open(&consumer);
        fr_clock_sleep_ms(3 * i);
        close_in_time(&consumer);
        assert_int_equal(sink.fatals, 0);
    }
    cluster_fini(&cluster);
}

static void closing_is_quick_when_the_broker_has_gone(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS / 2; i++) {
        struct cluster cluster;
        struct consumer consumer;
        struct sink sink;

        cluster_init(&cluster);
        cluster_topic(&cluster, "t", 4);
        fill(&cluster, "t", 4, 0, 400);
        sink_init(&sink);
        consumer_init(&consumer, cluster.brokers, "t", &sink);
        consumer_open(&consumer);
        if (i % 2)
            wait_until(sink_records(&sink) == 400);
        rd_kafka_mock_broker_set_down(cluster.mock, 1);
        ingest_offsets_commit(consumer.ingest, (const int64_t[]){1, 1, 1, 1}, 4);
        fr_clock_sleep_ms(i * 40);
        close_in_time(&consumer);
        cluster_fini(&cluster);
    }
}

static void closing_is_quick_while_a_topic_is_missing(void **state)
{
    struct cluster cluster;

    (void)state;
    cluster_init(&cluster);
    for (int i = 0; i < ROUNDS; i++) {
        struct consumer consumer;
        struct sink sink;

        sink_init(&sink);
        consumer_init(&consumer, cluster.brokers, "absent", &sink);
        consumer_open(&consumer);
        if (i % 2)
            wait_until(sink_clusters(&sink) == 1);
        close_in_time(&consumer);
        assert_int_equal(sink.fatals, 0);
    }
    cluster_fini(&cluster);
}

static void a_batch_that_does_not_end_makes_closing_give_up_at_the_deadline(void **state)
{
    static struct consumer consumer; /* what is abandoned is used behind us */
    static struct sink abandoned;
    struct sink *sink = &abandoned;
    struct cluster cluster;
    int64_t began_ms;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    fill(&cluster, "t", 1, 0, 1);
    sink_init(sink);
    sink->start[0] = 0; /* so that the only batch is the one with the record */
    sink->pause_ms = 1500;
    consumer_init(&consumer, cluster.brokers, "t", sink);
    consumer_open(&consumer);
    wait_until(sink_entered(sink) == 1);
    began_ms = fr_clock_monotonic_ms();
    assert_false(ingest_close(consumer.ingest, 200));
    assert_true(fr_clock_monotonic_ms() - began_ms < 1200);
    wait_until(sink_records(sink) == 1); /* the stuck batch ends; then the rest closes */
    cluster_fini(&cluster);
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    assert_true(ingest_close(NULL, 0));
    ingest_broker_stop(NULL);
    ingest_producer_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unreachable_broker_is_retried_and_closing_is_quick),
        cmocka_unit_test(closing_is_quick_at_any_moment_of_the_start),
        cmocka_unit_test(closing_is_quick_when_the_broker_has_gone),
        cmocka_unit_test(closing_is_quick_while_a_topic_is_missing),
        cmocka_unit_test(a_batch_that_does_not_end_makes_closing_give_up_at_the_deadline),
        cmocka_unit_test(closing_nothing_is_fine),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
