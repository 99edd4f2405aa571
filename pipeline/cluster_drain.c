/*
 * Draining: an instance leaves the group, so that the others get what it has. Whether there are others the group's coordinator
 * is asked, because who drains has left it: what was announced does not tell. Two that ask at the same moment may still both
 * leave, and one that died stays a member for as long as its session. So whoever left looks, until others have said that they
 * have all, whether the group has anybody, and else comes back: by name, one after the other, so that of several that left
 * together the first comes back for all.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

enum { LOOK_MS = 1000, NEXT_MS = 1500, PLACES = 4 };

/* How many partitions no other instance has said to have, or are still here. */
static int count_left(const struct pipeline_cluster *cluster)
{
    int left = 0;

    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        const struct pipeline_held *held = &cluster->held[i];
        const struct pipeline_owner *owner = atomic_load(&held->owner);
        int place = atomic_load(&held->place);

        left += !owner || strcmp(owner->instance, cluster->config->id) == 0 || pipeline_owner__is_outdated(held) ||
                place == PIPELINE_CLUSTER_HERE || place == PIPELINE_CLUSTER_RESTORING;
    }
    return left;
}

/* Behind how many that have partitions, as announced, it comes by name; no more than PLACES. */
static int place_of(const struct pipeline_cluster *cluster)
{
    const struct pipeline_owner *before = NULL;
    int place = 0;

    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[i].owner);

        if (owner && owner != before && strcmp(owner->instance, cluster->config->id) < 0 &&
            !(before && strcmp(owner->instance, before->instance) == 0))
            place++;
        before = owner ? owner : before;
    }
    return place < PLACES ? place : PLACES;
}

static bool find_others(struct pipeline_cluster *cluster, int *others, struct fr_err *err)
{
    struct ingest_members members;

    if (!ingest_group_members(cluster->group, cluster->config->id, &members, err))
        return false;
    *others = members.count - members.has_it;
    return true;
}

/* Where the deltas end: what is said before that, though it may be read later, was said before this instance left. */
static bool find_ends(struct pipeline_cluster *cluster, int64_t *ends, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    int32_t numbers[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t lows[PIPELINE_CLUSTER_PARTITIONS_MAX];

    for (int i = 0; i < count; i++)
        numbers[i] = i;
    return ingest_group_marks(cluster->group, cluster->deltas, numbers, count, lows, ends, err);
}

/*
 * Who had a partition before may have said so in the epoch in which it was given here, and be heard only now. Whoever gets it says so
 * anew, after this.
 */
static void outdate_words(struct pipeline_cluster *cluster, const int64_t *ends)
{
    for (int i = 0; i < atomic_load(&cluster->partitions); i++) {
        struct pipeline_held *held = &cluster->held[i];
        int place = atomic_load(&held->place);

        if (place == PIPELINE_CLUSTER_HERE || place == PIPELINE_CLUSTER_RESTORING)
            atomic_store(&held->word_from, ends[i] + 1);
    }
}

bool pipeline_cluster__drain(struct pipeline_cluster *cluster, int *left, bool *is_again, struct fr_err *err)
{
    int64_t ends[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int others;

    if (!atomic_load(&cluster->has_come)) /* who restores its share may go */
        return fr_fail(err, FR_UNAVAILABLE, "'%s' has not come into the group yet; retry", cluster->config->id);
    *left = count_left(cluster);
    *is_again = atomic_load(&cluster->is_draining);
    if (*is_again || cluster->config->is_replica)
        return true;
    if (!find_others(cluster, &others, err))
        return false;
    if (others == 0)
        return fr_fail(
            err, FR_PRECONDITION,
            "no other instance is in the group that could take the partitions of '%s': those that drain are not, nor the "
            "dead once their session is over",
            cluster->config->id);
    if (!find_ends(cluster, ends, err))
        return false;
    atomic_store(&cluster->drained_ms, fr_clock_monotonic_ms());
    atomic_store(&cluster->is_relieved, false);
    *is_again = atomic_exchange(&cluster->is_draining, true); /* another began it just now */
    if (!*is_again) {
        outdate_words(cluster, ends);
        ingest_group_drain(cluster->group, true);
    }
    return true;
}

bool pipeline_cluster__has_share(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->has_come) && !cluster->config->is_replica;
}

void pipeline_drain__look(struct pipeline_cluster *cluster)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    struct fr_err err;
    int others;

    if (!atomic_load(&cluster->is_draining) || atomic_load(&cluster->is_relieved))
        return;
    if (count_left(cluster) == 0) {
        atomic_store(&cluster->is_relieved, true); /* and stays away, whatever becomes of them */
        return;
    }
    if (!atomic_load(&cluster->is_away) || now_ms - atomic_load(&cluster->drained_ms) < LOOK_MS + place_of(cluster) * NEXT_MS)
        return;
    atomic_store(&cluster->drained_ms, now_ms);
    if (!find_others(cluster, &others, &err) || others > 0)
        return; /* who restores for long is there, too */
    fr_log(FR_LOG_WARN, "cluster",
           "nobody is in the group to take the partitions of '%s', which takes them back: it is not drained",
           cluster->config->id);
    atomic_store(&cluster->is_assigned, false); /* nor ready, until it has them */
    atomic_store(&cluster->is_draining, false);
    ingest_group_drain(cluster->group, false);
}
