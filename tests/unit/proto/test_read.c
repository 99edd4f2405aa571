#include "wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NOW_MS = 1000000, NEVER_MS = 0 };

static struct fr_arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = fr_arena_new(4 << 20);
    return arena ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fr_arena_free(arena);
    return 0;
}

static enum proto_verdict read_json(const char *json)
{
    struct proto_event event;

    return proto_event_read(PROTO_FORMAT_JSON, fr_slice_of(json), NOW_MS, arena, &event, NULL);
}

static enum proto_verdict read_event(const struct proto_event *event, int64_t future_ms)
{
    struct proto_event back;
    enum proto_verdict verdict;
    struct fr_buffer wire;

    fr_buffer_init(&wire);
    proto_event_encode(event, &wire);
    verdict = proto_event_read(PROTO_FORMAT_PROTOBUF, fr_buffer_slice(&wire), future_ms, arena, &back, NULL);
    fr_buffer_fini(&wire);
    return verdict;
}

static struct proto_event click(void)
{
    return (struct proto_event){.ts_ms = 1000, .user_id = 7, .item_id = 8, .action = 2};
}

static void a_good_event_is_applied_in_either_format(void **state)
{
    struct proto_event event = click();

    (void)state;
    assert_int_equal(read_event(&event, NOW_MS), PROTO_EVENT);
    assert_int_equal(read_json("{\"action\":\"click\",\"ts_ms\":1000}"), PROTO_EVENT);
}

static void what_json_becomes_stays_in_the_arena(void **state)
{
    char json[] = "{\"action\":3,\"tsMs\":1,\"text\":\"t\\u00e9\",\"attributes\":{\"k\":\"v\"}}";
    struct proto_event event;
    struct fr_slice value;

    (void)state;
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice_of(json), NOW_MS, arena, &event, NULL), PROTO_EVENT);
    memset(json, 'x', sizeof json - 1);
    assert_true(fr_slice_is(event.text, "té"));
    assert_true(proto_event_attribute(&event, fr_slice_of("k"), &value) && fr_slice_is(value, "v"));
}

static void empty_and_oversized_records_are_told_apart_by_size_alone(void **state)
{
    uint8_t *large = calloc(1, PROTO_EVENT_BYTES_MAX + 1);
    struct proto_event event;

    (void)state;
    assert_non_null(large);
    large[0] = 0x82; /* text, as long as the record */
    large[1] = 0x01;
    large[2] = 0xfb;
    large[3] = 0xff;
    large[4] = 0x3f;
    assert_int_equal(proto_event_read(PROTO_FORMAT_PROTOBUF, fr_slice(NULL, 0), NOW_MS, arena, &event, NULL), PROTO_EMPTY);
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice("", 0), NOW_MS, arena, &event, NULL), PROTO_EMPTY);
    assert_int_equal(
        proto_event_read(PROTO_FORMAT_PROTOBUF, fr_slice(large, PROTO_EVENT_BYTES_MAX), NOW_MS, arena, &event, NULL),
        PROTO_UNKNOWN_ACTION);
    assert_int_equal(
        proto_event_read(PROTO_FORMAT_PROTOBUF, fr_slice(large, PROTO_EVENT_BYTES_MAX + 1), NOW_MS, arena, &event, NULL),
        PROTO_OVERSIZED);
    free(large);
}

static void garbage_is_bad_in_its_format(void **state)
{
    struct proto_event event;
    struct fr_err why;

    (void)state;
    assert_int_equal(proto_event_read(PROTO_FORMAT_PROTOBUF, fr_slice_of("{\"a\":1}"), NOW_MS, arena, &event, &why),
                     PROTO_BAD_PROTOBUF);
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice_of("\x08\x01"), NOW_MS, arena, &event, &why), PROTO_BAD_JSON);
    assert_int_equal(why.code, FR_BAD_INPUT);
    assert_true(strlen(why.message) > 0);
}

static void a_registry_prefix_is_skipped(void **state)
{
    static const char prefix[] = "\0\0\0\0\7";
    static const struct {
        const char *bytes;
        size_t length;
    } indexes[] = {{"", 0}, {"\0", 1}, {"\2\0", 2}, {"\2\4", 2}, {"\4\2\x80\1", 4}, {"\6\0\2\4", 4}};
    struct proto_event event = click(), back;

    (void)state;
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        struct fr_buffer record;

        fr_buffer_init(&record);
        fr_buffer_append(&record, prefix, 5);
        fr_buffer_append(&record, indexes[i].bytes, indexes[i].length);
        proto_event_encode(&event, &record);
        assert_int_equal(proto_event_read(PROTO_FORMAT_PROTOBUF, fr_buffer_slice(&record), NOW_MS, arena, &back, NULL),
                         PROTO_EVENT);
        assert_int_equal(proto_event_compare(&event, &back), 0);
        fr_buffer_fini(&record);
    }
}

static void json_may_have_the_prefix_too(void **state)
{
    static const char record[] = "\0\0\0\0\7{\"action\":2,\"tsMs\":1000}";
    struct proto_event event;

    (void)state;
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice(record, sizeof record - 1), NOW_MS, arena, &event, NULL),
                     PROTO_EVENT);
}

