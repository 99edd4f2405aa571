/* Tables: rows come and go with their records, are joined to events as these are applied, and show in the rows of items at once. */
#include "node.h"
#include "tables.h"

#include <freshet/idset.h>
#include <freshet/text.h>

#include <math.h>

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t start = INT64_C(1700000000000);

enum { WATCH = 3, LIKE = 4 };

#define TABLES "tables: { info: { topic: t, key: item_id, fields: [tags, language, price, stock], off_when: 'stock == 0' } }\n"
#define CATALOGUE                                                                                                              \
    TABLES "entities: { user: { key: [user_id] }, item: { key: [item_id] }, tag: { key: [info.tags] },\n"                      \
           "            language: { key: [info.language] }, user_tag: { key: [info.tags, user_id] } }\n"                       \
           "features: { watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] },\n"                       \
           "            dear: { entity: item, where: \"info.price > 10 and info.language == 'en'\", aggregate: count,\n"       \
           "                    windows: [1h] },\n"                                                                            \
           "            foreign: { entity: user, where: \"info.language not in ['en', 'fr'] and info.tags != 'cats'\",\n"      \
           "                       aggregate: count, windows: [1h] },\n"                                                       \
           "            catty: { entity: user, where: 'info.tags == cats', aggregate: count, windows: [1h] },\n"               \
           "            tag_watches: { entity: tag, actions: [watch], aggregate: count, windows: [1h] },\n"                    \
           "            tag_likes: { entity: tag, actions: [like], aggregate: count, windows: [1h] },\n"                       \
           "            tag_rate: { entity: tag, aggregate: ratio, of: [tag_likes, tag_watches], windows: [1h] },\n"           \
           "            language_watches: { entity: language, actions: [watch], aggregate: count, windows: [1h] },\n"          \
           "            affinity: { entity: user_tag, actions: [watch], aggregate: count, windows: [1h] },\n"                  \
           "            heat: { entity: item, actions: [watch], aggregate: decayed, half_life: 1d } }\n"                       \
           "lists: { hot: { of: item, rank: heat, scopes: [global], limit: 10 } }\n"

/* The record as its topic would have it; NULL: a tombstone. */
static enum proto_verdict tell(struct node *node, const char *key, const char *json)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_table_info info = agg_table_at(node->agg, 0);
    struct agg_table_tally tally = {0};
    struct agg_table_row row = {.table = 0};
    struct store_visit visit = store_visit_enter(node->store);
    enum proto_verdict verdict;
    struct fr_err err;

    verdict =
        proto_table_read(info.layout, fr_slice_of(key), json ? fr_slice_of(json) : fr_slice(NULL, 0), arena, &row.row, &err);
    if (verdict == PROTO_EVENT) {
        assert_true(agg_table_rows_load(node->agg, &row, 1, &err));
        store_gate_enter(node->store);
        assert_true(agg_table_rows_apply(node->agg, &row, 1, &tally, &err));
        store_gate_leave(node->store);
        assert_int_equal(tally.changed + tally.same + tally.deleted + tally.unknown, 1);
    }
    store_visit_leave(node->store, visit);
    fr_arena_free(arena);
    return verdict;
}

static void happen(struct node *node, uint32_t action, uint64_t user, uint64_t item)
{
    node_apply_one(node, (struct proto_event){.action = action, .ts_ms = start, .user_id = user, .item_id = item}, start);
}

static float value(struct node *node, const char *name, uint64_t item)
{
    return node_value(node, name, 7, item, start);
}

static void a_row_is_what_its_latest_record_says(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    assert_true(value(&node, "info.price", 1) == 0);
    assert_int_equal(tell(&node, "1", "{\"price\":12.5,\"stock\":3}"), PROTO_EVENT);
    assert_true(value(&node, "info.price", 1) == 12.5f);
    assert_int_equal(tell(&node, "1", "{\"price\":9}"), PROTO_EVENT);
    assert_true(value(&node, "info.price", 1) == 9);
    assert_true(value(&node, "info.stock", 1) == 0); /* a record says all of its row */
    node_commit(&node);
    node_restart(&node);
    assert_true(value(&node, "info.price", 1) == 9);
    assert_int_equal(tell(&node, "1", NULL), PROTO_EVENT);
    assert_int_equal(tell(&node, "2", NULL), PROTO_EVENT);
    node_commit(&node);
    node_restart(&node);
    assert_true(value(&node, "info.price", 1) == 0);
    node_free(&node);
}

