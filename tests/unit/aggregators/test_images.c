/*
 * What an epoch added to rows, by images: instances that apply events, merge what others tell and tell, turn about, with epochs that
 * fail, have what one node makes of it all.
 */
#include "instances.h"

enum { TURNS = 3 };

/* Entities that are told by their rows: sums below nothing, a number that outgrows a narrow row, attributes. */
static const char even[] =
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id], parent: creator, retention: 3d }\n"
    "  creator: { key: [creator_id], retention: 0 }\n"
    "  room: { key: [room_id] }\n"
    "features:\n"
    "  n: { entity: item, aggregate: count, windows: [1m, 1h, 24h] }\n"
    "  likes: { entity: item, actions: [like], aggregate: count, windows: [1m, 1h, 24h] }\n"
    "  worth: { entity: item, aggregate: sum, of: value, windows: [1m, 1h, 24h] }\n"
    "  made: { entity: creator, actions: [watch, like], aggregate: sum, of: value, windows: [1h, 30d] }\n"
    "  here: { entity: room, aggregate: count, windows: [5m] }\n";

/* A refund takes back in one epoch what another told: nothing is left of it here, and nothing may be left elsewhere. */
static void what_comes_to_nothing_in_a_later_epoch_is_told(void **state)
{
    struct node node = node_new(even, keep_all), other = node_new(even, keep_all);
    struct agg_deltas *lanes[2] = {agg_deltas_new(node.agg), agg_deltas_new(node.agg)};
    struct instance there = {.node = other, .number = 1};
    struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};
    struct proto_event sold = {
        .event_id = 1, .ts_ms = 1700000000000, .user_id = 1, .item_id = 9, .creator_id = 7, .action = 3, .value = 50};
    struct proto_event undone = {
        .event_id = 2, .ts_ms = 1700000000001, .user_id = 1, .item_id = 9, .creator_id = 7, .action = 3, .value = -50};
    struct rng rng = {1};

    (void)state;
    assert_true(agg_images_open(node.agg));
    agg_lane_collect(node.lane, lanes[0]);
    node_apply_one(&node, sold, 0);
    collect_epoch(&node, lanes, 0, &carrier);
    while (there.merged < carrier.count)
        merge_some(&there, &carrier, &rng);
    assert_float_equal(node_value(&there.node, "made.30d", 1, 9, 1700000000001), 50, 0);
    node_apply_one(&node, undone, 0);
    collect_epoch(&node, lanes, 0, &carrier);
    while (there.merged < carrier.count)
        merge_some(&there, &carrier, &rng);
    other = there.node;
    assert_float_equal(node_value(&node, "made.30d", 1, 9, 1700000000001), 0, 0);
    assert_float_equal(node_value(&other, "made.30d", 1, 9, 1700000000001), 0, 0);
    carrier_free(&carrier);
    agg_deltas_free(lanes[0]);
    agg_deltas_free(lanes[1]);
    node_free(&node);
    node_free(&other);
}

/* Each is an image, whatever happens to it in the epoch. */
static void apply_items(struct node *node, int count)
{
    for (uint64_t i = 1; i <= (uint64_t)count; i++)
        node_apply_one(node,
                       (struct proto_event){.event_id = i, .ts_ms = 1700000000000, .user_id = 1, .item_id = i, .action = 3}, 0);
}

/* It was encoded by nobody, say, for want of memory. */
static void what_nobody_was_told_of_lets_no_epoch_follow(void **state)
{
    struct node node = node_new(even, keep_all);
    struct agg_deltas *told = agg_deltas_new(node.agg);

    (void)state;
    assert_true(agg_images_open(node.agg));
    agg_lane_collect(node.lane, told);
    assert_true(agg_images_turn(node.agg));
    apply_items(&node, 1);
    assert_true(agg_images_turn(node.agg));
    assert_false(agg_images_turn(node.agg));
    agg_deltas_free(told);
    node_free(&node);
}

static void what_images_take_is_told(void **state)
{
    enum { ITEMS = 2000, IMAGE_BYTES_LEAST = 48, IMAGE_BYTES_MOST = 2000 };
    struct node node = node_new(even, keep_all);
    struct agg_deltas *lanes[2] = {agg_deltas_new(node.agg), agg_deltas_new(node.agg)};
    struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};

    (void)state;
    assert_true(agg_images_open(node.agg));
    agg_lane_collect(node.lane, lanes[0]);
    assert_int_equal(agg_images_bytes(node.agg), 0);
    apply_items(&node, ITEMS);
    collect_epoch(&node, lanes, 0, &carrier);
    assert_in_range(agg_images_bytes(node.agg), ITEMS * IMAGE_BYTES_LEAST, ITEMS * IMAGE_BYTES_MOST);
    carrier_free(&carrier);
    agg_deltas_free(lanes[0]);
    agg_deltas_free(lanes[1]);
    node_free(&node);
}

static void instances_that_apply_merge_and_tell_turn_about_make_what_one_node_makes(void **state)
{
    struct stream_catalogue catalogue;

    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)stream_goal(TURNS); seed++) {
        struct rng rng = {seed + 1700};
        struct feed feed = feed_new(&rng);

        for (int i = 0; i < feed.count; i++)
            if (rng_one_in(&rng, 10))
                feed.events[i].action = (uint32_t)(17 + rng_below(&rng, 4)); /* rooms and items begin and end */
        check_turn_about(even, &feed, &rng, NULL, NULL);
        check_turn_about(cells, &feed, &rng, NULL, NULL);
        stream_catalogue_make(&catalogue, &rng);
        check_turn_about(catalogue.text, &feed, &rng, NULL, NULL);
        free(feed.events);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_to_nothing_in_a_later_epoch_is_told),
        cmocka_unit_test(what_nobody_was_told_of_lets_no_epoch_follow),
        cmocka_unit_test(what_images_take_is_told),
        cmocka_unit_test(instances_that_apply_merge_and_tell_turn_about_make_what_one_node_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
