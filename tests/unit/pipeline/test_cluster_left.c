/* What somebody left open among the deltas: whose end is asked for, and how often. */
#include "cluster_internal.h"

#include <freshet/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARTITIONS = 8, LONG_MS = 5000, SLOW_MS = 20 };

static bool is_behind[PARTITIONS];
static int asked[PARTITIONS];

/* Prototypes for --wrap. */
int64_t __wrap_ingest_tail_next(const struct ingest_tail *tail, int index);
bool __wrap_ingest_tail_is_behind(const struct ingest_tail *tail, int index);
bool __wrap_ingest_group_end(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset,
                             char instance[INGEST_NAME_BYTES], bool *is_ended, struct fr_err *err);

int64_t __wrap_ingest_tail_next(const struct ingest_tail *tail, int index)
{
    (void)tail;
    return 100 + index;
}

bool __wrap_ingest_tail_is_behind(const struct ingest_tail *tail, int index)
{
    (void)tail;
    return is_behind[index];
}

/* No coordinator answers, for a while. */
bool __wrap_ingest_group_end(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset,
                             char instance[INGEST_NAME_BYTES], bool *is_ended, struct fr_err *err)
{
    (void)group, (void)topic, (void)instance;
    assert_int_equal(offset, 100 + partition);
    asked[partition]++;
    *is_ended = false;
    fr_clock_sleep_ms(SLOW_MS);
    return fr_fail(err, FR_UNAVAILABLE, "no broker answers");
}

/* As it will be that much later. */
static void pass(struct pipeline_left *left, int64_t ms)
{
    left->asked_ms -= ms;
    for (int i = 0; i < PARTITIONS; i++)
        left->at[i].since_ms -= left->at[i].since_ms > 0 ? ms : 0;
}

static int sum_asked(void)
{
    int sum = 0;

    for (int i = 0; i < PARTITIONS; i++)
        sum += asked[i];
    return sum;
}

/* Else the cluster's thread would merge nothing, and not even end, for as long as all of them take. */
static void of_many_that_stand_still_one_is_asked_for_at_a_time_and_each_has_its_turn(void **state)
{
    struct pipeline_cluster *cluster = calloc(1, sizeof *cluster);
    struct pipeline_left *left = &cluster->left;

    (void)state;
    assert_non_null(cluster);
    atomic_store(&cluster->partitions, PARTITIONS);
    for (int i = 1; i < PARTITIONS; i++)
        is_behind[i] = true;
    left->asked_ms = fr_clock_monotonic_ms();
    pass(left, LONG_MS);
    pipeline_left__look(cluster, left);
    assert_int_equal(sum_asked(), 0); /* they only begin to stand */
    for (int round = 1; round < PARTITIONS; round++) {
        pass(left, LONG_MS);
        pipeline_left__look(cluster, left);
        assert_int_equal(sum_asked(), round);
    }
    assert_int_equal(asked[0], 0);
    for (int i = 1; i < PARTITIONS; i++)
        assert_int_equal(asked[i], 1);
    free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_that_stand_still_one_is_asked_for_at_a_time_and_each_has_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
