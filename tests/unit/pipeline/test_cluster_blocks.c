/* The last word on what is blocked: which one counts, how long it is kept, and what others are sent again. */
#include "instance.h"

#include <freshet/clock.h>
#include <freshet/idset.h>

enum { ITEM = 0, ID = 5, FULL = 49152, DAY_MS = 86400000 };

/* Another sends its word, and a boundary takes it. */
static void receive(struct instance *instance, uint64_t id, int64_t at_ms, bool is_blocked, const char *reason)
{
    struct pipeline_block block = {.id = id, .at_ms = at_ms, .kind = ITEM, .is_blocked = is_blocked};
    struct fr_buffer key, value;
    struct fr_err err;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    pipeline_block__encode(&block, fr_slice_of(reason), &key, &value);
    assert_true(pipeline_block__is(fr_buffer_slice(&key)));
    assert_true(pipeline_cluster_blocks__receive(instance->cluster, fr_buffer_slice(&key), fr_buffer_slice(&value), &err));
    assert_true(pipeline_cluster_blocks__boundary(instance->cluster, instance->cluster->store, at_ms, &err));
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
}

static bool is_blocked(const struct instance *instance, uint64_t id)
{
    return fr_idset_has(instance->engine.blocks.sets[ITEM], id);
}

/* What it puts into a transaction, which is committed: how many. */
static int send(struct instance *instance, bool is_announcing)
{
    struct fr_buffer key, value;
    struct fr_err err;

    instance_put_count = 0;
    fr_buffer_init(&key);
    fr_buffer_init(&value);
    assert_true(pipeline_cluster_blocks__put(instance->cluster, is_announcing, &key, &value, &err));
    pipeline_cluster_blocks__sent(instance->cluster, instance->cluster->store);
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    return instance_put_count;
}

static struct pipeline_block_record sent(int index)
{
    const struct instance_put *put = &instance_puts[index];
    struct pipeline_block_record record;

    assert_string_equal(put->topic, "deltas");
    assert_int_equal(put->partition, -1); /* that of the key: all words on an id lie in one */
    assert_true(pipeline_block__decode(fr_slice(put->key, put->key_bytes), fr_slice(put->value, put->value_bytes), &record));
    return record;
}

static void of_two_words_the_later_counts_whichever_comes_first(void **state)
{
    struct instance *instance = *state;

    receive(instance, ID, 10, true, "");
    receive(instance, ID, 20, false, "");
    assert_false(is_blocked(instance, ID));
    receive(instance, ID, 15, true, "");
    assert_false(is_blocked(instance, ID));
    receive(instance, ID, 20, true, ""); /* at the same time: blocked */
    assert_true(is_blocked(instance, ID));
}

/* Otherwise the topic could lose "unblocked" before "blocked", and whoever reads it then would block the id. */
static void an_older_word_that_lands_behind_a_later_one_is_overruled_once_by_the_ids_owner(void **state)
{
    struct instance *instance = *state;

    for (int owner = 0; owner < 2; owner++) {
        receive(instance, ID + (uint64_t)owner, 20, false, "");
        instance_own(instance, owner == 1);
        receive(instance, ID + (uint64_t)owner, 10, true, "");
        assert_int_equal(instance->cluster->blocks.unsent, owner);
    }
    assert_int_equal(send(instance, false), 1);
    assert_true(sent(0).block.id == ID + 1 && sent(0).block.at_ms == 20 && !sent(0).block.is_blocked);
    receive(instance, ID + 1, 20, false, ""); /* and what it sent comes back to it */
    assert_int_equal(send(instance, false), 0);
}

static bool has_record(const struct instance *instance, uint64_t id)
{
    char name[64];

    snprintf(name, sizeof name, "cluster/said/%d/%d", ITEM, (int)id);
    return store_meta_get(instance->cluster->store, name).length > 0;
}

static void what_was_unblocked_is_let_go_of_when_nobody_can_be_on_his_way_with_an_older_word(void **state)
{
    struct instance *instance = *state;
    int64_t now_ms = fr_clock_wall_ms();
    struct fr_err err;

    receive(instance, ID, now_ms - 8 * (int64_t)DAY_MS, false, "");
    receive(instance, ID + 1, now_ms - 8 * (int64_t)DAY_MS, true, "");
    receive(instance, ID + 2, now_ms - 6 * (int64_t)DAY_MS, false, "");
    for (int through = 0; through < 2; through++) { /* while it reads what others sent, there may be one */
        atomic_store(&instance->cluster->is_through, through);
        instance->cluster->blocks.again_ms = 0;
        assert_true(pipeline_cluster_blocks__boundary(instance->cluster, instance->cluster->store, now_ms, &err));
        assert_int_equal(has_record(instance, ID), !through);
        assert_int_equal(instance->cluster->blocks.count, through ? 2 : 3);
    }
    assert_true(has_record(instance, ID + 1) && has_record(instance, ID + 2));
    assert_true(is_blocked(instance, ID + 1));
    instance_restart(instance);
    assert_int_equal(instance->cluster->blocks.count, 2);
}

