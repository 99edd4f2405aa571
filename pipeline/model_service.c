/*
 * ModelService: scores by what features are now, the model's parameters as a stream of versions, what outside trainers push, and
 * what operators order.
 */
#include "services.h"

#include <freshet/text.h>

#include <float.h>
#include <inttypes.h>
#include <stdlib.h>

enum { POLL_LEAST_MS = 5, POLL_MOST_MS = 1000, KEEP_ATTEMPTS = 3, KEEP_MS = 30000 };

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the scores are larger than a call may be; ask for fewer items");
}

static bool check_open(struct pipeline_services *services, struct fr_err *err)
{
    return !atomic_load(&services->is_closing) ||
           fr_fail(err, FR_UNAVAILABLE, "the node is shutting down; ask another one or retry");
}

/* ---- Score ---- */

static bool find_scene(const char *name, int *scene, struct fr_err *err)
{
    const char *names[PROTO_SCENES];
    const char *nearest;

    *scene = name[0] ? proto_scene_number(fr_slice_of(name)) : 0;
    if (*scene >= 0 && *scene < PROTO_SCENES)
        return true;
    for (uint32_t i = 1; i < PROTO_SCENES; i++)
        names[i - 1] = proto_scene_name(i);
    nearest = fr_text_nearest(fr_slice_of(name), names, PROTO_SCENES - 1);
    return fr_fail(err, FR_BAD_INPUT, "scene: '%.64s' is unknown; did you mean '%s'?", name, nearest ? nearest : names[0]);
}

/* The tasks asked for as indices, all of them without any; the names of the reply point into the configuration. */
static bool find_tasks(const Freshet__V1__ScoreRequest *request, const struct learner_model *model, struct fr_arena *arena,
                       struct learner_ask *ask, Freshet__V1__ScoreResponse *response, struct fr_err *err)
{
    size_t count = request->n_tasks ? request->n_tasks : (size_t)model->task_count;
    int *tasks = fr_arena_take(arena, count * sizeof *tasks);

    response->tasks = fr_arena_take(arena, count * sizeof *response->tasks);
    if (!tasks || !response->tasks)
        return fail_exhausted(err);
    if (count > LEARNER_TASKS_MAX)
        return fr_fail(err, FR_BAD_INPUT, "tasks: %zu given; model '%s' has %d", count, model->name, model->task_count);
    for (size_t i = 0; i < count; i++) {
        tasks[i] = (int)i;
        if (request->n_tasks && !learner_config_task(model, request->tasks[i], &tasks[i], err))
            return false;
        response->tasks[i] = (char *)model->tasks[tasks[i]].name;
    }
    response->n_tasks = count;
    ask->tasks = tasks;
    ask->task_count = (int)count;
    return true;
}

/* A call that waits for its offsets comes here every millisecond: nothing is taken from its arena. */
static bool check_score(const Freshet__V1__ScoreRequest *request, struct pipeline_services *services, struct server_call *call,
                        struct learner_ask *ask, struct fr_err *err)
{
    if (!check_open(services, err) || !learner_config_model(services->models->config, request->model, &ask->model, err) ||
        !find_scene(request->scene, &ask->scene, err))
        return false;
    if (request->n_item_ids > AGG_ITEMS_MAX)
        return fr_fail(err, FR_BAD_INPUT, "item_ids: %zu given; send at most %d a call", request->n_item_ids, AGG_ITEMS_MAX);
    if ((int)request->explore < 0 || request->explore > FRESHET__V1__EXPLORE__UCB)
        return fr_fail(err, FR_BAD_INPUT, "explore: %d is unknown; use NONE, THOMPSON or UCB", (int)request->explore);
    ask->explore = (enum learner_explore)request->explore;
    ask->seed = request->seed;
    ask->item_ids = request->item_ids;
    ask->item_count = (int)request->n_item_ids;
    return pipeline_after__is_applied(services, call, request->after, request->n_after, err) &&
           pipeline_serving__check(services, err);
}

