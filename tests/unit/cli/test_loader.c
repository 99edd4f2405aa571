/*
 * A file as records for Kafka.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "files.h"

#include <freshet/text.h>

enum { RECORDS_MAX = 16 };

struct loaded {
    struct proto_event events[RECORDS_MAX]; /* without text */
    char keys[RECORDS_MAX][24];
    char last_value[4096];
    int count;
    bool is_failed;
    struct fr_err err;
    struct cli_loader_counts counts;
};

static struct loaded load_as(const char *path, enum cli_format format, const char *map, bool is_json)
{
    struct cli_loader_options options = {.path = path, .format = format, .map = map, .is_json = is_json};
    struct loaded loaded = {0};
    struct cli_loader *loader;
    struct cli_record record;
    bool is_end = false;

    if (!cli_loader__open(&options, &loader, &loaded.err)) {
        loaded.is_failed = true;
        return loaded;
    }
    while (!loaded.is_failed) {
        loaded.is_failed = !cli_loader__next(loader, &record, &is_end, &loaded.err);
        if (loaded.is_failed || is_end)
            break;
        snprintf(loaded.keys[loaded.count], sizeof loaded.keys[0], "%.*s", (int)record.key.length,
                 (const char *)record.key.bytes);
        snprintf(loaded.last_value, sizeof loaded.last_value, "%.*s", (int)record.value.length,
                 (const char *)record.value.bytes);
        if (!is_json) {
            assert_true(proto_event_decode(record.value, &loaded.events[loaded.count], &loaded.err));
            loaded.events[loaded.count].wire = loaded.events[loaded.count].text = fr_slice(NULL, 0);
        }
        loaded.count++;
    }
    loaded.counts = *cli_loader__counts(loader);
    cli_loader__close(loader);
    return loaded;
}

static struct loaded load(const char *text, const char *end, const char *map)
{
    return load_as(test_file(text, strlen(text), end), CLI_FORMAT_BY_NAME, map, false);
}

static void csv_rows_become_keyed_events_with_ids(void **state)
{
    struct loaded loaded =
        load("\xef\xbb\xbfuser_id,ts_ms,action,item_id\r\n7,1000,watch,5\r\n\r\njoe,1000,like,6\r\n,1000,like,6", ".csv", "");

    (void)state;
    assert_false(loaded.is_failed);
    assert_int_equal(loaded.count, 3);
    assert_string_equal(loaded.keys[0], "7");
    assert_int_equal(loaded.events[0].event_id, cli_map__event_id(fr_slice_of("7,1000,watch,5"), 2, loaded.events[0].action));
    assert_int_equal(loaded.events[1].event_id, cli_map__event_id(fr_slice_of("joe,1000,like,6"), 4, loaded.events[1].action));
    assert_int_equal(loaded.events[1].user_id, fr_text_id(fr_slice_of("joe")));
    assert_string_equal(loaded.keys[2], ""); /* nobody */
}

static void a_given_id_serves_the_first_event_of_a_row(void **state)
{
    struct loaded loaded = load("event_id,ts_ms,liked\n99,1000,1\n", ".csv", "'watch'=action,liked=action(1:like)");

    (void)state;
    assert_int_equal(loaded.count, 2);
    assert_int_equal(loaded.events[0].event_id, 99);
    assert_int_equal(loaded.events[1].event_id, cli_map__event_id(fr_slice_of("99,1000,1"), 2, loaded.events[1].action));
}

static void quoted_newlines_keep_line_numbers_right(void **state)
{
    struct loaded loaded = load("ts_ms,action,text\n1000,comment,\"two\nlines\"\n1000,comment,one\n", ".csv", "");

    (void)state;
    assert_int_equal(loaded.count, 2);
    assert_int_equal(loaded.events[0].event_id,
                     cli_map__event_id(fr_slice_of("1000,comment,\"two\nlines\""), 2, loaded.events[0].action));
    assert_int_equal(loaded.events[1].event_id, cli_map__event_id(fr_slice_of("1000,comment,one"), 4, loaded.events[1].action));
}

static void bad_rows_are_counted_by_reason(void **state)
{
    struct loaded loaded = load("ts_ms,action,value\n"
                                "1000,watch,1\n"
                                "1000,watch\n" /* a column too few */
                                "soon,watch,1\n" /* no time */
                                "1000,watch,many\n" /* no number */
                                "1000,ponder,1\n" /* no action */
                                "1000,\"watch,1\n" /* an open quote spoils its line only */
                                "1000,watch,2\n",
                                ".csv", NULL);

    (void)state;
    assert_int_equal(loaded.count, 2);
    assert_int_equal(loaded.counts.rows, 7);
    assert_int_equal(loaded.counts.events, 2);
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_BAD_CSV], 2);
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_BAD_TIME], 1);
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_BAD_NUMBER], 1);
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_NO_ACTION], 1);
}

