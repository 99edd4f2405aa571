/* Calls that must not be done by halves when partitions move: what is asked before, and who waits for whom. */
#include "cluster_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PARTITIONS = 8 };

static int setup(void **state)
{
    static struct pipeline_config config = {.id = "here"};
    static struct pipeline_engine engine; /* without sessions */
    struct pipeline_cluster *cluster = calloc(1, sizeof *cluster);

    assert_non_null(cluster);
    cluster->config = &config;
    cluster->engine = &engine;
    atomic_store(&cluster->partitions, PARTITIONS);
    *state = cluster;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void erasing_begins_only_while_partitions_stay_and_nobody_waits_for_who_was_refused(void **state)
{
    struct pipeline_cluster *cluster = *state;
    uint64_t turns = pipeline_cluster__turns(cluster);
    struct fr_err err;

    assert_true(pipeline_cluster__begin_forgetting(cluster, turns, &err));
    assert_int_equal(atomic_load(&cluster->forgetting), 1);
    atomic_fetch_add(&cluster->turns, 1); /* the group takes partitions away: it waits for the one that has begun */
    assert_false(pipeline_cluster__begin_forgetting(cluster, turns, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_int_equal(atomic_load(&cluster->forgetting), 1);
    pipeline_cluster__end_forgetting(cluster);
    assert_int_equal(atomic_load(&cluster->forgetting), 0);
}

/* Prototype for --wrap. */
bool __wrap_ingest_disown(struct ingest *ingest);

static struct pipeline_cluster *giving;
static bool was_begun, was_taken_for_sure, is_disowned;

/* Partitions are about to be let go of, and their users are still here. False: the node closes, and so nothing is let go of. */
bool __wrap_ingest_disown(struct ingest *ingest)
{
    uint64_t turns = pipeline_cluster__turns(giving);
    struct fr_err err;

    (void)ingest;
    was_begun = pipeline_cluster__begin_forgetting(giving, turns, &err);
    was_taken_for_sure = pipeline_cluster__check_turns(giving, turns, &err);
    return is_disowned;
}

/* The epoch with its erasures would be no transaction, and whoever has him next would have all of him. */
static void who_asks_between_the_groups_word_and_the_letting_go_is_refused(void **state)
{
    struct pipeline_cluster *cluster = *state;
    bool is_settled = false;
    struct fr_err err;

    giving = cluster;
    is_disowned = false;
    for (int i = 0; i < PARTITIONS; i++)
        atomic_store(&cluster->held[i].place, PIPELINE_CLUSTER_HERE);
    assert_true(pipeline_share__revoked(cluster, false, &is_settled, &err));
    assert_false(is_settled); /* the committer may be in the middle of a transaction of them */
    assert_true(pipeline_cluster__check_owned(cluster, 7, &err));
    assert_false(was_begun);
    assert_false(was_taken_for_sure);
    assert_int_equal(atomic_load(&cluster->forgetting), 0);
}

/* Prototypes for --wrap. */
bool __wrap_pipeline_committer__commit(struct pipeline_committer *committer, int timeout_ms, struct fr_err *err);
bool __wrap_store_is_failed(const struct store *store);
int64_t __wrap_fr_clock_monotonic_ms(void);
void __wrap_fr_clock_sleep_ms(int64_t ms);

static int64_t now_ms = 1000, full_until_ms; /* the disk is full until then */

bool __wrap_pipeline_committer__commit(struct pipeline_committer *committer, int timeout_ms, struct fr_err *err)
{
    (void)committer, (void)timeout_ms;
    return now_ms >= full_until_ms || fr_fail(err, FR_EXHAUSTED, "the disk is full; make room");
}

bool __wrap_store_is_failed(const struct store *store)
{
    (void)store;
    return false;
}

int64_t __wrap_fr_clock_monotonic_ms(void)
{
    return now_ms;
}

void __wrap_fr_clock_sleep_ms(int64_t ms)
{
    now_ms += ms;
}

/* All others would stand still until max.poll.interval.ms, and the users be read from here after that, too. */
static void who_can_write_no_epoch_for_a_minute_ends_instead_of_keeping_the_group_waiting(void **state)
{
    struct pipeline_cluster *cluster = *state;
    int64_t began_ms = now_ms;
    bool is_settled = true;
    struct fr_err err;

    giving = cluster;
    is_disowned = true;
    full_until_ms = INT64_MAX;
    assert_false(pipeline_share__revoked(cluster, false, &is_settled, &err));
    assert_true(now_ms - began_ms >= 60000 && now_ms - began_ms < 61000);
    assert_non_null(strstr(err.message, "'here' has written no epoch for 60 s"));
    assert_non_null(strstr(err.message, "make room"));
}

static void who_keeps_nobody_waiting_waits_for_room_for_as_long_as_it_takes(void **state)
{
    struct fr_err err;

    full_until_ms = now_ms + 3600000;
    assert_true(pipeline_share__commit(*state, &err));
    assert_true(now_ms >= full_until_ms);
}

static void who_has_no_partitions_blocks_nothing_and_sends_on_to_who_has(void **state)
{
    static const struct pipeline_owner other = {.instance = "there", .api = "there:1"};
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;

    assert_false(pipeline_cluster__check_may_block(cluster, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    atomic_store(&cluster->held[3].owner, &other);
    assert_false(pipeline_cluster__check_may_block(cluster, &err));
    assert_int_equal(err.code, FR_PRECONDITION);
    assert_non_null(strstr(err.message, "ask there:1"));
    atomic_store(&cluster->held[4].place, PIPELINE_CLUSTER_RESTORING);
    assert_false(pipeline_cluster__check_may_block(cluster, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    atomic_store(&cluster->held[0].place, PIPELINE_CLUSTER_HERE);
    assert_true(pipeline_cluster__check_may_block(cluster, &err));
}

/* It has no sessions itself, so whoever has the partition next goes on from where who had it before was. */
static void the_time_of_sessions_is_carried_on_without_any(void **state)
{
    struct pipeline_cluster *cluster = *state;

    cluster->held[3].marker = (struct pipeline_marker){.is_known = true, .session_time_ms = 7};
    assert_int_equal(pipeline_cluster_sessions__time(cluster, 3), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(erasing_begins_only_while_partitions_stay_and_nobody_waits_for_who_was_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_asks_between_the_groups_word_and_the_letting_go_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(who_can_write_no_epoch_for_a_minute_ends_instead_of_keeping_the_group_waiting, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_keeps_nobody_waiting_waits_for_room_for_as_long_as_it_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_no_partitions_blocks_nothing_and_sends_on_to_who_has, setup, teardown),
        cmocka_unit_test_setup_teardown(the_time_of_sessions_is_carried_on_without_any, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
