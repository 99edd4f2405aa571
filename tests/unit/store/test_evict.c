#include "fixture.h"

#include "internal.h"

static struct store_stats stats_of(struct store *store)
{
    struct store_stats stats;

    store_stats_read(store, &stats);
    return stats;
}

static void set_budget(struct fixture *fixture, uint64_t bytes)
{
    fixture->options.memory_bytes = bytes;
    fixture_reopen(fixture);
}

static void fill(struct store *store, uint64_t from, uint64_t to)
{
    for (uint64_t id = from; id < to; id++)
        fixture_set(store, id, id + 1);
}

static void the_budget_is_kept(void **state)
{
    struct fixture *fixture = *state;

    set_budget(fixture, 4 << 20);
    for (uint64_t id = 0; id < 100000; id += 5000) {
        fill(fixture->store, id, id + 5000);
        fixture_commit(fixture->store);
        fixture_tend(fixture->store);
        assert_in_range(stats_of(fixture->store).total_bytes, 1, 4 << 20);
    }
    assert_int_equal(stats_of(fixture->store).entities, 100000);
    assert_in_range(stats_of(fixture->store).table_entities, 1, 40000);
    for (uint64_t id = 0; id < 100000; id += 11)
        assert_int_equal(fixture_get(fixture->store, id), id + 1);
    assert_int_equal(stats_of(fixture->store).entities, 100000);
}

static void the_indexes_of_its_files_are_of_the_budget(void **state)
{
    struct fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_stats few, many;

    fill(store, 0, 1000);
    fixture_commit(store);
    few = stats_of(store);
    fill(store, 0, 50000);
    fixture_commit(store);
    many = stats_of(store);
    assert_in_range(few.index_bytes, 1000, 50000); /* ten bits a key, and RocksDB's own structures */
    assert_true(many.index_bytes > few.index_bytes + 49000 * 10 / 8);
    assert_int_equal(many.total_bytes, many.memory_bytes + many.filter_bytes + many.buffer_bytes + many.index_bytes);
    assert_int_equal(store_memory__table_most(store),
                     store->memory_bytes - many.filter_bytes - many.buffer_bytes - many.index_bytes);
    fixture_reopen(fixture);
    assert_true(stats_of(fixture->store).index_bytes > 0);
}

static void what_is_not_durable_stays(void **state)
{
    struct fixture *fixture = *state;

    set_budget(fixture, 64 << 10);
    fill(fixture->store, 0, 1000);
    fixture_tend(fixture->store);
    assert_int_equal(stats_of(fixture->store).table_entities, 1000);

    struct fr_err err;
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    fixture_tend(fixture->store);
    assert_int_equal(stats_of(fixture->store).table_entities, 1000);
    assert_true(store_epoch__encode(fixture->store, &err)); /* clean by now, but what if it fails */
    fixture_tend(fixture->store);
    assert_int_equal(stats_of(fixture->store).table_entities, 1000);
    store_epoch__take_back(fixture->store);
    fixture_tend(fixture->store);
    assert_int_equal(stats_of(fixture->store).table_entities, 1000);

    fixture_commit(fixture->store);
    fixture_tend(fixture->store);
    assert_int_equal(stats_of(fixture->store).table_entities, 0);
    assert_int_equal(stats_of(fixture->store).entities, 1000);
}

static void what_a_visit_relies_on_stays_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    struct store *store;
    struct store_key keys[2] = {fixture_key(1), fixture_key(5000)};
    uint64_t hashes[2];
    struct fr_err err;

    set_budget(fixture, 64 << 10);
    store = fixture->store;
    fill(store, 0, 1000);
    fixture_commit(store);
    fixture_tend(store);
    for (int i = 0; i < 2; i++)
        hashes[i] = store_key_hash(store, &keys[i]);

    struct store_visit visit = store_visit_enter(store);
    assert_true(store_load(store, keys, hashes, 2, &err)); /* one comes from disk, one is nowhere */
    fixture_set(store, 5000, 1); /* another thread makes it, and it becomes durable */
    fixture_commit(store);
    fixture_tend(store);
    assert_true(fixture_is_in_table(store, 1));
    assert_true(fixture_is_in_table(store, 5000));
    store_visit_leave(store, visit);

    fixture_tend(store);
    fixture_tend(store);
    assert_int_equal(stats_of(store).table_entities, 0);
    assert_int_equal(fixture_get(store, 5000), 1);
}

static void what_is_found_to_be_loaded_stays_likewise(void **state)
{
    struct fixture *fixture = *state;
    struct store *store;
    struct store_key key = fixture_key(7);

    set_budget(fixture, 64 << 10);
    store = fixture->store;
    fill(store, 0, 1000); /* dirty, so they are here */
    fixture_tend(store);

    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    assert_true(store_is_loaded(store, &key, &hash, 1));
    fixture_commit(store);
    fixture_tend(store);
    assert_true(fixture_is_in_table(store, 7));
    store_visit_leave(store, visit);
    fixture_tend(store);
    fixture_tend(store);
    visit = store_visit_enter(store);
    assert_false(store_is_loaded(store, &key, &hash, 1));
    store_visit_leave(store, visit);
}

