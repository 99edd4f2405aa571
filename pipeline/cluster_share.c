/*
 * What the group's assignments mean: partitions that are given away are drained and end with an epoch of theirs; those that come are
 * restored from the changelog to its end as it is then, before ingest reads a record of them. While that goes on epochs are no
 * transactions: nothing is applied but what others made durable before.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>

enum { COMMIT_MS = 30000, AGAIN_MS = 100, READ_MS = 200, SAY_MS = 10000 };

bool pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err)
{
    while (!pipeline_cluster__is_stopping(cluster)) {
        if (pipeline_committer__commit(&cluster->engine->committer, COMMIT_MS, err))
            return true;
        if (store_is_failed(cluster->store))
            return false;
        fr_clock_sleep_ms(AGAIN_MS);
    }
    return fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing");
}

static bool is_owned(const int32_t *partitions, int count, int partition)
{
    for (int i = 0; i < count; i++)
        if (partitions[i] == partition)
            return true;
    return false;
}

/* ---- giving away ---- */

struct giving {
    const struct pipeline_cluster *cluster;
    bool is_gone[PIPELINE_CLUSTER_PARTITIONS_MAX];
};

static bool is_gone(void *user, uint64_t user_id)
{
    const struct giving *giving = user;

    return giving->is_gone[ingest_partition_of(user_id, atomic_load(&giving->cluster->partitions))];
}

/*
 * Users of partitions that are not this node's any more, and of those that it will read from their beginning. First nothing says that
 * they are here, then they go: a crash between finds some of them, and they go then.
 */
static bool drop_others(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    struct giving giving = {.cluster = cluster};
    int all = atomic_load(&cluster->partitions);
    struct store_stats stats;
    uint64_t dropped = 0;

    for (int i = 0; i < all; i++) {
        struct pipeline_held *held = &cluster->held[i];

        giving.is_gone[i] = !is_owned(partitions, count, i) || atomic_load(&held->changelog_next) < 0;
        if (!giving.is_gone[i])
            continue;
        store_gate_enter(cluster->store);
        held->marker.is_known = false;
        held->is_saved = held->is_saved && atomic_load(&held->changelog_next) < 0;
        atomic_store(&held->changelog_next, -1);
        store_gate_leave(cluster->store);
    }
    if (!pipeline_share__commit(cluster, err))
        return false;
    store_stats_read(cluster->store, &stats);
    if (stats.entities == 0)
        return true;
    if (!agg_users_drop(cluster->engine->agg, is_gone, &giving, &dropped, err))
        return false;
    fr_counter_add(cluster->dropped, dropped);
    return dropped == 0 || pipeline_share__commit(cluster, err);
}

/* ---- restoring ---- */

struct restoring {
    struct pipeline_cluster *cluster;
    struct ingest_tail *tail;
    const int32_t *partitions;
    struct agg_copy copies[PIPELINE_CLUSTER_COPIES];
    struct pipeline_marker marker; /* of the partition at hand */
    int count;
};

/* Copies of one read, and then how far each partition is: inside one gate. */
static bool put_copies(struct restoring *restoring, int partition_count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    struct store_visit visit = store_visit_enter(cluster->store);
    bool ok = agg_copies_load(cluster->engine->agg, restoring->copies, restoring->count, err);

    if (ok) {
        store_gate_enter(cluster->store);
        ok = agg_copies_put(cluster->engine->agg, restoring->copies, restoring->count, err);
        for (int i = 0; i < partition_count && ok; i++) {
            struct pipeline_held *held = &cluster->held[restoring->partitions[i]];

            atomic_store(&held->changelog_next, ingest_tail_next(restoring->tail, i));
            held->is_saved = false;
        }
        if (!ok)
            store_spoil(cluster->store);
        store_gate_leave(cluster->store);
    }
    store_visit_leave(cluster->store, visit);
    fr_counter_add(cluster->restored, (uint64_t)restoring->count);
    return ok;
}