static void put_scores(const struct learner_ask *ask, const struct learner_scores *scores, const struct pipeline_now *now,
                       Freshet__V1__ScoreResponse *response)
{
    response->model_version = scores->version;
    response->probabilities = scores->probabilities;
    response->n_probabilities = (size_t)(ask->item_count * ask->task_count);
    response->scores = scores->scores;
    response->n_scores = (size_t)ask->item_count;
    response->score_sd = scores->score_sd;
    response->n_score_sd = (size_t)ask->item_count;
    response->stream_time_ms = now->stream_time_ms;
    response->applied_lag_ms = now->applied_lag_ms;
}

/* What was scored, as it was scored, for the join: rows of log_items, or the best. Without a user nothing can be joined. */
static bool log_scored(struct pipeline_services *services, const Freshet__V1__ScoreRequest *request,
                       const struct learner_ask *ask, const struct agg_request *read, const struct agg_reply *reply,
                       const struct pipeline_exact *exact, struct fr_arena *arena, const Freshet__V1__ScoreResponse *response,
                       struct fr_err *err)
{
    const struct learner_schema *schema = &services->models->schemas[ask->model];
    struct pipeline_rows rows = {.request_id = response->request_id,
                                 .user_id = request->user_id,
                                 .time_ms = read->time_ms,
                                 .scene = ask->scene > 0 ? proto_scene_name((uint32_t)ask->scene) : "",
                                 .model = schema->model->name,
                                 .model_version = response->model_version,
                                 .schema = pipeline_features__schema(services->models->plans[ask->model]),
                                 .user_values = reply->user_values,
                                 .user_columns = (size_t)schema->user_columns,
                                 .item_ids = request->item_ids,
                                 .items = request->n_item_ids,
                                 .item_values = reply->item_values,
                                 .item_columns = (size_t)schema->item_columns,
                                 .sparse = ask->sparse,
                                 .sparse_columns = (size_t)schema->sparse_count,
                                 .scores = response->scores,
                                 .log_items = request->log_items,
                                 .log_items_count = request->n_log_items,
                                 .exact = exact,
                                 .room_id = request->room_id};

    if (request->user_id == 0 || request->n_item_ids == 0)
        return request->n_log_items == 0 ||
               fr_fail(err, FR_BAD_INPUT, "log_items: rows are joined by user and item; give user_id and item_ids too");
    return pipeline_rows__log(services->served_log, &rows, arena, err);
}

/* Whoever sorts by score finds what is blocked last: the least there is, and no chance of anything. */
static bool lower_blocked(struct pipeline_services *services, const struct learner_ask *ask, const struct agg_request *read,
                          struct fr_arena *arena, struct learner_scores *scores, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(services->store);
    bool *is_blocked = NULL;
    bool ok = agg_blocked_items(services->agg, read, arena, &is_blocked, err);

    store_visit_leave(services->store, visit);
    for (int i = 0; i < ask->item_count && is_blocked; i++) {
        if (!is_blocked[i])
            continue;
        scores->scores[i] = -FLT_MAX;
        scores->score_sd[i] = 0;
        memset(scores->probabilities + (size_t)i * (size_t)ask->task_count, 0,
               (size_t)ask->task_count * sizeof *scores->probabilities);
    }
    return ok;
}

