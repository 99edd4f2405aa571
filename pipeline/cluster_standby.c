/*
 * Standing by: copies of users whose partitions are another's, read along from the changelog, so that who is given a partition
 * needs the rest of it only. Which ones follows from names that are known: those that it would be given if others left
 * (node.standbys), or if somebody comes who has said so; before it joins the group itself, what will be its own then; of a
 * replica, all. Partitions that are neither its own nor wanted here are dropped, but not while anybody waits, and not at once:
 * they may come back.
 *
 * What is this instance's by the group's word and far behind goes before: it is read to its end by the same thread, and taken
 * into use then, while the group's thread answers the group.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_MS = 50,
    HELD_MS = 2,
    IDLE_MS = 50,
    DROP_AFTER_MS = 5000,
    SAY_MS = 10000,
    TAKE_MS = 300, /* what is through waits so long for more to be: each taking is an epoch */
    JOINER_MS = 600000 /* who has not come by then does not */
};

/* ---- who is there ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add(const char **names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return count;
    names[count] = name;
    return count + 1;
}

/* Sorted, as range assignment sorts them. Gives how many; *own: this one's place, −1: none. */
static int find_members(const struct pipeline_cluster *cluster, bool has_joiners, const char **names, int *own)
{
    bool is_member = !atomic_load(&cluster->is_draining) && !cluster->config->is_replica;
    int count = is_member ? add(names, 0, cluster->config->id) : 0;

    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[i].owner);

        if (owner)
            count = add(names, count, owner->instance);
    }
    for (int i = 0; i < PIPELINE_CLUSTER_JOINERS && has_joiners; i++) {
        const struct pipeline_owner *joiner = atomic_load(&cluster->joiners[i]);

        if (joiner && fr_clock_monotonic_ms() - atomic_load(&cluster->joiners_ms[i]) < JOINER_MS)
            count = add(names, count, joiner->instance);
    }
    qsort(names, (size_t)count, sizeof *names, by_name);
    *own = -1;
    for (int i = 0; i < count && is_member; i++)
        if (strcmp(names[i], cluster->config->id) == 0)
            *own = i;
    return count;
}

bool pipeline_standby__is_newcomer(const struct pipeline_cluster *cluster)
{
    bool is_anybody = false;

    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[i].owner);

        if (owner && strcmp(owner->instance, cluster->config->id) == 0)
            return false;
        is_anybody = is_anybody || owner;
    }
    return is_anybody;
}

void pipeline_standby__expect(struct pipeline_cluster *cluster, struct fr_slice announcement)
{
    const struct pipeline_owner *joiner;

    if (!atomic_load(&cluster->is_through)) /* who came while this one was away is there, or gone */
        return;
    joiner = pipeline_owner__read(cluster, announcement);
    if (!joiner || strcmp(joiner->instance, cluster->config->id) == 0)
        return;
    pipeline_standby__has_come(cluster, joiner); /* said twice */
    for (int i = 0; i < PIPELINE_CLUSTER_JOINERS; i++)
        if (!atomic_load(&cluster->joiners[i]) || fr_clock_monotonic_ms() - atomic_load(&cluster->joiners_ms[i]) >= JOINER_MS) {
            atomic_store(&cluster->joiners_ms[i], fr_clock_monotonic_ms());
            atomic_store(&cluster->joiners[i], joiner);
            return;
        }
}

void pipeline_standby__has_come(struct pipeline_cluster *cluster, const struct pipeline_owner *owner)
{
    for (int i = 0; i < PIPELINE_CLUSTER_JOINERS; i++) {
        const struct pipeline_owner *joiner = atomic_load(&cluster->joiners[i]);

        if (joiner && strcmp(joiner->instance, owner->instance) == 0)
            atomic_store(&cluster->joiners[i], NULL);
    }
}

/* ---- what is wanted ---- */