static void json_lines_keep_their_fields_and_get_ids(void **state)
{
    const char *first = "{\"tsMs\":\"5\",\"action\":\"Watch\",\"userId\":\"joe\",\"attributes\":{\"a\":\"b\"}}";
    char text[512];
    struct loaded loaded;

    (void)state;
    snprintf(text, sizeof text, "%s\n{\"eventId\":3,\"ts_ms\":6}\nnonsense\n", first);
    loaded = load(text, ".jsonl", NULL);
    assert_int_equal(loaded.count, 2);
    assert_int_equal(loaded.events[0].ts_ms, 5);
    assert_int_equal(loaded.events[0].user_id, fr_text_id(fr_slice_of("joe")));
    assert_int_equal(loaded.events[0].event_id, cli_map__event_id(fr_slice_of(first), 1, loaded.events[0].action));
    assert_int_equal(loaded.events[1].event_id, 3); /* an event without an action is the node's to judge */
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_BAD_JSON], 1);
}

static void values_are_json_where_the_topic_is(void **state)
{
    const char *text = "ts_ms,action,user_id,attributes.size\n1000,watch,3,xl\n";
    struct loaded loaded = load_as(test_file(text, strlen(text), ".csv"), CLI_FORMAT_BY_NAME, NULL, true);

    (void)state;
    assert_int_equal(loaded.count, 1);
    assert_non_null(strstr(loaded.last_value, "\"userId\":\"3\""));
    assert_non_null(strstr(loaded.last_value, "\"size\":\"xl\""));
}

static void delimited_messages_are_read_one_by_one(void **state)
{
    struct proto_event event = {.ts_ms = 9, .user_id = 4, .action = 3};
    struct fr_buffer message = {0}, stream = {0};
    struct loaded loaded;

    (void)state;
    proto_event_encode(&event, &message);
    for (int i = 0; i < 3; i++) {
        fr_buffer_append_varint(&stream, message.length);
        fr_buffer_append(&stream, message.bytes, message.length);
    }
    loaded = load_as(test_file(stream.bytes, stream.length, ".pb"), CLI_FORMAT_BY_NAME, NULL, false);
    assert_int_equal(loaded.count, 3);
    assert_int_equal(loaded.events[2].event_id, cli_map__event_id(fr_buffer_slice(&message), 3, 3));
    loaded = load_as(test_file(stream.bytes, stream.length - 1, ".pb"), CLI_FORMAT_BY_NAME, NULL, false);
    assert_true(loaded.is_failed);
    assert_int_equal(loaded.count, 2);
    assert_non_null(strstr(loaded.err.message, "message 3"));
    fr_buffer_fini(&message);
    fr_buffer_fini(&stream);
}

static void a_line_without_end_is_passed_over(void **state)
{
    size_t length = CLI_ROW_BYTES_MAX + 100000;
    char *text = malloc(length + 100);
    struct loaded loaded;

    (void)state;
    memset(text, 'x', length);
    length += (size_t)snprintf(text + length, 100, "\n{\"tsMs\":5,\"action\":\"like\",\"eventId\":1}\n");
    loaded = load_as(test_file(text, length, ".jsonl"), CLI_FORMAT_BY_NAME, NULL, false);
    assert_int_equal(loaded.count, 1);
    assert_int_equal(loaded.counts.skipped[CLI_SKIP_TOO_LONG], 1);
    free(text);
}

static void the_format_comes_from_the_name_or_the_option(void **state)
{
    struct loaded loaded = load("{}", ".dat", NULL);

    (void)state;
    assert_true(loaded.is_failed);
    assert_int_equal(loaded.err.code, FR_BAD_CONFIG);
    loaded = load_as(test_file("{}\n", 3, ".dat"), CLI_FORMAT_JSONL, NULL, false);
    assert_int_equal(loaded.count, 1);
    loaded = load("{}", ".jsonl", "a=ts_ms");
    assert_true(loaded.is_failed); /* a map is for csv */
    loaded = load("a\tb\n", ".tsv.gz", "a:s=ts_ms,b=action(x:like)");
    assert_false(loaded.is_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_rows_become_keyed_events_with_ids),
        cmocka_unit_test(a_given_id_serves_the_first_event_of_a_row),
        cmocka_unit_test(quoted_newlines_keep_line_numbers_right),
        cmocka_unit_test(bad_rows_are_counted_by_reason),
        cmocka_unit_test(json_lines_keep_their_fields_and_get_ids),
        cmocka_unit_test(values_are_json_where_the_topic_is),
        cmocka_unit_test(delimited_messages_are_read_one_by_one),
        cmocka_unit_test(a_line_without_end_is_passed_over),
        cmocka_unit_test(the_format_comes_from_the_name_or_the_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
