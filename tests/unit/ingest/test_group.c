/* A member of a group: what it keeps when its partitions are asked back. */
#include "harness.h"

#include "group_internal.h"

struct member {
    struct cluster cluster;
    struct ingest_group *group;
    bool is_closing; /* the node: it does not settle what it has */
    atomic_int assigned, revoked;
    struct fr_err why; /* it failed */
    atomic_bool is_failed;
};

static bool on_assigned(void *user, const int32_t *partitions, int count, struct fr_err *err)
{
    struct member *member = user;

    (void)partitions, (void)err;
    if (count > 0)
        atomic_fetch_add(&member->assigned, 1);
    return true;
}

static bool on_revoked(void *user, bool is_lost, bool *is_settled, struct fr_err *err)
{
    struct member *member = user;

    (void)err;
    assert_false(is_lost);
    *is_settled = !member->is_closing;
    atomic_fetch_add(&member->revoked, 1);
    return true;
}

static void on_failure(void *user, const struct fr_err *err)
{
    (void)user;
    fail_msg("%s", err->message);
}

/* Until it has its partitions. */
static void begin(struct member *member, bool (*revoked)(void *user, bool is_lost, bool *is_settled, struct fr_err *err),
                  void (*fatal)(void *user, const struct fr_err *err))
{
    static const char *const topics[] = {"t"};
    static const struct ingest_property properties[] = {{"heartbeat.interval.ms", "100"}};
    struct ingest_group_options options = {.group = "shop",
                                           .instance = "a",
                                           .topics = topics,
                                           .topic_count = 1,
                                           .properties = properties,
                                           .property_count = 1,
                                           .user = member,
                                           .assigned = on_assigned,
                                           .revoked = revoked,
                                           .fatal = fatal};
    struct fr_err err;

    cluster_init(&member->cluster);
    cluster_topic(&member->cluster, "t", 4);
    options.brokers = member->cluster.brokers;
    if (!ingest_group_open(&options, &member->group, &err))
        fail_msg("%s", err.message);
    while (!ingest_group_fence(member->group, &err))
        assert_int_equal(err.code, FR_UNAVAILABLE); /* the coordinator is being found */
    if (!ingest_group_join(member->group, &err))
        fail_msg("%s", err.message);
    wait_until(atomic_load(&member->assigned) == 1);
}

/* Until it has been told to leave, and its thread has ended. */
static void run(struct member *member)
{
    begin(member, on_revoked, on_failure);
    ingest_group_drain(member->group, true);
    wait_until(atomic_load(&member->revoked) == 1);
    ingest_group_stop(member->group);
}

static void end(struct member *member)
{
    ingest_group_close(member->group);
    cluster_fini(&member->cluster);
}

static void who_has_settled_what_it_had_can_commit_nothing_any_more(void **state)
{
    struct member member = {.is_closing = false};

    (void)state;
    run(&member);
    assert_null(member.group->metadata);
    end(&member);
}

/* The committer may be in the middle of a transaction, with the generation in its hands. */
static void who_closes_while_partitions_are_asked_back_keeps_what_a_transaction_needs(void **state)
{
    struct member member = {.is_closing = true};

    (void)state;
    run(&member);
    assert_non_null(member.group->metadata);
    end(&member);
}

/* Whatever else librdkafka says on that occasion. */
static void keep_reason(void *user, const struct fr_err *err)
{
    struct member *member = user;

    member->why = *err;
    atomic_store(&member->is_failed, true);
}

static bool on_lost(void *user, bool is_lost, bool *is_settled, struct fr_err *err)
{
    (void)user;
    *is_settled = false;
    return !is_lost || fr_fail(err, FR_UNAVAILABLE, "it was away for too long");
}

static void who_is_fenced_is_told_that_another_has_its_name(void **state)
{
    enum { HEARTBEAT = 12 };
    struct member member = {.is_closing = false};

    (void)state;
    begin(&member, on_lost, keep_reason);
    rd_kafka_mock_push_request_errors(member.cluster.mock, HEARTBEAT, 1, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    wait_until(atomic_load(&member.is_failed));
    assert_non_null(strstr(member.why.message, "another process runs with node.id 'a'"));
    end(&member);
}

static bool put_one(struct ingest_group *group, int64_t *offset, struct fr_err *err)
{
    struct ingest_put put = {.topic = "t", .partition = 1, .key = fr_slice_of("k"), .value = fr_slice_of("v")};
    struct ingest_consumed consumed = {"t", 1, 5};

    return ingest_transaction_begin(group, err) && ingest_transaction_put(group, &put, offset, err) &&
           ingest_transaction_commit(group, &consumed, 1, err);
}

/* Committed without it the store would have the partition up to offset 0. */
static void a_record_whose_offset_is_needed_and_nobody_tells_is_taken_back(void **state)
{
    enum { PRODUCE = 0 };
    struct member member = {.is_closing = false};
    int64_t offset = -1;
    struct fr_err err;

    (void)state;
    begin(&member, on_revoked, on_failure);
    rd_kafka_mock_push_request_errors(member.cluster.mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
    assert_false(put_one(member.group, &offset, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_true(ingest_transaction_take_back(member.group, &err)); /* so that it is put once more */
    end(&member);
}

/* As its coordinator may say for a minute when a broker died as the last transaction was being written down. */
static void a_transaction_that_does_not_get_on_is_taken_back_long_before_its_records_time_out(void **state)
{
    enum { ADD_PARTITIONS = 24, END = 26, MANY = 2000 };
    static rd_kafka_resp_err_t busy[MANY];
    struct member member = {.is_closing = false};
    int64_t offset = -1, patience_ms;
    struct fr_err err;

    (void)state;
    for (int i = 0; i < MANY; i++)
        busy[i] = RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
    begin(&member, on_revoked, on_failure);
    if (!put_one(member.group, &offset, &err))
        fail_msg("%s", err.message);
    patience_ms = member.group->stall_ms;
    member.group->stall_ms = 1000;
    rd_kafka_mock_push_request_errors_array(member.cluster.mock, ADD_PARTITIONS, MANY, busy);
    rd_kafka_mock_push_request_errors(member.cluster.mock, END, 1, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE); /* it knows of none */
    assert_false(put_one(member.group, &offset, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    rd_kafka_mock_clear_request_errors(member.cluster.mock, ADD_PARTITIONS);
    if (!ingest_transaction_take_back(member.group, &err))
        fail_msg("%s", err.message);
    rd_kafka_mock_clear_request_errors(member.cluster.mock, END);
    member.group->stall_ms = patience_ms;
    offset = -1;
    if (!put_one(member.group, &offset, &err))
        fail_msg("%s", err.message);
    assert_true(offset >= 0);
    end(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_settled_what_it_had_can_commit_nothing_any_more),
        cmocka_unit_test(who_closes_while_partitions_are_asked_back_keeps_what_a_transaction_needs),
        cmocka_unit_test(who_is_fenced_is_told_that_another_has_its_name),
        cmocka_unit_test(a_record_whose_offset_is_needed_and_nobody_tells_is_taken_back),
        cmocka_unit_test(a_transaction_that_does_not_get_on_is_taken_back_long_before_its_records_time_out),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
