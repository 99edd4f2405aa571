/*
 * Each epoch is one transaction: of users' entities what was written, as copies in their partition's changelog, with a marker
 * that says how far its events are in it; what this instance's events meant for other entities, as deltas; the sessions that
 * ended; and the group's offsets, which the brokers refuse of whoever is no owner any more. Only once it is committed does the store write the epoch.
 * A crash between the two leaves the store behind, and a restart reads copies and deltas from where it is.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_MS = 100,
    DELTAS_BYTES = 16 << 10, /* of a record, some hundred entities: others merge a record inside one gate */
};

void pipeline_cluster__fail(struct pipeline_cluster *cluster, const struct fr_err *err)
{
    bool is_first = !atomic_exchange(&cluster->is_failed, true); /* first: of an epoch that fails by it nothing is to be said */

    store_spoil(cluster->store);
    if (is_first)
        cluster->fatal(cluster->user, err);
}

bool pipeline_cluster__put(struct pipeline_cluster *cluster, const struct ingest_put *at, const struct fr_buffer *key,
                           const struct fr_buffer *value, int64_t *offset, struct fr_err *err)
{
    struct ingest_put put = *at;

    if ((key && key->is_failed) || (value && value->is_failed))
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a record of '%s'", put.topic);
    put.key = key ? fr_buffer_slice(key) : put.key;
    put.value = value ? fr_buffer_slice(value) : put.value;
    put.is_signed = put.topic != cluster->changelog || !cluster->held[put.partition].is_signed;
    if (put.topic == cluster->changelog)
        cluster->held[put.partition].is_signed = true;
    return ingest_transaction_put(cluster->group, &put, offset, err);
}

/* ---- the boundary ---- */

/* Gives whether any moved. */
static bool save_deltas(struct pipeline_cluster *cluster, struct store *store)
{
    int count = atomic_load(&cluster->partitions);
    bool is_any = false;

    for (int i = 0; i < count; i++) {
        int64_t next = atomic_load(&cluster->deltas_next[i]);
        char name[64], text[24];

        if (next == cluster->deltas_saved[i])
            continue;
        snprintf(name, sizeof name, "cluster/deltas/%d", i);
        snprintf(text, sizeof text, "%lld", (long long)next);
        store_meta_put(store, name, fr_slice_of(text));
        cluster->deltas_saved[i] = next;
        is_any = true;
    }
    return is_any;
}

/* Of a partition that is gone there is no record. */
static void save_held(struct pipeline_cluster *cluster, struct store *store, int partition)
{
    struct pipeline_held *held = &cluster->held[partition];
    int64_t next = atomic_load(&held->changelog_next);
    struct fr_buffer value;
    char name[64];

    snprintf(name, sizeof name, "cluster/partition/%d", partition);
    held->is_saved = true;
    if (next < 0) {
        store_meta_delete(store, name);
        return;
    }
    fr_buffer_init(&value);
    fr_buffer_append_varint(&value, (uint64_t)next);
    if (held->marker.is_known)
        pipeline_marker__encode(cluster, &held->marker, &value);
    if (value.is_failed)
        store_spoil(store);
    else
        store_meta_put(store, name, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
}

static void save_owner(struct pipeline_cluster *cluster, struct store *store, int partition)
{
    const struct pipeline_owner *owner;
    struct fr_buffer value;
    char name[64];

    atomic_store(&cluster->held[partition].is_owner_saved, true); /* before it is looked at: news come again */
    owner = atomic_load(&cluster->held[partition].owner);
    if (!owner)
        return;
    fr_buffer_init(&value);
    fr_buffer_append_varint(&value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_varint(&value, strlen(owner->instance));
    fr_buffer_append_text(&value, owner->instance);
    fr_buffer_append_varint(&value, strlen(owner->api));
    fr_buffer_append_text(&value, owner->api);
    snprintf(name, sizeof name, "cluster/owner/%d", partition);
    if (!value.is_failed)
        store_meta_put(store, name, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
}

/* How far events of a partition are in what is now set aside. */
static void note_positions(struct pipeline_cluster *cluster, int partition)
{
    struct pipeline_held *held = &cluster->held[partition];
    struct pipeline_offsets *offsets = &cluster->engine->offsets;

    held->next = (struct pipeline_marker){.is_known = true,
                                          .stream_time_ms = cluster->boundary_time_ms,
                                          .session_time_ms = pipeline_cluster_sessions__time(cluster, partition)};
    for (int i = 0; i < cluster->topic_count; i++)
        held->next.at[i] = (struct ingest_position){.next_offset = pipeline_offsets__next(offsets, held->index[i]),
                                                    .last = offsets->positions[held->index[i]].last};
}

/* As it was at the boundary: what came since is of the next epoch. */
static bool is_noted(const struct pipeline_cluster *cluster, int partition)
{
    return cluster->held[partition].is_noted;
}

/* What an epoch that failed has set aside belongs to the next one: its offsets will be in it. */
static void turn(struct pipeline_cluster *cluster)
{
    if (!agg_images_turn(cluster->engine->agg)) {
        struct fr_err err;

        (void)fr_fail(&err, FR_EXHAUSTED,
                      "cluster: an epoch found no memory, and what it meant for others can be told no more; restarted, this "
                      "instance reads its events again: give it more memory, or less store.memory");
        pipeline_cluster__fail(cluster, &err);
    }
    for (int i = 0; i < cluster->config->lanes; i++) {
        struct agg_deltas *empty = cluster->turned[i];
        struct fr_err err;

        if (agg_deltas_count(empty) > 0 && !agg_deltas_merge(cluster->pending, empty, &err))
            pipeline_cluster__fail(cluster, &err);
        cluster->turned[i] = agg_lane_collect(cluster->engine->lanes.lanes[i].scratch, empty);
    }
}

/* Gives whether there is a new one. */
static bool save_made(struct pipeline_cluster *cluster, struct store *store)
{
    uint64_t made = atomic_load(&cluster->made);
    char text[24];

    if (made == cluster->made_saved)
        return false;
    snprintf(text, sizeof text, "%llu", (unsigned long long)made);
    store_meta_put(store, "cluster/epoch", fr_slice_of(text));
    cluster->made_saved = made;
    return true;
}

/* When the store was last of the cluster's present, by the wall's clock. */
static void save_now(struct store *store, int64_t now_ms)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)now_ms);
    store_meta_put(store, "cluster/saved_ms", fr_slice_of(text));
}

