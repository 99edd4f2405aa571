/*
 * Finished rows: second by second, over every edge of every window and past what is kept, a read that may find them gives what the
 * entities themselves do. Those are read by their own keys, where nothing is ever kept finished.
 */
#include "node.h"
#include "plan.h"

#define T0 INT64_C(1700006400000)
enum { WATCH = 3, LIKE = 4, ITEMS = 3, COLUMNS = 9, SECONDS = 1000, AT_REST_FROM = 400 };

static const char catalogue[] =
    "entities:\n"
    "  user:    { key: [user_id] }\n"
    "  item:    { key: [item_id], parent: creator, retention: 8m }\n"
    "  creator: { key: [creator_id] }\n"
    "features:\n"
    "  likes:   { entity: item, actions: [like], aggregate: count, windows: [1m, 5m] }\n"
    "  seconds: { entity: item, actions: [watch], aggregate: sum, of: value, windows: [1m] }\n"
    "  longest: { entity: item, actions: [watch], aggregate: max, of: value, windows: [5m] }\n"
    "  average: { entity: item, actions: [watch], aggregate: mean, of: value, windows: [1m] }\n"
    "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1m] }\n"
    "  rate:    { entity: item, aggregate: ratio, of: [likes, watches], windows: [1m], prior: parent, strength: 2 }\n"
    "  fame:    { entity: creator, aggregate: count, windows: [1m, 1h] }\n";

static struct node opened(void)
{
    return node_new(catalogue, (struct agg_dedupe){.ids = 32, .horizon_ms = 600000});
}

static void apply(struct node *node, uint64_t number, int64_t ts_ms)
{
    struct proto_event event = {.event_id = number + 1,
                                .ts_ms = ts_ms,
                                .user_id = 1,
                                .item_id = number % ITEMS + 1,
                                .creator_id = number % 2 + 1,
                                .action = number % 5 == 0 ? LIKE : WATCH,
                                .value = (double)(number % 7)};

    node_apply_one(node, event, ts_ms);
}

/* The columns of the kind by its own key, where they are in the matrix's row. */
static void read_own(struct node *node, const char *kind, uint64_t id, int64_t time_ms, float *values)
{
    struct agg_columns *columns;
    struct fr_err err;

    assert_true(agg_columns_new(node->agg, kind, NULL, 0, &columns, &err));
    assert_true(agg_columns_read(columns, (uint64_t[]){id}, time_ms, values, &err));
    agg_columns_free(columns);
}

static void compare(struct node *node, const struct agg_plan *plan, int64_t time_ms)
{
    const uint64_t ids[ITEMS] = {1, 2, 3};
    struct agg_request request = {.item_ids = ids, .item_count = ITEMS, .time_ms = time_ms};
    struct agg_reply reply = node_read(node, plan, &request);

    for (int row = 0; row < ITEMS; row++) {
        uint64_t creator = reply.item_fields[0].ids[row];
        float own[COLUMNS] = {0};

        assert_true(reply.item_present[row] == (creator != 0)); /* both go with the item's last event */
        read_own(node, "item", ids[row], time_ms, own);
        read_own(node, "creator", creator, time_ms, own + COLUMNS - 2);
        assert_memory_equal(own, reply.item_values + row * COLUMNS, sizeof own);
    }
}

static const struct agg_plan *plan_of(struct node *node)
{
    static char *const names[] = {"likes", "seconds", "longest", "average", "watches", "rate", "fame", "item.creator_id"};
    const char *const *columns;
    const struct agg_plan *plan = node_plan(node, "", names, 8);

    assert_int_equal(agg_plan_item_columns(plan, &columns), COLUMNS);
    assert_int_equal(plan->item_step_count, 3); /* item, creator, all events: one for all rows, and nothing to be won */
    assert_true(plan->item_steps[0].finished.is_kept);
    assert_true(plan->item_steps[1].finished.is_kept);
    assert_false(plan->item_steps[2].finished.is_kept);
    return plan;
}

static void they_say_what_the_entities_do_in_every_second(void **state)
{
    struct node node = opened();
    const struct agg_plan *plan = plan_of(&node);

    (void)state;
    for (int64_t second = 0; second < SECONDS; second++) {
        int64_t time_ms = T0 + second * 1000;

        if (second < AT_REST_FROM && second % 4 == 0)
            apply(&node, (uint64_t)second / 4, time_ms - second % 3 * 700);
        compare(&node, plan, time_ms);
        compare(&node, plan, time_ms + 999);
    }
    node_free(&node);
}

/* By a clock that the producer's is ahead of, an event is applied before it counts. */
static void an_event_from_ahead_counts_when_its_second_comes(void **state)
{
    struct node node = opened();
    const struct agg_plan *plan = plan_of(&node);

    (void)state;
    apply(&node, 1, T0);
    for (int64_t second = 0; second < 20; second++) {
        if (second == 5)
            apply(&node, 4, T0 + 10000); /* the same item */
        compare(&node, plan, T0 + second * 1000);
    }
    node_free(&node);
}

static void what_depends_on_the_very_moment_is_never_finished(void **state)
{
    static char *const names[] = {"viewers", "heat", "fame"};
    struct node node = node_new("entities:\n"
                                "  item:    { key: [item_id] }\n"
                                "  creator: { key: [creator_id] }\n"
                                "  user:    { key: [user_id] }\n"
                                "features:\n"
                                "  viewers: { entity: item, aggregate: count, windows: [1m], emit: [value, age] }\n"
                                "  heat:    { entity: creator, aggregate: decayed, half_life: 10m }\n"
                                "  fame:    { entity: creator, aggregate: count, windows: [1m] }\n",
                                (struct agg_dedupe){.ids = 32, .horizon_ms = 600000});
    const struct agg_plan *plan = node_plan(&node, "", names, 3);

    (void)state;
    assert_int_equal(plan->item_step_count, 2);
    for (int i = 0; i < plan->item_step_count; i++)
        assert_false(plan->item_steps[i].finished.is_kept);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_say_what_the_entities_do_in_every_second),
        cmocka_unit_test(an_event_from_ahead_counts_when_its_second_comes),
        cmocka_unit_test(what_depends_on_the_very_moment_is_never_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
