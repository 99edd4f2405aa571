#include "fixture.h"

struct seen {
    struct store *store;
    struct fr_buffer text;
    uint64_t offset;
    int stop_after;
};

static bool see(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct seen *seen = user;

    fr_buffer_append_format(&seen->text, "%lu:", (unsigned long)key->ids[0]);
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_append_format(&seen->text, "%zu", disk[part].length);
    fr_buffer_append_text(&seen->text, " ");
    return --seen->stop_after != 0;
}

static void check_seen(struct seen *seen, const char *expected)
{
    fr_buffer_append_byte(&seen->text, 0);
    assert_string_equal((const char *)seen->text.bytes, expected);
    fr_buffer_fini(&seen->text);
}

static void every_entity_comes_once_in_the_order_of_its_key(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct fr_err err;

    fixture_set(fixture->store, 300, 1);
    fixture_set_part(fixture->store, 2, STORE_PART_LISTS, 300);
    fixture_set_part(fixture->store, 2, STORE_PART_SEQUENCES, 1);
    fixture_set(fixture->store, 10, 70000);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 1); /* not of the last durable epoch */
    assert_true(store_scan(fixture->store, see, &seen, &err));
    check_seen(&seen, "2:0102 10:3000 300:1000 ");
}

static void a_scan_stops_when_told(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.stop_after = 2};
    struct fr_err err;

    for (uint64_t id = 1; id <= 5; id++)
        fixture_set(fixture->store, id, 1);
    fixture_commit(fixture->store);
    assert_true(store_scan(fixture->store, see, &seen, &err));
    check_seen(&seen, "1:1000 2:1000 ");
}

static void an_empty_store_has_nothing_to_scan(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct fr_err err;

    assert_true(store_scan(fixture->store, see, &seen, &err));
    assert_int_equal(seen.text.length, 0);
}

/* Turns an epoch in the midst of the scan; the scan's meta record must be of the scan's epoch. */
static bool turn_and_look(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct seen *seen = user;
    struct fr_buffer value;

    (void)key, (void)disk;
    fixture_meta_set(seen->store, "offset", 2);
    fixture_set(seen->store, 9, 9);
    fixture_commit(seen->store);
    fr_buffer_init(&value);
    assert_true(store_scan_meta(seen->store, "offset", &value));
    assert_int_equal(value.length, 8);
    memcpy(&seen->offset, value.bytes, 8);
    fr_buffer_fini(&value);
    seen->stop_after++;
    return true;
}

static void meta_records_seen_in_a_scan_are_of_its_epoch(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.store = fixture->store};
    struct fr_buffer value;
    struct fr_err err;

    fixture_meta_set(fixture->store, "offset", 1);
    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    assert_true(store_scan(fixture->store, turn_and_look, &seen, &err));
    assert_int_equal(seen.offset, 1);
    assert_int_equal(seen.stop_after, 1); /* entity 9 came later */

    fr_buffer_init(&value);
    assert_true(store_scan_meta(fixture->store, "offset", &value));
    assert_int_equal(*(uint64_t *)value.bytes, 2);
    assert_false(store_scan_meta(fixture->store, "nothing", &value));
    fr_buffer_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_entity_comes_once_in_the_order_of_its_key, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_scan_stops_when_told, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_empty_store_has_nothing_to_scan, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(meta_records_seen_in_a_scan_are_of_its_epoch, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
