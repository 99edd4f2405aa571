/*
 * FeatureService: a request is checked, its read plan found, what only the disk has is loaded, and the reply's arrays are handed to
 * the message as they are.
 */
#include "services.h"

#include <freshet/text.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>

#include <inttypes.h>

enum { READ_ATTEMPTS = 5 };

static bool check(const Freshet__V1__GetFeaturesRequest *request, struct fr_err *err)
{
    if (request->n_item_ids > AGG_ITEMS_MAX)
        return fr_fail(err, FR_BAD_INPUT, "item_ids: %zu given; send at most %d a call", request->n_item_ids, AGG_ITEMS_MAX);
    if (request->as_of_ms < 0 || request->as_of_ms >= PROTO_TS_MS_END)
        return fr_fail(err, FR_BAD_INPUT, "as_of_ms: %" PRId64 " is not a time; use Unix milliseconds, or 0 for now",
                       request->as_of_ms);
    if (!request->log && request->n_log_items > 0)
        return fr_fail(err, FR_BAD_INPUT, "log_items: given without log; set log to true, or leave log_items out");
    if (request->log && (request->user_id == 0 || request->n_item_ids == 0))
        return fr_fail(err, FR_BAD_INPUT, "log: rows are joined by user and item; give user_id and item_ids, or leave log out");
    return pipeline_padded__check(request->shape, err);
}

Freshet__V1__Field **pipeline_features__fields(struct fr_arena *arena, const struct agg_values *values, int count)
{
    Freshet__V1__Field *fields = fr_arena_take(arena, (size_t)(count ? count : 1) * sizeof *fields);
    Freshet__V1__Field **list = fr_arena_take(arena, (size_t)(count ? count : 1) * sizeof *list);

    if (!fields || !list)
        return NULL;
    for (int i = 0; i < count; i++) {
        freshet__v1__field__init(&fields[i]);
        fields[i].name = (char *)values[i].name;
        fields[i].ids = values[i].ids;
        fields[i].n_ids = values[i].ids ? (size_t)values[i].count : 0;
        fields[i].ints = values[i].ints;
        fields[i].n_ints = values[i].ints ? (size_t)values[i].count : 0;
        fields[i].numbers = values[i].numbers;
        fields[i].n_numbers = values[i].numbers ? (size_t)values[i].count : 0;
        list[i] = &fields[i];
    }
    return list;
}

static bool put_sequences(const struct agg_reply *reply, struct fr_arena *arena, Freshet__V1__GetFeaturesResponse *response)
{
    size_t count = (size_t)reply->sequence_count;
    Freshet__V1__Sequence *sequences = fr_arena_take(arena, (count ? count : 1) * sizeof *sequences);

    response->sequences = fr_arena_take(arena, (count ? count : 1) * sizeof *response->sequences);
    if (!sequences || !response->sequences)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct agg_sequence *from = &reply->sequences[i];

        freshet__v1__sequence__init(&sequences[i]);
        sequences[i].name = (char *)from->name;
        sequences[i].key = from->key;
        sequences[i].rows = from->rows;
        sequences[i].n_rows = (size_t)from->row_count;
        sequences[i].n_fields = (size_t)from->field_count;
        sequences[i].fields = pipeline_features__fields(arena, from->fields, from->field_count);
        if (!sequences[i].fields)
            return false;
        response->sequences[i] = &sequences[i];
    }
    response->n_sequences = count;
    return true;
}

static bool put_padded(const struct agg *agg, const struct agg_plan *plan, const Freshet__V1__Shape *shape,
                       const struct agg_reply *reply, size_t items, struct fr_arena *arena,
                       Freshet__V1__GetFeaturesResponse *response)
{
    struct agg_blank *blanks;
    int count;

    return agg_plan_blanks(agg, plan, arena, &blanks, &count) &&
           pipeline_padded__put(shape, blanks, count, reply, items, arena, response);
}

