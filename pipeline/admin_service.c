/*
 * AdminService: what operators ask. The status is computed when it is asked for; a digest waits for an epoch of its own.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>
#include <stdio.h>

enum { COMMIT_MS = 30000, DIGEST_ATTEMPTS = 3 };

static const char no_broker[] = "no broker answers";

const char *pipeline_admin__not_ready(struct pipeline_services *services)
{
    struct pipeline_lag lag = pipeline_stream__lag(services->stream);

    if (atomic_load(&services->is_closing))
        return "shutting down";
    if (store_is_failed(services->store))
        return "the store has failed; see the log, mend the disk and restart";
    if (services->cluster && lag.is_connected && pipeline_cluster__not_ready(services->cluster))
        return pipeline_cluster__not_ready(services->cluster);
    if (services->tables && lag.is_connected && !pipeline_tables__is_caught_up(services->tables))
        return "reading tables";
    if (atomic_load_explicit(&services->stream->was_fresh, memory_order_relaxed))
        return NULL;
    if (!lag.is_connected)
        return no_broker;
    if (!lag.is_known)
        return "partitions are being assigned";
    return "catching up with Kafka";
}

bool pipeline_admin__is_ready(struct pipeline_services *services, char reason[PIPELINE_REASON_BYTES])
{
    struct ingest *ingest = atomic_load_explicit(&services->stream->ingest, memory_order_acquire);
    const char *found = pipeline_admin__not_ready(services);
    char trouble[INGEST_TROUBLE_BYTES] = "";

    if (found == no_broker && ingest)
        ingest_trouble(ingest, trouble);
    snprintf(reason, PIPELINE_REASON_BYTES, "%s%s%s", found ? found : "", trouble[0] ? ": " : "", trouble);
    return found == NULL;
}

static bool put_partitions(struct pipeline_services *services, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    struct ingest *ingest = atomic_load_explicit(&services->stream->ingest, memory_order_acquire);
    int count = ingest ? ingest_partition_count(ingest) : 0;
    Freshet__V1__PartitionStatus *partitions = fr_arena_take(arena, (size_t)(count + 1) * sizeof *partitions);

    response->partitions = fr_arena_take(arena, (size_t)(count + 1) * sizeof *response->partitions);
    if (!partitions || !response->partitions)
        return false;
    for (int i = 0; i < count; i++) {
        struct ingest_partition from = ingest_partition_at(ingest, i);
        int64_t next = pipeline_offsets__next(services->offsets, i);

        freshet__v1__partition_status__init(&partitions[i]);
        partitions[i].topic = (char *)from.topic;
        partitions[i].partition = from.number;
        partitions[i].next_offset = next;
        partitions[i].end_offset = from.end;
        next = next < from.low ? from.low : next;
        partitions[i].lag_events = !from.is_owned ? -1 : from.end > next && next >= 0 ? from.end - next : 0;
        partitions[i].gap_events = from.gap_events;
        response->partitions[i] = &partitions[i];
    }
    response->n_partitions = (size_t)count;
    return true;
}

static bool put_features(struct agg *agg, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    int count = agg_feature_count(agg);
    Freshet__V1__FeatureStatus *features = fr_arena_take(arena, (size_t)(count + 1) * sizeof *features);

    response->features = fr_arena_take(arena, (size_t)(count + 1) * sizeof *response->features);
    if (!features || !response->features)
        return false;
    for (int i = 0; i < count; i++) {
        struct agg_feature_info info = agg_feature_at(agg, i);

        freshet__v1__feature_status__init(&features[i]);
        features[i].name = (char *)info.name;
        features[i].complete_from_ms = info.complete_from_ms;
        features[i].generation = info.generation;
        response->features[i] = &features[i];
    }
    response->n_features = (size_t)count;
    return true;
}

static uint64_t sum_events(struct fr_metrics *metrics, const char *outcome)
{
    uint64_t events = 0;

    for (uint32_t action = 1; action < PROTO_ACTIONS; action++) {
        char labels[96];

        snprintf(labels, sizeof labels, "action=\"%s\",outcome=\"%s\"", proto_action_name(action), outcome);
        events += fr_counter_read(fr_metrics_counter(metrics, "freshet_events_total", labels, NULL));
    }
    return events;
}

/* Since this process started; `applied_events` is what a store's life counts. */
static bool put_outcomes(struct fr_metrics *metrics, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    enum { OUTCOMES = 4 + PROTO_VERDICTS };
    Freshet__V1__OutcomeCount *outcomes = fr_arena_take(arena, OUTCOMES * sizeof *outcomes);
    size_t count = 0;

    response->outcomes = fr_arena_take(arena, OUTCOMES * sizeof *response->outcomes);
    if (!outcomes || !response->outcomes)
        return false;
    for (int i = 0; i < OUTCOMES; i++) {
        freshet__v1__outcome_count__init(&outcomes[i]);
        response->outcomes[i] = &outcomes[i];
    }
    outcomes[count].outcome = "applied";
    outcomes[count++].events = sum_events(metrics, "applied");
    outcomes[count].outcome = "duplicate";
    outcomes[count++].events = sum_events(metrics, "duplicate");
    outcomes[count].outcome = "forgotten";
    outcomes[count++].events = sum_events(metrics, "forgotten");
    outcomes[count].outcome = "blocked";
    outcomes[count++].events = sum_events(metrics, "blocked");
    for (int verdict = PROTO_UNKNOWN_ACTION; verdict < PROTO_VERDICTS; verdict++) {
        char labels[64];

        snprintf(labels, sizeof labels, "outcome=\"%s\"", proto_verdict_name((enum proto_verdict)verdict));
        outcomes[count].outcome = (char *)proto_verdict_name((enum proto_verdict)verdict);
        outcomes[count++].events = fr_counter_read(fr_metrics_counter(metrics, "freshet_ingest_records_total", labels, NULL));
    }
    response->n_outcomes = count;
    return true;
}

