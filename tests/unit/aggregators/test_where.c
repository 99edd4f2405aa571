#include "node.h"

static struct fr_buffer canonical;

/* The condition on the event: 1, 0, or −1 when it isn't one. */
static int holds(const char *text, const struct proto_event *event, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_where *where = NULL;
    int result = -1;

    fr_buffer_clear(&canonical);
    if (agg_where__compile(fr_slice_of(text), arena, &where, &canonical, err))
        result = agg_where__holds(where, event);
    fr_arena_free(arena);
    return result;
}

static struct proto_event watch(void)
{
    return (struct proto_event){
        .ts_ms = 1000, .user_id = 7, .item_id = 9, .action = 3, .scene = 1, .value = 6, .duration_s = 12, .position = 4};
}

static void check(const char *text, bool expected)
{
    struct proto_event event = watch();
    struct fr_err err;
    int result = holds(text, &event, &err);

    if (result < 0)
        fail_msg("%s: %s", text, err.message);
    if (result != expected)
        fail_msg("%s: %d", text, result);
}

static void comparisons_hold_as_they_read(void **state)
{
    (void)state;
    check("value == 6", true);
    check("value = 6", true);
    check("value != 6", false);
    check("value<>6", false);
    check("value < 6", false);
    check("value <= 6", true);
    check("value > 5.5", true);
    check("6.0e0 >= value", true);
    check("value ≥ 6", true);
    check("user_id == 7 and item_id == 9", true);
    check("ts_ms >= 1000", true);
}

static void arithmetic_binds_as_in_school(void **state)
{
    (void)state;
    check("1 + 2 * 3 == 7", true);
    check("(1 + 2) * 3 == 9", true);
    check("8 / 4 / 2 == 1", true);
    check("7 - 2 - 1 == 4", true);
    check("-value + 12 == value", true);
    check("value × 2 ÷ 3 − 1 == 3", true);
    check("value / duration_s >= 0.5", true);
}

static void and_binds_before_or_and_not_before_and(void **state)
{
    (void)state;
    check("value == 6 or value == 7 and value == 8", true);
    check("(value == 6 or value == 7) and value == 8", false);
    check("not value == 7 and value == 6", true);
    check("not (value == 7 or value == 6)", false);
    check("NOT value == 7 AND value == 6", true);
}

static void names_of_actions_and_scenes_are_told_in_any_case(void **state)
{
    (void)state;
    check("action == watch", true);
    check("WATCH == action", true);
    check("action != 'Like'", true);
    check("action in [like, Watch]", true);
    check("scene in (LIVE, feed)", true);
    check("scene not in [live]", false);
    check("scene == live and action in (comment, gift, watch)", true);
}

static void lists_hold_numbers(void **state)
{
    (void)state;
    check("position in [1, 4]", true);
    check("position not in [1, 4]", false);
    check("value - 10 in [-4]", true);
}

static void division_by_zero_and_nan_are_false(void **state)
{
    (void)state;
    check("value / 0 > 1", false);
    check("not (value / 0 > 1)", false);
    check("0 / 0 != 1", false);
    check("value / (position - 4) > 1 or value == 6", false);
    check("position == 4 or value / (position - 4) > 1", true); /* never divided */
    check("1e308 * 10 - 1e308 * 10 == 0", false);
}

static struct proto_event with_attributes(struct fr_buffer *wire)
{
    struct proto_event event = watch();

    fr_buffer_init(wire);
    proto_event_encode(&event, wire);
    proto_event_encode_attribute(wire, fr_slice_of("country"), fr_slice_of("de"));
    proto_event_encode_attribute(wire, fr_slice_of("rank"), fr_slice_of("3.0"));
    proto_event_encode_attribute(wire, fr_slice_of("a key"), fr_slice_of("3"));
    event.wire = fr_buffer_slice(wire);
    return event;
}

static void attributes_are_numbers_or_text(void **state)
{
    static const struct {
        const char *text;
        int expected;
    } cases[] = {
        {"attributes.country == 'de'", 1},
        {"'de' == attributes.country", 1},
        {"attributes.country != 'de'", 0},
        {"attributes.country in ['fr', de]", 1},
        {"attributes.country not in ['fr']", 1},
        {"attributes.rank == 3", 1},
        {"attributes.rank + 1 > 3.5", 1},
        {"attributes.rank == '3'", 0},
        {"attributes.rank in [3]", 1},
        {"attributes.rank == attributes.'a key'", 1},
        {"attributes.country > 3", 0},
        {"attributes.country == attributes.rank", 0},
        {"attributes.country != attributes.rank", 1},
    };
    struct fr_buffer wire;
    struct proto_event event = with_attributes(&wire);
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (holds(cases[i].text, &event, &err) != cases[i].expected)
            fail_msg("%s", cases[i].text);
    }
    fr_buffer_fini(&wire);
}