struct standing_by {
    struct pipeline_cluster *cluster;
    struct pipeline_restoring *restoring; /* NULL: nothing is wanted */
    bool is_wanted[PIPELINE_CLUSTER_PARTITIONS_MAX]; /* as standbys */
    bool is_read[PIPELINE_CLUSTER_PARTITIONS_MAX]; /* the same, or what is restored instead */
    int32_t partitions[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int count;
    bool is_through; /* was once, since this was begun */
    int64_t since_ms; /* that this is read */
    int64_t taken_ms, said_ms; /* when partitions were last taken, and it was last said how far it is */
};

static bool is_own(const struct pipeline_cluster *cluster, int partition)
{
    int place = atomic_load(&cluster->held[partition].place);

    return place == PIPELINE_CLUSTER_HERE || place == PIPELINE_CLUSTER_RESTORING;
}

static void mark_given(bool *is_wanted, int partitions, int members, int own)
{
    for (int i = 0; i < partitions && own >= 0; i++)
        is_wanted[i] = is_wanted[i] || pipeline_range__is_of(partitions, members, own, i);
}

static void find_wanted(struct pipeline_cluster *cluster, bool is_joining, bool *is_wanted)
{
    const char *names[PIPELINE_CLUSTER_PARTITIONS_MAX + PIPELINE_CLUSTER_JOINERS + 1];
    int partitions = atomic_load(&cluster->partitions), own, members = find_members(cluster, false, names, &own);
    int standbys = cluster->config->standbys;

    memset(is_wanted, 0, PIPELINE_CLUSTER_PARTITIONS_MAX * sizeof *is_wanted);
    if (cluster->config->is_replica)
        for (int i = 0; i < partitions; i++)
            is_wanted[i] = standbys > 0;
    else if (own >= 0) {
        if (is_joining)
            mark_given(is_wanted, partitions, members, own);
        else if (standbys > 0)
            pipeline_range__standbys(partitions, members, own, standbys, is_wanted);
        members = find_members(cluster, true, names, &own);
        mark_given(is_wanted, partitions, members, own);
    }
    for (int i = 0; i < partitions; i++)
        is_wanted[i] = is_wanted[i] && !is_own(cluster, i);
}

/* ---- reading along ---- */

static void stop_reading(struct standing_by *standing)
{
    pipeline_restoring__close(standing->restoring);
    standing->restoring = NULL;
    standing->is_through = false;
}

/* What is not here at all comes out of checkpoints as far as there are some. */
static bool fetch(const struct standing_by *standing, struct fr_err *err)
{
    for (int i = 0; i < standing->count; i++) {
        struct pipeline_cluster *cluster = standing->cluster;
        int32_t partition = standing->partitions[i];

        if (atomic_load(&cluster->is_held))
            return true;
        if (atomic_load(&cluster->held[partition].changelog_next) < 0 && !pipeline_ship__fetch(cluster, partition, err))
            return false;
    }
    return true;
}

static bool begin(struct standing_by *standing, const bool *is_wanted, const bool *is_read, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;

    stop_reading(standing);
    memcpy(standing->is_wanted, is_wanted, sizeof standing->is_wanted);
    memcpy(standing->is_read, is_read, sizeof standing->is_read);
    standing->since_ms = standing->taken_ms = standing->said_ms = fr_clock_monotonic_ms();
    standing->count = 0;
    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        if (is_read[i])
            standing->partitions[standing->count++] = i;
        if (!is_own(cluster, i))
            atomic_store(&cluster->held[i].place, is_wanted[i] ? PIPELINE_CLUSTER_STANDBY : PIPELINE_CLUSTER_ELSEWHERE);
    }
    return standing->count == 0 ||
           (pipeline_share__clear(cluster, standing->partitions, standing->count, err) && fetch(standing, err) &&
            (atomic_load(&cluster->is_held) ||
             pipeline_restoring__open(cluster, standing->partitions, standing->count, true, &standing->restoring, err)));
}

static bool read_along(struct standing_by *standing, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;

    if (pipeline_restoring__read(standing->restoring, READ_MS, err) < 0)
        return false;
    if (standing->is_through || pipeline_restoring__lag(standing->restoring) > 0)
        return true;
    standing->is_through = true;
    for (int i = 0; i < standing->count; i++)
        atomic_store(&cluster->held[standing->partitions[i]].is_whole, true);
    fr_log(FR_LOG_INFO, "cluster", "'%s' stands by for %d partitions", cluster->config->id, standing->count);
    return true;
}

static bool is_anothers(const struct pipeline_cluster *cluster, int partition)
{
    const struct pipeline_held *held = &cluster->held[partition];
    const struct pipeline_owner *owner = atomic_load(&held->owner);

    return owner && strcmp(owner->instance, cluster->config->id) != 0 && !pipeline_owner__is_outdated(held);
}

/*
 * What this instance was relieved of by a drain it keeps: the next start wants it back. And what nobody has said to have since: whoever
 * was given it may end before he says so, and then it comes back.
 */
static bool drop_rest(struct standing_by *standing, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;
    bool is_gone[PIPELINE_CLUSTER_PARTITIONS_MAX] = {false}, is_any = false;

    if (!atomic_load(&cluster->is_assigned) || atomic_load(&cluster->is_draining) ||
        fr_clock_monotonic_ms() - standing->since_ms < DROP_AFTER_MS)
        return true;
    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        is_gone[i] = !is_own(cluster, i) && !standing->is_wanted[i] && !cluster->held[i].is_empty && is_anothers(cluster, i);
        is_any = is_any || is_gone[i];
    }
    return !is_any || pipeline_share__drop(cluster, is_gone, true, err);
}

/* ---- restoring ---- */

static bool find_restoring(const struct pipeline_cluster *cluster, bool *is_read)
{
    bool is_any = false;

    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++) {
        is_read[i] = atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_RESTORING;
        is_any = is_any || is_read[i];
    }
    return is_any;
}

/* Unless a hand-over comes: then they are restored, or another's, after it. */
static bool take(struct standing_by *standing, const int32_t *partitions, int count, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;
    bool ok = true;

    atomic_store(&cluster->is_taking, true);
    if (!atomic_load(&cluster->is_held)) { /* after that: who holds it looks the other way round */
        ok = pipeline_share__take(cluster, partitions, count, err);
        if (ok)
            pipeline_share__tell(cluster);
    }
    atomic_store(&cluster->is_taking, false);
    standing->taken_ms = fr_clock_monotonic_ms();
    return ok;
}

