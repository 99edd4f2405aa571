/* What a value is made of, with numbers that add up in the head. */
#include "node.h"

#define T0 INT64_C(1700006400000) /* a whole day */
enum { SECOND = 1000, MINUTE = 60 * SECOND, WATCH = 3, LIKE = 4, ENTER = 15 };

static const char catalogue[] =
    "entities:\n"
    "  user:         { key: [user_id] }\n"
    "  item:         { key: [item_id], parent: creator }\n"
    "  creator:      { key: [creator_id] }\n"
    "  user_creator: { key: [creator_id, user_id] }\n"
    "features:\n"
    "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h], emit: [value, age] }\n"
    "  likes:   { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
    "  seconds: { entity: item, actions: [watch], aggregate: sum, of: value, windows: [1h], emit: [value, n] }\n"
    "  mean:    { entity: item, actions: [watch], aggregate: mean, of: value, windows: [1h] }\n"
    "  least:   { entity: item, actions: [watch], aggregate: min, of: value, windows: [1h] }\n"
    "  heat:    { entity: item, actions: [watch], aggregate: decayed, half_life: 1m }\n"
    "  viewers: { entity: item, actions: [watch], aggregate: distinct, of: user_id, windows: [1h] }\n"
    "  median:  { entity: item, actions: [watch], aggregate: quantile, q: 0.5, of: value, windows: [1h] }\n"
    "  online:  { entity: item, aggregate: gauge, up: [watch], timeout: 1h }\n"
    "  pulse:   { entity: item, actions: [like, watch], aggregate: series, bin: 10m, bins: 3 }\n"
    "  drawn:   { entity: item, aggregate: ratio, of: [likes, watches], windows: [60m], prior: parent, strength: 2, emit: "
    "[value, age] }\n"
    "  recent:  { entity: user, actions: [watch, like], aggregate: last, limit: 2, fields: [item_id, value] }\n"
    "  similar: { entity: user, aggregate: last, of: recent, match: category_id, limit: 2 }\n"
    "  bond:    { entity: user_creator, actions: [watch], aggregate: count, windows: [1h] }\n";

static struct proto_event event(int64_t ts_ms, uint64_t user_id, uint32_t action, double value)
{
    struct proto_event made = {.event_id = (uint64_t)(ts_ms - T0) + user_id,
                               .ts_ms = ts_ms,
                               .user_id = user_id,
                               .item_id = 7,
                               .creator_id = 9,
                               .category_id = 3,
                               .action = action,
                               .value = value};

    return made;
}

/* Item 7 of creator 9: watched twice in one second and once ten minutes later, liked once then. */
static struct node node_made(void)
{
    struct node node = node_new(catalogue, (struct agg_dedupe){.ids = 32, .horizon_ms = 10 * MINUTE});

    node_apply_one(&node, event(T0, 5, WATCH, 3), 0);
    node_apply_one(&node, event(T0 + 500, 6, WATCH, 1), 0);
    node_apply_one(&node, event(T0 + 10 * MINUTE, 5, WATCH, 8), 0);
    node_apply_one(&node, event(T0 + 10 * MINUTE + 1, 5, LIKE, 0), 0);
    return node;
}

static bool ask(struct node *node, const char *entity, const uint64_t *key, int ids, const char *feature,
                struct agg_explanation *explanation, struct fr_err *err)
{
    struct agg_question question = {
        .entity = entity, .key = key, .key_count = ids, .feature = feature, .time_ms = T0 + 10 * MINUTE + 1};

    return agg_explain(node->agg, &question, node->arena, explanation, err);
}

static struct agg_explanation explain(struct node *node, const char *feature)
{
    static const uint64_t item[] = {7};
    struct agg_explanation explanation;
    struct fr_err err;

    if (!ask(node, "item", item, 1, feature, &explanation, &err))
        fail_msg("%s: %s", feature, err.message);
    return explanation;
}

static void is_near(double found, double right, double most)
{
    if (!(found >= right - most && found <= right + most))
        fail_msg("%.17g, not %.17g", found, right);
}

static void is_piece(const struct agg_piece *piece, int64_t start_ms, int64_t span_ms, double value, uint64_t count,
                     uint32_t windows)
{
    assert_int_equal(piece->start_ms, start_ms);
    assert_int_equal(piece->span_ms, span_ms);
    is_near(piece->value, value, 0);
    assert_int_equal(piece->count, count);
    assert_int_equal(piece->windows, windows);
}

