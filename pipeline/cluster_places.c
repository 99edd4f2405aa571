/*
 * What calls ask of an instance: whose a user is, whether partitions stayed while something was done, who owns what. Any
 * thread; all of it is atomics that others write.
 */
#include "cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- whose a user is ---- */

const char *pipeline_cluster__not_ready(const struct pipeline_cluster *cluster)
{
    if (!atomic_load(&cluster->is_through))
        return "reading what other instances saw";
    if (atomic_load(&cluster->is_draining))
        return "drained: its partitions are others'";
    return atomic_load(&cluster->is_assigned) ? NULL : "waiting for partitions";
}

static bool may_be_stale(const struct pipeline_cluster *cluster, int partition)
{
    const struct pipeline_held *held = &cluster->held[partition];
    int place = atomic_load(&held->place);

    return cluster->config->are_stale_reads && atomic_load(&held->is_whole) &&
           (place == PIPELINE_CLUSTER_STANDBY || place == PIPELINE_CLUSTER_RESTORING);
}

int64_t pipeline_cluster__user_time(const struct pipeline_cluster *cluster, uint64_t user_id)
{
    int count = atomic_load(&cluster->partitions);
    const struct pipeline_held *held = count > 0 ? &cluster->held[ingest_partition_of(user_id, count)] : NULL;

    if (user_id == 0 || !held || atomic_load(&held->place) == PIPELINE_CLUSTER_HERE)
        return INT64_MAX;
    return atomic_load(&held->time_ms);
}

/* `what`: of the partition, with a space before it, or "". */
static bool check_partition(const struct pipeline_cluster *cluster, int partition, const char *what, struct fr_err *err)
{
    const struct pipeline_owner *owner;

    switch (atomic_load(&cluster->held[partition].place)) {
    case PIPELINE_CLUSTER_HERE:
        return true;
    case PIPELINE_CLUSTER_RESTORING:
        return fr_fail(err, FR_UNAVAILABLE, "partition %d%s is being handed over; retry", partition, what);
    default:
        break;
    }
    owner = atomic_load(&cluster->held[partition].owner);
    if (!owner || strcmp(owner->instance, cluster->config->id) == 0)
        return fr_fail(err, FR_UNAVAILABLE, "partition %d%s is at another instance, which has not said where; retry", partition,
                       what);
    return fr_fail(err, FR_PRECONDITION, "partition %d%s is at instance '%s': ask %s", partition, what, owner->instance,
                   owner->api);
}

bool pipeline_cluster__check_user(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);

    return (user_id != 0 && count > 0 && may_be_stale(cluster, ingest_partition_of(user_id, count))) ||
           pipeline_cluster__check_owned(cluster, user_id, err);
}

bool pipeline_cluster__check_owned(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    char what[48];

    if (user_id == 0)
        return true;
    if (count == 0)
        return fr_fail(err, FR_UNAVAILABLE, "the node does not know yet whose user %" PRIu64 " is; retry", user_id);
    snprintf(what, sizeof what, " with user %" PRIu64, user_id);
    return check_partition(cluster, ingest_partition_of(user_id, count), what, err);
}

bool pipeline_cluster__may_wait(const struct pipeline_cluster *cluster, int partition, struct fr_err *err)
{
    int place;

    if (!atomic_load(&cluster->is_assigned) || partition < 0 || partition >= atomic_load(&cluster->partitions))
        return true;
    place = atomic_load(&cluster->held[partition].place);
    return place == PIPELINE_CLUSTER_HERE || place == PIPELINE_CLUSTER_RESTORING ||
           check_partition(cluster, partition, "", err);
}

/* ---- who owns what ---- */

int pipeline_cluster__partitions(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->partitions);
}

static int64_t changelog_lag(const struct pipeline_held *held, int place)
{
    int64_t next = atomic_load(&held->changelog_next), end = atomic_load(&held->changelog_end);

    if ((place != PIPELINE_CLUSTER_RESTORING && place != PIPELINE_CLUSTER_STANDBY) || next < 0 || end == 0)
        return -1;
    return end > next ? end - next : 0;
}

struct pipeline_cluster_partition pipeline_cluster__partition(const struct pipeline_cluster *cluster, int number)
{
    const struct pipeline_held *held = &cluster->held[number];
    const struct pipeline_owner *owner = atomic_load(&held->owner);
    int place = atomic_load(&held->place);
    int64_t lag = atomic_load(&cluster->deltas_end[number]) - atomic_load(&cluster->deltas_next[number]);

    return (struct pipeline_cluster_partition){.number = number,
                                               .instance = owner ? owner->instance : "",
                                               .api = owner ? owner->api : "",
                                               .is_here = place == PIPELINE_CLUSTER_HERE,
                                               .is_restoring = place == PIPELINE_CLUSTER_RESTORING,
                                               .is_standby = place == PIPELINE_CLUSTER_STANDBY && atomic_load(&held->is_whole),
                                               .changelog_next = atomic_load(&held->changelog_next),
                                               .changelog_lag = changelog_lag(held, place),
                                               .deltas_lag = lag > 0 ? lag : 0};
}

int32_t pipeline_cluster__some_partition(const struct pipeline_cluster *cluster)
{
    for (int32_t i = 0; i < atomic_load(&cluster->partitions); i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            return i;
    return -1;
}

bool pipeline_cluster__is_replica(const struct pipeline_cluster *cluster)
{
    return cluster->config->is_replica;
}

const char *pipeline_cluster__instance(const struct pipeline_cluster *cluster)
{
    return cluster->config->id;
}

uint64_t pipeline_cluster__epoch(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->made);
}

/* ---- what has to be in a transaction ---- */

uint64_t pipeline_cluster__turns(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->turns);
}

bool pipeline_cluster__check_turns(const struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err)
{
    return (atomic_load(&cluster->turns) == turns && !atomic_load(&cluster->is_turning)) ||
           fr_fail(err, FR_UNAVAILABLE, "partitions were handed over meanwhile, and it may not count; ask again");
}

bool pipeline_cluster__begin_forgetting(struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err)
{
    atomic_fetch_add(&cluster->forgetting,
                     1); /* before turns are looked at, as who gives away counts them first and looks at this then */
    if (pipeline_cluster__check_turns(cluster, turns, err))
        return true;
    pipeline_cluster__end_forgetting(cluster);
    return false;
}

void pipeline_cluster__end_forgetting(struct pipeline_cluster *cluster)
{
    atomic_fetch_sub(&cluster->forgetting, 1);
}

bool pipeline_cluster__check_may_block(const struct pipeline_cluster *cluster, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    const struct pipeline_owner *other = NULL;
    bool is_any_restoring = false;

    for (int i = 0; i < count; i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[i].owner);

        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            return true;
        is_any_restoring = is_any_restoring || atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_RESTORING;
        other = owner && strcmp(owner->instance, cluster->config->id) != 0 ? owner : other;
    }
    if (is_any_restoring)
        return fr_fail(err, FR_UNAVAILABLE, "partitions are being handed over; retry");
    return other ? fr_fail(err, FR_PRECONDITION,
                           "this instance has no partitions, and others do not hear of what it blocks: ask %s", other->api)
                 : fr_fail(err, FR_UNAVAILABLE, "this instance has no partitions yet; retry");
}
