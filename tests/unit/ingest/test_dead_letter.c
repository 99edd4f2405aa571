/* Dead letters: what cannot be read is kept as it came, and is in Kafka before anything that depends on it. */
#include "harness.h"

enum { PRODUCE_REQUEST = 0, HEADERS_MAX = 8 };

struct letter { /* as somebody else reads it */
    char headers[HEADERS_MAX][2][128];
    int header_count;
    char key[64];
    char value[64];
    size_t value_bytes;
    bool has_value;
};

static const char *header(const struct letter *letter, const char *name)
{
    for (int i = 0; i < letter->header_count; i++)
        if (strcmp(letter->headers[i][0], name) == 0)
            return letter->headers[i][1];
    return "(none)";
}

static void copy_letter(const rd_kafka_message_t *message, struct letter *letter)
{
    rd_kafka_headers_t *headers;
    const void *value;
    const char *name;
    size_t bytes;

    memset(letter, 0, sizeof *letter);
    letter->has_value = message->payload != NULL;
    letter->value_bytes = message->len;
    memcpy(letter->key, message->key, message->key_len < 63 ? message->key_len : 63);
    if (message->len > 0)
        memcpy(letter->value, message->payload, message->len < 63 ? message->len : 63);
    assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
    while (rd_kafka_header_get_all(headers, (size_t)letter->header_count, &name, &value, &bytes) == 0) {
        snprintf(letter->headers[letter->header_count][0], 128, "%s", name);
        snprintf(letter->headers[letter->header_count][1], 128, "%.*s", (int)bytes, (const char *)value);
        letter->header_count++;
    }
}

