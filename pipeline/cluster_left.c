/*
 * What somebody left open in Kafka. Reading stands still before a transaction that is open. When whoever began it is in the
 * group no more, it is ended here instead of waited for: what he would still write is refused from then on, as it would be
 * without his partitions. Of the changelog that is asked as soon as a restoration waits, since all wait for it; of the deltas
 * once they have stood still for longer than any epoch takes, by everybody: it does not matter who is the first. One partition
 * at a time, and whichever has stood longest: most often all are one's, and where nobody answers that is 17 s for each.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

enum { LOOK_MS = 1000, STILL_MS = 4000 };

bool pipeline_left__end(struct pipeline_cluster *cluster, const char *topic, int32_t partition, int64_t offset)
{
    static struct fr_log_place place;
    char instance[INGEST_NAME_BYTES];
    struct fr_err err;
    bool is_ended;

    if (!ingest_group_end(cluster->group, topic, partition, offset, instance, &is_ended, &err)) {
        fr_log_limited(&place, 10, FR_LOG_WARN, "cluster", "%s; asked again", err.message);
        return false;
    }
    if (is_ended)
        fr_log(FR_LOG_INFO, "cluster", "'%s' is not in the group any more, and what it had begun is ended", instance);
    return true;
}

void pipeline_left__look(struct pipeline_cluster *cluster, struct pipeline_left *left)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    int count = atomic_load(&cluster->partitions), longest = -1;

    if (now_ms - left->asked_ms < LOOK_MS)
        return;
    left->asked_ms = now_ms;
    for (int i = 0; i < count; i++) {
        int64_t next = ingest_tail_next(cluster->tail, i);

        if (!ingest_tail_is_behind(cluster->tail, i)) {
            left->at[i].since_ms = 0;
        } else if (left->at[i].since_ms == 0 || left->at[i].next != next) {
            left->at[i].next = next;
            left->at[i].since_ms = now_ms;
        } else if (now_ms - left->at[i].since_ms >= STILL_MS &&
                   (longest < 0 || left->at[i].since_ms < left->at[longest].since_ms)) {
            longest = i;
        }
    }
    if (longest < 0)
        return;
    (void)pipeline_left__end(cluster, cluster->deltas, longest, left->at[longest].next);
    left->at[longest].since_ms = fr_clock_monotonic_ms();
}
