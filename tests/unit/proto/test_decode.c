#include "wire.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fr_buffer wire;

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

static bool decode(struct proto_event *event)
{
    return decodes(fr_buffer_slice(&wire), event);
}

static void every_field_lands_in_its_place(void **state)
{
    struct proto_event event;
    const double value = 12.5, duration = 60;
    const float propensity = 0.25f;
    uint64_t bits;

    (void)state;
    put_fixed64(&wire, 1, 101);
    for (uint32_t field = 2; field <= 8; field++)
        put_varint(&wire, field, 100 + field);
    put_varint(&wire, 9, 3);
    memcpy(&bits, &value, sizeof bits);
    put_fixed64(&wire, 10, bits);
    memcpy(&bits, &duration, sizeof bits);
    put_fixed64(&wire, 11, bits);
    put_varint(&wire, 12, 2);
    put_fixed64(&wire, 13, 113);
    put_varint(&wire, 14, 114);
    fr_buffer_append_byte(&wire, 15 << 3 | 5);
    fr_buffer_append(&wire, &propensity, sizeof propensity);
    put_text(&wire, 16, "héllo");

    assert_true(decode(&event));
    assert_int_equal(event.event_id, 101);
    assert_int_equal(event.ts_ms, 102);
    assert_int_equal(event.user_id, 103);
    assert_int_equal(event.item_id, 104);
    assert_int_equal(event.creator_id, 105);
    assert_int_equal(event.room_id, 106);
    assert_int_equal(event.category_id, 107);
    assert_int_equal(event.region, 108);
    assert_int_equal(event.action, 3);
    assert_true(event.value == 12.5);
    assert_true(event.duration_s == 60);
    assert_int_equal(event.scene, 2);
    assert_int_equal(event.request_id, 113);
    assert_int_equal(event.position, 114);
    assert_true(event.propensity == 0.25f);
    assert_true(fr_slice_is(event.text, "héllo"));
    assert_int_equal(event.wire.length, 0);
}

static void no_bytes_are_an_event_of_zeros(void **state)
{
    struct proto_event event;

    (void)state;
    assert_true(decodes(fr_slice(NULL, 0), &event));
    assert_int_equal(event.ts_ms, 0);
    assert_int_equal(event.action, 0);
}

static void varints_of_every_length_are_read(void **state)
{
    (void)state;
    for (int bits = 1; bits <= 64; bits++) {
        uint64_t id = UINT64_MAX >> (64 - bits);

        for (int padding = 0; padding <= 8; padding++) { /* near the end and far from it */
            struct proto_event event;

            fr_buffer_clear(&wire);
            put_varint(&wire, 3, id);
            for (int i = 0; i < padding; i++)
                put_varint(&wire, 14, 1);
            assert_true(decode(&event));
            assert_true(event.user_id == id);
        }
    }
}

