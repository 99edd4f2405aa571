/*
 * What the group's assignments mean: partitions that are given away are drained and end with an epoch of theirs; those that
 * come are restored from the changelog to its end as it is then, from where this store's copies of them are, before ingest
 * reads a record of them. What is whole here but for the last moment goes on as soon as that is read. The rest the standby's
 * thread restores beside it (cluster_standby.c), so that neither the others nor the partitions that stayed wait, and the group
 * is answered all the while. Until the first is here epochs are no transactions: nothing is applied but what others made
 * durable before.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    COMMIT_MS = 30000,
    PATIENCE_MS = 60000, /* while epochs fail and the group waits: all stand still, and users are read as they were */
    AGAIN_MS = 100,
    READ_MS = 50,
    NEAR_MS = 2000,
    LOOK_MS = 5,
    NAMES_BYTES = 256
};

static bool commit_within(struct pipeline_cluster *cluster, int64_t patience_ms, struct fr_err *err)
{
    int64_t failed_ms = 0;

    while (!pipeline_cluster__is_stopping(cluster)) {
        int64_t now_ms;

        if (pipeline_committer__commit(&cluster->engine->committer, COMMIT_MS, err))
            return true;
        if (store_is_failed(cluster->store))
            return false;
        now_ms = fr_clock_monotonic_ms();
        failed_ms = failed_ms ? failed_ms : now_ms;
        if (now_ms - failed_ms >= patience_ms)
            return fr_fail_in(err,
                              "cluster: '%s' has written no epoch for %" PRId64
                              " s while partitions were handed over; it ends, "
                              "so that the others need not wait",
                              cluster->config->id, patience_ms / 1000);
        fr_clock_sleep_ms(AGAIN_MS);
    }
    return fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing");
}

bool pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err)
{
    return commit_within(cluster, INT64_MAX, err);
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
        held->begun.records = 0;
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

        is_gone_of[partitions[i]] = atomic_load(&held->changelog_next) < 0 && !held->is_empty && held->begun.records == 0;
        is_any = is_any || is_gone_of[partitions[i]];
    }
    return !is_any || pipeline_share__drop(cluster, is_gone_of, true, err);
}

/* ---- telling ---- */

/* Who has what, in words: neighbours as "2-5". */
static void name_partitions(const bool *is_named, int all, char *text, size_t bytes)
{
    size_t length = 0;

    text[0] = 0;
    for (int i = 0; i < all; i++) {
        int first = i;

        if (!is_named[i])
            continue;
        while (i + 1 < all && is_named[i + 1])
            i++;
        if (length < bytes)
            length += (size_t)snprintf(text + length, bytes - length, "%s%d", length > 0 ? "," : "", first);
        if (length < bytes && i > first)
            length += (size_t)snprintf(text + length, bytes - length, "-%d", i);
    }
}

/* ---- restoring ---- */

