/*
 * Who was forgotten at one instance, for whoever owns his partition later: a tombstone goes into the partition's changelog in
 * the epoch that has it, under a key of its own, which compaction keeps as long as it counts, and is deleted there when it is
 * over.
 */
#include "cluster_internal.h"

#include <stdlib.h>

/* ---- restored ---- */

void pipeline_cluster_tombstones__close(struct pipeline_cluster *cluster)
{
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        free(cluster->held[i].tombstones);
}

static bool keep(struct pipeline_held *held, const struct pipeline_tombstone *tombstone)
{
    if (held->tombstone_count == held->tombstone_capacity) {
        int capacity = held->tombstone_capacity ? 2 * held->tombstone_capacity : 64;
        struct pipeline_tombstone *grown = reallocarray(held->tombstones, (size_t)capacity, sizeof *grown);

        if (!grown)
            return false;
        held->tombstones = grown;
        held->tombstone_capacity = capacity;
    }
    held->tombstones[held->tombstone_count++] = *tombstone;
    return true;
}

bool pipeline_cluster_tombstones__receive(struct pipeline_cluster *cluster, int partition, struct fr_slice key,
                                          struct fr_slice value, struct fr_err *err)
{
    struct pipeline_tombstone tombstone;
    bool is_kept;

    if (value.length == 0)
        return true; /* it is over, as it will be here */
    if (!pipeline_tombstone__decode(key, value, &tombstone))
        return pipeline_wire__fail(cluster->changelog, err);
    store_gate_enter(cluster->store); /* the boundary takes it from there */
    is_kept = keep(&cluster->held[partition], &tombstone);
    store_gate_leave(cluster->store);
    return is_kept || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for who was forgotten");
}

/* All at once: a share has as many as were forgotten in months, and nobody applies or reads meanwhile. */
bool pipeline_cluster_tombstones__boundary(struct pipeline_cluster *cluster, struct store *store, struct fr_err *err)
{
    int partitions = atomic_load(&cluster->partitions), count = 0, all = 0;
    struct pipeline_tombstone *added;
    bool ok;

    for (int i = 0; i < partitions; i++)
        all += cluster->held[i].tombstone_count;
    if (all == 0)
        return true;
    added = reallocarray(NULL, (size_t)all, sizeof *added);
    if (!added)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for %d users who were forgotten", all);
    for (int i = 0; i < partitions; i++)
        for (int k = 0; k < cluster->held[i].tombstone_count; k++)
            added[count++] = cluster->held[i].tombstones[k];
    ok = pipeline_tombstones__put_all(&cluster->engine->tombstones, store, added, count, err);
    for (int i = 0; i < partitions && ok; i++)
        cluster->held[i].tombstone_count = 0;
    free(added);
    return ok;
}

/* ---- sending ---- */

static bool put_one(struct pipeline_cluster *cluster, const struct pipeline_tombstone *tombstone, bool is_over,
                    struct fr_buffer *key, struct fr_buffer *value, struct fr_err *err)
{
    struct ingest_put put = {.topic = cluster->changelog,
                             .partition = ingest_partition_of(tombstone->user_id, atomic_load(&cluster->partitions))};

    if (!cluster->held[put.partition].is_noted)
        return true; /* his owner's; whoever asked for it here is told that it was in vain */
    fr_buffer_clear(key);
    fr_buffer_clear(value);
    pipeline_tombstone__encode(tombstone, key, value);
    return pipeline_cluster__put(cluster, &put, key, is_over ? NULL : value, NULL, err);
}

bool pipeline_cluster_tombstones__put(struct pipeline_cluster *cluster, struct fr_buffer *key, struct fr_buffer *value,
                                      struct fr_err *err)
{
    const struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    for (int i = 0; i < tombstones->gone_count; i++) {
        struct pipeline_tombstone gone = {.user_id = tombstones->gone[i]};

        if (pipeline_tombstones__has(tombstones, gone.user_id))
            continue; /* forgotten again meanwhile, and that one is not over */
        if (!put_one(cluster, &gone, true, key, value, err))
            return false;
    }
    for (int i = 0; i < tombstones->count && tombstones->unsent > 0; i++)
        if (!tombstones->entries[i].is_sent && !put_one(cluster, &tombstones->entries[i], false, key, value, err))
            return false;
    return true;
}

void pipeline_cluster_tombstones__sent(struct pipeline_cluster *cluster)
{
    struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    for (int i = 0; i < tombstones->count && tombstones->unsent > 0; i++)
        tombstones->entries[i].is_sent = true;
    tombstones->unsent = 0;
    tombstones->gone_count = 0;
}
