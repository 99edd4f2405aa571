/* What a changed configuration keeps of the state under it. */
#include "node.h"

#include "registry.h"

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

/* ---- What a change would do, told before ---- */

static struct agg_comparison compare_with(struct node *node, const char *text, struct fr_arena *arena)
{
    struct agg_catalogue *catalogue = catalogue_good(text, &dedupe);
    struct agg_comparison comparison;
    struct fr_err err;

    if (!agg_catalogue_compare(catalogue, node->store, arena, &comparison, &err))
        fail_msg("%s", err.message);
    agg_catalogue_free(catalogue);
    return comparison;
}

static const struct agg_change *change_of(const struct agg_change *changes, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(changes[i].name, name) == 0)
            return &changes[i];
    }
    fail_msg("no change of %s", name);
    return NULL;
}

/* The fate of a feature, and that opening does what was told. */
static void check_feature(const char *was, const char *now, const char *name, enum agg_fate fate, const char *reasons)
{
    struct node node = watched(was);
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_comparison comparison = compare_with(&node, now, arena);
    const struct agg_change *change = change_of(comparison.features, comparison.feature_count, name);
    char told[512] = "";

    for (int i = 0; i < change->reason_count; i++)
        snprintf(told + strlen(told), sizeof told - strlen(told), "%s[%s > %s]", change->reasons[i].what,
                 change->reasons[i].was, change->reasons[i].now);
    assert_string_equal(told, reasons);
    assert_int_equal(change->fate, fate);
    if (fate != AGG_REMOVED) {
        node_restart_with(&node, now);
        assert_int_equal(info_of(&node, name).generation, change->generation);
    }
    fr_arena_free(arena);
    node_free(&node);
}

static void a_comparison_tells_what_opening_does(void **state)
{
    (void)state;
    check_feature(ITEM WATCHES, ITEM WATCHES, "w", AGG_KEPT, "");
    check_feature(ITEM WATCHES, ITEM "  w: { entity: item, actions: [watch], aggregate: count, windows: [24h] }\n", "w",
                  AGG_KEPT_LESS, "windows[1m, 1h, 1d > 1d]");
    check_feature(ITEM RECENT, ITEM "  r: { entity: user, aggregate: last, limit: 2, fields: [item_id] }\n", "r", AGG_KEPT_LESS,
                  "limit[3 > 2]");
    check_feature(ITEM RECENT, ITEM "  r: { entity: user, aggregate: last, limit: 4, fields: [item_id] }\n", "r", AGG_EMPTY,
                  "limit[3 > 4]");
    check_feature(ITEM WATCHES,
                  ITEM "  w: { entity: item, actions: [watch, like], where: value > 1, aggregate: count, windows: [1h] }\n",
                  "w", AGG_EMPTY, "actions[watch > watch, like]where[ > value > 1]windows[1m, 1h, 1d > 1h]");
    check_feature(ITEM WATCHES, ITEM "  w: { entity: item, aggregate: sum, of: value, windows: [1m, 1h, 24h] }\n", "w",
                  AGG_EMPTY, "aggregate[count of item_id in item > sum of item_id in item]actions[watch > all]of[ > value]");
    check_feature(ITEM WATCHES, ITEM WATCHES LIKES, "l", AGG_NEW, "");
    check_feature(ITEM WATCHES LIKES, ITEM WATCHES, "l", AGG_REMOVED, "");
}

static void a_comparison_knows_what_was_removed_before(void **state)
{
    struct node node = watched(ITEM WATCHES LIKES);
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_comparison comparison;
    const struct agg_change *change;

    (void)state;
    node_restart_with(&node, ITEM LIKES);
    node_commit(&node);
    comparison = compare_with(&node, ITEM WATCHES LIKES, arena);
    change = change_of(comparison.features, comparison.feature_count, "w");
    assert_int_equal(change->fate, AGG_EMPTY);
    assert_int_equal(change->generation, 2);
    comparison = compare_with(&node, ITEM LIKES, arena);
    for (int i = 0; i < comparison.feature_count; i++)
        assert_string_not_equal(comparison.features[i].name, "w"); /* gone before: nothing that goes now */
    fr_arena_free(arena);
    node_free(&node);
}

static void check_entity(const char *was, const char *now, const char *name, enum agg_fate fate, const char *what)
{
    struct node node = watched(was);
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_comparison comparison = compare_with(&node, now, arena);
    const struct agg_change *change = change_of(comparison.entities, comparison.entity_count, name);

    assert_int_equal(change->fate, fate);
    assert_string_equal(change->reason_count > 0 ? change->reasons[0].what : "", what);
    assert_int_equal(change->kind_was != 0, fate != AGG_NEW);
    fr_arena_free(arena);
    node_free(&node);
}

