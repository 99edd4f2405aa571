/* The models' section: what it makes of a good one, how mistakes are told, and the rows that an outside program computes too. */
#include "fixture.h"

#include <freshet/text.h>

#include <math.h>
#include <stdio.h>

static void a_model_is_read_whole(void **state)
{
    struct fixture fixture;
    const struct learner_model *model;

    (void)state;
    fixture_init(&fixture, "bits: 20, factors: 4, dense: { item_watches: log, item_rate: raw }, "
                           "sparse: [user_id, item.creator_id, [user_id, item.category_id]], "
                           "tasks: { click: { actions: [click, like], window: 5m }, "
                           "buy: { actions: [purchase], policy: fnw, window: 1d, negatives: 0.1 } }, "
                           "blend: { Live: \"0.5 * click^2 * buy + 3*click\", default: buy }");
    model = &fixture.config->models[0];
    assert_int_equal(model->task_count, 2);
    assert_true(model->tasks[0].actions == (UINT64_C(1) << 2 | UINT64_C(1) << 4));
    assert_int_equal(model->tasks[1].policy, LEARNER_FNW);
    assert_int_equal(model->tasks[1].window_ms, 86400000);
    assert_true(model->tasks[1].negatives == 0.1);
    assert_int_equal(model->blends[1].term_count, 2);
    assert_true(model->blends[1].terms[0].coefficient == 0.5 && model->blends[1].terms[0].powers[0] == 2 &&
                model->blends[1].terms[0].powers[1] == 1 && model->blends[1].terms[1].coefficient == 3);
    assert_true(model->blends[2].term_count == 1 && model->blends[2].terms[0].powers[1] == 1);
    assert_int_equal(fixture.schema.dense_count, 3);
    assert_string_equal(fixture.schema.dense[0], "item_watches.1h");
    assert_int_equal(fixture.schema.transforms[1], LEARNER_LOG);
    assert_int_equal(fixture.schema.transforms[2], LEARNER_RAW);
    assert_string_equal(fixture.schema.sparse[2], "user_id*item.category_id");
    assert_true(fixture.schema.needs_item_fields);
    fixture_fini(&fixture);
}

static void expect_mistake(const char *model, const char *message)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct fr_diagnostics diagnostics;
    struct fr_buffer text;
    struct fr_yaml *root = NULL;

    fr_diagnostics_init(&diagnostics, "f");
    fr_buffer_init(&text);
    fr_buffer_append_format(&text, "feature_sets: { fine: { item: [item_watches] } }\nmodels: { shop: { %s } }\n", model);
    assert_true(fr_yaml_parse(fr_buffer_slice(&text), arena, &root, &diagnostics));
    assert_null(learner_config_parse(root, arena, &diagnostics));
    fr_buffer_append_byte(&diagnostics.text, 0);
    if (!strstr((const char *)diagnostics.text.bytes, message))
        fail_msg("'%s' is not in: %s", message, (const char *)diagnostics.text.bytes);
    fr_buffer_fini(&text);
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
}

static void each_mistake_names_its_place_and_the_nearest_name(void **state)
{
    static const char *const tasks = "tasks: { click: { actions: [click] } }";
    char text[256];

    (void)state;
    expect_mistake("feature_set: fin, tasks: { click: { actions: [click] } }",
                   "f:2:32: models.shop: unknown feature set 'fin'; did you mean 'fine'?");
    expect_mistake("feature_set: fine, tasks: { click: { actions: [clik] } }", "unknown action 'clik'; did you mean 'click'?");
    expect_mistake("feature_set: fine, tasks: {}", "models.shop.tasks: should be a map of 1 to 16 tasks");
    expect_mistake("feature_set: fine, tasks: { click: { actions: [click], negatives: 2 } }", "negatives");
    snprintf(text, sizeof text, "feature_set: fine, sparse: [item.creatorid], %s", tasks);
    expect_mistake(text, "did you mean 'item.creator_id'?");
    snprintf(text, sizeof text, "feature_set: fine, sparse: [user_id, user_id], %s", tasks);
    expect_mistake(text, "'user_id' twice");
    snprintf(text, sizeof text, "feature_set: fine, dense: { item_watches: logg }, %s", tasks);
    expect_mistake(text, "should be standard, log or raw");
    snprintf(text, sizeof text, "feature_set: fine, %s, blend: { liv: click }", tasks);
    expect_mistake(text, "unknown scene 'liv'; did you mean 'live'?");
    snprintf(text, sizeof text, "feature_set: fine, %s, blend: { live: \"clik^2\" }", tasks);
    expect_mistake(text, "no task 'clik'; did you mean 'click'?");
    snprintf(text, sizeof text, "feature_set: fine, %s, blend: { live: \"click^\" }", tasks);
    expect_mistake(text, "a number is missing");
    snprintf(text, sizeof text, "feature_set: fine, %s, bitz: 4", tasks);
    expect_mistake(text, "unknown key 'bitz'; did you mean 'bits'?");
}