static bool put_reply(const struct agg *agg, const struct agg_plan *plan, const Freshet__V1__GetFeaturesRequest *request,
                      const struct agg_reply *reply, struct fr_arena *arena, Freshet__V1__GetFeaturesResponse *response)
{
    int items = (int)request->n_item_ids;
    const char *const *user_names, *const *item_names;
    int user_columns = agg_plan_user_columns(plan, &user_names);
    int item_columns = agg_plan_item_columns(plan, &item_names);

    response->user_columns = (char **)user_names;
    response->n_user_columns = (size_t)user_columns;
    response->user_values = reply->user_values;
    response->n_user_values = (size_t)user_columns;
    response->user_present = reply->user_present;
    response->item_columns = (char **)item_names;
    response->n_item_columns = (size_t)item_columns;
    response->item_values = reply->item_values;
    response->n_item_values = (size_t)items * (size_t)item_columns;
    response->n_item_present = (size_t)items;
    response->item_present = fr_arena_take(arena, (size_t)(items ? items : 1) * sizeof *response->item_present);
    if (!response->item_present)
        return false;
    for (int i = 0; i < items; i++)
        response->item_present[i] = reply->item_present[i];
    response->n_item_fields = (size_t)reply->item_field_count;
    response->item_fields = pipeline_features__fields(arena, reply->item_fields, reply->item_field_count);
    if (!response->item_fields)
        return false;
    return request->shape ? put_padded(agg, plan, request->shape, reply, request->n_item_ids, arena, response)
                          : put_sequences(reply, arena, response);
}

/* The same names in the same order are the same schema, on every node. */
uint64_t pipeline_features__schema(const struct agg_plan *plan)
{
    const char *const *user_names, *const *item_names;
    int user_columns = agg_plan_user_columns(plan, &user_names), item_columns = agg_plan_item_columns(plan, &item_names);
    uint64_t hash = 0;

    for (int i = 0; i < user_columns; i++)
        hash = fr_text_hash(user_names[i], strlen(user_names[i]) + 1, hash);
    hash = fr_text_hash("|", 1, hash);
    for (int i = 0; i < item_columns; i++)
        hash = fr_text_hash(item_names[i], strlen(item_names[i]) + 1, hash);
    return hash;
}

/* Ids of requests only need to be distinct and hard to meet again after a restart: a counter from a random start, mixed. */
uint64_t pipeline_features__request_id(struct pipeline_services *services)
{
    uint64_t id = atomic_fetch_add_explicit(&services->next_request_id, UINT64_C(0x9e3779b97f4a7c15), memory_order_relaxed);

    id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
    id ^= id >> 31;
    return id ? id : 1;
}

bool pipeline_features__time(int64_t as_of_ms, const struct pipeline_now *now, int64_t *time_ms, struct fr_err *err)
{
    *time_ms = as_of_ms ? as_of_ms : now->read_time_ms;
    if (*time_ms < now->read_time_ms)
        return fr_fail(err, FR_PRECONDITION,
                       "as_of_ms: %" PRId64 " is before %" PRId64
                       ", the node's time; state moves forward only: ask for that or later, "
                       "or replay to ask about the past",
                       as_of_ms, now->read_time_ms);
    return true;
}

/*
 * One attempt, on a visit. On a loop nothing may wait for the disk, and most often nothing has to: it reads at once, and when
 * something turns out to be on the disk only, all is left to the pool, where it is loaded first.
 */
static bool read_once(struct pipeline_services *services, struct server_call *call, const struct agg_plan *plan,
                      int64_t as_of_ms, struct agg_request *read, struct agg_reply *reply, struct pipeline_now *now,
                      struct fr_err *err)
{
    *now = pipeline_stream__now(services->stream);
    if (!pipeline_features__time(as_of_ms, now, &read->time_ms, err) ||
        (call->may_block && !agg_read_load(services->agg, plan, read, call->arena, err)))
        return false;
    /* Loading may have waited for the disk: T is taken again, at no cost. */
    *now = pipeline_stream__now(services->stream);
    if (!pipeline_features__time(as_of_ms, now, &read->time_ms, err) ||
        !agg_read(services->agg, plan, read, call->arena, reply, err))
        return false;
    call->is_postponed = !call->may_block && reply->is_incomplete;
    return !call->is_postponed;
}