/* The first `count` letters of the topic's only partition. */
static void read_letters(const struct cluster *cluster, const char *topic, int count, struct letter *letters)
{
    struct ingest_client client = {.role = INGEST_CONSUMER, .brokers = cluster->brokers, .queue_bytes = 64 << 20};
    rd_kafka_topic_t *handle;
    rd_kafka_t *reader;
    struct fr_err err;
    int read = 0;

    assert_true(ingest_client__new(&client, &reader, &err));
    handle = rd_kafka_topic_new(reader, topic, NULL);
    assert_int_equal(rd_kafka_consume_start(handle, 0, 0), 0);
    while (read < count) {
        rd_kafka_message_t *message = rd_kafka_consume(handle, 0, WAIT_MS);

        assert_non_null(message);
        if (!message->err)
            copy_letter(message, &letters[read++]);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(handle, 0);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(reader);
}

struct scene {
    struct cluster cluster;
    struct consumer consumer;
    struct sink sink;
    struct ingest_producer *producer;
};

static void scene_init(struct scene *scene, enum proto_format format)
{
    cluster_init(&scene->cluster);
    cluster_topic(&scene->cluster, "t", 1);
    cluster_topic(&scene->cluster, "dead", 1);
    sink_init(&scene->sink);
    consumer_init(&scene->consumer, scene->cluster.brokers, "t", &scene->sink);
    scene->consumer.topic.format = format;
    scene->consumer.options.dead_letters = "dead";
    scene->producer = producer_open(&scene->cluster);
}

static void scene_fini(struct scene *scene)
{
    consumer_close(&scene->consumer);
    ingest_producer_close(scene->producer);
    cluster_fini(&scene->cluster);
}

static void flush_letters(struct scene *scene)
{
    struct fr_err err;

    if (!ingest_dead_letters_flush(scene->consumer.ingest, WAIT_MS, true, &err))
        fail_msg("%s", err.message);
}

static void check_letter(const struct letter *letter, const char *offset, const char *reason)
{
    assert_string_equal(header(letter, "topic"), "t");
    assert_string_equal(header(letter, "partition"), "0");
    assert_string_equal(header(letter, "offset"), offset);
    assert_string_equal(header(letter, "reason"), reason);
    assert_string_not_equal(header(letter, "error"), "(none)");
    assert_string_equal(header(letter, "truncated"), "(none)");
    assert_string_equal(letter->key, "7");
}

static void every_reason_has_its_letter_with_the_record_as_it_came(void **state)
{
    struct scene scene;
    struct letter letters[7];
    struct fr_buffer buffer;
    static char large[PROTO_EVENT_BYTES_MAX + 1];
    struct proto_event bad_value = {.event_id = 1, .ts_ms = 1000, .user_id = 1, .action = 3, .value = 1e300};

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    scene.consumer.options.properties = &(struct ingest_property){"compression.type", "none"};
    scene.consumer.options.property_count = 1;
    fr_buffer_init(&buffer);
    send_bytes(scene.producer, "t", 0, fr_slice(NULL, 0));
    send_bytes(scene.producer, "t", 0, fr_slice("", 0));
    send_bytes(scene.producer, "t", 0, fr_slice_of("not an event"));
    send_bytes(scene.producer, "t", 0, make_event(1, PROTO_TS_MS_END, &buffer));
    send_bytes(scene.producer, "t", 0, make_event(1, fr_clock_wall_ms() + 3600000, &buffer));
    fr_buffer_clear(&buffer);
    proto_event_encode(&bad_value, &buffer);
    send_bytes(scene.producer, "t", 0, fr_buffer_slice(&buffer));
    send_bytes(scene.producer, "t", 0, make_event(2, 1000, &buffer));
    fr_buffer_fini(&buffer);
    flush(scene.producer);
    ingest_producer_close(scene.producer);
    {
        struct ingest_property size = {"message.max.bytes", "4000000"};
        struct ingest_producer_options options = {.brokers = scene.cluster.brokers, .properties = &size, .property_count = 1};
        struct fr_err err;

        assert_true(ingest_producer_open(&options, &scene.producer, &err));
    }
    send_bytes(scene.producer, "t", 0, fr_slice(large, sizeof large));
    flush(scene.producer);

    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 8);
    flush_letters(&scene);
    assert_int_equal(sink_events(&scene.sink), 1);
    read_letters(&scene.cluster, "dead", 7, letters);
    check_letter(&letters[0], "0", "empty");
    assert_false(letters[0].has_value);
    check_letter(&letters[1], "1", "empty");
    assert_int_equal(letters[1].value_bytes, 0);
    check_letter(&letters[2], "2", "bad_protobuf");
    assert_string_equal(letters[2].value, "not an event");
    check_letter(&letters[3], "3", "bad_time");
    check_letter(&letters[4], "4", "future");
    check_letter(&letters[5], "5", "bad_value");
    check_letter(&letters[6], "7", "oversized");
    assert_int_equal(letters[6].value_bytes, sizeof large);
    assert_int_equal(consumer_count(&scene.consumer, "freshet_dead_letters_total", "reason=\"empty\""), 2);
    assert_int_equal(consumer_count(&scene.consumer, "freshet_dead_letters_total", "reason=\"oversized\""), 1);
    assert_int_equal(consumer_count(&scene.consumer, "freshet_ingest_records_total", "outcome=\"bad_time\""), 1);
    scene_fini(&scene);
}

static void json_that_is_none_is_a_dead_letter_and_the_next_record_is_read(void **state)
{
    struct scene scene;
    struct letter letter;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_JSON);
    send_bytes(scene.producer, "t", 0, fr_slice_of("{\"ts_ms\":"));
    send_bytes(scene.producer, "t", 0, fr_slice_of("{\"ts_ms\":1000,\"user_id\":3,\"action\":\"watch\"}"));
    send_bytes(scene.producer, "t", 0, fr_slice_of("{\"ts_ms\":1000,\"user_id\":3,\"action\":\"ponder\"}"));
    flush(scene.producer);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 3);
    flush_letters(&scene);
    assert_int_equal(sink_events(&scene.sink), 1);
    read_letters(&scene.cluster, "dead", 1, &letter);
    check_letter(&letter, "0", "bad_json");
    assert_int_equal(consumer_count(&scene.consumer, "freshet_ingest_records_total", "outcome=\"unknown_action\""), 1);
    scene_fini(&scene);
}

