/* Draining: who may, how many partitions others do not have yet, and what comes back when there are no others. */
#include "cluster_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 8 };

static const struct pipeline_owner other = {.instance = "there", .api = "there:1"};
static struct ingest_members members; /* as the coordinator says */
static int left, returned; /* how often it was to leave the group, and to return */
static int64_t end; /* of the deltas */

/* Prototypes for --wrap. */
bool __wrap_ingest_group_members(struct ingest_group *group, const char *instance, struct ingest_members *ret,
                                 struct fr_err *err);
void __wrap_ingest_group_drain(struct ingest_group *group, bool is_to_leave);
bool __wrap_ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count,
                               int64_t *lows, int64_t *ends, struct fr_err *err);

bool __wrap_ingest_group_members(struct ingest_group *group, const char *instance, struct ingest_members *ret,
                                 struct fr_err *err)
{
    (void)group, (void)instance, (void)err;
    *ret = members;
    return true;
}

void __wrap_ingest_group_drain(struct ingest_group *group, bool is_to_leave)
{
    (void)group;
    left += is_to_leave;
    returned += !is_to_leave;
}

bool __wrap_ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count,
                               int64_t *lows, int64_t *ends, struct fr_err *err)
{
    (void)group, (void)topic, (void)partitions;
    for (int i = 0; i < count; i++) {
        lows[i] = 0;
        ends[i] = end;
    }
    return end >= 0 || fr_fail(err, FR_UNAVAILABLE, "no broker says");
}

static int setup(void **state)
{
    static struct pipeline_config config = {.id = "here"};
    struct pipeline_cluster *cluster = calloc(1, sizeof *cluster);

    assert_non_null(cluster);
    cluster->config = &config;
    atomic_store(&cluster->partitions, PARTITIONS);
    atomic_store(&cluster->is_through, true);
    members = (struct ingest_members){.count = 2, .has_it = true};
    left = returned = 0;
    end = 0;
    *state = cluster;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* Of each: where it is, and who said last that he has it, before this instance was given it or after. */
static void place_all(struct pipeline_cluster *cluster, enum pipeline_place place, const struct pipeline_owner *owner,
                      bool is_outdated)
{
    for (int i = 0; i < PARTITIONS; i++) {
        atomic_store(&cluster->held[i].place, place);
        atomic_store(&cluster->held[i].owner, owner);
        atomic_store(&cluster->held[i].word_from, is_outdated);
    }
}

/* The other says among the deltas, at this offset, that he has the partition. */
static void hear(struct pipeline_cluster *cluster, int partition, int64_t offset)
{
    static struct pipeline_config config = {.id = "there"};
    struct pipeline_cluster *speaker = calloc(1, sizeof *speaker);
    struct fr_buffer key, value;

    assert_non_null(speaker);
    speaker->config = &config;
    snprintf(speaker->api, sizeof speaker->api, "%s", other.api);
    fr_buffer_init(&key);
    fr_buffer_init(&value);
    pipeline_owner__encode(speaker, partition, &key, &value);
    pipeline_owner__take(cluster, partition, offset, fr_buffer_slice(&value));
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    free(speaker);
}

static void who_restores_its_first_share_may_go_and_who_has_not_come_may_not(void **state)
{
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;
    int count;
    bool is_again;

    assert_false(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_false(pipeline_cluster__has_share(cluster)); /* so that nobody waits for it at the end */
    atomic_store(&cluster->has_come, true);
    assert_true(pipeline_cluster__has_share(cluster));
    place_all(cluster, PIPELINE_CLUSTER_RESTORING, &other, true);
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_int_equal(count, PARTITIONS);
    assert_int_equal(left, 1);
}

static void what_another_said_before_it_was_given_does_not_count_as_his_word(void **state)
{
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;
    int count;
    bool is_again;

    atomic_store(&cluster->has_come, true);
    place_all(cluster, PIPELINE_CLUSTER_ELSEWHERE, &other, true);
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_false(is_again);
    assert_int_equal(count, PARTITIONS);
    hear(cluster, 3, 0); /* he has said it again */
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_true(is_again);
    assert_int_equal(count, PARTITIONS - 1);
}

static void what_was_said_before_it_drained_does_not_count_however_late_it_is_read(void **state)
{
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;
    int count;
    bool is_again;

    atomic_store(&cluster->has_come, true);
    place_all(cluster, PIPELINE_CLUSTER_RESTORING, &other, true);
    hear(cluster, 3, 4); /* of the epoch in which it was given here */
    end = -1;
    assert_false(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_int_equal(left, 0);
    end = 10;
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    hear(cluster, 5, 9);
    for (int i = 0; i < PARTITIONS; i++)
        atomic_store(&cluster->held[i].place, PIPELINE_CLUSTER_ELSEWHERE);
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_int_equal(count, PARTITIONS);
    hear(cluster, 5, 10);
    assert_true(pipeline_cluster__drain(cluster, &count, &is_again, &err));
    assert_int_equal(count, PARTITIONS - 1);
}

static void one_that_comes_back_is_not_ready_before_it_has_its_share_again(void **state)
{
    struct pipeline_cluster *cluster = *state;

    atomic_store(&cluster->is_assigned, true);
    atomic_store(&cluster->is_draining, true);
    members = (struct ingest_members){.count = 0};
    pipeline_drain__look(cluster); /* it has not left yet */
    assert_int_equal(returned, 0);
    assert_non_null(strstr(pipeline_cluster__not_ready(cluster), "drained"));
    atomic_store(&cluster->is_away, true);
    pipeline_drain__look(cluster);
    assert_int_equal(returned, 1);
    assert_string_equal(pipeline_cluster__not_ready(cluster), "waiting for partitions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_restores_its_first_share_may_go_and_who_has_not_come_may_not, setup, teardown),
        cmocka_unit_test_setup_teardown(what_another_said_before_it_was_given_does_not_count_as_his_word, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_said_before_it_drained_does_not_count_however_late_it_is_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_comes_back_is_not_ready_before_it_has_its_share_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
