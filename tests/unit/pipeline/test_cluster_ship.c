/*
 * Checkpoints as an instance writes and takes them, without brokers: rounds of files are its thread's, and what is waited for is
 * what they leave. Users are numbers of the store's fixture; who takes a file counts what is put.
 */
#include "instance.h"

#include "checkpoint.h"

#include <freshet/clock.h>

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { USERS = 20000, FIRST = 2, SECOND = 5, NEXT = 100, WAIT_MS = 30000, OTHER_STORE = 77, WHILE_MS = 20 };

struct shipping_test {
    struct instance *instance;
    struct pipeline_cluster *cluster;
    char directory[64];
};

static struct {
    int puts[USERS]; /* how often each user was put */
    int cleared; /* partitions that were not empty */
    int reads, held_at; /* at that read a hand-over comes; 0: none does */
} seen;

static char outruns[PATH_MAX]; /* a file that another writes while a round waits for its epoch; "": none */

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

/* Prototypes for --wrap. */
bool __wrap_ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count,
                               int64_t *lows, int64_t *ends, struct fr_err *err);
bool __wrap_pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err);
bool __wrap_pipeline_share__clear(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err);
void __wrap_pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside);
bool __wrap_agg_is_of_user(const struct agg *agg, const struct store_key *key);
bool __wrap_agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);
bool __wrap_agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);

bool __wrap_ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count,
                               int64_t *lows, int64_t *ends, struct fr_err *err)
{
    (void)group, (void)topic, (void)partitions, (void)err;
    for (int i = 0; i < count; i++) {
        lows[i] = 0;
        ends[i] = NEXT;
    }
    return true;
}

bool __wrap_pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err)
{
    (void)cluster, (void)err;
    if (outruns[0]) {
        fr_clock_sleep_ms(WHILE_MS);
        make_file(outruns);
        outruns[0] = 0;
    }
    return true;
}

bool __wrap_pipeline_share__clear(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    (void)err;
    for (int i = 0; i < count; i++) {
        struct pipeline_held *held = &cluster->held[partitions[i]];

        if (held->is_empty || held->begun.records > 0)
            continue;
        seen.cleared++;
        held->is_empty = true;
    }
    return true;
}

void __wrap_pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside)
{
    (void)is_beside;
    if (++seen.reads == seen.held_at)
        atomic_store(&cluster->is_held, true);
}

bool __wrap_agg_is_of_user(const struct agg *agg, const struct store_key *key)
{
    (void)agg, (void)key;
    return true;
}

bool __wrap_agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    (void)agg, (void)copies, (void)count, (void)err;
    return true;
}

bool __wrap_agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    (void)agg, (void)err;
    for (int i = 0; i < count; i++)
        seen.puts[copies[i].key.ids[0]]++;
    return true;
}

/* ---- an instance with users, and a directory ---- */

static bool is_of(uint64_t user_id, int partition)
{
    return ingest_partition_of(user_id, INSTANCE_PARTITIONS) == partition;
}

static void store_users(const struct shipping_test *test)
{
    for (uint64_t user_id = 1; user_id < USERS; user_id++)
        if (is_of(user_id, FIRST) || is_of(user_id, SECOND))
            fixture_set(test->cluster->store, user_id, user_id);
}

