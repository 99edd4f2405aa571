/* How far all partitions have come, in event time: what the join lets pass. */
#include "internal.h"

#include <freshet/clock.h>

#include <stdlib.h>

enum { CANDIDATE_MS = 2000 }; /* a partition that is never quite caught up goes by its own events meanwhile */

bool pipeline_watermark__init(struct pipeline_watermark *watermark)
{
    watermark->seen_ms = calloc(PIPELINE_PARTITIONS_MAX, sizeof *watermark->seen_ms);
    watermark->bounds_ms = calloc(PIPELINE_PARTITIONS_MAX, sizeof *watermark->bounds_ms);
    return watermark->seen_ms && watermark->bounds_ms;
}

void pipeline_watermark__fini(struct pipeline_watermark *watermark)
{
    free(watermark->seen_ms);
    free(watermark->bounds_ms);
}

void pipeline_watermark__see(struct pipeline_watermark *watermark, int partition, int64_t ts_ms)
{
    if (partition < 0)
        return;
    if (ts_ms > atomic_load_explicit(&watermark->seen_ms[partition], memory_order_relaxed))
        atomic_store_explicit(&watermark->seen_ms[partition], ts_ms, memory_order_release);
}

/* All that was in it when the candidate was taken is applied. */
static bool is_caught_up(const struct pipeline_watermark *watermark, const struct ingest_partition *partition, int64_t next)
{
    return partition->is_started && partition->end >= 0 && next >= 0 && partition->known_ms > watermark->candidate_at_ms &&
           (next >= partition->end || partition->end <= partition->low);
}

/* The least bound; *is_all when no partition is behind the candidate. */
static int64_t least_bound(struct pipeline_watermark *watermark, struct ingest *ingest, bool *is_all)
{
    int count = ingest_is_assigned(ingest) ? ingest_partition_count(ingest) : 0;
    int64_t least_ms = count > 0 ? INT64_MAX : 0;

    *is_all = count > 0;
    for (int i = 0; i < count; i++) {
        int64_t seen_ms = atomic_load_explicit(&watermark->seen_ms[i], memory_order_acquire);
        int64_t next = pipeline_offsets__next(watermark->offsets, i);
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t bound_ms = seen_ms < watermark->candidate_ms ? seen_ms : watermark->candidate_ms;

        if (is_caught_up(watermark, &partition, next))
            bound_ms = watermark->candidate_ms;
        if (bound_ms > watermark->bounds_ms[i])
            watermark->bounds_ms[i] = bound_ms;
        *is_all = *is_all && watermark->bounds_ms[i] >= watermark->candidate_ms;
        least_ms = watermark->bounds_ms[i] < least_ms ? watermark->bounds_ms[i] : least_ms;
    }
    return least_ms;
}

/* A later S to come to, once the rows that were answered before it are where they can be read. */
static void choose_candidate(struct pipeline_watermark *watermark, int64_t now_ms)
{
    watermark->candidate_ms = pipeline_stream__time(watermark->stream);
    watermark->candidate_puts = pipeline_served_log__puts(watermark->served_log);
    watermark->candidate_at_ms = INT64_MAX;
    watermark->candidate_since_ms = now_ms;
}

int64_t pipeline_watermark__time(struct pipeline_watermark *watermark)
{
    struct ingest *ingest = atomic_load_explicit(&watermark->ingest, memory_order_acquire);
    int64_t now_ms = fr_clock_monotonic_ms(), least_ms;
    bool is_all;

    if (!ingest)
        return watermark->time_ms;
    if (watermark->candidate_at_ms == INT64_MAX) {
        if (!pipeline_served_log__is_settled(watermark->served_log, watermark->candidate_puts))
            return watermark->time_ms;
        watermark->candidate_at_ms = now_ms;
    }
    least_ms = least_bound(watermark, ingest, &is_all);
    if (is_all || now_ms - watermark->candidate_since_ms > CANDIDATE_MS)
        choose_candidate(watermark, now_ms);
    watermark->time_ms = least_ms > watermark->time_ms ? least_ms : watermark->time_ms;
    return watermark->time_ms;
}
