/* The properties of clients: what a user may set, and what not. */
#include "harness.h"

static bool try_property(enum ingest_role role, const char *name, const char *value, struct fr_err *err)
{
    struct ingest_property property = {name, value};
    struct ingest_client client = {
        .role = role, .brokers = "127.0.0.1:1", .properties = &property, .property_count = 1, .queue_bytes = 64 << 20};
    rd_kafka_t *made;

    if (!ingest_client__new(&client, &made, err))
        return false;
    rd_kafka_destroy(made);
    return true;
}

static void a_property_of_the_other_kind_of_client_is_harmless(void **state)
{
    struct fr_err err;

    (void)state;
    assert_true(try_property(INGEST_CONSUMER, "compression.type", "zstd", &err));
    assert_true(try_property(INGEST_OFFICE, "fetch.min.bytes", "1", &err));
    assert_true(try_property(INGEST_PRODUCER, "isolation.level", "read_uncommitted", &err));
    assert_true(try_property(INGEST_CONSUMER, "acks", "1", &err));
}

static void an_unknown_property_or_value_is_refused_by_name(void **state)
{
    struct fr_err err;

    (void)state;
    assert_false(try_property(INGEST_CONSUMER, "fetch.min.byte", "1", &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "fetch.min.byte"));
    assert_false(try_property(INGEST_PRODUCER, "linger.ms", "soon", &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "linger.ms"));
}

static void what_exactness_needs_is_refused_with_the_reason(void **state)
{
    static const char *const names[] = {
        "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof",
        "group.id",           "bootstrap.servers",        "transactional.id"};
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_false(try_property(INGEST_CONSUMER, names[i], "true", &err));
        assert_int_equal(err.code, FR_BAD_CONFIG);
        assert_non_null(strstr(err.message, names[i]));
        assert_non_null(strstr(err.message, "Freshet's own: "));
    }
}

static void the_users_isolation_level_and_sizes_are_taken(void **state)
{
    struct fr_err err;

    (void)state;
    assert_true(try_property(INGEST_CONSUMER, "isolation.level", "read_uncommitted", &err));
    assert_true(try_property(INGEST_CONSUMER, "message.max.bytes", "20000000", &err));
    assert_true(try_property(INGEST_CONSUMER, "queued.max.messages.kbytes", "2048", &err));
    assert_true(try_property(INGEST_OFFICE, "enable.idempotence", "true", &err));
}

static void the_users_number_is_the_last_one_given(void **state)
{
    struct ingest_property properties[] = {{"linger.ms", "3"}, {"linger.ms", "7"}, {"acks", "all"}};

    (void)state;
    assert_int_equal(ingest_client__number(properties, 3, "linger.ms", 1), 7);
    assert_int_equal(ingest_client__number(properties, 3, "acks", 1), 1);
    assert_int_equal(ingest_client__number(properties, 3, "batch.size", 1), 1);
}

static void opening_a_consumer_with_a_wrong_property_fails_at_once(void **state)
{
    struct ingest_property property = {"enable.auto.commit", "true"};
    struct consumer consumer;
    struct sink sink;
    struct fr_err err;

    (void)state;
    sink_init(&sink);
    consumer_init(&consumer, "127.0.0.1:1", "t", &sink);
    consumer.options.properties = &property;
    consumer.options.property_count = 1;
    assert_false(ingest_open(&consumer.options, &consumer.ingest, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    consumer_close(&consumer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_property_of_the_other_kind_of_client_is_harmless),
        cmocka_unit_test(an_unknown_property_or_value_is_refused_by_name),
        cmocka_unit_test(what_exactness_needs_is_refused_with_the_reason),
        cmocka_unit_test(the_users_isolation_level_and_sizes_are_taken),
        cmocka_unit_test(the_users_number_is_the_last_one_given),
        cmocka_unit_test(opening_a_consumer_with_a_wrong_property_fails_at_once),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