static void a_letter_that_kafka_finds_too_large_is_cut_and_says_so(void **state)
{
    struct scene scene;
    struct letter letter;
    static char large[700000];

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    memset(large, 0xff, sizeof large);
    send_bytes(scene.producer, "t", 0, fr_slice(large, sizeof large));
    flush(scene.producer);
    rd_kafka_mock_push_request_errors(scene.cluster.mock, PRODUCE_REQUEST, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 1);
    flush_letters(&scene);
    read_letters(&scene.cluster, "dead", 1, &letter);
    assert_int_equal(letter.value_bytes, 512 << 10);
    assert_string_equal(header(&letter, "truncated"), "700000");
    assert_string_equal(header(&letter, "reason"), "bad_protobuf");
    scene_fini(&scene);
}

static void letters_that_kafka_refuses_for_now_are_sent_again(void **state)
{
    struct scene scene;
    struct letter letters[3];

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    for (int i = 0; i < 3; i++)
        send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    rd_kafka_mock_push_request_errors(scene.cluster.mock, PRODUCE_REQUEST, 3, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 3);
    flush_letters(&scene);
    read_letters(&scene.cluster, "dead", 3, letters);
    assert_string_equal(letters[0].value, "?");
    scene_fini(&scene);
}

static void a_flush_that_kafka_does_not_answer_is_unavailable_and_a_later_one_succeeds(void **state)
{
    struct scene scene;
    struct fr_err err;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    rd_kafka_mock_push_request_errors(scene.cluster.mock, PRODUCE_REQUEST, 2, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 1);
    assert_false(ingest_dead_letters_flush(scene.consumer.ingest, 50, false, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    flush_letters(&scene);
    flush_letters(&scene);
    scene_fini(&scene);
}

static void a_flush_ends_when_ingest_is_stopped_unless_it_is_the_last(void **state)
{
    struct scene scene;
    struct fr_err err;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    for (int i = 0; i < 50; i++)
        rd_kafka_mock_push_request_errors(scene.cluster.mock, PRODUCE_REQUEST, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 1);
    ingest_stop(scene.consumer.ingest);
    assert_false(ingest_dead_letters_flush(scene.consumer.ingest, INT32_MAX, false, &err)); /* would wait for weeks */
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_false(ingest_dead_letters_flush(scene.consumer.ingest, 50, true, &err));
    scene_fini(&scene);
}

static void closing_with_letters_that_nobody_takes_is_quick_and_leaves_nothing(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    for (int i = 0; i < 100; i++)
        send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    rd_kafka_mock_push_request_errors(scene.cluster.mock, PRODUCE_REQUEST, 2, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 100);
    rd_kafka_mock_broker_set_down(scene.cluster.mock, 1);
    scene_fini(&scene); /* asserts that closing came back; the sanitizers look at the letters */
}

static void without_a_topic_letters_are_counted_only(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    scene.consumer.options.dead_letters = "";
    send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 1);
    flush_letters(&scene);
    assert_int_equal(consumer_count(&scene.consumer, "freshet_dead_letters_total", "reason=\"bad_protobuf\""), 1);
    scene_fini(&scene);
}

static void the_topic_of_dead_letters_is_made_when_it_is_missing(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, PROTO_FORMAT_PROTOBUF);
    scene.consumer.options.dead_letters = "other.dead";
    send_bytes(scene.producer, "t", 0, fr_slice_of("?"));
    flush(scene.producer);
    consumer_open(&scene.consumer);
    wait_until(sink_records(&scene.sink) == 1);
    flush_letters(&scene);
    scene_fini(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_its_letter_with_the_record_as_it_came),
        cmocka_unit_test(json_that_is_none_is_a_dead_letter_and_the_next_record_is_read),
        cmocka_unit_test(a_letter_that_kafka_finds_too_large_is_cut_and_says_so),
        cmocka_unit_test(letters_that_kafka_refuses_for_now_are_sent_again),
        cmocka_unit_test(a_flush_that_kafka_does_not_answer_is_unavailable_and_a_later_one_succeeds),
        cmocka_unit_test(a_flush_ends_when_ingest_is_stopped_unless_it_is_the_last),
        cmocka_unit_test(closing_with_letters_that_nobody_takes_is_quick_and_leaves_nothing),
        cmocka_unit_test(without_a_topic_letters_are_counted_only),
        cmocka_unit_test(the_topic_of_dead_letters_is_made_when_it_is_missing),
    };

    fr_log_level_set(FR_LOG_ERROR + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
