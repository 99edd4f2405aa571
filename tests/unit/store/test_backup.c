/* Backups: each is one whole epoch, they share files, damage is told, and nothing that is not ours is touched. */
#include "fixture.h"

#include <freshet/clock.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>

struct places {
    char backups[80], restored[80];
};

static struct places places_of(const struct fixture *fixture)
{
    struct places places;

    snprintf(places.backups, sizeof places.backups, "%s.backups", fixture->path);
    snprintf(places.restored, sizeof places.restored, "%s.restored", fixture->path);
    return places;
}

static void remove_all(const char *path)
{
    nftw(path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int teardown(void **state)
{
    struct places places = places_of(*state);

    remove_all(places.backups);
    remove_all(places.restored);
    return fixture_teardown(state);
}

static struct store_backup back_up(struct fixture *fixture, uint32_t keep)
{
    struct places places = places_of(fixture);
    struct store_backup_options options = {.directory = places.backups, .keep = keep};
    struct store_backup backup = {0};
    struct fr_err err;

    if (!store_backup_make(fixture->store, &options, &backup, &err))
        fail_msg("%s", err.message);
    return backup;
}

static bool restore(struct fixture *fixture, uint32_t id, struct fr_err *err)
{
    struct places places = places_of(fixture);
    struct store_backup backup;

    return store_backup_restore(places.backups, id, places.restored, &backup, err);
}

/* The number of entity 1 in what was restored, opened as a node would. */
static uint64_t restored_number(struct fixture *fixture)
{
    struct places places = places_of(fixture);
    struct store_options options = fixture->options;
    struct store *store = NULL;
    struct fr_err err;

    options.path = places.restored;
    if (!store_open(&options, &store, &err))
        fail_msg("%s", err.message);
    uint64_t number = fixture_get(store, 1);
    fixture_set(store, 1, number + 1); /* it goes on */
    fixture_commit(store);
    store_close(store);
    return number;
}

static void each_backup_is_the_epoch_that_it_was_made_of(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    for (uint64_t number = 1; number <= 3; number++) {
        fixture_set(fixture->store, 1, number * 10);
        fixture_commit(fixture->store);
        assert_int_equal(back_up(fixture, 0).id, number);
    }
    fixture_set(fixture->store, 1, 99);
    fixture_commit(fixture->store);
    for (uint32_t id = 0; id <= 3; id++) { /* 0: the latest */
        if (!restore(fixture, id, &err))
            fail_msg("%s", err.message);
        assert_int_equal(restored_number(fixture), id == 0 ? 30 : id * 10);
        remove_all(places_of(fixture).restored);
    }
}

static void count_one(void *user, const struct store_backup *backup)
{
    uint32_t *ids = user;

    ids[0]++;
    ids[ids[0]] = backup->id;
}

static void so_many_of_the_latest_stay(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    uint32_t ids[8] = {0};
    struct fr_err err;

    for (uint64_t number = 1; number <= 4; number++) {
        fixture_set(fixture->store, 1, number);
        fixture_commit(fixture->store);
        back_up(fixture, number == 4 ? 2 : 0);
    }
    assert_true(store_backup_each(places.backups, count_one, ids, &err));
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    assert_int_equal(ids[2], 4);
    assert_false(restore(fixture, 1, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

/* ---- what must not be ---- */

static void put_file(const char *directory, const char *name)
{
    char path[160];

    mkdir(directory, 0700);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static void other_things_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    struct store_backup_options options = {.directory = places.backups};
    struct store_backup backup;
    struct fr_err err;

    put_file(places.backups, "letters");
    assert_false(store_backup_make(fixture->store, &options, &backup, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "holds other things"));
    remove_all(places.backups);

    back_up(fixture, 0);
    put_file(places.restored, "letters");
    assert_false(restore(fixture, 0, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    put_file(places.restored, "letters"); /* is still its owner's */
    assert_false(store_backup_restore(places.restored, 0, places.backups, &backup, &err));
}

static void a_directory_without_backups_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    uint32_t ids[8] = {0};
    struct fr_err err;

    assert_false(restore(fixture, 0, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_false(store_backup_each(places.backups, count_one, ids, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

static void two_do_not_work_on_one_directory(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    struct store_backup_options options = {.directory = places.backups};
    struct store_backup backup;
    char mark[160];
    struct fr_err err;

    back_up(fixture, 0);
    snprintf(mark, sizeof mark, "%s/FRESHET-BACKUP", places.backups);
    int other = open(mark, O_RDWR);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    assert_false(store_backup_make(fixture->store, &options, &backup, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    close(other);
    back_up(fixture, 0);
}

/* What a crash in the midst of a restore leaves: files, and no mark. */
static void a_half_done_restore_is_no_store(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    struct store_options options = fixture->options;
    struct store *store = NULL;
    char mark[160];
    struct fr_err err;

    fixture_set(fixture->store, 1, 1);
    fixture_commit(fixture->store);
    back_up(fixture, 0);
    assert_true(restore(fixture, 0, &err));
    snprintf(mark, sizeof mark, "%s/FRESHET", places.restored);
    assert_int_equal(unlink(mark), 0);
    options.path = places.restored;
    assert_false(store_open(&options, &store, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

/* ---- damage ---- */

static char largest[256];
static off_t largest_bytes;

static int look_for_sst(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)type, (void)ftw;
    if (strstr(path, ".sst") && status->st_size > largest_bytes) {
        largest_bytes = status->st_size;
        snprintf(largest, sizeof largest, "%s", path);
    }
    return 0;
}

static void a_flipped_byte_of_a_backup_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    struct fr_err err;
    uint8_t byte;

    for (uint64_t id = 1; id <= 2000; id++)
        fixture_set(fixture->store, id, id);
    fixture_commit(fixture->store);
    back_up(fixture, 0);
    largest_bytes = 0;
    nftw(places.backups, look_for_sst, 16, FTW_PHYS);
    assert_true(largest_bytes > 0);
    int file = open(largest, O_RDWR);
    assert_int_equal(pread(file, &byte, 1, largest_bytes / 3), 1);
    byte ^= 4;
    assert_int_equal(pwrite(file, &byte, 1, largest_bytes / 3), 1);
    close(file);
    assert_false(restore(fixture, 0, &err));
    assert_int_equal(err.code, FR_CORRUPT);
}

/* ---- beside lanes and epochs ---- */

struct writer {
    struct store *store;
    atomic_bool is_done;
};

/* Both entities change in one stay inside the gate. */
static void *write_pairs(void *user)
{
    struct writer *writer = user;

    for (uint64_t number = 1; !atomic_load(&writer->is_done); number++) {
        struct store_visit visit = store_visit_enter(writer->store);

        store_gate_enter(writer->store);
        for (uint64_t id = 1; id <= 2; id++) {
            struct store_key key = fixture_key(id);
            struct store_entry *entry = store_entry_lock(writer->store, &key, store_key_hash(writer->store, &key), true);
            uint64_t *numbers = store_entry_write(writer->store, entry, STORE_PART_ROWS, sizeof(number));

            *numbers = number;
            store_entry_unlock(writer->store, entry);
        }
        store_gate_leave(writer->store);
        store_visit_leave(writer->store, visit);
        fixture_commit(writer->store);
    }
    return NULL;
}

static void a_backup_beside_epochs_is_one_whole_epoch(void **state)
{
    struct fixture *fixture = *state;
    struct places places = places_of(fixture);
    struct writer writer = {.store = fixture->store};
    struct store_options options = fixture->options;
    uint64_t before = 0;
    pthread_t thread;
    struct fr_err err;

    assert_int_equal(pthread_create(&thread, NULL, write_pairs, &writer), 0);
    for (int round = 0; round < 10; round++) {
        struct store *store = NULL;

        back_up(fixture, 2);
        assert_true(restore(fixture, 0, &err));
        options.path = places.restored;
        assert_true(store_open(&options, &store, &err));
        uint64_t first = fixture_get(store, 1), second = fixture_get(store, 2);
        store_close(store);
        remove_all(places.restored);
        assert_int_equal(first, second);
        assert_true(first >= before);
        before = first;
    }
    atomic_store(&writer.is_done, true);
    pthread_join(thread, NULL);
}

/* ---- erasing ---- */

static int erase(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    int erased = 0;
    struct fr_err err;

    assert_true(store_load(store, &key, &hash, 1, &err));
    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, hash, false);
    assert_non_null(entry);
    assert_true(store_entry_erase(store, entry, &erased));
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    store_visit_leave(store, visit);
    return erased;
}

static bool see_key(void *user, const struct store_key *key)
{
    uint64_t *sum = user;

    *sum += key->ids[0];
    return true;
}

static uint64_t keys_of(struct store *store, uint64_t id)
{
    uint64_t sum = 0;
    struct fr_err err;

    assert_true(store_scan_keys(store, 1, 7, id, see_key, &sum, &err));
    return sum;
}

static void what_is_erased_leaves_the_disk_damaged_or_not(void **state)
{
    struct fixture *fixture = *state;

    fixture_set_part(fixture->store, 1, STORE_PART_ROWS, 5);
    fixture_set_part(fixture->store, 1, STORE_PART_LISTS, 6);
    fixture_set(fixture->store, 2, FIXTURE_POISON);
    fixture_set(fixture->store, 3, 7);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(keys_of(fixture->store, 1), 1); /* once, though it has two parts */
    assert_true(fixture_is_corrupt(fixture->store, 2));
    assert_int_equal(erase(fixture->store, 1), 2);
    assert_true(erase(fixture->store, 2) > 0);
    fixture_commit(fixture->store);
    assert_int_equal(keys_of(fixture->store, 1) + keys_of(fixture->store, 2), 0);
    assert_int_equal(keys_of(fixture->store, 3), 3);
    fixture_set(fixture->store, 2, 8); /* and may live again */
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 0);
    assert_int_equal(fixture_get(fixture->store, 2), 8);
    assert_int_equal(fixture_get(fixture->store, 3), 7);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_backup_is_the_epoch_that_it_was_made_of),
        TEST(so_many_of_the_latest_stay),
        TEST(other_things_are_left_alone),
        TEST(a_directory_without_backups_is_told),
        TEST(two_do_not_work_on_one_directory),
        TEST(a_half_done_restore_is_no_store),
        TEST(a_flipped_byte_of_a_backup_is_told),
        TEST(a_backup_beside_epochs_is_one_whole_epoch),
        TEST(what_is_erased_leaves_the_disk_damaged_or_not),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
