/* What a changed configuration keeps of the state under it. */
#include "node.h"

static const struct agg_dedupe dedupe = {.ids = 8, .horizon_ms = 600000};
static const int64_t noon = INT64_C(1700000000000);

#define ITEM "entities: { item: { key: [item_id] }, user: { key: [user_id] } }\nfeatures:\n"
#define WATCHES "  w: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h, 24h] }\n"
#define LIKES "  l: { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
#define RECENT "  r: { entity: user, aggregate: last, limit: 3, fields: [item_id] }\n"

static struct node watched(const char *text)
{
    struct node node = node_new(text, dedupe);

    for (uint64_t i = 0; i < 3; i++) {
        struct proto_event event = {
            .ts_ms = noon + (int64_t)i, .user_id = 5, .item_id = 6, .action = 3, .position = (uint32_t)i};

        node_apply_one(&node, event, noon);
    }
    node_commit(&node);
    return node;
}

static struct agg_feature_info info_of(struct node *node, const char *name)
{
    for (int i = 0; i < agg_feature_count(node->agg); i++) {
        struct agg_feature_info info = agg_feature_at(node->agg, i);

        if (strcmp(info.name, name) == 0)
            return info;
    }
    fail();
    return (struct agg_feature_info){0};
}

static void the_same_catalogue_goes_on(void **state)
{
    struct node node = watched(ITEM WATCHES LIKES);

    (void)state;
    node_restart(&node);
    assert_float_equal(node_value(&node, "w.1h", 0, 6, noon + 5), 3, 0);
    assert_int_equal(info_of(&node, "w").generation, 1);
    assert_int_equal(info_of(&node, "w").complete_from_ms, 0);
    node_free(&node);
}

static void fewer_windows_keep_the_state(void **state)
{
    struct node node = watched(ITEM WATCHES);

    (void)state;
    node_restart_with(&node, ITEM "  w: { entity: item, actions: [WATCH], aggregate: count, windows: [24h] }\n");
    assert_float_equal(node_value(&node, "w.24h", 0, 6, noon + 5), 3, 0);
    assert_int_equal(info_of(&node, "w").generation, 1);
    node_free(&node);
}

static void another_definition_starts_empty_from_now(void **state)
{
    static const char *const changed[] = {
        ITEM "  w: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h, 24h, 7d] }\n",
        ITEM "  w: { entity: item, actions: [watch, like], aggregate: count, windows: [1m, 1h, 24h] }\n",
        ITEM "  w: { entity: item, actions: [watch], where: value >= 0, aggregate: count, windows: [1m, 1h, 24h] }\n",
        ITEM "  w: { entity: item, actions: [watch], aggregate: sum, windows: [1m, 1h, 24h] }\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        struct node node = watched(ITEM WATCHES);
        struct proto_event event = {.ts_ms = noon + 3, .item_id = 6, .action = 3, .value = 1};

        node_restart_with(&node, changed[i]);
        assert_float_equal(node_value(&node, "w.1h", 0, 6, noon + 5), 0, 0);
        assert_int_equal(info_of(&node, "w").generation, 2);
        assert_int_equal(info_of(&node, "w").complete_from_ms, noon + 2);
        node_apply_one(&node, event, noon);
        node_commit(&node);
        node_restart(&node);
        assert_float_equal(node_value(&node, "w.1h", 0, 6, noon + 5), 1, 0);
        node_free(&node);
    }
}

static void a_return_after_removal_starts_empty(void **state)
{
    struct node node = watched(ITEM WATCHES LIKES);

    (void)state;
    node_restart_with(&node, ITEM LIKES);
    node_commit(&node);
    node_restart_with(&node, ITEM LIKES WATCHES);
    assert_float_equal(node_value(&node, "w.1h", 0, 6, noon + 5), 0, 0);
    assert_int_equal(info_of(&node, "w").generation, 2);
    assert_int_equal(info_of(&node, "l").generation, 1);
    node_free(&node);
}

static void a_change_that_no_epoch_kept_never_was(void **state)
{
    struct node node = watched(ITEM WATCHES);

    (void)state;
    node_restart_with(&node, ITEM "  w: { entity: item, aggregate: sum, windows: [1h] }\n");
    node_restart_with(&node, ITEM WATCHES); /* no epoch in between */
    assert_float_equal(node_value(&node, "w.1h", 0, 6, noon + 5), 3, 0);
    node_free(&node);
}

static int sequence_length(struct node *node)
{
    struct agg_request request = {.user_id = 5, .time_ms = noon + 10};
    struct agg_reply reply = node_read(node, node_plan(node, "", NULL, 0), &request);

    assert_int_equal(reply.sequence_count, 1);
    return reply.sequences[0].fields[0].count;
}

static void a_smaller_limit_keeps_the_newest(void **state)
{
    struct node node = watched(ITEM RECENT);

    (void)state;
    assert_int_equal(sequence_length(&node), 3);
    node_restart_with(&node, ITEM "  r: { entity: user, aggregate: last, limit: 2, fields: [item_id] }\n");
    assert_int_equal(sequence_length(&node), 2);
    node_commit(&node);
    node_restart_with(&node, ITEM RECENT); /* more again: a new generation */
    assert_int_equal(sequence_length(&node), 0);
    node_free(&node);
}

static void an_entity_with_another_key_is_another_entity(void **state)
{
    struct node node = watched(ITEM WATCHES);

    (void)state;
    node_restart_with(&node, "entities: { item: { key: [user_id] } }\nfeatures:\n" WATCHES);
    assert_float_equal(node_value(&node, "w.1h", 6, 0, noon + 5), 0, 0);
    node_free(&node);
}

static void a_registry_that_makes_no_sense_is_corrupt(void **state)
{
    struct node node = watched(ITEM WATCHES);
    struct agg_catalogue *catalogue = catalogue_good(ITEM WATCHES, &dedupe);
    struct agg *agg = NULL;
    struct fr_err err;
    struct fr_buffer value;

    (void)state;
    fr_buffer_init(&value);
    fr_buffer_append(&value, store_meta_get(node.store, "catalogue").bytes, store_meta_get(node.store, "catalogue").length);
    for (size_t length = 1; length < value.length; length++) {
        store_meta_put(node.store, "catalogue", fr_slice(value.bytes, length));
        assert_false(agg_open(&catalogue, node.store, 0, NULL, &agg, &err));
        assert_int_equal(err.code, FR_CORRUPT);
    }
    fr_buffer_fini(&value);
    agg_catalogue_free(catalogue);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_catalogue_goes_on),
        cmocka_unit_test(fewer_windows_keep_the_state),
        cmocka_unit_test(another_definition_starts_empty_from_now),
        cmocka_unit_test(a_return_after_removal_starts_empty),
        cmocka_unit_test(a_change_that_no_epoch_kept_never_was),
        cmocka_unit_test(a_smaller_limit_keeps_the_newest),
        cmocka_unit_test(an_entity_with_another_key_is_another_entity),
        cmocka_unit_test(a_registry_that_makes_no_sense_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