static bool take_record(struct restoring *restoring, const struct ingest_tailed *record, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    struct pipeline_held *held = &cluster->held[restoring->partitions[record->index]];
    struct agg_copy *copy = &restoring->copies[restoring->count];

    if (record->key.length == sizeof pipeline_marker_key && *(const char *)record->key.bytes == pipeline_marker_key[0]) {
        if (!pipeline_marker__decode(cluster, record->value, &restoring->marker, err))
            return false;
        store_gate_enter(cluster->store); /* what is before it in this read is put later: is_saved is set with that */
        held->marker = restoring->marker;
        store_gate_leave(cluster->store);
        return true;
    }
    if (pipeline_told__is_tombstone(record->key))
        return pipeline_told__hear_tombstone(cluster, restoring->partitions[record->index], record->key, record->value, err);
    if (!pipeline_copy__read_key(record->key, &copy->key, &copy->part))
        return fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' makes no sense", cluster->changelog);
    copy->bytes = record->value;
    restoring->count++;
    return true;
}

static bool read_some(struct restoring *restoring, int partition_count, struct fr_err *err)
{
    struct ingest_tailed records[PIPELINE_CLUSTER_COPIES];
    int count = ingest_tail_read(restoring->tail, records, PIPELINE_CLUSTER_COPIES, READ_MS, err);

    restoring->count = 0;
    pipeline_cluster__wait_for_room(restoring->cluster);
    for (int i = 0; i < count; i++)
        if (!take_record(restoring, &records[i], err))
            return false;
    return count >= 0 && put_copies(restoring, partition_count, err);
}

static bool open_tail(struct restoring *restoring, int count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = restoring->cluster;
    int64_t starts[PIPELINE_CLUSTER_PARTITIONS_MAX];
    struct ingest_tail_options options = {.topic = cluster->changelog,
                                          .partitions = restoring->partitions,
                                          .starts = starts,
                                          .count = count,
                                          .queue_bytes = PIPELINE_CLUSTER_QUEUE_BYTES};

    for (int i = 0; i < count; i++)
        starts[i] = atomic_load(&cluster->held[restoring->partitions[i]].changelog_next);
    while (!ingest_tail_open(cluster->group, &options, &restoring->tail, err)) {
        if (err->code != FR_UNAVAILABLE || pipeline_cluster__is_stopping(cluster))
            return false;
        fr_clock_sleep_ms(AGAIN_MS);
    }
    return true;
}

static bool restore(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    struct restoring *restoring = calloc(1, sizeof *restoring);
    int64_t said_ms = fr_clock_monotonic_ms();
    bool ok = restoring || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for restoring");

    if (ok) {
        restoring->cluster = cluster;
        restoring->partitions = partitions;
        ok = open_tail(restoring, count, err);
    }
    while (ok && !ingest_tail_is_through(restoring->tail)) {
        ok = pipeline_cluster__is_stopping(cluster) ? fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing")
                                                    : read_some(restoring, count, err);
        if (ok && fr_clock_monotonic_ms() - said_ms > SAY_MS) {
            said_ms = fr_clock_monotonic_ms();
            fr_log(FR_LOG_INFO, "cluster", "restoring %d partitions: %" PRIu64 " offsets of '%s' are left", count,
                   ingest_tail_lag(restoring->tail), cluster->changelog);
        }
    }
    ok = ok && put_copies(restoring, count, err); /* where ends were all that came */
    if (restoring)
        ingest_tail_close(restoring->tail);
    free(restoring);
    return ok;
}

/* ---- reading ---- */

static bool find_parts(struct pipeline_cluster *cluster, int32_t number, struct fr_err *err)
{
    int count = ingest_partition_count(cluster->ingest);

    for (int t = 0; t < cluster->config->topic_count; t++) {
        bool is_found = false;

        for (int i = 0; i < count && !is_found; i++) {
            struct ingest_partition partition = ingest_partition_at(cluster->ingest, i);

            is_found = partition.number == number && strcmp(partition.topic, cluster->topics[t]) == 0;
            cluster->held[number].index[t] = i;
        }
        if (!is_found)
            return fr_fail(err, FR_BAD_CONFIG,
                           "cluster: '%s' has no partition %" PRId32
                           "; partitions were added, which a cluster cannot take: name "
                           "another kafka.group and start with an empty store.path",
                           cluster->topics[t], number);
    }
    return true;
}

