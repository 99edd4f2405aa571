/*
 * AdminService.Cluster: who has which partitions. Of a node that stands alone: itself, with all of them. AdminService.Drain: others are to
 * have this one's.
 */
#include "services.h"

static bool put_member(struct fr_arena *arena, Freshet__V1__ClusterResponse *response, const char *instance, const char *api,
                       bool is_own, int partitions)
{
    Freshet__V1__ClusterMember *member = fr_arena_take(arena, sizeof *member);

    if (!member)
        return false;
    freshet__v1__cluster_member__init(member);
    member->instance = (char *)(uintptr_t)instance;
    member->api = (char *)(uintptr_t)api;
    member->live = is_own;
    member->partitions = fr_arena_take(arena, ((size_t)partitions + 1) * sizeof *member->partitions);
    response->members[response->n_members++] = member;
    return member->partitions != NULL;
}

/* The member's place; a partition that nobody announced has none. */
static Freshet__V1__ClusterMember *find(const Freshet__V1__ClusterResponse *response, const char *instance)
{
    for (size_t i = 0; i < response->n_members; i++)
        if (strcmp(response->members[i]->instance, instance) == 0)
            return response->members[i];
    return NULL;
}

static bool put_partitions(const struct pipeline_cluster *cluster, struct fr_arena *arena,
                           Freshet__V1__ClusterResponse *response)
{
    int count = pipeline_cluster__partitions(cluster);
    Freshet__V1__ClusterPartition *partitions = fr_arena_take(arena, ((size_t)count + 1) * sizeof *partitions);

    response->members = fr_arena_take(arena, ((size_t)count + 1) * sizeof *response->members);
    response->partitions = fr_arena_take(arena, ((size_t)count + 1) * sizeof *response->partitions);
    if (!partitions || !response->members || !response->partitions)
        return false;
    for (int i = 0; i < count; i++) {
        struct pipeline_cluster_partition from = pipeline_cluster__partition(cluster, i);
        bool is_own = strcmp(from.instance, response->instance) == 0;
        Freshet__V1__ClusterMember *member;

        freshet__v1__cluster_partition__init(&partitions[i]);
        partitions[i].partition = i;
        partitions[i].instance = (char *)(uintptr_t)from.instance;
        partitions[i].here = from.is_here;
        partitions[i].restoring = from.is_restoring;
        partitions[i].changelog_next = from.changelog_next;
        partitions[i].standby = from.is_standby;
        partitions[i].deltas_lag = from.deltas_lag;
        partitions[i].changelog_lag = from.changelog_lag;
        response->partitions[response->n_partitions++] = &partitions[i];
        if (!from.instance[0])
            continue;
        if (!find(response, from.instance) && !put_member(arena, response, from.instance, from.api, is_own, count))
            return false;
        member = find(response, from.instance);
        member->partitions[member->n_partitions++] = i;
    }
    return true;
}

/* Of each partition that is here, over all topics; of others their owner knows. */
static void put_lag(struct pipeline_services *services, Freshet__V1__ClusterResponse *response)
{
    struct ingest *ingest = atomic_load_explicit(&services->stream->ingest, memory_order_acquire);
    int count = ingest ? ingest_partition_count(ingest) : 0;

    for (size_t i = 0; i < response->n_partitions; i++)
        response->partitions[i]->lag_events = response->partitions[i]->here ? 0 : -1;
    for (int i = 0; i < count; i++) {
        struct ingest_partition from = ingest_partition_at(ingest, i);
        int64_t next = pipeline_offsets__next(services->offsets, i);

        if (from.number < 0 || (size_t)from.number >= response->n_partitions || !response->partitions[from.number]->here)
            continue;
        next = next < from.low ? from.low : next;
        if (next >= 0 && from.end > next)
            response->partitions[from.number]->lag_events += from.end - next;
    }
}

bool pipeline_admin__cluster(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                             struct fr_err *err)
{
    struct pipeline_services *services = user;
    Freshet__V1__ClusterResponse *response = fr_arena_take(call->arena, sizeof *response);

    (void)message;
    if (!response)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    freshet__v1__cluster_response__init(response);
    response->mode = !services->cluster                                ? "standalone"
                     : pipeline_cluster__is_replica(services->cluster) ? "replica"
                                                                       : "cluster";
    *answer = &response->base;
    if (!services->cluster)
        return true;
    response->epoch = pipeline_cluster__epoch(services->cluster);
    response->instance = (char *)(uintptr_t)pipeline_cluster__instance(services->cluster);
    if (!put_partitions(services->cluster, call->arena, response))
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    put_lag(services, response);
    return true;
}

bool pipeline_admin__drain(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                           struct fr_err *err)
{
    struct pipeline_services *services = user;
    Freshet__V1__DrainReply *reply = fr_arena_take(call->arena, sizeof *reply);
    int left;

    (void)message;
    if (!services->cluster)
        return fr_fail(err, FR_PRECONDITION, "the node stands alone: nobody takes its partitions; stop it");
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    if (!pipeline_cluster__drain(services->cluster, &left, &call->is_asked_again, err))
        return false;
    freshet__v1__drain_reply__init(reply);
    reply->left = (uint32_t)left;
    reply->drained = left == 0;
    *answer = &reply->base;
    return true;
}
