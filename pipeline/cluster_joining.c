/* Before an instance joins the group: it says that it comes, and reads what will be its own while others still serve it. */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

enum { SLICE_MS = 500, SAY_MS = 10000 };

static bool say(struct pipeline_cluster *cluster, struct ingest_producer *producer, const struct ingest_record *record,
                struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + SAY_MS;

    if (!ingest_producer_send(producer, record, err))
        return false;
    while (!ingest_producer_flush(producer, SLICE_MS, err))
        if (err->code != FR_UNAVAILABLE || pipeline_cluster__is_stopping(cluster) || fr_clock_monotonic_ms() >= until_ms)
            return false;
    return true;
}

/*
 * So that others read along what will be theirs then. No transaction: what is open of somebody who is not in the group is taken for a
 * dead one's and ended, and he is fenced, who may only be waiting for a broker.
 */
static void announce(struct pipeline_cluster *cluster)
{
    struct ingest_producer_options options = {.brokers = cluster->brokers,
                                              .properties = cluster->config->properties,
                                              .property_count = cluster->config->property_count,
                                              .connect_ms = SAY_MS};
    struct ingest_record record = {.topic = cluster->deltas};
    struct ingest_producer *producer = NULL;
    struct fr_buffer key, value;
    struct fr_err err;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    pipeline_owner__encode(cluster, PIPELINE_CLUSTER_JOINING, &key, &value);
    record.key = fr_buffer_slice(&key);
    record.value = fr_buffer_slice(&value);
    if (key.is_failed || value.is_failed)
        fr_log(FR_LOG_WARN, "cluster", "out of memory to say that '%s' comes: it comes unannounced", cluster->config->id);
    else if (!ingest_producer_open(&options, &producer, &err) || !say(cluster, producer, &record, &err))
        fr_log(FR_LOG_WARN, "cluster", "%s; '%s' comes unannounced", err.message, cluster->config->id);
    ingest_producer_close(producer);
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
}

/*
 * Others serve what this one is to have. It joins once it has read it, because from then on all of them wait for it. Who has
 * partitions already, as after a restart, is waited for now, and joins at once.
 */
bool pipeline_joining__warm_up(struct pipeline_cluster *cluster, struct fr_err *err)
{
    if (!cluster->config->is_replica && !pipeline_standby__is_newcomer(cluster))
        return true;
    if (!cluster->config->is_replica) {
        atomic_store(&cluster->is_joining, true);
        announce(cluster);
    }
    while (!atomic_load(&cluster->is_warm))
        if (pipeline_cluster__is_stopping(cluster) || !pipeline_deltas__read(cluster, err))
            return false;
    if (cluster->config->is_replica) {
        ingest_own(cluster->ingest, NULL, NULL, 0); /* it is known now what it reads of events: nothing */
        atomic_store(&cluster->has_come, true);
        atomic_store(&cluster->is_assigned, true);
    }
    return true;
}
