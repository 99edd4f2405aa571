/*
 * Sessions of a cluster (docs/sequences.md). An account is a user's entity like others: a copy in the changelog, restored with his
 * partition, gone with it. Sessions end while the partition is here, by its own time, which its marker carries on; and what has ended is in
 * the transaction of the epoch in whose copies it is no more, so readers of committed records get each once, whoever dies when.
 */
#include "cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>

static struct learner_session_table *table_of(const struct pipeline_cluster *cluster)
{
    return cluster->engine->lanes.learning ? cluster->engine->lanes.learning->sessions : NULL;
}

void pipeline_cluster_sessions__hold(struct pipeline_cluster *cluster)
{
    if (table_of(cluster))
        learner_sessions_hold(table_of(cluster));
}

void pipeline_cluster_sessions__let_go(struct pipeline_cluster *cluster, int partition)
{
    if (table_of(cluster))
        learner_sessions_let_go(table_of(cluster), partition);
}

bool pipeline_cluster_sessions__find(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    return !table_of(cluster) || learner_sessions_find(table_of(cluster), partitions, count, err);
}

void pipeline_cluster_sessions__begin(struct pipeline_cluster *cluster, int partition)
{
    const struct pipeline_marker *marker = &cluster->held[partition].marker;

    if (table_of(cluster))
        learner_sessions_begin(table_of(cluster), partition, marker->is_known ? marker->session_time_ms : 0);
}

int64_t pipeline_cluster_sessions__time(const struct pipeline_cluster *cluster, int partition)
{
    return table_of(cluster) ? learner_sessions_time(table_of(cluster), partition)
                             : cluster->held[partition].marker.session_time_ms; /* others have sessions */
}

bool pipeline_cluster_sessions__are_there(const struct pipeline_cluster *cluster)
{
    return table_of(cluster) && cluster->engine->lanes.learning->ended.length > 0;
}

bool pipeline_cluster_sessions__need_time(const struct pipeline_cluster *cluster)
{
    return table_of(cluster) && cluster->boundary_time_ms > cluster->told_time_ms;
}

/* By key, as a node that stands alone does, and not signed: whoever reads them is no instance. */
static bool put_one(struct pipeline_cluster *cluster, const struct learner_outbox_entry *entry, struct fr_err *err)
{
    struct ingest_put put = {.topic = cluster->config->learner->sessions.topic, .partition = -1, .value = entry->wire};
    char key[24];

    snprintf(key, sizeof key, "%" PRIu64, entry->user_id);
    put.key = fr_slice_of(key);
    return ingest_transaction_put(cluster->group, &put, NULL, err);
}

bool pipeline_cluster_sessions__put(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct learner_outbox_entry entry;
    struct fr_reader reader;

    if (!pipeline_cluster_sessions__are_there(cluster))
        return true;
    reader = fr_reader(fr_buffer_slice(&cluster->engine->lanes.learning->ended));
    while (learner_outbox_next(&reader, &entry))
        if (!put_one(cluster, &entry, err))
            return false;
    return true;
}

static uint64_t count(struct fr_slice ended)
{
    struct fr_reader reader = fr_reader(ended);
    struct learner_outbox_entry entry;
    uint64_t count = 0;

    while (learner_outbox_next(&reader, &entry))
        count++;
    return count;
}

void pipeline_cluster_sessions__sent(struct pipeline_cluster *cluster)
{
    struct pipeline_learning *learning = cluster->engine->lanes.learning;

    if (!pipeline_cluster_sessions__are_there(cluster))
        return;
    fr_counter_add(learning->ended_sent, count(fr_buffer_slice(&learning->ended)));
    learner_sessions_sent(learning->sessions, learning->ended.length);
    fr_buffer_clear(&learning->ended);
}