/* From where the markers say; what no marker tells of begins as kafka.start says. */
static bool own(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    int room = count * cluster->config->topic_count, all = 0;
    int *parts = calloc((size_t)room + 1, sizeof *parts);
    struct ingest_position *at = calloc((size_t)room + 1, sizeof *at);
    bool ok = (parts && at) || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");

    for (int i = 0; i < count && ok; i++) {
        struct pipeline_held *held = &cluster->held[partitions[i]];

        ok = find_parts(cluster, partitions[i], err);
        for (int t = 0; t < cluster->config->topic_count && ok; t++) {
            parts[all] = held->index[t];
            at[all] = held->marker.is_known ? held->marker.at[t]
                                            : (struct ingest_position){.next_offset = -1, .last = {.offset = -1}};
            pipeline_offsets__place(&cluster->engine->offsets, parts[all], at[all]);
            all++;
        }
        if (held->marker.is_known)
            pipeline_stream__raise(&cluster->engine->stream, cluster->config->lanes + 1, held->marker.stream_time_ms);
    }
    if (ok) {
        store_gate_enter(cluster->store); /* an epoch whose boundary was before is of what was before */
        for (int i = 0; i < count; i++)
            atomic_store(&cluster->held[partitions[i]].place, PIPELINE_CLUSTER_HERE);
        atomic_store(&cluster->is_local, false);
        atomic_store(&cluster->needs_announcing, count > 0);
        store_gate_leave(cluster->store);
        ingest_own(cluster->ingest, parts, at, all);
    }
    free(parts);
    free(at);
    return ok;
}

bool pipeline_share__assigned(void *user, const int32_t *partitions, int count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = user;
    int64_t start_ms = fr_clock_monotonic_ms();
    int all = atomic_load(&cluster->partitions);
    bool ok = true;

    for (int i = 0; i < count && ok; i++)
        ok = partitions[i] < all ||
             fr_fail(err, FR_BAD_CONFIG,
                     "cluster: partition %" PRId32 " of %d was assigned: partitions were added, which a cluster "
                     "cannot take",
                     partitions[i], all);
    atomic_fetch_add(&cluster->turns, 1);
    for (int i = 0; i < all && ok; i++)
        atomic_store(&cluster->held[i].place,
                     is_owned(partitions, count, i) ? PIPELINE_CLUSTER_RESTORING : PIPELINE_CLUSTER_ELSEWHERE);
    ok = ok && drop_others(cluster, partitions, count, err) && (count == 0 || restore(cluster, partitions, count, err)) &&
         pipeline_share__commit(cluster, err) && own(cluster, partitions, count, err);
    if (!ok && pipeline_cluster__is_stopping(cluster))
        return true;
    if (ok) {
        atomic_store(&cluster->is_assigned, true);
        fr_log(FR_LOG_INFO, "cluster", "'%s' has %d of %d partitions, after %" PRId64 " ms", cluster->config->id, count, all,
               fr_clock_monotonic_ms() - start_ms);
    }
    return ok;
}

bool pipeline_share__revoked(void *user, bool is_lost, struct fr_err *err)
{
    struct pipeline_cluster *cluster = user;
    int all = atomic_load(&cluster->partitions);

    if (is_lost) {
        store_spoil(cluster->store); /* from here on nothing is written */
        return fr_fail(err, FR_UNAVAILABLE,
                       "cluster: '%s' was away for longer than the group waits, and its partitions are another's now; start it "
                       "again",
                       cluster->config->id);
    }
    atomic_fetch_add(&cluster->turns, 1);
    if (!ingest_disown(cluster->ingest))
        return true; /* the node closes, or has failed and says so */
    if (!pipeline_share__commit(cluster, err))
        return pipeline_cluster__is_stopping(cluster);
    atomic_store(&cluster->is_local, true);
    for (int i = 0; i < all; i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            atomic_store(&cluster->held[i].place, PIPELINE_CLUSTER_RESTORING);
    /* And once more, so that no transaction is under way when its generation goes. */
    return pipeline_share__commit(cluster, err) || pipeline_cluster__is_stopping(cluster);
}
