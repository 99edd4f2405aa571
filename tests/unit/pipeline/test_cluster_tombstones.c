/* Who was forgotten, as it travels with a partition: restored many at once, the later one of two, sent and taken out again. */
#include "instance.h"

#include <freshet/clock.h>

enum { USER = 7, MANY = 200000, MANY_MS = 20000 };

static void restore(struct instance *instance, uint64_t user_id, int64_t forgotten_ms)
{
    struct pipeline_tombstone tombstone = {.user_id = user_id, .forgotten_ms = forgotten_ms, .until_ms = forgotten_ms + 100};
    struct fr_buffer key, value;
    struct fr_err err;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    pipeline_tombstone__encode(&tombstone, &key, &value);
    assert_true(pipeline_tombstone__is(fr_buffer_slice(&key)));
    assert_true(pipeline_cluster_tombstones__receive(instance->cluster, (int)(user_id % INSTANCE_PARTITIONS),
                                                     fr_buffer_slice(&key), fr_buffer_slice(&value), &err));
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
}

static void boundary(struct instance *instance)
{
    struct fr_err err;

    assert_true(pipeline_cluster_tombstones__boundary(instance->cluster, instance->cluster->store, &err));
}

static void forget(struct instance *instance, uint64_t user_id, int64_t forgotten_ms)
{
    struct pipeline_tombstone tombstone = {.user_id = user_id, .forgotten_ms = forgotten_ms, .until_ms = forgotten_ms + 100};
    struct fr_err err;

    assert_true(pipeline_tombstones__add(&instance->engine.tombstones, instance->cluster->store, &tombstone, &err));
}

static bool drops(const struct instance *instance, uint64_t user_id, int64_t ts_ms)
{
    struct proto_event event = {.user_id = user_id, .ts_ms = ts_ms};

    return pipeline_tombstones__drops(&instance->engine.tombstones, &event);
}

static int send(struct instance *instance)
{
    struct fr_buffer key, value;
    struct fr_err err;

    instance_put_count = 0;
    fr_buffer_init(&key);
    fr_buffer_init(&value);
    assert_true(pipeline_cluster_tombstones__put(instance->cluster, &key, &value, &err));
    pipeline_cluster_tombstones__sent(instance->cluster);
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    return instance_put_count;
}

/* Nobody applies or reads while a boundary takes them: one by one, each before all that are there, these took minutes. */
static void as_many_as_a_share_may_have_are_taken_in_a_moment(void **state)
{
    struct instance *instance = *state;
    int64_t begun_ms;

    for (uint64_t user = 2 * MANY; user > MANY; user--)
        restore(instance, user, 10);
    boundary(instance);
    for (uint64_t user = MANY; user > 0; user--)
        restore(instance, user, 10);
    begun_ms = fr_clock_monotonic_ms();
    boundary(instance);
    assert_in_range(fr_clock_monotonic_ms() - begun_ms, 0, MANY_MS);
    assert_int_equal(instance->engine.tombstones.count, 2 * MANY);
    assert_true(drops(instance, 1, 10) && drops(instance, 2 * MANY, 10) && !drops(instance, 2 * MANY + 1, 10));
    instance_restart(instance);
    assert_int_equal(instance->engine.tombstones.count, 2 * MANY);
    assert_true(drops(instance, MANY, 10) && !drops(instance, MANY, 11));
}

static void of_two_the_later_counts_whichever_comes_first(void **state)
{
    struct instance *instance = *state;

    forget(instance, USER, 20);
    for (int64_t at = 10; at <= 30; at += 20) { /* an earlier one changes nothing, a later one takes its place */
        restore(instance, USER, at);
        boundary(instance);
        assert_true(drops(instance, USER, at < 20 ? 20 : at) && !drops(instance, USER, at < 20 ? 21 : at + 1));
    }
    restore(instance, USER + 1, 50); /* both at once */
    restore(instance, USER + 1, 40);
    restore(instance, USER - 1, 1);
    boundary(instance);
    assert_int_equal(instance->engine.tombstones.count, 3);
    assert_true(drops(instance, USER + 1, 50) && drops(instance, USER, 30) && drops(instance, USER - 1, 1));
    instance_restart(instance);
    assert_true(drops(instance, USER + 1, 50) && drops(instance, USER, 30) && !drops(instance, USER, 31));
}

static void a_tombstone_goes_to_its_partition_once_and_only_from_its_owner(void **state)
{
    struct instance *instance = *state;
    struct pipeline_tombstone found;

    forget(instance, USER, 20);
    assert_int_equal(send(instance), 0);
    instance_own(instance, true);
    forget(instance, USER + 1, 20);
    assert_int_equal(send(instance), 1);
    assert_string_equal(instance_puts[0].topic, "changelog");
    assert_int_equal(instance_puts[0].partition, ingest_partition_of(USER + 1, INSTANCE_PARTITIONS));
    assert_true(pipeline_tombstone__decode(fr_slice(instance_puts[0].key, instance_puts[0].key_bytes),
                                           fr_slice(instance_puts[0].value, instance_puts[0].value_bytes), &found));
    assert_true(found.user_id == USER + 1 && found.forgotten_ms == 20 && found.until_ms == 120);
    assert_int_equal(send(instance), 0);
}

/* The record of a user has one key: a delete for the one that is over would take the newer one away from whoever owns him next. */
static void one_that_is_over_is_taken_out_but_not_beside_a_newer_one(void **state)
{
    struct instance *instance = *state;

    instance_own(instance, true);
    forget(instance, USER, 20);
    forget(instance, USER + 1, 20);
    assert_int_equal(send(instance), 2);
    pipeline_tombstones__expire(&instance->engine.tombstones, instance->cluster->store, 120);
    assert_int_equal(instance->engine.tombstones.count, 0);
    forget(instance, USER, 130);
    assert_int_equal(send(instance), 2);
    for (int i = 0; i < 2; i++) {
        bool is_newer = instance_puts[i].key[8] == USER;

        assert_int_equal(instance_puts[i].key[8], is_newer ? USER : USER + 1);
        assert_int_equal(instance_puts[i].is_delete, !is_newer);
    }
    assert_int_equal(send(instance), 0);
    instance_restart(instance);
    assert_true(drops(instance, USER, 130) && !drops(instance, USER + 1, 20));
}

static void a_record_that_makes_no_sense_is_refused_and_an_empty_one_is_over(void **state)
{
    static const uint8_t key[] = {0, 0, 0, 0, 0, 0, 0, 0, USER};
    struct instance *instance = *state;
    struct fr_err err;

    assert_true(pipeline_cluster_tombstones__receive(instance->cluster, 0, fr_slice(key, 9), fr_slice(NULL, 0), &err));
    for (size_t length = 1; length < 3; length++) {
        assert_false(
            pipeline_cluster_tombstones__receive(instance->cluster, 0, fr_slice(key, 9), fr_slice("\2\24\50", length), &err));
        assert_int_equal(err.code, FR_CORRUPT);
    }
    boundary(instance);
    assert_int_equal(instance->engine.tombstones.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, instance_setup, instance_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_many_as_a_share_may_have_are_taken_in_a_moment),
        TEST(of_two_the_later_counts_whichever_comes_first),
        TEST(a_tombstone_goes_to_its_partition_once_and_only_from_its_owner),
        TEST(one_that_is_over_is_taken_out_but_not_beside_a_newer_one),
        TEST(a_record_that_makes_no_sense_is_refused_and_an_empty_one_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
