/* Sentences of the contract, one by one, with numbers to add up in the head. */
#include "node.h"

#define DAY INT64_C(86400000)

static const char text[] = "entities:\n"
                           "  user: { key: [user_id] }\n"
                           "  item: { key: [item_id], retention: 2d }\n"
                           "  creator: { key: [creator_id] }\n"
                           "  room: { key: [room_id] }\n"
                           "features:\n"
                           "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h, 7d] }\n"
                           "  seconds: { entity: item, actions: [watch], aggregate: sum, windows: [1m, 1h] }\n"
                           "  fans: { entity: creator, aggregate: count, windows: [1h] }\n"
                           "  crowd: { entity: room, aggregate: count, windows: [1h] }\n"
                           "  recent: { entity: user, aggregate: last, limit: 2, fields: [item_id, ts_ms] }\n"
                           "feature_sets: { fine: { user: [recent], item: [watches.1h, fans] } }\n";
static const struct agg_dedupe dedupe = {.ids = 2, .horizon_ms = 10000};
static const int64_t noon = INT64_C(1700000000000) / 86400000 * 86400000;

static struct proto_event watch(uint64_t event_id, int64_t ts_ms, double value)
{
    return (struct proto_event){.event_id = event_id, .ts_ms = ts_ms, .user_id = 5, .item_id = 6, .action = 3, .value = value};
}

static void a_window_ends_in_a_part_filled_pane(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, noon, 2.5), noon);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon), 1, 0);
    assert_float_equal(node_value(&node, "seconds.1m", 5, 6, noon + 59999), 2.5, 0);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon + 60000), 0, 0);
    assert_float_equal(node_value(&node, "watches.1h", 5, 6, noon + 60000), 1, 0);
    node_free(&node);
}

static void an_event_of_the_future_counts_when_its_pane_comes(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, noon + 5000, 1), noon);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon + 4999), 0, 0);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon + 5000), 1, 0);
    node_free(&node);
}

static void a_late_event_counts_where_its_pane_still_does(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, noon, 1), noon);
    node_apply_one(&node, watch(0, noon - 120000, 1), noon);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon), 1, 0);
    assert_float_equal(node_value(&node, "watches.1h", 5, 6, noon), 2, 0);
    node_apply_one(&node, watch(0, noon - 8 * DAY, 1), noon);
    assert_float_equal(node_value(&node, "watches.7d", 5, 6, noon), 2, 0);
    assert_int_equal(node.tally.too_late, 2); /* no window of watches, none of seconds; the 2 min old one had 1h of both */
    node_free(&node);
}

static void a_sum_is_exact_beyond_doubles(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(0, noon, 1e12), noon);
    node_apply_one(&node, watch(0, noon, 0.000001), noon);
    node_apply_one(&node, watch(0, noon, -1e12), noon);
    assert_float_equal(node_value(&node, "seconds.1m", 5, 6, noon), 0.000001F, 0);
    node_free(&node);
}

static void a_sum_beyond_64_bits_is_clamped_and_comes_back(void **state)
{
    struct node node = node_new(text, dedupe);
    struct fr_counter *clamped = fr_metrics_counter(node.metrics, "freshet_sums_clamped_total", NULL, "");

    (void)state;
    for (int i = 0; i < 20; i++)
        node_apply_one(&node, watch(0, noon, 1e12), noon);
    assert_float_equal(node_value(&node, "seconds.1m", 5, 6, noon), 9223372036854.775807, 1);
    assert_true(fr_counter_read(clamped) > 0); /* by each read that met it */
    node_commit(&node);
    node_restart(&node);
    for (int i = 0; i < 19; i++)
        node_apply_one(&node, watch(0, noon, -1e12), noon);
    assert_float_equal(node_value(&node, "seconds.1m", 5, 6, noon), 1e12F, 0);
    node_free(&node);
}

