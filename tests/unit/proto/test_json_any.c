/*
 * The JSON of what no message of ours has: bytes, fields that exclude each other, messages of any type.
 */
#include "internal.h"

#include <google/protobuf/any.pb-c.h>
#include <holder.pb-c.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OFFSET "type.googleapis.com/freshet.v1.Offset"
#define HOLDER "type.googleapis.com/test.Holder"

static struct fr_arena *arena;
static struct fr_buffer out;
static struct fr_err err;

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

static const ProtobufCMessageDescriptor *find(const char *full_name)
{
    if (strcmp(full_name, "test.Holder") == 0)
        return &test__holder__descriptor;
    return strcmp(full_name, "google.protobuf.Any") == 0 ? &google__protobuf__any__descriptor : proto_type_find(full_name);
}

static Test__Holder *parse(const char *json)
{
    ProtobufCMessage *message = proto_json_parse_with(&test__holder__descriptor, fr_slice_of(json), find, arena, &err);

    if (!message)
        fail_msg("%s: %s", json, err.message);
    return (Test__Holder *)message;
}

static void is_refused(const char *json, const char *because)
{
    if (proto_json_parse_with(&test__holder__descriptor, fr_slice_of(json), find, arena, &err))
        fail_msg("%s: accepted", json);
    assert_int_equal(err.code, FR_BAD_INPUT);
    if (strcmp(err.message, because) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", json, err.message, because);
}

static void prints(const Test__Holder *holder, const char *json)
{
    fr_buffer_clear(&out);
    proto_json_print_with(&holder->base, find, &out);
    if (!fr_slice_is(fr_buffer_slice(&out), json))
        fail_msg("%.*s\nnot\n%s", (int)out.length, (const char *)out.bytes, json);
}

static void is_bytes(const ProtobufCBinaryData *bytes, const char *text)
{
    assert_true(fr_slice_is(fr_slice(bytes->data, bytes->len), text));
}

static void bytes_are_base64_of_either_kind(void **state)
{
    Test__Holder *got = parse("{\"raw\":\"Zm9v\",\"parts\":[\"\",\"Zg==\",\"Zg\",\"\\u0037-8\\u003d\",\"\\/\\/4=\",\"__4\"]}");

    (void)state;
    assert_int_equal(got->choice_case, TEST__HOLDER__CHOICE_RAW);
    is_bytes(&got->raw, "foo");
    assert_int_equal(got->n_parts, 6);
    is_bytes(&got->parts[0], "");
    is_bytes(&got->parts[1], "f");
    is_bytes(&got->parts[2], "f");
    is_bytes(&got->parts[3], "\xef\xef");
    is_bytes(&got->parts[4], "\xff\xfe");
    is_bytes(&got->parts[5], "\xff\xfe");
    prints(got, "{\"one\":null,\"many\":[],\"raw\":\"Zm9v\",\"parts\":[\"\",\"Zg==\",\"Zg==\",\"7+8=\",\"//4=\",\"//4=\"]}");
}

static void what_is_no_base64_is_named_by_its_path(void **state)
{
    (void)state;
    is_refused("{\"parts\":[\"Zg\",\"Z\"]}",
               "parts[1]: \"Z\" is not base64; use its letters in fours, in one of its alphabets");
    is_refused("{\"raw\":\"Zg=\"}", "raw: \"Zg=\" is not base64; use its letters in fours, in one of its alphabets");
    is_refused("{\"raw\":7}", "raw: 7 is not bytes; use a string of base64");
}

static void one_of_those_that_exclude_each_other_is_taken(void **state)
{
    Test__Holder *got = parse("{\"raw\":null,\"number\":0,\"text\":null}");

    (void)state;
    assert_int_equal(got->choice_case, TEST__HOLDER__CHOICE_NUMBER);
    prints(got, "{\"one\":null,\"many\":[],\"number\":0,\"parts\":[]}"); /* though it is 0 */
    prints(parse("{}"), "{\"one\":null,\"many\":[],\"parts\":[]}");
    got = parse("{\"text\":\"a\",\"text\":\"b\"}"); /* the last of a field wins, as ever */
    assert_string_equal(got->text, "b");
    is_refused("{\"text\":\"a\",\"number\":1}", "number: excludes text, which is there too; give one of them");
    is_refused("{\"inner\":{\"inner\":{},\"raw\":\"\"}}", "inner.raw: excludes inner, which is there too; give one of them");
}

static void what_is_in_an_any_lies_beside_its_type(void **state)
{
    static const char json[] = "{\"many\":[{\"topic\":\"t\",\"\\u0040type\":\"" OFFSET "\",\"partition\":3},{}]}";
    Test__Holder *got = parse(json);
    ProtobufCMessage *inner = proto_unpack(proto_type_find("freshet.v1.Offset"),
                                           fr_slice(got->many[0]->value.data, got->many[0]->value.len), arena, &err);

    (void)state;
    assert_string_equal(got->many[0]->type_url, OFFSET);
    assert_non_null(inner);
    proto_json_print(inner, &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "{\"topic\":\"t\",\"partition\":3,\"offset\":\"0\"}"));
    assert_string_equal(got->many[1]->type_url, "");
    assert_int_equal(got->many[1]->value.len, 0);
    prints(got, "{\"one\":null,\"many\":[{\"@type\":\"" OFFSET "\",\"topic\":\"t\",\"partition\":3,\"offset\":\"0\"},{}],"
                "\"parts\":[]}");
    prints(parse("{\"one\":{\"@type\":\"" HOLDER "\",\"one\":{\"@type\":\"x/freshet.v1.Label\"}}}"),
           "{\"one\":{\"@type\":\"" HOLDER
           "\",\"one\":{\"@type\":\"x/freshet.v1.Label\",\"task\":\"\",\"value\":0,\"weight\":0,"
           "\"observed\":false,\"delayMs\":\"0\"},\"many\":[],\"parts\":[]},\"many\":[],\"parts\":[]}");
}