bool pipeline_model__score(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                           struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__ScoreRequest *request = (const Freshet__V1__ScoreRequest *)message;
    Freshet__V1__ScoreResponse *response;
    struct agg_request read = {.user_id = request->user_id,
                               .item_ids = request->item_ids,
                               .item_count = (int)request->n_item_ids,
                               .room_id = request->room_id};
    struct learner_ask ask = {0};
    struct learner_scores scores;
    struct agg_reply reply = {0};
    struct pipeline_exact exact;
    struct pipeline_now now;
    float *dense;
    uint64_t *sparse;

    if (!check_score(request, services, call, &ask, err))
        return false;
    response = fr_arena_take(call->arena, sizeof *response);
    if (!response)
        return fail_exhausted(err);
    freshet__v1__score_response__init(response);
    if (!find_tasks(request, &services->models->config->models[ask.model], call->arena, &ask, response, err))
        return false;
    pipeline_exact__begin(services, call->arena, &exact);
    if (!pipeline_features__read(services, call, services->models->plans[ask.model], 0, &read, &reply, &now, err))
        return false;
    pipeline_exact__end(services, &exact);
    if (!pipeline_models__rows(services->models, ask.model, &read, (uint64_t)ask.scene, &reply, call->arena, &dense, &sparse))
        return fail_exhausted(err);
    ask.dense = dense;
    ask.sparse = sparse;
    if (!learner_score(services->models->learner, &ask, call->arena, &scores, err) ||
        !lower_blocked(services, &ask, &read, call->arena, &scores, err))
        return false;
    put_scores(&ask, &scores, &now, response);
    response->request_id = pipeline_features__request_id(services);
    pipeline_callers__note(&services->callers, call->caller, now.applied_lag_ms);
    if (!log_scored(services, request, &ask, &read, &reply, &exact, call->arena, response, err))
        return false;
    *answer = &response->base;
    return true;
}

/* ---- Pull ---- */

static bool begin_pull(void *user, struct server_call *call, const ProtobufCMessage *message, void **state, struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__PullRequest *request = (const Freshet__V1__PullRequest *)message;
    struct learner_pull *pull;
    int model;

    (void)call;
    if (!check_open(services, err) || !learner_config_model(services->models->config, request->model, &model, err))
        return false;
    pull = calloc(1, sizeof *pull);
    if (!pull)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for a stream; retry later");
    pull->model = model;
    pull->since_version = request->since_version;
    *state = pull;
    return true;
}

static Freshet__V1__ModelDelta *put_delta(const struct learner_schema *schema, const struct learner_delta *delta,
                                          struct fr_arena *arena)
{
    Freshet__V1__ModelDelta *message = fr_arena_take(arena, sizeof *message);

    if (!message)
        return NULL;
    freshet__v1__model_delta__init(message);
    message->version = delta->version;
    message->full = delta->is_full;
    message->width = delta->width;
    message->ids = delta->ids;
    message->n_ids = delta->count;
    message->weights = delta->weights;
    message->n_weights = delta->count * delta->width;
    message->removed = delta->removed;
    message->n_removed = delta->removed_count;
    message->digest = delta->digest;
    message->schema = delta->schema;
    message->dense_mean = delta->dense_mean;
    message->n_dense_mean = (size_t)schema->dense_count;
    message->dense_scale = delta->dense_scale;
    message->n_dense_scale = (size_t)schema->dense_count;
    return message;
}

static enum server_step next_delta(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                   int64_t *wait_ms, struct fr_err *err)
{
    struct pipeline_services *services = user;
    struct learner_pull *pull = state;
    const struct learner_schema *schema = &services->models->schemas[pull->model];
    Freshet__V1__ModelDelta *message;
    struct learner_delta delta;

    if (!check_open(services, err))
        return SERVER_STEP_FAIL;
    switch (learner_pull(services->models->learner, pull, call->arena, &delta)) {
    case LEARNER_PULL_CURRENT:
        *wait_ms = schema->model->publish_ms / 4;
        *wait_ms = *wait_ms < POLL_LEAST_MS ? POLL_LEAST_MS : *wait_ms > POLL_MOST_MS ? POLL_MOST_MS : *wait_ms;
        return SERVER_STEP_WAIT;
    case LEARNER_PULLED:
        message = put_delta(schema, &delta, call->arena);
        if (message) {
            *response = &message->base;
            return SERVER_STEP_SEND;
        }
        break;
    case LEARNER_PULL_EXHAUSTED:
        break;
    }
    fr_fail(err, FR_EXHAUSTED, "a piece of the model is larger than a call may be");
    return SERVER_STEP_FAIL;
}

static void end_pull(void *user, void *state)
{
    (void)user;
    free(state);
}

const struct server_streaming pipeline_model_pulling = {.request = begin_pull, .next = next_delta, .end = end_pull};

