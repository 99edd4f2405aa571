#include "fixture.h"

#include "internal.h"

#include <glob.h>

static void many_keys_come_back_in_one_call_duplicates_or_not(void **state)
{
    struct fixture *fixture = *state;
    struct store_key keys[600];
    uint64_t hashes[600];
    struct fr_err err;
    struct store_stats stats;

    for (uint64_t id = 0; id < 250; id++)
        fixture_set(fixture->store, id, id + 1);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    for (int i = 0; i < 600; i++) {
        keys[i] = fixture_key((uint64_t)(i * 7919 % 300)); /* each twice, the last fifty unknown */
        hashes[i] = store_key_hash(fixture->store, &keys[i]);
    }
    assert_true(store_load(fixture->store, keys, hashes, 600, &err));
    store_stats_read(fixture->store, &stats);
    assert_int_equal(stats.entities, 250);
    for (int i = 0; i < 600; i++) {
        struct store_entry *entry = store_entry_lock(fixture->store, &keys[i], hashes[i], false);
        uint32_t bytes;

        assert_true((entry != NULL) == (keys[i].ids[0] < 250));
        if (entry != NULL) {
            assert_int_equal(*(const uint64_t *)store_entry_read(entry, STORE_PART_ROWS, &bytes), keys[i].ids[0] + 1);
            store_entry_unlock(fixture->store, entry);
        }
    }
}

static void kinds_and_numbers_of_ids_do_not_mix(void **state)
{
    struct fixture *fixture = *state;
    struct store_key keys[] = {{.kind = 1, .id_count = 1, .ids = {5}},
                               {.kind = 1, .id_count = 2, .ids = {5, 0}},
                               {.kind = 2, .id_count = 1, .ids = {5}},
                               {.kind = 1, .id_count = 1, .partition = 1, .ids = {5}},
                               {.kind = 1, .id_count = 3, .ids = {5, 0, 0}}};
    struct fr_err err;

    for (int round = 0; round < 2; round++) {
        uint64_t hashes[5];

        for (int i = 0; i < 5; i++)
            hashes[i] = store_key_hash(fixture->store, &keys[i]);
        assert_true(store_load(fixture->store, keys, hashes, 5, &err));
        for (uint64_t i = 0; i < 5; i++) {
            uint32_t bytes;

            store_gate_enter(fixture->store);
            struct store_entry *entry = store_entry_lock(fixture->store, &keys[i], hashes[i], round == 0);
            assert_non_null(entry);
            if (round == 0)
                *(uint64_t *)store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8) = i + 1;
            assert_int_equal(*(const uint64_t *)store_entry_read(entry, STORE_PART_ROWS, &bytes), i + 1);
            store_entry_unlock(fixture->store, entry);
            store_gate_leave(fixture->store);
        }
        fixture_commit(fixture->store);
        fixture_reopen(fixture);
    }
}

static uint64_t size_of_files(struct store *store)
{
    uint64_t bytes = 0;

    assert_int_equal(rocksdb_property_int(store->disk.db, "rocksdb.total-sst-files-size", &bytes), 0);
    return bytes;
}

/* Until all its files have been compacted, a store of an earlier version has compressed ones, with filters in the last level. */
static void what_an_earlier_version_compressed_is_read(void **state)
{
    struct fixture *fixture = *state;
    const char *names[] = {"bottommost_compression", "compression"}, *values[] = {"kZSTD", "kZSTD"};
    char *message = NULL;

    for (uint64_t id = 0; id < 20000; id++)
        fixture_set(fixture->store, id, id % 7 + 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 5, 55);
    fixture_commit(fixture->store); /* two files, so that they are not just moved */
    rocksdb_set_options(fixture->store->disk.db, 2, names, values, &message);
    assert_null(message);
    uint64_t plain = size_of_files(fixture->store);
    rocksdb_compact_range(fixture->store->disk.db, NULL, 0, NULL, 0);
    assert_true(size_of_files(fixture->store) < plain / 2);

    fixture_reopen(fixture);
    fixture_set(fixture->store, 6, 66);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    for (uint64_t id = 0; id < 20000; id++)
        assert_int_equal(fixture_get(fixture->store, id), id == 5 ? 55 : id == 6 ? 66 : id % 7 + 1);
}

static void what_is_in_the_table_is_not_read_over(void **state)
{
    struct fixture *fixture = *state;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    fixture_set(fixture->store, 1, 2);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
}

static void bytes_that_make_no_sense_are_quarantined_and_kept(void **state)
{
    struct fixture *fixture = *state;
    struct store_key key = fixture_key(1);
    struct store_stats stats;
    uint32_t bytes;

    fixture_set(fixture->store, 1, FIXTURE_POISON);
    fixture_set_part(fixture->store, 1, STORE_PART_LISTS, 5);
    fixture_set(fixture->store, 2, 20);
    fixture_commit(fixture->store);
    for (int round = 0; round < 2; round++) {
        fixture_reopen(fixture);
        assert_true(fixture_is_corrupt(fixture->store, 1));
        assert_int_equal(fixture_get(fixture->store, 2), 20);
        store_stats_read(fixture->store, &stats);
        assert_int_equal(stats.corrupt, 1);

        store_gate_enter(fixture->store);
        struct store_entry *entry = store_entry_lock(fixture->store, &key, store_key_hash(fixture->store, &key), true);
        assert_null(store_entry_read(entry, STORE_PART_LISTS, &bytes));
        assert_null(store_entry_write(fixture->store, entry, STORE_PART_ROWS, 8));
        assert_null(store_entry_write(fixture->store, entry, STORE_PART_ROWS, 0));
        store_entry_unlock(fixture->store, entry);
        store_gate_leave(fixture->store);
        fixture_commit(fixture->store);
    }
}

/* Flips a bit in the data of the biggest file, behind the block that holds the meta records. */
static void damage(struct fixture *fixture)
{
    char pattern[128];
    glob_t found;
    long biggest = 0;
    const char *victim = NULL;

    snprintf(pattern, sizeof(pattern), "%s/*.sst", fixture->path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat status;

        assert_int_equal(stat(found.gl_pathv[i], &status), 0);
        if (status.st_size > biggest) {
            biggest = status.st_size;
            victim = found.gl_pathv[i];
        }
    }
    FILE *file = fopen(victim, "r+");
    fseek(file, biggest / 4, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, biggest / 4, SEEK_SET);
    fputc(byte ^ 0x40, file);
    fclose(file);
    globfree(&found);
}

static void a_block_that_fails_its_checksum_quarantines_its_entities_only(void **state)
{
    struct fixture *fixture = *state;
    int corrupt = 0;

    for (uint64_t id = 0; id < 20000; id++)
        fixture_set(fixture->store, id, id * 1000003 + 1);
    fixture_commit(fixture->store);
    fixture_close(fixture);
    damage(fixture);
    fixture_open(fixture);
    for (uint64_t id = 0; id < 20000; id += 10) {
        if (fixture_is_corrupt(fixture->store, id))
            corrupt++;
        else
            assert_int_equal(fixture_get(fixture->store, id), id * 1000003 + 1);
    }
    assert_in_range(corrupt, 1, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_keys_come_back_in_one_call_duplicates_or_not, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(kinds_and_numbers_of_ids_do_not_mix, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_an_earlier_version_compressed_is_read, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_in_the_table_is_not_read_over, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(bytes_that_make_no_sense_are_quarantined_and_kept, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_block_that_fails_its_checksum_quarantines_its_entities_only, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