static void part_of_a_prefix_is_garbage(void **state)
{
    struct proto_event event;

    (void)state;
    assert_int_equal(proto_event_read(PROTO_FORMAT_PROTOBUF, fr_slice("\0\0\0\0", 4), NOW_MS, arena, &event, NULL),
                     PROTO_BAD_PROTOBUF);
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice("\0{}", 3), NOW_MS, arena, &event, NULL), PROTO_BAD_JSON);
    assert_int_equal(proto_event_read(PROTO_FORMAT_JSON, fr_slice("\0\0\0\0\0", 5), NOW_MS, arena, &event, NULL),
                     PROTO_BAD_JSON);
}

static void a_canary_is_told_from_an_event_that_lacks_an_action(void **state)
{
    struct proto_event event = {.event_id = 7, .ts_ms = 5, .text = fr_slice_of(PROTO_CANARY_TEXT)};

    (void)state;
    assert_int_equal(read_event(&event, NEVER_MS), PROTO_CANARY);
    assert_int_equal(read_json("{\"text\":\"freshet.canary\"}"), PROTO_CANARY);
    assert_int_equal(read_json("{\"text\":\"freshet.canary\",\"userId\":\"1\"}"), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{\"text\":\"canary\"}"), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{\"text\":\"freshet.canary\",\"action\":\"watch\",\"tsMs\":5}"), PROTO_EVENT);
}

static void an_unknown_action_comes_before_bad_values(void **state)
{
    struct proto_event event = {.ts_ms = -1, .value = NAN, .action = 0};

    (void)state;
    assert_int_equal(read_event(&event, NEVER_MS), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{\"action\":\"teleport\",\"tsMs\":0}"), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{\"action\":99}"), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{}"), PROTO_UNKNOWN_ACTION);
    assert_int_equal(read_json("{\"action\":\"teleport\",\"tsMs\":\"noon\"}"), PROTO_BAD_JSON);
}

static void times_lie_between_1970_and_2100(void **state)
{
    static const int64_t bad[] = {INT64_MIN, -1, 0, PROTO_TS_MS_END, INT64_MAX}, good[] = {1, PROTO_TS_MS_END - 1};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct proto_event event = {.action = 2, .ts_ms = bad[i], .value = NAN};

        assert_int_equal(read_event(&event, NEVER_MS), PROTO_BAD_TIME);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct proto_event event = {.action = 2, .ts_ms = good[i]};

        assert_int_equal(read_event(&event, INT64_MAX), PROTO_EVENT);
    }
}

static void values_are_finite_and_at_most_a_million_millions(void **state)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1.0000000000001e12, -1e13};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct proto_event value = click(), duration = click();

        value.value = duration.duration_s = bad[i];
        assert_int_equal(read_event(&value, NEVER_MS), PROTO_BAD_VALUE);
        assert_int_equal(read_event(&duration, NEVER_MS), PROTO_BAD_VALUE);
    }
    struct proto_event event = click();

    event.value = 1e12;
    event.duration_s = -1e12;
    assert_int_equal(read_event(&event, NOW_MS), PROTO_EVENT);
    event.propensity = (float)INFINITY;
    assert_int_equal(read_event(&event, NOW_MS), PROTO_BAD_VALUE);
    assert_int_equal(read_json("{\"action\":2,\"tsMs\":1,\"value\":1e400}"), PROTO_BAD_VALUE);
    assert_int_equal(read_json("{\"action\":2,\"tsMs\":1,\"value\":\"NaN\"}"), PROTO_BAD_VALUE);
    assert_int_equal(read_json("{\"action\":2,\"tsMs\":1,\"value\":100000000000000000000}"), PROTO_BAD_VALUE);
}

static void the_future_begins_after_its_limit(void **state)
{
    struct proto_event event = click();

    (void)state;
    event.ts_ms = NOW_MS;
    assert_int_equal(read_event(&event, NOW_MS), PROTO_EVENT);
    event.ts_ms = NOW_MS + 1;
    assert_int_equal(read_event(&event, NOW_MS), PROTO_FUTURE);
    assert_int_equal(read_event(&event, INT64_MAX), PROTO_EVENT);
}

static void without_room_the_reason_says_so(void **state)
{
    struct fr_arena *small = fr_arena_new(4);
    struct proto_event event;
    struct fr_err why;

    (void)state;
    assert_non_null(small);
    assert_int_equal(
        proto_event_read(PROTO_FORMAT_JSON, fr_slice_of("{\"text\":\"longer than that\"}"), NOW_MS, small, &event, &why),
        PROTO_BAD_JSON);
    assert_int_equal(why.code, FR_EXHAUSTED);
    fr_arena_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_event_is_applied_in_either_format),
        cmocka_unit_test(what_json_becomes_stays_in_the_arena),
        cmocka_unit_test(empty_and_oversized_records_are_told_apart_by_size_alone),
        cmocka_unit_test(garbage_is_bad_in_its_format),
        cmocka_unit_test(a_registry_prefix_is_skipped),
        cmocka_unit_test(json_may_have_the_prefix_too),
        cmocka_unit_test(part_of_a_prefix_is_garbage),
        cmocka_unit_test(a_canary_is_told_from_an_event_that_lacks_an_action),
        cmocka_unit_test(an_unknown_action_comes_before_bad_values),
        cmocka_unit_test(times_lie_between_1970_and_2100),
        cmocka_unit_test(values_are_finite_and_at_most_a_million_millions),
        cmocka_unit_test(the_future_begins_after_its_limit),
        cmocka_unit_test(without_room_the_reason_says_so),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