static void an_any_that_cannot_be_read_is_refused_by_its_path(void **state)
{
    (void)state;
    is_refused("{\"many\":[{},{\"topic\":\"t\"}]}", "many[1]: an object is of no type; use one member \"@type\"");
    is_refused("{\"one\":{\"@type\":\"" OFFSET "\",\"@type\":\"" OFFSET "\"}}",
               "one: an object is of two types; use one member \"@type\"");
    is_refused("{\"one\":{\"@type\":\"" OFFSET "\",\"ofset\":1}}",
               "one.ofset: Offset has no such field; did you mean 'offset'?");
    is_refused("{\"one\":{\"@type\":\"" OFFSET "\",\"partition\":true}}",
               "one.partition: true is not an integer; use -2147483648 to 2147483647");
    is_refused("{\"one\":{\"@type\":null}}", "one: null is no type; use \"type.googleapis.com/package.Message\"");
    static const char *const unknown[] = {"x/y.Z", "", "freshet.v1.Offset", "x/google.protobuf.Any", OFFSET "/"};

    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char json[128], because[256];

        snprintf(json, sizeof json, "{\"one\":{\"@type\":\"%s\"}}", unknown[i]);
        snprintf(because, sizeof because,
                 "one.@type: \"%s\" is no type that is known here; use \"type.googleapis.com/package.Message\"", unknown[i]);
        is_refused(json, because);
    }
    assert_null(proto_json_parse(&test__holder__descriptor, fr_slice_of("{\"one\":{\"@type\":\"" OFFSET "\"}}"), arena, &err));
    is_refused("{\"one\":{\"topic\":\"t\"", "Holder: not JSON at byte 19: it ends too early");
    is_refused("{\"one\":{", "Holder: not JSON at byte 8: it ends too early");
}