/*
 * Reads at T. A read that took so long that state may have been pruned past its T meanwhile is done again at the new T, and so is
 * one that an event made look at an entity which was not loaded.
 */
bool pipeline_features__read(struct pipeline_services *services, struct server_call *call, const struct agg_plan *plan,
                             int64_t as_of_ms, struct agg_request *read, struct agg_reply *reply, struct pipeline_now *now,
                             struct fr_err *err)
{
    read->is_now = as_of_ms == 0;
    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        struct store_visit visit = store_visit_enter(services->store);
        bool is_read = read_once(services, call, plan, as_of_ms, read, reply, now, err);

        store_visit_leave(services->store, visit);
        if (!is_read)
            return false;
        if (pipeline_stream__horizon(services->stream) <= read->time_ms && !reply->is_incomplete)
            return true;
    }
    return fr_fail(err, FR_UNAVAILABLE, "the stream ran ahead of %d attempts to read; retry", READ_ATTEMPTS);
}

/* The rows as they are answered. */
static bool log_rows(struct pipeline_services *services, const Freshet__V1__GetFeaturesRequest *request,
                     const struct agg_plan *plan, int64_t time_ms, const struct pipeline_exact *exact, struct fr_arena *arena,
                     const Freshet__V1__GetFeaturesResponse *response, struct fr_err *err)
{
    struct pipeline_rows rows = {.request_id = response->request_id,
                                 .user_id = request->user_id,
                                 .time_ms = time_ms,
                                 .scene = "",
                                 .model = "",
                                 .schema = pipeline_features__schema(plan),
                                 .user_values = response->user_values,
                                 .user_columns = response->n_user_values,
                                 .item_ids = request->item_ids,
                                 .items = request->n_item_ids,
                                 .item_values = response->item_values,
                                 .item_columns = response->n_item_columns,
                                 .log_items = request->log_items,
                                 .log_items_count = request->n_log_items,
                                 .exact = exact,
                                 .room_id = request->room_id};

    return pipeline_rows__log(services->served_log, &rows, arena, err);
}

/*
 * Whether the call can be answered now. One that waits comes here every millisecond, so what is wrong with it is told before, and
 * nothing is taken from its arena.
 */
static bool may_read(struct pipeline_services *services, struct server_call *call,
                     const Freshet__V1__GetFeaturesRequest *request, struct fr_err *err)
{
    const struct agg_plan *plan;

    if (!call->kept && request->n_after > 0 &&
        (!check(request, err) ||
         !agg_plan_get(services->agg, request->feature_set, request->features, (int)request->n_features, &plan, err)))
        return false;
    return pipeline_after__is_applied(services, call, request->after, request->n_after, err) &&
           pipeline_serving__check(services, err) && pipeline_serving__check_user(services, request->user_id, err) &&
           /* rows to learn from are of what is, not of a copy */
           (!request->log || !services->cluster || pipeline_cluster__check_owned(services->cluster, request->user_id, err));
}

