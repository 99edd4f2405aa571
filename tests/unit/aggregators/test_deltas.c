/*
 * Any split of a stream by user into instances, any epochs, any order of merging: what each then has is what one node makes of
 * it all.
 */
#include "instances.h"

#include <inttypes.h>

enum { ROUNDS = 6 };

/* The instance's share, by user, in the order of the feed. */
static void instance_apply(struct node *node, const struct feed *feed, int instance, int instances, struct carrier *carrier,
                           struct rng *rng)
{
    struct agg_deltas *lanes[2] = {agg_deltas_new(node->agg), agg_deltas_new(node->agg)};
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct proto_event batch[40];
    int64_t horizon_ms = 0;
    int count = 0, most = 1 + (int)rng_below(rng, 40);

    carrier->from = instance;
    assert_true(agg_images_open(node->agg));
    for (int i = 0; i <= feed->count; i++) {
        if (i < feed->count && feed->events[i].user_id % (uint64_t)instances == (uint64_t)instance)
            batch[count++] = feed->events[i];
        if (count == 0 || (count < most && i < feed->count))
            continue;
        agg_lane_collect(node->lane, lanes[rng_below(rng, 2)]);
        node_apply(node, batch, count, horizon_ms, outcomes);
        if (rng_one_in(rng, 3))
            horizon_ms = node->stream_time_ms;
        if (rng_one_in(rng, 4))
            collect_epoch(node, lanes, horizon_ms, carrier);
        count = 0;
        most = 1 + (int)rng_below(rng, 40);
    }
    collect_epoch(node, lanes, horizon_ms, carrier);
    agg_lane_collect(node->lane, NULL);
    agg_deltas_free(lanes[0]);
    agg_deltas_free(lanes[1]);
}

/* All deltas but those of the instance itself, in batches; now and then what is durable is all that is left. */
static void instance_merge(struct node *node, int instance, const struct carrier *carrier, struct rng *rng)
{
    struct agg_delta deltas[32];
    struct fr_err err;
    int count = 0;

    for (int i = 0; i <= carrier->count; i++) {
        const struct carried *carried = &carrier->all[i];
        bool ok;

        if (i < carrier->count && carried->from != instance)
            deltas[count++] = (struct agg_delta){.key = fr_slice(carried->key, carried->key_bytes),
                                                 .value = fr_slice(carried->value, carried->value_bytes)};
        if (count == 0 || (count < 32 && i < carrier->count && !rng_one_in(rng, 6)))
            continue;
        if (!agg_deltas_load(node->lane, deltas, count, &err))
            fail_msg("%s", err.message);
        store_gate_enter(node->store);
        ok = agg_deltas_apply(node->lane, deltas, count, node->stream_time_ms, &node->tally, &err);
        store_gate_leave(node->store);
        if (!ok)
            fail_msg("%s", err.message);
        count = 0;
        if (rng_one_in(rng, 20)) {
            node_commit(node);
            node_restart(node);
        }
    }
    node_commit(node);
}

static void check_split_with(const char *text, const struct feed *feed, struct rng *rng, compare_fn *compare, int *found)
{
    int instances = 1 + (int)rng_below(rng, INSTANCES_MAX);
    struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};
    struct node one = node_new(text, keep_all), nodes[INSTANCES_MAX + 1];
    struct agg_digest whole = digest_of_one(&one, feed);

    assert_true(whole.entities > 0);
    for (int i = 0; i <= instances; i++)
        nodes[i] = node_new(text, keep_all); /* the last one has no events of its own */
    for (int i = 0; i < instances; i++) {
        instance_apply(&nodes[i], feed, i, instances, &carrier, rng);
        node_commit(&nodes[i]);
    }
    for (int i = 0; i <= instances; i++) {
        carrier_shuffle(&carrier, rng);
        nodes[i].stream_time_ms = feed->greatest_ms;
        instance_merge(&nodes[i], i, &carrier, rng);
    }
    for (int i = 0; i <= instances; i++) {
        compare_with_one(&nodes[i], &one, &whole, feed->greatest_ms, text);
        if (compare)
            compare(&one, &nodes[i], feed->greatest_ms, found);
        node_free(&nodes[i]);
    }
    node_free(&one);
    carrier_free(&carrier);
}

static void check_split(const char *text, const struct feed *feed, struct rng *rng)
{
    check_split_with(text, feed, rng, NULL, NULL);
}

static void any_split_of_a_stream_merges_to_what_one_node_makes(void **state)
{
    struct stream_catalogue catalogue;

    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)stream_goal(ROUNDS); seed++) {
        struct rng rng = {seed + 500};
        struct feed feed;

        stream_catalogue_make(&catalogue, &rng);
        feed = feed_new(&rng);
        check_split(catalogue.text, &feed, &rng);
        free(feed.events);
    }
}

static void any_split_merges_in_cells_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)stream_goal(ROUNDS); seed++) {
        struct rng rng = {seed + 900};
        struct feed feed = feed_new(&rng);

        for (int i = 0; i < feed.count; i++)
            if (rng_one_in(&rng, 10))
                feed.events[i].action = (uint32_t)(17 + rng_below(&rng, 4)); /* rooms and items begin and end */
        check_split(cells, &feed, &rng);
        free(feed.events);
    }
}

