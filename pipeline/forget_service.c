/*
 * AdminService.Forget: a tombstone first, with an epoch that makes all that is known of the user durable, then his entities are
 * taken away where that epoch has them, and a second epoch makes it so. A crash between the two leaves the tombstone: whoever got no
 * answer asks again. In a cluster his owner does it, and the tombstone goes into the changelog with that first epoch.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/v1/admin.pb-c.h>

enum { COMMIT_MS = 30000 };

struct forgetting {
    struct pipeline_services *services;
    struct pipeline_tombstone tombstone;
};

/* Late is what was made before now, by whichever clock is ahead: a user who comes back later is a new one. */
static bool raise_tombstone(void *user, struct store *store, struct fr_err *err)
{
    struct forgetting *forgetting = user;
    struct pipeline_stream *stream = forgetting->services->stream;
    int64_t stream_ms = pipeline_stream__time(stream), now_ms = stream->is_event_clock ? 0 : fr_clock_wall_ms();

    forgetting->tombstone.forgotten_ms = stream_ms > now_ms ? stream_ms : now_ms;
    forgetting->tombstone.until_ms = forgetting->tombstone.forgotten_ms + forgetting->services->tombstones_ms;
    return pipeline_tombstones__add(forgetting->services->tombstones, store, &forgetting->tombstone, err);
}

/* What models and sessions left that the configuration no longer has, or, in a cluster, that only other instances have. */
static bool erase_left(struct pipeline_services *services, uint64_t user_id, struct agg_forgotten *forgotten,
                       struct fr_err *err)
{
    const struct pipeline_learning *learning = services->learning;

    return (learning || (agg_forget_kind(services->agg, LEARNER_KIND_USER, user_id, forgotten, err) &&
                         agg_forget_kind(services->agg, LEARNER_KIND_ROWS, user_id, forgotten, err))) &&
           ((learning && learning->sessions) || agg_forget_kind(services->agg, LEARNER_KIND_SESSION, user_id, forgotten, err));
}

static bool erase(struct pipeline_services *services, uint64_t user_id, struct agg_forgotten *forgotten, struct fr_err *err)
{
    return agg_forget_user(services->agg, user_id, forgotten, err) &&
           (!services->learning ||
            pipeline_learning__forget(services->learning, user_id, &forgotten->entities, &forgotten->records, err)) &&
           erase_left(services, user_id, forgotten, err) && pipeline_committer__commit(services->committer, COMMIT_MS, err);
}

/* In a cluster the erasures have to be in a transaction of his owner's: while they are made his partition stays. */
static bool erase_here(struct pipeline_services *services, uint64_t user_id, uint64_t turns, struct agg_forgotten *forgotten,
                       struct fr_err *err)
{
    bool is_erased;

    if (services->cluster && !pipeline_cluster__begin_forgetting(services->cluster, turns, err))
        return false;
    is_erased = erase(services, user_id, forgotten, err);
    if (services->cluster)
        pipeline_cluster__end_forgetting(services->cluster);
    return is_erased;
}

bool pipeline_admin__forget(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__ForgetRequest *request = (const Freshet__V1__ForgetRequest *)message;
    struct forgetting forgetting = {.services = services, .tombstone = {.user_id = request->user_id}};
    Freshet__V1__ForgetReply *reply = fr_arena_take(call->arena, sizeof *reply);
    struct agg_forgotten forgotten = {0};
    uint64_t turns = services->cluster ? pipeline_cluster__turns(services->cluster) : 0;

    if (request->user_id == 0)
        return fr_fail(err, FR_BAD_INPUT, "user_id: 0 is no user; name the one to forget");
    if (services->cluster && !pipeline_cluster__check_owned(services->cluster, request->user_id, err))
        return false;
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    freshet__v1__forget_reply__init(reply);
    if (!pipeline_committer__commit_with(services->committer, raise_tombstone, &forgetting, COMMIT_MS, err) ||
        !erase_here(services, request->user_id, turns, &forgotten, err))
        return false;
    reply->entities = forgotten.entities;
    reply->records = forgotten.records;
    reply->tombstone_until_ms = forgetting.tombstone.until_ms;
    reply->backups_still_holding = pipeline_backup__holding(services, call->arena, &reply->n_backups_still_holding);
    if (!reply->backups_still_holding)
        return fr_fail(err, FR_EXHAUSTED, "the user is forgotten, but the list of backups is larger than a call may be");
    /* Not who: the log outlives the user. */
    fr_log(FR_LOG_INFO, "pipeline", "a user was forgotten: %llu entities, %llu records", (unsigned long long)forgotten.entities,
           (unsigned long long)forgotten.records);
    *answer = &reply->base;
    return true;
}
