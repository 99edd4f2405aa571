/* An example: the features as they were served, and what became of the impression, for one step of one task's policy. */
#include "join.h"

#include <freshet/message.h>
#include <freshet/text.h>

#include <stdio.h>
#include <string.h>

enum { ID_WORDS = 4, NAME_BYTES = 512, KEPT_SEED = 1 };

static const char *const policies[] = {"wait", "fnw", "sliver", "first_only"};

uint64_t learner_example__id(const struct learner_labelled *labelled, const char *model, const char *task)
{
    uint64_t words[ID_WORDS] = {labelled->shown.request_id, labelled->user_id, labelled->shown.item_id, labelled->made.step};
    uint8_t bytes[sizeof words + NAME_BYTES];
    int length = snprintf((char *)bytes + sizeof words, NAME_BYTES, "%s.%s", model, task);

    for (size_t i = 0; i < sizeof words; i++)
        bytes[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
    return fr_text_hash(bytes, sizeof words + (size_t)(length < NAME_BYTES ? length : NAME_BYTES - 1), 0);
}

bool learner_example__is_kept(uint64_t example_id, double rate)
{
    return (double)(fr_text_hash(&example_id, sizeof example_id, KEPT_SEED) >> 11) * 0x1p-53 < rate;
}

/* Of a positive; false: it is a watch that said no length, and has no rank. */
static bool value_of(const struct learner_labelled *labelled, int any, const struct learner_any_task *task, float *value)
{
    uint16_t watched = labelled->states[any].watched;

    *value = 1;
    if (task->watched && watched > 0)
        *value = (float)learner_watched__rank(task->watched, watched - 1U);
    return !task->watched || watched > 0;
}

bool learner_example__is_unranked(const struct learner_join *join, const struct learner_labelled *labelled)
{
    return labelled->made.is_positive && join->tasks[labelled->task].watched && labelled->states[labelled->task].watched == 0;
}

static void label_of(const struct learner_labelled *labelled, int any, const struct learner_any_task *task,
                     Freshet__V1__Label *label)
{
    struct learner_clockwork of = {
        .task = task->task, .shown_ms = labelled->shown.shown_ms, .exit_ms = labelled->shown.exit_ms};
    int64_t delay_ms;
    bool is_positive;

    freshet__v1__label__init(label);
    label->task = (char *)task->task->name;
    label->observed = learner_policy__is_final(&of, &labelled->states[any], labelled->made.at_ms, &is_positive, &delay_ms);
    if (is_positive)
        label->observed = value_of(labelled, any, task, &label->value);
    label->value = label->observed ? label->value : 0;
    label->weight = label->observed ? 1 : 0;
    label->delay_ms = label->observed ? delay_ms : 0;
}

/* The example's own task first, then the model's others as declared. */
static bool put_labels(const struct learner_join *join, const struct learner_labelled *labelled, struct fr_arena *arena,
                       Freshet__V1__Example *example)
{
    const struct learner_any_task *own = &join->tasks[labelled->task];
    int count = join->config->models[own->model].task_count;
    Freshet__V1__Label *labels = fr_arena_take(arena, (size_t)count * sizeof *labels);

    example->labels = fr_arena_take(arena, (size_t)count * sizeof *example->labels);
    if (!labels || !example->labels)
        return false;
    freshet__v1__label__init(&labels[0]);
    labels[0].task = (char *)own->task->name;
    if (labelled->made.is_positive)
        (void)value_of(labelled, labelled->task, own, &labels[0].value);
    labels[0].weight = 1;
    labels[0].observed = true;
    labels[0].delay_ms = labelled->made.delay_ms;
    example->labels[example->n_labels++] = &labels[0];
    for (int i = 0; i < join->task_count; i++) {
        if (join->tasks[i].model != own->model || i == labelled->task)
            continue;
        label_of(labelled, i, &join->tasks[i], &labels[example->n_labels]);
        example->labels[example->n_labels] = &labels[example->n_labels];
        example->n_labels++;
    }
    return true;
}

/* As served where the model itself scored; else from what the impression says of the item. */
static bool put_features(const struct learner_join *join, const struct learner_labelled *labelled,
                         const struct learner_rows *rows, int row, struct fr_arena *arena, Freshet__V1__Example *example)
{
    int model = join->tasks[labelled->task].model;
    const struct learner_schema *schema = &join->schemas[model];
    const float *item_values = rows->item_values + (size_t)row * rows->head.item_columns;
    const struct learner_impression *shown = &labelled->shown;
    struct learner_ids ids = {.user_id = labelled->user_id,
                              .item_id = shown->item_id,
                              .room_id = shown->room_id,
                              .scene = shown->scene ? shown->scene : rows->head.scene,
                              .item_creator_id = shown->creator_id,
                              .item_room_id = shown->room_id,
                              .item_category_id = shown->category_id};

    example->n_dense = (size_t)schema->dense_count;
    example->n_sparse = (size_t)schema->sparse_count;
    example->dense = fr_arena_take(arena, (example->n_dense + 1) * sizeof *example->dense);
    example->sparse = fr_arena_take(arena, (example->n_sparse + 1) * sizeof *example->sparse);
    if (!example->dense || !example->sparse)
        return false;
    learner_schema_dense(schema, rows->user_values, item_values, example->dense);
    if (rows->head.model == join->model_hashes[model] && rows->head.sparse_count == example->n_sparse)
        memcpy(example->sparse, rows->sparse + (size_t)row * example->n_sparse, example->n_sparse * sizeof *example->sparse);
    else
        learner_schema_sparse(schema, &ids, rows->user_values, item_values, example->sparse);
    return true;
}

bool learner_example__append(const struct learner_join *join, const struct learner_labelled *labelled, uint64_t example_id,
                             const struct learner_rows *rows, struct fr_arena *arena, struct fr_buffer *chunk)
{
    const struct learner_any_task *task = &join->tasks[labelled->task];
    const struct learner_impression *shown = &labelled->shown;
    int row = learner_rows__find(rows, shown->item_id);
    Freshet__V1__Example example;

    if (row < 0)
        return false;
    fr_arena_reset(arena, 1 << 16);
    freshet__v1__example__init(&example);
    example.example_id = example_id;
    example.request_id = shown->request_id;
    example.user_id = labelled->user_id;
    example.item_id = shown->item_id;
    example.served_ms = rows->head.served_ms;
    example.position = shown->position > 0 || !rows->head.has_positions ? shown->position : rows->positions[row];
    example.propensity = shown->propensity > 0 || !rows->head.has_propensities ? shown->propensity : rows->propensities[row];
    example.model_version = rows->head.model_version;
    example.policy = (char *)policies[task->task->policy];
    example.schema = join->schemas[task->model].hash;
    if (!put_features(join, labelled, rows, row, arena, &example) || !put_labels(join, labelled, arena, &example))
        chunk->is_failed = true;
    else
        learner_outbox__append(chunk, task->hash, example.user_id, &example.base);
    return true;
}