/* ---- Push ---- */

bool pipeline_model__push(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                          struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__PushRequest *request = (const Freshet__V1__PushRequest *)message;
    Freshet__V1__PushResponse *response = fr_arena_take(call->arena, sizeof *response);
    struct learner_push push = {.base_version = request->base_version,
                                .schema = request->schema,
                                .is_weights = request->kind == FRESHET__V1__PUSH_REQUEST__KIND__WEIGHTS,
                                .width = request->width,
                                .ids = request->ids,
                                .values = request->values,
                                .count = request->n_ids};
    struct learner_pushed pushed;
    int model;

    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    freshet__v1__push_response__init(response);
    if (!check_open(services, err) || !learner_config_model(services->models->config, request->model, &model, err))
        return false;
    if ((int)request->kind < 0 || request->kind > FRESHET__V1__PUSH_REQUEST__KIND__WEIGHTS)
        return fr_fail(err, FR_BAD_INPUT, "kind: %d is unknown; use GRADIENTS or WEIGHTS", (int)request->kind);
    if (request->n_values != request->n_ids * (size_t)request->width)
        return fr_fail(err, FR_BAD_INPUT, "values: %zu given; %zu ids of width %" PRIu32 " have %zu", request->n_values,
                       request->n_ids, request->width, request->n_ids * (size_t)request->width);
    if (!learner_push(services->models->learner, model, &push, &pushed, err))
        return false;
    response->version = pushed.version;
    response->accepted = pushed.accepted;
    response->rejected = pushed.rejected;
    *answer = &response->base;
    return true;
}

/* ---- Status and Change ---- */

static bool answer_states(struct pipeline_services *services, int model, struct fr_arena *arena, ProtobufCMessage **answer,
                          struct fr_err *err)
{
    Freshet__V1__ModelStatusResponse *response = fr_arena_take(arena, sizeof *response);

    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the status is larger than a call may be");
    freshet__v1__model_status_response__init(response);
    response->models = pipeline_models__states(services->models, model, arena, &response->n_models);
    *answer = &response->base;
    return response->models || fr_fail(err, FR_EXHAUSTED, "the status is larger than a call may be");
}

bool pipeline_model__status(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__ModelStatusRequest *request = (const Freshet__V1__ModelStatusRequest *)message;
    int model = -1;

    if (request->model[0] && !learner_config_model(services->models->config, request->model, &model, err))
        return false;
    return answer_states(services, model, call->arena, answer, err);
}

/* What an order did outlives a crash before its caller is answered: an epoch makes durable what the written files have learned. */
static bool keep(struct pipeline_services *services, int model, struct fr_err *err)
{
    for (int attempt = 0; attempt < KEEP_ATTEMPTS; attempt++) {
        if (!pipeline_committer__commit(services->committer, KEEP_MS, err))
            return false;
        if (learner_order(services->models->learner, model, LEARNER_KEEP, err))
            return true;
        if (err->code != FR_UNAVAILABLE)
            break; /* else another order wrote a later file meanwhile */
    }
    return false;
}

bool pipeline_model__change(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    static const enum learner_order orders[] = {LEARNER_FREEZE, LEARNER_THAW, LEARNER_ROLLBACK, LEARNER_PROMOTE, LEARNER_SAVE};
    struct pipeline_services *services = user;
    const Freshet__V1__ModelChangeRequest *request = (const Freshet__V1__ModelChangeRequest *)message;
    int model, change = (int)request->change;

    if (!check_open(services, err) || !learner_config_model(services->models->config, request->model, &model, err))
        return false;
    if (change < 1 || change > (int)(sizeof orders / sizeof *orders))
        return fr_fail(err, FR_BAD_INPUT, "change: %d is unknown; use FREEZE, THAW, ROLLBACK, PROMOTE or SAVE", change);
    return learner_order(services->models->learner, model, orders[change - 1], err) && keep(services, model, err) &&
           answer_states(services, model, call->arena, answer, err);
}
