#include "fixture.h"

#include "internal.h"

static void a_restart_sees_exactly_the_last_epoch(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 10);
    fixture_set_part(fixture->store, 1, STORE_PART_LISTS, 11);
    fixture_set(fixture->store, 2, 20);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 99);
    fixture_set(fixture->store, 3, 30);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 10);
    assert_int_equal(fixture_get_part(fixture->store, 1, STORE_PART_LISTS), 11);
    assert_int_equal(fixture_get_part(fixture->store, 1, STORE_PART_SKETCHES), 0);
    assert_int_equal(fixture_get(fixture->store, 2), 20);
    assert_int_equal(fixture_get(fixture->store, 3), 0);
}

static void the_number_of_the_epoch_goes_on_after_a_restart(void **state)
{
    struct fixture *fixture = *state;
    uint64_t epoch = fixture_epoch(fixture->store);

    for (uint64_t i = 1; i <= 3; i++) {
        fixture_set(fixture->store, 1, i);
        fixture_commit(fixture->store);
        fixture_reopen(fixture);
        assert_int_equal(fixture_epoch(fixture->store), epoch + i);
    }
}

static void only_what_changed_is_written_again(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats all, one;

    for (uint64_t id = 0; id < 10000; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    store_stats_read(fixture->store, &all);
    fixture_set(fixture->store, 5, 500);
    fixture_commit(fixture->store);
    store_stats_read(fixture->store, &one);
    assert_true(one.epoch_bytes * 20 < all.epoch_bytes);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 5), 500);
    assert_int_equal(fixture_get(fixture->store, 6), 7);
}

/* ---- What belongs to which side of the boundary ---- */

static bool change_one(void *user, struct fr_err *err)
{
    struct fixture *fixture = user;

    (void)err;
    fixture_set(fixture->store, 1, 2);
    return true;
}

static void a_change_before_durable_is_the_next_epochs(void **state)
{
    struct fixture *fixture = *state;
    struct store_epoch epoch = {.before_durable = change_one, .user = fixture};
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    assert_true(store_epoch_commit(fixture->store, &epoch, &err));
    assert_int_equal(fixture_get(fixture->store, 1), 2);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
    assert_true(store_epoch_commit(fixture->store, &epoch, &err));
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
}

static void finish(struct fixture *fixture)
{
    struct fr_err err;

    assert_true(store_epoch__encode(fixture->store, &err));
    assert_true(store_epoch__write(fixture->store, &err));
    store_epoch__settle(fixture->store);
}

static uint64_t memory_bytes(struct fixture *fixture)
{
    struct store_stats stats;

    store_stats_read(fixture->store, &stats);
    return stats.memory_bytes;
}

static void a_part_changed_before_it_is_encoded_is_written_as_it_was(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    uint64_t bytes = memory_bytes(fixture);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    fixture_set(fixture->store, 1, 2);
    fixture_set(fixture->store, 1, 3); /* is copied once */
    assert_true(memory_bytes(fixture) > bytes);
    finish(fixture);
    assert_int_equal(memory_bytes(fixture), bytes);
    assert_int_equal(fixture_get(fixture->store, 1), 3);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

static void a_part_that_grows_before_it_is_encoded_is_written_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = fixture_key(1);
    uint64_t hash = store_key_hash(fixture->store, &key);

    fixture_set(fixture->store, 1, 1);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    store_gate_enter(fixture->store);
    struct store_entry *entry = store_entry_lock(fixture->store, &key, hash, true);
    for (uint32_t count = 1; count < 1000; count++) {
        uint64_t *numbers = store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8 * count);

        assert_int_equal(numbers[0], 1);
        numbers[count - 1] = count;
    }
    store_entry_unlock(fixture->store, entry);
    store_gate_leave(fixture->store);
    finish(fixture);
    fixture_reopen(fixture);
    uint32_t bytes;
    assert_int_equal(fixture_get(fixture->store, 1), 1);
    entry = store_entry_lock(fixture->store, &key, store_key_hash(fixture->store, &key), false);
    (void)store_entry_read(entry, STORE_PART_ROWS, &bytes);
    assert_int_equal(bytes, 8);
    store_entry_unlock(fixture->store, entry);
}

static void empty_part(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);

    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, store_key_hash(store, &key), true);
    assert_null(store_entry_write(store, entry, STORE_PART_ROWS, 0));
    store_entry_unlock(store, entry);
    store_gate_leave(store);
}

static void a_part_emptied_before_it_is_encoded_is_written_as_it_was(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    empty_part(fixture->store, 1);
    finish(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
}

static void a_part_emptied_at_the_boundary_and_filled_after_is_deleted(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    empty_part(fixture->store, 1);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    fixture_set(fixture->store, 1, 2);
    empty_part(fixture->store, 1);
    fixture_set(fixture->store, 1, 3);
    finish(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 3);
    fixture_commit(fixture->store);
    assert_int_equal(fixture_get(fixture->store, 1), 3);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 3);
}

static void copies_left_at_close_are_freed(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    store_epoch__turn(fixture->store, &(struct store_epoch){0});
    fixture_set(fixture->store, 1, 2);
    fixture_reopen(fixture); /* under the address sanitizer this is the test */
    assert_int_equal(fixture_get(fixture->store, 1), 0);
}

/* ---- Deletes ---- */