static void a_kept_id_is_a_duplicate_and_changes_nothing(void **state)
{
    struct node node = node_new(text, dedupe);
    struct proto_event twice[3] = {watch(1, noon, 1), watch(1, noon, 1), watch(2, noon, 1)};
    enum agg_outcome outcomes[3];

    (void)state;
    node_apply(&node, twice, 3, noon, outcomes);
    assert_int_equal(outcomes[0], AGG_APPLIED);
    assert_int_equal(outcomes[1], AGG_DUPLICATE);
    assert_int_equal(outcomes[2], AGG_APPLIED);
    assert_int_equal(node.tally.duplicates, 1);
    assert_int_equal(node.tally.applied, 2);
    node_commit(&node);
    node_restart(&node);
    node_apply(&node, twice, 1, noon, outcomes);
    assert_int_equal(outcomes[0], AGG_DUPLICATE);
    assert_float_equal(node_value(&node, "watches.1m", 5, 6, noon), 2, 0);
    node_free(&node);
}

static void what_can_no_longer_be_told_is_applied_and_counted(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, noon, 1), noon);
    node_apply_one(&node, watch(2, noon + 1, 1), noon);
    node_apply_one(&node, watch(3, noon + 2, 1), noon); /* 1 falls out: two are kept */
    assert_int_equal(node.tally.dedupe_unchecked, 0);
    node_apply_one(&node, watch(1, noon, 1), noon); /* below all kept, the set full */
    assert_int_equal(node.tally.dedupe_unchecked, 1);
    node_apply_one(&node, watch(4, noon + 2 - 10000, 1), noon); /* beyond the horizon */
    assert_int_equal(node.tally.dedupe_unchecked, 2);
    node_apply_one(&node, watch(0, noon, 1), noon); /* unchecked by choice */
    assert_int_equal(node.tally.dedupe_unchecked, 2);
    assert_int_equal(node.tally.duplicates, 0);
    node_free(&node);
}

static struct proto_event by(uint64_t creator, int64_t ts_ms)
{
    struct proto_event event = watch(0, ts_ms, 1);

    event.creator_id = creator;
    return event;
}

static void an_item_that_changes_creator_shows_the_latest_ones_columns(void **state)
{
    struct node node = node_new(text, dedupe);

    (void)state;
    node_apply_one(&node, by(70, noon), noon);
    node_apply_one(&node, by(70, noon + 1), noon);
    node_apply_one(&node, by(80, noon + 2), noon);
    assert_float_equal(node_value(&node, "fans.1h", 5, 6, noon + 10), 1, 0);
    node_apply_one(&node, by(0, noon + 3), noon); /* says nothing of it */
    node_apply_one(&node, by(70, noon + 1), noon); /* is older */
    assert_float_equal(node_value(&node, "fans.1h", 5, 6, noon + 10), 1, 0);
    node_apply_one(&node, by(70, noon + 4), noon);
    assert_float_equal(node_value(&node, "fans.1h", 5, 6, noon + 10), 4, 0);
    node_free(&node);
}

static void an_absent_entity_reads_zero_and_comes_back_with_what_still_counts(void **state)
{
    struct node node = node_new(text, dedupe);
    struct proto_event like = watch(0, noon + 3 * DAY, 0);

    (void)state;
    like.action = 4;
    node_apply_one(&node, watch(0, noon, 1), noon);
    assert_float_equal(node_value(&node, "watches.7d", 5, 6, noon + 2 * DAY - 1), 1, 0);
    assert_float_equal(node_value(&node, "watches.7d", 5, 6, noon + 2 * DAY), 0, 0);
    node_apply_one(&node, like, noon + 3 * DAY);
    assert_float_equal(node_value(&node, "watches.7d", 5, 6, noon + 3 * DAY), 1, 0);
    node_free(&node);
}

