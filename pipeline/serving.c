/*
 * Whether reads are answered. A node that has state serves it, ready or not, and stamps each reply with how far it is behind: a
 * ranker is better off with features of a minute ago than with none. What never was ready and has no state has nothing to serve,
 * and zeros would look like values.
 */
#include "services.h"

#include <freshet/clock.h>

static bool has_state(struct pipeline_stream *stream)
{
    return pipeline_stream__time(stream) > 0 || pipeline_stream__records(stream) > 0;
}

bool pipeline_serving__check(struct pipeline_services *services, struct fr_err *err)
{
    struct pipeline_stream *stream = services->stream;

    if (atomic_load(&services->is_closing))
        return fr_fail(err, FR_UNAVAILABLE, "the node is shutting down; ask another one or retry");
    if (atomic_load_explicit(&stream->was_fresh, memory_order_relaxed) || has_state(stream))
        return true;
    (void)pipeline_stream__lag(stream); /* which notes that it is fresh */
    return atomic_load_explicit(&stream->was_fresh, memory_order_relaxed) ||
           fr_fail(err, FR_UNAVAILABLE, "the node is new and not ready: %s; ask another one or retry",
                   pipeline_admin__not_ready(services));
}

bool pipeline_serving__check_user(struct pipeline_services *services, uint64_t user_id, struct fr_err *err)
{
    return !services->cluster || pipeline_cluster__check_user(services->cluster, user_id, err);
}

int64_t pipeline_serving__user_time(struct pipeline_services *services, uint64_t user_id)
{
    return services->cluster ? pipeline_cluster__user_time(services->cluster, user_id) : INT64_MAX;
}

/* What its owner has applied since then nobody can know here, so all that time counts. */
void pipeline_serving__stamp(int64_t time_ms, struct pipeline_now *now)
{
    int64_t behind_ms;

    if (time_ms == INT64_MAX)
        return;
    behind_ms = fr_clock_wall_ms() - time_ms;
    if (time_ms < now->stream_time_ms)
        now->stream_time_ms = time_ms;
    if (behind_ms > now->applied_lag_ms)
        now->applied_lag_ms = behind_ms;
}

uint64_t pipeline_serving__user_of(struct pipeline_services *services, const Freshet__V1__EntityKey *entity)
{
    for (int i = 0; i < agg_entity_count(services->agg); i++) {
        struct agg_entity_info info = agg_entity_at(services->agg, i);

        for (int k = 0; k < info.key_count && (size_t)k < entity->n_key && strcmp(info.name, entity->entity) == 0; k++)
            if (strcmp(info.key[k], "user_id") == 0)
                return entity->key[k];
    }
    return 0;
}

bool pipeline_serving__check_alone(struct pipeline_services *services, const char *what, struct fr_err *err)
{
    return !services->cluster ||
           fr_fail(err, FR_PRECONDITION, "%s is not in clusters yet: what it says would be of one instance", what);
}