static void what_is_bad_is_told_and_changes_nothing(void **state)
{
    static const struct {
        const char *key, *json;
        enum proto_verdict verdict;
    } cases[] = {
        {"", "{}", PROTO_BAD_KEY},
        {"0", "{}", PROTO_BAD_KEY},
        {"\xff", "{}", PROTO_BAD_KEY},
        {"1", "", PROTO_EMPTY},
        {"1", "[1]", PROTO_BAD_JSON},
        {"1", "{\"price\":", PROTO_BAD_JSON},
        {"1", "{\"price\":true}", PROTO_BAD_JSON},
        {"1", "{\"price\":\"dear\"}", PROTO_BAD_JSON},
        {"1", "{\"price\":1e13}", PROTO_BAD_VALUE},
        {"1", "{\"price\":\"NaN\"}", PROTO_BAD_VALUE},
        {"1", "{\"language\":[\"en\"]}", PROTO_BAD_JSON},
        {"1", "{\"language\":-1}", PROTO_BAD_JSON},
        {"1", "{\"tags\":\"cats\"}", PROTO_BAD_JSON},
        {"1", "{\"tags\":[{}]}", PROTO_BAD_JSON},
        {"1", "{\"tags\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", PROTO_BAD_VALUE},
    };
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    tell(&node, "1", "{\"price\":5}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (tell(&node, cases[i].key, cases[i].json) != cases[i].verdict)
            fail_msg("'%s' %s is not %s", cases[i].key, cases[i].json, proto_verdict_name(cases[i].verdict));
        assert_true(value(&node, "info.price", 1) == 5);
    }
    assert_int_equal(
        tell(&node, "1", "{\"price\":null,\"price\":\"6\",\"more\":{\"of\":[1]},\"tags\":[null,\"\",\"a\",\"a\"]}"),
        PROTO_EVENT);
    assert_true(value(&node, "info.price", 1) == 6);
    node_free(&node);
}

static void conditions_see_the_row_as_it_is_when_the_event_comes(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    happen(&node, WATCH, 7, 1); /* nothing is known of it: no comparison holds */
    tell(&node, "1", "{\"price\":12,\"language\":\"en\",\"tags\":[\"dogs\",\"cats\"]}");
    happen(&node, WATCH, 7, 1);
    tell(&node, "1", "{\"price\":12,\"language\":\"de\",\"tags\":[\"dogs\"]}");
    happen(&node, WATCH, 7, 1);
    tell(&node, "1", NULL);
    happen(&node, WATCH, 7, 1);
    assert_true(value(&node, "watches.1h", 1) == 4);
    assert_true(value(&node, "dear.1h", 1) == 1);
    assert_true(value(&node, "catty.1h", 1) == 1);
    assert_true(value(&node, "foreign.1h", 1) == 1); /* of what is absent nothing holds, denied or not */
    node_free(&node);
}

