/* Asking who is in a group, of brokers that are not there. */
#include "harness.h"

#include <freshet/group.h>

enum { LATER_MS = 2500 };

/* librdkafka 2.0.2 ends the process, or its own thread stands still, when a coordinator turns up that a question has waited for in vain. */
static void a_coordinator_that_turns_up_too_late_ends_nothing(void **state)
{
    struct ingest_group_options options = {
        .group = "shop", .instance = "a", .assigned = never_assigned, .revoked = never_revoked};
    struct ingest_members members;
    struct ingest_group *group;
    struct cluster cluster;
    struct fr_err err;
    int64_t until_ms, low, end;
    int32_t partition = 0;
    bool is_well;

    (void)state;
    cluster_init(&cluster);
    cluster_topic(&cluster, "t", 1);
    options.brokers = cluster.brokers;
    if (!ingest_group_open(&options, &group, &err))
        fail_msg("%s", err.message);
    rd_kafka_mock_broker_set_down(cluster.mock, 1);
    assert_false(ingest_group_members(group, "a", &members, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "nobody says who is in group 'shop'"));

    rd_kafka_mock_broker_set_up(cluster.mock, 1);
    until_ms = fr_clock_monotonic_ms() + LATER_MS; /* by then whoever still searched would have found it */
    do
        is_well = ingest_group_marks(group, "t", &partition, 1, &low, &end, &err);
    while (fr_clock_monotonic_ms() < until_ms);
    if (!is_well)
        fail_msg("%s", err.message);
    assert_int_equal(end, 0);
    ingest_group_close(group);
    cluster_fini(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_coordinator_that_turns_up_too_late_ends_nothing)};

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
