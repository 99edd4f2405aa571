#include "wire.h"

#include <freshet/text.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fr_buffer wire;
static struct fr_err err;

static int begin(void **state)
{
    (void)state;
    fr_buffer_init(&wire);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fr_buffer_fini(&wire);
    return 0;
}

/* The event that `json` stands for; what it borrows lives until the next one. */
static struct proto_event event_of(const char *json)
{
    struct proto_event event = {0};

    fr_buffer_clear(&wire);
    if (!proto_event_from_json(fr_slice_of(json), &wire, &err))
        fail_msg("%s: %s", json, err.message);
    assert_true(decodes(fr_buffer_slice(&wire), &event));
    return event;
}

static void is_refused(const char *json, const char *because)
{
    fr_buffer_clear(&wire);
    if (proto_event_from_json(fr_slice_of(json), &wire, &err))
        fail_msg("%s: accepted", json);
    assert_int_equal(err.code, FR_BAD_INPUT);
    if (!strstr(err.message, because))
        fail_msg("%s: \"%s\" does not say \"%s\"", json, err.message, because);
    assert_int_equal(wire.length, 0);
}

static void both_spellings_are_read(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"itemId\":5}").item_id, 5);
    assert_int_equal(event_of("{\"item_id\":5}").item_id, 5);
    assert_true(event_of("{\"durationS\":1.5}").duration_s == 1.5);
    assert_int_equal(event_of("{\"it\\u0065mId\":5}").item_id, 5);
}

static void the_last_of_a_field_wins(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"itemId\":1,\"item_id\":2}").item_id, 2);
    assert_int_equal(event_of("{\"itemId\":1,\"item_id\":2,\"itemId\":3}").item_id, 3);
    assert_int_equal(event_of("{\"text\":\"a\",\"text\":\"\"}").text.length, 0);
}

static void unknown_fields_and_nulls_are_nothing(void **state)
{
    struct proto_event event =
        event_of("{\"trace\":123456789012345678901234567890,\"itemid\":1,\"x\":[{\"y\":[null,{}]},\"\\\"]\"],"
                 "\"userId\":null,\"action\":null,\"text\":null,\"attributes\":null,\"itemId\":7}");

    (void)state;
    assert_int_equal(event.item_id, 7);
    assert_int_equal(event.user_id, 0);
    assert_int_equal(event.wire.length, 0);
}

static void ids_use_all_64_bits(void **state)
{
    (void)state;
    assert_true(event_of("{\"itemId\":18446744073709551615}").item_id == UINT64_MAX);
    assert_true(event_of("{\"itemId\":\"18446744073709551615\"}").item_id == UINT64_MAX);
    assert_true(event_of("{\"eventId\":9007199254740993}").event_id == UINT64_C(9007199254740993));
    assert_int_equal(event_of("{\"itemId\":-0}").item_id, 0);
    is_refused("{\"itemId\":18446744073709551616}", "item_id: 18446744073709551616");
    is_refused("{\"itemId\":-1}", "item_id: -1");
    is_refused("{\"requestId\":123456789012345678901234567890}", "request_id");
}

static void an_id_may_be_any_string(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"itemId\":\"42\"}").item_id, 42);
    assert_int_equal(event_of("{\"itemId\":\"\"}").item_id, 0);
    assert_true(event_of("{\"itemId\":\"-1\"}").item_id == fr_text_hash("-1", 2, 0));
    assert_true(event_of("{\"itemId\":\"007\"}").item_id == fr_text_hash("007", 3, 0));
    assert_true(event_of("{\"itemId\":\"caf\\u00e9\"}").item_id == fr_text_hash("café", 5, 0));
    assert_true(event_of("{\"itemId\":\"18446744073709551616\"}").item_id == fr_text_hash("18446744073709551616", 20, 0));
}

static void whole_numbers_may_be_written_as_doubles(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"itemId\":1.0}").item_id, 1);
    assert_int_equal(event_of("{\"itemId\":1e3}").item_id, 1000);
    assert_int_equal(event_of("{\"itemId\":1.50E+1}").item_id, 15);
    assert_int_equal(event_of("{\"itemId\":1200e-2}").item_id, 12);
    assert_true(event_of("{\"itemId\":1844674407370955161.5e1}").item_id == UINT64_MAX);
    assert_int_equal(event_of("{\"itemId\":0e99999999999999999999}").item_id, 0);
    is_refused("{\"itemId\":1.5}", "item_id: 1.5");
    is_refused("{\"itemId\":1e-1}", "item_id");
    is_refused("{\"itemId\":1e20}", "item_id");
    is_refused("{\"itemId\":1e99999999999999999999}", "item_id");
}

