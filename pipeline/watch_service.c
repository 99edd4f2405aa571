/*
 * FeatureService.WatchFeatures: a request is checked and compiled, the watcher reads, and the stream sends what it finds in the places
 * of its entities, one message at a time, each in its turn.
 */
#include "services.h"
#include "watch.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdlib.h>

enum {
    INTERVAL_LEAST_MS = 100,
    INTERVAL_DEFAULT_MS = 1000,
    FEATURES_MOST = 1024,
    LOOK_MS = 2, /* while a reading is due */
    WATCH_BYTES_MOST = 64 << 20,
};

/* ---- the request ---- */

static bool fail_memory(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the watch is larger than one may be; name fewer entities or features");
}

static bool check(const Freshet__V1__WatchFeaturesRequest *request, int64_t entities_max, struct fr_err *err)
{
    if (request->interval_ms != 0 && request->interval_ms < INTERVAL_LEAST_MS)
        return fr_fail(err, FR_BAD_INPUT, "interval_ms: %" PRIu32 " is too short; use %d or more, or 0 for %d",
                       request->interval_ms, INTERVAL_LEAST_MS, INTERVAL_DEFAULT_MS);
    if (request->n_entities == 0)
        return fr_fail(err, FR_BAD_INPUT, "entities: none given; name what to watch");
    if (request->n_entities > (size_t)entities_max)
        return fr_fail(err, FR_EXHAUSTED, "entities: %zu given; watch at most %d a stream (server.limits.watch_entities)",
                       request->n_entities, (int)entities_max);
    if (request->n_features > FEATURES_MOST)
        return fr_fail(err, FR_BAD_INPUT, "features: %zu given; name at most %d", request->n_features, FEATURES_MOST);
    return true;
}

static struct pipeline_watched_kind *find_kind(struct pipeline_watch *watch, const char *name)
{
    for (int i = 0; i < watch->kind_count; i++) {
        if (strcmp(watch->kinds[i].name, name) == 0)
            return &watch->kinds[i];
    }
    return NULL;
}

static struct pipeline_watched_kind *add_kind(struct pipeline_services *services,
                                              const Freshet__V1__WatchFeaturesRequest *request, const char *name,
                                              struct pipeline_watch *watch, struct fr_err *err)
{
    struct pipeline_watched_kind *kind = &watch->kinds[watch->kind_count];

    if (!agg_columns_new(services->agg, name, request->features, (int)request->n_features, &kind->columns, err))
        return NULL;
    watch->kind_count++;
    kind->count = agg_columns_names(kind->columns, &kind->names);
    for (int i = 0; i < agg_entity_count(services->agg); i++) {
        struct agg_entity_info info = agg_entity_at(services->agg, i);

        if (strcmp(info.name, name) == 0) {
            kind->name = info.name; /* the request's goes away */
            kind->id_count = info.key_count;
        }
    }
    return kind;
}

static bool add_entity(struct pipeline_services *services, const Freshet__V1__WatchFeaturesRequest *request, size_t index,
                       struct pipeline_watch *watch, struct fr_err *err)
{
    const Freshet__V1__EntityKey *asked = request->entities[index];
    struct pipeline_watched *watched = &watch->entities[index];

    watched->kind = find_kind(watch, asked->entity);
    if (!watched->kind)
        watched->kind = add_kind(services, request, asked->entity, watch, err);
    if (!watched->kind) /* the features are known to be there */
        return err->code == FR_BAD_INPUT ? fr_fail_in(err, "entities[%zu].entity", index) : false;
    if (watched->kind->count == 0)
        return fr_fail(err, FR_BAD_INPUT, "entities[%zu]: %s of kind '%s'; name one, or leave the entity out", index,
                       request->n_features > 0 ? "features names no column" : "there is no column", watched->kind->name);
    if (!agg_columns_check_key(watched->kind->columns, (int)asked->n_key, err))
        return fr_fail_in(err, "entities[%zu].key", index);
    memcpy(watched->key, asked->key, asked->n_key * sizeof *asked->key);
    watched->user_id = pipeline_serving__user_of(services, asked);
    if (services->cluster && !pipeline_cluster__check_owned(services->cluster, watched->user_id, err))
        return fr_fail_in(err, "entities[%zu]", index);
    watched->sent = fr_arena_take(watch->arena, (size_t)watched->kind->count * sizeof(float));
    watched->offered = fr_arena_take(watch->arena, (size_t)watched->kind->count * sizeof(float));
    watch->entity_count++;
    watch->value_count += watched->kind->count;
    return (watched->sent && watched->offered) || fail_memory(err);
}

static bool check_features(struct pipeline_services *services, const Freshet__V1__WatchFeaturesRequest *request,
                           struct fr_err *err)
{
    struct agg_feature_info info;

    for (size_t i = 0; i < request->n_features; i++) {
        if (!agg_feature_find(services->agg, request->features[i], &info, err))
            return fr_fail_in(err, "features[%zu]", i);
        if (info.column_count == 0)
            return fr_fail(err, FR_BAD_INPUT, "features[%zu]: '%s' has no columns to watch; read it with GetFeatures", i,
                           info.name);
    }
    return true;
}

/* A feature that no entity shows is a mistake. */
static bool check_shown(struct pipeline_services *services, const Freshet__V1__WatchFeaturesRequest *request, size_t index,
                        struct pipeline_watch *watch, struct fr_err *err)
{
    struct agg_feature_info info;

