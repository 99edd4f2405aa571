#include "internal.h"

#include <freshet/text.h>

#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct fr_arena *arena;
static struct fr_buffer out;
static struct fr_err err;

static const ProtobufCMessageDescriptor *const get_features = &freshet__v1__get_features_request__descriptor;
static const ProtobufCMessageDescriptor *const score = &freshet__v1__score_request__descriptor;

static int begin(void **state)
{
    (void)state;
    fr_buffer_init(&out);
    arena = fr_arena_new(1 << 20);
    return arena ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fr_buffer_fini(&out);
    fr_arena_free(arena);
    return 0;
}

static void *parse(const ProtobufCMessageDescriptor *type, const char *json)
{
    void *message = proto_json_parse(type, fr_slice_of(json), arena, &err);

    if (!message)
        fail_msg("%s: %s", json, err.message);
    return message;
}

static void is_refused(const ProtobufCMessageDescriptor *type, const char *json, const char *because)
{
    if (proto_json_parse(type, fr_slice_of(json), arena, &err))
        fail_msg("%s: accepted", json);
    assert_int_equal(err.code, FR_BAD_INPUT);
    if (strcmp(err.message, because) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", json, err.message, because);
}

static void prints(const ProtobufCMessage *message, const char *json)
{
    fr_buffer_clear(&out);
    proto_json_print(message, &out);
    if (!fr_slice_is(fr_buffer_slice(&out), json))
        fail_msg("%.*s\nnot\n%s", (int)out.length, (const char *)out.bytes, json);
}

static void a_request_is_read_in_either_spelling(void **state)
{
    Freshet__V1__GetFeaturesRequest *got =
        parse(get_features,
              "{\"userId\":\"7\",\"item_ids\":[1,\"2\",\"shoe\",18446744073709551615],\"featureSet\":\"fine\\u005frank\","
              "\"features\":[\"a\",\"\"],\"as_of_ms\":\"5\",\"log\":true,\"logItems\":[],\"roomId\":null,"
              "\"after\":[{\"topic\":\"t\",\"partition\":-1,\"offset\":\"9\"},{}]}");

    (void)state;
    assert_int_equal(got->user_id, 7);
    assert_int_equal(got->n_item_ids, 4);
    assert_int_equal(got->item_ids[1], 2);
    assert_true(got->item_ids[2] == fr_text_id(fr_slice_of("shoe")));
    assert_true(got->item_ids[3] == UINT64_MAX);
    assert_string_equal(got->feature_set, "fine_rank");
    assert_string_equal(got->features[1], "");
    assert_int_equal(got->as_of_ms, 5);
    assert_true(got->log);
    assert_int_equal(got->n_log_items, 0);
    assert_int_equal(got->n_after, 2);
    assert_int_equal(got->after[0]->partition, -1);
    assert_int_equal(got->after[0]->offset, 9);
    assert_string_equal(got->after[1]->topic, "");
}

static void the_last_of_a_field_wins(void **state)
{
    Freshet__V1__GetFeaturesRequest *got =
        parse(get_features, "{\"itemIds\":[1,2],\"item_ids\":[3],\"userId\":1,\"user_id\":2}");

    (void)state;
    assert_int_equal(got->n_item_ids, 1);
    assert_int_equal(got->item_ids[0], 3);
    assert_int_equal(got->user_id, 2);
}

static void a_wrong_value_is_named_by_its_path(void **state)
{
    (void)state;
    is_refused(get_features, "{\"item_ids\":[1,2,3,-1]}",
               "item_ids[3]: -1 is not an id; use 0 to 18446744073709551615 or a string");
    is_refused(get_features, "{\"userId\":18446744073709551616}",
               "user_id: 18446744073709551616 is not an id; use 0 to 18446744073709551615 or a string");
    is_refused(get_features, "{\"after\":[{},{\"partition\":2147483648}]}",
               "after[1].partition: 2147483648 is not an integer; use -2147483648 to 2147483647");
    is_refused(get_features, "{\"features\":[null]}", "features[0]: null is no element; use a value");
    is_refused(get_features, "{\"features\":\"a\"}", "features: \"a\" is not a list; use one in brackets");
    is_refused(get_features, "{\"featureSet\":[]}", "feature_set: an array is not a string; use one in double quotes");
    is_refused(get_features, "{\"log\":1}", "log: 1 is not a boolean; use true or false");
    is_refused(get_features, "{\"after\":[1]}", "after[0]: 1 is not an object; use one in braces");
    is_refused(get_features, "{\"asOfMs\":\"noon\"}",
               "as_of_ms: \"noon\" is not an integer; use -9223372036854775808 to 9223372036854775807");
    is_refused(get_features, "{\"featureSet\":\"a\\u0000b\"}",
               "feature_set: \"a\\u0000b\" is a string with a NUL in it; use one without");
    is_refused(get_features, "[]", "the message: an array is not an object; use one in braces");
}

static void an_unknown_field_is_refused_with_the_nearest(void **state)
{
    (void)state;
    is_refused(get_features, "{\"itemid\":1}", "itemid: GetFeaturesRequest has no such field; did you mean 'itemIds'?");
    is_refused(get_features, "{\"after\":[{\"ofset\":1}]}", "after[0].ofset: Offset has no such field; did you mean 'offset'?");
    is_refused(get_features, "{\"entirely different\":1}", "entirely different: GetFeaturesRequest has no such field");
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    (void)state;
    is_refused(get_features, "", "GetFeaturesRequest: not JSON at byte 0: it ends too early");
    is_refused(get_features, "{\"userId\":7", "GetFeaturesRequest: not JSON at byte 11: it ends too early");
    is_refused(get_features, "{\"userId\" 7}", "GetFeaturesRequest: not JSON at byte 10: expected ':'");
    is_refused(get_features, "{\"itemIds\":[1,]}", "GetFeaturesRequest: not JSON at byte 14: expected a value");
    is_refused(get_features, "{} x", "GetFeaturesRequest: not JSON at byte 3: something behind the end of the value");
}

static void enums_are_names_in_any_case_or_numbers(void **state)
{
    (void)state;
    assert_int_equal(((Freshet__V1__ScoreRequest *)parse(score, "{\"explore\":\"thompson\"}"))->explore, 1);
    assert_int_equal(((Freshet__V1__ScoreRequest *)parse(score, "{\"explore\":2}"))->explore, 2);
    is_refused(score, "{\"explore\":\"greedy\"}", "explore: \"greedy\" is not known; use NONE, THOMPSON or UCB");
    is_refused(score, "{\"explore\":1.5}", "explore: 1.5 is not known; use NONE, THOMPSON or UCB");
}

static void seeds_and_versions_are_no_ids(void **state)
{
    Freshet__V1__PullRequest *pull;

    (void)state;
    pull = parse(&freshet__v1__pull_request__descriptor, "{\"sinceVersion\":\"12\"}");
    assert_int_equal(pull->since_version, 12);
    is_refused(&freshet__v1__pull_request__descriptor, "{\"sinceVersion\":\"latest\"}",
               "since_version: \"latest\" is not an unsigned integer; use 0 to 18446744073709551615");
    is_refused(score, "{\"seed\":\"x\"}", "seed: \"x\" is not an unsigned integer; use 0 to 18446744073709551615");
}

static void an_arena_that_is_too_small_is_exhausted(void **state)
{
    struct fr_arena *small = fr_arena_new(300);

    (void)state;
    assert_non_null(small);
    assert_null(proto_json_parse(get_features, fr_slice_of("{\"after\":[{},{},{},{},{},{},{},{}]}"), small, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    fr_arena_free(small);
}

static void every_field_is_printed(void **state)
{
    Freshet__V1__GetFeaturesResponse reply = FRESHET__V1__GET_FEATURES_RESPONSE__INIT;
    Freshet__V1__ExplainRequest explain = FRESHET__V1__EXPLAIN_REQUEST__INIT;

    (void)state;
    prints(&reply.base,
           "{\"requestId\":\"0\",\"streamTimeMs\":\"0\",\"appliedLagMs\":\"0\",\"userColumns\":[],\"userValues\":[],"
           "\"userPresent\":false,\"itemColumns\":[],\"itemValues\":[],\"itemPresent\":[],\"itemFields\":[],"
           "\"sequences\":[],\"padded\":[]}");
    prints(&explain.base, "{\"entity\":null,\"feature\":\"\",\"asOfMs\":\"0\"}");
}

static void a_reply_is_printed(void **state)
{
    Freshet__V1__Field field = FRESHET__V1__FIELD__INIT;
    Freshet__V1__Sequence sequence = FRESHET__V1__SEQUENCE__INIT;
    Freshet__V1__Field *fields[] = {&field};
    uint64_t ids[] = {1, UINT64_MAX};
    int64_t ints[] = {INT64_MIN};
    double numbers[] = {0.1, (double)NAN, -(double)INFINITY};
    uint32_t rows[] = {0, UINT32_MAX};

    (void)state;
    field.name = (char[]){"a\"b"};
    field.ids = ids;
    field.n_ids = 2;
    field.ints = ints;
    field.n_ints = 1;
    field.numbers = numbers;
    field.n_numbers = 3;
    sequence.rows = rows;
    sequence.n_rows = 2;
    sequence.fields = fields;
    sequence.n_fields = 1;
    prints(&sequence.base,
           "{\"name\":\"\",\"key\":\"0\",\"rows\":[0,4294967295],\"fields\":[{\"name\":\"a\\\"b\",\"ids\":[\"1\","
           "\"18446744073709551615\"],\"ints\":[\"-9223372036854775808\"],\"numbers\":[0.1,\"NaN\",\"-Infinity\"]}]}");
}

static void enums_are_printed_by_name(void **state)
{
    Freshet__V1__PushRequest push = FRESHET__V1__PUSH_REQUEST__INIT;

    (void)state;
    push.kind = FRESHET__V1__PUSH_REQUEST__KIND__WEIGHTS;
    prints(&push.base, "{\"model\":\"\",\"baseVersion\":\"0\",\"schema\":\"0\",\"kind\":\"WEIGHTS\",\"width\":0,\"ids\":[],"
                       "\"values\":[]}");
}

static void numbers_are_as_short_as_they_can_be(void **state)
{
    static const struct {
        double value;
        const char *text;
    } doubles[] = {{0, "0"},
                   {-0.0, "-0"},
                   {1, "1"},
                   {-999999, "-999999"},
                   {1e6, "1000000"},
                   {0.1, "0.1"},
                   {1e300, "1e+300"},
                   {1.0 / 3, "0.3333333333333333"},
                   {9007199254740993.0, "9007199254740992"},
                   {5e-324, "4.94065645841247e-324"}};
    static const struct {
        float value;
        const char *text;
    } floats[] = {{0.1f, "0.1"},
                  {16777216.0f, "16777216"},
                  {1.0f / 3, "0.33333334"},
                  {3.4028235e38f, "3.4028235e+38"},
                  {-0.3f, "-0.3"},
                  {1e-4f, "0.0001"},
                  {12345.678f, "12345.678"},
                  {1e9f, "1000000000"},
                  {0.99999994f, "0.99999994"}};

    (void)state;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        fr_buffer_clear(&out);
        proto__print_double(doubles[i].value, &out);
        fr_buffer_append_byte(&out, 0);
        assert_string_equal((const char *)out.bytes, doubles[i].text);
    }
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        fr_buffer_clear(&out);
        proto__print_float(floats[i].value, &out);
        fr_buffer_append_byte(&out, 0);
        assert_string_equal((const char *)out.bytes, floats[i].text);
    }
}

static void numbers_read_back_to_the_same_bits(void **state)
{
    uint64_t bits = 88172645463325252;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value, back;

        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        fr_buffer_clear(&out);
        proto__print_double(value, &out);
        assert_true(proto__number_double(fr_buffer_slice(&out), false, &back));
        assert_memory_equal(&value, &back, sizeof value);
    }
}

