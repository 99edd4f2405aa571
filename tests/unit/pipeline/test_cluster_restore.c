/* What restoring means for those who know something of a partition already. The changelog is a list of records here. */
#include "instance.h"

#include <freshet/clock.h>

enum { PARTITION = 3, NEXT = 10 };

static struct ingest_tailed coming; /* the only record, once */
static int coming_count;

/* Prototypes for --wrap. */
bool __wrap_ingest_tail_open(struct ingest_group *group, const struct ingest_tail_options *options, struct ingest_tail **tail,
                             struct fr_err *err);
int __wrap_ingest_tail_read(struct ingest_tail *tail, struct ingest_tailed *records, int most, int timeout_ms,
                            struct fr_err *err);
int64_t __wrap_ingest_tail_next(const struct ingest_tail *tail, int index);
int64_t __wrap_ingest_tail_aim(const struct ingest_tail *tail, int index);
int64_t __wrap_ingest_tail_end(const struct ingest_tail *tail, int index);
void __wrap_ingest_tail_close(struct ingest_tail *tail);
void __wrap_pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside);
bool __wrap_agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);
bool __wrap_agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);

bool __wrap_ingest_tail_open(struct ingest_group *group, const struct ingest_tail_options *options, struct ingest_tail **tail,
                             struct fr_err *err)
{
    static int any;

    (void)group, (void)options, (void)err;
    *tail = (struct ingest_tail *)(void *)&any;
    return true;
}

int __wrap_ingest_tail_read(struct ingest_tail *tail, struct ingest_tailed *records, int most, int timeout_ms,
                            struct fr_err *err)
{
    int count = coming_count;

    (void)tail, (void)most, (void)timeout_ms, (void)err;
    records[0] = coming;
    coming_count = 0;
    return count;
}

int64_t __wrap_ingest_tail_next(const struct ingest_tail *tail, int index)
{
    (void)tail, (void)index;
    return NEXT;
}

static int64_t aim = NEXT, end = NEXT; /* of the changelog: when it was opened, and since */

int64_t __wrap_ingest_tail_aim(const struct ingest_tail *tail, int index)
{
    (void)tail, (void)index;
    return aim;
}

int64_t __wrap_ingest_tail_end(const struct ingest_tail *tail, int index)
{
    (void)tail, (void)index;
    return end;
}

void __wrap_ingest_tail_close(struct ingest_tail *tail)
{
    (void)tail;
}

void __wrap_pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside)
{
    (void)cluster, (void)is_beside;
}

bool __wrap_agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    (void)agg, (void)copies, (void)count, (void)err;
    return true;
}

static struct store *putting;

bool __wrap_agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err)
{
    (void)agg, (void)err;
    for (int i = 0; i < count; i++) {
        const struct store_key *key = &copies[i].key;
        struct store_entry *entry = store_entry_lock(putting, key, store_key_hash(putting, key), true);

        assert_non_null(entry);
        memcpy(store_entry_write(putting, entry, copies[i].part, (uint32_t)copies[i].bytes.length), copies[i].bytes.bytes,
               copies[i].bytes.length);
        store_entry_unlock(putting, entry);
    }
    return true;
}

static int share_of(void *user, uint64_t user_id)
{
    (void)user;
    return ingest_partition_of(user_id, INSTANCE_PARTITIONS);
}

static uint64_t user_of(int partition)
{
    uint64_t user_id = 1;

    while (ingest_partition_of(user_id, INSTANCE_PARTITIONS) != partition)
        user_id++;
    return user_id;
}

static void restore_account(struct pipeline_cluster *cluster, uint64_t user_id)
{
    struct store_key key = {.kind = LEARNER_KIND_SESSION, .id_count = 1, .ids = {user_id}};
    struct pipeline_restoring *restoring;
    uint64_t account[24] = {1, 2, 3};
    int32_t partition = PARTITION;
    struct fr_buffer wire;
    struct fr_err err;

    fr_buffer_init(&wire);
    pipeline_copy__key(&key, STORE_PART_ROWS, &wire);
    coming = (struct ingest_tailed){.key = fr_buffer_slice(&wire), .value = fr_slice(account, sizeof account)};
    coming_count = 1;
    assert_true(pipeline_restoring__open(cluster, &partition, 1, false, &restoring, &err));
    assert_int_equal(pipeline_restoring__read(restoring, 0, &err), 1);
    pipeline_restoring__close(restoring);
    fr_buffer_fini(&wire);
}