/* What is near its end is read here, for so long at most: the partitions that stayed, those that were stood by for. */
static bool restore_near(struct pipeline_cluster *cluster, int32_t *partitions, int *count, struct fr_err *err)
{
    struct pipeline_restoring *restoring = NULL;
    int64_t until_ms = fr_clock_monotonic_ms() + NEAR_MS;
    bool ok = pipeline_restoring__open(cluster, partitions, *count, false, &restoring, err);
    int through = 0;

    while (ok && restoring && pipeline_restoring__lag(restoring) > 0 && fr_clock_monotonic_ms() < until_ms) {
        ok = pipeline_restoring__read(restoring, READ_MS, err) >= 0 &&
             (!pipeline_cluster__is_stopping(cluster) || fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing"));
        if (ok)
            pipeline_restoring__end_awaited(restoring);
    }
    for (int i = 0; i < *count && ok && restoring; i++)
        if (pipeline_restoring__is_through(restoring, i))
            partitions[through++] = partitions[i];
    *count = through;
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
        for (int i = 0; i < count; i++)
            pipeline_cluster_sessions__begin(cluster, partitions[i]);
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

bool pipeline_share__take(struct pipeline_cluster *cluster, const int32_t *partitions, int count, struct fr_err *err)
{
    for (int i = 0; i < count; i++)
        atomic_store(&cluster->held[partitions[i]].is_whole, true);
    pipeline_texts__hold(cluster->texts);
    if (!commit_within(cluster, PATIENCE_MS, err) || !pipeline_cluster_sessions__find(cluster, partitions, count, err) ||
        !own(cluster, partitions, count, err))
        return false;
    pipeline_texts__release(cluster->texts);
    return true;
}

/* The lines tell whose each partition was at any time: these once it is here, that of let_go() once it is not. */
void pipeline_share__tell(struct pipeline_cluster *cluster)
{
    bool is_here[PIPELINE_CLUSTER_PARTITIONS_MAX] = {false};
    int all = atomic_load(&cluster->partitions), here = 0;
    char names[NAMES_BYTES];

    for (int i = 0; i < all; i++) {
        is_here[i] = atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE;
        here += is_here[i];
    }
    name_partitions(is_here, all, names, sizeof names);
    if (here < cluster->assigned) {
        fr_log(FR_LOG_INFO, "cluster", "'%s' goes on with %d partitions, and restores %d of its own beside them%s%s",
               cluster->config->id, here, cluster->assigned - here, here > 0 ? ": " : "", names);
        return;
    }
    atomic_store(&cluster->is_assigned, true);
    fr_log(FR_LOG_INFO, "cluster", "'%s' has %d of %d partitions, after %" PRId64 " ms%s%s", cluster->config->id, here, all,
           fr_clock_monotonic_ms() - cluster->assigned_ms, here > 0 ? ": " : "", names);
}

static bool check_numbers(const int32_t *partitions, int count, int all, struct fr_err *err)
{
    for (int i = 0; i < count; i++)
        if (partitions[i] >= all)
            return fr_fail(err, FR_BAD_CONFIG,
                           "cluster: partition %" PRId32 " of %d was assigned: partitions were added, which a cluster "
                           "cannot take",
                           partitions[i], all);
    return true;
}

bool pipeline_share__assigned(void *user, const int32_t *partitions, int count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = user;
    int all = atomic_load(&cluster->partitions), near_count = 0;
    int32_t near[PIPELINE_CLUSTER_PARTITIONS_MAX];
    bool ok = check_numbers(partitions, count, all, err);

    pipeline_standby__hold(cluster);
    cluster->assigned = count;
    cluster->assigned_ms = fr_clock_monotonic_ms();
    atomic_fetch_add(&cluster->turns, 1);
    store_gate_enter(cluster->store);
    for (int i = 0; i < all && ok; i++)
        atomic_store(&cluster->held[i].place,
                     is_owned(partitions, count, i) ? PIPELINE_CLUSTER_RESTORING : PIPELINE_CLUSTER_ELSEWHERE);
    store_gate_leave(cluster->store);
    for (int i = 0; i < all && ok; i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_ELSEWHERE)
            pipeline_cluster_sessions__let_go(cluster, i);
    for (int i = 0; i < count && ok; i++) {
        struct pipeline_held *held = &cluster->held[partitions[i]];

        atomic_store(&held->word_from, atomic_load(&held->word_next) + 1);
        if (atomic_load(&held->is_whole))
            near[near_count++] = partitions[i];
    }
    ok = ok && (near_count == 0 || restore_near(cluster, near, &near_count, err)) &&
         ((near_count == 0 && count > 0) || pipeline_share__take(cluster, near, near_count, err));
    if (!ok && pipeline_cluster__is_stopping(cluster))
        return true;
    if (ok) {
        atomic_store(&cluster->is_joining, false);
        atomic_store(&cluster->has_come, true);
        pipeline_share__tell(cluster);
        atomic_store(&cluster->is_away, count == 0 && atomic_load(&cluster->is_draining));
        pipeline_standby__release(cluster);
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
    bool was_here[PIPELINE_CLUSTER_PARTITIONS_MAX] = {false};
    char names[NAMES_BYTES];

    store_gate_enter(cluster->store);
    atomic_store(&cluster->is_local, true);
    for (int i = 0; i < all; i++) {
        was_here[i] = atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE;
        if (was_here[i])
            atomic_store(&cluster->held[i].place, PIPELINE_CLUSTER_RESTORING);
    }
    store_gate_leave(cluster->store);
    name_partitions(was_here, all, names, sizeof names);
    if (names[0])
        fr_log(FR_LOG_INFO, "cluster", "'%s' gives back what it had: %s", cluster->config->id, names);
}

bool pipeline_share__revoked(void *user, bool is_lost, bool *is_settled, struct fr_err *err)
{
    struct pipeline_cluster *cluster = user;
    int all = atomic_load(&cluster->partitions);

    if (is_lost) {
        (void)fr_fail(err, FR_UNAVAILABLE,
                      "cluster: '%s' has not heard from the group for session.timeout.ms: it stood still, or brokers were "
                      "away, and its partitions may be another's; start it again",
                      cluster->config->id);
        pipeline_cluster__fail(cluster, err); /* from here on nothing is written, and who fails of that is not the reason */
        return false;
    }
    pipeline_standby__stop_taking(cluster);
    pipeline_cluster_sessions__hold(cluster);
    atomic_store(&cluster->is_turning, true);
    atomic_fetch_add(&cluster->turns, 1);
    wait_for_forgetting(cluster);
    pipeline_texts__hold(cluster->texts);
    if (!ingest_disown(cluster->ingest))
        return true; /* the node closes, or has failed and says so */
    if (!commit_within(cluster, PATIENCE_MS, err))
        return pipeline_cluster__is_stopping(cluster);
    let_go(cluster, all);
    /* And once more, so that no transaction is under way when its generation goes. */
    *is_settled = commit_within(cluster, PATIENCE_MS, err);
    return *is_settled || pipeline_cluster__is_stopping(cluster);
}