/* Lists that rank by sums and by moments, of spans that the streams fill; one of them keeps fewer than there are. Some are of what is told by its rows. */
static const char ranked[] =
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id], parent: creator, retention: 0 }\n"
    "  creator: { key: [creator_id], retention: 0 }\n"
    "  room: { key: [room_id], retention: 0 }\n"
    "features:\n"
    "  heat: { entity: item, actions: [watch, like], weights: { watch: 1, like: 3 }, aggregate: decayed, half_life: 30d }\n"
    "  fame: { entity: creator, actions: [like], aggregate: decayed, half_life: 20d }\n"
    "  online: { entity: room, aggregate: gauge, up: [enter_room, watch], down: [leave_room, like], timeout: 400d }\n"
    "  recent: { entity: user, actions: [watch], aggregate: last, limit: 20, fields: [item_id] }\n"
    "  together: { entity: item, from: recent, within: 20d, half_life: 30d, aggregate: covisit, limit: 8 }\n"
    "  left: { entity: creator, aggregate: quota, actions: [watch], quota: 200, newer_than: 20d, forgotten_after: 60d }\n"
    "  seen: { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
    "  visited: { entity: room, aggregate: count, windows: [1h] }\n"
    "lists:\n"
    "  hot: { of: item, rank: heat, scopes: [global, category_id, room_id], limit: 8 }\n"
    "  hottest: { of: item, rank: heat, scopes: [global], limit: 1 }\n"
    "  famous: { of: creator, rank: fame, scopes: [global, region], limit: 8 }\n"
    "  new: { of: creator, rank: left, scopes: [global], limit: 8 }\n";

static struct agg_candidates trending(const struct node *node, struct fr_arena *arena, const struct agg_recall *ask)
{
    struct agg_candidates candidates;
    struct fr_err err;

    if (!agg_recall_trending(node->agg, ask, arena, &candidates, &err))
        fail_msg("%s", err.message);
    return candidates;
}

/* The same partners with the same sums. */
static void compare_related(const struct node *one, const struct node *other, struct fr_arena *arena, int64_t time_ms,
                            int *found)
{
    for (uint64_t id = 1001; id < 2010; id = id == 1010 ? 2001 : id + 1) {
        struct agg_recall ask = {.name = "together", .id = id, .time_ms = time_ms};
        struct agg_candidates a, b;
        struct fr_err err;

        if (!agg_recall_related(one->agg, &ask, arena, &a, &err) || !agg_recall_related(other->agg, &ask, arena, &b, &err))
            fail_msg("%s", err.message);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
        assert_memory_equal(a.scores, b.scores, a.count * sizeof *a.scores);
        *found += (int)a.count;
    }
}

/* Who was seen first or last. */
static void compare_recent(const struct node *one, const struct node *other, struct fr_arena *arena, int64_t time_ms,
                           int *found)
{
    static const char *const names[] = {"new_items", "rooms_live", "creators_live"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct agg_recall ask = {.name = names[i], .time_ms = time_ms};
        struct agg_candidates a, b;
        struct fr_err err;

        if (!agg_recall_recent(one->agg, &ask, arena, &a, &err) || !agg_recall_recent(other->agg, &ask, arena, &b, &err))
            fail_msg("%s", err.message);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
        *found += (int)a.count;
    }
}

/* Every list answers alike. */
static void compare_lists(const struct node *one, const struct node *other, int64_t time_ms, int *found)
{
    static const struct {
        const char *list, *scope;
    } lists[] = {{"hot", "global"},    {"hot", "category_id"}, {"hot", "room_id"}, {"hottest", "global"},
                 {"famous", "global"}, {"famous", "region"},   {"new", "global"}};
    struct fr_arena *arena = fr_arena_new(1 << 22);

    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        for (uint64_t id = 1; id < 2010; id = id == 10 ? 1001 : id == 1010 ? 2001 : id + 1) {
            struct agg_recall ask = {.name = lists[l].list, .scope = lists[l].scope, .id = id, .limit = 8, .time_ms = time_ms};
            struct agg_candidates a, b;

            ask.id = strcmp(lists[l].scope, "global") == 0 ? 0 : id;
            a = trending(one, arena, &ask);
            b = trending(other, arena, &ask);
            if (a.count != b.count)
                fail_msg("%s of %s %" PRIu64 ": %u candidates, not %u", lists[l].list, lists[l].scope, id, b.count, a.count);
            assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
            assert_memory_equal(a.scores, b.scores, a.count * sizeof *a.scores);
            *found += (int)a.count;
            if (ask.id == 0)
                break;
            fr_arena_reset(arena, 1 << 20);
        }
    }
    compare_related(one, other, arena, time_ms, &found[1]);
    compare_recent(one, other, arena, time_ms, &found[2]);
    fr_arena_free(arena);
}