static void put_readiness(struct pipeline_services *services, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    char reason[PIPELINE_REASON_BYTES], *copy;

    response->ready = pipeline_admin__is_ready(services, reason);
    copy = fr_arena_copy(arena, fr_slice_of(reason));
    response->not_ready_reason = copy ? copy : "";
}

static void put_clock(struct pipeline_services *services, struct fr_arena *arena, Freshet__V1__StatusResponse *response)
{
    char trouble[PIPELINE_CLOCK_TEXT_BYTES], *copy;

    response->clock = services->stream->is_event_clock ? "event" : "wall";
    response->clock_skew_ms = pipeline_stream__skew(services->stream);
    pipeline_clock__describe(response->clock_skew_ms, services->stream->max_future_ms, trouble);
    copy = fr_arena_copy(arena, fr_slice_of(trouble));
    response->clock_trouble = copy ? copy : "";
}

static void put_numbers(struct pipeline_services *services, Freshet__V1__StatusResponse *response)
{
    struct pipeline_lag lag = pipeline_stream__lag(services->stream);
    struct pipeline_now now = pipeline_stream__now(services->stream);
    struct store_stats stats;

    store_stats_read(services->store, &stats);
    response->cluster_id =
        atomic_load_explicit(&services->offsets->is_cluster_known, memory_order_acquire) ? services->offsets->cluster : "";
    response->brokers = (char *)services->brokers;
    response->stream_time_ms = now.stream_time_ms;
    response->read_time_ms = now.read_time_ms;
    response->lag_events = lag.events;
    response->stale_ms = lag.stale_ms;
    response->applied_events = pipeline_stream__records(services->stream);
    response->entities = stats.entities;
    response->memory_bytes = stats.total_bytes;
    response->memory_budget_bytes = services->budget_bytes;
    response->store_path = services->store_path ? services->store_path : "";
    response->machine_memory_bytes = services->machine.memory_bytes;
    response->epoch = stats.epoch;
    response->version = PIPELINE_VERSION;
}

ProtobufCMessage *pipeline_admin__status_message(struct pipeline_services *services, struct fr_arena *arena)
{
    Freshet__V1__StatusResponse *response = fr_arena_take(arena, sizeof *response);

    if (!response)
        return NULL;
    freshet__v1__status_response__init(response);
    put_readiness(services, arena, response);
    put_numbers(services, response);
    put_clock(services, arena, response);
    if (!put_partitions(services, arena, response) || !put_features(services->agg, arena, response) ||
        !put_outcomes(services->metrics, arena, response) || !pipeline_ledger__put(services, arena, response) ||
        !pipeline_blocks__counts(services->blocks, services->agg, arena, &response->blocked, &response->n_blocked))
        return NULL;
    response->models = pipeline_models__states(services->models, -1, arena, &response->n_models);
    if (!response->models)
        return NULL;
    return &response->base;
}

bool pipeline_admin__status(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    (void)message;
    *answer = pipeline_admin__status_message(user, call->arena);
    return *answer ? true : fr_fail(err, FR_EXHAUSTED, "the status is larger than a call may be");
}

