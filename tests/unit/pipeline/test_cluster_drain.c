/* Draining: who may, how many partitions others do not have yet, and what comes back when there are no others. */
#include "cluster_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 8 };

static const struct pipeline_owner other = {.instance = "there", .api = "there:1"};
static struct ingest_members members; /* as the coordinator says */
static int left, returned; /* how often it was to leave the group, and to return */

/* Prototypes for --wrap. */
bool __wrap_ingest_group_members(struct ingest_group *group, const char *instance, struct ingest_members *ret,
                                 struct fr_err *err);
void __wrap_ingest_group_drain(struct ingest_group *group, bool is_to_leave);

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
        atomic_store(&cluster->held[i].is_owner_outdated, is_outdated);
    }
}

static void who_restores_its_first_share_may_go_and_who_has_not_come_may_not(void **state)
{
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;
    int count;

    assert_false(pipeline_cluster__drain(cluster, &count, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    atomic_store(&cluster->has_come, true);
    place_all(cluster, PIPELINE_CLUSTER_RESTORING, &other, true);
    assert_true(pipeline_cluster__drain(cluster, &count, &err));
    assert_int_equal(count, PARTITIONS);
    assert_int_equal(left, 1);
}

static void what_another_said_before_it_was_given_does_not_count_as_his_word(void **state)
{
    struct pipeline_cluster *cluster = *state;
    struct fr_err err;
    int count;

    atomic_store(&cluster->has_come, true);
    place_all(cluster, PIPELINE_CLUSTER_ELSEWHERE, &other, true);
    assert_true(pipeline_cluster__drain(cluster, &count, &err));
    assert_int_equal(count, PARTITIONS);
    atomic_store(&cluster->held[3].is_owner_outdated, false); /* he has said it again */
    assert_true(pipeline_cluster__drain(cluster, &count, &err));
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
        cmocka_unit_test_setup_teardown(one_that_comes_back_is_not_ready_before_it_has_its_share_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
