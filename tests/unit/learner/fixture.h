/* A model from a few lines of YAML, its schema, and examples for it. */
#ifndef TEST_LEARNER_FIXTURE_H
#define TEST_LEARNER_FIXTURE_H

#include "line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct fr_arena *arena;
    struct fr_metrics *metrics;
    struct learner_config *config;
    struct learner_schema schema;
    char directory[64];
};

static const char *const fixture_user_columns[] = {"user_age"};
static const char *const fixture_item_columns[] = {"item_watches.1h", "item_watches.24h", "item_rate"};

/* `model` is what stands between the braces of the model. */
static inline void fixture_init(struct fixture *fixture, const char *model)
{
    struct fr_diagnostics diagnostics;
    struct fr_buffer text;
    struct fr_yaml *root = NULL;
    struct fr_err err;

    memset(fixture, 0, sizeof *fixture);
    fixture->arena = fr_arena_new(16 << 20);
    fixture->metrics = fr_metrics_new();
    fr_diagnostics_init(&diagnostics, "test");
    fr_buffer_init(&text);
    fr_buffer_append_format(&text,
                            "feature_sets: { fine: { user: [user_age], item: [item_watches, item_rate] } }\n"
                            "models: { shop: { feature_set: fine, publish: 10ms, %s } }\n",
                            model);
    if (!fr_yaml_parse(fr_buffer_slice(&text), fixture->arena, &root, &diagnostics) ||
        !(fixture->config = learner_config_parse(root, fixture->arena, &diagnostics)))
        fail_msg("%.*s", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes);
    if (!learner_schema_make(&fixture->config->models[0], fixture_user_columns, 1, fixture_item_columns, 3, fixture->arena,
                             &fixture->schema, &err))
        fail_msg("%s", err.message);
    fr_buffer_fini(&text);
    fr_diagnostics_fini(&diagnostics);
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/freshet-learner-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
}

static inline void fixture_fini(struct fixture *fixture)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r %s", fixture->directory);
    assert_int_equal(system(command), 0);
    fr_metrics_free(fixture->metrics);
    fr_arena_free(fixture->arena);
}

/* Where positions before `durable` are durable. */
static inline struct learner *fixture_open_at(struct fixture *fixture, int64_t durable)
{
    struct learner_options options = {.config = fixture->config,
                                      .schemas = &fixture->schema,
                                      .directory = fixture->directory,
                                      .durable = durable,
                                      .metrics = fixture->metrics};
    struct learner *learner;
    struct fr_err err;

    if (!learner_open(&options, &learner, &err))
        fail_msg("%s", err.message);
    return learner;
}

static inline struct learner *fixture_open(struct fixture *fixture)
{
    return fixture_open_at(fixture, INT64_MAX);
}

struct fixture_row { /* room for the widest example */
    float dense[4];
    uint64_t sparse[4];
    struct learner_example example;
};

/* A click-like example of user u and item i: likelier where their sum is even. The same number gives the same example. */
static inline const struct learner_example *fixture_example(const struct fixture *fixture, uint64_t number,
                                                            struct fixture_row *row)
{
    uint64_t random = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    struct learner_ids ids;
    float user_values[1], item_values[3];

    random ^= random >> 29;
    random *= UINT64_C(0xbf58476d1ce4e5b9);
    random ^= random >> 32;
    ids = (struct learner_ids){
        .user_id = 1 + random % 50, .item_id = 1 + (random >> 8) % 40, .item_category_id = 1 + (random >> 8) % 5};
    user_values[0] = (float)(ids.user_id % 7);
    item_values[0] = (float)(ids.item_id * 3);
    item_values[1] = (float)(ids.item_id * 40);
    item_values[2] = (float)(random >> 20 & 255) / 256.0F;
    learner_schema_dense(&fixture->schema, user_values, item_values, row->dense);
    learner_schema_sparse(&fixture->schema, &ids, user_values, item_values, row->sparse);
    row->example = (struct learner_example){.example_id = number,
                                            .task = (int)(number % (uint64_t)fixture->config->models[0].task_count),
                                            .served_ms = INT64_C(1700000000000) + (int64_t)number,
                                            .dense = row->dense,
                                            .sparse = row->sparse,
                                            .dense_count = fixture->schema.dense_count,
                                            .sparse_count = fixture->schema.sparse_count,
                                            .label = (random >> 40) % 10 < ((ids.user_id + ids.item_id) % 2 ? 2 : 7),
                                            .weight = 1};
    return &row->example;
}

/* Examples from..to in one batch. */
static inline void fixture_learn(const struct fixture *fixture, struct learner *learner, uint64_t from, uint64_t to,
                                 int64_t position)
{
    struct learner_batch *batch = learner_batch_new(position);
    struct fixture_row row;

    for (uint64_t i = from; i < to; i++)
        assert_true(learner_batch_add(batch, fixture_example(fixture, i, &row)));
    assert_true(learner_learn(learner, &batch, -1));
    assert_null(batch);
}

/* After it everything that was handed over before is learned and published. */
static inline void fixture_settle(struct learner *learner)
{
    struct fr_err err;

    assert_true(learner_order(learner, 0, LEARNER_THAW, &err));
}

#endif