static void an_event_counts_for_each_tag_of_its_item(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    tell(&node, "1", "{\"language\":\"en\",\"tags\":[\"a\",\"b\",\"c\"]}");
    tell(&node, "2", "{\"language\":\"en\",\"tags\":[\"c\"]}");
    tell(&node, "3", "{\"language\":\"fr\",\"tags\":[\"b\"]}");
    happen(&node, WATCH, 7, 1);
    happen(&node, WATCH, 7, 2);
    happen(&node, WATCH, 8, 3);
    happen(&node, LIKE, 8, 3);
    assert_true(value(&node, "tag_watches.1h", 1) == 2); /* the greatest of a: 1, b: 2, c: 2 */
    assert_true(value(&node, "tag_watches.1h", 3) == 2);
    assert_true(value(&node, "tag_watches.1h", 4) == 0);
    assert_true(value(&node, "tag_rate.1h", 1) == 0.5f); /* of b; of others 0 */
    assert_true(value(&node, "tag_rate.1h", 2) == 0);
    assert_true(value(&node, "affinity.1h", 1) == 2); /* of user 7 and c */
    assert_true(value(&node, "affinity.1h", 3) == 1);
    assert_true(value(&node, "language_watches.1h", 2) == 2);
    assert_true(value(&node, "language_watches.1h", 3) == 1);
    node_commit(&node);
    node_restart(&node);
    assert_true(value(&node, "affinity.1h", 1) == 2);
    node_free(&node);
}

static void fields_and_lists_of_items_are_ids(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);
    char *names[] = {"info"};
    uint64_t items[] = {1, 2, 1};
    struct agg_request request = {.user_id = 7, .item_ids = items, .item_count = 3, .time_ms = start};
    const char *const *columns;
    struct agg_reply reply;

    (void)state;
    tell(&node, "1", "{\"language\":\"en\",\"tags\":[\"a\",42],\"price\":3}");
    reply = node_read(&node, node_plan(&node, "", names, 1), &request);
    assert_int_equal(agg_plan_item_columns(node_plan(&node, "", names, 1), &columns), 2);
    assert_string_equal(columns[0], "info.price");
    assert_true(reply.item_values[0] == 3 && reply.item_values[2] == 0 && reply.item_values[4] == 3);
    assert_false(reply.item_present[0]); /* a row is no event */
    assert_string_equal(reply.item_fields[0].name, "info.language");
    assert_true(reply.item_fields[0].ids[0] == fr_text_hash("en", 2, 0) && reply.item_fields[0].ids[1] == 0);
    assert_int_equal(reply.sequence_count, 2);
    assert_string_equal(reply.sequences[0].name, "info.tags");
    assert_int_equal(reply.sequences[0].row_count, 2);
    assert_int_equal(reply.sequences[0].fields[0].count, 2);
    assert_true(reply.sequences[0].fields[0].ids[1] == 42);
    assert_int_equal(reply.sequences[1].fields[0].count, 0);
    node_free(&node);
}

static uint32_t hot(struct node *node)
{
    struct agg_recall ask = {.name = "hot", .scope = "", .time_ms = start};
    struct agg_candidates candidates;
    struct fr_err err;

    fr_arena_reset(node->arena, 1 << 20);
    if (!agg_recall_trending(node->agg, &ask, node->arena, &candidates, &err))
        fail_msg("%s", err.message);
    return candidates.count;
}

static void what_is_out_of_stock_is_left_out_at_once(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    happen(&node, WATCH, 7, 1);
    happen(&node, WATCH, 7, 2);
    assert_int_equal(hot(&node), 2);
    tell(&node, "1", "{\"price\":3}"); /* nobody said how many there are */
    assert_int_equal(hot(&node), 2);
    tell(&node, "1", "{\"stock\":0}");
    assert_int_equal(hot(&node), 1);
    tell(&node, "1", "{\"stock\":1}");
    assert_int_equal(hot(&node), 2);
    node_free(&node);
}

static struct agg_digest digest_all(struct node *node, bool is_all)
{
    struct agg_digest digest;
    struct fr_err err;

    node_commit(node);
    if (!agg_digest(node->agg, start, is_all, &digest, &err))
        fail_msg("%s", err.message);
    return digest;
}