static int count_records(struct fixture *fixture)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(fixture->store->disk.db, fixture->store->disk.read);
    int count = 0;

    for (rocksdb_iter_seek(iterator, "\1", 1); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator))
        count++;
    rocksdb_iter_destroy(iterator);
    return count;
}

static void an_emptied_part_leaves_the_disk(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_set_part(fixture->store, 1, STORE_PART_LISTS, 2);
    fixture_commit(fixture->store);
    assert_int_equal(count_records(fixture), 2);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 1);
    empty_part(fixture->store, 1);
    fixture_commit(fixture->store);
    assert_int_equal(count_records(fixture), 1);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
    assert_int_equal(fixture_get_part(fixture->store, 1, STORE_PART_LISTS), 2);
}

static void a_part_the_codec_finds_empty_leaves_the_disk(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 0);
    fixture_commit(fixture->store);
    assert_int_equal(count_records(fixture), 0);
}

static void a_part_that_never_was_on_disk_needs_no_delete(void **state)
{
    struct fixture *fixture = *state;
    uint64_t epoch = fixture_epoch(fixture->store);

    fixture_set(fixture->store, 1, 0);
    fixture_commit(fixture->store);
    assert_int_equal(fixture_epoch(fixture->store), epoch); /* nothing was written */
}

static void entities_on_disk_are_counted_before_they_are_loaded(void **state)
{
    struct fixture *fixture = *state;
    struct store_stats stats;

    for (uint64_t id = 1; id <= 3; id++)
        fixture_set(fixture->store, id, 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 3);
    assert_int_equal(fixture_get(fixture->store, 2), 1); /* loads it */
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 3);
}

/* ---- Meta records and state ---- */

static void put_offset(void *user, struct store *store)
{
    fixture_meta_set(store, "offset", *(uint64_t *)user);
}

static void offsets_and_state_are_of_the_same_instant(void **state)
{
    struct fixture *fixture = *state;
    uint64_t offset = 5;
    struct store_epoch epoch = {.boundary = put_offset, .user = &offset};
    struct fr_err err;

    fixture_set(fixture->store, 1, offset);
    assert_true(store_epoch_commit(fixture->store, &epoch, &err));
    offset = 6;
    fixture_set(fixture->store, 1, offset);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 5);
    assert_int_equal(fixture_meta_get(fixture->store, "offset"), 5);
}

static void metrics_tell_of_an_epoch(void **state)
{
    struct fixture *fixture = *state;
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_buffer text;

    fixture->options.metrics = metrics;
    fixture_reopen(fixture);
    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fr_buffer_init(&text);
    fr_metrics_print(metrics, &text);
    fr_buffer_append_byte(&text, 0);
    assert_non_null(strstr((const char *)text.bytes, "freshet_epoch_seconds_count 1\n"));
    assert_non_null(strstr((const char *)text.bytes, "freshet_state_entities 1\n"));
    assert_non_null(strstr((const char *)text.bytes, "freshet_state_dirty_bytes 0\n"));
    fr_buffer_fini(&text);
    fixture_close(fixture);
    fr_metrics_free(metrics);
}

static bool refuse(void *user, struct fr_err *err)
{
    (void)user;
    return fr_fail(err, FR_UNAVAILABLE, "not now");
}

/* Changes it as well, which is what a mark goes with. */
static bool mark(struct store *store, const struct store_key *key)
{
    struct store_entry *entry;
    bool is_first;

    store_gate_enter(store);
    entry = store_entry_lock(store, key, store_key_hash(store, key), true);
    assert_non_null(entry);
    is_first = store_entry_mark(store, entry);
    assert_true(store_entry_is_marked(store, entry));
    ++*(uint64_t *)store_entry_write(store, entry, STORE_PART_ROWS, 8);
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    return is_first;
}

static void a_mark_lasts_for_an_epoch_whatever_becomes_of_it(void **state)
{
    struct fixture *fixture = *state;
    struct store_epoch refused = {.before_durable = refuse};
    struct store_key key = fixture_key(1);
    struct fr_err err;

    for (int i = 0; i < 6; i++) {
        assert_true(mark(fixture->store, &key));
        assert_false(mark(fixture->store, &key));
        if (i % 3 == 1)
            assert_false(store_epoch_commit(fixture->store, &refused, &err));
        else
            fixture_commit(fixture->store);
    }
    assert_int_equal(fixture_get(fixture->store, 1), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_restart_sees_exactly_the_last_epoch, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_number_of_the_epoch_goes_on_after_a_restart, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(only_what_changed_is_written_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_change_before_durable_is_the_next_epochs, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_changed_before_it_is_encoded_is_written_as_it_was, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_that_grows_before_it_is_encoded_is_written_as_it_was, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_emptied_before_it_is_encoded_is_written_as_it_was, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_emptied_at_the_boundary_and_filled_after_is_deleted, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(copies_left_at_close_are_freed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_emptied_part_leaves_the_disk, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_the_codec_finds_empty_leaves_the_disk, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_part_that_never_was_on_disk_needs_no_delete, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(entities_on_disk_are_counted_before_they_are_loaded, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(offsets_and_state_are_of_the_same_instant, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(metrics_tell_of_an_epoch, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_mark_lasts_for_an_epoch_whatever_becomes_of_it, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