/*
 * An instance gives all back, and hears of an assignment too late, which another hears of: that one has the partition until the next,
 * which gives it back. To the first it never was another's.
 */
static void sessions_that_another_began_meanwhile_are_found(void **state)
{
    static const struct learner_sessions rules = {
        .topic = "sessions", .actions = ~UINT64_C(0), .gap_ms = 1000, .duration_ms = 9000, .tokens = 5, .bytes = 1 << 20};
    struct instance *instance = *state;
    struct pipeline_cluster *cluster = instance->cluster;
    struct learner_sessions_options options = {.config = &rules,
                                               .store = cluster->store,
                                               .metrics = instance->engine.metrics,
                                               .share_count = INSTANCE_PARTITIONS,
                                               .share_of = share_of};
    struct pipeline_learning learning = {0};
    int32_t partition = PARTITION;
    struct fr_err err;

    assert_true(learner_sessions_open(&options, &learning.sessions, &err));
    instance->engine.lanes.learning = &learning;
    cluster->restored = fr_metrics_counter(instance->engine.metrics, "restored", NULL, "Copies.");
    putting = cluster->store;

    assert_true(pipeline_cluster_sessions__find(cluster, &partition, 1, &err));
    pipeline_cluster_sessions__begin(cluster, partition);
    pipeline_cluster_sessions__hold(cluster);
    restore_account(cluster, user_of(PARTITION));
    instance_commit(instance);
    assert_true(pipeline_cluster_sessions__find(cluster, &partition, 1, &err));
    pipeline_cluster_sessions__begin(cluster, partition);
    assert_true(learner_sessions_waiting(learning.sessions) > 0);

    instance->engine.lanes.learning = NULL;
    learner_sessions_close(learning.sessions);
}

static int64_t lag_of(const struct pipeline_cluster *cluster, int partition)
{
    return pipeline_cluster__partition(cluster, partition).changelog_lag;
}

static void it_says_how_far_it_is_of_what_it_restores_and_of_nothing_else(void **state)
{
    struct instance *instance = *state;
    struct pipeline_cluster *cluster = instance->cluster;
    struct pipeline_restoring *restoring;
    int32_t partition = PARTITION;
    struct fr_err err;

    cluster->restored = fr_metrics_counter(instance->engine.metrics, "restored", NULL, "Copies.");
    atomic_store(&cluster->held[PARTITION].changelog_next, -1);
    atomic_store(&cluster->held[PARTITION].place, PIPELINE_CLUSTER_RESTORING);
    aim = NEXT + 30;
    end = -1; /* not told yet */
    assert_true(pipeline_restoring__open(cluster, &partition, 1, false, &restoring, &err));
    assert_int_equal(lag_of(cluster, PARTITION), -1); /* nothing of it is here */
    assert_int_equal(pipeline_restoring__read(restoring, 0, &err), 0);
    assert_int_equal(lag_of(cluster, PARTITION), 30);
    pipeline_restoring__close(restoring);

    end = NEXT + 50; /* an owner goes on writing */
    assert_true(pipeline_restoring__open(cluster, &partition, 1, false, &restoring, &err));
    assert_int_equal(pipeline_restoring__read(restoring, 0, &err), 0);
    assert_int_equal(lag_of(cluster, PARTITION), 50);
    atomic_store(&cluster->held[PARTITION].place, PIPELINE_CLUSTER_STANDBY);
    assert_int_equal(lag_of(cluster, PARTITION), 50);
    atomic_store(&cluster->held[PARTITION].place, PIPELINE_CLUSTER_HERE);
    assert_int_equal(lag_of(cluster, PARTITION), -1);
    assert_int_equal(lag_of(cluster, PARTITION + 1), -1);
    pipeline_restoring__close(restoring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_that_another_began_meanwhile_are_found, instance_setup, instance_teardown),
        cmocka_unit_test_setup_teardown(it_says_how_far_it_is_of_what_it_restores_and_of_nothing_else, instance_setup,
                                        instance_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