static void the_digest_is_of_rows_and_not_of_when_they_came(void **state)
{
    struct node early = node_new(CATALOGUE, dedupe), late = node_new(CATALOGUE, dedupe);

    (void)state;
    tell(&early, "1", "{\"price\":12,\"language\":\"en\",\"tags\":[\"a\"]}");
    happen(&early, WATCH, 7, 1);
    happen(&late, WATCH, 7, 1);
    assert_false(digest_equal(digest_all(&early, false), digest_all(&late, false)));
    tell(&late, "1", "{\"price\":11,\"language\":\"en\",\"tags\":[\"a\"]}");
    tell(&late, "1", "{\"tags\":[\"a\"],\"price\":12,\"language\":\"en\"}");
    assert_true(digest_equal(digest_all(&early, false), digest_all(&late, false)));
    assert_true(digest_all(&early, true).lists[0] != digest_all(&late, true).lists[0]);
    node_free(&early);
    node_free(&late);
}

static void a_table_that_changed_starts_empty(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);
    uint64_t generation = agg_table_at(node.agg, 0).generation;

    (void)state;
    tell(&node, "1", "{\"price\":12}");
    node_commit(&node);
    node_restart_with(&node, "tables: { info: { topic: t, fields: { price: integer } } }\n"
                             "entities: { item: { key: [item_id] } }\n"
                             "features: { watches: { entity: item, aggregate: count, windows: [1h] } }\n");
    assert_true(agg_table_at(node.agg, 0).generation != generation);
    assert_true(value(&node, "info.price", 1) == 0);
    tell(&node, "1", "{\"price\":2}");
    node_commit(&node);
    for (struct agg_sweep sweep = {0}; sweep.passes == 0;) {
        struct fr_err err;

        if (!agg_sweep(node.agg, &sweep, start, 100, &err))
            fail_msg("%s", err.message);
        if (sweep.passes > 0)
            assert_int_equal(sweep.forgotten, 1); /* the old table's row */
    }
    assert_true(value(&node, "info.price", 1) == 2);
    node_free(&node);
}

static void a_user_who_is_forgotten_leaves_his_tags_and_no_row(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);
    struct agg_forgotten forgotten = {0};
    struct fr_err err;

    (void)state;
    tell(&node, "1", "{\"price\":1,\"tags\":[\"a\",\"b\"]}");
    node_apply_one(&node, (struct proto_event){.action = WATCH, .ts_ms = start, .user_id = 1, .item_id = 1}, start);
    node_commit(&node);
    if (!agg_forget_user(node.agg, 1, &forgotten, &err))
        fail_msg("%s", err.message);
    assert_int_equal(forgotten.entities, 3); /* himself, and two tags */
    assert_true(node_value(&node, "affinity.1h", 1, 1, start) == 0);
    assert_true(value(&node, "info.price", 1) == 1);
    node_free(&node);
}

/* ---- tables that block ---- */

#define BLOCKING                                                                                                               \
    "tables: { items: { topic: i, blocks: true }, users: { topic: u, key: user_id, blocks: true },\n"                          \
    "          more: { topic: m, fields: [], blocks: true } }\n"                                                               \
    "entities: { user: { key: [user_id] }, item: { key: [item_id] } }\n"                                                       \
    "features: { watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] },\n"                              \
    "            heat: { entity: item, actions: [watch], aggregate: decayed, half_life: 1d } }\n"                              \
    "lists: { hot: { of: item, rank: heat, scopes: [global], limit: 10 } }\n"

/* A row of that table, or its tombstone. */
static struct agg_table_tally say(struct node *node, int table, uint64_t id, bool is_there)
{
    const uint64_t words[1] = {0};
    struct agg_table_row row = {.row = {.id = id, .words = words, .word_count = is_there}, .table = table};
    struct store_visit visit = store_visit_enter(node->store);
    struct agg_table_tally tally = {0};
    struct fr_err err;

    assert_true(agg_table_rows_load(node->agg, &row, 1, &err));
    store_gate_enter(node->store);
    assert_true(agg_table_rows_apply(node->agg, &row, 1, &tally, &err));
    store_gate_leave(node->store);
    store_visit_leave(node->store, visit);
    return tally;
}

static bool is_blocked(struct node *node, uint64_t item)
{
    return agg_is_blocked(node->agg, AGG_BLOCKED_ITEM, item);
}

