/*
 * Large records through a queue that holds a sixteenth of them: once it was full, librdkafka looks once a second whether it has room
 * again, unless it is asked for something. Who asks is done long before. Whoever reads has some work with each batch, or else a queue
 * is never full.
 */
#include "harness.h"

#include "group_internal.h"

enum {
    PARTITIONS = 16,
    RECORDS = 4096,
    TEXT_BYTES = 16000,
    QUEUE_BYTES = 8 << 20,
    LOOKS = 16,
    LOOK_MS = 1000,
    BATCH = 64,
    WORK_MS = 5
};

/* Such as lz4 makes no smaller: else an answer of the broker would be far larger than was asked for. */
static void make_text(char *text, uint64_t seed)
{
    for (int i = 0; i < TEXT_BYTES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        text[i] = (char)('0' + (seed >> 33) % 64);
    }
}

static void fill_large(const struct cluster *cluster)
{
    struct ingest_producer *producer = producer_open(cluster);
    static char text[TEXT_BYTES];
    struct fr_buffer buffer;

    fr_buffer_init(&buffer);
    for (int i = 0; i < RECORDS; i++) {
        struct proto_event event = {
            .event_id = (uint64_t)i + 1, .ts_ms = 1000, .user_id = 7, .action = 3, .text = fr_slice(text, sizeof text)};

        make_text(text, event.event_id);
        fr_buffer_clear(&buffer);
        proto_event_encode(&event, &buffer);
        send_bytes(producer, "t", i % PARTITIONS, fr_buffer_slice(&buffer));
    }
    flush(producer);
    fr_buffer_fini(&buffer);
    ingest_producer_close(producer);
}

static int setup(void **state)
{
    static struct cluster cluster;

    cluster_init(&cluster);
    cluster_topic(&cluster, "t", PARTITIONS);
    fill_large(&cluster);
    *state = &cluster;
    return 0;
}

static int teardown(void **state)
{
    cluster_fini(*state);
    return 0;
}

/* Milliseconds from the first record to the last. */
static int64_t drain(struct cluster *cluster, uint64_t queue_bytes)
{
    struct consumer consumer;
    struct sink sink;
    int64_t began_ms, took_ms;

    sink_init(&sink);
    consumer_init(&consumer, cluster->brokers, "t", &sink);
    consumer.options.lanes = 1;
    consumer.options.batch_max = BATCH;
    sink.pause_ms = WORK_MS;
    consumer.options.queue_bytes = queue_bytes;
    consumer_open(&consumer);
    wait_until(sink_records(&sink) > 0);
    began_ms = fr_clock_monotonic_ms();
    wait_until(sink_records(&sink) >= RECORDS);
    took_ms = fr_clock_monotonic_ms() - began_ms;
    consumer_close(&consumer);
    assert_int_equal(sink.event_ids_sum, (uint64_t)RECORDS * (RECORDS + 1) / 2);
    return took_ms;
}

static int64_t follow(struct cluster *cluster, uint64_t queue_bytes)
{
    struct ingest_client client = {.role = INGEST_WITNESS, .brokers = cluster->brokers};
    struct ingest_group group = {.options.brokers = cluster->brokers};
    int32_t numbers[PARTITIONS];
    int64_t starts[PARTITIONS], began_ms, took_ms;
    struct ingest_tail_options options = {
        .topic = "t", .partitions = numbers, .starts = starts, .count = PARTITIONS, .queue_bytes = queue_bytes};
    struct ingest_tail *tail = NULL;
    struct fr_err err;

    for (int i = 0; i < PARTITIONS; i++) {
        numbers[i] = i;
        starts[i] = 0;
    }
    if (!ingest_client__new(&client, &group.member, &err) || !ingest_tail_open(&group, &options, &tail, &err))
        fail_msg("%s", err.message);
    began_ms = fr_clock_monotonic_ms();
    for (int count = 0; count < RECORDS && fr_clock_monotonic_ms() - began_ms < WAIT_MS;) {
        struct ingest_tailed records[BATCH];

        count += ingest_tail_read(tail, records, BATCH, 100, &err);
        fr_clock_sleep_ms(WORK_MS);
    }
    took_ms = fr_clock_monotonic_ms() - began_ms;
    assert_true(ingest_tail_is_through(tail));
    ingest_tail_close(tail);
    rd_kafka_destroy(group.member);
    return took_ms;
}

static void check(struct cluster *cluster, int64_t (*read)(struct cluster *, uint64_t))
{
    int64_t at_once_ms = read(cluster, (uint64_t)1 << 30), took_ms = read(cluster, QUEUE_BYTES);

    print_message("%d ms, and %d where the queue takes all\n", (int)took_ms, (int)at_once_ms);
    assert_true(took_ms < 2 * at_once_ms + LOOKS * LOOK_MS / 8);
}

static void a_lane_reads_large_events_without_waiting_for_librdkafka(void **state)
{
    check(*state, drain);
}

static void a_tail_reads_large_records_without_waiting_for_librdkafka(void **state)
{
    check(*state, follow);
}

/* A lane may read all of a full queue at once, and the next time it is full is too late. */
static void one_read_is_enough_to_know_large_records(void **state)
{
    rd_kafka_message_t large = {.len = TEXT_BYTES}, *messages[] = {&large, &large};
    struct ingest_fetched fetched = {.queue_bytes = QUEUE_BYTES, .peak = QUEUE_BYTES / TEXT_BYTES / 2};
    struct cluster *cluster = *state;
    rd_kafka_queue_t *empty = rd_kafka_queue_new(cluster->client);

    assert_false(ingest_fetched__is_hungry(&fetched, empty)); /* of small ones so many are not much */
    ingest_fetched__take(&fetched, messages, 2);
    assert_true(ingest_fetched__is_hungry(&fetched, empty));
    assert_false(ingest_fetched__is_hungry(&fetched, empty)); /* it was told */
    rd_kafka_queue_destroy(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_reads_large_events_without_waiting_for_librdkafka),
        cmocka_unit_test(a_tail_reads_large_records_without_waiting_for_librdkafka),
        cmocka_unit_test(one_read_is_enough_to_know_large_records),
    };

    fr_log_level_set(FR_LOG_ERROR);
    return cmocka_run_group_tests(tests, setup, teardown);
}
