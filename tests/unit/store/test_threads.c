#include "fixture.h"
#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LANES = 4, BATCHES = 1000, BATCH = 32, ENTITIES = 20000 }; /* enough that lanes meet the committer */

struct lane {
    pthread_t thread;
    struct store *store;
    uint64_t number;
    uint64_t applied; /* events; changed inside the gate, read at the boundary */
};

static struct lane lanes[LANES];
static atomic_int running;

static void add_one(struct store *store, const struct store_key *key, uint64_t hash)
{
    uint32_t bytes;
    struct store_entry *entry = store_entry_lock(store, key, hash, true);

    assert_non_null(entry);
    (void)store_entry_read(entry, STORE_PART_ROWS, &bytes);
    uint64_t *numbers = store_entry_write(store, entry, STORE_PART_ROWS, bytes < 8 ? 8 : bytes < 400 ? bytes + 8 : bytes);
    numbers[0]++;
    store_entry_unlock(store, entry);
}

static void apply_batch(struct lane *lane, unsigned *seed)
{
    struct store_key keys[BATCH];
    uint64_t hashes[BATCH];
    struct store_visit visit = store_visit_enter(lane->store);
    struct fr_err err;

    for (int i = 0; i < BATCH; i++) {
        keys[i] = fixture_key((uint64_t)rand_r(seed) % ENTITIES);
        hashes[i] = store_key_hash(lane->store, &keys[i]);
        store_prefetch(lane->store, hashes[i]);
    }
    assert_true(store_load(lane->store, keys, hashes, BATCH, &err));
    store_gate_enter(lane->store);
    for (int i = 0; i < BATCH; i++)
        add_one(lane->store, &keys[i], hashes[i]);
    lane->applied += BATCH;
    store_gate_leave(lane->store);
    store_visit_leave(lane->store, visit);
}

static void *run_lane(void *user)
{
    struct lane *lane = user;
    unsigned seed = (unsigned)lane->number;

    for (int i = 0; i < BATCHES; i++)
        apply_batch(lane, &seed);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* What a scan adds up, and what the meta record of the same epoch says. */
struct sums {
    struct store *store;
    uint64_t counted;
    uint64_t applied;
};

static bool count_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct sums *sums = user;
    struct fr_reader reader = fr_reader(disk[STORE_PART_ROWS]);
    struct fr_buffer value;

    (void)key;
    sums->counted += fr_reader_varint(&reader);
    fr_buffer_init(&value);
    if (sums->applied == 0 && store_scan_meta(sums->store, "applied", &value))
        memcpy(&sums->applied, value.bytes, sizeof(sums->applied));
    fr_buffer_fini(&value);
    return true;
}

/*
 * As a read of many does: finds them all on a visit, fetches, and locks each later, whatever lanes and the keeper do in between. What
 * it finds stays where it is, and is of the key that was asked for.
 */
static void read_found(struct store *store, unsigned *seed)
{
    struct store_key keys[BATCH];
    uint64_t hashes[BATCH];
    struct store_entry *found[BATCH];
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;

    for (int i = 0; i < BATCH; i++) {
        keys[i] = fixture_key((uint64_t)rand_r(seed) % (2 * ENTITIES));
        hashes[i] = store_key_hash(store, &keys[i]);
    }
    assert_true(store_load(store, keys, hashes, BATCH, &err));
    for (int i = 0; i < BATCH; i++)
        found[i] = store_entry_find(store, hashes[i]);
    for (int i = 0; i < BATCH; i++)
        store_entry_fetch(found[i], STORE_PART_ROWS, 4);
    for (int i = 0; i < BATCH; i++) {
        struct store_entry *entry = store_entry_lock_found(store, found[i], &keys[i], hashes[i]);
        uint32_t bytes = 0;

        if (!entry)
            continue;
        assert_true(store_entry__is(entry, &keys[i]));
        (void)store_entry_read(entry, STORE_PART_ROWS, &bytes);
        store_entry_unlock(store, entry);
    }
    store_visit_leave(store, visit);
}

/* Looks at entities without the gate, as a server's loop does, and at whole epochs while the next ones are written. */
static void *run_reader(void *user)
{
    unsigned seed = 77;

    while (atomic_load(&running) > 0) {
        struct sums sums = {.store = user};
        struct store_stats stats;
        struct fr_err err;

        for (int i = 0; i < 1000; i++)
            (void)fixture_get(user, (uint64_t)rand_r(&seed) % (2 * ENTITIES));
        for (int i = 0; i < 20; i++)
            read_found(user, &seed);
        store_stats_read(user, &stats);
        assert_true(store_scan(user, count_one, &sums, &err));
        assert_int_equal(sums.counted, sums.applied);
    }
    return NULL;
}

static void *run_keeper(void *user)
{
    struct fr_err err;

    while (atomic_load(&running) > 0) {
        assert_true(store_tend(user, 1000, &err));
        usleep(500); /* a pace, nothing is waited for */
    }
    return NULL;
}

static void put_applied(void *user, struct store *store)
{
    uint64_t applied = 0;

    (void)user;
    for (int i = 0; i < LANES; i++)
        applied += lanes[i].applied;
    fixture_meta_set(store, "applied", applied + *(uint64_t *)user);
}

static uint64_t sum_of_all(struct store *store)
{
    uint64_t sum = 0;

    for (uint64_t id = 0; id < ENTITIES; id++)
        sum += fixture_get(store, id);
    return sum;
}

/* Epochs turn while lanes run; the last one turns in their midst and is what the restart sees. */
static void run_all(struct fixture *fixture, uint64_t *applied_before)
{
    struct store_epoch epoch = {.boundary = put_applied, .user = applied_before};
    pthread_t reader, keeper;
    struct fr_err err;

    atomic_store(&running, LANES);
    for (uint64_t i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){.store = fixture->store, .number = i};
        assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
    }
    assert_int_equal(pthread_create(&reader, NULL, run_reader, fixture->store), 0);
    assert_int_equal(pthread_create(&keeper, NULL, run_keeper, fixture->store), 0);
    while (atomic_load(&running) > 0)
        if (!store_epoch_commit(fixture->store, &epoch, &err))
            assert_int_equal(err.code, FR_EXHAUSTED);
    for (int i = 0; i < LANES; i++)
        pthread_join(lanes[i].thread, NULL);
    pthread_join(reader, NULL);
    pthread_join(keeper, NULL);
}

static void run_rounds(struct fixture *fixture)
{
    uint64_t applied = 0;

    for (int round = 0; round < 3; round++) {
        run_all(fixture, &applied);
        assert_int_equal(sum_of_all(fixture->store), applied + LANES * BATCHES * BATCH);
        fixture_reopen(fixture); /* drops what came after the last boundary */
        applied = fixture_meta_get(fixture->store, "applied");
        assert_int_equal(sum_of_all(fixture->store), applied);
        assert_true(applied > 0);
    }
}

static void no_event_is_lost_or_counted_twice(void **state)
{
    run_rounds(*state);
}

/* Entities come and go all the time, under lanes that count on them, the reader, and the committer. */
static void nor_when_memory_holds_a_few_entities_only(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    fixture->options.memory_bytes = 1 << 20;
    fixture_reopen(fixture);
    run_rounds(fixture);
    store_stats_read(fixture->store, &stats);
    assert_true(stats.evicted > ENTITIES / 2); /* in the last check alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_event_is_lost_or_counted_twice, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nor_when_memory_holds_a_few_entities_only, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
