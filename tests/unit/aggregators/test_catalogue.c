#include "node.h"

#define ENTITIES "entities:\n  user: { key: [user_id] }\n  item: { key: [item_id] }\n  user_item: { key: [item_id, user_id] }\n"
#define FEATURES "features:\n  likes: { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
#define ODD(text) ENTITIES FEATURES "  odd: " text "\n"

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};

/* What is told of a configuration. */
static void check_told(const char *text, const char *expected)
{
    struct fr_diagnostics diagnostics;
    struct agg_catalogue *catalogue;
    char told[8192];

    fr_diagnostics_init(&diagnostics, "f.yaml");
    catalogue = catalogue_of(text, &dedupe, &diagnostics);
    snprintf(told, sizeof told, "%.*s", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes);
    if (catalogue || !strstr(told, expected))
        fail_msg("told '%s', should be '%s'", told, expected);
    fr_diagnostics_fini(&diagnostics);
}

static void mistakes_name_their_place_and_the_mend(void **state)
{
    static const char *const cases[][2] = {
        {FEATURES, "f.yaml:1:1: entities: missing"},
        {ENTITIES, "f.yaml:1:1: features: missing"},
        {"entities: {}\n" FEATURES, "f.yaml:1:11: entities: empty"},
        {"entities: [a]\n" FEATURES, "f.yaml:1:11: entities: should be a map"},
        {"entities: { 1a: { key: [user_id] } }\n" FEATURES, "f.yaml:1:13: entities: '1a' is no name"},
        {"entities: { a: { key: [itm_id] } }\n" FEATURES, "f.yaml:1:24: entities.a.key: 'itm_id' names nothing; use item_id"},
        {"entities: { a: { key: [event_id] } }\n" FEATURES, "f.yaml:1:24: entities.a.key: 'event_id' names nothing"},
        {"entities: { a: { key: item_id } }\n" FEATURES, "f.yaml:1:23: entities.a.key: should be a list of 1 to 3"},
        {"entities: { a: { key: [item_id, item_id] } }\n" FEATURES, "f.yaml:1:33: entities.a.key: 'item_id' twice"},
        {"entities: { a: {} }\n" FEATURES, "f.yaml:1:13: entities.a: key: missing"},
        {"entities: { item: { key: [item_id], parent: itm } }\n" FEATURES,
         "f.yaml:1:45: entities.item.parent: unknown entity 'itm'; "
         "did you mean 'item'?"},
        {"entities: { item: { key: [item_id], parent: item } }\n" FEATURES, "goes in a circle"},
        {"entities: { item: { key: [item_id], retention: soon } }\n" FEATURES, "f.yaml:1:48: retention: 'soon'"},
        {"entities: { item: { key: [item_id], retension: 1d } }\n" FEATURES,
         "unknown key 'retension'; did you mean 'retention'?"},
        {ODD("{ entity: itme, aggregate: count, windows: [1h] }"),
         "f.yaml:7:18: features.odd.entity: unknown name 'itme'; did you mean "
         "'item'?"},
        {ODD("{ aggregate: count, windows: [1h] }"), "f.yaml:7:3: features.odd.entity: missing"},
        {ODD("{ entity: item, windows: [1h] }"), "f.yaml:7:3: features.odd.aggregate: missing; say what to make of the events"},
        {ODD("{ entity: item, aggregate: conut, windows: [1h] }"),
         "f.yaml:7:35: features.odd.aggregate: unknown name 'conut'; did you mean 'count'?"},
        {ODD("{ entity: item, aggregate: cuont, windows: [1h] }"), "unknown name 'cuont'; did you mean 'count'?"},
        {ODD("{ entity: item, aggregate: count }"), "f.yaml:7:3: features.odd.windows: missing"},
        {ODD("{ entity: item, aggregate: count, windows: 1h }"), "features.odd.windows: should be a list"},
        {ODD("{ entity: item, aggregate: count, windows: [1h, 10s] }"),
         "f.yaml:7:56: features.odd.windows: '10s' is no window; use whole "
         "seconds, at least 24s"},
        {ODD("{ entity: item, aggregate: count, windows: [60s, 1m] }"), "features.odd.windows: '1m' is there already"},
        {ODD("{ entity: item, aggregate: count, windows: [1h], window: 1h }"), "unknown key 'window'; did you mean 'windows'?"},
        {ODD("{ entity: item, aggregate: count, windows: [1h], of: value }"), "features.odd.of: count"},
        {ODD("{ entity: item, aggregate: count, windows: [1h], limit: 3 }"), "features.odd.limit: count has none"},
        {ODD("{ entity: item, aggregate: count, windows: [1h], emit: [sd] }"),
         "features.odd.emit: count has no sd; take it out"},
        {ODD("{ entity: item, aggregate: count, windows: [1h], emit: [n, N] }"), "features.odd.emit: 'n' twice"},
        {ODD("{ entity: item, aggregate: decayed }"), "features.odd.half_life: missing"},
        {ODD("{ entity: item, actions: [like], aggregate: decayed, half_life: 1m, weights: { gift: 2 } }"),
         "features.odd.weights: 'gift' is none of its actions"},
        {ODD("{ entity: item, aggregate: decayed, half_life: 1m, weights: { gift: 0 } }"), "out of range"},
        {ODD("{ entity: item, aggregate: quantile, windows: [1h] }"), "features.odd.q: missing"},
        {ODD("{ entity: item, aggregate: quantile, q: 1.5, windows: [1h] }"), "out of range; use 0 to 1"},
        {ODD("{ entity: item, aggregate: quantile, q: nan, windows: [1h] }"), "q: 'nan'"},
        {ODD("{ entity: item, aggregate: quantile, q: 0.5, of: user_id, windows: [1h] }"), "unknown name 'user_id'"},
        {ODD("{ entity: item, aggregate: distinct, of: value, windows: [1h] }"), "features.odd.of: unknown name 'value'"},
        {ODD("{ entity: item, aggregate: distinct, windows: [5s] }"), "use whole seconds, at least 6s"},
        {ODD("{ entity: item, aggregate: distinct, q: 0.5, windows: [1h] }"), "features.odd.q: distinct has none"},
        {ODD("{ entity: item, aggregate: gauge, timeout: 10m }"), "f.yaml:7:3: features.odd.up: missing"},
        {ODD("{ entity: item, aggregate: gauge, up: [like], actions: [watch], timeout: 10m }"), "odd.actions: gauge has none"},
        {ODD("{ entity: item, aggregate: gauge, up: [liek], timeout: 10m }"),
         "odd.up: unknown name 'liek'; did you mean 'like'?"},
        {ODD("{ entity: item, aggregate: gauge, up: [like, watch], down: [watch], timeout: 10m }"),
         "features.odd.down: an action"},
        {ODD("{ entity: item, aggregate: gauge, up: [like] }"), "f.yaml:7:3: features.odd.timeout: missing"},
        {ODD("{ entity: item, aggregate: gauge, up: [like], timeout: 10s }"), "features.odd.timeout: should be at least 24s"},
        {ODD("{ entity: item, aggregate: gauge, up: [like], timeout: 1m, emit: [n] }"), "features.odd.emit: gauge has no n"},
        {ODD("{ entity: item, aggregate: series, bins: 3 }"), "f.yaml:7:3: features.odd.bin: missing"},
        {ODD("{ entity: item, aggregate: series, bin: 1500ms, bins: 3 }"),
         "features.odd.bin: should be a span of whole seconds"},
        {ODD("{ entity: item, aggregate: series, bin: 10s }"), "f.yaml:7:3: features.odd.bins: missing"},
        {ODD("{ entity: item, aggregate: series, bin: 10s, bins: 0 }"), "bins: '0' is out of range"},
        {ODD("{ entity: item, aggregate: sum, of: user_id, windows: [1h] }"), "features.odd.of: unknown name 'user_id'"},
        {ODD("{ entity: item, actions: [wach], aggregate: count, windows: [1h] }"),
         "f.yaml:7:34: features.odd.actions: unknown name 'wach'; "
         "did you mean 'watch'?"},
        {ODD("{ entity: item, actions: [like, LIKE], aggregate: count, windows: [1h] }"), "features.odd.actions: 'like' twice"},
        {ODD("{ entity: item, actions: watch, aggregate: count, windows: [1h] }"), "should be a list of names"},
        {ODD("{ entity: item, scenes: [life], aggregate: count, windows: [1h] }"), "did you mean 'live'?"},
        {ODD("{ entity: item, where: 'valeu > 3', aggregate: count, windows: [1h] }"),
         "f.yaml:7:31: features.odd.where: at character 1: unknown field 'valeu'; did you mean 'value'?"},
        {ODD("{ entity: user, aggregate: last, fields: [item_id] }"), "f.yaml:7:3: features.odd.limit: missing"},
        {ODD("{ entity: user, aggregate: last, limit: 0, fields: [item_id] }"), "f.yaml:7:48: limit: '0' is out of range"},
        {ODD("{ entity: user, aggregate: last, limit: 3 }"), "features.odd.fields: missing"},
        {ODD("{ entity: user, aggregate: last, limit: 3, fields: [itm_id] }"),
         "unknown name 'itm_id'; did you mean 'item_id'?"},
        {ODD("{ entity: user, aggregate: last, limit: 3, fields: [text] }"), "unknown name 'text'"},
        {ODD("{ entity: user, aggregate: last, limit: 3, fields: [item_id, item_id] }"), "'item_id' twice"},
        {ODD("{ entity: user, aggregate: last, limit: 3, fields: [item_id], windows: [1h] }"), "last has none"},
        {ODD("3"), "f.yaml:7:8: features.odd: should be a map"},
        {ENTITIES FEATURES "lists: { trending: { of: item } }\n", "f.yaml:7:10: lists.trending.rank: missing"},
        {ENTITIES FEATURES "feature_sets: { a: { item: [likez] } }\n",
         "f.yaml:7:29: feature_sets.a.item: unknown feature 'likez'; did "
         "you mean 'likes'?"},
        {ENTITIES FEATURES "feature_sets: { a: { user: [likes] } }\n", "list it under 'item'"},
        {ENTITIES FEATURES "feature_sets: { a: { item: [likes, likes] } }\n", "'likes' twice"},
        {ENTITIES FEATURES "feature_sets: { a: { item: [likes.5m] } }\n",
         "unknown column 'likes.5m'; did you mean 'likes.1h'?"},
        {ENTITIES FEATURES "feature_sets: { a: { itms: [likes] } }\n", "unknown key 'itms'; use one of user, item, cross"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_told(cases[i][0], cases[i][1]);
}

static void all_mistakes_are_told_at_once(void **state)
{
    struct fr_diagnostics diagnostics;

    (void)state;
    fr_diagnostics_init(&diagnostics, "f.yaml");
    assert_null(catalogue_of(ODD("{ entity: itme, actions: [wach], where: 'a', aggregate: count, windows: [1x] }"), &dedupe,
                             &diagnostics));
    assert_int_equal(diagnostics.count, 4);
    fr_diagnostics_fini(&diagnostics);
}

static void the_user_of_a_key_goes_first(void **state)
{
    struct agg_catalogue *catalogue = catalogue_good(ENTITIES FEATURES, &dedupe);

    (void)state;
    assert_int_equal(catalogue->entities[2]->key[0], PROTO_FIELD_USER_ID);
    assert_int_equal(catalogue->entities[2]->key[1], PROTO_FIELD_ITEM_ID);
    assert_string_equal(catalogue->entities[2]->key_names[0], "item_id");
    agg_catalogue_free(catalogue);
}

static void without_a_user_there_is_a_hidden_one_for_duplicates(void **state)
{
    struct agg_catalogue *catalogue = catalogue_good("entities: { item: { key: [item_id] } }\n" FEATURES, &dedupe);

    (void)state;
    assert_int_equal(catalogue->visible_count, 1);
    assert_int_equal(catalogue->entity_count, 3); /* and what is recent */
    assert_true(catalogue->user->is_hidden && catalogue->user->has_dedupe);
    agg_catalogue_free(catalogue);
}

static void defaults_are_those_of_the_contract(void **state)
{
    struct agg_catalogue *catalogue = catalogue_good(ODD("{ entity: item, aggregate: sum, windows: [5m] }"), &dedupe);
    const struct agg_feature *odd = catalogue->features[1];

    (void)state;
    assert_int_equal(catalogue->item->retention_ms, INT64_C(30) * 86400000);
    assert_int_equal(odd->of, PROTO_FIELD_VALUE);
    assert_int_equal(odd->actions, UINT32_MAX);
    assert_string_equal(odd->columns[0], "odd.5m");
    agg_catalogue_free(catalogue);
}

static void a_record_is_no_wider_than_its_last_field(void **state)
{
    struct agg_catalogue *catalogue =
        catalogue_good(ODD("{ entity: user, aggregate: last, limit: 3, fields: [item_id, ts_ms] }"), &dedupe);

    (void)state;
    assert_int_equal(catalogue->features[1]->order_words, 4); /* ts_ms, event_id, action, item_id */
    agg_catalogue_free(catalogue);
}

static void the_estimate_names_every_entity_and_feature(void **state)
{
    struct agg_catalogue *catalogue =
        catalogue_good(ODD("{ entity: user, aggregate: last, limit: 100, fields: [item_id] }"), &dedupe);
    struct fr_buffer text;

    (void)state;
    fr_buffer_init(&text);
    agg_catalogue_estimate(catalogue, &text);
    fr_buffer_append_byte(&text, 0);
    assert_non_null(strstr((char *)text.bytes, "user: "));
    assert_non_null(strstr((char *)text.bytes, "item: "));
    assert_non_null(strstr((char *)text.bytes, "likes"));
    assert_non_null(strstr((char *)text.bytes, "3200 B in memory"));
    fr_buffer_fini(&text);
    agg_catalogue_free(catalogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_name_their_place_and_the_mend),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(the_user_of_a_key_goes_first),
        cmocka_unit_test(without_a_user_there_is_a_hidden_one_for_duplicates),
        cmocka_unit_test(defaults_are_those_of_the_contract),
        cmocka_unit_test(a_record_is_no_wider_than_its_last_field),
        cmocka_unit_test(the_estimate_names_every_entity_and_feature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
