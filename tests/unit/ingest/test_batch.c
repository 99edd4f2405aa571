/* What a batch makes of records and of what librdkafka says between them; no broker is needed. */
#include "harness.h"

enum { NUMBER = 3, INDEX = 5 };

struct bench { /* a lane that nobody runs, with one part */
    struct ingest ingest;
    struct ingest_lane lane;
    struct ingest_source source;
    struct ingest_part part;
    struct ingest_part **parts_of_topic[1];
    struct ingest_part *parts[NUMBER + 1];
    int part_counts[1];
    rd_kafka_t *client;
    rd_kafka_topic_t *handle;
};

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct ingest_client client = {.role = INGEST_CONSUMER, .queue_bytes = 1 << 20};
    rd_kafka_topic_conf_t *conf = rd_kafka_topic_conf_new();
    struct fr_err err;

    assert_true(ingest_client__new(&client, &bench->client, &err));
    rd_kafka_topic_conf_set_opaque(conf, &bench->source);
    bench->handle = rd_kafka_topic_new(bench->client, "t", conf);
    bench->source = (struct ingest_source){.name = (char *)"t", .format = PROTO_FORMAT_PROTOBUF, .is_read = true};
    bench->part = (struct ingest_part){
        .index = INDEX, .number = NUMBER, .source = &bench->source, .next_offset = 10, .stop_offset = -1, .is_consuming = true};
    bench->parts[NUMBER] = &bench->part;
    bench->parts_of_topic[0] = bench->parts;
    bench->part_counts[0] = NUMBER + 1;
    bench->ingest.options.metrics = fr_metrics_new();
    bench->ingest.options.max_future_ms = 1000;
    bench->ingest.stop = fr_queue_new(1);
    bench->ingest.letters = ingest_letters__new(NULL, "nowhere", bench->ingest.options.metrics);
    for (int i = 0; i < PROTO_VERDICTS; i++)
        bench->ingest.outcomes[i] = fr_metrics_counter(bench->ingest.options.metrics, "freshet_test_total",
                                                       proto_verdict_name((enum proto_verdict)i), "");
    bench->lane =
        (struct ingest_lane){.ingest = &bench->ingest, .parts = bench->parts_of_topic, .part_counts = bench->part_counts};
    bench->lane.scratch = fr_arena_new(INGEST_SCRATCH_BYTES);
    assert_true(ingest_draft__init(&bench->lane.draft, 8, false));
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    rd_kafka_topic_destroy(bench->handle);
    rd_kafka_destroy(bench->client);
    ingest_draft__fini(&bench->lane.draft);
    fr_arena_free(bench->lane.scratch);
    ingest_letters__free(bench->ingest.letters);
    fr_queue_close(bench->ingest.stop);
    fr_queue_free(bench->ingest.stop);
    fr_metrics_free(bench->ingest.options.metrics);
    free(bench);
    return 0;
}

static rd_kafka_message_t message(struct bench *bench, int64_t offset, struct fr_slice value)
{
    return (rd_kafka_message_t){
        .rkt = bench->handle, .partition = NUMBER, .offset = offset, .payload = (void *)value.bytes, .len = value.length};
}

static rd_kafka_message_t report(struct bench *bench, int64_t offset, rd_kafka_resp_err_t error)
{
    return (rd_kafka_message_t){.rkt = bench->handle, .partition = NUMBER, .offset = offset, .err = error};
}

static int fill_one(struct bench *bench, rd_kafka_message_t given)
{
    rd_kafka_message_t *messages[1] = {&given};

    return ingest_draft__fill(&bench->lane, messages, 1);
}

static void the_end_of_a_partition_moves_past_control_records(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(fill_one(bench, report(bench, 14, RD_KAFKA_RESP_ERR__PARTITION_EOF)), 1);
    assert_int_equal(bench->lane.draft.event_count, 0);
    assert_int_equal(bench->lane.draft.advance_count, 1);
    assert_int_equal(bench->lane.draft.advances[0].partition, INDEX);
    assert_int_equal(bench->lane.draft.advances[0].next_offset, 14);
    assert_int_equal(bench->lane.draft.advances[0].records, 0);
    assert_int_equal(bench->lane.draft.advances[0].kafka_ts_ms, -1);
}

static void a_canary_moves_the_offset_and_is_no_record(void **state)
{
    struct bench *bench = *state;
    struct proto_event canary = {.event_id = 7, .ts_ms = 5, .text = fr_slice_of(PROTO_CANARY_TEXT)};
    struct fr_buffer buffer;

    fr_buffer_init(&buffer);
    proto_event_encode(&canary, &buffer);
    assert_int_equal(fill_one(bench, message(bench, 10, fr_buffer_slice(&buffer))), 1);
    assert_int_equal(bench->lane.draft.event_count, 0);
    assert_int_equal(bench->lane.draft.advances[0].next_offset, 11);
    assert_int_equal(bench->lane.draft.advances[0].records, 0);
    assert_int_equal(bench->lane.draft.advances[0].kafka_ts_most_ms, -1);
    ingest_draft__mark(&bench->lane.draft);
    assert_int_equal(bench->lane.draft.advances[0].last.offset, 10); /* a topic that was made anew is told by it too */
    assert_int_equal(fr_counter_read(bench->ingest.outcomes[PROTO_CANARY]), 1);
    fr_buffer_fini(&buffer);
}