Freshet__V1__Offset **pipeline_admin__offsets(struct pipeline_services *services, struct fr_arena *arena, size_t *total)
{
    struct ingest *ingest = atomic_load_explicit(&services->stream->ingest, memory_order_acquire);
    int count = ingest ? ingest_partition_count(ingest) : 0;
    Freshet__V1__Offset *offsets = fr_arena_take(arena, (size_t)(count + 1) * sizeof *offsets);
    Freshet__V1__Offset **list = fr_arena_take(arena, (size_t)(count + 1) * sizeof *list);

    if (!offsets || !list)
        return NULL;
    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);

        freshet__v1__offset__init(&offsets[i]);
        offsets[i].topic = (char *)partition.topic;
        offsets[i].partition = partition.number;
        offsets[i].offset = pipeline_offsets__next(services->offsets, i);
        list[i] = &offsets[i];
    }
    *total = (size_t)count;
    return list;
}

static bool back_up(struct pipeline_services *services, const Freshet__V1__CheckpointRequest *request,
                    Freshet__V1__CheckpointResponse *response, struct fr_err *err)
{
    struct store_backup_options options = {.directory = request->backup_dir, .keep = request->keep};
    struct store_backup backup;

    if (request->backup_dir[0] != '/')
        return fr_fail(err, FR_BAD_INPUT,
                       "backup_dir: '%.200s' is not absolute; name a directory of the node's machine by its "
                       "whole path",
                       request->backup_dir);
    if (!pipeline_backup__make(services, &options, &backup, err))
        return false;
    response->backup_id = backup.id;
    response->backup_bytes = backup.bytes;
    response->backup_files = backup.files;
    return true;
}

bool pipeline_admin__checkpoint(void *user, struct server_call *call, const ProtobufCMessage *message,
                                ProtobufCMessage **answer, struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__CheckpointRequest *request = (const Freshet__V1__CheckpointRequest *)message;
    Freshet__V1__CheckpointResponse *response = fr_arena_take(call->arena, sizeof *response);
    struct store_stats stats;

    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    freshet__v1__checkpoint_response__init(response);
    /* Taken before the epoch turns, so that it covers at least these. */
    response->offsets = pipeline_admin__offsets(services, call->arena, &response->n_offsets);
    if (!response->offsets)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    if (!pipeline_committer__commit(services->committer, COMMIT_MS, err))
        return false;
    store_stats_read(services->store, &stats);
    response->epoch = stats.epoch;
    *answer = &response->base;
    if (request->backup_dir[0] != 0 && !pipeline_serving__check_alone(services, "a backup", err))
        return false;
    return request->backup_dir[0] == 0 || back_up(services, request, response, err);
}

/* An epoch that turns (it was asked for) between the time of one and the scan of the next would mix the two: look again. */
static bool take_digest(struct pipeline_services *services, bool is_all, struct agg_digest *digest, int64_t *time_ms,
                        uint64_t *epoch, struct fr_err *err)
{
    for (int attempt = 0; attempt < DIGEST_ATTEMPTS; attempt++) {
        struct store_stats before, after;

        store_stats_read(services->store, &before);
        *time_ms = atomic_load(&services->committer->durable_time_ms);
        if (!agg_digest(services->agg, *time_ms, is_all, digest, err))
            return false;
        store_stats_read(services->store, &after);
        *epoch = after.epoch;
        if (before.epoch == after.epoch)
            return true;
    }
    return fr_fail(err, FR_UNAVAILABLE, "epochs turned during each of %d digests; ask again", DIGEST_ATTEMPTS);
}

bool pipeline_admin__digest(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                            struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__DigestRequest *request = (const Freshet__V1__DigestRequest *)message;
    Freshet__V1__DigestResponse *response = fr_arena_take(call->arena, sizeof *response);
    char *text = fr_arena_take(call->arena, 33), *lists = fr_arena_take(call->arena, 33);
    struct agg_digest digest;
    bool is_taken;

    if (!response || !text || !lists)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    freshet__v1__digest_response__init(response);
    if (!pipeline_committer__commit(services->committer, COMMIT_MS, err))
        return false;
    atomic_fetch_add(&services->committer->holds, 1);
    is_taken = take_digest(services, request->all, &digest, &response->stream_time_ms, &response->epoch, err);
    atomic_fetch_sub(&services->committer->holds, 1);
    if (!is_taken)
        return false;
    snprintf(text, 33, "%016" PRIx64 "%016" PRIx64, digest.hash[0], digest.hash[1]);
    response->digest = text;
    snprintf(lists, 33, "%016" PRIx64 "%016" PRIx64, digest.lists[0], digest.lists[1]);
    if (request->all)
        response->lists_digest = lists;
    response->entities = digest.entities;
    *answer = &response->base;
    return true;
}