bool pipeline_features__get(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__GetFeaturesRequest *request = (const Freshet__V1__GetFeaturesRequest *)message;
    Freshet__V1__GetFeaturesResponse *response;
    struct agg_request read = {.user_id = request->user_id,
                               .item_ids = request->item_ids,
                               .item_count = (int)request->n_item_ids,
                               .room_id = request->room_id};
    const struct agg_plan *plan;
    struct agg_reply reply = {0};
    struct pipeline_exact exact = {0};
    struct pipeline_now now;
    int64_t user_time_ms;

    if (!may_read(services, call, request, err) || !check(request, err) ||
        !agg_plan_get(services->agg, request->feature_set, request->features, (int)request->n_features, &plan, err))
        return false;
    user_time_ms = pipeline_serving__user_time(services, request->user_id);
    if (request->log)
        pipeline_exact__begin(services, call->arena, &exact);
    if (!pipeline_features__read(services, call, plan, request->as_of_ms, &read, &reply, &now, err))
        return false;
    if (request->log)
        pipeline_exact__end(services, &exact);
    response = fr_arena_take(call->arena, sizeof *response);
    if (response)
        freshet__v1__get_features_response__init(response);
    if (!response || !put_reply(services->agg, plan, request, &reply, call->arena, response))
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be; ask for fewer items or features");
    response->request_id = pipeline_features__request_id(services);
    pipeline_serving__stamp(user_time_ms, &now);
    response->stream_time_ms = now.stream_time_ms;
    response->applied_lag_ms = now.applied_lag_ms;
    pipeline_callers__note(&services->callers, call->caller, now.applied_lag_ms);
    if (request->log && !log_rows(services, request, plan, request->as_of_ms ? request->as_of_ms : now.read_time_ms, &exact,
                                  call->arena, response, err))
        return false;
    *answer = &response->base;
    return true;
}

static bool describe_entities(struct agg *agg, struct fr_arena *arena, Freshet__V1__DescribeResponse *response)
{
    size_t count = (size_t)agg_entity_count(agg);
    Freshet__V1__EntityDescription *entities = fr_arena_take(arena, (count ? count : 1) * sizeof *entities);

    response->entities = fr_arena_take(arena, (count ? count : 1) * sizeof *response->entities);
    if (!entities || !response->entities)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct agg_entity_info info = agg_entity_at(agg, (int)i);

        freshet__v1__entity_description__init(&entities[i]);
        entities[i].name = (char *)info.name;
        entities[i].key = (char **)info.key;
        entities[i].n_key = (size_t)info.key_count;
        entities[i].parent = (char *)info.parent;
        entities[i].retention_ms = info.retention_ms;
        response->entities[i] = &entities[i];
    }
    response->n_entities = count;
    return true;
}

static void describe_feature(const struct agg_feature_info *info, Freshet__V1__FeatureDescription *feature)
{
    freshet__v1__feature_description__init(feature);
    feature->name = (char *)info->name;
    feature->entity = (char *)info->entity;
    feature->aggregate = (char *)info->aggregate;
    feature->columns = (char **)info->columns;
    feature->n_columns = (size_t)info->column_count;
    feature->fields = (char **)info->fields;
    feature->n_fields = (size_t)info->field_count;
    feature->windows_ms = (int64_t *)info->windows_ms;
    feature->n_windows_ms = (size_t)info->window_count;
    feature->resolutions_ms = (int64_t *)info->resolutions_ms;
    feature->n_resolutions_ms = (size_t)info->window_count;
    feature->limit = info->limit;
    feature->generation = info->generation;
    feature->complete_from_ms = info->complete_from_ms;
}

static bool describe_features(struct agg *agg, struct fr_arena *arena, Freshet__V1__DescribeResponse *response)
{
    size_t count = (size_t)agg_feature_count(agg);
    Freshet__V1__FeatureDescription *features = fr_arena_take(arena, (count ? count : 1) * sizeof *features);

    response->features = fr_arena_take(arena, (count ? count : 1) * sizeof *response->features);
    if (!features || !response->features)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct agg_feature_info info = agg_feature_at(agg, (int)i);

        describe_feature(&info, &features[i]);
        response->features[i] = &features[i];
    }
    response->n_features = count;
    return true;
}

static bool is_sequence(struct agg *agg, const char *feature)
{
    for (int i = 0; i < agg_feature_count(agg); i++) {
        struct agg_feature_info info = agg_feature_at(agg, i);

        if (strcmp(info.name, feature) == 0)
            return info.field_count > 0;
    }
    return false;
}

