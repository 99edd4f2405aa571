/*
 * What other instances saw: records of `<group>.deltas`, read to their end and on by the cluster's thread, and merged a few at
 * a time inside one gate, with the positions that they came to. Announcements and what is blocked lie between them, and are
 * heard here.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>

enum {
    ROOM_MS = 10,
    FETCH_MS = 100, /* a record comes at once; ten fetches a second when there is none are enough */
    READ_MS = 100,
    LOOK_MS = 1000,
    RECORDS_AT_ONCE = 4, /* for each lane: what they bring is merged inside one gate */
    RECORDS_MAX = 16 /* of all */
};

bool pipeline_deltas__open(struct pipeline_cluster *cluster, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    int32_t numbers[PIPELINE_CLUSTER_PARTITIONS_MAX];
    int64_t starts[PIPELINE_CLUSTER_PARTITIONS_MAX];
    struct ingest_tail_options options = {.topic = cluster->deltas,
                                          .partitions = numbers,
                                          .starts = starts,
                                          .count = count,
                                          .queue_bytes = PIPELINE_CLUSTER_QUEUE_BYTES,
                                          .wait_ms = FETCH_MS};

    for (int i = 0; i < count; i++) {
        numbers[i] = i;
        starts[i] = atomic_load(&cluster->deltas_next[i]);
    }
    while (!ingest_tail_open(cluster->group, &options, &cluster->tail, err))
        if (!pipeline_cluster__wait_again(cluster, err))
            return false;
    return true;
}

static bool choose_all(struct pipeline_cluster *cluster, struct fr_reader *deltas, struct fr_err *err)
{
    struct agg_delta delta;

    while (pipeline_delta__next(deltas, &delta))
        if (!pipeline_mergers__add(cluster->mergers, &delta, err))
            return false;
    return !deltas->is_failed || fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' ends too soon", cluster->deltas);
}

/* What there is to merge: others' deltas, and its own of epochs that the store never wrote. */
static bool choose(struct pipeline_cluster *cluster, const struct ingest_tailed *records, int count, int64_t *time_ms,
                   struct fr_err *err)
{
    pipeline_mergers__clear(cluster->mergers);
    for (int i = 0; i < count; i++) {
        struct pipeline_delta_head head;
        struct fr_reader deltas;
        int partition;

        if (pipeline_owner__is(records[i].key, &partition)) {
            if (partition == PIPELINE_CLUSTER_JOINING)
                pipeline_standby__expect(cluster, records[i].value);
            else
                pipeline_owner__take(cluster, partition, records[i].offset, records[i].value);
            continue;
        }
        if (pipeline_block__is(records[i].key)) {
            if (!pipeline_cluster_blocks__receive(cluster, records[i].key, records[i].value, err))
                return false;
            continue;
        }
        if (!pipeline_delta__decode(cluster, records[i].value, &head, &deltas, err))
            return false;
        if (head.store_id == cluster->store_id &&
            (atomic_load(&cluster->is_through) || head.epoch <= atomic_load(&cluster->made)))
            continue;
        if (head.store_id == cluster->store_id && head.epoch > cluster->found)
            cluster->found = head.epoch;
        *time_ms = head.stream_time_ms > *time_ms ? head.stream_time_ms : *time_ms;
        if (!choose_all(cluster, &deltas, err))
            return false;
    }
    return true;
}

static bool merge(struct pipeline_cluster *cluster, const struct ingest_tailed *records, int count, struct fr_err *err)
{
    struct pipeline_stream *stream = &cluster->engine->stream;
    struct store_visit visit;
    int64_t time_ms = 0;
    bool ok;

    if (!choose(cluster, records, count, &time_ms, err))
        return false;
    visit = store_visit_enter(cluster->store);
    ok = pipeline_mergers__load(cluster->mergers, err);
    if (ok) {
        store_gate_enter(cluster->store);
        ok = pipeline_mergers__apply(cluster->mergers, pipeline_stream__horizon(stream), err);
        if (ok) {
            pipeline_stream__raise(stream, cluster->config->lanes, time_ms);
            for (int i = 0; i < atomic_load(&cluster->partitions); i++)
                atomic_store(&cluster->deltas_next[i], ingest_tail_next(cluster->tail, i));
        } else {
            store_spoil(cluster->store);
        }
        store_gate_leave(cluster->store);
    }
    store_visit_leave(cluster->store, visit);
    fr_counter_add(cluster->merged,
                   (uint64_t)pipeline_mergers__count(cluster->mergers) - pipeline_mergers__corrupt(cluster->mergers));
    fr_counter_add(cluster->engine->lanes.corrupt, pipeline_mergers__corrupt(cluster->mergers));
    return ok;
}

void pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside)
{
    uint64_t most = cluster->engine->lanes.dirty_bytes_most, bytes = is_beside ? most / 5 * 4 : most;
    struct store_stats stats;

    do {
        store_stats_read(cluster->store, &stats);
        if (stats.unwritten_bytes + stats.pending_bytes <= bytes)
            return;
        fr_clock_sleep_ms(ROOM_MS);
    } while (!pipeline_cluster__is_stopping(cluster));
}

static void look_at_ends(struct pipeline_cluster *cluster)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (now_ms - cluster->looked_ms < LOOK_MS)
        return;
    cluster->looked_ms = now_ms;
    for (int i = 0; i < atomic_load(&cluster->partitions); i++)
        atomic_store(&cluster->deltas_end[i], ingest_tail_end(cluster->tail, i));
}

bool pipeline_deltas__read(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct ingest_tailed records[RECORDS_MAX];
    int most = RECORDS_AT_ONCE * cluster->config->lanes;
    int count = ingest_tail_read(cluster->tail, records, most < RECORDS_MAX ? most : RECORDS_MAX, READ_MS, err);

    look_at_ends(cluster);
    pipeline_left__look(cluster, &cluster->left); /* others' deltas may come while one's stand still */
    if (count > 0)
        pipeline_cluster__wait_for_room(cluster, false);
    return count >= 0 && merge(cluster, records, count, err);
}