static void check_counters(struct node *node)
{
    struct agg_explanation why = explain(node, "watches");

    assert_int_equal(why.column_count, 3);
    assert_string_equal(why.columns[0], "watches.1m");
    is_near(why.values[0], 1, 0);
    is_near(why.values[1], 3, 0);
    is_near(why.values[2], 0.001, 1e-9); /* the age */
    assert_true(why.self.is_present);
    assert_int_equal(why.self.latest_ms, T0 + 10 * MINUTE + 1);
    assert_int_equal(why.self.piece_count, 2);
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, SECOND, 1, 1, 3);
    is_piece(&why.self.pieces[1], T0, SECOND, 2, 2, 2);
    assert_int_equal(explain(node, "watches.1m").self.piece_count, 1);
    assert_int_equal(explain(node, "watches.1m").column_count, 1);

    why = explain(node, "seconds");
    is_near(why.values[0], 12, 0);
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, MINUTE, 8, 1, 1);
    is_piece(&why.self.pieces[1], T0, MINUTE, 4, 2, 1);
    why = explain(node, "mean");
    is_near(why.values[0], 4, 0);
    is_piece(&why.self.pieces[1], T0, MINUTE, 4, 2, 1);
    why = explain(node, "least");
    is_near(why.values[0], 1, 0);
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, MINUTE, 8, 0, 1);
    is_piece(&why.self.pieces[1], T0, MINUTE, 1, 0, 1);
}

static void panes_of_counters_add_up(void **state)
{
    struct node node = node_made();

    (void)state;
    check_counters(&node);
    node_free(&node);
}

static void what_only_the_disk_has_is_explained_too(void **state)
{
    struct node node = node_made();

    (void)state;
    node_commit(&node);
    node_restart(&node);
    check_counters(&node);
    node_free(&node);
}

static void merged_panes_are_told_as_they_lie(void **state)
{
    struct node node = node_made();
    struct agg_explanation why;

    (void)state;
    for (int i = 0; i < 16; i++) /* so many rows that their place is needed: only then do they merge */
        node_apply_one(&node, event(T0 + 10 * MINUTE + 1 - i * SECOND, 8, WATCH, 0), T0 + 10 * MINUTE);
    why = explain(&node, "watches");
    is_near(why.values[1], 19, 0);
    assert_int_equal(why.self.piece_count, 17);
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, SECOND, 2, 2, 3);
    is_piece(&why.self.pieces[16], T0, MINUTE, 2, 2, 2);
    node_free(&node);
}

static void blocks_of_a_decayed_sum_add_up(void **state)
{
    struct node node = node_made();
    struct agg_explanation why = explain(&node, "heat");

    (void)state;
    assert_int_equal(why.self.piece_count, 2); /* blocks of eight minutes */
    assert_int_equal(why.self.pieces[0].count, 1);
    assert_int_equal(why.self.pieces[1].count, 2);
    assert_int_equal(why.self.pieces[1].span_ms, 8 * MINUTE);
    is_near(why.self.pieces[0].value + why.self.pieces[1].value, why.values[0], 1e-6);
    is_near(why.self.pieces[1].value, 2.0 / 1024, 1e-4);
    node_free(&node);
}

static void cells_are_told_by_pane(void **state)
{
    struct node node = node_made();
    struct agg_explanation why = explain(&node, "viewers");

    (void)state;
    is_near(why.values[0], 2, 0);
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, 10 * MINUTE, 1, 0, 1);
    is_piece(&why.self.pieces[1], T0, 10 * MINUTE, 2, 0, 1);
    assert_string_equal(why.self.pieces[1].form, "exact");
    why = explain(&node, "median");
    is_near(why.self.pieces[0].value, 8, 0.08);
    assert_int_equal(why.self.pieces[1].count, 2);
    assert_string_equal(why.self.pieces[1].form, "buckets");
    why = explain(&node, "online");
    is_near(why.values[0], 2, 0);
    assert_int_equal(why.self.piece_count, 2);
    is_piece(&why.self.pieces[1], T0, MINUTE, 1, 0, 0); /* user 5 is on by his later event */
    why = explain(&node, "pulse");
    is_piece(&why.self.pieces[0], T0 + 10 * MINUTE, 10 * MINUTE, 2, 2, 0);
    assert_int_equal(why.sequence.field_count, 2);
    assert_int_equal(why.sequence.fields[1].ints[1], 2); /* watches of the bin before */
    node_free(&node);
}

static void a_crowded_pane_is_a_sketch(void **state)
{
    struct node node = node_made();
    struct agg_explanation why;

    (void)state;
    for (uint64_t user = 100; user < 300; user++)
        node_apply_one(&node, event(T0, user, WATCH, 1), 0);
    why = explain(&node, "viewers");
    assert_string_equal(why.self.pieces[1].form, "registers");
    is_near(why.self.pieces[1].value, 202, 10);
    node_free(&node);
}