    return agg_feature_find(services->agg, request->features[index], &info, err) &&
           (find_kind(watch, info.entity) ||
            fr_fail(err, FR_BAD_INPUT, "features[%zu]: '%s' is of kind '%s', and no entity of that kind is given", index,
                    info.name, info.entity));
}

static bool compile(struct pipeline_services *services, const Freshet__V1__WatchFeaturesRequest *request,
                    struct pipeline_watch *watch, struct fr_err *err)
{
    int most = 0;

    watch->kinds = fr_arena_take_zeroed(watch->arena, (size_t)agg_entity_count(services->agg) + 1, sizeof *watch->kinds);
    watch->entities = fr_arena_take_zeroed(watch->arena, request->n_entities, sizeof *watch->entities);
    if (!watch->kinds || !watch->entities)
        return fail_memory(err);
    for (size_t i = 0; i < request->n_entities; i++) {
        if (!add_entity(services, request, i, watch, err))
            return false;
    }
    for (size_t i = 0; i < request->n_features; i++) {
        if (!check_shown(services, request, i, watch, err))
            return false;
    }
    for (int i = 0; i < watch->kind_count; i++)
        most = watch->kinds[i].count > most ? watch->kinds[i].count : most;
    watch->values = fr_arena_take(watch->arena, (size_t)most * sizeof *watch->values);
    return watch->values || fail_memory(err);
}

static bool begin(void *user, struct server_call *call, const ProtobufCMessage *message, void **state, struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__WatchFeaturesRequest *request = (const Freshet__V1__WatchFeaturesRequest *)message;
    struct fr_arena *arena;
    struct pipeline_watch *watch;

    (void)call;
    if (!pipeline_serving__check(services, err))
        return false;
    if (!check(request, services->watches->limits->entities, err) || !check_features(services, request, err))
        return false;
    arena = fr_arena_new(WATCH_BYTES_MOST);
    watch = arena ? fr_arena_take_zeroed(arena, 1, sizeof *watch) : NULL;
    if (!watch) {
        fr_arena_free(arena);
        return fail_memory(err);
    }
    watch->arena = arena;
    watch->watches = services->watches;
    watch->interval_ms = request->interval_ms ? request->interval_ms : INTERVAL_DEFAULT_MS;
    if (!compile(services, request, watch, err) || !pipeline_watches__add(services->watches, watch, err)) {
        pipeline_watch__free(watch);
        return false;
    }
    *state = watch;
    return true;
}

/* ---- the stream ---- */

static struct pipeline_update *next_update(struct pipeline_watch *watch, struct pipeline_watched **watched)
{
    unsigned long readings = atomic_load_explicit(&watch->readings, memory_order_acquire);

    if (readings == watch->seen)
        return NULL;
    for (int i = 0; i < watch->entity_count; i++) {
        struct pipeline_update *update;

        *watched = &watch->entities[watch->at];
        watch->at = (watch->at + 1) % watch->entity_count;
        update = pipeline_watched__take(*watched);
        if (update)
            return update;
    }
    watch->seen = readings;
    return NULL;
}

static bool make_response(const struct pipeline_watched *watched, const struct pipeline_update *update, struct fr_arena *arena,
                          ProtobufCMessage **answer)
{
    Freshet__V1__WatchFeaturesUpdate *response = fr_arena_take(arena, sizeof *response);
    Freshet__V1__EntityKey *key = fr_arena_take(arena, sizeof *key);
    size_t count = (size_t)watched->kind->count;
    float *values = fr_arena_take(arena, count * sizeof *values);

    if (!response || !key || !values)
        return false;
    freshet__v1__entity_key__init(key);
    key->entity = (char *)watched->kind->name;
    key->key = (uint64_t *)watched->key;
    key->n_key = (size_t)watched->kind->id_count;
    memcpy(values, update->values, count * sizeof *values);
    freshet__v1__watch_features_update__init(response);
    response->entity = key;
    response->columns = (char **)watched->kind->names;
    response->n_columns = count;
    response->values = values;
    response->n_values = count;
    response->stream_time_ms = update->stream_time_ms;
    response->applied_lag_ms = update->applied_lag_ms;
    response->skipped = update->skipped;
    *answer = &response->base;
    return true;
}

static enum server_step next(void *user, struct server_call *call, void *state, ProtobufCMessage **response, int64_t *wait_ms,
                             struct fr_err *err)
{
    struct pipeline_services *services = user;
    struct pipeline_watch *watch = state;
    struct pipeline_watched *watched;
    struct pipeline_update *update = next_update(watch, &watched);
    bool is_made;

    if (!update && atomic_load_explicit(&watch->is_failed, memory_order_acquire)) {
        *err = watch->failure;
        return SERVER_STEP_FAIL;
    }
    if (!update) {
        *wait_ms = atomic_load_explicit(&watch->next_ms, memory_order_relaxed) - fr_clock_monotonic_ms() + 1;
        *wait_ms = *wait_ms < LOOK_MS ? LOOK_MS : *wait_ms;
        return SERVER_STEP_WAIT;
    }
    pipeline_callers__note(&services->callers, call->caller, update->applied_lag_ms);
    is_made = make_response(watched, update, call->arena, response);
    free(update);
    if (!is_made) {
        (void)fail_memory(err);
        return SERVER_STEP_FAIL;
    }
    fr_counter_add(services->watches->sent, 1);
    return SERVER_STEP_SEND;
}

static void end(void *user, void *state)
{
    (void)user;
    pipeline_watches__end(state);
}

const struct server_streaming pipeline_watching = {.request = begin, .next = next, .end = end};