static bool owns_any(const struct pipeline_cluster *cluster, int partitions)
{
    for (int i = 0; i < partitions; i++)
        if (is_noted(cluster, i))
            return true;
    return false;
}

void pipeline_cluster__boundary(struct pipeline_cluster *cluster, struct store *store)
{
    int count = atomic_load(&cluster->partitions);
    int64_t now_ms = fr_clock_wall_ms();
    bool is_moved;
    struct fr_err err;

    if (!pipeline_cluster_blocks__boundary(cluster, store, now_ms, &err) ||
        !pipeline_cluster_tombstones__boundary(cluster, store, &err))
        pipeline_cluster__fail(cluster, &err); /* a restart has room for it, or reads it again */

    cluster->boundary_time_ms = pipeline_stream__time(&cluster->engine->stream);
    cluster->boundary_horizon_ms = pipeline_stream__horizon(&cluster->engine->stream);
    turn(cluster);
    is_moved = save_deltas(cluster, store);
    if ((save_made(cluster, store) || is_moved) &&
        !atomic_load(&cluster->is_away)) /* what it was relieved of it keeps, unread */
        save_now(store, now_ms);
    cluster->is_boundary_local = atomic_load(&cluster->is_local);
    for (int i = 0; i < count; i++) {
        cluster->held[i].is_noted = atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE;
        if (is_noted(cluster, i))
            note_positions(cluster, i);
        if (!cluster->held[i].is_saved)
            save_held(cluster, store, i);
        if (!atomic_load(&cluster->held[i].is_owner_saved))
            save_owner(cluster, store, i);
    }
    /* Taken here, where it is known what is this instance's: what comes after the boundary is announced by the next epoch. */
    if (!cluster->is_boundary_local && owns_any(cluster, count) && atomic_exchange(&cluster->needs_announcing, false))
        cluster->is_boundary_announcing = true;
}

/* ---- the transaction ---- */

struct writing {
    struct pipeline_cluster *cluster;
    struct pipeline_delta_head head;
    struct fr_buffer key, value;
    int partitions;
    uint64_t copies, deltas;
    bool is_counting;
};

static bool put_copy(void *user, const struct store_key *key, enum store_part part, struct fr_slice value, struct fr_err *err)
{
    struct writing *writing = user;
    struct pipeline_cluster *cluster = writing->cluster;
    struct ingest_put put = {.topic = cluster->changelog, .value = value};

    if (!agg_is_of_user(cluster->engine->agg, key))
        return true;
    put.partition = ingest_partition_of(key->ids[0], writing->partitions);
    if (!is_noted(cluster, put.partition))
        return true; /* what was given away */
    writing->copies++;
    if (writing->is_counting)
        return true;
    fr_buffer_clear(&writing->key);
    pipeline_copy__key(key, part, &writing->key);
    if (value.length == 0)
        put.value = fr_slice(NULL, 0);
    return pipeline_cluster__put(cluster, &put, &writing->key, NULL, NULL, err);
}

