#include "wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Each differs from zero in one field only, in the order of what counts more. */
static const struct proto_event by_weight[] = {
    {.propensity = 1}, {.position = 1},    {.request_id = 1}, {.scene = 1},      {.duration_s = 1},
    {.region = 1},     {.category_id = 1}, {.room_id = 1},    {.creator_id = 1}, {.user_id = 1},
    {.value = 1},      {.item_id = 1},     {.action = 1},     {.event_id = 1},   {.ts_ms = 1},
};

static void fields_count_in_the_contracts_order(void **state)
{
    const size_t count = sizeof by_weight / sizeof *by_weight;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = proto_event_compare(&by_weight[i], &by_weight[j]);

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
}

static void ids_are_unsigned(void **state)
{
    struct proto_event small = {.event_id = 1}, large = {.event_id = UINT64_MAX};

    (void)state;
    assert_true(proto_event_compare(&small, &large) < 0);
}

static void doubles_are_ordered_by_their_bits(void **state)
{
    struct proto_event zero = {.value = 0.0}, negative = {.value = -1}, positive = {.value = 1}, minus_zero = {.value = -0.0};

    (void)state;
    assert_true(proto_event_compare(&positive, &negative) < 0);
    assert_true(proto_event_compare(&zero, &minus_zero) < 0);
    assert_true(proto_event_compare(&minus_zero, &negative) < 0);
}

static void text_and_attributes_do_not_count(void **state)
{
    struct proto_event a = {.ts_ms = 1, .text = fr_slice_of("a")}, b = {.ts_ms = 1, .wire = fr_slice_of("b")};

    (void)state;
    assert_int_equal(proto_event_compare(&a, &b), 0);
}

static void fields_are_read_by_number(void **state)
{
    struct proto_event event = {.event_id = 1,
                                .ts_ms = 2,
                                .user_id = 3,
                                .item_id = 4,
                                .creator_id = 5,
                                .room_id = 6,
                                .category_id = 7,
                                .region = 8,
                                .action = 9,
                                .value = 10,
                                .duration_s = 11,
                                .scene = 12,
                                .request_id = 13,
                                .position = 14,
                                .propensity = 15};

    (void)state;
    for (int field = 1; field <= 15; field++) {
        bool is_id = field == 1 || (field >= 3 && field <= 8) || field == 13;
        double value;

        assert_true(proto_event_number_field(&event, field, &value));
        assert_true(value == field);
        assert_int_equal(proto_event_id_field(&event, field), is_id ? field : 0);
    }
    double value;

    assert_false(proto_event_number_field(&event, PROTO_FIELD_TEXT, &value));
    assert_false(proto_event_number_field(&event, 0, &value));
}

static void names_and_numbers_belong_together(void **state)
{
    (void)state;
    for (uint32_t action = 0; action < PROTO_ACTIONS; action++)
        assert_int_equal(proto_action_number(fr_slice_of(proto_action_name(action))), (int)action);
    for (uint32_t scene = 0; scene < PROTO_SCENES; scene++)
        assert_int_equal(proto_scene_number(fr_slice_of(proto_scene_name(scene))), (int)scene);
    for (int field = PROTO_FIELD_EVENT_ID; field <= PROTO_FIELD_ATTRIBUTES; field++)
        assert_int_equal(proto_field_number(fr_slice_of(proto_field_name(field))), field);
    assert_string_equal(proto_action_name(11), "add_to_cart");
    assert_int_equal(proto_action_number(fr_slice_of("Add_To_CART")), 11);
    assert_int_equal(proto_action_number(fr_slice_of("teleport")), -1);
    assert_int_equal(proto_scene_number(fr_slice_of("")), -1);
    assert_string_equal(proto_action_name(PROTO_ACTIONS), "");
    assert_string_equal(proto_scene_name(PROTO_SCENES), "");
    assert_string_equal(proto_field_name(0), "");
    assert_int_equal(proto_field_number(fr_slice_of("itemId")), 0);
    assert_string_equal(proto_verdict_name(PROTO_EVENT), "applied");
    assert_string_equal(proto_verdict_name(PROTO_FUTURE), "future");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_count_in_the_contracts_order), cmocka_unit_test(ids_are_unsigned),
        cmocka_unit_test(doubles_are_ordered_by_their_bits),   cmocka_unit_test(text_and_attributes_do_not_count),
        cmocka_unit_test(fields_are_read_by_number),           cmocka_unit_test(names_and_numbers_belong_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