/* As an epoch leaves it that ended there. */
static void store_position(const struct shipping_test *test, int partition, int64_t next)
{
    struct pipeline_marker marker = {.is_known = true, .epoch = 1};
    struct fr_buffer value;
    char name[64];

    fr_buffer_init(&value);
    fr_buffer_append_varint(&value, (uint64_t)next);
    pipeline_marker__encode(test->cluster, &marker, &value);
    snprintf(name, sizeof name, "cluster/partition/%d", partition);
    store_meta_put(test->cluster->store, name, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
}

static void store_positions(const struct shipping_test *test, int64_t next)
{
    store_position(test, FIRST, next);
    store_position(test, SECOND, next);
    instance_commit(test->instance);
}

static int setup(void **state)
{
    struct shipping_test *test = calloc(1, sizeof *test);
    void *instance;

    assert_non_null(test);
    instance_setup(&instance);
    test->instance = instance;
    test->cluster = test->instance->cluster;
    snprintf(test->directory, sizeof test->directory, "shared-XXXXXX");
    assert_non_null(mkdtemp(test->directory));
    test->instance->config.checkpoints = test->directory;
    test->instance->config.group = "shop";
    pipeline_ship__register(test->cluster, test->instance->engine.metrics);
    atomic_store(&test->cluster->held[FIRST].place, PIPELINE_CLUSTER_HERE);
    atomic_store(&test->cluster->held[SECOND].place, PIPELINE_CLUSTER_HERE);
    memset(&seen, 0, sizeof seen);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct shipping_test *test = *state;
    void *instance = test->instance;

    nftw(test->directory, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(test);
    return instance_teardown(&instance);
}

static void begin_rounds(struct pipeline_cluster *cluster)
{
    struct fr_err err;

    atomic_store(&cluster->is_stopping, false);
    assert_true(pipeline_ship__start(cluster, &err));
}

static void end_rounds(struct pipeline_cluster *cluster)
{
    atomic_store(&cluster->is_stopping, true);
    pipeline_ship__stop(cluster);
    atomic_store(&cluster->is_stopping, false);
}

static void wait_until(uint64_t (*get)(const struct shipping_test *test), const struct shipping_test *test, uint64_t least)
{
    int64_t until_ms = fr_clock_monotonic_ms() + WAIT_MS;

    while (get(test) < least) {
        if (fr_clock_monotonic_ms() > until_ms) {
            end_rounds(test->cluster);
            fail_msg("%d ms are over, and what is waited for has not come", WAIT_MS);
        }
        fr_clock_sleep_ms(1);
    }
}

static uint64_t written(const struct shipping_test *test)
{
    return fr_counter_read(test->cluster->shipped);
}

static uint64_t failed(const struct shipping_test *test)
{
    return fr_counter_read(test->cluster->ship_failed);
}

static uint64_t seconds(const struct shipping_test *test)
{
    return (uint64_t)fr_gauge_read(test->cluster->shipped_at);
}

static uint64_t due_ms(const struct shipping_test *test)
{
    return (uint64_t)(fr_gauge_read(test->cluster->ship_due) * 1000);
}

/* Rounds until so many more of it are there. */
static void ship(const struct shipping_test *test, uint64_t (*get)(const struct shipping_test *test), uint64_t more)
{
    uint64_t before = get(test);

    begin_rounds(test->cluster);
    wait_until(get, test, before + more);
    end_rounds(test->cluster);
}

static void name_of(const struct shipping_test *test, int partition, int64_t next, char name[PATH_MAX])
{
    pipeline_ship__name(test->cluster, partition, next, name);
}

static bool has_file(const struct shipping_test *test, int partition, int64_t next)
{
    char name[PATH_MAX];

    name_of(test, partition, next, name);
    return access(name, F_OK) == 0;
}

static size_t count_unfinished(const struct shipping_test *test)
{
    char pattern[128];
    glob_t found;
    size_t count;

    snprintf(pattern, sizeof pattern, "%s/.*.part", test->directory);
    count = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return count;
}

/* As the standby's thread does for a partition of which the store has nothing; gives how far the changelog is then. */
static int64_t fetch(const struct shipping_test *test, int32_t partition)
{
    struct pipeline_held *held = &test->cluster->held[partition];
    struct fr_err err;

    atomic_store(&held->changelog_next, -1);
    atomic_store(&test->cluster->is_held, false);
    if (!pipeline_ship__fetch(test->cluster, partition, &err))
        fail_msg("%s", err.message);
    return atomic_load(&held->changelog_next);
}

/* Each user of the partition was put so often since it was asked last. */
static void check_puts(int partition, int times)
{
    for (uint64_t user_id = 1; user_id < USERS; user_id++)
        assert_int_equal(seen.puts[user_id], is_of(user_id, partition) ? times : 0);
    memset(seen.puts, 0, sizeof seen.puts);
}

static uint64_t some_user_of(int partition)
{
    uint64_t user_id = USERS / 2;

    while (!is_of(user_id, partition))
        user_id++;
    return user_id;
}

/* ---- what is damaged ---- */

static void a_damaged_user_costs_his_partition_its_next_file_and_no_other(void **state)
{
    struct shipping_test *test = *state;

    store_users(test);
    store_positions(test, NEXT - 1);
    ship(test, written, 2);
    fixture_set(test->cluster->store, some_user_of(FIRST), FIXTURE_POISON);
    store_positions(test, NEXT);
    ship(test, failed, 2); /* rounds: the other's is written in the first */
    assert_true(has_file(test, SECOND, NEXT));
    assert_false(has_file(test, FIRST, NEXT));
    assert_int_equal(written(test), 3);
    assert_int_equal(count_unfinished(test), 0);
    assert_int_equal(fetch(test, SECOND), NEXT);
    check_puts(SECOND, 1);
    assert_int_equal(fetch(test, FIRST), NEXT - 1); /* the one of before has him as he was */
    check_puts(FIRST, 1);
    assert_int_equal(fr_counter_read(test->cluster->ship_refused), 0);
}

/* Something in the middle of a large table file: a block is not what its checksum says. */
static void spoil_tables(const char *path)
{
    char pattern[128], junk[4096] = {0};
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/*.sst", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat status;
        int fd = open(found.gl_pathv[i], O_RDWR | O_CLOEXEC);

        assert_true(fd >= 0 && fstat(fd, &status) == 0);
        if (status.st_size > (off_t)(8 * sizeof junk))
            assert_int_equal(pwrite(fd, junk, sizeof junk, status.st_size / 2), sizeof junk);
        close(fd);
    }
    globfree(&found);
}

static void where_the_disk_does_not_say_who_is_damaged_none_is_written_and_that_is_counted(void **state)
{
    struct shipping_test *test = *state;

    store_users(test);
    store_positions(test, NEXT - 1);
    ship(test, written, 2);
    store_positions(test, NEXT);
    spoil_tables(test->instance->config.store_path);
    ship(test, failed, 2);
    assert_int_equal(written(test), 2);
    assert_true(has_file(test, FIRST, NEXT - 1) && has_file(test, SECOND, NEXT - 1));
    assert_int_equal(count_unfinished(test), 0);
}

static void a_full_disk_costs_the_files_that_do_not_fit_and_those_of_before_stay(void **state)
{
    struct shipping_test *test = *state;
    struct rlimit limit, before;

    store_users(test);
    store_positions(test, NEXT - 1);
    ship(test, written, 2);
    store_positions(test, NEXT);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 10000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ship(test, failed, 2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(written(test), 2);
    assert_int_equal(count_unfinished(test), 0);
    assert_int_equal(fetch(test, FIRST), NEXT - 1);
    ship(test, written, 2); /* there is room again */
    assert_int_equal(fetch(test, FIRST), NEXT);
}

/* ---- files ---- */

static void where_nobody_is_stored_yet_all_that_there_is_is_in_files(void **state)
{
    struct shipping_test *test = *state;

    ship(test, seconds, 1);
    assert_int_equal(written(test), 0);
}

static void files_are_due_anew_after_rounds_that_have_all_and_not_after_others(void **state)
{
    struct shipping_test *test = *state;
    uint64_t first;

    store_users(test);
    store_positions(test, NEXT - 1);
    ship(test, written, 2);
    fixture_set(test->cluster->store, some_user_of(FIRST), FIXTURE_POISON);
    store_positions(test, NEXT);
    begin_rounds(test->cluster); /* a start has its time, too */
    first = due_ms(test);
    assert_true(first + WAIT_MS > (uint64_t)fr_clock_wall_ms());
    wait_until(failed, test, 2);
    end_rounds(test->cluster);
    assert_int_equal(due_ms(test), first);

    atomic_store(&test->cluster->held[FIRST].place, PIPELINE_CLUSTER_ELSEWHERE); /* it owes only the other one now, then none */
    begin_rounds(test->cluster);
    first = due_ms(test);
    wait_until(due_ms, test, first + 1);
    atomic_store(&test->cluster->held[SECOND].place, PIPELINE_CLUSTER_ELSEWHERE);
    first = due_ms(test);
    wait_until(due_ms, test, first + 1);
    end_rounds(test->cluster);
}

static void of_a_partition_the_new_file_and_one_before_it_stay_whoever_wrote_them(void **state)
{
    static const int64_t others[] = {1, 7, 40, NEXT + 3};
    struct shipping_test *test = *state;
    char name[PATH_MAX], shops[PATH_MAX], unfinished[PATH_MAX], lost[PATH_MAX];
    struct timespec long_ago[2] = {0};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        name_of(test, FIRST, others[i], name);
        make_file(name);
    }
    snprintf(shops, sizeof shops, "%s/shop.2.%04d.%020d.users", test->directory, FIRST, 1); /* of another group */
    make_file(shops);
    snprintf(unfinished, sizeof unfinished, "%s/.shop.%04d.%016x.part", test->directory, FIRST, OTHER_STORE);
    make_file(unfinished);
    snprintf(lost, sizeof lost, "%s/.shop.%04d.%016x.part", test->directory, FIRST, OTHER_STORE + 1);
    make_file(lost);
    assert_int_equal(utimensat(AT_FDCWD, lost, long_ago, 0), 0);
    store_users(test);
    store_positions(test, NEXT);
    ship(test, written, 2);
    assert_true(has_file(test, FIRST, NEXT) && has_file(test, FIRST, 40));
    assert_false(has_file(test, FIRST, 1) || has_file(test, FIRST, 7) || has_file(test, FIRST, NEXT + 3));
    assert_int_equal(access(shops, F_OK), 0);
    assert_int_equal(access(unfinished, F_OK), 0); /* somebody may be writing it */
    assert_int_equal(access(lost, F_OK), -1);
}

/* It stood still between its epoch and its end for longer than the group waits, and does not know it yet. */
static void a_file_that_another_wrote_meanwhile_and_goes_further_stays(void **state)
{
    struct shipping_test *test = *state;

    store_users(test);
    store_positions(test, NEXT);
    name_of(test, FIRST, NEXT + 3, outruns);
    ship(test, written, 1); /* the other partition's */
    assert_true(has_file(test, FIRST, NEXT + 3) && has_file(test, SECOND, NEXT));
    assert_false(has_file(test, FIRST, NEXT));
}

/* One that does not know yet that it has lost the partition, say. */
static void two_that_write_a_partitions_file_at_once_leave_a_whole_one(void **state)
{
    struct shipping_test *test = *state;
    struct pipeline_cluster *other = malloc(sizeof *other);

    assert_non_null(other);
    memcpy(other, test->cluster, sizeof *other);
    other->store_id = OTHER_STORE;
    store_users(test);
    store_positions(test, NEXT);
    begin_rounds(test->cluster);
    begin_rounds(other);
    wait_until(written, test, 4); /* they share the counter, and each writes a partition's once */
    end_rounds(test->cluster);
    end_rounds(other);
    free(other);
    assert_int_equal(failed(test), 0);
    assert_int_equal(count_unfinished(test), 0);
    assert_int_equal(fetch(test, FIRST), NEXT);
    check_puts(FIRST, 1);
}

/* ---- giving way ---- */

static void what_gives_way_to_a_hand_over_goes_on_behind_what_it_has_put(void **state)
{
    struct shipping_test *test = *state;

    store_users(test);
    store_positions(test, NEXT);
    ship(test, written, 2);
    test->cluster->held[FIRST].is_empty = true;
    for (int i = 1; i <= 2; i++) { /* none goes without some of it being put */
        seen.reads = 0;
        seen.held_at = 1;
        assert_int_equal(fetch(test, FIRST), -1);
    }
    seen.held_at = 0;
    assert_int_equal(fetch(test, FIRST), NEXT);
    check_puts(FIRST, 1);
    assert_int_equal(seen.cleared, 0);
}

/* And the hand-over is over. */
static void give_way(struct shipping_test *test)
{
    store_users(test);
    store_positions(test, NEXT - 1);
    ship(test, written, 2);
    test->cluster->held[FIRST].is_empty = true;
    seen.held_at = 1;
    assert_int_equal(fetch(test, FIRST), -1);
    seen.held_at = 0;
    atomic_store(&test->cluster->is_held, false);
}

static void it_goes_on_with_the_same_file_though_there_is_a_newer_one(void **state)
{
    struct shipping_test *test = *state;

    give_way(test);
    store_positions(test, NEXT);
    ship(test, written, 2);
    assert_int_equal(fetch(test, FIRST), NEXT - 1); /* the changelog has the rest */
    check_puts(FIRST, 1);
    assert_int_equal(seen.cleared, 0);
}

static void where_its_file_is_gone_nothing_of_it_is_left(void **state)
{
    struct shipping_test *test = *state;
    char name[PATH_MAX];

    give_way(test);
    name_of(test, FIRST, NEXT - 1, name);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(fetch(test, FIRST), -1);
    assert_int_equal(seen.cleared, 1);
}

static void where_another_has_its_files_name_that_is_read_from_the_first_record(void **state)
{
    struct shipping_test *test = *state;

    give_way(test);
    memset(seen.puts, 0, sizeof seen.puts);
    ship(test, written, 2); /* a new thread, which knows nothing of the old one's files */
    assert_int_equal(fetch(test, FIRST), NEXT - 1);
    check_puts(FIRST, 1);
    assert_int_equal(seen.cleared, 1);
}

#define SHIP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHIP_TEST(a_damaged_user_costs_his_partition_its_next_file_and_no_other),
        SHIP_TEST(where_the_disk_does_not_say_who_is_damaged_none_is_written_and_that_is_counted),
        SHIP_TEST(a_full_disk_costs_the_files_that_do_not_fit_and_those_of_before_stay),
        SHIP_TEST(where_nobody_is_stored_yet_all_that_there_is_is_in_files),
        SHIP_TEST(files_are_due_anew_after_rounds_that_have_all_and_not_after_others),
        SHIP_TEST(of_a_partition_the_new_file_and_one_before_it_stay_whoever_wrote_them),
        SHIP_TEST(a_file_that_another_wrote_meanwhile_and_goes_further_stays),
        SHIP_TEST(two_that_write_a_partitions_file_at_once_leave_a_whole_one),
        SHIP_TEST(what_gives_way_to_a_hand_over_goes_on_behind_what_it_has_put),
        SHIP_TEST(it_goes_on_with_the_same_file_though_there_is_a_newer_one),
        SHIP_TEST(where_its_file_is_gone_nothing_of_it_is_left),
        SHIP_TEST(where_another_has_its_files_name_that_is_read_from_the_first_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