static struct agg_reply read_all(struct node *node, const uint64_t *items, int count, uint64_t room, char *const *names,
                                 int name_count, const char *set)
{
    struct agg_request request = {.user_id = 5, .item_ids = items, .item_count = count, .room_id = room, .time_ms = noon + 10};

    return node_read(node, node_plan(node, set, names, name_count), &request);
}

static void a_requests_room_takes_the_place_of_every_items(void **state)
{
    struct node node = node_new(text, dedupe);
    struct proto_event event = watch(0, noon, 1);
    uint64_t items[] = {6, 999, 0};
    char *names[] = {"crowd.1h", "item.room_id"};
    struct agg_reply reply;

    (void)state;
    event.room_id = 40;
    node_apply_one(&node, event, noon);
    event.room_id = 50;
    event.item_id = 0;
    node_apply_one(&node, event, noon);
    node_apply_one(&node, event, noon);
    reply = read_all(&node, items, 3, 0, names, 2, "");
    assert_float_equal(reply.item_values[0], 1, 0);
    assert_float_equal(reply.item_values[1], 0, 0);
    assert_int_equal(reply.item_fields[0].ids[0], 40);
    reply = read_all(&node, items, 3, 50, names, 2, "");
    for (int row = 0; row < 3; row++)
        assert_float_equal(reply.item_values[row], 2, 0);
    assert_true(reply.item_present[0]);
    assert_false(reply.item_present[1]);
    assert_int_equal(reply.item_fields[0].ids[1], 50);
    node_free(&node);
}

static void a_sequence_keeps_the_greatest_newest_first(void **state)
{
    struct node node = node_new(text, dedupe);
    char *names[] = {"recent"};
    struct agg_reply reply;

    (void)state;
    reply = read_all(&node, NULL, 0, 0, names, 1, "");
    assert_int_equal(reply.sequence_count, 1); /* an unknown user's is empty, not missing */
    assert_int_equal(reply.sequences[0].fields[0].count, 0);
    for (uint64_t i = 0; i < 3; i++) {
        struct proto_event event = watch(0, noon + (int64_t)(i * 7 % 3), 1); /* + 0, 1, 2 */

        event.item_id = 60 + i;
        node_apply_one(&node, event, noon);
    }
    reply = read_all(&node, NULL, 0, 0, names, 1, "");
    assert_string_equal(reply.sequences[0].name, "recent");
    assert_int_equal(reply.sequences[0].key, 5);
    assert_int_equal(reply.sequences[0].fields[0].count, 2);
    assert_int_equal(reply.sequences[0].fields[0].ids[0], 62);
    assert_int_equal(reply.sequences[0].fields[0].ids[1], 61);
    assert_int_equal(reply.sequences[0].fields[1].ints[0], noon + 2);
    node_free(&node);
}

static void columns_come_as_listed_and_once_for_each_mention(void **state)
{
    struct node node = node_new(text, dedupe);
    char *names[] = {"seconds.1h", "watches", "seconds.1h"};
    const struct agg_plan *plan = node_plan(&node, "fine", names, 3);
    const char *const *columns;
    static const char *const expected[] = {"watches.1h", "fans.1h",    "seconds.1h", "watches.1m",
                                           "watches.1h", "watches.7d", "seconds.1h"};

    (void)state;
    assert_int_equal(agg_plan_item_columns(plan, &columns), 7);
    for (int i = 0; i < 7; i++)
        assert_string_equal(columns[i], expected[i]);
    assert_int_equal(agg_plan_user_columns(plan, &columns), 0);
    assert_ptr_equal(plan, node_plan(&node, "fine", names, 3));
    assert_ptr_not_equal(plan, node_plan(&node, "fine", names, 2));
    assert_int_equal(agg_plan_item_columns(node_plan(&node, "", NULL, 0), &columns), 7);
    node_free(&node);
}