/* Those that are gathered. An epoch's go to one partition: each that a transaction writes to costs the brokers some records of their own. */
static bool put_deltas(struct writing *writing, struct fr_err *err)
{
    struct ingest_put put = {.topic = writing->cluster->deltas,
                             .partition = (int32_t)(writing->head.epoch % (uint64_t)writing->partitions)};

    if (writing->value.length == 0 && !writing->value.is_failed)
        return true;
    if (!pipeline_cluster__put(writing->cluster, &put, NULL, &writing->value, NULL, err))
        return false;
    fr_buffer_clear(&writing->value);
    return true;
}

static bool gather_delta(void *user, struct fr_slice key, struct fr_slice value, struct fr_err *err)
{
    struct writing *writing = user;

    if (writing->value.length + key.length + value.length > DELTAS_BYTES && !put_deltas(writing, err))
        return false;
    if (writing->value.length == 0)
        pipeline_delta__begin(&writing->head, &writing->value);
    pipeline_delta__append(key, value, &writing->value);
    writing->deltas++;
    return true;
}

static bool tell(struct writing *writing, struct fr_err *err)
{
    fr_buffer_clear(&writing->value);
    if (pipeline_cluster_sessions__need_time(writing->cluster))
        pipeline_delta__begin(&writing->head, &writing->value);
    return agg_deltas_each(writing->cluster->pending, gather_delta, writing, err) && put_deltas(writing, err);
}

static bool put_marker(struct writing *writing, int partition, struct fr_err *err)
{
    struct pipeline_held *held = &writing->cluster->held[partition];
    struct ingest_put put = {.topic = writing->cluster->changelog,
                             .partition = partition,
                             .key = fr_slice(pipeline_marker_key, sizeof pipeline_marker_key)};

    held->next.epoch = writing->head.epoch;
    fr_buffer_clear(&writing->value);
    pipeline_marker__encode(writing->cluster, &held->next, &writing->value);
    return pipeline_cluster__put(writing->cluster, &put, NULL, &writing->value, &held->marker_offset, err);
}

static bool announce(struct writing *writing, int partition, struct fr_err *err)
{
    struct ingest_put put = {.topic = writing->cluster->deltas, .partition = partition};

    fr_buffer_clear(&writing->key);
    fr_buffer_clear(&writing->value);
    pipeline_owner__encode(writing->cluster, partition, &writing->key, &writing->value);
    return pipeline_cluster__put(writing->cluster, &put, &writing->key, &writing->value, NULL, err);
}

static bool put_partitions(struct writing *writing, bool is_announcing, struct ingest_consumed *consumed, int *count,
                           struct fr_err *err)
{
    struct pipeline_cluster *cluster = writing->cluster;

    for (int i = 0; i < writing->partitions; i++) {
        if (!is_noted(cluster, i))
            continue;
        if (!put_marker(writing, i, err) || (is_announcing && !announce(writing, i, err)))
            return false;
        for (int t = 0; t < cluster->topic_count; t++)
            if (cluster->held[i].next.at[t].next_offset >= 0)
                consumed[(*count)++] = (struct ingest_consumed){cluster->topics[t], i, cluster->held[i].next.at[t].next_offset};
    }
    return true;
}

static bool transact(struct writing *writing, bool is_announcing, struct fr_err *err)
{
    struct pipeline_cluster *cluster = writing->cluster;
    int room = writing->partitions * cluster->topic_count, count = 0;
    struct ingest_consumed *consumed = calloc((size_t)room + 1, sizeof *consumed);
    bool ok = consumed || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for an epoch");

    for (int i = 0; i < writing->partitions; i++)
        cluster->held[i].is_signed = false;
    ok = ok && ingest_transaction_begin(cluster->group, err) && store_epoch_each(cluster->store, put_copy, writing, err) &&
         tell(writing, err) && pipeline_cluster_tombstones__put(cluster, &writing->key, &writing->value, err) &&
         pipeline_cluster_blocks__put(cluster, is_announcing, &writing->key, &writing->value, err) &&
         pipeline_cluster_sessions__put(cluster, err) && put_partitions(writing, is_announcing, consumed, &count, err) &&
         ingest_transaction_commit(cluster->group, consumed, count, err);
    free(consumed);
    return ok;
}

/*
 * The same epoch until Kafka has it, as long as what became of the last attempt is known: brokers come and go. The store has
 * not written it, nobody sees what was taken back, and partitions stay as they are, since who gives one away waits for the
 * committer.
 */