static void whoever_has_a_row_is_blocked_until_its_tombstone_and_after_a_restart(void **state)
{
    struct node node = node_new(BLOCKING, dedupe);

    (void)state;
    happen(&node, WATCH, 7, 1);
    happen(&node, WATCH, 7, 2);
    assert_false(agg_is_blocking(node.agg, AGG_BLOCKED_ITEM));
    assert_int_equal(say(&node, 0, 1, true).changed, 1);
    assert_int_equal(say(&node, 0, 1, true).same, 1);
    assert_int_equal(say(&node, 1, 7, true).changed, 1);
    assert_true(is_blocked(&node, 1) && !is_blocked(&node, 2) && !is_blocked(&node, 7));
    assert_true(agg_is_blocked(node.agg, AGG_BLOCKED_USER, 7) && !agg_is_blocking(node.agg, AGG_BLOCKED_ROOM));
    assert_int_equal(hot(&node), 1);
    node_commit(&node);
    assert_int_equal(say(&node, 0, 2, true).changed, 1); /* of an epoch that does not come */
    node_restart(&node);
    assert_true(is_blocked(&node, 1) && !is_blocked(&node, 2) && agg_is_blocked(node.agg, AGG_BLOCKED_USER, 7));
    assert_int_equal(agg_table_at(node.agg, 0).blocked, 1);
    assert_int_equal(say(&node, 0, 1, false).deleted, 1);
    assert_int_equal(say(&node, 0, 2, false).unknown, 1);
    assert_false(is_blocked(&node, 1));
    assert_int_equal(hot(&node), 2);
    node_commit(&node);
    node_restart(&node);
    assert_false(is_blocked(&node, 1));
    node_free(&node);
}

static void one_list_does_not_let_in_what_another_keeps_out(void **state)
{
    struct node node = node_new(BLOCKING, dedupe);
    const struct fr_idset *sets[AGG_BLOCKED_KINDS] = {NULL};
    struct fr_idset *by_people = fr_idset_new(8);

    (void)state;
    sets[AGG_BLOCKED_ITEM] = by_people;
    agg_block(node.agg, sets);
    assert_true(fr_idset_put(by_people, 1, true));
    (void)say(&node, 0, 1, true);
    (void)say(&node, 2, 1, true);
    assert_true(fr_idset_put(by_people, 1, false));
    assert_true(is_blocked(&node, 1) && agg_is_blocked_by_table(node.agg, AGG_BLOCKED_ITEM, 1));
    (void)say(&node, 0, 1, false);
    assert_true(is_blocked(&node, 1));
    assert_true(fr_idset_put(by_people, 1, true));
    (void)say(&node, 2, 1, false);
    assert_true(is_blocked(&node, 1) && !agg_is_blocked_by_table(node.agg, AGG_BLOCKED_ITEM, 1));
    node_free(&node);
    fr_idset_free(by_people);
}

static void a_row_that_finds_no_room_is_told_and_blocks_after_a_restart(void **state)
{
    struct node node = node_new(BLOCKING, dedupe);
    struct fr_idset *set = node.agg->catalogue->tables[0].blocked;

    (void)state;
    for (uint64_t id = 1; id <= AGG_TABLE_BLOCKED_MOST; id++)
        assert_true(fr_idset_put(set, id << 8, true));
    assert_int_equal(say(&node, 0, 3, true).left_out, 1);
    assert_int_equal(say(&node, 0, 3, true).left_out, 1);
    assert_int_equal(say(&node, 0, 5 << 8, true).left_out, 0);
    assert_false(is_blocked(&node, 3));
    node_commit(&node);
    node_restart(&node);
    assert_true(is_blocked(&node, 3) && is_blocked(&node, 5 << 8) && !is_blocked(&node, 6 << 8));
    assert_int_equal(agg_table_at(node.agg, 0).left_out, 0);
    node_free(&node);
}