static bool take_through(struct standing_by *standing, struct fr_err *err)
{
    int32_t through[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int count = 0, left = 0;

    for (int i = 0; i < standing->count; i++) {
        if (!standing->is_read[standing->partitions[i]])
            continue;
        if (pipeline_restoring__is_through(standing->restoring, i))
            through[count++] = standing->partitions[i];
        else
            left++;
    }
    if (count == 0 || (left > 0 && fr_clock_monotonic_ms() - standing->taken_ms < TAKE_MS))
        return true;
    for (int i = 0; i < standing->count; i++) /* from here on who owns it writes it */
        if (pipeline_restoring__is_through(standing->restoring, i)) {
            pipeline_restoring__leave(standing->restoring, i);
            standing->is_read[standing->partitions[i]] = false;
        }
    if (left == 0)
        standing->since_ms = 0; /* what is stood by for from now on is begun anew */
    return take(standing, through, count, err);
}

static bool restore_some(struct standing_by *standing, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;
    int64_t now_ms = fr_clock_monotonic_ms();

    if (pipeline_restoring__read(standing->restoring, READ_MS, err) < 0)
        return false;
    pipeline_restoring__end_awaited(standing->restoring);
    if (now_ms - standing->said_ms > SAY_MS) {
        standing->said_ms = now_ms;
        fr_log(FR_LOG_INFO, "cluster", "restoring: %" PRIu64 " offsets of '%s' are left",
               pipeline_restoring__lag(standing->restoring), cluster->changelog);
    }
    return take_through(standing, err);
}

/* ---- the thread ---- */

static bool step(struct standing_by *standing, struct fr_err *err)
{
    struct pipeline_cluster *cluster = standing->cluster;
    bool is_joining = atomic_load(&cluster->is_joining), is_restoring;
    bool is_wanted[PIPELINE_CLUSTER_PARTITIONS_MAX], is_read[PIPELINE_CLUSTER_PARTITIONS_MAX];

    find_wanted(cluster, is_joining, is_wanted);
    is_restoring = find_restoring(cluster, is_read);
    if (atomic_load(&cluster->is_held)) /* after that: who gives away says it before he does */
        return true;
    if (!is_restoring)
        memcpy(is_read, is_wanted, sizeof is_read);
    if (memcmp(is_read, standing->is_read, sizeof is_read) != 0 || standing->since_ms == 0)
        if (!begin(standing, is_wanted, is_read, err))
            return false;
    if (!standing->restoring)
        fr_clock_sleep_ms(IDLE_MS);
    else if (is_restoring)
        return restore_some(standing, err);
    else if (!read_along(standing, err))
        return false;
    if (is_joining || cluster->config->is_replica)
        atomic_store(&cluster->is_warm, standing->is_through || !standing->restoring);
    return drop_rest(standing, err);
}

static void *run(void *user)
{
    struct pipeline_cluster *cluster = user;
    struct standing_by *standing = calloc(1, sizeof *standing);
    struct fr_err err;
    bool ok = standing || fr_fail(&err, FR_EXHAUSTED, "cluster: out of memory for standing by");

    if (ok)
        standing->cluster = cluster;
    while (ok && !pipeline_cluster__is_stopping(cluster)) {
        atomic_store(&cluster->is_idle, false);
        if (!atomic_load(&cluster->is_held)) { /* after that: who holds it looks the other way round */
            ok = step(standing, &err);
            continue;
        }
        stop_reading(standing);
        standing->since_ms = 0; /* who is to have what may be another after it */
        atomic_store(&cluster->is_idle, true);
        fr_clock_sleep_ms(HELD_MS);
    }
    if (standing)
        stop_reading(standing);
    free(standing);
    if (!ok && !pipeline_cluster__is_stopping(cluster))
        pipeline_cluster__fail(cluster, &err);
    atomic_store(&cluster->is_idle, true);
    return NULL;
}

bool pipeline_standby__start(struct pipeline_cluster *cluster, struct fr_err *err)
{
    if (pthread_create(&cluster->standby, NULL, run, cluster) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cluster: cannot start the standby's thread; raise the limit of threads");
    pthread_setname_np(cluster->standby, "standby");
    cluster->is_standby_started = true;
    return true;
}

void pipeline_standby__stop(struct pipeline_cluster *cluster)
{
    if (cluster->is_standby_started)
        pthread_join(cluster->standby, NULL);
    cluster->is_standby_started = false;
}

void pipeline_standby__stop_taking(struct pipeline_cluster *cluster)
{
    atomic_store(&cluster->is_held, true);
    while (atomic_load(&cluster->is_taking))
        fr_clock_sleep_ms(1);
}

void pipeline_standby__hold(struct pipeline_cluster *cluster)
{
    atomic_store(&cluster->is_held, true);
    while (!atomic_load(&cluster->is_idle))
        fr_clock_sleep_ms(1);
}

void pipeline_standby__release(struct pipeline_cluster *cluster)
{
    atomic_store(&cluster->is_held, false);
}
