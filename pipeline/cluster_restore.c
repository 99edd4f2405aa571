/*
 * Users' entities out of the changelog: its records are put as they come, and the position that they came to goes into the
 * store inside the same gate, so any epoch has both or neither. By the group's thread for what is this instance's now, by the
 * standby's for the rest.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <stdlib.h>

enum { END_AGAIN_MS = 300, UNTOLD_AGAIN_MS = 2000, ENDS_EVERY_MS = 1000 };

struct pipeline_restoring {
    struct pipeline_cluster *cluster;
    struct ingest_tail *tail;
    int32_t partitions[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int partition_count;
    struct agg_copy copies[PIPELINE_CLUSTER_COPIES];
    struct pipeline_marker marker; /* of the partition at hand */
    int count;
    bool is_left[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t ending_ms; /* when transactions are next looked at */
    unsigned ending; /* and of which partition first */
    int64_t ends_ms; /* when it is next noted where the changelog ends */
};

/* Without a tail where it gives way. */
static bool open_tail(struct pipeline_restoring *restoring, bool gives_way, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    int64_t starts[PIPELINE_CLUSTER_PARTITIONS_MAX];
    struct ingest_tail_options options = {.topic = cluster->changelog,
                                          .partitions = restoring->partitions,
                                          .starts = starts,
                                          .count = restoring->partition_count,
                                          .queue_bytes = PIPELINE_CLUSTER_QUEUE_BYTES};

    for (int i = 0; i < restoring->partition_count; i++)
        starts[i] = atomic_load(&cluster->held[restoring->partitions[i]].changelog_next);
    while (!ingest_tail_open(cluster->group, &options, &restoring->tail, err)) {
        if (!pipeline_cluster__wait_again(cluster, err))
            return false;
        if (gives_way && atomic_load(&cluster->is_held))
            return true;
    }
    return true;
}

bool pipeline_restoring__open(struct pipeline_cluster *cluster, const int32_t *partitions, int count, bool gives_way,
                              struct pipeline_restoring **ret, struct fr_err *err)
{
    struct pipeline_restoring *restoring = calloc(1, sizeof *restoring);

    *ret = NULL;
    if (!restoring)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for restoring");
    restoring->cluster = cluster;
    restoring->partition_count = count;
    for (int i = 0; i < count; i++) {
        restoring->partitions[i] = partitions[i];
        cluster->held[partitions[i]].is_empty = false;
    }
    bool ok = open_tail(restoring, gives_way, err);
    for (int i = 0; i < count && ok && restoring->tail; i++)
        atomic_store(&cluster->held[partitions[i]].changelog_end, ingest_tail_aim(restoring->tail, i));
    if (ok && restoring->tail)
        *ret = restoring;
    else
        pipeline_restoring__close(restoring);
    return ok;
}

/* Copies of one read, and then how far each partition is: inside one gate. */
static bool put_copies(struct pipeline_restoring *restoring, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    struct store_visit visit = store_visit_enter(cluster->store);
    bool ok = agg_copies_load(cluster->engine->agg, restoring->copies, restoring->count, err);

    if (ok) {
        store_gate_enter(cluster->store);
        ok = agg_copies_put(cluster->engine->agg, restoring->copies, restoring->count, err);
        for (int i = 0; i < restoring->partition_count && ok; i++) {
            struct pipeline_held *held = &cluster->held[restoring->partitions[i]];
            int64_t next = ingest_tail_next(restoring->tail, i);

            if (restoring->is_left[i])
                continue; /* it may be owned, and written to */
            held->is_saved = held->is_saved && next == atomic_load(&held->changelog_next);
            atomic_store(&held->changelog_next, next);
        }
        if (!ok)
            store_spoil(cluster->store);
        store_gate_leave(cluster->store);
    }
    store_visit_leave(cluster->store, visit);
    fr_counter_add(cluster->restored, (uint64_t)restoring->count);
    return ok;
}