static void a_ratio_is_told_by_its_operands(void **state)
{
    static const char *const of[] = {"own", "own", "parent", "parent", "all", "all"};
    static const char *const entities[] = {"item", "item", "creator", "creator", "", ""};
    struct node node = node_made();
    struct proto_event other = event(T0 + 10 * MINUTE, 11, WATCH, 1);
    struct agg_explanation why;
    double found;

    (void)state;
    other.item_id = 8;
    node_apply_one(&node, other, 0);
    why = explain(&node, "drawn");
    assert_int_equal(why.operand_count, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(why.operands[i].of, of[i]);
        assert_string_equal(why.operands[i].side, i % 2 == 0 ? "numerator" : "denominator");
        assert_string_equal(why.operands[i].feature.entity, entities[i]);
    }
    assert_int_equal(why.operands[2].ids[0], 9);
    assert_string_equal(why.operands[4].feature.name, "likes");
    assert_int_equal(why.operands[1].asked, 2); /* of watches.1m the ratio knows nothing */
    is_near(why.operands[1].values[1], 3, 0); /* watches.1h of the item */
    is_near(why.operands[3].values[0], 4, 0); /* of its creator */
    assert_int_equal(why.operands[1].piece_count, 2);
    is_near(why.priors[0], (1 + 2 * 0.25) / (4 + 2), 1e-12);
    is_near(why.values[0], (1 + 2 * 0.25) / (3 + 2), 1e-7);
    is_near(why.values[1], 0, 0); /* the age */
    found = why.values[0];
    is_near(found, (double)node_value(&node, "drawn.60m", 0, 7, T0 + 10 * MINUTE + 1), 0);
    node_free(&node);
}

static void a_sequence_is_told_by_its_events(void **state)
{
    static const uint64_t user[] = {5};
    struct node node = node_made();
    struct agg_explanation why;
    struct fr_err err;

    (void)state;
    assert_true(ask(&node, "user", user, 1, "recent", &why, &err));
    assert_int_equal(why.record_count, 2);
    assert_int_equal(why.records[0].action, LIKE);
    assert_int_equal(why.records[1].ts_ms, T0 + 10 * MINUTE);
    is_near(why.records[1].value, 8, 0);
    assert_int_equal(why.sequence.fields[0].ids[0], 7);
    assert_true(ask(&node, "user", user, 1, "similar", &why, &err));
    assert_string_equal(why.sequence.name, "recent");
    assert_int_equal(why.records[1].matched, 3);
    node_free(&node);
}

static void ids_come_in_the_order_of_the_configuration(void **state)
{
    static const uint64_t key[] = {9, 5}; /* creator, user */
    struct node node = node_made();
    struct agg_explanation why;
    struct fr_err err;

    (void)state;
    assert_true(ask(&node, "user_creator", key, 2, "bond", &why, &err));
    is_near(why.values[0], 2, 0);
    assert_int_equal(why.self.ids[0], 9);
    node_free(&node);
}

static void nobody_is_explained_as_never_seen(void **state)
{
    static const uint64_t item[] = {8};
    struct node node = node_made();
    struct agg_explanation why;
    struct fr_err err;

    (void)state;
    assert_true(ask(&node, "item", item, 1, "watches", &why, &err));
    assert_false(why.self.is_present);
    assert_int_equal(why.self.latest_ms, 0);
    assert_int_equal(why.self.piece_count, 0);
    is_near(why.values[1], 0, 0);
    is_near(why.values[2], -1, 0);
    assert_true(ask(&node, "item", item, 1, "drawn", &why, &err));
    assert_int_equal(why.operand_count, 6);
    is_near(why.values[0], 1.0 / 3, 1e-7); /* its parent is not known: all events' */
    node_free(&node);
}

static void a_wrong_question_names_what_is_near(void **state)
{
    static const uint64_t key[] = {7, 0};
    static const struct {
        const char *entity, *feature;
        int ids;
        const char *says;
    } wrong[] = {
        {"itm", "watches", 1, "did you mean 'item'"},
        {"item", "watchs", 1, "did you mean 'watches'"},
        {"item", "watches.5m", 1, "watches.1m"},
        {"user", "watches", 1, "watches is of entity item, not of user"},
        {"item", "watches", 2, "the key of item is item_id"},
        {"user_creator", "bond", 2, "creator_id/user_id"},
        {"(global)", "watches", 1, "unknown entity"},
    };
    struct node node = node_made();
    struct agg_explanation why;
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(ask(&node, wrong[i].entity, key, wrong[i].ids, wrong[i].feature, &why, &err));
        assert_int_equal(err.code, FR_BAD_INPUT);
        if (!strstr(err.message, wrong[i].says))
            fail_msg("'%s' does not say '%s'", err.message, wrong[i].says);
    }
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panes_of_counters_add_up),
        cmocka_unit_test(what_only_the_disk_has_is_explained_too),
        cmocka_unit_test(merged_panes_are_told_as_they_lie),
        cmocka_unit_test(blocks_of_a_decayed_sum_add_up),
        cmocka_unit_test(cells_are_told_by_pane),
        cmocka_unit_test(a_crowded_pane_is_a_sketch),
        cmocka_unit_test(a_ratio_is_told_by_its_operands),
        cmocka_unit_test(a_sequence_is_told_by_its_events),
        cmocka_unit_test(ids_come_in_the_order_of_the_configuration),
        cmocka_unit_test(nobody_is_explained_as_never_seen),
        cmocka_unit_test(a_wrong_question_names_what_is_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
