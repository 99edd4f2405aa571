/* Excerpts: found while their entity stays as it is, and for as long as they are said to be good. */
#include "fixture.h"

#include "internal.h"

#include <pthread.h>

enum { WORDS = 4, MANY = 20000, CHANGES = 5000 };

static struct store_key key_of(uint64_t id)
{
    return (struct store_key){.kind = 1, .id_count = 1, .ids = {id}};
}

static void set(struct store *store, uint64_t id, uint64_t number)
{
    struct store_key key = key_of(id);

    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, store_key_hash(store, &key), true);
    uint64_t *numbers = store_entry_write(store, entry, STORE_PART_ROWS, 2 * sizeof(number));
    numbers[0] = numbers[1] = number;
    store_entry_unlock(store, entry);
    store_gate_leave(store);
}

static struct store_excerpt excerpt(uint16_t number, uint32_t from, uint32_t until)
{
    return (struct store_excerpt){.kind = 1, .number = number, .bytes = WORDS * sizeof(uint64_t), .from = from, .until = until};
}

/* What the entity has now, twice, and then the number of the excerpt twice. */
static void keep(struct store *store, uint64_t id, struct store_excerpt made)
{
    struct store_key key = key_of(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_entry *entry = store_entry_lock(store, &key, hash, false);
    uint32_t bytes;

    assert_non_null(entry);
    const uint64_t *numbers = store_entry_read(entry, STORE_PART_ROWS, &bytes);
    store_excerpt_keep(store, entry, hash, &made, (uint64_t[WORDS]){numbers[0], numbers[1], made.number, made.number});
    store_entry_unlock(store, entry);
}

/* Its first word; UINT64_MAX: it is not found. */
static uint64_t look(struct store *store, uint64_t id, uint16_t number, uint32_t at)
{
    struct store_excerpt wanted = excerpt(number, at, 0);
    uint64_t words[WORDS] = {0};
    struct store_piece piece = {.bytes = sizeof(words), .to = words};
    int missing;

    if (store_excerpts_read(store, &wanted, &piece, 1, &id, 1, &missing) == 1)
        return UINT64_MAX;
    assert_int_equal(words[0], words[1]);
    assert_int_equal(words[2], number);
    assert_int_equal(words[3], number);
    return words[0];
}

static void what_is_kept_is_found_until_its_entity_changes(void **state)
{
    struct fixture *fixture = *state;

    set(fixture->store, 5, 70);
    set(fixture->store, 6, 80);
    assert_int_equal(look(fixture->store, 5, 1, 10), UINT64_MAX);
    keep(fixture->store, 5, excerpt(1, 10, 20));
    keep(fixture->store, 6, excerpt(1, 10, 20));
    assert_int_equal(look(fixture->store, 5, 1, 10), 70);
    set(fixture->store, 5, 71);
    assert_int_equal(look(fixture->store, 5, 1, 10), UINT64_MAX);
    assert_int_equal(look(fixture->store, 6, 1, 10), 80);
    keep(fixture->store, 5, excerpt(1, 10, 20));
    assert_int_equal(look(fixture->store, 5, 1, 10), 71);
}

static void an_erased_entity_has_none(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = key_of(5);
    int erased = 0;

    set(fixture->store, 5, 70);
    keep(fixture->store, 5, excerpt(1, 10, 20));
    store_gate_enter(fixture->store);
    struct store_entry *entry = store_entry_lock(fixture->store, &key, store_key_hash(fixture->store, &key), false);
    assert_true(store_entry_erase(fixture->store, entry, &erased));
    store_entry_unlock(fixture->store, entry);
    store_gate_leave(fixture->store);
    assert_int_equal(look(fixture->store, 5, 1, 10), UINT64_MAX);
}

static void one_is_good_from_its_moment_to_before_its_end(void **state)
{
    struct fixture *fixture = *state;

    set(fixture->store, 5, 70);
    keep(fixture->store, 5, excerpt(1, 10, 20));
    assert_int_equal(look(fixture->store, 5, 1, 9), UINT64_MAX);
    assert_int_equal(look(fixture->store, 5, 1, 10), 70);
    assert_int_equal(look(fixture->store, 5, 1, 19), 70);
    assert_int_equal(look(fixture->store, 5, 1, 20), UINT64_MAX);
}

static void each_number_has_its_own_and_a_change_takes_all(void **state)
{
    struct fixture *fixture = *state;

    set(fixture->store, 5, 70);
    for (uint16_t number = 1; number <= 6; number++)
        keep(fixture->store, 5, excerpt(number, 10, 20));
    for (uint16_t number = 1; number <= 6; number++)
        assert_int_equal(look(fixture->store, 5, number, 10), 70);
    assert_int_equal(look(fixture->store, 5, 7, 10), UINT64_MAX);
    set(fixture->store, 5, 71);
    for (uint16_t number = 1; number <= 6; number++)
        assert_int_equal(look(fixture->store, 5, number, 10), UINT64_MAX);
}

static void pieces_go_to_each_key_s_place_and_the_others_are_named(void **state)
{
    struct fixture *fixture = *state;
    const struct store_excerpt wanted = excerpt(3, 10, 0);
    const uint64_t ids[] = {8, 0, 5, 9, 8};
    uint64_t firsts[5] = {0}, numbers[10] = {0};
    const struct store_piece pieces[] = {{.bytes = 8, .to = firsts, .stride = 8},
                                         {.at = 16, .bytes = 16, .to = numbers, .stride = 16}};
    int missing[5];

    set(fixture->store, 5, 50);
    set(fixture->store, 8, 80);
    keep(fixture->store, 5, excerpt(3, 10, 20));
    keep(fixture->store, 8, excerpt(3, 10, 20));
    assert_int_equal(store_excerpts_read(fixture->store, &wanted, pieces, 2, ids, 5, missing), 2);
    assert_int_equal(missing[0], 1);
    assert_int_equal(missing[1], 3);
    assert_memory_equal(firsts, ((uint64_t[5]){80, 0, 50, 0, 80}), sizeof(firsts));
    assert_memory_equal(numbers, ((uint64_t[10]){3, 3, 0, 0, 3, 3, 0, 0, 3, 3}), sizeof(numbers));
}

static int found_of_many(struct store *store, uint64_t many)
{
    int found = 0;

    for (uint64_t id = 1; id <= many; id++)
        found += look(store, id, 1, 10) == id;
    return found;
}

static void a_shelf_grows_until_all_have_room(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    for (int round = 0; round < 3; round++) {
        for (uint64_t id = 1; id <= MANY; id++) {
            if (round == 0)
                set(fixture->store, id, id);
            if (look(fixture->store, id, 1, 10) == UINT64_MAX)
                keep(fixture->store, id, excerpt(1, 10, 20));
        }
    }
    assert_true(found_of_many(fixture->store, MANY) > MANY * 98 / 100);
    for (uint64_t id = 1; id <= MANY; id++)
        set(fixture->store, id, 0);
    assert_int_equal(found_of_many(fixture->store, MANY), 0); /* whatever lay where before it grew */
    store_stats_read(fixture->store, &stats);
    assert_true(stats.excerpt_bytes > MANY * 64);
    assert_true(stats.excerpt_bytes < MANY * 64 * 4);
    assert_true(stats.total_bytes >= stats.memory_bytes + stats.excerpt_bytes);
}

static void all_of_them_keep_to_an_eighth_of_the_budget(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    fixture->options.memory_bytes = 16 << 20;
    fixture_reopen(fixture);
    for (uint64_t id = 1; id <= 3 * MANY; id++) {
        set(fixture->store, id, id);
        keep(fixture->store, id, excerpt(1, 10, 20));
    }
    store_stats_read(fixture->store, &stats);
    assert_true(stats.excerpt_bytes > 0);
    assert_true(stats.excerpt_bytes <= fixture->options.memory_bytes / 8);
    assert_int_equal(look(fixture->store, 3 * MANY, 1, 10), 3 * MANY); /* the last one pushed another out */
}

/* ---- while others change it ---- */

static struct store *shared;
static _Atomic uint64_t published;
static atomic_int running, wrong, hits;

static void *change(void *user)
{
    (void)user;
    for (uint64_t number = 1; number <= CHANGES || atomic_load(&hits) < CHANGES; number++) { /* until enough was found */
        set(shared, 5, number);
        atomic_store(&published, number);
    }
    atomic_store(&running, 0);
    return NULL;
}

static void *read_and_keep(void *user)
{
    const struct store_excerpt wanted = excerpt(1, 10, 20);
    const uint64_t ids[] = {5};

    (void)user;
    while (atomic_load(&running) > 0) {
        uint64_t before = atomic_load(&published), words[WORDS];
        struct store_piece piece = {.bytes = sizeof(words), .to = words};
        int missing;

        if (store_excerpts_read(shared, &wanted, &piece, 1, ids, 1, &missing) == 1) {
            keep(shared, 5, wanted);
            continue;
        }
        atomic_fetch_add(&hits, 1);
        atomic_fetch_add(&wrong, words[0] < before || words[0] != words[1] || words[2] != 1 || words[3] != 1);
    }
    return NULL;
}

static void nobody_finds_one_that_is_torn_or_older_than_the_last_change(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[3];

    shared = fixture->store;
    set(shared, 5, 0);
    atomic_store(&running, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 0 ? change : read_and_keep, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(atomic_load(&hits) > 0);
}

/* A pattern of names: these only. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_kept_is_found_until_its_entity_changes, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_erased_entity_has_none, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(one_is_good_from_its_moment_to_before_its_end, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(each_number_has_its_own_and_a_change_takes_all, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(pieces_go_to_each_key_s_place_and_the_others_are_named, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_shelf_grows_until_all_have_room, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(all_of_them_keep_to_an_eighth_of_the_budget, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nobody_finds_one_that_is_torn_or_older_than_the_last_change, fixture_setup,
                                        fixture_teardown),
    };

    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