static void an_absent_attribute_makes_its_comparison_false(void **state)
{
    (void)state;
    check("attributes.none == 'a'", false);
    check("attributes.none != 'a'", false);
    check("attributes.none < 3", false);
    check("attributes.none + 1 >= 0", false);
    check("attributes.none not in [1]", false);
    check("attributes.none == attributes.none", false);
    check("not attributes.none == 'a'", true);
}

static void mistakes_are_told_by_character(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"valeu >= 3", "at character 1: unknown field 'valeu'; did you mean 'value'?"},
        {"value >= ", "ends where"},
        {"value", "this is no condition"},
        {"value >= 3 value < 4", "'and' or 'or' should stand before 'value'"},
        {"1 < value < 3", "join comparisons with 'and'"},
        {"action == wach", "at character 11: unknown action 'wach'; did you mean 'watch'?"},
        {"scene == lives", "did you mean 'live'?"},
        {"action > watch", "use == or !="},
        {"action == 3", "compare 'action' with a name"},
        {"action + 1 == 3", "compare 'action' with a name"},
        {"value == 'a'", "only attributes, actions and scenes"},
        {"text == 'a'", "cannot look into 'text'"},
        {"attributes == 'a'", "attributes.key"},
        {"(value == 3", "')' is missing"},
        {"value == 3)", "should stand before ')'"},
        {"value in 3", "a list like [1, 2]"},
        {"value in [a]", "a number should stand here"},
        {"action in [3]", "a name should stand here"},
        {"value not 3", "'in' should follow 'not'"},
        {"value == 3 and 4", "this is no condition"},
        {"(value == 3) + 1 == 2", "a condition stands where a number should"},
        {"value == 1.2.3", "is no number"},
        {"value == 'a", "the quote isn't closed"},
        {"value # 3", "'#' has no meaning here"},
        {"attributes. == 3", "a name should follow"},
        {"", "ends where"},
    };
    struct proto_event event = watch();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fr_err err = {.message = ""};

        if (holds(cases[i].text, &event, &err) != -1 || !strstr(err.message, cases[i].message))
            fail_msg("%s: '%s', should be '%s'", cases[i].text, err.message, cases[i].message);
    }
}

static void depth_and_length_are_bounded(void **state)
{
    struct proto_event event = watch();
    struct fr_err err;
    char text[8192];
    int length = 0;

    (void)state;
    memset(text, '(', 5000);
    strcpy(text + 5000, "1");
    assert_int_equal(holds(text, &event, &err), -1);
    assert_non_null(strstr(err.message, "nested deeper than 32"));
    for (int i = 0; i < 5000; i += 4)
        memcpy(text + i, "not ", 4);
    strcpy(text + 5000, "value == 1");
    assert_int_equal(holds(text, &event, &err), -1);
    length = snprintf(text, sizeof text, "value == 1");
    for (int i = 0; i < 200; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, " or value == %d", i);
    assert_int_equal(holds(text, &event, &err), -1);
    assert_non_null(strstr(err.message, "too long"));
    length = snprintf(text, sizeof text, "value in [0");
    for (int i = 0; i < 300; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, ", %d", i);
    strcpy(text + length, "]");
    assert_int_equal(holds(text, &event, &err), -1);
}

static void spelling_does_not_change_the_definition(void **state)
{
    struct proto_event event = watch();
    struct fr_err err;
    struct fr_buffer first;

    (void)state;
    fr_buffer_init(&first);
    assert_true(holds("value>=3.0 AND action in [WATCH] and value × 2 = 12", &event, &err) >= 0);
    fr_buffer_append(&first, canonical.bytes, canonical.length);
    assert_true(holds("value ≥ 3 and action  in [ watch ] and value*2 == 12", &event, &err) >= 0);
    assert_true(fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&canonical)));
    assert_true(holds("value >= 4 and action in [watch]", &event, &err) >= 0);
    assert_false(fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&canonical)));
    fr_buffer_fini(&first);
    fr_buffer_fini(&canonical);
}

static void half_a_spelling_is_no_definition(void **state)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_where *where = NULL;
    struct fr_buffer lost;
    struct fr_err err;

    (void)state;
    fr_buffer_init(&lost);
    lost.is_failed = true; /* as when memory was out */
    assert_false(agg_where__compile(fr_slice_of("value > 0"), arena, &where, &lost, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    fr_buffer_fini(&lost);
    fr_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons_hold_as_they_read),
        cmocka_unit_test(arithmetic_binds_as_in_school),
        cmocka_unit_test(and_binds_before_or_and_not_before_and),
        cmocka_unit_test(names_of_actions_and_scenes_are_told_in_any_case),
        cmocka_unit_test(lists_hold_numbers),
        cmocka_unit_test(division_by_zero_and_nan_are_false),
        cmocka_unit_test(attributes_are_numbers_or_text),
        cmocka_unit_test(an_absent_attribute_makes_its_comparison_false),
        cmocka_unit_test(mistakes_are_told_by_character),
        cmocka_unit_test(depth_and_length_are_bounded),
        cmocka_unit_test(spelling_does_not_change_the_definition),
        cmocka_unit_test(half_a_spelling_is_no_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
