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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_is_durable_with_its_epoch_and_not_before, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_deleted_record_stays_away, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_record_deleted_and_put_again_is_there, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(names_of_a_prefix_come_in_order, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_empty_value_is_a_value_of_no_length, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_epoch_without_changes_writes_nothing, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
