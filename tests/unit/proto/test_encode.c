#include "wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct seen {
    int count;
    char keys[64];
};

static void see(void *user, struct fr_slice key, struct fr_slice value)
{
    struct seen *seen = user;

    (void)value;
    seen->count++;
    strncat(seen->keys, key.bytes ? key.bytes : "", key.length);
    strcat(seen->keys, ";");
}

static struct proto_event full_event(void)
{
    return (struct proto_event){
        .event_id = 1,
        .ts_ms = 1700000000000,
        .user_id = 3,
        .item_id = UINT64_MAX,
        .creator_id = 5,
        .room_id = 6,
        .category_id = 7,
        .region = 8,
        .action = 9,
        .scene = 4,
        .value = -0.0,
        .duration_s = 60,
        .request_id = 13,
        .position = UINT32_MAX,
        .propensity = 0.5f,
        .text = fr_slice_of("text"),
    };
}

static void an_event_comes_back_as_it_went(void **state)
{
    struct proto_event event = full_event(), back;
    struct fr_buffer wire;

    (void)state;
    fr_buffer_init(&wire);
    proto_event_encode(&event, &wire);
    assert_true(decodes(fr_buffer_slice(&wire), &back));
    assert_int_equal(proto_event_compare(&event, &back), 0);
    assert_true(signbit(back.value));
    assert_true(fr_slice_is(back.text, "text"));
    fr_buffer_fini(&wire);
}

static void zeros_take_no_bytes(void **state)
{
    struct proto_event event = {0};
    struct fr_buffer wire;

    (void)state;
    fr_buffer_init(&wire);
    proto_event_encode(&event, &wire);
    assert_int_equal(wire.length, 0);
    assert_false(wire.is_failed);
    fr_buffer_fini(&wire);
}

static void attributes_are_found_by_name(void **state)
{
    struct proto_event event = full_event(), back;
    struct fr_slice value;
    struct fr_buffer wire;

    (void)state;
    fr_buffer_init(&wire);
    proto_event_encode(&event, &wire);
    proto_event_encode_attribute(&wire, fr_slice_of("device"), fr_slice_of("phone"));
    proto_event_encode_attribute(&wire, fr_slice_of("a\0b"), fr_slice_of("short")); /* fr_slice_of stops at the NUL */
    proto_event_encode_attribute(&wire, fr_slice("a\0b", 3), fr_slice_of("long"));
    proto_event_encode_attribute(&wire, fr_slice_of(""), fr_slice_of(""));
    assert_true(decodes(fr_buffer_slice(&wire), &back));

    assert_true(proto_event_attribute(&back, fr_slice_of("device"), &value) && fr_slice_is(value, "phone"));
    assert_true(proto_event_attribute(&back, fr_slice_of("a"), &value) && fr_slice_is(value, "short"));
    assert_true(proto_event_attribute(&back, fr_slice("a\0b", 3), &value) && fr_slice_is(value, "long"));
    assert_true(proto_event_attribute(&back, fr_slice_of(""), &value) && value.length == 0);
    assert_false(proto_event_attribute(&back, fr_slice_of("devic"), &value));
    fr_buffer_fini(&wire);
}

static void an_event_without_attributes_has_none(void **state)
{
    struct proto_event event = full_event();
    struct seen seen = {0};
    struct fr_slice value;

    (void)state;
    assert_false(proto_event_attribute(&event, fr_slice_of("device"), &value));
    assert_true(proto_event_attributes(&event, see, &seen));
    assert_int_equal(seen.count, 0);
}

static void a_key_given_twice_has_its_last_value(void **state)
{
    struct proto_event event;
    struct seen seen = {0};
    struct fr_slice value;
    struct fr_buffer wire;

    (void)state;
    fr_buffer_init(&wire);
    proto_event_encode_attribute(&wire, fr_slice_of("k"), fr_slice_of("first"));
    proto_event_encode_attribute(&wire, fr_slice_of("j"), fr_slice_of("other"));
    proto_event_encode_attribute(&wire, fr_slice_of("k"), fr_slice_of("last"));
    assert_true(decodes(fr_buffer_slice(&wire), &event));
    assert_true(proto_event_attribute(&event, fr_slice_of("k"), &value) && fr_slice_is(value, "last"));
    assert_true(proto_event_attributes(&event, see, &seen));
    assert_string_equal(seen.keys, "j;k;");
    fr_buffer_fini(&wire);
}

static void an_entry_without_key_or_value_has_empty_ones(void **state)
{
    struct fr_buffer wire, entry;
    struct proto_event event;
    struct fr_slice value;

    (void)state;
    fr_buffer_init(&wire);
    fr_buffer_init(&entry);
    put_text(&entry, 2, "value alone");
    put_bytes(&wire, 17, fr_buffer_slice(&entry));
    fr_buffer_clear(&entry);
    put_text(&entry, 1, "key alone");
    put_varint(&entry, 2, 1); /* of another wire type: not the value */
    put_bytes(&wire, 17, fr_buffer_slice(&entry));
    assert_true(decodes(fr_buffer_slice(&wire), &event));
    assert_true(proto_event_attribute(&event, fr_slice_of(""), &value) && fr_slice_is(value, "value alone"));
    assert_true(proto_event_attribute(&event, fr_slice_of("key alone"), &value) && value.length == 0);
    fr_buffer_fini(&entry);
    fr_buffer_fini(&wire);
}

static void encoding_again_keeps_the_attributes(void **state)
{
    struct fr_buffer wire, again;
    struct proto_event event;
    struct seen seen = {0};

    (void)state;
    fr_buffer_init(&wire);
    fr_buffer_init(&again);
    for (int i = 0; i < 20; i++) {
        char key[] = {(char)('a' + i), '\0'};

        proto_event_encode_attribute(&wire, fr_slice_of(key), fr_slice_of("value"));
    }
    assert_true(decodes(fr_buffer_slice(&wire), &event));
    proto_event_encode(&event, &again);
    assert_true(decodes(fr_buffer_slice(&again), &event));
    assert_true(proto_event_attributes(&event, see, &seen));
    assert_int_equal(seen.count, 20);
    fr_buffer_fini(&again);
    fr_buffer_fini(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_comes_back_as_it_went),       cmocka_unit_test(zeros_take_no_bytes),
        cmocka_unit_test(attributes_are_found_by_name),         cmocka_unit_test(an_event_without_attributes_has_none),
        cmocka_unit_test(a_key_given_twice_has_its_last_value), cmocka_unit_test(an_entry_without_key_or_value_has_empty_ones),
        cmocka_unit_test(encoding_again_keeps_the_attributes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