/* The columns of a set are those of its read plan, so that Describe cannot differ from a reply. */
static bool describe_set(struct agg *agg, const struct agg_set_info *info, struct fr_arena *arena,
                         Freshet__V1__FeatureSetDescription *set, struct fr_err *err)
{
    const char *const *user_names, *const *item_names;
    const struct agg_plan *plan;

    freshet__v1__feature_set_description__init(set);
    if (!agg_plan_get(agg, info->name, NULL, 0, &plan, err))
        return false;
    set->name = (char *)info->name;
    set->sequences = fr_arena_take(arena, (size_t)(info->feature_count + 1) * sizeof *set->sequences);
    if (!set->sequences)
        return fr_fail(err, FR_EXHAUSTED, "the description is larger than a call may be");
    for (int i = 0; i < info->feature_count; i++)
        if (is_sequence(agg, info->features[i]))
            set->sequences[set->n_sequences++] = (char *)info->features[i];
    set->n_user_columns = (size_t)agg_plan_user_columns(plan, &user_names);
    set->user_columns = (char **)user_names;
    set->n_item_columns = (size_t)agg_plan_item_columns(plan, &item_names);
    set->item_columns = (char **)item_names;
    set->schema = pipeline_features__schema(plan);
    return true;
}

static bool describe_sets(struct agg *agg, struct fr_arena *arena, Freshet__V1__DescribeResponse *response, struct fr_err *err)
{
    size_t count = (size_t)agg_set_count(agg);
    Freshet__V1__FeatureSetDescription *sets = fr_arena_take(arena, (count ? count : 1) * sizeof *sets);

    response->feature_sets = fr_arena_take(arena, (count ? count : 1) * sizeof *response->feature_sets);
    if (!sets || !response->feature_sets)
        return fr_fail(err, FR_EXHAUSTED, "the description is larger than a call may be");
    for (size_t i = 0; i < count; i++) {
        struct agg_set_info info = agg_set_at(agg, (int)i);

        if (!describe_set(agg, &info, arena, &sets[i], err))
            return false;
        response->feature_sets[i] = &sets[i];
    }
    response->n_feature_sets = count;
    return true;
}

static bool describe_lists(struct agg *agg, struct fr_arena *arena, Freshet__V1__DescribeResponse *response)
{
    size_t count = (size_t)agg_list_count(agg);
    Freshet__V1__ListDescription *lists = fr_arena_take(arena, (count + 1) * sizeof *lists);

    response->lists = fr_arena_take(arena, (count + 1) * sizeof *response->lists);
    if (!lists || !response->lists)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct agg_list_info info = agg_list_at(agg, (int)i);

        freshet__v1__list_description__init(&lists[i]);
        lists[i].name = (char *)info.name;
        lists[i].entity = (char *)info.entity;
        lists[i].rank = (char *)info.rank;
        lists[i].weigh = (char *)info.weigh;
        lists[i].without = (char *)info.without;
        lists[i].scopes = (char **)(uintptr_t)info.scopes; /* only read */
        lists[i].n_scopes = (size_t)info.scope_count;
        lists[i].limit = info.limit;
        response->lists[i] = &lists[i];
    }
    response->n_lists = count;
    return true;
}

bool pipeline_features__describe(void *user, struct server_call *call, const ProtobufCMessage *message,
                                 ProtobufCMessage **answer, struct fr_err *err)
{
    struct pipeline_services *services = user;
    Freshet__V1__DescribeResponse *response = fr_arena_take(call->arena, sizeof *response);

    (void)message;
    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the description is larger than a call may be");
    freshet__v1__describe_response__init(response);
    if (!describe_entities(services->agg, call->arena, response) || !describe_features(services->agg, call->arena, response) ||
        !describe_lists(services->agg, call->arena, response))
        return fr_fail(err, FR_EXHAUSTED, "the description is larger than a call may be");
    if (!describe_sets(services->agg, call->arena, response, err))
        return false;
    if (!pipeline_models__describe(services->models, call->arena, response))
        return fr_fail(err, FR_EXHAUSTED, "the description is larger than a call may be");
    *answer = &response->base;
    return true;
}
