/* Tails: a partition that librdkafka has forgotten is read on. */
#include "harness.h"

#include "group_internal.h"

#include <dlfcn.h>

enum { PARTITIONS = 4, RECORDS = 400 };

/* A start can be lost on its way, as if librdkafka had forgotten the partition. */
static int starts, starts_to_lose;
static rd_kafka_mock_cluster_t *dying; /* its third broker does so as a tail starts */

int rd_kafka_consume_start_queue(rd_kafka_topic_t *handle, int32_t partition, int64_t offset, rd_kafka_queue_t *queue)
{
    int (*real)(rd_kafka_topic_t *, int32_t, int64_t, rd_kafka_queue_t *);

    starts++;
    if (dying)
        rd_kafka_mock_broker_set_down(dying, 3);
    if (starts_to_lose > 0) {
        starts_to_lose--;
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "rd_kafka_consume_start_queue");
    return real(handle, partition, offset, queue);
}

static struct ingest_tail *open_tail(struct ingest_group *group)
{
    static const int32_t numbers[PARTITIONS] = {0, 1, 2, 3};
    static const int64_t begin[PARTITIONS];
    struct ingest_client client = {.role = INGEST_WITNESS, .brokers = group->options.brokers};
    struct ingest_tail_options options = {
        .topic = "t", .partitions = numbers, .starts = begin, .count = PARTITIONS, .queue_bytes = 4 << 20};
    struct ingest_tail *tail = NULL;
    struct fr_err err;

    if (!ingest_client__new(&client, &group->member, &err) || !ingest_tail_open(group, &options, &tail, &err))
        fail_msg("%s", err.message);
    return tail;
}

static int read_some(struct ingest_tail *tail)
{
    struct ingest_tailed records[64];
    struct fr_err err;
    int count = ingest_tail_read(tail, records, 64, 50, &err);

    assert_true(count >= 0);
    return count;
}

static void a_partition_that_has_records_and_gives_none_is_started_again(void **state)
{
    struct cluster cluster;
    struct ingest_group group = {0};
    struct ingest_tail *tail = NULL;
    int count = 0;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", PARTITIONS);
    fill(&cluster, "t", PARTITIONS, 0, RECORDS);
    group.options.brokers = cluster.brokers;
    starts_to_lose = 2;
    tail = open_tail(&group);
    wait_until((count += read_some(tail)) == RECORDS);
    assert_int_equal(starts, PARTITIONS + 2); /* those that were read were left alone */
    assert_true(ingest_tail_is_through(tail));
    ingest_tail_close(tail);
    rd_kafka_destroy(group.member);
    cluster_fini(&cluster);
}

/* The third leads one partition. */
static void cluster_of_three(struct cluster *cluster)
{
    struct ingest_client client = {.role = INGEST_BROKER};
    struct fr_err err;

    assert_true(ingest_client__new(&client, &cluster->client, &err));
    cluster->mock = rd_kafka_mock_cluster_new(cluster->client, 3);
    cluster->brokers = rd_kafka_mock_cluster_bootstraps(cluster->mock);
    cluster_topic(cluster, "t", PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_mock_partition_set_leader(cluster->mock, "t", i, i % 3 + 1);
    fill(cluster, "t", PARTITIONS, 0, RECORDS);
}

/* Whoever opens a tail as a broker dies goes by leaders as they were. */
static void where_a_leader_died_the_next_one_is_read(void **state)
{
    struct cluster cluster;
    struct ingest_group group = {0};
    struct ingest_tail *tail = NULL;
    int count = 0;

    (void)state;
    cluster_of_three(&cluster);
    group.options.brokers = cluster.brokers;
    dying = cluster.mock;
    tail = open_tail(&group);
    wait_until((count += read_some(tail)) >= RECORDS / PARTITIONS * (PARTITIONS - 1));
    rd_kafka_mock_partition_set_leader(cluster.mock, "t", 2, 1);
    wait_until((count += read_some(tail)) == RECORDS);
    dying = NULL;
    assert_true(ingest_tail_is_through(tail));
    ingest_tail_close(tail);
    rd_kafka_destroy(group.member);
    cluster_fini(&cluster);
}

/* librdkafka has a question go on for as long as the leader is away that it began with. */
static void a_leader_that_is_away_is_not_waited_for(void **state)
{
    static const int32_t numbers[PARTITIONS] = {0, 1, 2, 3};
    struct ingest_client client = {.role = INGEST_WITNESS};
    struct ingest_group group = {0};
    struct cluster cluster;
    int64_t lows[PARTITIONS], ends[PARTITIONS], began_ms;
    struct fr_err err;

    (void)state;
    cluster_of_three(&cluster);
    client.brokers = group.options.brokers = cluster.brokers;
    assert_true(ingest_client__new(&client, &group.member, &err));
    wait_until(ingest_group_marks(&group, "t", numbers, PARTITIONS, lows, ends, &err));
    for (int i = 0; i < PARTITIONS; i++)
        assert_true(lows[i] == 0 && ends[i] == RECORDS / PARTITIONS);
    rd_kafka_mock_broker_set_down(cluster.mock, 3);
    began_ms = fr_clock_monotonic_ms();
    assert_false(ingest_group_marks(&group, "t", numbers, PARTITIONS, lows, ends, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_true(fr_clock_monotonic_ms() - began_ms < WAIT_MS / 2);
    rd_kafka_mock_partition_set_leader(cluster.mock, "t", 2, 1);
    wait_until(ingest_group_marks(&group, "t", numbers, PARTITIONS, lows, ends, &err));
    rd_kafka_destroy(group.member);
    cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_that_has_records_and_gives_none_is_started_again),
        cmocka_unit_test(where_a_leader_died_the_next_one_is_read),
        cmocka_unit_test(a_leader_that_is_away_is_not_waited_for),
    };

    fr_log_level_set(FR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