static void unknown_names_are_refused_with_the_nearest(void **state)
{
    static const char *const cases[][2] = {{"watchs", "features: unknown feature 'watchs'; did you mean 'watches'?"},
                                           {"watches.2h", "unknown column 'watches.2h'; did you mean 'watches.1h'?"},
                                           {"recent.1h", "unknown column"},
                                           {"item.creator", "use item.creator_id"},
                                           {"", "unknown feature ''"}};
    struct node node = node_new(text, dedupe);
    const struct agg_plan *plan;
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *name = (char *)(uintptr_t)cases[i][0];

        assert_false(agg_plan_get(node.agg, "", &name, 1, &plan, &err));
        assert_int_equal(err.code, FR_BAD_INPUT);
        if (!strstr(err.message, cases[i][1]))
            fail_msg("%s", err.message);
    }
    assert_false(agg_plan_get(node.agg, "fin", NULL, 0, &plan, &err));
    assert_non_null(strstr(err.message, "feature_set: unknown set 'fin'; did you mean 'fine'?"));
    node_free(&node);
}

static void clients_cannot_fill_the_memory_with_plans(void **state)
{
    struct node node = node_new(text, dedupe);
    char *names[1024];
    const struct agg_plan *plan;
    struct fr_err err;
    int made = 0;

    (void)state;
    for (int i = 0; i < 1024; i++)
        names[i] = "watches.1h";
    while (made < 2000 && agg_plan_get(node.agg, "", names, made % 1023 + 1, &plan, &err) &&
           agg_plan_get(node.agg, "fine", names, made % 1023 + 1, &plan, &err))
        made++;
    assert_true(made < 1024);
    assert_int_equal(err.code, FR_EXHAUSTED);
    node_free(&node);
}

static void a_batch_larger_than_the_lane_is_refused_whole(void **state)
{
    struct node node = node_new(text, dedupe);
    struct proto_event events[2] = {watch(1, noon, 1), watch(2, noon, 1)};
    struct agg_lane *lane = agg_lane_new(node.agg, 1);
    struct fr_err err;

    (void)state;
    assert_false(agg_batch_load(lane, events, 2, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    agg_lane_free(lane);
    node_free(&node);
}

static void a_reply_beyond_its_arena_is_refused(void **state)
{
    struct node node = node_new(text, dedupe);
    uint64_t items[1000] = {6};
    struct agg_request request = {.user_id = 5, .item_ids = items, .item_count = 1000, .time_ms = noon};
    struct fr_arena *arena = fr_arena_new(16384);
    struct agg_reply reply;
    struct fr_err err;

    (void)state;
    assert_false(agg_read(node.agg, node_plan(&node, "", NULL, 0), &request, arena, &reply, &err));
    assert_int_equal(err.code, FR_EXHAUSTED);
    fr_arena_free(arena);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_ends_in_a_part_filled_pane),
        cmocka_unit_test(an_event_of_the_future_counts_when_its_pane_comes),
        cmocka_unit_test(a_late_event_counts_where_its_pane_still_does),
        cmocka_unit_test(a_sum_is_exact_beyond_doubles),
        cmocka_unit_test(a_sum_beyond_64_bits_is_clamped_and_comes_back),
        cmocka_unit_test(a_kept_id_is_a_duplicate_and_changes_nothing),
        cmocka_unit_test(what_can_no_longer_be_told_is_applied_and_counted),
        cmocka_unit_test(an_item_that_changes_creator_shows_the_latest_ones_columns),
        cmocka_unit_test(an_absent_entity_reads_zero_and_comes_back_with_what_still_counts),
        cmocka_unit_test(a_requests_room_takes_the_place_of_every_items),
        cmocka_unit_test(a_sequence_keeps_the_greatest_newest_first),
        cmocka_unit_test(columns_come_as_listed_and_once_for_each_mention),
        cmocka_unit_test(unknown_names_are_refused_with_the_nearest),
        cmocka_unit_test(clients_cannot_fill_the_memory_with_plans),
        cmocka_unit_test(a_batch_larger_than_the_lane_is_refused_whole),
        cmocka_unit_test(a_reply_beyond_its_arena_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
