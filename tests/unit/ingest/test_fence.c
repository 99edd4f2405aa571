/* What somebody left open: of whom it is, whether it still is, and that he is fenced only then. The mock has no transactions and no groups. */
#include "harness.h"

#include "group_internal.h"

static struct {
    int64_t stable; /* as brokers say it */
    bool is_silent; /* they do not */
    int fenced;
} played;

static const rd_kafka_ConsumerGroupDescription_t *const empty_group = (const rd_kafka_ConsumerGroupDescription_t *)&played;

/* Prototypes for --wrap. */
bool __wrap_ingest_marks__ask(rd_kafka_t *client, const char *topic, const int32_t *partitions, int count, int64_t at,
                              int timeout_ms, int64_t *marks, struct fr_err *err);
rd_kafka_error_t *__wrap_rd_kafka_init_transactions(rd_kafka_t *client, int timeout_ms);
void __wrap_rd_kafka_DescribeConsumerGroups(rd_kafka_t *client, const char **groups, size_t count,
                                            const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *answers);
rd_kafka_event_t *__wrap_rd_kafka_queue_poll(rd_kafka_queue_t *answers, int timeout_ms);
const rd_kafka_DescribeConsumerGroups_result_t *__wrap_rd_kafka_event_DescribeConsumerGroups_result(rd_kafka_event_t *event);
const rd_kafka_ConsumerGroupDescription_t **
__wrap_rd_kafka_DescribeConsumerGroups_result_groups(const rd_kafka_DescribeConsumerGroups_result_t *result, size_t *count);
const rd_kafka_error_t *__wrap_rd_kafka_ConsumerGroupDescription_error(const rd_kafka_ConsumerGroupDescription_t *group);
size_t __wrap_rd_kafka_ConsumerGroupDescription_member_count(const rd_kafka_ConsumerGroupDescription_t *group);

bool __wrap_ingest_marks__ask(rd_kafka_t *client, const char *topic, const int32_t *partitions, int count, int64_t at,
                              int timeout_ms, int64_t *marks, struct fr_err *err)
{
    (void)client, (void)topic, (void)partitions, (void)timeout_ms;
    assert_true(count == 1 && at == RD_KAFKA_OFFSET_END);
    marks[0] = played.stable;
    return !played.is_silent || fr_fail(err, FR_UNAVAILABLE, "no broker answers");
}

rd_kafka_error_t *__wrap_rd_kafka_init_transactions(rd_kafka_t *client, int timeout_ms)
{
    (void)client, (void)timeout_ms;
    played.fenced++;
    return NULL;
}

/* Nobody is in the group. */
void __wrap_rd_kafka_DescribeConsumerGroups(rd_kafka_t *client, const char **groups, size_t count,
                                            const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *answers)
{
    (void)client, (void)groups, (void)count, (void)options, (void)answers;
}

rd_kafka_event_t *__wrap_rd_kafka_queue_poll(rd_kafka_queue_t *answers, int timeout_ms)
{
    (void)answers, (void)timeout_ms;
    return NULL;
}

const rd_kafka_DescribeConsumerGroups_result_t *__wrap_rd_kafka_event_DescribeConsumerGroups_result(rd_kafka_event_t *event)
{
    (void)event;
    return (const rd_kafka_DescribeConsumerGroups_result_t *)&played;
}

const rd_kafka_ConsumerGroupDescription_t **
__wrap_rd_kafka_DescribeConsumerGroups_result_groups(const rd_kafka_DescribeConsumerGroups_result_t *result, size_t *count)
{
    static const rd_kafka_ConsumerGroupDescription_t *groups[1];

    (void)result;
    groups[0] = empty_group;
    *count = 1;
    return groups;
}

const rd_kafka_error_t *__wrap_rd_kafka_ConsumerGroupDescription_error(const rd_kafka_ConsumerGroupDescription_t *group)
{
    (void)group;
    return NULL;
}

size_t __wrap_rd_kafka_ConsumerGroupDescription_member_count(const rd_kafka_ConsumerGroupDescription_t *group)
{
    (void)group;
    return 0;
}

struct scene {
    struct cluster cluster;
    struct ingest_group *group;
};

/* In "t" lies one record, of b's. */
static void put_record(const struct scene *scene)
{
    struct ingest_client office = {.role = INGEST_OFFICE, .brokers = scene->cluster.brokers};
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    struct fr_err err;
    rd_kafka_t *client;

    assert_true(ingest_client__new(&office, &client, &err));
    rd_kafka_header_add(headers, INGEST_TRANSACTION_HEADER, -1, "b", -1);
    assert_int_equal(rd_kafka_producev(client, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("x", 1),
                                       RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(client, WAIT_MS), 0);
    rd_kafka_destroy(client);
}

static int setup(void **state)
{
    struct ingest_group_options options = {
        .group = "shop", .instance = "a", .assigned = never_assigned, .revoked = never_revoked};
    struct scene *scene = calloc(1, sizeof *scene);
    struct fr_err err;

    assert_non_null(scene);
    cluster_init(&scene->cluster);
    cluster_topic(&scene->cluster, "t", 1);
    options.brokers = scene->cluster.brokers;
    if (!ingest_group_open(&options, &scene->group, &err))
        fail_msg("%s", err.message);
    put_record(scene);
    memset(&played, 0, sizeof played);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;

    ingest_group_close(scene->group);
    cluster_fini(&scene->cluster);
    free(scene);
    return 0;
}

static bool end(struct scene *scene, bool *is_ended, struct fr_err *err)
{
    char instance[INGEST_NAME_BYTES];
    int64_t until_ms = fr_clock_monotonic_ms() + WAIT_MS;
    bool is_told;

    do /* a broker may be slow to give the record */
        is_told = ingest_group_end(scene->group, "t", 0, 0, instance, is_ended, err);
    while (!instance[0] && fr_clock_monotonic_ms() < until_ms);
    assert_string_equal(instance, "b");
    return is_told;
}

static void what_a_stranger_to_the_group_left_open_is_ended(void **state)
{
    struct fr_err err;
    bool is_ended;

    assert_true(end(*state, &is_ended, &err));
    assert_true(is_ended);
    assert_int_equal(played.fenced, 1);
}

/* He was drained, or comes: he would end of it. */
static void whose_transaction_is_over_is_not_fenced(void **state)
{
    struct fr_err err;
    bool is_ended;

    played.stable = 2;
    assert_true(end(*state, &is_ended, &err));
    assert_false(is_ended);
    assert_int_equal(played.fenced, 0);
}

static void while_nobody_says_whether_it_is_open_nobody_is_fenced(void **state)
{
    struct fr_err err;
    bool is_ended;

    played.is_silent = true;
    assert_false(end(*state, &is_ended, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_int_equal(played.fenced, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_stranger_to_the_group_left_open_is_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_transaction_is_over_is_not_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(while_nobody_says_whether_it_is_open_nobody_is_fenced, setup, teardown),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