static void times_are_numbers_or_decimal_strings(void **state)
{
    (void)state;
    assert_true(event_of("{\"tsMs\":1700000000000}").ts_ms == 1700000000000);
    assert_true(event_of("{\"ts_ms\":\"1700000000000\"}").ts_ms == 1700000000000);
    assert_int_equal(event_of("{\"tsMs\":-5}").ts_ms, -5);
    assert_true(event_of("{\"tsMs\":-9223372036854775808}").ts_ms == INT64_MIN);
    is_refused("{\"tsMs\":9223372036854775808}", "ts_ms");
    is_refused("{\"tsMs\":\"noon\"}", "ts_ms: \"noon\"; use Unix milliseconds");
    is_refused("{\"tsMs\":\"\"}", "ts_ms");
    is_refused("{\"tsMs\":true}", "ts_ms: true");
}

static void positions_have_32_bits(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"position\":4294967295}").position, UINT32_MAX);
    assert_int_equal(event_of("{\"position\":\"3\"}").position, 3);
    is_refused("{\"position\":4294967296}", "position");
    is_refused("{\"position\":-1}", "position");
}

static void doubles_may_be_strings(void **state)
{
    (void)state;
    assert_true(event_of("{\"value\":-1.5e3}").value == -1500);
    assert_true(event_of("{\"value\":\"2.5\"}").value == 2.5);
    assert_true(isnan(event_of("{\"value\":\"NaN\"}").value));
    assert_true(event_of("{\"value\":\"-Infinity\"}").value < -1e308);
    assert_true(event_of("{\"value\":123456789012345678901234567890}").value == 123456789012345678901234567890.0);
    assert_true(signbit(event_of("{\"value\":-0.0}").value));
    assert_true(event_of("{\"propensity\":0.1}").propensity == 0.1f);
    is_refused("{\"value\":\"nan\"}", "value: \"nan\"");
    is_refused("{\"value\":\"-inf\"}", "value");
    is_refused("{\"value\":\"+1\"}", "value");
    is_refused("{\"value\":\" 1\"}", "value");
    is_refused("{\"value\":[]}", "value: an array");
}

static void enums_are_names_in_any_case_or_numbers(void **state)
{
    (void)state;
    assert_int_equal(event_of("{\"action\":\"ADD_TO_CART\"}").action, 11);
    assert_int_equal(event_of("{\"action\":\"add_to_cart\"}").action, 11);
    assert_int_equal(event_of("{\"action\":3}").action, 3);
    assert_int_equal(event_of("{\"scene\":\"Live\"}").scene, 1);
    assert_int_equal(event_of("{\"action\":\"teleport\",\"scene\":\"moon\"}").action, 0);
    assert_int_equal(event_of("{\"action\":24}").action, 0);
    assert_int_equal(event_of("{\"action\":-1}").action, 0);
    assert_int_equal(event_of("{\"action\":4294967299}").action, 0);
    is_refused("{\"action\":true}", "action: true");
    is_refused("{\"scene\":1.5}", "scene: 1.5");
}

static void strings_may_hold_anything_escaped(void **state)
{
    (void)state;
    assert_true(
        fr_slice_is(event_of("{\"text\":\"\\ud83d\\ude00 \\\"\\\\\\/\\b\\f\\n\\r\\t \\u00E9\"}").text, "😀 \"\\/\b\f\n\r\t é"));
    assert_true(fr_slice_equal(event_of("{\"text\":\"a\\u0000b\"}").text, fr_slice("a\0b", 3)));
    is_refused("{\"text\":\"\\ud83d\"}", "surrogate");
    is_refused("{\"text\":\"\\ude00\"}", "surrogate");
    is_refused("{\"text\":\"\\ud83d\\u0041\"}", "surrogate");
    is_refused("{\"text\":\"\\x41\"}", "escape");
    is_refused("{\"text\":\"\\u12g4\"}", "escape");
    is_refused("{\"text\":\"a\nb\"}", "control character");
    is_refused("{\"text\":\"\xff\"}", "UTF-8");
    is_refused("{\"text\":5}", "text: 5; use a string");
}