/* Half a thousand keep being wanted while ten times as many pass by once. */
static void what_is_wanted_again_and_again_stays(void **state)
{
    struct fixture *fixture = *state;
    int here = 0;

    set_budget(fixture, 1 << 20);
    for (uint64_t passing = 1000; passing < 20000; passing += 500) {
        fill(fixture->store, 0, 500);
        fill(fixture->store, passing, passing + 500);
        fixture_commit(fixture->store);
        fixture_tend(fixture->store);
    }
    for (uint64_t id = 0; id < 500; id++)
        here += fixture_is_in_table(fixture->store, id);
    assert_true(stats_of(fixture->store).evicted > 10000);
    assert_in_range(here, 400, 500);
}

static void a_quarantined_entity_stays(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, FIXTURE_POISON);
    fixture_commit(fixture->store);
    set_budget(fixture, 64 << 10);
    assert_true(fixture_is_corrupt(fixture->store, 1));
    fixture_tend(fixture->store);
    assert_true(fixture_is_in_table(fixture->store, 1));
    assert_int_equal(stats_of(fixture->store).corrupt, 1);
}

static void empty_it(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;

    assert_true(store_load(store, &key, &hash, 1, &err));
    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, hash, true);
    (void)store_entry_write(store, entry, STORE_PART_ROWS, 0);
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    store_visit_leave(store, visit);
}

static void what_became_empty_leaves_by_itself(void **state)
{
    struct fixture *fixture = *state;
    struct store *store = fixture->store; /* with a budget that nobody needs */

    fill(store, 0, 100);
    fixture_commit(store);
    for (uint64_t id = 0; id < 50; id++)
        empty_it(store, id);
    fixture_set(store, 200, 1);
    empty_it(store, 200); /* never was on disk */
    for (int i = 0; i < 4; i++) {
        fixture_set(store, 99, 1000 + (uint64_t)i);
        fixture_set(store, 49, 49); /* comes back in time */
        fixture_commit(store);
    }
    assert_int_equal(stats_of(store).table_entities, 51);
    assert_int_equal(stats_of(store).entities, 51);
    assert_int_equal(fixture_get(store, 49), 49);
    assert_int_equal(fixture_get(store, 0), 0);
    fixture_reopen(fixture);
    assert_int_equal(stats_of(fixture->store).entities, 51);
}

static void a_visit_keeps_what_became_empty_from_coming_back(void **state)
{
    struct fixture *fixture = *state;
    struct store *store = fixture->store;
    struct store_visit visit;

    fill(store, 0, 1);
    fixture_commit(store);
    visit = store_visit_enter(store); /* its load may have read the entity from disk by now */
    empty_it(store, 0);
    for (uint64_t i = 0; i < 5; i++) {
        fixture_set(store, 1, 10 + i);
        fixture_commit(store);
    }
    assert_true(fixture_is_in_table(store, 0));
    store_visit_leave(store, visit);
    for (uint64_t i = 0; i < 5; i++) {
        fixture_set(store, 1, 20 + i);
        fixture_commit(store);
    }
    assert_false(fixture_is_in_table(store, 0));
}

/* Many in few slots, so that probes run into each other and round the end. */
static void removing_from_a_crowded_table_loses_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct store_eras eras = {0};
    struct store_stripe *stripes = store_table__new();
    struct store_stripe *stripe = &stripes[0];
    struct store_entry *entries[2000] = {0};
    bool is_here[2000] = {0};

    (void)fixture;
    atomic_store(&eras.now, 5);
    srandom(7);
    for (int step = 0; step < 100000; step++) {
        uint64_t i = (uint64_t)random() % (step % 5000 < 2500 ? 2000 : 20);
        struct store_key key = fixture_key(i);
        uint64_t hash = (i * 2654435761U) & 0xFF; /* poor on purpose */

        struct store_entry *found = store_stripe__find(stripe, &key, hash, &eras);
        assert_ptr_equal(found, is_here[i] ? entries[i] : NULL);
        if (is_here[i]) {
            store_stripe__remove(stripe, found, hash);
            store_entry__free(found);
        } else {
            entries[i] = store_entry__new(&key, 0);
            assert_true(store_stripe__insert(stripe, entries[i], hash, &eras));
        }
        is_here[i] = !is_here[i];
    }
    store_table__free(stripes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_budget_is_kept, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_indexes_of_its_files_are_of_the_budget, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_durable_stays, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_a_visit_relies_on_stays_to_its_end, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_found_to_be_loaded_stays_likewise, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_wanted_again_and_again_stays, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_quarantined_entity_stays, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_became_empty_leaves_by_itself, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_visit_keeps_what_became_empty_from_coming_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(removing_from_a_crowded_table_loses_nobody, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
