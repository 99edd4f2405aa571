#include "fixture.h"

#include "internal.h"

static struct store_entry *lock(struct fixture *fixture, uint64_t id)
{
    struct store_key key = fixture_key(id);

    store_gate_enter(fixture->store);
    return store_entry_lock(fixture->store, &key, store_key_hash(fixture->store, &key), true);
}

static void unlock(struct fixture *fixture, struct store_entry *entry)
{
    store_entry_unlock(fixture->store, entry);
    store_gate_leave(fixture->store);
}

static void an_entity_is_made_only_when_asked(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = fixture_key(1);
    uint64_t hash = store_key_hash(fixture->store, &key);
    uint32_t bytes = 9;

    assert_null(store_entry_lock(fixture->store, &key, hash, false));
    struct store_entry *entry = lock(fixture, 1);
    assert_null(store_entry_read(entry, STORE_PART_LISTS, &bytes));
    assert_int_equal(bytes, 0);
    unlock(fixture, entry);
    entry = store_entry_lock(fixture->store, &key, hash, false);
    assert_non_null(entry);
    store_entry_unlock(fixture->store, entry);
}

static void a_part_keeps_what_it_held_and_grows_by_zeros(void **state)
{
    struct fixture *fixture = *state;
    struct store_entry *entry = lock(fixture, 1);

    for (uint32_t bytes = 1; bytes < 5000; bytes += bytes / 3 + 1) {
        uint8_t *memory = store_entry_write(fixture->store, entry, STORE_PART_ROWS, bytes);

        assert_int_equal((uintptr_t)memory % 16, 0);
        assert_int_equal(memory[bytes - 1], 0);
        assert_true(bytes == 1 || memory[0] == 1);
        memory[0] = 1;
        memory[bytes - 1] = 1;
    }
    unlock(fixture, entry);
}

static void bytes_cut_off_do_not_come_back(void **state)
{
    struct fixture *fixture = *state;
    struct store_entry *entry = lock(fixture, 1);

    memset(store_entry_write(fixture->store, entry, STORE_PART_ROWS, 16), 0xAA, 16);
    (void)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8);
    const uint8_t *memory = store_entry_write(fixture->store, entry, STORE_PART_ROWS, 16);
    for (int i = 0; i < 16; i++)
        assert_int_equal(memory[i], i < 8 ? 0xAA : 0);
    unlock(fixture, entry);
}

static void an_emptied_part_gives_its_memory_back(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats before, after;
    uint32_t bytes;

    unlock(fixture, lock(fixture, 1));
    store_stats_read(fixture->store, &before);
    struct store_entry *entry = lock(fixture, 1);
    assert_non_null(store_entry_write(fixture->store, entry, STORE_PART_ROWS, 100000));
    assert_null(store_entry_write(fixture->store, entry, STORE_PART_ROWS, 0));
    assert_null(store_entry_read(entry, STORE_PART_ROWS, &bytes));
    unlock(fixture, entry);
    store_stats_read(fixture->store, &after);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_int_equal(after.dirty_bytes, 0);
}

static void a_part_that_became_small_gives_memory_back(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    struct store_entry *entry = lock(fixture, 1);
    (void)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 1000000);
    (void)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 100);
    unlock(fixture, entry);
    store_stats_read(fixture->store, &stats);
    assert_in_range(stats.memory_bytes, 100, 10000);
    assert_int_equal(stats.dirty_bytes, 100);
}

static void a_part_beyond_all_bounds_is_refused_unchanged(void **state)
{
    struct fixture *fixture = *state;
    uint32_t bytes;

    struct store_entry *entry = lock(fixture, 1);
    (void)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8);
    assert_null(store_entry_write(fixture->store, entry, STORE_PART_ROWS, UINT32_MAX));
    assert_non_null(store_entry_read(entry, STORE_PART_ROWS, &bytes));
    assert_int_equal(bytes, 8);
    unlock(fixture, entry);
}

static void a_hundred_thousand_entities_are_all_found(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;
    uint32_t bytes;

    for (uint64_t id = 0; id < 100000; id++) {
        struct store_entry *entry = lock(fixture, id);

        *(uint64_t *)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8) = id;
        unlock(fixture, entry);
    }
    for (uint64_t id = 0; id < 100000; id++) {
        struct store_entry *entry = lock(fixture, id);

        assert_int_equal(*(const uint64_t *)store_entry_read(entry, STORE_PART_ROWS, &bytes), id);
        unlock(fixture, entry);
    }
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 100000);
    assert_int_equal(stats.dirty_bytes, 800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entity_is_made_only_when_asked, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_keeps_what_it_held_and_grows_by_zeros, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(bytes_cut_off_do_not_come_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_emptied_part_gives_its_memory_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_that_became_small_gives_memory_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_beyond_all_bounds_is_refused_unchanged, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_entities_are_all_found, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