static void a_comparison_tells_what_becomes_of_entities(void **state)
{
    static const char week[] = "entities: { item: { key: [item_id], retention: 7d } }\nfeatures:\n" WATCHES;
    static const char month[] = "entities: { item: { key: [item_id] } }\nfeatures:\n" WATCHES;
    static const char forever[] = "entities: { item: { key: [item_id], retention: 0 } }\nfeatures:\n" WATCHES;
    static const char other_key[] = "entities: { item: { key: [room_id] } }\nfeatures:\n" WATCHES;
    static const char rooms[] = "entities: { item: { key: [item_id] }, room: { key: [room_id] } }\nfeatures:\n" WATCHES;

    (void)state;
    check_entity(month, month, "item", AGG_KEPT, "");
    check_entity(month, week, "item", AGG_KEPT_LESS, "retention");
    check_entity(week, month, "item", AGG_KEPT, "retention");
    check_entity(forever, month, "item", AGG_KEPT_LESS, "retention");
    check_entity(week, forever, "item", AGG_KEPT, "retention");
    check_entity(month, other_key, "item", AGG_EMPTY, "key");
    check_entity(month, rooms, "room", AGG_NEW, "");
    check_entity(rooms, month, "room", AGG_REMOVED, "");
}

/* What `emit` will ask for shrinks as windows do; the catalogue has none yet, so its bits are set by hand. */
static void a_smaller_emit_keeps_the_state_and_a_larger_one_does_not(void **state)
{
    struct agg_catalogue *catalogue = catalogue_good(ITEM WATCHES, &dedupe);
    struct agg_feature *feature = catalogue->features[0];
    struct agg_kept_slot slot = {.definition = fr_slice_of(feature->definition), .emit = 3, .window_count = 3};

    (void)state;
    memcpy(slot.windows_ms, feature->windows_ms, sizeof slot.windows_ms);
    feature->emits = 3;
    assert_int_equal(agg_registry__judge_slot(&slot, feature), AGG_KEPT);
    feature->emits = 1;
    assert_int_equal(agg_registry__judge_slot(&slot, feature), AGG_KEPT_LESS);
    feature->emits = 5;
    assert_int_equal(agg_registry__judge_slot(&slot, feature), AGG_EMPTY);
    agg_catalogue_free(catalogue);
}

/* As written by the version before retention and emit were kept. */
static void a_registry_of_format_1_is_read(void **state)
{
    static const uint8_t kept[] = {1, /* format */
                                   3, 1,   2,   1, /* next kind and slot, how many of each */
                                   4, 'i', 't', 'e', 'm', 1, 0, 1, PROTO_FIELD_ITEM_ID, /* kinds: name, number, retired, key */
                                   4, 'u', 's', 'e', 'r', 2, 0, 1, PROTO_FIELD_USER_ID};
    struct node node = watched(ITEM WATCHES);
    struct agg_catalogue *catalogue = catalogue_good(ITEM WATCHES, &dedupe);
    const char *definition = catalogue->features[0]->definition;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_comparison comparison;
    struct fr_buffer value;

    (void)state;
    fr_buffer_init(&value);
    fr_buffer_append(&value, kept, sizeof kept);
    fr_buffer_append_text(&value, "\1w");
    fr_buffer_append_varint(&value, strlen(definition));
    fr_buffer_append_text(&value, definition);
    fr_buffer_append_varint(&value, 0); /* retired */
    fr_buffer_append_varint(&value, 3);
    for (int i = 0; i < 3; i++)
        fr_buffer_append_zigzag(&value, catalogue->features[0]->windows_ms[i]);
    fr_buffer_append(&value, (uint8_t[]){0, 0, 1, 0}, 4); /* limit, slot, generation, complete from */
    store_meta_put(node.store, "catalogue", fr_buffer_slice(&value));
    comparison = compare_with(&node, ITEM WATCHES, arena);
    assert_int_equal(comparison.features[0].fate, AGG_KEPT);
    assert_int_equal(comparison.entities[0].fate, AGG_KEPT);
    assert_int_equal(comparison.entities[0].reason_count, 0);
    fr_buffer_fini(&value);
    fr_arena_free(arena);
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
        cmocka_unit_test(a_comparison_tells_what_opening_does),
        cmocka_unit_test(a_comparison_knows_what_was_removed_before),
        cmocka_unit_test(a_comparison_tells_what_becomes_of_entities),
        cmocka_unit_test(a_smaller_emit_keeps_the_state_and_a_larger_one_does_not),
        cmocka_unit_test(a_registry_of_format_1_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