static void ranks_of_watches_are_refused_where_they_make_no_sense(void **state)
{
    static const char *const refused[][2] = {
        {"actions: [watch, like]", "f:2:86: models.shop.tasks.long: label watch_rank is of actions: [watch]"},
        {"actions: [purchase]", "what another action's value is, is no time watched"},
        {"actions: [watch], policy: fnw", "can't go with policy fnw, whose weights are for labels of 0 and 1"},
        {"actions: [watch], policy: sliver", "can't go with policy sliver"},
        {"actions: [watch], negatives: 0.5", "can't go with negatives below 1"},
    };
    struct fixture fixture;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(text, sizeof text, "feature_set: fine, tasks: { long: { %s, label: watch_rank } }", refused[i][0]);
        expect_mistake(text, refused[i][1]);
    }
    expect_mistake("feature_set: fine, order: arrival, tasks: { long: { actions: [watch], label: watch_rank } }",
                   "models.shop: order arrival can't go with label watch_rank (of long)");
    expect_mistake("feature_set: fine, tasks: { long: { actions: [watch], label: rank } }", "label: 'rank' is not known here");
    fixture_init(&fixture,
                 "tasks: { long: { actions: [watch], label: watch_rank, policy: first_only }, click: { actions: [click] } }");
    assert_true(fixture.config->models[0].tasks[0].is_watch_rank);
    assert_false(fixture.config->models[0].tasks[1].is_watch_rank);
    fixture_fini(&fixture);
}

/* The definition, computed from its words: XXH64 of "name\0" and 8 bytes, for each part. */
static void a_coordinate_is_the_hash_of_named_values(void **state)
{
    struct fixture fixture;
    const struct learner_ids ids = {.user_id = 5, .item_category_id = 0x0102030405060708};
    const float user_values[1] = {0}, item_values[3] = {2.5F, 0, -1};
    uint64_t sparse[2];
    const char bytes[] =
        "user_id\0\5\0\0\0\0\0\0\0item.category_id\0\x08\7\6\5\4\3\2\1item_rate\0\xfe\xff\xff\xff\xff\xff\xff\xff";

    (void)state;
    fixture_init(&fixture,
                 "bits: 20, sparse: [user_id, [user_id, item.category_id, item_rate]], tasks: { click: { actions: [click] } }");
    learner_schema_sparse(&fixture.schema, &ids, user_values, item_values, sparse);
    assert_true(sparse[0] == LEARNER_SPARSE_BASE + (fr_text_hash(bytes, 16, 0) & 0xfffff));
    /* 1 + floor(2 log2(1 + 1)) = 3 for 1, of −1 the complement. */
    assert_true(learner_bucket(-1) == (uint64_t)-3);
    assert_true(sparse[1] != sparse[0] && sparse[1] >= LEARNER_SPARSE_BASE && sparse[1] < LEARNER_SPARSE_BASE + (1 << 20));
    fixture_fini(&fixture);
}

static void buckets_are_half_octaves(void **state)
{
    (void)state;
    assert_true(learner_bucket(0) == 0 && learner_bucket((double)NAN) == 0);
    for (double x = 1e-3; x < 1e12; x *= 1.37)
        assert_true(learner_bucket(x) == 1 + (uint64_t)floor(2 * log2(1 + x)));
    assert_true(learner_bucket((double)INFINITY) == 2048);
}

static void the_schema_changes_with_whatever_changes_rows(void **state)
{
    static const char *const models[] = {
        "bits: 20, factors: 4, sparse: [user_id], tasks: { click: { actions: [click] } }",
        "bits: 21, factors: 4, sparse: [user_id], tasks: { click: { actions: [click] } }",
        "bits: 20, factors: 5, sparse: [user_id], tasks: { click: { actions: [click] } }",
        "bits: 20, factors: 4, sparse: [item_id], tasks: { click: { actions: [click] } }",
        "bits: 20, factors: 4, sparse: [user_id], tasks: { buy: { actions: [click] } }",
        "bits: 20, factors: 4, sparse: [user_id], dense: [item_rate], tasks: { click: { actions: [click] } }"};
    enum { MODELS = sizeof models / sizeof *models };
    uint64_t hashes[MODELS];

    (void)state;
    for (int i = 0; i < MODELS; i++) {
        struct fixture fixture;

        fixture_init(&fixture, models[i]);
        hashes[i] = fixture.schema.hash;
        fixture_fini(&fixture);
        for (int k = 0; k < i; k++)
            assert_true(hashes[k] != hashes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_read_whole),
        cmocka_unit_test(each_mistake_names_its_place_and_the_nearest_name),
        cmocka_unit_test(ranks_of_watches_are_refused_where_they_make_no_sense),
        cmocka_unit_test(a_coordinate_is_the_hash_of_named_values),
        cmocka_unit_test(buckets_are_half_octaves),
        cmocka_unit_test(the_schema_changes_with_whatever_changes_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