static bool take_record(struct pipeline_restoring *restoring, const struct ingest_tailed *record, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    struct pipeline_held *held = &cluster->held[restoring->partitions[record->index]];
    struct agg_copy *copy = &restoring->copies[restoring->count];

    if (record->key.length == sizeof pipeline_marker_key && *(const char *)record->key.bytes == pipeline_marker_key[0]) {
        if (!pipeline_marker__decode(cluster, record->value, &restoring->marker, err))
            return false;
        store_gate_enter(cluster->store); /* what is before it in this read is put later: is_saved is set with that */
        held->marker = restoring->marker;
        atomic_store(&held->time_ms, held->marker.stream_time_ms);
        store_gate_leave(cluster->store);
        return true;
    }
    if (pipeline_tombstone__is(record->key))
        return pipeline_cluster_tombstones__receive(cluster, restoring->partitions[record->index], record->key, record->value,
                                                    err);
    if (!pipeline_copy__read_key(record->key, &copy->key, &copy->part))
        return fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' makes no sense", cluster->changelog);
    copy->bytes = record->value;
    restoring->count++;
    if (copy->key.kind == LEARNER_KIND_SESSION) /* another had the partition since, which this instance may not have heard of */
        pipeline_cluster_sessions__let_go(cluster, restoring->partitions[record->index]);
    return true;
}

/* Of what is read along the end moves. Nobody reads by this: it is for who asks. */
static void note_ends(struct pipeline_restoring *restoring)
{
    if (fr_clock_monotonic_ms() < restoring->ends_ms)
        return;
    restoring->ends_ms = fr_clock_monotonic_ms() + ENDS_EVERY_MS;
    for (int i = 0; i < restoring->partition_count; i++) {
        struct pipeline_held *held = &restoring->cluster->held[restoring->partitions[i]];
        int64_t end = ingest_tail_end(restoring->tail, i);

        if (end > atomic_load(&held->changelog_end))
            atomic_store(&held->changelog_end, end);
    }
}

int pipeline_restoring__read(struct pipeline_restoring *restoring, int timeout_ms, struct fr_err *err)
{
    struct ingest_tailed records[PIPELINE_CLUSTER_COPIES];
    int count = ingest_tail_read(restoring->tail, records, PIPELINE_CLUSTER_COPIES, timeout_ms, err);

    restoring->count = 0;
    note_ends(restoring);
    if (count > 0)
        pipeline_cluster__wait_for_room(restoring->cluster, true);
    for (int i = 0; i < count; i++)
        if (!take_record(restoring, &records[i], err))
            return -1;
    return count < 0 || !put_copies(restoring, err) ? -1 : count; /* where ends were all that came, too */
}

bool pipeline_restoring__is_through(const struct pipeline_restoring *restoring, int index)
{
    return ingest_tail_has_ended(restoring->tail, index);
}

void pipeline_restoring__leave(struct pipeline_restoring *restoring, int index)
{
    restoring->is_left[index] = true;
    ingest_tail_leave(restoring->tail, index);
}

/* ---- what somebody left open ---- */

/* One at a time, since most often all are one's; who had others may be alive and on his way into the group. */
void pipeline_restoring__end_awaited(struct pipeline_restoring *restoring)
{
    if (fr_clock_monotonic_ms() < restoring->ending_ms)
        return;
    for (int tried = 0; tried < restoring->partition_count; tried++) {
        int index = (int)(restoring->ending++ % (unsigned)restoring->partition_count);
        bool is_told;

        if (!ingest_tail_is_waiting(restoring->tail, index))
            continue;
        is_told = pipeline_left__end(restoring->cluster, restoring->cluster->changelog, restoring->partitions[index],
                                     ingest_tail_next(restoring->tail, index));
        restoring->ending_ms = fr_clock_monotonic_ms() + (is_told ? END_AGAIN_MS : UNTOLD_AGAIN_MS);
        return;
    }
}

uint64_t pipeline_restoring__lag(const struct pipeline_restoring *restoring)
{
    return ingest_tail_lag(restoring->tail);
}

void pipeline_restoring__close(struct pipeline_restoring *restoring)
{
    if (!restoring)
        return;
    ingest_tail_close(restoring->tail);
    free(restoring);
}