static void the_end_where_we_are_says_nothing_new(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(fill_one(bench, report(bench, 10, RD_KAFKA_RESP_ERR__PARTITION_EOF)), 1);
    assert_int_equal(bench->lane.draft.advance_count, 0);
}

static void a_record_from_before_is_never_handed_out_twice(void **state)
{
    struct bench *bench = *state;
    struct fr_buffer buffer;
    struct fr_slice event;

    fr_buffer_init(&buffer);
    event = make_event(1, 1000, &buffer);
    assert_int_equal(fill_one(bench, message(bench, 9, event)), 1);
    assert_int_equal(bench->lane.draft.event_count, 0);
    assert_int_equal(bench->lane.draft.advance_count, 0);
    assert_int_equal(fill_one(bench, message(bench, 10, event)), 1);
    assert_int_equal(bench->lane.draft.event_count, 1);
    assert_int_equal(bench->lane.draft.offsets[0], 10);
    assert_int_equal(bench->lane.draft.partitions[0], INDEX);
    assert_int_equal(bench->lane.draft.advances[0].next_offset, 11);
    fr_buffer_fini(&buffer);
}

static void an_offset_that_the_broker_does_not_have_sends_the_part_back_once(void **state)
{
    struct bench *bench = *state;
    struct fr_buffer buffer;

    fr_buffer_init(&buffer);
    assert_int_equal(fill_one(bench, report(bench, 10, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)), 1);
    assert_int_equal(fill_one(bench, report(bench, 10, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)), 1);
    assert_int_equal(bench->lane.draft.lost_count, 1);
    assert_ptr_equal(bench->lane.draft.lost[0], &bench->part);
    assert_int_equal(fill_one(bench, message(bench, 10, make_event(1, 1000, &buffer))), 1); /* what is left of before */
    assert_int_equal(bench->lane.draft.event_count, 0);
    fr_buffer_fini(&buffer);
}

static void unknown_actions_and_dead_letters_move_the_offset_and_are_counted(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(fill_one(bench, message(bench, 10, fr_slice("\x10\x05", 2))), 1); /* ts_ms 5, no action */
    assert_int_equal(fill_one(bench, message(bench, 12, fr_slice(NULL, 0))), 1);
    assert_int_equal(bench->lane.draft.event_count, 0);
    assert_int_equal(bench->lane.draft.advance_count, 1);
    assert_int_equal(bench->lane.draft.advances[0].next_offset, 13);
    assert_int_equal(bench->lane.draft.advances[0].records, 2);
    assert_int_equal(fr_counter_read(bench->ingest.outcomes[PROTO_UNKNOWN_ACTION]), 1);
    assert_int_equal(fr_counter_read(bench->ingest.outcomes[PROTO_EMPTY]), 1);
}

static void an_error_of_the_client_is_counted_by_name_and_moves_nothing(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(fill_one(bench, report(bench, 10, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)), 1);
    assert_int_equal(bench->lane.draft.advance_count, 0);
    assert_int_equal(fr_counter_read(fr_metrics_counter(bench->ingest.options.metrics, "freshet_ingest_errors_total",
                                                        "error=\"TOPIC_AUTHORIZATION_FAILED\"", NULL)),
                     1);
}

static void records_that_are_large_together_come_in_several_batches(void **state)
{
    struct bench *bench = *state;
    static char large[1 << 20]; /* not an event, which does not matter */
    rd_kafka_message_t given[8];
    rd_kafka_message_t *messages[8];

    for (int i = 0; i < 8; i++) {
        given[i] = message(bench, 10 + i, fr_slice(large, sizeof large));
        messages[i] = &given[i];
    }
    assert_int_equal(ingest_draft__fill(&bench->lane, messages, 8), INGEST_BATCH_BYTES / (int)sizeof large);
}

static void clearing_lets_a_part_advance_again(void **state)
{
    struct bench *bench = *state;

    rd_kafka_message_t record = message(bench, 10, fr_slice("x", 1));

    ingest_draft__advance(&bench->lane.draft, &bench->part, 11, &record);
    ingest_draft__count(&bench->part, &record);
    ingest_draft__advance(&bench->lane.draft, &bench->part, 12, NULL);
    assert_int_equal(bench->lane.draft.advance_count, 1);
    assert_int_equal(bench->lane.draft.advances[0].records, 1);
    ingest_draft__mark(&bench->lane.draft);
    assert_int_equal(bench->lane.draft.advances[0].last.offset, 10); /* of the last record, not of the end */
    ingest_draft__clear(&bench->lane.draft);
    assert_null(bench->part.advance);
    assert_int_equal(bench->lane.draft.advance_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_end_of_a_partition_moves_past_control_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_canary_moves_the_offset_and_is_no_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_where_we_are_says_nothing_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_from_before_is_never_handed_out_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_offset_that_the_broker_does_not_have_sends_the_part_back_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_actions_and_dead_letters_move_the_offset_and_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_of_the_client_is_counted_by_name_and_moves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_that_are_large_together_come_in_several_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clearing_lets_a_part_advance_again, set_up, tear_down),
    };

    fr_log_level_set(FR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