static void mistakes_are_told_where_they_are(void **state)
{
#define REST "\nentities: { item: { key: [item_id] } }\nfeatures: { n: { entity: item, aggregate: count, windows: [1h] } }\n"
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"tables: { t: { topic: a, fields: [x, x] } }" REST, "'x' twice"},
        {"tables: { t: { topic: a } }" REST, "tables.t.fields: missing"},
        {"tables: { t: { fields: [x] } }" REST, "tables.t.topic: names a topic"},
        {"tables: { t: { topic: a, fields: { x: nmber } } }" REST, "did you mean 'number'"},
        {"tables: { t: { topic: a, key: user_id, fields: [x] } }" REST, "user_id is for tables with blocks: true"},
        {"tables: { t: { topic: a, key: category_id, blocks: true } }" REST,
         "what is blocked is an item, a room, a creator or a user"},
        {"tables: { t: { topic: a, blocks: true, fields: [reason] } }" REST, "what blocks has none"},
        {"tables: { t: { topic: a, blocks: true, off_when: 'x == 0' } }" REST, "is a block"},
        {"tables: { t: { topic: a, blocks: true } }" REST "feature_sets: { s: { item: [t] } }\n", "feature_sets.s.item"},
        {"tables: { t: { topic: a, fields: [x], off_when: 'y == 0' } }" REST, "t has no field 'y'; did you mean 'x'"},
        {"tables: { t: { topic: a, key: room_id, fields: [x], off_when: 'x == 0' } }" REST, "items are off"},
        {"tables: { n: { topic: a, fields: [x] } }" REST, "'n' is a feature, too"},
        {"tables: { t: { topic: a, fields: [x] }, u: { topic: a, fields: [x] } }" REST, "is that of t as well"},
        {"tables: { t: { topic: a, fields: [price] } }\nentities: { item: { key: [t.price] } }\n"
         "features: { n: { entity: item, aggregate: count, windows: [1h] } }\n",
         "'t.price' is a number"},
        {"tables: { t: { topic: a, fields: [price] } }\nentities: { item: { key: [item_id] } }\n"
         "features: { n: { entity: item, where: 't.prise > 1', aggregate: count, windows: [1h] } }\n",
         "did you mean 't.price'"},
        {"tables: { t: { topic: a, fields: [language] } }\nentities: { item: { key: [item_id] } }\n"
         "features: { n: { entity: item, where: 't.language > 1', aggregate: count, windows: [1h] } }\n",
         "use == or !="},
        {"tables: { t: { topic: a, fields: [tags] } }\nentities: { tag: { key: [t.tags] } }\n"
         "features: { n: { entity: tag, aggregate: last, limit: 3, fields: [item_id] } }\n",
         "by what a table lists"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fr_diagnostics diagnostics;

        fr_diagnostics_init(&diagnostics, "test.yaml");
        assert_null(catalogue_of(cases[i].text, &dedupe, &diagnostics));
        fr_buffer_append_byte(&diagnostics.text, 0);
        if (!strstr((const char *)diagnostics.text.bytes, cases[i].told))
            fail_msg("%s is not in %s", cases[i].told, (const char *)diagnostics.text.bytes);
        fr_diagnostics_fini(&diagnostics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_what_its_latest_record_says),
        cmocka_unit_test(what_is_bad_is_told_and_changes_nothing),
        cmocka_unit_test(conditions_see_the_row_as_it_is_when_the_event_comes),
        cmocka_unit_test(an_event_counts_for_each_tag_of_its_item),
        cmocka_unit_test(fields_and_lists_of_items_are_ids),
        cmocka_unit_test(what_is_out_of_stock_is_left_out_at_once),
        cmocka_unit_test(the_digest_is_of_rows_and_not_of_when_they_came),
        cmocka_unit_test(a_table_that_changed_starts_empty),
        cmocka_unit_test(a_user_who_is_forgotten_leaves_his_tags_and_no_row),
        cmocka_unit_test(whoever_has_a_row_is_blocked_until_its_tombstone_and_after_a_restart),
        cmocka_unit_test(one_list_does_not_let_in_what_another_keeps_out),
        cmocka_unit_test(a_row_that_finds_no_room_is_told_and_blocks_after_a_restart),
        cmocka_unit_test(mistakes_are_told_where_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
