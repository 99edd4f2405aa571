/* The models of a node: what is read for each, the rows that an item's features become, and the learner. */
#include "services.h"

#include <stdio.h>

enum { MODELS_ARENA_BYTES = 64 << 20, PATH_BYTES = 448 };

static bool resolve(struct pipeline_models *models, int index, struct agg *agg, struct fr_err *err)
{
    static char *const item_fields[] = {"item.creator_id", "item.room_id", "item.category_id"};
    const struct learner_model *model = &models->config->models[index];
    const char *const *user_names, *const *item_names;
    const struct agg_plan *plan;
    int user_columns, item_columns;

    if (!agg_plan_get(agg, model->feature_set, NULL, 0, &plan, err))
        return fr_fail_in(err, "models.%s.feature_set", model->name);
    user_columns = agg_plan_user_columns(plan, &user_names);
    item_columns = agg_plan_item_columns(plan, &item_names);
    if (!learner_schema_make(model, user_names, user_columns, item_names, item_columns, models->arena, &models->schemas[index],
                             err))
        return false;
    models->plans[index] = plan;
    return !models->schemas[index].needs_item_fields ||
           agg_plan_get(agg, model->feature_set, item_fields, 3, &models->plans[index], err);
}

bool pipeline_models__open(struct pipeline_models *models, const struct pipeline_config *config, struct store *store,
                           struct agg *agg, struct fr_metrics *metrics, struct fr_err *err)
{
    char path[PATH_BYTES];
    struct learner_options options = {.config = config->learner,
                                      .schemas = models->schemas,
                                      .directory = path,
                                      .durable = learner_outbox_end(store),
                                      .metrics = metrics};

    models->config = config->learner;
    models->store_path = config->store_path;
    if (models->config->model_count == 0)
        return true;
    models->arena = fr_arena_new(MODELS_ARENA_BYTES);
    if (!models->arena)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for models");
    for (int i = 0; i < models->config->model_count; i++) {
        if (!resolve(models, i, agg, err))
            return false;
    }
    if (snprintf(path, sizeof path, "%s/models", config->store_path) >= (int)sizeof path)
        return fr_fail(err, FR_BAD_CONFIG, "store.path: longer than %d bytes; models have files in it", PATH_BYTES - 8);
    return learner_open(&options, &models->learner, err);
}

void pipeline_models__close(struct pipeline_models *models)
{
    learner_close(models->learner);
    models->learner = NULL;
    fr_arena_free(models->arena);
    models->arena = NULL;
}

static const uint64_t *field_of(const struct agg_reply *reply, const char *name)
{
    for (int i = 0; i < reply->item_field_count; i++) {
        if (strcmp(reply->item_fields[i].name, name) == 0)
            return reply->item_fields[i].ids;
    }
    return NULL;
}

bool pipeline_models__rows(const struct pipeline_models *models, int model, const struct agg_request *read, uint64_t scene,
                           const struct agg_reply *reply, struct fr_arena *arena, float **dense, uint64_t **sparse)
{
    const struct learner_schema *schema = &models->schemas[model];
    const uint64_t *creators = field_of(reply, "item.creator_id"), *rooms = field_of(reply, "item.room_id");
    const uint64_t *categories = field_of(reply, "item.category_id");
    size_t items = (size_t)read->item_count, dense_columns = (size_t)schema->dense_count;
    size_t sparse_columns = (size_t)schema->sparse_count;

    *dense = fr_arena_take(arena, (items * dense_columns + 1) * sizeof **dense);
    *sparse = fr_arena_take(arena, (items * sparse_columns + 1) * sizeof **sparse);
    if (!*dense || !*sparse)
        return false;
    for (size_t i = 0; i < items; i++) {
        const float *item_values = reply->item_values + i * (size_t)schema->item_columns;
        struct learner_ids ids = {.user_id = read->user_id,
                                  .item_id = read->item_ids[i],
                                  .room_id = read->room_id,
                                  .scene = scene,
                                  .item_creator_id = creators ? creators[i] : 0,
                                  .item_room_id = rooms ? rooms[i] : 0,
                                  .item_category_id = categories ? categories[i] : 0};

        learner_schema_dense(schema, reply->user_values, item_values, *dense + i * dense_columns);
        learner_schema_sparse(schema, &ids, reply->user_values, item_values, *sparse + i * sparse_columns);
    }
    return true;
}

/* ---- what is told of them ---- */