static void attributes_are_strings_by_name(void **state)
{
    struct proto_event event =
        event_of("{\"attributes\":{\"k\":\"first\",\"\\u00e9\\u0000\":\"\\n\",\"k\":\"last\",\"none\":null}}");
    struct fr_slice value;

    (void)state;
    assert_true(proto_event_attribute(&event, fr_slice_of("k"), &value) && fr_slice_is(value, "last"));
    assert_true(proto_event_attribute(&event, fr_slice("é\0", 3), &value) && fr_slice_is(value, "\n"));
    assert_false(proto_event_attribute(&event, fr_slice_of("none"), &value));
    is_refused("{\"attributes\":{\"k\":1}}", "attributes: 1; use strings");
    is_refused("{\"attributes\":{\"k\":{}}}", "attributes: an object");
    is_refused("{\"attributes\":[]}", "attributes: an array");
}

static void what_is_not_one_json_object_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\" 1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":True}",
        "{\"a\":nul}",
        "{\"a\":/**/1}",
        "{\"a\":\"x}",
        "{\"a\":]}",
        "{\"a\":[}]",
        "{\"a\":1\v}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        is_refused(wrong[i], "JSON");
    fr_buffer_clear(&wire);
    assert_false(proto_event_from_json(fr_slice("{}\0", 3), &wire, &err));
    assert_int_equal(event_of(" \t\r\n{ \"itemId\" : 1 , \"x\" : [ ] } \n").item_id, 1);
}

static void nesting_ends_at_sixteen(void **state)
{
    (void)state;
    event_of("{\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}");
    is_refused("{\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", "too deep");
}

static void what_was_in_the_buffer_stays(void **state)
{
    (void)state;
    fr_buffer_clear(&wire);
    fr_buffer_append_text(&wire, "before");
    assert_false(proto_event_from_json(fr_slice_of("{\"text\":\"x\",\"itemId\":-1}"), &wire, &err));
    assert_true(fr_slice_is(fr_buffer_slice(&wire), "before"));
}

static void every_field_is_printed(void **state)
{
    struct proto_event event = event_of("{}");
    struct fr_buffer json;

    (void)state;
    fr_buffer_init(&json);
    proto_event_to_json(&event, &json);
    assert_true(
        fr_slice_is(fr_buffer_slice(&json),
                    "{\"eventId\":\"0\",\"tsMs\":\"0\",\"userId\":\"0\",\"itemId\":\"0\",\"creatorId\":\"0\",\"roomId\":\"0\","
                    "\"categoryId\":\"0\",\"region\":\"0\",\"action\":\"ACTION_UNSPECIFIED\",\"value\":0,\"durationS\":0,"
                    "\"scene\":\"SCENE_UNSPECIFIED\",\"requestId\":\"0\",\"position\":0,\"propensity\":0,\"text\":\"\","
                    "\"attributes\":{}}"));
    fr_buffer_fini(&json);
}

static void what_is_printed_reads_back(void **state)
{
    static const char text[] =
        "{\"eventId\":\"18446744073709551615\",\"tsMs\":\"-5\",\"userId\":\"1\",\"itemId\":\"2\",\"creatorId\":\"3\","
        "\"roomId\":\"4\","
        "\"categoryId\":\"5\",\"region\":\"6\",\"action\":\"ADD_TO_CART\",\"value\":0.1,\"durationS\":-0,\"scene\":\"SHORT_"
        "VIDEO\","
        "\"requestId\":\"7\",\"position\":4294967295,\"propensity\":0.3,\"text\":\"\\\"\\u0001\\n😀\",\"attributes\":{\"\":\"\","
        "\"a\":\"b\"}}";
    struct proto_event event = event_of(text);
    struct fr_buffer json;

    (void)state;
    fr_buffer_init(&json);
    proto_event_to_json(&event, &json);
    assert_true(fr_slice_is(fr_buffer_slice(&json), text));
    fr_buffer_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_are_read),
        cmocka_unit_test(the_last_of_a_field_wins),
        cmocka_unit_test(unknown_fields_and_nulls_are_nothing),
        cmocka_unit_test(ids_use_all_64_bits),
        cmocka_unit_test(an_id_may_be_any_string),
        cmocka_unit_test(whole_numbers_may_be_written_as_doubles),
        cmocka_unit_test(times_are_numbers_or_decimal_strings),
        cmocka_unit_test(positions_have_32_bits),
        cmocka_unit_test(doubles_may_be_strings),
        cmocka_unit_test(enums_are_names_in_any_case_or_numbers),
        cmocka_unit_test(strings_may_hold_anything_escaped),
        cmocka_unit_test(attributes_are_strings_by_name),
        cmocka_unit_test(what_is_not_one_json_object_is_refused),
        cmocka_unit_test(nesting_ends_at_sixteen),
        cmocka_unit_test(what_was_in_the_buffer_stays),
        cmocka_unit_test(every_field_is_printed),
        cmocka_unit_test(what_is_printed_reads_back),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
