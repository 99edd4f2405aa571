#include "fixture.h"

#include "internal.h"

enum { ENTITIES = 4000, ROUND = 32 };

/* What an epoch's encoding does with the locks, seen from inside of it. */
static struct {
    struct store *store;
    int encoded, locked, stayed; /* stayed: the stripe is one of the last few again */
    uint64_t last[ROUND];
} seen;

static void encode_watched(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                           struct fr_buffer *disk)
{
    uint64_t number = store_key_hash(seen.store, key) >> 56;
    struct store_stripe *stripe = &seen.store->stripes[number];

    if (pthread_mutex_trylock(&stripe->lock) != 0)
        seen.locked++;
    else
        pthread_mutex_unlock(&stripe->lock);
    for (int i = 0; i < ROUND && i < seen.encoded; i++)
        seen.stayed += seen.last[i] == number;
    seen.last[seen.encoded++ % ROUND] = number;
    fixture_encode(user, key, part, memory, bytes, disk);
}

static int setup(void **state)
{
    struct fixture *fixture;

    fixture_setup(state);
    fixture = *state;
    fixture->options.codec.encode = encode_watched;
    fixture_reopen(fixture);
    seen = (typeof(seen)){.store = fixture->store};
    return 0;
}

static void a_lane_is_kept_out_of_no_stripe_while_an_entity_is_encoded(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t id = 0; id < ENTITIES; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    assert_int_equal(seen.encoded, ENTITIES);
    assert_int_equal(seen.locked, 0);
}

/* Some have fewer than others, so at the end of a group few are left. */
static void a_stripe_is_not_taken_again_before_others_had_their_turn(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t id = 0; id < 4 * ENTITIES; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    assert_in_range(seen.stayed, 0, ENTITIES); /* one stripe after the other it would be 120 times that */
}

/* In memory a part of zeros is there, and on disk it is nothing. */
static void what_is_encoded_as_nothing_leaves_the_disk_and_is_not_asked_for_again(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = fixture_key(1);
    uint64_t hash = store_key_hash(fixture->store, &key);

    fixture_set(fixture->store, 1, 5);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 0);
    fixture_commit(fixture->store);
    struct store_entry *entry = store_entry_lock(fixture->store, &key, hash, false);
    if (entry != NULL) {
        assert_int_equal(entry->flags & STORE_ON_DISK, 0);
        store_entry_unlock(fixture->store, entry);
    }
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
    assert_true(store_is_whole(fixture->store));
}

static void parts_of_all_sizes_come_back(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = fixture_key(1);
    uint64_t hash = store_key_hash(fixture->store, &key);
    const uint32_t counts[STORE_PARTS] = {1, 3, 70001, 9};
    struct fr_err err;
    uint32_t bytes;

    store_gate_enter(fixture->store);
    struct store_entry *entry = store_entry_lock(fixture->store, &key, hash, true);
    for (uint32_t part = 0; part < STORE_PARTS; part++) {
        uint64_t *numbers = store_entry_write(fixture->store, entry, (enum store_part)part, counts[part] * 8);

        for (uint32_t i = 0; i < counts[part]; i++)
            numbers[i] = i * 1000 + part + 1;
    }
    store_entry_unlock(fixture->store, entry);
    store_gate_leave(fixture->store);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    hash = store_key_hash(fixture->store, &key);
    assert_true(store_load(fixture->store, &key, &hash, 1, &err));
    entry = store_entry_lock(fixture->store, &key, hash, false);
    assert_non_null(entry);
    for (uint32_t part = 0; part < STORE_PARTS; part++) {
        const uint64_t *numbers = store_entry_read(entry, (enum store_part)part, &bytes);

        assert_int_equal(bytes, counts[part] * 8);
        for (uint32_t i = 0; i < counts[part]; i++)
            assert_int_equal(numbers[i], i * 1000 + part + 1);
    }
    store_entry_unlock(fixture->store, entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lane_is_kept_out_of_no_stripe_while_an_entity_is_encoded, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_stripe_is_not_taken_again_before_others_had_their_turn, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_encoded_as_nothing_leaves_the_disk_and_is_not_asked_for_again, setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(parts_of_all_sizes_come_back, setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
