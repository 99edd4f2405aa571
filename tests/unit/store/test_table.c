/*
 * Keys whose hashes meet. The table's hash is seeded at random, so here the linker puts another in its place: whatever asks for a hash
 * (lanes, loads, the filter, epochs, eviction) is given one that many keys share.
 */
#include "fixture.h"

#include "internal.h"

static uint64_t hash_mask; /* what is left of a key's own hash; 0: all keys have the same */

uint64_t __real_store_key_hash(const struct store *store, const struct store_key *key);
uint64_t __wrap_store_key_hash(const struct store *store, const struct store_key *key);

uint64_t __wrap_store_key_hash(const struct store *store, const struct store_key *key)
{
    return __real_store_key_hash(store, key) & hash_mask;
}

static struct store_stats stats_of(struct store *store)
{
    struct store_stats stats;

    store_stats_read(store, &stats);
    return stats;
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

static bool count_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    (void)key, (void)disk;
    ++*(uint64_t *)user;
    return true;
}

static uint64_t entities_on_disk(struct store *store)
{
    uint64_t count = 0;
    struct fr_err err;

    assert_true(store_scan(store, count_one, &count, &err));
    return count;
}

/* Every key has its own number, whether it is in memory, comes from disk or is nowhere. */
static void check(struct store *store, uint64_t from, uint64_t to, uint64_t plus)
{
    for (uint64_t id = from; id < to; id++)
        assert_int_equal(fixture_get(store, id), id + plus);
    assert_int_equal(fixture_get(store, UINT64_MAX), 0);
}

/* A whole life: made, grown, durable, changed, after a restart, evicted, brought back, emptied and forgotten. */
static void check_life(struct fixture *fixture, uint64_t count)
{
    for (uint64_t id = 0; id < count; id++)
        fixture_set(fixture->store, id, id + 1);
    check(fixture->store, 0, count, 1);
    fixture_commit(fixture->store);
    for (uint64_t id = 0; id < count; id += 2)
        fixture_set(fixture->store, id, id + 2);
    fixture_commit(fixture->store);

    fixture->options.memory_bytes = 64 << 10; /* too little for most */
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < count; id++)
        assert_int_equal(fixture_get(fixture->store, id), id + 1 + (id % 2 == 0));
    fixture_tend(fixture->store);
    fixture_tend(fixture->store);
    assert_in_range(stats_of(fixture->store).table_entities, 0, count / 2);
    assert_int_equal(stats_of(fixture->store).entities, count);
    for (uint64_t id = 0; id < count; id++)
        fixture_set(fixture->store, id, id + 3);
    check(fixture->store, 0, count, 3);
    fixture_commit(fixture->store);
    fixture_tend(fixture->store);
    check(fixture->store, 0, count, 3);

    fixture->options.memory_bytes = 64 << 20;
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < count / 2; id++)
        empty_it(fixture->store, id);
    fixture_commit(fixture->store);
    for (uint64_t id = 0; id < count / 2; id++)
        assert_int_equal(fixture_get(fixture->store, id), 0);
    check(fixture->store, count / 2, count, 3);
    assert_int_equal(entities_on_disk(fixture->store), count - count / 2);
    fixture_reopen(fixture);
    check(fixture->store, count / 2, count, 3);
}

static void equal_hashes_are_different_entities(void **state)
{
    hash_mask = 0;
    check_life(*state, 500);
}

static void so_are_hashes_that_share_stripe_and_slot(void **state)
{
    hash_mask = UINT64_C(0x00FFFFFFFFFF0000); /* one stripe, one slot to begin at until it has 64 Ki; tags differ */
    check_life(*state, 2000);
}

static void so_are_hashes_that_only_the_stripe_tells_apart(void **state)
{
    hash_mask = UINT64_C(0xFF00000000000000); /* the tags are equal, everywhere */
    check_life(*state, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_hashes_are_different_entities, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_are_hashes_that_share_stripe_and_slot, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_are_hashes_that_only_the_stripe_tells_apart, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
