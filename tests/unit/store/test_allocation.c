/*
 * Every allocation of the store fails once: the linker sends ours through here (RocksDB's own abort, and are not our concern), and
 * the same little life of a store runs again and again with one more allowed, until none fails. What must hold is that a failure
 * is told, nothing leaks, and what is on disk is the last epoch that was said to be durable.
 */
#include "fixture.h"

#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_reallocarray(void *old, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);

static int allowed = -1; /* allocations until one fails; −1: none will */
static bool has_failed;

static bool fails_now(void)
{
    if (allowed < 0 || allowed-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_reallocarray(old, count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
    return fails_now() ? NULL : __real_strndup(text, bytes);
}

/* ---- A little life: all entities and a meta record take the number of the round ---- */

enum { ENTITIES = 20 };

static bool set_all(struct store *store, uint64_t number)
{
    bool is_set = true;

    store_gate_enter(store);
    for (uint64_t id = 0; is_set && id < ENTITIES; id++) {
        struct store_key key = fixture_key(id);
        struct store_entry *entry = store_entry_lock(store, &key, store_key_hash(store, &key), true);
        uint64_t *numbers =
            entry != NULL ? store_entry_write(store, entry, STORE_PART_ROWS, 8 * (1 + (uint32_t)number % 5)) : NULL;

        is_set = numbers != NULL;
        if (is_set)
            numbers[0] = number;
        if (entry != NULL)
            store_entry_unlock(store, entry);
    }
    store_gate_leave(store);
    return is_set;
}

static bool load_all(struct store *store)
{
    struct store_key keys[ENTITIES];
    uint64_t hashes[ENTITIES];
    struct fr_err err;

    for (uint64_t id = 0; id < ENTITIES; id++) {
        keys[id] = fixture_key(id);
        hashes[id] = store_key_hash(store, &keys[id]);
    }
    return store_load(store, keys, hashes, ENTITIES, &err) || err.code != FR_EXHAUSTED;
}

static bool change_all_again(void *user, struct fr_err *err)
{
    return set_all(user, 999) || fr_fail(err, FR_EXHAUSTED, "out of memory");
}

/* Opens, and commits two more rounds; the last that is known to be durable. */
static uint64_t live(struct fixture *fixture, uint64_t durable)
{
    uint64_t end = durable + 2;
    struct fr_err err;

    if (!store_open(&fixture->options, &fixture->store, &err)) {
        fixture->store = NULL;
        return durable;
    }
    for (bool goes_on = load_all(fixture->store); goes_on && durable < end; durable += goes_on) {
        struct store_epoch epoch = {.before_durable = change_all_again, .user = fixture->store};

        goes_on = set_all(fixture->store, durable + 1);
        if (goes_on) {
            fixture_meta_set(fixture->store, "round", durable + 1);
            goes_on = store_epoch_commit(fixture->store, &epoch, &err);
        }
    }
    fixture_close(fixture);
    return durable;
}

/* The round on disk, which all there is must be of. */
static uint64_t check(struct fixture *fixture, uint64_t durable)
{
    fixture_open(fixture);
    uint64_t round = fixture_meta_get(fixture->store, "round");
    assert_int_equal(round, durable);
    for (uint64_t id = 0; id < ENTITIES; id++)
        assert_int_equal(fixture_get(fixture->store, id), round);
    fixture_close(fixture);
    return round;
}

static void a_failed_allocation_is_told_and_loses_nothing(void **state)
{
    struct fixture *fixture = *state;
    uint64_t durable = 0;
    int failures = 0;

    fixture_close(fixture);
    do {
        has_failed = false;
        allowed = failures++;
        durable = live(fixture, durable);
        allowed = -1;
        durable = check(fixture, durable);
    } while (has_failed);
    assert_true(failures > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_allocation_is_told_and_loses_nothing, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
