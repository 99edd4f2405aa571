/* What nobody can see any more leaves, though no event comes; what somebody can see stays as it is. */
#include "node.h"

#define DAY INT64_C(86400000)

static const char text[] = "entities:\n"
                           "  user: { key: [user_id], retention: 3d }\n"
                           "  item: { key: [item_id], retention: 2d }\n"
                           "features:\n"
                           "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h, 7d] }\n"
                           "  recent: { entity: user, aggregate: last, limit: 5, fields: [item_id, ts_ms] }\n";
static const struct agg_dedupe dedupe = {.ids = 2, .horizon_ms = 10000};
static const int64_t noon = INT64_C(1700000000000) / 86400000 * 86400000;

static struct proto_event watch(uint64_t event_id, uint64_t user_id, uint64_t item_id, int64_t ts_ms)
{
    return (struct proto_event){.event_id = event_id, .ts_ms = ts_ms, .user_id = user_id, .item_id = item_id, .action = 3};
}

/* One whole pass, `most` entities at a time. */
static struct agg_sweep sweep(struct node *node, int64_t horizon_ms, int most)
{
    struct agg_sweep pass = {0};
    struct fr_err err;

    while (pass.passes == 0)
        if (!agg_sweep(node->agg, &pass, horizon_ms, most, &err))
            fail_msg("%s", err.message);
    return pass;
}

struct counting {
    const struct agg_catalogue *catalogue;
    int count;
};

/* Users and items; not what is hidden behind recall. */
static bool count_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct counting *counting = user;

    (void)disk;
    for (int i = 0; i < counting->catalogue->visible_count; i++)
        counting->count += counting->catalogue->entities[i]->kind == key->kind;
    return true;
}

static int entities_on_disk(struct node *node)
{
    struct counting counting = {.catalogue = node->agg->catalogue};
    struct fr_err err;

    assert_true(store_scan(node->store, count_one, &counting, &err));
    return counting.count;
}

/* An epoch each, so that what became empty can leave memory, too. */
static void commit_some(struct node *node)
{
    for (int i = 0; i < 5; i++) {
        store_meta_put(node->store, "tick", fr_slice(&i, sizeof i));
        node_commit(node);
    }
}

static uint64_t entities(struct node *node)
{
    struct store_stats stats;

    store_stats_read(node->store, &stats);
    return stats.entities;
}

static void what_is_dead_leaves_disk_and_memory(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    for (uint64_t user = 1; user <= 50; user++)
        node_apply_one(&node, watch(user, user, 1000 + user, noon), noon);
    node_commit(&node);
    assert_int_equal(entities_on_disk(&node), 100);

    sweep(&node, noon + 6 * DAY, 7); /* items are past their retention, and still counted for 7 d */
    commit_some(&node);
    assert_int_equal(entities_on_disk(&node), 100);
    assert_in_range(sweep(&node, noon + 9 * DAY, 7).forgotten, 100, 200);
    commit_some(&node);
    assert_int_equal(entities_on_disk(&node), 0);
    assert_int_equal(entities(&node), 0);
    node_free(&node);
}

static void so_it_does_after_a_restart(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    for (uint64_t user = 1; user <= 50; user++)
        node_apply_one(&node, watch(user, user, 1000 + user, noon + (user > 25 ? 9 * DAY : 0)), noon);
    node_commit(&node);
    node_restart(&node);
    sweep(&node, noon + 9 * DAY, 1024);
    commit_some(&node);
    assert_int_equal(entities_on_disk(&node), 50);
    assert_float_equal(node_value(&node, "watches.7d", 0, 1001, noon + 9 * DAY), 0, 0);
    assert_float_equal(node_value(&node, "watches.7d", 0, 1050, noon + 9 * DAY), 1, 0);
    node_free(&node);
}

static void an_entity_that_lives_again_in_memory_stays(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, 5, 6, noon), noon);
    node_commit(&node);
    node_apply_one(&node, watch(2, 5, 6, noon + 20 * DAY), noon); /* not in an epoch yet */
    assert_int_not_equal(sweep(&node, noon + 20 * DAY, 100).pruned, 0); /* the user's record of the first */
    commit_some(&node);
    assert_int_equal(entities_on_disk(&node), 2);
    assert_float_equal(node_value(&node, "watches.7d", 5, 6, noon + 20 * DAY), 1, 0);
    node_free(&node);
}

/* While an event of that time could still be seen somewhere, its duplicate must be told. */
static void ids_stay_as_long_as_their_events_count(void **state)
{
    struct node node = node_new(text, dedupe);
    enum agg_outcome outcome;
    struct proto_event event = watch(1, 5, 6, noon);

    (void)state;
    node_apply_one(&node, event, noon);
    node_commit(&node);
    sweep(&node, noon + 6 * DAY, 100);
    node_apply(&node, &event, 1, noon + 6 * DAY, &outcome);
    assert_int_equal(outcome, AGG_DUPLICATE);
    node_free(&node);
}

static void two_nodes_are_equal_swept_or_not(void **state)
{
    struct node swept = node_new(text, dedupe), other = node_new(text, dedupe);
    int64_t later = noon + 10 * DAY;

    (void)state;
    for (uint64_t user = 1; user <= 40; user++) {
        struct proto_event event = watch(user, user % 7, user % 11 + 1, noon + (int64_t)user * DAY / 5);

        node_apply_one(&swept, event, noon);
        node_apply_one(&other, event, noon);
    }
    node_commit(&swept);
    node_commit(&other);
    sweep(&swept, later, 3);
    commit_some(&swept);
    assert_true(digest_equal(node_digest(&swept, later), node_digest(&other, later)));
    assert_true(entities_on_disk(&swept) <= entities_on_disk(&other));

    for (uint64_t user = 1; user <= 6; user++) { /* they come back, without ids */
        node_apply_one(&swept, watch(0, user, 3, later + 30 * DAY), later);
        node_apply_one(&other, watch(0, user, 3, later + 30 * DAY), later);
        node_commit(&swept);
        sweep(&swept, later + 30 * DAY, 5);
    }
    node_commit(&swept);
    node_commit(&other);
    assert_true(digest_equal(node_digest(&swept, later + 30 * DAY), node_digest(&other, later + 30 * DAY)));
    node_free(&swept);
    node_free(&other);
}

static void what_is_for_ever_is_never_swept(void **state)
{
    static const char for_ever[] = "entities:\n"
                                   "  item: { key: [item_id], retention: 0 }\n"
                                   "features:\n"
                                   "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] }\n";
    struct node node = node_new(for_ever, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, 5, 6, noon), noon);
    node_commit(&node);
    sweep(&node, noon + 3000 * DAY, 100);
    commit_some(&node);
    assert_int_equal(entities_on_disk(&node), 1);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_dead_leaves_disk_and_memory),        cmocka_unit_test(so_it_does_after_a_restart),
        cmocka_unit_test(an_entity_that_lives_again_in_memory_stays), cmocka_unit_test(ids_stay_as_long_as_their_events_count),
        cmocka_unit_test(two_nodes_are_equal_swept_or_not),           cmocka_unit_test(what_is_for_ever_is_never_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