static bool describe(const struct learner_schema *schema, struct fr_arena *arena, Freshet__V1__SchemaDescription *description)
{
    const struct learner_model *model = schema->model;

    freshet__v1__schema_description__init(description);
    description->schema = schema->hash;
    description->model = (char *)model->name;
    description->dense = (char **)(uintptr_t)schema->dense; /* only read */
    description->n_dense = (size_t)schema->dense_count;
    description->sparse = (char **)(uintptr_t)schema->sparse;
    description->n_sparse = (size_t)schema->sparse_count;
    description->tasks = fr_arena_take(arena, ((size_t)model->task_count + 1) * sizeof *description->tasks);
    description->transforms = fr_arena_take(arena, ((size_t)schema->dense_count + 1) * sizeof *description->transforms);
    description->bits = (uint32_t)model->bits;
    description->factors = (uint32_t)model->factors;
    if (!description->tasks || !description->transforms)
        return false;
    for (int i = 0; i < model->task_count; i++)
        description->tasks[description->n_tasks++] = (char *)model->tasks[i].name;
    for (int i = 0; i < schema->dense_count; i++)
        description->transforms[description->n_transforms++] = (char *)learner_transform_name(schema->transforms[i]);
    return true;
}

bool pipeline_models__describe(const struct pipeline_models *models, struct fr_arena *arena,
                               Freshet__V1__DescribeResponse *response)
{
    size_t count = (size_t)models->config->model_count;
    Freshet__V1__SchemaDescription *schemas = fr_arena_take(arena, (count + 1) * sizeof *schemas);

    response->schemas = fr_arena_take(arena, (count + 1) * sizeof *response->schemas);
    if (!schemas || !response->schemas)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!describe(&models->schemas[i], arena, &schemas[i]))
            return false;
        response->schemas[i] = &schemas[i];
    }
    response->n_schemas = count;
    return true;
}

static bool put_drift(const struct learner_state *state, Freshet__V1__ModelState *message, struct fr_arena *arena)
{
    size_t count = (size_t)state->drift_count;
    Freshet__V1__ColumnDrift *drift = fr_arena_take(arena, (count + 1) * sizeof *drift);

    message->drift = fr_arena_take(arena, (count + 1) * sizeof *message->drift);
    if (!drift || !message->drift)
        return false;
    for (size_t i = 0; i < count; i++) {
        freshet__v1__column_drift__init(&drift[i]);
        drift[i].column = (char *)state->drift[i].column;
        drift[i].stability = state->drift[i].stability;
        message->drift[i] = &drift[i];
    }
    message->n_drift = count;
    return true;
}

static Freshet__V1__ModelState *put_state(const struct learner_state *state, struct fr_arena *arena)
{
    size_t tasks = (size_t)state->task_count;
    Freshet__V1__ModelState *message = fr_arena_take(arena, sizeof *message);
    Freshet__V1__TaskState *task = fr_arena_take(arena, (tasks + 1) * sizeof *task);
    Freshet__V1__TaskState **list = fr_arena_take(arena, (tasks + 1) * sizeof *list);

    if (!message || !task || !list)
        return NULL;
    freshet__v1__model_state__init(message);
    message->name = (char *)state->name;
    message->role = (char *)state->role;
    message->version = state->version;
    message->schema = state->schema;
    message->examples = state->examples;
    message->coordinates = state->coordinates;
    message->published_ms = state->published_ms;
    message->rejected = state->rejected;
    message->rollbacks = state->rollbacks;
    message->tasks = list;
    message->n_tasks = tasks;
    for (size_t i = 0; i < tasks; i++) {
        freshet__v1__task_state__init(&task[i]);
        task[i].name = (char *)state->tasks[i].name;
        task[i].auc = state->tasks[i].auc;
        task[i].log_loss = state->tasks[i].log_loss;
        task[i].normalized_entropy = state->tasks[i].normalized_entropy;
        task[i].calibration = state->tasks[i].calibration;
        task[i].examples = state->tasks[i].examples;
        task[i].positives = state->tasks[i].positives;
        task[i].label_stability = state->tasks[i].drift.stability;
        task[i].label_rate = state->tasks[i].drift.rate;
        task[i].label_rate_reference = state->tasks[i].drift.reference_rate;
        list[i] = &task[i];
    }
    return put_drift(state, message, arena) ? message : NULL;
}

Freshet__V1__ModelState **pipeline_models__states(struct pipeline_models *models, int model, struct fr_arena *arena,
                                                  size_t *count)
{
    Freshet__V1__ModelState **list = fr_arena_take(arena, ((size_t)models->config->model_count * 2 + 1) * sizeof *list);

    *count = 0;
    for (int i = 0; list && i < 2 * models->config->model_count; i++) {
        struct learner_state state;

        if ((model >= 0 && model != i / 2) || !learner_state(models->learner, i / 2, i % 2 == 1, &state))
            continue;
        list[*count] = put_state(&state, arena);
        if (!list[(*count)++])
            return NULL;
    }
    return list;
}
