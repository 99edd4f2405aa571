#include "fixture.h"

#include "internal.h"

#include <freshet/clock.h>

enum { KEYS = 100000 };

static uint64_t hash_of(uint64_t number)
{
    return (number + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 8; /* one stripe: the top byte is 0 */
}

static void it_has_every_key_that_was_added_and_few_others(void **state)
{
    uint64_t bytes = store_filter__bytes_for(KEYS), *blocks = aligned_alloc(64, bytes);
    struct store_filter filter = {.keys = 0};
    int wrong = 0;

    (void)state;
    assert_true(store_filter__is_none(&filter));
    memset(blocks, 0, bytes);
    store_filter__set(&filter, blocks, bytes);
    assert_in_range(filter.capacity, KEYS, KEYS + 100);
    for (uint64_t i = 0; i < KEYS; i++)
        store_filter__add(&filter, hash_of(i));
    for (uint64_t i = 0; i < KEYS; i++)
        assert_true(store_filter__has(&filter, hash_of(i)));
    for (uint64_t i = KEYS; i < 2 * KEYS; i++)
        wrong += store_filter__has(&filter, hash_of(i));
    assert_in_range(wrong, 1, KEYS / 100);
    assert_in_range(filter.keys, KEYS - KEYS / 100, KEYS);
    free(blocks);
}

static void a_key_that_is_there_already_takes_no_room(void **state)
{
    uint64_t bytes = store_filter__bytes_for(1), *blocks = aligned_alloc(64, bytes);
    struct store_filter filter = {.keys = 0};

    (void)state;
    memset(blocks, 0, bytes);
    store_filter__set(&filter, blocks, bytes);
    for (int i = 0; i < 10; i++)
        store_filter__add(&filter, 77);
    assert_int_equal(filter.keys, 1);
    free(blocks);
}

/* Of ids from..to: how many a load would ask the disk for. */
static int asked(struct store *store, uint64_t from, uint64_t to)
{
    int count = 0;

    for (uint64_t id = from; id < to; id++) {
        struct store_key key = fixture_key(id);
        uint64_t hash = store_key_hash(store, &key);

        count += !store_is_loaded(store, &key, &hash, 1);
    }
    return count;
}

static void a_new_store_asks_the_disk_for_nothing(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(asked(fixture->store, 0, 1000), 0);
    for (uint64_t id = 0; id < 1000; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    assert_int_equal(asked(fixture->store, 0, 5000), 0);
}

static void after_a_restart_keys_that_are_nowhere_are_known_once_it_is_built(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t id = 0; id < 1000; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(asked(fixture->store, 900, 2000), 1100);
    fixture_tend(fixture->store);
    assert_int_equal(asked(fixture->store, 0, 1000), 1000);
    assert_in_range(asked(fixture->store, 1000, 11000), 0, 200);
    assert_int_equal(fixture_get(fixture->store, 999), 1000);
    assert_int_equal(asked(fixture->store, 999, 1000), 0);
}

static void what_was_looked_for_in_vain_is_not_looked_for_again(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture); /* and no filter is built */
    assert_int_equal(asked(fixture->store, 0, 10), 10);
    for (uint64_t id = 0; id < 10; id++)
        assert_int_equal(fixture_get(fixture->store, id), id == 1);
    assert_int_equal(asked(fixture->store, 0, 10), 0);
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 1);
    fixture_set(fixture->store, 5, 50);
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 2);
    assert_int_equal(fixture_get(fixture->store, 5), 50);
}

static void it_is_built_in_slices_while_entities_come(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;
    struct fr_err err;
    uint64_t id = 20000;
    int slices = 0;

    for (uint64_t old = 0; old < 20000; old++)
        fixture_set(fixture->store, old, old + 1);
    fixture_commit(fixture->store);
    fixture->options.memory_bytes = 1 << 20; /* so that they leave as they come */
    fixture_reopen(fixture);
    do {
        assert_true(store_tend(fixture->store, 0, &err));
        for (int i = 0; i < 20; i++, id++)
            fixture_set(fixture->store, id, id + 1);
        if (++slices % 50 == 0)
            fixture_commit(fixture->store);
        store_stats_read(fixture->store, &stats);
    } while (!stats.is_filter_built && slices < 10000);
    assert_true(slices > 3);
    fixture_commit(fixture->store);
    for (uint64_t each = 0; each < id; each++)
        assert_int_equal(fixture_get(fixture->store, each), each + 1);
}

static uint64_t filter_bytes(struct store *store)
{
    struct store_stats stats;

    store_stats_read(store, &stats);
    return stats.filter_bytes;
}

static void there_is_none_while_memory_holds_everything(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t id = 0; id < 3000; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    fixture_tend(fixture->store);
    assert_int_equal(filter_bytes(fixture->store), 0);
    assert_true(store_is_whole(fixture->store));

    fixture->store->memory_bytes = 64 << 10;
    fixture_tend(fixture->store);
    assert_false(store_is_whole(fixture->store));
    assert_false(fixture_is_in_table(fixture->store, 5));
    assert_true(filter_bytes(fixture->store) > 0);
    assert_int_equal(fixture->store->build.at_bytes, 0); /* it had them all as they left: nothing was looked through */
    assert_in_range(asked(fixture->store, 100000, 110000), 0, 200);
    for (uint64_t id = 0; id < 3000; id++)
        assert_int_equal(fixture_get(fixture->store, id), id + 1);
}

static void a_full_one_is_built_anew_and_greater(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before = 0;

    fixture->options.memory_bytes = 1 << 20;
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < 30000; id++) {
        fixture_set(fixture->store, id, id + 1);
        if (id % 3000 == 2999) {
            fixture_commit(fixture->store);
            fixture_tend(fixture->store);
            before = before > 0 ? before : filter_bytes(fixture->store);
        }
    }
    assert_true(before > 0);
    for (int i = 0; i < 100 && fixture->store->build.is_running; i++)
        fixture_tend(fixture->store);
    assert_true(filter_bytes(fixture->store) > before);
    assert_in_range(asked(fixture->store, 100000, 110000), 0, 200);
    for (uint64_t id = 0; id < 30000; id += 7)
        assert_int_equal(fixture_get(fixture->store, id), id + 1);
}

static void the_parts_that_no_entity_has_are_not_asked_for(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    fixture_tend(fixture->store);
    assert_int_equal(atomic_load(&fixture->store->kind_parts[1]), 1 << STORE_PART_ROWS);
    fixture_set_part(fixture->store, 1, STORE_PART_LISTS, 5);
    fixture_commit(fixture->store);
    assert_int_equal(atomic_load(&fixture->store->kind_parts[1]), 1 << STORE_PART_ROWS | 1 << STORE_PART_LISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_every_key_that_was_added_and_few_others),
        cmocka_unit_test(a_key_that_is_there_already_takes_no_room),
        cmocka_unit_test_setup_teardown(a_new_store_asks_the_disk_for_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(after_a_restart_keys_that_are_nowhere_are_known_once_it_is_built, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_looked_for_in_vain_is_not_looked_for_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(it_is_built_in_slices_while_entities_come, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(there_is_none_while_memory_holds_everything, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_full_one_is_built_anew_and_greater, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_parts_that_no_entity_has_are_not_asked_for, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