static bool transact_until(struct writing *writing, bool is_announcing, struct fr_err *err)
{
    static struct fr_log_place place;
    struct pipeline_cluster *cluster = writing->cluster;

    for (;;) {
        struct fr_err why;

        writing->copies = writing->deltas = 0;
        if (transact(writing, is_announcing, err))
            return true;
        if (err->code != FR_UNAVAILABLE ||
            pipeline_cluster__is_stopping(cluster) || /* what is not the brokers' does not mend */
            !ingest_transaction_take_back(cluster->group, &why))
            return false;
        fr_counter_add(cluster->taken_back, 1);
        fr_log_limited(&place, 10, FR_LOG_WARN, "cluster", "%s; it was taken back, and is put once more", err->message);
        fr_clock_sleep_ms(AGAIN_MS);
    }
}

/* What Kafka has now the store is to have, too. */
static void take_over(struct pipeline_cluster *cluster, struct store *store, const struct writing *writing)
{
    for (int i = 0; i < writing->partitions; i++) {
        if (!is_noted(cluster, i))
            continue;
        cluster->held[i].marker = cluster->held[i].next;
        atomic_store(&cluster->held[i].time_ms, cluster->held[i].marker.stream_time_ms);
        atomic_store(&cluster->held[i].changelog_next, cluster->held[i].marker_offset + 1);
        save_held(cluster, store, i);
    }
    (void)save_made(cluster, store);
    agg_deltas_clear(cluster->pending);
    cluster->told_time_ms = writing->head.stream_time_ms;
    pipeline_cluster_sessions__sent(cluster);
    pipeline_cluster_tombstones__sent(cluster);
    pipeline_cluster_blocks__sent(cluster, store);
    fr_counter_add(cluster->transactions, 1);
    fr_counter_add(cluster->copied, writing->copies);
    fr_counter_add(cluster->deltas_written, writing->deltas);
}

static bool has_moved(const struct pipeline_cluster *cluster, int partitions)
{
    for (int i = 0; i < partitions; i++)
        for (int t = 0; t < cluster->topic_count && is_noted(cluster, i); t++)
            if (!cluster->held[i].marker.is_known ||
                cluster->held[i].next.at[t].next_offset != cluster->held[i].marker.at[t].next_offset)
                return true;
    return false;
}

/* Whether people asked for something that others do not know yet, or sessions ended. */
static bool is_any_unsent(const struct pipeline_cluster *cluster)
{
    const struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    return cluster->blocks.unsent > 0 || tombstones->unsent > 0 || tombstones->gone_count > 0 ||
           pipeline_cluster_sessions__are_there(cluster);
}

static bool gather(struct pipeline_cluster *cluster, struct fr_err *err)
{
    for (int i = 0; i < cluster->config->lanes; i++)
        if (!agg_deltas_merge(cluster->pending, cluster->turned[i], err))
            return false;
    return agg_images_tell(cluster->engine->agg, cluster->pending, cluster->boundary_horizon_ms, err);
}

bool pipeline_cluster__gather(struct pipeline_cluster *cluster, struct fr_err *err)
{
    if (gather(cluster, err)) {
        fr_gauge_set(cluster->images_bytes, (double)agg_images_bytes(cluster->engine->agg));
        return true;
    }
    pipeline_cluster__fail(cluster, err); /* some of it may be there twice */
    return false;
}

/* Whether any user's entity is in the epoch, which the sweep may have brought there without an event. */
static bool has_copies(struct writing *writing, struct fr_err *err)
{
    bool is_through;

    writing->is_counting = true;
    is_through = store_epoch_each(writing->cluster->store, put_copy, writing, err);
    writing->is_counting = false;
    return is_through && writing->copies > 0;
}

bool pipeline_cluster__before_durable(struct pipeline_cluster *cluster, struct store *store, struct fr_err *err)
{
    struct writing writing = {.cluster = cluster, .partitions = atomic_load(&cluster->partitions)};
    bool is_announcing, ok;

    if (cluster->is_boundary_local || !owns_any(cluster, writing.partitions))
        return true;
    is_announcing = cluster->is_boundary_announcing;
    if (!is_announcing && agg_deltas_count(cluster->pending) == 0 && !has_moved(cluster, writing.partitions) &&
        !is_any_unsent(cluster) && !has_copies(&writing, err))
        return true;
    writing.head = (struct pipeline_delta_head){.store_id = cluster->store_id,
                                                .epoch = atomic_load(&cluster->made) + 1,
                                                .fingerprint = cluster->fingerprint,
                                                .stream_time_ms = cluster->boundary_time_ms};
    atomic_store(&cluster->made, writing.head.epoch); /* before anybody can read it back */
    fr_buffer_init(&writing.key);
    fr_buffer_init(&writing.value);
    ok = transact_until(&writing, is_announcing, err);
    fr_buffer_fini(&writing.key);
    fr_buffer_fini(&writing.value);
    if (ok) {
        cluster->is_boundary_announcing = false;
        take_over(cluster, store, &writing);
    } else {
        pipeline_cluster__fail(cluster, err);
    }
    return ok;
}