static void nesting_has_an_end(void **state)
{
    static char json[1024];
    Test__Holder *got;

    (void)state;
    for (int depth = 1; depth <= 4; depth++) {
        json[0] = '\0';
        for (int i = 0; i < depth; i++)
            strcat(json, i == 0 ? "{\"one\":{\"@type\":\"" HOLDER "\"" : ",\"one\":{\"@type\":\"" HOLDER "\"");
        for (int i = 0; i <= depth; i++)
            strcat(json, "}");
        if (depth < 4)
            parse(json);
        else
            is_refused(json, "one: nested more than 8 deep");
    }
    /* By the wire it may go on: each is unpacked by itself. */
    got = parse("{}");
    for (int i = 0; i < 1000; i++) {
        Test__Holder *outer = parse("{\"one\":{\"@type\":\"" HOLDER "\"}}");

        outer->one->value.len = test__holder__get_packed_size(got);
        outer->one->value.data = fr_arena_take(arena, outer->one->value.len + 1);
        if (!outer->one->value.data)
            break;
        test__holder__pack(got, outer->one->value.data);
        got = outer;
    }
    fr_buffer_clear(&out);
    proto_json_print_with(&got->base, find, &out);
    fr_buffer_append_byte(&out, 0);
    json[0] = '\0';
    for (const char *at = (const char *)out.bytes; (at = strstr(at, "@type")); at++)
        strcat(json, "x");
    assert_int_equal(strlen(json), 9); /* the ninth told as bytes */
    assert_non_null(strstr((const char *)out.bytes, "\",\"value\":\""));
}

static void an_any_that_nobody_knows_is_printed_as_bytes(void **state)
{
    Test__Holder holder;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

    (void)state;
    test__holder__init(&holder);
    holder.one = &any;
    any.type_url = (char[]){"x/y.Z"};
    any.value = (ProtobufCBinaryData){.len = 3, .data = (uint8_t[]){"foo"}};
    prints(&holder, "{\"one\":{\"@type\":\"x/y.Z\",\"value\":\"Zm9v\"},\"many\":[],\"parts\":[]}");
    any.type_url = (char[]){OFFSET}; /* which these bytes are not */
    prints(&holder, "{\"one\":{\"@type\":\"" OFFSET "\",\"value\":\"Zm9v\"},\"many\":[],\"parts\":[]}");
    any.type_url = (char[]){""};
    prints(&holder, "{\"one\":{\"@type\":\"\",\"value\":\"Zm9v\"},\"many\":[],\"parts\":[]}");
}

static void what_is_too_much_for_the_arena_is_exhausted(void **state)
{
    static const char json[] = "{\"parts\":[\"Zm9vYmFy\"],\"one\":{\"@type\":\"" OFFSET "\",\"topic\":\"t\"}}";
    int refused = 0;

    (void)state;
    for (size_t bytes = 0; bytes < 1000; bytes += 8) {
        struct fr_arena *small = fr_arena_new(bytes);

        assert_non_null(small);
        if (!proto_json_parse_with(&test__holder__descriptor, fr_slice_of(json), find, small, &err)) {
            assert_int_equal(err.code, FR_EXHAUSTED);
            refused++;
        }
        fr_arena_free(small);
    }
    assert_true(refused > 10 && refused < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_are_base64_of_either_kind, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_base64_is_named_by_its_path, begin, end),
        cmocka_unit_test_setup_teardown(one_of_those_that_exclude_each_other_is_taken, begin, end),
        cmocka_unit_test_setup_teardown(what_is_in_an_any_lies_beside_its_type, begin, end),
        cmocka_unit_test_setup_teardown(an_any_that_cannot_be_read_is_refused_by_its_path, begin, end),
        cmocka_unit_test_setup_teardown(nesting_has_an_end, begin, end),
        cmocka_unit_test_setup_teardown(an_any_that_nobody_knows_is_printed_as_bytes, begin, end),
        cmocka_unit_test_setup_teardown(what_is_too_much_for_the_arena_is_exhausted, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
