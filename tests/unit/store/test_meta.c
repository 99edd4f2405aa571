#include "fixture.h"

static void a_record_is_durable_with_its_epoch_and_not_before(void **state)
{
    struct fixture *fixture = *state;

    fixture_meta_set(fixture->store, "offset/a", 1);
    fixture_commit(fixture->store);
    fixture_meta_set(fixture->store, "offset/a", 2);
    fixture_meta_set(fixture->store, "offset/b", 3);
    fixture_reopen(fixture);
    assert_int_equal(fixture_meta_get(fixture->store, "offset/a"), 1);
    assert_int_equal(store_meta_get(fixture->store, "offset/b").length, 0);
}

static void a_deleted_record_stays_away(void **state)
{
    struct fixture *fixture = *state;

    fixture_meta_set(fixture->store, "a", 1);
    fixture_commit(fixture->store);
    store_meta_delete(fixture->store, "a");
    assert_int_equal(store_meta_get(fixture->store, "a").length, 0);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(store_meta_get(fixture->store, "a").length, 0);
}

static void a_record_deleted_and_put_again_is_there(void **state)
{
    struct fixture *fixture = *state;

    fixture_meta_set(fixture->store, "a", 1);
    fixture_commit(fixture->store);
    store_meta_delete(fixture->store, "a");
    fixture_meta_set(fixture->store, "a", 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_meta_get(fixture->store, "a"), 1);
}

static void append_name(void *user, const char *name, struct fr_slice value)
{
    fr_buffer_append_format(user, "%s=%zu ", name, value.length);
}

static void names_of_a_prefix_come_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct fr_buffer names;

    for (int i = 99; i >= 0; i--) {
        char name[16];

        snprintf(name, sizeof(name), "n/%02d", i);
        store_meta_put(fixture->store, name, fr_slice(name, 4));
    }
    store_meta_put(fixture->store, "m", fr_slice_of("x"));
    store_meta_put(fixture->store, "n0", fr_slice_of("x"));
    store_meta_delete(fixture->store, "n/42");
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    fr_buffer_init(&names);
    store_meta_each(fixture->store, "n/4", append_name, &names);
    fr_buffer_append_byte(&names, 0);
    assert_string_equal((const char *)names.bytes, "n/40=4 n/41=4 n/43=4 n/44=4 n/45=4 n/46=4 n/47=4 n/48=4 n/49=4 ");
    fr_buffer_fini(&names);
}

static void an_empty_value_is_a_value_of_no_length(void **state)
{
    struct fixture *fixture = *state;
    struct fr_buffer names;

    store_meta_put(fixture->store, "z", fr_slice(NULL, 0));
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    fr_buffer_init(&names);
    store_meta_each(fixture->store, "z", append_name, &names);
    fr_buffer_append_byte(&names, 0);
    assert_string_equal((const char *)names.bytes, "z=0 ");
    fr_buffer_fini(&names);
}

static void an_epoch_without_changes_writes_nothing(void **state)
{
    struct fixture *fixture = *state;

    fixture_meta_set(fixture->store, "a", 1);
    fixture_commit(fixture->store);
    uint64_t epoch = fixture_epoch(fixture->store);
    fixture_meta_set(fixture->store, "a", 1);
    fixture_commit(fixture->store);
    assert_int_equal(fixture_epoch(fixture->store), epoch);
    fixture_meta_set(fixture->store, "a", 2);
    fixture_commit(fixture->store);
    assert_int_equal(fixture_epoch(fixture->store), epoch + 1);
}

/* One that is there, one that was deleted, one before, between and behind. */
static void many_put_at_once_are_what_each_put_by_itself_would_be(void **state)
{
    static const struct store_meta_named records[] = {
        {"a", {"1", 1}}, {"b", {"2", 1}}, {"c", {"3", 1}}, {"d", {"4", 1}}, {"e", {"5", 1}}};
    static const char *const there[] = {"b", "d", "dd"};
    struct fixture *fixture = *state;
    struct fr_buffer names;

    for (size_t i = 0; i < sizeof(there) / sizeof(*there); i++)
        store_meta_put(fixture->store, there[i], fr_slice_of("long"));
    store_meta_delete(fixture->store, "d");
    store_meta_put_sorted(fixture->store, records, 5);
    store_meta_put_sorted(fixture->store, records, 0);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    fr_buffer_init(&names);
    for (const char *letter = "abcd"; *letter; letter++)
        store_meta_each(fixture->store, (char[]){*letter, 0}, append_name, &names);
    fr_buffer_append_byte(&names, 0);
    assert_string_equal((const char *)names.bytes, "a=1 b=1 c=1 d=1 dd=4 disk_entities=1 ");
    assert_true(fr_slice_is(store_meta_get(fixture->store, "e"), "5"));
    fr_buffer_fini(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_is_durable_with_its_epoch_and_not_before, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_deleted_record_stays_away, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_record_deleted_and_put_again_is_there, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(names_of_a_prefix_come_in_order, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_empty_value_is_a_value_of_no_length, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(many_put_at_once_are_what_each_put_by_itself_would_be, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_epoch_without_changes_writes_nothing, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
