/* Random changes, epochs (some of which fail), and restarts, against a plain array: what is durable and what is now. */
#include "fixture.h"

#include "internal.h"

enum { ENTITIES = 200, NUMBERS = 24, STEPS = 6000 };

struct model {
    uint32_t counts[ENTITIES][STORE_PARTS];
    uint64_t numbers[ENTITIES][STORE_PARTS][NUMBERS];
    uint64_t offset;
};

static struct model now, durable;

static void change(struct store *store)
{
    uint64_t id = (uint64_t)(random() % ENTITIES);
    enum store_part part = (enum store_part)(random() % STORE_PARTS);
    uint32_t count = (uint32_t)(random() % (NUMBERS + 1));
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;

    assert_true(store_load(store, &key, &hash, 1, &err));
    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, hash, true);
    uint64_t *numbers = store_entry_write(store, entry, part, 8 * count);
    uint64_t *expected = now.numbers[id][part];
    for (uint32_t i = now.counts[id][part]; i < count; i++)
        expected[i] = 0;
    now.counts[id][part] = count;
    if (count > 0) {
        assert_memory_equal(numbers, expected, 8 * count);
        uint32_t which = (uint32_t)random() % count;
        numbers[which] = expected[which] = random() % 3 == 0 ? 0 : 1000 + (uint64_t)random();
    }
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    store_visit_leave(store, visit);
}

static void boundary(void *user, struct store *store)
{
    (void)user;
    fixture_meta_set(store, "offset", ++now.offset);
    durable = now;
}

/* The steps of a commit with lanes at work between them; one in four fails. */
static void turn(struct store *store)
{
    static struct model last;
    struct fr_err err;

    last = durable;
    store_epoch__turn(store, &(struct store_epoch){.boundary = boundary});
    for (int i = 0; i < 30; i++)
        change(store);
    bool is_durable = random() % 8 != 0;
    if (is_durable)
        assert_true(store_epoch__encode(store, &err));
    for (int i = 0; i < 30; i++)
        change(store);
    is_durable = is_durable && random() % 8 != 0;
    if (is_durable) {
        assert_true(store_epoch__write(store, &err));
        store_epoch__settle(store);
    } else {
        store_epoch__take_back(store);
        durable = last;
    }
}

/* Zeros at the end are the same as nothing: that is what the codec keeps on disk. */
static void check_entity(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;
    uint32_t bytes;

    assert_true(store_load(store, &key, &hash, 1, &err));
    struct store_entry *entry = store_entry_lock(store, &key, hash, false);
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        const uint64_t *numbers = entry != NULL ? store_entry_read(entry, part, &bytes) : NULL;
        uint32_t count = numbers != NULL ? bytes / 8 : 0;

        for (uint32_t i = 0; i < NUMBERS; i++)
            assert_int_equal(i < count ? numbers[i] : 0, i < now.counts[id][part] ? now.numbers[id][part][i] : 0);
    }
    if (entry != NULL)
        store_entry_unlock(store, entry);
    store_visit_leave(store, visit);
}

static void check(struct store *store)
{
    for (uint64_t id = 0; id < ENTITIES; id++)
        check_entity(store, id);
    assert_int_equal(fixture_meta_get(store, "offset"), now.offset);
}

static bool count_entity(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    (void)key, (void)disk;
    ++*(uint64_t *)user;
    return true;
}

/* Those that are emptied, new, or of an epoch that was taken back are not of the disk. */
static void check_disk_count(struct store *store)
{
    struct store_stats stats;
    struct fr_err err;
    uint64_t count = 0;

    assert_true(store_scan(store, count_entity, &count, &err));
    store_stats_read(store, &stats);
    assert_true(stats.is_disk_counted);
    assert_int_equal(stats.disk_entities, count);
}

/* After a restart a part is as long as its last number that is not zero. */
static void restart(struct fixture *fixture)
{
    fixture_reopen(fixture);
    check_disk_count(fixture->store);
    now = durable;
    for (int id = 0; id < ENTITIES; id++)
        for (int part = 0; part < STORE_PARTS; part++)
            while (now.counts[id][part] > 0 && now.numbers[id][part][now.counts[id][part] - 1] == 0)
                now.counts[id][part]--;
    check(fixture->store);
}

static void run(struct fixture *fixture)
{
    struct fr_err err;

    memset(&now, 0, sizeof(now));
    memset(&durable, 0, sizeof(durable));
    srandom(20260214);
    for (int step = 0; step < STEPS; step++) {
        long dice = random() % 1000;

        if (dice < 10) {
            restart(fixture);
        } else if (dice < 30) {
            turn(fixture->store);
            check_disk_count(fixture->store);
        } else if (dice < 60) {
            assert_true(store_tend(fixture->store, random() % 200, &err)); /* seldom long enough for a whole filter */
        } else if (dice < 300) {
            check_entity(fixture->store, (uint64_t)(random() % ENTITIES));
        } else {
            change(fixture->store);
        }
    }
    turn(fixture->store);
    restart(fixture);
    check(fixture->store);
}

static void the_store_is_the_model(void **state)
{
    run(*state);
}

static void so_it_is_when_memory_holds_next_to_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    fixture->options.memory_bytes = 32 << 10; /* the table's slots alone take more */
    fixture_reopen(fixture);
    run(fixture);
    fixture_tend(fixture->store);
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.table_entities, 0);
    assert_true(stats.evicted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_store_is_the_model, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(so_it_is_when_memory_holds_next_to_nothing, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
