#include "wire.h"

#include <freshet/message.h>

#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fr_arena *arena;
static struct fr_buffer wire;
static struct fr_err err;

static const ProtobufCMessageDescriptor *const request = &freshet__v1__get_features_request__descriptor;

static int begin(void **state)
{
    (void)state;
    fr_buffer_init(&wire);
    arena = fr_arena_new(1 << 20);
    return arena ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fr_buffer_fini(&wire);
    fr_arena_free(arena);
    return 0;
}

static void is_refused(const ProtobufCMessageDescriptor *type, const char *because)
{
    err = (struct fr_err){0};
    assert_null(proto_unpack(type, fr_buffer_slice(&wire), arena, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    if (!strstr(err.message, because))
        fail_msg("\"%s\" does not say \"%s\"", err.message, because);
}

static void a_message_comes_back_as_it_went(void **state)
{
    uint64_t items[] = {1, 0, UINT64_MAX};
    char *features[] = {(char[]){"a"}, (char[]){""}};
    Freshet__V1__GetFeaturesRequest sent = FRESHET__V1__GET_FEATURES_REQUEST__INIT, *got;

    (void)state;
    sent.user_id = 7;
    sent.item_ids = items;
    sent.n_item_ids = 3;
    sent.features = features;
    sent.n_features = 2;
    proto_pack(&sent.base, &wire);
    got = (Freshet__V1__GetFeaturesRequest *)proto_unpack(request, fr_buffer_slice(&wire), arena, &err);
    assert_non_null(got);
    assert_int_equal(got->user_id, 7);
    assert_int_equal(got->n_item_ids, 3);
    assert_true(got->item_ids[2] == UINT64_MAX);
    assert_int_equal(got->n_features, 2);
    assert_string_equal(got->features[0], "a");
    assert_string_equal(got->feature_set, "");
}

static void packing_appends(void **state)
{
    Freshet__V1__ForgetRequest forget = FRESHET__V1__FORGET_REQUEST__INIT;

    (void)state;
    forget.user_id = 1;
    fr_buffer_append_text(&wire, "ab");
    proto_pack(&forget.base, &wire);
    assert_int_equal(wire.length, 4);
}

static void no_bytes_are_a_message_of_zeros(void **state)
{
    Freshet__V1__GetFeaturesRequest *got;

    (void)state;
    got = (Freshet__V1__GetFeaturesRequest *)proto_unpack(request, fr_slice(NULL, 0), arena, &err);
    assert_non_null(got);
    assert_int_equal(got->n_item_ids, 0);
}

static void unknown_fields_are_no_fault(void **state)
{
    (void)state;
    put_text(&wire, 100, "later");
    put_varint(&wire, 1, 7);
    assert_non_null(proto_unpack(request, fr_buffer_slice(&wire), arena, &err));
}

static void strings_are_checked(void **state)
{
    (void)state;
    put_text(&wire, 4, "\xff");
    is_refused(request, "freshet.v1.GetFeaturesRequest: a string that is not UTF-8, at byte 0");
    fr_buffer_clear(&wire);
    put_varint(&wire, 1, 7);
    put_bytes(&wire, 5, fr_slice("a\0b", 3));
    is_refused(request, "NUL in it, at byte 2");
}

static void strings_inside_are_checked_too(void **state)
{
    struct fr_buffer offset;

    (void)state;
    fr_buffer_init(&offset);
    put_text(&offset, 1, "\xff");
    put_bytes(&wire, 9, fr_buffer_slice(&offset));
    is_refused(request, "UTF-8, at byte 2");
    fr_buffer_fini(&offset);
}

static void malformed_bytes_are_refused(void **state)
{
    (void)state;
    fr_buffer_append(&wire, "\x12\x7f", 2);
    is_refused(request, "not the wire form");
    fr_buffer_clear(&wire);
    put_text(&wire, 1, "seven");
    is_refused(request, "another wire type");
    fr_buffer_clear(&wire);
    put_text(&wire, 2, "\x80"); /* packed, and its last value does not end */
    is_refused(request, "packed");
    fr_buffer_clear(&wire);
    fr_buffer_append(&wire, "\x53\x54", 2); /* a group */
    is_refused(request, "not the wire form");
}

static void fields_are_counted(void **state)
{
    (void)state;
    for (int i = 0; i <= PROTO_MESSAGE_FIELDS_MAX; i++)
        put_varint(&wire, 2, 1);
    is_refused(request, "65536 fields");
}

static void an_arena_that_is_too_small_is_exhausted(void **state)
{
    struct fr_arena *small = fr_arena_new(256);

    (void)state;
    assert_non_null(small);
    for (int i = 0; i < 100; i++)
        put_text(&wire, 9, ""); /* three bytes each, and some sixty once unpacked */
    assert_null(proto_unpack(request, fr_buffer_slice(&wire), small, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    fr_arena_free(small);
}

static void a_submessage_given_twice_is_merged(void **state)
{
    Freshet__V1__ExplainRequest *got;
    struct fr_buffer key;

    (void)state;
    fr_buffer_init(&key);
    put_text(&key, 1, "item");
    put_bytes(&wire, 1, fr_buffer_slice(&key));
    fr_buffer_clear(&key);
    put_varint(&key, 2, 5);
    put_bytes(&wire, 1, fr_buffer_slice(&key));
    got = (Freshet__V1__ExplainRequest *)proto_unpack(&freshet__v1__explain_request__descriptor, fr_buffer_slice(&wire), arena,
                                                      &err);
    assert_non_null(got);
    assert_string_equal(got->entity->entity, "item");
    assert_int_equal(got->entity->n_key, 1);
    fr_buffer_fini(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_comes_back_as_it_went, begin, end),
        cmocka_unit_test_setup_teardown(packing_appends, begin, end),
        cmocka_unit_test_setup_teardown(no_bytes_are_a_message_of_zeros, begin, end),
        cmocka_unit_test_setup_teardown(unknown_fields_are_no_fault, begin, end),
        cmocka_unit_test_setup_teardown(strings_are_checked, begin, end),
        cmocka_unit_test_setup_teardown(strings_inside_are_checked_too, begin, end),
        cmocka_unit_test_setup_teardown(malformed_bytes_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(fields_are_counted, begin, end),
        cmocka_unit_test_setup_teardown(an_arena_that_is_too_small_is_exhausted, begin, end),
        cmocka_unit_test_setup_teardown(a_submessage_given_twice_is_merged, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
