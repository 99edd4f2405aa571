/*
 * What the group's assignments mean: partitions that are given away are drained and end with an epoch of theirs; those that come are
 * restored from the changelog to its end as it is then, from where this store's copies of them are, before ingest reads a record of them. While that goes on epochs are no
 * transactions: nothing is applied but what others made durable before.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>

enum { COMMIT_MS = 30000, AGAIN_MS = 100, READ_MS = 200, SAY_MS = 10000, END_AGAIN_MS = 2000, LOOK_MS = 5 };

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
    const bool *is_gone; /* by partition */
};

static bool is_gone(void *user, uint64_t user_id)
{
    const struct giving *giving = user;

    return giving->is_gone[ingest_partition_of(user_id, atomic_load(&giving->cluster->partitions))];
}

static bool is_held(void *user)
{
    const struct giving *giving = user;

    return atomic_load(&giving->cluster->is_held) || pipeline_cluster__is_stopping(giving->cluster);
}

/* First nothing says that they are here, then they go: a crash between finds some of them, and they go then. */
bool pipeline_share__drop(struct pipeline_cluster *cluster, const bool *is_gone_of, bool gives_way, struct fr_err *err)
{
    struct giving giving = {.cluster = cluster, .is_gone = is_gone_of};
    int all = atomic_load(&cluster->partitions);
    uint64_t dropped = 0;

    for (int i = 0; i < all; i++) {
        struct pipeline_held *held = &cluster->held[i];

        if (!is_gone_of[i])
            continue;
        store_gate_enter(cluster->store);
        atomic_store(&held->is_whole, false);
        held->marker.is_known = false;
        held->is_saved = held->is_saved && atomic_load(&held->changelog_next) < 0;
        atomic_store(&held->changelog_next, -1);
        store_gate_leave(cluster->store);
    }
    if (!pipeline_share__commit(cluster, err) ||
        !agg_users_drop(cluster->engine->agg, is_gone, gives_way ? is_held : NULL, &giving, &dropped, err) ||
        (dropped > 0 && !(gives_way && is_held(&giving)) && !pipeline_share__commit(cluster, err)))
        return false;
    fr_counter_add(cluster->dropped, dropped);
    if (gives_way && is_held(&giving))
        return true; /* some may be left */
    for (int i = 0; i < all; i++)
        cluster->held[i].is_empty = cluster->held[i].is_empty || is_gone_of[i];
    return true;
}

/* Of what is read from its beginning nothing may be left. What went to others is dropped later (cluster_standby.c): nobody waits for it. */
bool pipeline_share__clear(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    bool is_gone_of[PIPELINE_CLUSTER_PARTITIONS_MAX] = {false}, is_any = false;

    for (int i = 0; i < count; i++) {
        const struct pipeline_held *held = &cluster->held[partitions[i]];

        is_gone_of[partitions[i]] = atomic_load(&held->changelog_next) < 0 && !held->is_empty;
        is_any = is_any || is_gone_of[partitions[i]];
    }
    return !is_any || pipeline_share__drop(cluster, is_gone_of, false, err);
}

/* ---- restoring ---- */

/*
 * Reading stands still before a transaction that is open. When who had the partitions left it so and is in the group no more, it is ended
 * here instead of waited for: what he would still write is refused from then on, as it would be without the partitions.
 */
static void end_transactions(struct pipeline_cluster *cluster, const int32_t *partitions, int count)
{
    for (int i = 0; i < count; i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[partitions[i]].owner);
        bool is_told = !owner || strcmp(owner->instance, cluster->config->id) == 0, is_gone_now = false;
        struct fr_err err;

        for (int k = 0; k < i && !is_told; k++) {
            const struct pipeline_owner *other = atomic_load(&cluster->held[partitions[k]].owner);

            is_told = other && strcmp(other->instance, owner->instance) == 0;
        }
        if (is_told)
            continue;
        if (!ingest_group_end(cluster->group, owner->instance, &is_gone_now, &err))
            fr_log(FR_LOG_WARN, "cluster", "%s; it ends by itself", err.message);
        else if (is_gone_now)
            fr_log(FR_LOG_INFO, "cluster", "'%s' is not in the group any more, and what it had begun is ended",
                   owner->instance);
    }
}