static void what_is_still_blocked_the_ids_owner_says_again_when_partitions_are_shared(void **state)
{
    struct instance *instance = *state;

    receive(instance, ID, 10, true, "spam");
    receive(instance, ID + 1, 10, false, "");
    assert_int_equal(send(instance, true), 0);
    instance_own(instance, true);
    assert_int_equal(send(instance, true), 1);
    assert_true(sent(0).block.id == ID && sent(0).block.is_blocked);
}

static void the_reason_travels_with_a_block(void **state)
{
    struct instance *instance = *state;
    struct fr_err err;

    receive(instance, ID, 10, true, "counterfeit");
    assert_true(fr_slice_is(pipeline_blocks__reason(instance->cluster->store, ITEM, ID), "counterfeit"));
    instance_own(instance, true);
    assert_int_equal(send(instance, true), 1);
    assert_string_equal(sent(0).reason, "counterfeit");

    assert_true(pipeline_blocks__set(&instance->engine.blocks, instance->cluster->store, ITEM, ID, true, "worse", &err));
    assert_true(pipeline_cluster__block(instance->cluster, instance->cluster->store, ITEM, ID, true, &err));
    assert_int_equal(send(instance, false), 1);
    assert_string_equal(sent(0).reason, "worse");
}

/* More than a set has places for: no reason to end, and after a restart what was let in has given its place back. */
static void what_has_no_room_is_counted_and_finds_room_when_it_comes_again(void **state)
{
    struct instance *instance = *state;
    struct fr_err err;

    for (uint64_t id = 1; id <= FULL; id++)
        assert_true(fr_idset_put(instance->engine.blocks.sets[ITEM], id, true));
    receive(instance, FULL + 1, 10, true, "");
    assert_false(is_blocked(instance, FULL + 1));
    assert_int_equal(fr_counter_read(instance->cluster->without_room), 1);
    instance_restart(instance);
    assert_false(is_blocked(instance, FULL + 1));
    receive(instance, FULL + 1, 10, true, "late"); /* said again, not news */
    assert_true(is_blocked(instance, FULL + 1));
    assert_true(fr_slice_is(pipeline_blocks__reason(instance->cluster->store, ITEM, FULL + 1), "late"));
    assert_int_equal(send(instance, false), 0);
    assert_true(pipeline_blocks__set(&instance->engine.blocks, instance->cluster->store, ITEM, 1, true, "", &err));
}

static void a_record_that_makes_no_sense_is_refused(void **state)
{
    static const char good[] = "\2\24\1\4spam"; /* version, 10, blocked, a reason of four */
    static const uint8_t key[] = {0, ITEM, 0, 0, 0, 0, 0, 0, 0, ID}, no_kind[] = {0, 9, 0, 0, 0, 0, 0, 0, 0, ID},
                         no_id[] = {0, ITEM, 0, 0, 0, 0, 0, 0, 0, 0};
    struct pipeline_block_record record;
    struct instance *instance = *state;
    struct fr_err err;

    assert_true(pipeline_block__decode(fr_slice(key, sizeof key), fr_slice(good, 8), &record));
    assert_true(record.block.at_ms == 10 && record.block.is_blocked);
    assert_string_equal(record.reason, "spam");
    for (size_t length = 0; length < 8; length++)
        assert_false(pipeline_block__decode(fr_slice(key, sizeof key), fr_slice(good, length), &record));
    assert_false(pipeline_block__decode(fr_slice(no_kind, sizeof no_kind), fr_slice(good, 8), &record));
    assert_false(pipeline_block__decode(fr_slice(no_id, sizeof no_id), fr_slice(good, 8), &record));
    assert_false(pipeline_block__decode(fr_slice(key, sizeof key), fr_slice("\1\24\1\4spam", 8), &record));
    assert_false(pipeline_cluster_blocks__receive(instance->cluster, fr_slice(key, sizeof key), fr_slice("\1", 1), &err));
    assert_int_equal(err.code, FR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, instance_setup, instance_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_two_words_the_later_counts_whichever_comes_first),
        TEST(an_older_word_that_lands_behind_a_later_one_is_overruled_once_by_the_ids_owner),
        TEST(what_was_unblocked_is_let_go_of_when_nobody_can_be_on_his_way_with_an_older_word),
        TEST(what_is_still_blocked_the_ids_owner_says_again_when_partitions_are_shared),
        TEST(the_reason_travels_with_a_block),
        TEST(what_has_no_room_is_counted_and_finds_room_when_it_comes_again),
        TEST(a_record_that_makes_no_sense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