static void any_split_ranks_alike(void **state)
{
    int found[3] = {0}; /* on lists, with items, new and live ones */

    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)stream_goal(ROUNDS); seed++) {
        struct rng rng = {seed + 1300};
        struct feed feed = feed_new(&rng);

        for (int i = 0; i < feed.count; i++) /* into weeks: of what was long before, nobody knows whether it was first */
            feed.events[i].ts_ms = feed.greatest_ms - (feed.greatest_ms - feed.events[i].ts_ms) / 12;
        check_split_with(ranked, &feed, &rng, compare_lists, found);
        for (int i = 0; i < feed.count; i++) /* and then into a day: of what came lately, everybody knows what was new */
            feed.events[i].ts_ms = feed.greatest_ms - (feed.greatest_ms - feed.events[i].ts_ms) / 100;
        check_turn_about(ranked, &feed, &rng, compare_lists, found);
        free(feed.events);
    }
    assert_true(found[0] > 1000 && found[1] > 100 && found[2] > 100);
}

static void note_line(void *user, const char *line)
{
    struct fr_buffer *lines = user;

    fr_buffer_append_format(lines, "%s\n", line);
}

static void what_has_no_merge_is_named(void **state)
{
    static const char text[] =
        "entities: { user: { key: [user_id] }, item: { key: [item_id] }, room: { key: [room_id] } }\n"
        "features:\n"
        "  heat: { entity: item, aggregate: decayed, half_life: 10m }\n"
        "  online: { entity: room, aggregate: gauge, up: [enter_room], down: [leave_room], timeout: 10m }\n"
        "  mine: { entity: user, aggregate: decayed, half_life: 10m }\n"
        "lists: { hot: { of: item, rank: heat, scopes: [global], limit: 10 }, busy: { of: user, rank: mine, scopes: [global], "
        "limit: 10 } }\n";
    struct agg_catalogue *catalogue = catalogue_good(text, &keep_all), *carried = catalogue_good(cells, &keep_all);
    struct fr_buffer lines;

    (void)state;
    fr_buffer_init(&lines);
    agg_catalogue_uncarried(carried, note_line, &lines);
    assert_int_equal(lines.length, 0);
    agg_catalogue_uncarried(catalogue, note_line, &lines);
    fr_buffer_append_byte(&lines, 0);
    assert_string_equal((const char *)lines.bytes,
                        "list 'busy' ranks users, each of whom one instance of a cluster knows alone\n");
    fr_buffer_fini(&lines);
    agg_catalogue_free(catalogue);
    agg_catalogue_free(carried);
}

static void a_hot_entity_is_one_record_an_epoch(void **state)
{
    struct node node = node_new(cells, keep_all);
    struct agg_deltas *lanes[2] = {agg_deltas_new(node.agg), agg_deltas_new(node.agg)};
    struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};

    (void)state;
    assert_true(agg_images_open(node.agg));
    for (int i = 0; i < 1000; i++) {
        agg_lane_collect(node.lane, lanes[i % 2]);
        node_apply_one(&node,
                       (struct proto_event){.event_id = (uint64_t)i + 1,
                                            .ts_ms = 1700000000000 + i,
                                            .user_id = (uint64_t)i % 100 + 1,
                                            .room_id = 7,
                                            .action = 3},
                       0);
    }
    collect_epoch(&node, lanes, 0, &carrier);
    assert_int_equal(carrier.count, 2); /* the room, and all events */
    collect_epoch(&node, lanes, 0, &carrier);
    assert_int_equal(carrier.count, 2); /* and nothing when nothing came */
    carrier_free(&carrier);
    agg_deltas_free(lanes[0]);
    agg_deltas_free(lanes[1]);
    node_free(&node);
}

static void deltas_that_make_no_sense_are_refused(void **state)
{
    static const uint8_t user_key[] = {1, 1, 0, 0, 0, 0, 0, 0, 0, 5}, short_key[] = {2, 1, 0}, value[] = {3, 1, 1};
    struct node node = node_new(cells, keep_all);
    struct fr_err err;

    (void)state;
    for (int kind = 0; kind < 256; kind++) {
        uint8_t key[sizeof user_key];
        struct agg_delta delta = {.key = fr_slice(key, sizeof key), .value = fr_slice(value, sizeof value)};

        memcpy(key, user_key, sizeof key);
        key[0] = (uint8_t)kind;
        if (agg_deltas_load(node.lane, &delta, 1, &err)) {
            store_gate_enter(node.store);
            assert_false(agg_deltas_apply(node.lane, &delta, 1, 0, &node.tally, &err));
            store_gate_leave(node.store);
        }
        assert_int_equal(err.code, FR_CORRUPT);
    }
    struct agg_delta cut = {.key = fr_slice(short_key, sizeof short_key), .value = fr_slice(value, sizeof value)};
    assert_false(agg_deltas_load(node.lane, &cut, 1, &err));
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_of_a_stream_merges_to_what_one_node_makes),
        cmocka_unit_test(any_split_merges_in_cells_too),
        cmocka_unit_test(any_split_ranks_alike),
        cmocka_unit_test(what_has_no_merge_is_named),
        cmocka_unit_test(a_hot_entity_is_one_record_an_epoch),
        cmocka_unit_test(deltas_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