/* Of those alone that wait: who had others may be alive and on his way into the group. */
static void end_awaited(struct pipeline_cluster *cluster, const struct pipeline_restoring *restoring, const int32_t *partitions,
                        int count, int64_t *ended_ms)
{
    int32_t waiting[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int found = 0;

    if (fr_clock_monotonic_ms() - *ended_ms <= END_AGAIN_MS)
        return;
    for (int i = 0; i < count; i++)
        if (pipeline_restoring__is_waiting(restoring, i))
            waiting[found++] = partitions[i];
    if (found == 0)
        return;
    *ended_ms = fr_clock_monotonic_ms();
    end_transactions(cluster, waiting, found);
}

static bool restore(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    struct pipeline_restoring *restoring = NULL;
    int64_t said_ms = fr_clock_monotonic_ms(), ended_ms = 0;
    bool ok = pipeline_restoring__open(cluster, partitions, count, &restoring, err);

    while (ok && pipeline_restoring__lag(restoring) > 0) {
        int64_t now_ms = fr_clock_monotonic_ms();

        ok = pipeline_restoring__read(restoring, READ_MS, err) >= 0 &&
             (!pipeline_cluster__is_stopping(cluster) || fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing"));
        if (ok)
            end_awaited(cluster, restoring, partitions, count, &ended_ms);
        if (ok && now_ms - said_ms > SAY_MS) {
            said_ms = now_ms;
            fr_log(FR_LOG_INFO, "cluster", "restoring %d partitions: %" PRIu64 " offsets of '%s' are left", count,
                   pipeline_restoring__lag(restoring), cluster->changelog);
        }
    }
    for (int i = 0; i < count && ok; i++)
        atomic_store(&cluster->held[partitions[i]].is_whole, true);
    pipeline_restoring__close(restoring);
    return ok;
}

/* ---- reading ---- */

static bool find_parts(struct pipeline_cluster *cluster, int32_t number, struct fr_err *err)
{
    int count = ingest_partition_count(cluster->ingest);

    for (int t = 0; t < cluster->topic_count; t++) {
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
    int room = count * cluster->topic_count, all = 0;
    int *parts = calloc((size_t)room + 1, sizeof *parts);
    struct ingest_position *at = calloc((size_t)room + 1, sizeof *at);
    bool ok = (parts && at) || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");

    for (int i = 0; i < count && ok; i++) {
        struct pipeline_held *held = &cluster->held[partitions[i]];

        ok = find_parts(cluster, partitions[i], err);
        for (int t = 0; t < cluster->topic_count && ok; t++) {
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
        atomic_store(&cluster->is_turning, false);
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
    pipeline_standby__hold(cluster);
    atomic_fetch_add(&cluster->turns, 1);
    store_gate_enter(cluster->store);
    for (int i = 0; i < all && ok; i++)
        atomic_store(&cluster->held[i].place,
                     is_owned(partitions, count, i) ? PIPELINE_CLUSTER_RESTORING : PIPELINE_CLUSTER_ELSEWHERE);
    store_gate_leave(cluster->store);
    ok = ok && pipeline_share__clear(cluster, partitions, count, err) &&
         (count == 0 || restore(cluster, partitions, count, err)) && pipeline_share__commit(cluster, err) &&
         own(cluster, partitions, count, err);
    if (!ok && pipeline_cluster__is_stopping(cluster))
        return true;
    if (ok) {
        atomic_store(&cluster->is_joining, false);
        atomic_store(&cluster->is_assigned, true);
        pipeline_standby__release(cluster);
        pipeline_texts__release(cluster->texts);
        fr_log(FR_LOG_INFO, "cluster", "'%s' has %d of %d partitions, after %" PRId64 " ms", cluster->config->id, count, all,
               fr_clock_monotonic_ms() - start_ms);
    }
    return ok;
}

/* Whoever began to erase has a partition until the epoch with that; nobody begins any more, though users are here until they are let go of. */
static void wait_for_forgetting(const struct pipeline_cluster *cluster)
{
    while (atomic_load(&cluster->forgetting) > 0 && !pipeline_cluster__is_stopping(cluster))
        fr_clock_sleep_ms(LOOK_MS);
}

/* Epochs are local from the next boundary on: one that is a transaction has all partitions, and one that has not is none. */
static void let_go(struct pipeline_cluster *cluster, int all)
{
    store_gate_enter(cluster->store);
    atomic_store(&cluster->is_local, true);
    for (int i = 0; i < all; i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            atomic_store(&cluster->held[i].place, PIPELINE_CLUSTER_RESTORING);
    store_gate_leave(cluster->store);
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
    atomic_store(&cluster->is_held, true); /* it is idle by the time that the next assignment comes */
    atomic_store(&cluster->is_turning, true);
    atomic_fetch_add(&cluster->turns, 1);
    wait_for_forgetting(cluster);
    pipeline_texts__hold(cluster->texts);
    if (!ingest_disown(cluster->ingest))
        return true; /* the node closes, or has failed and says so */
    if (!pipeline_share__commit(cluster, err))
        return pipeline_cluster__is_stopping(cluster);
    let_go(cluster, all);
    /* And once more, so that no transaction is under way when its generation goes. */
    return pipeline_share__commit(cluster, err) || pipeline_cluster__is_stopping(cluster);
}
