/*
 * RecallService: candidates. A request becomes a question to aggregators, asked at T; its answer's arrays are handed to the message as
 * they are.
 */
#include "services.h"

#include <freshet/v1/recall.pb-c.h>

enum { READ_ATTEMPTS = 5 };

typedef bool (*recall_fn)(struct agg *agg, const struct agg_recall *ask, struct fr_arena *arena,
                          struct agg_candidates *candidates, struct fr_err *err);

/*
 * One attempt, on a visit. What a list names is known only as it is followed: where any entity may have to come from disk, a loop
 * leaves all of it to the pool.
 */
static bool read_once(struct pipeline_services *services, struct server_call *call, recall_fn recall,
                      const struct agg_recall *ask, struct agg_candidates *candidates, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(services->store);
    bool is_read = false;

    call->is_postponed = !call->may_block && !store_is_whole(services->store);
    if (!call->is_postponed)
        is_read = recall(services->agg, ask, call->arena, candidates, err);
    store_visit_leave(services->store, visit);
    return is_read;
}

/* A read that took so long that state may have been pruned past its T meanwhile is done again at the new T. */
static bool read_candidates(struct pipeline_services *services, struct server_call *call, recall_fn recall,
                            struct agg_recall *ask, struct agg_candidates *candidates, struct pipeline_now *now,
                            struct fr_err *err)
{
    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        *now = pipeline_stream__now(services->stream);
        ask->time_ms = now->read_time_ms;
        if (!read_once(services, call, recall, ask, candidates, err))
            return false;
        if (pipeline_stream__horizon(services->stream) <= ask->time_ms)
            return true;
    }
    return fr_fail(err, FR_UNAVAILABLE, "the stream's time ran ahead of %d attempts to read; retry", READ_ATTEMPTS);
}

static bool answer_with(struct pipeline_services *services, struct server_call *call, recall_fn recall, struct agg_recall ask,
                        ProtobufCMessage **answer, struct fr_err *err)
{
    Freshet__V1__Candidates *response = fr_arena_take(call->arena, sizeof *response);
    struct agg_candidates candidates;
    struct pipeline_now now;
    int64_t user_time_ms;

    if (!pipeline_serving__check(services, err) || !pipeline_serving__check_user(services, ask.user_id, err))
        return false;
    user_time_ms = pipeline_serving__user_time(services, ask.user_id);
    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the reply grows beyond its limit; ask for fewer candidates");
    if (!read_candidates(services, call, recall, &ask, &candidates, &now, err))
        return false;
    freshet__v1__candidates__init(response);
    pipeline_serving__stamp(user_time_ms, &now);
    response->ids = candidates.ids;
    response->n_ids = candidates.count;
    response->scores = candidates.scores;
    response->n_scores = candidates.count;
    response->stream_time_ms = now.stream_time_ms;
    response->applied_lag_ms = now.applied_lag_ms;
    pipeline_callers__note(&services->callers, call->caller, now.applied_lag_ms);
    *answer = &response->base;
    return true;
}

bool pipeline_recall__trending(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                               struct fr_err *err)
{
    const Freshet__V1__TrendingRequest *request = (const Freshet__V1__TrendingRequest *)message;
    struct agg_recall ask = {.name = request->list,
                             .scope = request->scope,
                             .id = request->scope_id,
                             .limit = request->limit,
                             .user_id = request->exclude_seen_by,
                             .seen_within_ms = (int64_t)request->seen_within_s * 1000};

    return answer_with(user, call, agg_recall_trending, ask, answer, err);
}

bool pipeline_recall__related(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                              struct fr_err *err)
{
    const Freshet__V1__RelatedRequest *request = (const Freshet__V1__RelatedRequest *)message;
    struct agg_recall ask = {.name = request->feature,
                             .id = request->item_id,
                             .limit = request->limit,
                             .user_id = request->exclude_seen_by,
                             .seen_within_ms = (int64_t)request->seen_within_s * 1000};

    return answer_with(user, call, agg_recall_related, ask, answer, err);
}

bool pipeline_recall__recent(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                             struct fr_err *err)
{
    const Freshet__V1__RecentRequest *request = (const Freshet__V1__RecentRequest *)message;
    struct agg_recall ask = {.name = request->kind,
                             .limit = request->limit,
                             .user_id = request->user_id,
                             .seen_within_ms = (int64_t)request->seen_within_s * 1000};

    return answer_with(user, call, agg_recall_recent, ask, answer, err);
}

bool pipeline_recall__labels(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                             struct fr_err *err)
{
    const Freshet__V1__LabelsRequest *request = (const Freshet__V1__LabelsRequest *)message;
    struct agg_recall ask = {.name = request->feature, .id = request->item_id, .limit = request->limit};

    return answer_with(user, call, agg_recall_labels, ask, answer, err);
}
