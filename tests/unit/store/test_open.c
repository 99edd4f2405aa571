#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool try_open(struct fixture *fixture, struct fr_err *err)
{
    return store_open(&fixture->options, &fixture->store, err);
}

static void make_file(const char *folder, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int setup_closed(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture_set_path(fixture);
    *state = fixture;
    return 0;
}

static void missing_directories_are_made_for_the_owner_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct stat status;

    snprintf(path, sizeof(path), "%s/one/two", fixture->path);
    fixture->options.path = path;
    fixture_open(fixture);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(fixture_epoch(fixture->store), 1);
}

static void a_directory_with_other_things_is_refused_untouched(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct fr_err err;

    make_file(fixture->path, "thesis.tex");
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "holds other things"));
    snprintf(path, sizeof(path), "%s/FRESHET", fixture->path);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_fresh_file_system_is_as_good_as_empty(void **state)
{
    struct fixture *fixture = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/lost+found", fixture->path);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_open(fixture);
}

static void a_file_in_the_way_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct fr_err err;

    make_file(fixture->path, "file");
    snprintf(path, sizeof(path), "%s/file", fixture->path);
    fixture->options.path = path;
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

static void a_store_another_process_has_open_names_it(void **state)
{
    struct fixture *fixture = *state;
    int ready[2];
    char byte, expected[32];
    struct fr_err err;

    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        fixture_open(fixture);
        (void)!write(ready[1], "x", 1);
        pause();
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    snprintf(expected, sizeof(expected), "locked by pid %d;", (int)child);
    assert_non_null(strstr(err.message, expected));

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fixture_open(fixture); /* the lock died with it */
    close(ready[0]);
}

static void a_store_this_process_has_open_is_refused_and_stays_locked(void **state)
{
    struct fixture *fixture = *state;
    struct store *second;
    struct fr_err err;

    fixture_open(fixture);
    for (int i = 0; i < 2; i++) {
        assert_false(store_open(&fixture->options, &second, &err));
        assert_int_equal(err.code, FR_BAD_CONFIG);
    }
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture_open(fixture);
    store_meta_put(fixture->store, "format", fr_slice_of("3"));
    fixture_commit(fixture->store);
    fixture_close(fixture);
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_non_null(strstr(err.message, "has format 3, this freshet knows 2"));
    assert_non_null(strstr(err.message, "restore a backup of before"));
    fixture->options.is_read_only = true;
    assert_false(try_open(fixture, &err));
    assert_non_null(strstr(err.message, "has format 3"));
}

static void an_older_format_is_upgraded_in_place(void **state)
{
    struct fixture *fixture = *state;
    uint64_t epoch;

    fixture_open(fixture);
    fixture_set(fixture->store, 7, 77);
    store_meta_put(fixture->store, "format", fr_slice_of("1"));
    fixture_meta_set(fixture->store, "offset/a", 5);
    fixture_commit(fixture->store);
    epoch = fixture_epoch(fixture->store);
    fixture->options.is_read_only = true;
    fixture_reopen(fixture); /* who only looks leaves it as it is */
    assert_true(fr_slice_is(store_meta_get(fixture->store, "format"), "1"));
    fixture->options.is_read_only = false;
    fixture_reopen(fixture);
    assert_int_equal(fixture_epoch(fixture->store), epoch + 1);
    fixture_reopen(fixture); /* it was durable */
    assert_true(fr_slice_is(store_meta_get(fixture->store, "format"), "2"));
    assert_int_equal(fixture_epoch(fixture->store), epoch + 1);
    assert_int_equal(fixture_get(fixture->store, 7), 77);
    assert_int_equal(fixture_meta_get(fixture->store, "offset/a"), 5);
}

static void a_damaged_store_is_not_opened_and_names_the_way_back(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct fr_err err;

    fixture_open(fixture);
    fixture_close(fixture);
    snprintf(path, sizeof(path), "%s/CURRENT", fixture->path);
    assert_int_equal(truncate(path, 3), 0);
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_CORRUPT);
    assert_non_null(strstr(err.message, "restore a backup"));
}

static void what_a_crash_left_of_an_epoch_goes_at_open(void **state)
{
    struct fixture *fixture = *state;
    char epochs[128], path[256];

    fixture_open(fixture);
    fixture_close(fixture);
    snprintf(epochs, sizeof(epochs), "%s/epochs", fixture->path);
    make_file(epochs, "00000000000000000009.sst");
    fixture_open(fixture);
    snprintf(path, sizeof(path), "%s/00000000000000000009.sst", epochs);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_crash_before_the_first_record_is_no_obstacle(void **state)
{
    struct fixture *fixture = *state;

    make_file(fixture->path, "FRESHET");
    fixture_open(fixture);
    fixture_set(fixture->store, 1, 2);
    fixture_commit(fixture->store);
    fixture_reopen(fixture);
    assert_int_equal(fixture_get(fixture->store, 1), 2);
}

static void no_path_is_a_mistake_of_the_configuration(void **state)
{
    struct fixture *fixture = *state;
    struct fr_err err;

    fixture->options.path = NULL;
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    fixture->options.path = "";
    assert_false(try_open(fixture, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: RocksDB's threads, once there, would not be in the child. */
        cmocka_unit_test_setup_teardown(a_store_another_process_has_open_names_it, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(missing_directories_are_made_for_the_owner_alone, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_directory_with_other_things_is_refused_untouched, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_fresh_file_system_is_as_good_as_empty, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_file_in_the_way_is_refused, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_store_this_process_has_open_is_refused_and_stays_locked, setup_closed,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused_with_both_numbers, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_older_format_is_upgraded_in_place, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_store_is_not_opened_and_names_the_way_back, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_a_crash_left_of_an_epoch_goes_at_open, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_crash_before_the_first_record_is_no_obstacle, setup_closed, fixture_teardown),
        cmocka_unit_test_setup_teardown(no_path_is_a_mistake_of_the_configuration, setup_closed, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