static void floats_read_back_to_the_same_bits(void **state)
{
    uint32_t bits = 2463534242;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        float value, back;

        bits ^= bits << 13;
        bits ^= bits >> 17;
        bits ^= bits << 5;
        memcpy(&value, &bits, sizeof value);
        if (i % 2 == 0) /* near powers of two, of everyday size */
            value = ldexpf(1, (int)(bits % 50) - 15) * (1 + (float)((int)(bits >> 8 & 7) - 3) * 0x1p-23f);
        if (!isfinite(value))
            continue;
        fr_buffer_clear(&out);
        proto__print_float(value, &out);
        fr_buffer_append_byte(&out, 0);
        back = strtof((const char *)out.bytes, NULL);
        if (memcmp(&value, &back, sizeof value) != 0)
            fail_msg("%a prints as %s", (double)value, (const char *)out.bytes);
    }
}

static void what_is_quoted_is_json_whatever_it_was(void **state)
{
    (void)state;
    proto_json_quote(fr_slice("a\0\x1f\"\\\b\f\n\r\t\x7f/é", 14), &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "\"a\\u0000\\u001f\\\"\\\\\\b\\f\\n\\r\\t\x7f/é\""));
    fr_buffer_clear(&out);
    proto_json_quote(fr_slice_of("a\xff"
                                 "b"),
                     &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "\"a\xef\xbf\xbd"
                                                   "b\""));
    fr_buffer_clear(&out);
    proto_json_quote(fr_slice(NULL, 0), &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "\"\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_read_in_either_spelling, begin, end),
        cmocka_unit_test_setup_teardown(the_last_of_a_field_wins, begin, end),
        cmocka_unit_test_setup_teardown(a_wrong_value_is_named_by_its_path, begin, end),
        cmocka_unit_test_setup_teardown(an_unknown_field_is_refused_with_the_nearest, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_json_is_refused_with_its_place, begin, end),
        cmocka_unit_test_setup_teardown(enums_are_names_in_any_case_or_numbers, begin, end),
        cmocka_unit_test_setup_teardown(seeds_and_versions_are_no_ids, begin, end),
        cmocka_unit_test_setup_teardown(an_arena_that_is_too_small_is_exhausted, begin, end),
        cmocka_unit_test_setup_teardown(every_field_is_printed, begin, end),
        cmocka_unit_test_setup_teardown(a_reply_is_printed, begin, end),
        cmocka_unit_test_setup_teardown(enums_are_printed_by_name, begin, end),
        cmocka_unit_test_setup_teardown(numbers_are_as_short_as_they_can_be, begin, end),
        cmocka_unit_test_setup_teardown(numbers_read_back_to_the_same_bits, begin, end),
        cmocka_unit_test_setup_teardown(floats_read_back_to_the_same_bits, begin, end),
        cmocka_unit_test_setup_teardown(what_is_quoted_is_json_whatever_it_was, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
