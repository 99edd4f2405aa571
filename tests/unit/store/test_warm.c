#include "fixture.h"

#include "internal.h"

enum { ENTITIES = 5000, WORK_US = 1000000 };

static uint64_t in_table(struct store *store)
{
    struct store_stats stats;

    store_stats_read(store, &stats);
    return stats.table_entities;
}

static void warm_all(struct store *store)
{
    while (store_warm(store, WORK_US))
        continue;
}

/* As a restart finds it: every third has two parts, and some were changed in a later file. */
static void leave_state(struct fixture *fixture)
{
    for (uint64_t id = 0; id < ENTITIES; id++) {
        fixture_set(fixture->store, id, id + 1);
        if (id % 3 == 0)
            fixture_set_part(fixture->store, id, STORE_PART_SEQUENCES, id + 7);
    }
    fixture_commit(fixture->store);
    for (uint64_t id = 0; id < ENTITIES; id += 100)
        fixture_set(fixture->store, id, id + 2);
    fixture_set(fixture->store, 4, 0); /* nothing of it is on disk any more */
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
}

static uint64_t number_of(uint64_t id)
{
    return id == 4 ? 0 : id % 100 == 0 ? id + 2 : id + 1;
}

static void the_state_of_a_restart_comes_before_anybody_wants_it(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    leave_state(fixture);
    assert_int_equal(in_table(fixture->store), 0);
    warm_all(fixture->store);
    assert_int_equal(in_table(fixture->store), ENTITIES - 1);
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, ENTITIES); /* none is counted twice; the last epoch still had the one that became empty */
    for (uint64_t id = 0; id < ENTITIES; id++) {
        assert_int_equal(fixture_is_in_table(fixture->store, id), id != 4);
        assert_int_equal(fixture_get(fixture->store, id), number_of(id));
        assert_int_equal(fixture_get_part(fixture->store, id, STORE_PART_SEQUENCES), id % 3 == 0 ? id + 7 : 0);
    }
}

static void it_goes_on_where_it_stopped(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before = 0;
    int calls = 1;

    leave_state(fixture);
    for (; store_warm(fixture->store, 0); calls++) {
        assert_true(in_table(fixture->store) > before);
        before = in_table(fixture->store);
    }
    assert_in_range(calls, 4, 8);
    assert_int_equal(in_table(fixture->store), ENTITIES - 1);
    assert_int_equal(fixture_get_part(fixture->store, 3, STORE_PART_SEQUENCES), 10);
}

static void what_was_changed_meanwhile_is_not_written_over(void **state)
{
    struct fixture *fixture = *state;

    leave_state(fixture);
    assert_true(store_warm(fixture->store, 0));
    fixture_set(fixture->store, ENTITIES - 1, 99);
    fixture_set(fixture->store, ENTITIES - 2, 98);
    fixture_commit(fixture->store);
    warm_all(fixture->store);
    assert_int_equal(fixture_get(fixture->store, ENTITIES - 1), 99);
    assert_int_equal(fixture_get(fixture->store, ENTITIES - 2), 98);
    fixture_set(fixture->store, 1, 0); /* what was warmed is known to be on disk: its record goes */
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
}

/* Between the snapshot and the insert: an entity changes, becomes durable, and leaves. Decoding is where that is told. */
static struct {
    struct store *store;
    bool is_armed;
} meanwhile;

static bool decode_late(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                        struct fr_buffer *memory)
{
    if (meanwhile.is_armed) {
        meanwhile.is_armed = false;
        fixture_set(meanwhile.store, ENTITIES - 1, 99);
        fixture_commit(meanwhile.store);
        atomic_fetch_add(&meanwhile.store->departed, 1);
    }
    return fixture_decode(user, key, part, disk, memory);
}

static void nothing_is_inserted_once_something_has_left(void **state)
{
    struct fixture *fixture = *state;

    leave_state(fixture);
    fixture->options.codec.decode = decode_late;
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, ENTITIES - 1), ENTITIES);
    meanwhile = (typeof(meanwhile)){.store = fixture->store, .is_armed = true};
    assert_false(store_warm(fixture->store, WORK_US));
    assert_int_equal(in_table(fixture->store), 1);
    assert_false(store_warm(fixture->store, WORK_US)); /* and it does not begin again */
    assert_int_equal(in_table(fixture->store), 1);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
}

static void an_entity_that_leaves_is_counted_before(void **state)
{
    struct fixture *fixture = *state;
    uint64_t before;

    leave_state(fixture);
    fixture->options.memory_bytes = 1 << 18; /* far too little */
    fixture_reopen(fixture);
    before = atomic_load(&fixture->store->departed);
    for (uint64_t id = 0; id < ENTITIES; id++)
        (void)fixture_get(fixture->store, id);
    fixture_tend(fixture->store);
    assert_true(in_table(fixture->store) < ENTITIES - 1);
    assert_true(atomic_load(&fixture->store->departed) > before);
}

static void state_that_is_large_beside_the_budget_stays_on_disk(void **state)
{
    struct fixture *fixture = *state;
    uint64_t bytes = 0;

    leave_state(fixture);
    assert_int_equal(rocksdb_property_int(fixture->store->disk.db, "rocksdb.live-sst-files-size", &bytes), 0);
    fixture->options.memory_bytes = 8 * bytes - 8;
    fixture_reopen(fixture);
    assert_false(store_warm(fixture->store, WORK_US));
    assert_int_equal(in_table(fixture->store), 0);
    fixture->options.memory_bytes = 8 * bytes;
    fixture_reopen(fixture);
    warm_all(fixture->store);
    assert_true(in_table(fixture->store) > 0);
}

static void what_makes_no_sense_is_left_to_whoever_wants_it(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_set(fixture->store, 2, FIXTURE_POISON);
    fixture_set(fixture->store, 3, 3);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    warm_all(fixture->store);
    assert_true(fixture_is_in_table(fixture->store, 1));
    assert_false(fixture_is_in_table(fixture->store, 2));
    assert_true(fixture_is_in_table(fixture->store, 3));
    assert_true(fixture_is_corrupt(fixture->store, 2));
}

static void a_store_that_began_empty_has_nothing_to_warm(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    assert_false(store_warm(fixture->store, WORK_US));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_state_of_a_restart_comes_before_anybody_wants_it, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(it_goes_on_where_it_stopped, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_changed_meanwhile_is_not_written_over, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nothing_is_inserted_once_something_has_left, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_entity_that_leaves_is_counted_before, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(state_that_is_large_beside_the_budget_stays_on_disk, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_left_to_whoever_wants_it, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_store_that_began_empty_has_nothing_to_warm, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
