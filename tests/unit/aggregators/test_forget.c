/* One user leaves with all that his key begins, and nobody else does. */
#include "node.h"

static const char text[] = "entities:\n"
                           "  user: { key: [user_id] }\n"
                           "  item: { key: [item_id] }\n"
                           "  user_item: { key: [item_id, user_id] }\n"
                           "features:\n"
                           "  user_watches: { entity: user, actions: [watch], aggregate: count, windows: [1h] }\n"
                           "  recent: { entity: user, aggregate: last, limit: 5, fields: [item_id] }\n"
                           "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] }\n"
                           "  mine: { entity: user_item, actions: [watch], aggregate: count, windows: [1h] }\n";
static const char fewer[] = "entities:\n"
                            "  item: { key: [item_id] }\n"
                            "features:\n"
                            "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] }\n";
static const struct agg_dedupe dedupe = {.ids = 2, .horizon_ms = 10000};
static const int64_t noon = INT64_C(1700000000000);

static void watch(struct node *node, uint64_t event_id, uint64_t user_id, uint64_t item_id)
{
    struct proto_event event = {
        .event_id = event_id, .ts_ms = noon + (int64_t)event_id, .user_id = user_id, .item_id = item_id, .action = 3};

    node_apply_one(node, event, noon);
}

static struct agg_forgotten forget(struct node *node, uint64_t user_id)
{
    struct agg_forgotten forgotten = {0};
    struct fr_err err;

    if (!agg_forget_user(node->agg, user_id, &forgotten, &err))
        fail_msg("%s", err.message);
    node_commit(node);
    return forgotten;
}

static bool find_user(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    uint64_t *found = user; /* the user's id, then how many of its entities */

    (void)disk;
    for (int i = 0; i < key->id_count; i++)
        found[1] += key->ids[i] == found[0];
    return true;
}

static uint64_t entities_naming(struct node *node, uint64_t user_id)
{
    uint64_t found[2] = {user_id, 0};
    struct fr_err err;

    assert_true(store_scan(node->store, find_user, found, &err));
    return found[1];
}

static void nothing_of_the_user_is_left_and_all_of_the_others_is(void **state)
{
    struct node node = node_new(text, dedupe);
    struct agg_forgotten forgotten;

    (void)state;
    for (uint64_t i = 1; i <= 600; i++)
        watch(&node, i, 1000 + i % 2, i); /* 300 items each */
    watch(&node, 601, 7, 1000); /* an item with the id of a user */
    node_commit(&node);
    forgotten = forget(&node, 1000);
    assert_int_equal(forgotten.entities, 301); /* himself, and one for each of his items */
    assert_true(forgotten.records >= 302); /* of himself rows and sequences */
    assert_int_equal(entities_naming(&node, 1000), 2); /* the item of that id, and what user 7 did with it */
    assert_float_equal(node_value(&node, "user_watches.1h", 1000, 1, noon + 1000), 0, 0);
    assert_float_equal(node_value(&node, "user_watches.1h", 1001, 1, noon + 1000), 300, 0);
    assert_float_equal(node_value(&node, "mine.1h", 1001, 1, noon + 1000), 1, 0);
    assert_float_equal(node_value(&node, "watches.1h", 7, 1000, noon + 1000), 1, 0);
    node_restart(&node);
    assert_float_equal(node_value(&node, "user_watches.1h", 1000, 1, noon + 1000), 0, 0);
    assert_int_equal(entities_naming(&node, 1000), 2);
    node_free(&node);
}

static void what_only_the_disk_has_goes_too(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    watch(&node, 1, 5, 6);
    node_commit(&node);
    node_restart(&node);
    assert_int_equal(forget(&node, 5).entities, 2);
    assert_int_equal(entities_naming(&node, 5), 0);
    assert_int_equal(forget(&node, 5).entities, 0);
    node_free(&node);
}

/* Kinds that the configuration no longer has are read no more, but they are on disk. */
static void so_does_what_the_configuration_no_longer_has(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    watch(&node, 1, 5, 6);
    node_commit(&node);
    node_restart_with(&node, fewer);
    node_commit(&node);
    assert_int_equal(forget(&node, 5).entities, 2);
    assert_int_equal(entities_naming(&node, 5), 0);
    assert_float_equal(node_value(&node, "watches.1h", 0, 6, noon + 1000), 1, 0);
    node_free(&node);
}

/* As if another module had brought the first of the kinds, which is users. */
static void what_is_of_a_module_that_is_not_here_goes_too(void **state)
{
    struct node node = node_new(text, dedupe);
    struct agg_forgotten forgotten = {0};
    struct fr_err err;

    (void)state;
    watch(&node, 1, 5, 6);
    watch(&node, 2, 6, 6);
    node_commit(&node);
    node_restart_with(&node, fewer);
    assert_true(agg_forget_kind(node.agg, 1, 5, &forgotten, &err));
    assert_int_equal(forgotten.entities, 1);
    node_commit(&node);
    assert_int_equal(entities_naming(&node, 5), 1); /* what is of another kind */
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_the_user_is_left_and_all_of_the_others_is),
        cmocka_unit_test(what_only_the_disk_has_goes_too),
        cmocka_unit_test(so_does_what_the_configuration_no_longer_has),
        cmocka_unit_test(what_is_of_a_module_that_is_not_here_goes_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
