#include "fixture.h"

#include "internal.h"

#include <sys/stat.h>

static bool refuse(void *user, struct fr_err *err)
{
    (void)user;
    return fr_fail(err, FR_UNAVAILABLE, "no broker");
}

static bool change_and_refuse(void *user, struct fr_err *err)
{
    fixture_set(user, 1, 2);
    fixture_set(user, 3, 30);
    return fr_fail(err, FR_UNAVAILABLE, "no broker");
}

static uint64_t dirty_bytes(struct fixture *fixture)
{
    struct store_stats stats;

    store_stats_read(fixture->store, &stats);
    return stats.dirty_bytes;
}

static void a_full_disk_is_told_before_anything_happened(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture->options.free_bytes_least = UINT64_C(1) << 60;
    fixture_close(fixture);
    fixture_open(fixture);
    fixture_set(fixture->store, 1, 1);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    assert_non_null(strstr(err.message, "make room"));
    assert_false(store_is_failed(fixture->store));
    assert_int_equal(dirty_bytes(fixture), 8);

    fixture->store->free_bytes_least = 0; /* room was made */
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

static void what_a_failed_epoch_held_is_in_the_next(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_set(fixture->store, 2, 20);
    fixture_meta_set(fixture->store, "offset", 7);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){.before_durable = refuse}, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_false(store_is_failed(fixture->store));
    assert_int_equal(dirty_bytes(fixture), 16);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
    assert_int_equal(fixture_get(fixture->store, 2), 20);
    assert_int_equal(fixture_meta_get(fixture->store, "offset"), 7);
}

static void nothing_of_a_failed_epoch_is_on_disk(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_meta_set(fixture->store, "offset", 7);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){.before_durable = refuse}, &err));
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
    assert_int_equal(fixture_meta_get(fixture->store, "offset"), 0);
}

static void a_part_changed_since_the_failed_boundary_keeps_its_newest_state(void **state)
{
    struct fixture *fixture = *state;
    struct store_epoch epoch = {.before_durable = change_and_refuse, .user = fixture->store};
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_set(fixture->store, 2, 20);
    for (int i = 0; i < 3; i++)
        assert_false(store_epoch_commit(fixture->store, &epoch, &err));
    assert_int_equal(dirty_bytes(fixture), 24);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
    assert_int_equal(fixture_get(fixture->store, 2), 20);
    assert_int_equal(fixture_get(fixture->store, 3), 30);
}

static void an_epoch_taken_back_before_it_was_encoded_drops_its_copies(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats before, after;

    fixture_set(fixture->store, 1, 1);
    store_stats_read(fixture->store, &before);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    fixture_set(fixture->store, 1, 2);
    store_epoch__take_back(fixture->store);
    store_stats_read(fixture->store, &after);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_int_equal(after.dirty_bytes, 8);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
}

static void an_entity_is_on_the_list_once_however_often_epochs_fail(void **state)
{
    struct fixture *fixture = *state;
    uint32_t listed = 0;

    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t id = 0; id < 20; id++)
            fixture_set(fixture->store, id, round + 1);
        store_epoch__turn(fixture->store, &(struct store_epoch){0});
        for (uint64_t id = 10; id < 30; id++)
            fixture_set(fixture->store, id, round + 1);
        store_epoch__take_back(fixture->store);
    }
    for (int i = 0; i < STORE_STRIPES; i++)
        for (struct store_dirty *chunk = fixture->store->stripes[i].dirty; chunk != NULL; chunk = chunk->next)
            listed += chunk->count;
    assert_int_equal(listed, 30);
}

static void a_delete_of_a_failed_epoch_is_not_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 0); /* the codec finds it empty */
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){.before_durable = refuse}, &err));
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
}

static void encode_out_of_memory(void *user, const struct store_key *key, enum store_part part, const void *memory,
                                 uint32_t bytes, struct fr_buffer *disk)
{
    fixture_encode(NULL, key, part, memory, bytes, disk);
    if (*(bool *)user && key->ids[0] % 2 == 0)
        disk->is_failed = true;
}

static void out_of_memory_while_encoding_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    bool is_failing = true;
    struct fr_err err;

    fixture->options.codec.encode = encode_out_of_memory;
    fixture->options.codec.user = &is_failing;
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < 1000; id++)
        fixture_set(fixture->store, id, id + 1);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    is_failing = false;
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < 1000; id++)
        assert_int_equal(fixture_get(fixture->store, id), id + 1);
}

static void a_failed_write_ends_writing_and_not_reading(void **state)
{
    struct fixture *fixture = *state;
    char epochs[128];
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    snprintf(epochs, sizeof(epochs), "%s/epochs", fixture->path);
    assert_int_equal(rmdir(epochs), 0);
    fixture_set(fixture->store, 1, 2);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_true(store_is_failed(fixture->store));
    assert_int_equal(fixture_get(fixture->store, 1), 2);

    assert_int_equal(mkdir(epochs, 0700), 0);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err)); /* not on this handle */
    assert_int_equal(err.code, FR_UNAVAILABLE);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

/* Whether compaction may run, as an operator would say it to RocksDB. */
static void allow_compaction(struct fixture *fixture, bool is_allowed)
{
    const char *names[] = {"disable_auto_compactions"}, *values[] = {is_allowed ? "false" : "true"};
    char *message = NULL;

    rocksdb_set_options(fixture->store->disk.db, 1, names, values, &message);
    assert_null(message);
}

static void a_deep_level_0_makes_the_next_epoch_wait(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;
    struct fr_err err;
    uint64_t number = 0;

    allow_compaction(fixture, false);
    do
        fixture_set(fixture->store, 1, ++number);
    while (number < 50 && store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    assert_non_null(strstr(err.message, "level 0 is deep"));
    assert_false(store_is_failed(fixture->store));
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.level0_files, STORE_LEVEL0_FILES_MAX + 1);

    allow_compaction(fixture, true);
    rocksdb_compact_range(fixture->store->disk.db, NULL, 0, NULL, 0);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), number);
}

static void what_is_spoiled_becomes_no_epoch(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 2);
    store_spoil(fixture->store);
    assert_true(store_is_failed(fixture->store));
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){0}, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_int_equal(fixture_get(fixture->store, 1), 2); /* reads go on */
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

static void spoil(void *user, struct store *store)
{
    (void)user;
    store_spoil(store);
}

static void a_boundary_that_could_not_put_its_records_makes_no_epoch(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 2);
    assert_false(store_epoch_commit(fixture->store, &(struct store_epoch){.boundary = spoil}, &err));
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

static void what_is_spoiled_while_the_gate_is_waited_for_becomes_no_epoch(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    store_spoil(fixture->store);
    uint64_t turn = fixture->store->turn;
    assert_false(store_epoch__turn(fixture->store, &(struct store_epoch){0}));
    assert_int_equal(fixture->store->turn, turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_is_told_before_anything_happened, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_a_failed_epoch_held_is_in_the_next, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(nothing_of_a_failed_epoch_is_on_disk, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_changed_since_the_failed_boundary_keeps_its_newest_state, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_epoch_taken_back_before_it_was_encoded_drops_its_copies, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_entity_is_on_the_list_once_however_often_epochs_fail, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_delete_of_a_failed_epoch_is_not_forgotten, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(out_of_memory_while_encoding_is_tried_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_deep_level_0_makes_the_next_epoch_wait, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_ends_writing_and_not_reading, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_spoiled_becomes_no_epoch, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_boundary_that_could_not_put_its_records_makes_no_epoch, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_spoiled_while_the_gate_is_waited_for_becomes_no_epoch, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