static void an_overlong_varint_is_read_up_to_ten_bytes(void **state)
{
    static const uint8_t ten[] = {0x18, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    static const uint8_t eleven[] = {0x18, 0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    struct proto_event event;

    (void)state;
    assert_true(decodes(fr_slice(ten, sizeof ten), &event));
    assert_int_equal(event.user_id, 5);
    assert_false(decodes(fr_slice(eleven, sizeof eleven), &event));
}

static void an_event_cut_anywhere_inside_a_field_is_refused(void **state)
{
    struct proto_event event;
    size_t whole;

    (void)state;
    put_varint(&wire, 2, 1700000000000);
    whole = wire.length;
    put_bytes(&wire, 16, fr_slice_of("text"));
    for (size_t length = 0; length <= wire.length; length++)
        assert_int_equal(decodes(fr_slice(wire.bytes, length), &event),
                         length == 0 || length == whole || length == wire.length);
}

static void the_last_of_a_field_wins(void **state)
{
    struct proto_event event;

    (void)state;
    put_varint(&wire, 4, 1);
    put_text(&wire, 16, "first");
    put_varint(&wire, 4, 2);
    put_text(&wire, 16, "");
    assert_true(decode(&event));
    assert_int_equal(event.item_id, 2);
    assert_int_equal(event.text.length, 0);
}

static void unknown_fields_are_skipped(void **state)
{
    struct proto_event event;

    (void)state;
    put_varint(&wire, 18, UINT64_MAX);
    put_fixed64(&wire, 1000, 7);
    put_text(&wire, 536870911, "later");
    fr_buffer_append(&wire,
                     "\x95\x01"
                     "abcd",
                     6); /* field 18 again, of 4 bytes */
    put_varint(&wire, 3, 5);
    assert_true(decode(&event));
    assert_int_equal(event.user_id, 5);
}

static void a_known_number_of_another_wire_type_is_unknown(void **state)
{
    struct proto_event event;

    (void)state;
    put_text(&wire, 3, "seven");
    put_fixed64(&wire, 9, 3);
    put_varint(&wire, 16, 1);
    put_varint(&wire, 4, 5);
    assert_true(decode(&event));
    assert_int_equal(event.user_id, 0);
    assert_int_equal(event.action, 0);
    assert_int_equal(event.item_id, 5);
}

static void balanced_groups_are_skipped(void **state)
{
    static const uint8_t inner[] = {0xa3, 0x06, 0xab, 0x06, 0x08, 0x01, 0xac, 0x06, 0xa4, 0x06, 0x18, 0x05};
    static const uint8_t crossed[] = {0xa3, 0x06, 0xab, 0x06, 0xa4, 0x06, 0xac, 0x06};
    static const uint8_t alone[] = {0xa4, 0x06};
    struct proto_event event;

    (void)state;
    assert_true(decodes(fr_slice(inner, sizeof inner), &event));
    assert_int_equal(event.user_id, 5);
    assert_false(decodes(fr_slice(inner, 8), &event));
    assert_false(decodes(fr_slice(crossed, sizeof crossed), &event));
    assert_false(decodes(fr_slice(alone, sizeof alone), &event));
}

static void groups_end_somewhere(void **state)
{
    struct proto_event event;
    enum { DEPTH = 32 };

    (void)state;
    for (int depth = DEPTH; depth <= DEPTH + 1; depth++) {
        fr_buffer_clear(&wire);
        for (int i = 0; i < depth; i++)
            fr_buffer_append_byte(&wire, 4 << 3 | 3);
        for (int i = 0; i < depth; i++)
            fr_buffer_append_byte(&wire, 4 << 3 | 4);
        assert_int_equal(decode(&event), depth == DEPTH);
    }
}

static void field_number_zero_is_refused(void **state)
{
    static const uint8_t plain[] = {0x02, 0x00}, overlong[] = {0x80, 0x00, 0x00};
    struct proto_event event;

    (void)state;
    assert_false(decodes(fr_slice(plain, sizeof plain), &event));
    assert_false(decodes(fr_slice(overlong, sizeof overlong), &event));
}

static void enums_unknown_here_are_zero(void **state)
{
    static const uint64_t unknown[] = {24, 1000, UINT64_MAX, (uint64_t)INT32_MIN};
    struct proto_event event;

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        fr_buffer_clear(&wire);
        put_varint(&wire, 9, unknown[i]);
        put_varint(&wire, 12, unknown[i]);
        assert_true(decode(&event));
        assert_int_equal(event.action, 0);
        assert_int_equal(event.scene, 0);
    }
}

static void what_has_32_bits_is_cut_to_them(void **state)
{
    struct proto_event event;

    (void)state;
    put_varint(&wire, 9, (UINT64_C(1) << 32) + 3);
    put_varint(&wire, 14, (UINT64_C(1) << 40) + 7);
    assert_true(decode(&event));
    assert_int_equal(event.action, 3);
    assert_int_equal(event.position, 7);
}

static void doubles_keep_their_bits(void **state)
{
    static const uint64_t bits[] = {UINT64_C(1) << 63, UINT64_C(0x7ff8000000000001), UINT64_C(0xfff0000000000000)};
    struct proto_event event;

    (void)state;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        fr_buffer_clear(&wire);
        put_fixed64(&wire, 10, bits[i]);
        assert_true(decode(&event));
        assert_memory_equal(&event.value, &bits[i], sizeof *bits);
    }
}

static void strings_that_are_not_utf8_spoil_the_event(void **state)
{
    struct proto_event event;
    struct fr_buffer entry;

    (void)state;
    put_text(&wire, 16, "\xff");
    assert_false(decode(&event));

    fr_buffer_init(&entry);
    put_text(&entry, 1, "key");
    put_text(&entry, 2, "\xed\xa0\x80"); /* half a surrogate pair */
    fr_buffer_clear(&wire);
    put_bytes(&wire, 17, fr_buffer_slice(&entry));
    assert_false(decode(&event));
    fr_buffer_fini(&entry);
}

static void the_message_says_where(void **state)
{
    struct proto_event event;
    struct fr_err err;

    (void)state;
    put_varint(&wire, 3, 1);
    put_text(&wire, 16, "\xff");
    assert_false(proto_event_decode(fr_buffer_slice(&wire), &event, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    assert_non_null(strstr(err.message, "byte 2 of 6"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_field_lands_in_its_place, begin, end),
        cmocka_unit_test(no_bytes_are_an_event_of_zeros),
        cmocka_unit_test_setup_teardown(varints_of_every_length_are_read, begin, end),
        cmocka_unit_test(an_overlong_varint_is_read_up_to_ten_bytes),
        cmocka_unit_test_setup_teardown(an_event_cut_anywhere_inside_a_field_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(the_last_of_a_field_wins, begin, end),
        cmocka_unit_test_setup_teardown(unknown_fields_are_skipped, begin, end),
        cmocka_unit_test_setup_teardown(a_known_number_of_another_wire_type_is_unknown, begin, end),
        cmocka_unit_test(balanced_groups_are_skipped),
        cmocka_unit_test_setup_teardown(groups_end_somewhere, begin, end),
        cmocka_unit_test(field_number_zero_is_refused),
        cmocka_unit_test_setup_teardown(enums_unknown_here_are_zero, begin, end),
        cmocka_unit_test_setup_teardown(what_has_32_bits_is_cut_to_them, begin, end),
        cmocka_unit_test_setup_teardown(doubles_keep_their_bits, begin, end),
        cmocka_unit_test_setup_teardown(strings_that_are_not_utf8_spoil_the_event, begin, end),
        cmocka_unit_test_setup_teardown(the_message_says_where, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
