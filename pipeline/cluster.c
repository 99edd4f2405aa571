/* A node of a cluster: opening, the cluster's thread, and what calls ask of it. */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    AGAIN_MS = 100,
    ROOM_MS = 10,
    FETCH_MS = 100, /* a record is told at once; ten fetches a second when there is none are enough */
    READ_MS = 100,
    LOOK_MS = 1000,
    RECORDS_AT_ONCE = 4, /* what they bring is merged inside one gate */
    CHOSEN_FIRST = 1024,
    ARENA_BYTES = 16 << 20,
    DAY_MS = 86400000
};

bool pipeline_cluster__is_stopping(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->is_stopping) || atomic_load(&cluster->is_failed);
}

/* ---- opening ---- */

static void read_partition(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_cluster *cluster = user;
    int number = atoi(name + strlen("cluster/partition/"));
    struct fr_reader reader = fr_reader(value);
    struct pipeline_held *held;
    struct fr_err err;

    if (number < 0 || number >= PIPELINE_CLUSTER_PARTITIONS_MAX)
        return;
    held = &cluster->held[number];
    atomic_store(&held->changelog_next, (int64_t)fr_reader_varint(&reader));
    if (reader.at < reader.end &&
        !pipeline_marker__decode(cluster, fr_slice(reader.at, (size_t)(reader.end - reader.at)), &held->marker, &err))
        atomic_store(&held->changelog_next, -1); /* it is restored from the beginning */
}

static void read_deltas(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_cluster *cluster = user;
    int number = atoi(name + strlen("cluster/deltas/"));
    int64_t next;

    if (number >= 0 && number < PIPELINE_CLUSTER_PARTITIONS_MAX && fr_text_int64(value, &next)) {
        atomic_store(&cluster->deltas_next[number], next);
        cluster->deltas_saved[number] = next;
    }
}

static void read_owner(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_cluster *cluster = user;

    pipeline_owner__take(cluster, atoi(name + strlen("cluster/owner/")), value);
}

bool pipeline_cluster__is_instances(struct store *store)
{
    return store_meta_get(store, "cluster/id").length > 0;
}

/* A store is of one group, and knows by a number of its own which deltas it made. */
static bool read_store(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct fr_slice id = store_meta_get(cluster->store, "cluster/id"), made = store_meta_get(cluster->store, "cluster/epoch");
    struct fr_slice group = store_meta_get(cluster->store, "cluster/group");
    struct fr_reader reader = fr_reader(id);
    struct fr_buffer value;
    uint64_t number = 0;

    if (id.length == 0 && pipeline_stream__time(&cluster->engine->stream) > 0)
        return fr_fail(
            err, FR_BAD_CONFIG,
            "cluster: the state in '%s' is of a node that stood alone; start with an empty store.path, and it is built "
            "from kafka.start on",
            cluster->config->store_path);
    if (group.length > 0 && !fr_slice_is(group, cluster->config->group))
        return fr_fail(err, FR_BAD_CONFIG,
                       "cluster: the state in '%s' is of group '%.*s', not '%s'; start with an empty store.path",
                       cluster->config->store_path, (int)group.length, (const char *)group.bytes, cluster->config->group);
    cluster->store_id = id.length > 0 ? fr_reader_fixed64(&reader) : 0;
    if (made.length > 0 && !fr_text_uint64(made, &number))
        return fr_fail(err, FR_CORRUPT, "cluster: the epoch in '%s' makes no sense", cluster->config->store_path);
    atomic_store(&cluster->made, number);
    cluster->made_saved = number;
    store_meta_each(cluster->store, "cluster/partition/", read_partition, cluster);
    store_meta_each(cluster->store, "cluster/deltas/", read_deltas, cluster);
    store_meta_each(cluster->store, "cluster/owner/", read_owner, cluster);
    if (id.length > 0)
        return true;
    if (getrandom(&cluster->store_id, sizeof cluster->store_id, 0) != (ssize_t)sizeof cluster->store_id)
        return fr_fail(err, FR_EXHAUSTED, "cluster: no random numbers");
    fr_buffer_init(&value);
    fr_buffer_append_fixed64(&value, cluster->store_id);
    store_meta_put(cluster->store, "cluster/id", fr_buffer_slice(&value));
    store_meta_put(cluster->store, "cluster/group", fr_slice_of(cluster->config->group));
    fr_buffer_fini(&value);
    return true;
}

static bool make_deltas(struct pipeline_cluster *cluster)
{
    struct agg *agg = cluster->engine->agg;
    bool ok = agg_images_open(agg) && (cluster->pending = agg_deltas_new(agg)) &&
              (cluster->merger = agg_lane_new(agg, PIPELINE_BATCH_EVENTS));

    for (int i = 0; i < cluster->config->lanes && ok; i++) {
        struct agg_deltas *first = agg_deltas_new(agg);

        cluster->turned[i] = agg_deltas_new(agg);
        ok = first && cluster->turned[i];
        agg_lane_collect(cluster->engine->lanes.lanes[i].scratch, first);
    }
    return ok;
}

static void register_metrics(struct pipeline_cluster *cluster, struct fr_metrics *metrics)
{
    cluster->transactions =
        fr_metrics_counter(metrics, "freshet_cluster_transactions_total", NULL, "Epochs that were committed as a transaction.");
    cluster->taken_back = fr_metrics_counter(metrics, "freshet_cluster_taken_back_total", NULL,
                                             "Transactions that brokers broke off, and that were put once more.");
    cluster->without_room = fr_metrics_counter(metrics, "freshet_cluster_blocks_without_room_total", NULL,
                                               "Ids that others blocked and for which this instance had no room.");
    cluster->copied = fr_metrics_counter(metrics, "freshet_cluster_copies_total", NULL, "Records written to the changelog.");
    cluster->deltas_written =
        fr_metrics_counter(metrics, "freshet_cluster_deltas_total", NULL, "Deltas written for other instances.");
    cluster->merged = fr_metrics_counter(metrics, "freshet_cluster_merged_total", NULL, "Deltas of others that were merged.");
    cluster->restored =
        fr_metrics_counter(metrics, "freshet_cluster_restored_total", NULL, "Records restored from the changelog.");
    cluster->dropped =
        fr_metrics_counter(metrics, "freshet_cluster_dropped_total", NULL, "Users' entities given to other instances.");
    pipeline_ship__register(cluster, metrics);
}

bool pipeline_cluster__open(const struct pipeline_cluster_options *options, struct pipeline_cluster **ret, struct fr_err *err)
{
    struct pipeline_cluster *cluster = calloc(1, sizeof *cluster);

    if (!cluster || !(cluster->arena = fr_arena_new(ARENA_BYTES))) {
        free(cluster);
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    }
    *ret = cluster;
    cluster->config = options->config;
    cluster->engine = options->engine;
    cluster->store = options->engine->store;
    cluster->fatal = options->fatal;
    cluster->user = options->user;
    cluster->fingerprint = agg_fingerprint(options->engine->agg);
    atomic_store(&cluster->is_local, true);
    snprintf(cluster->brokers, sizeof cluster->brokers, "%s", options->brokers);
    snprintf(cluster->changelog, sizeof cluster->changelog, "%s.changelog", options->config->group);
    snprintf(cluster->deltas, sizeof cluster->deltas, "%s.deltas", options->config->group);
    for (int i = 0; i < options->config->topic_count; i++)
        cluster->topics[i] = options->config->topics[i].name;
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++) {
        atomic_store(&cluster->held[i].changelog_next, -1);
        cluster->held[i].is_saved = true;
        atomic_store(&cluster->held[i].is_owner_saved, true);
        atomic_store(&cluster->deltas_next[i], -1);
        cluster->deltas_saved[i] = -1;
    }
    atomic_store(&cluster->is_idle, true);
    register_metrics(cluster, options->engine->metrics);
    if (!make_deltas(cluster))
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    return read_store(cluster, err) && pipeline_told__open(cluster, err);
}

/* ---- the cluster's thread ---- */

static void on_fatal(void *user, const struct fr_err *err)
{
    pipeline_cluster__fail(user, err);
}

bool pipeline_cluster__wait_again(struct pipeline_cluster *cluster, const struct fr_err *err)
{
    static struct fr_log_place place;

    if (err->code != FR_UNAVAILABLE || pipeline_cluster__is_stopping(cluster))
        return false;
    fr_log_limited(&place, 10, FR_LOG_INFO, "cluster", "%s; trying again", err->message);
    fr_clock_sleep_ms(AGAIN_MS);
    return true;
}

static bool find_topics(struct pipeline_cluster *cluster, struct fr_err *err)
{
    int count = 0;

    while (!ingest_topics_are_found(cluster->ingest, &count)) {
        if (pipeline_cluster__is_stopping(cluster))
            return fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing");
        fr_clock_sleep_ms(AGAIN_MS);
    }
    if (count < 1 || count > PIPELINE_CLUSTER_PARTITIONS_MAX)
        return fr_fail(
            err, FR_BAD_CONFIG,
            "cluster: the topics of kafka.topics do not all have as many partitions, of which a cluster takes %d; make "
            "them anew with the same number",
            PIPELINE_CLUSTER_PARTITIONS_MAX);
    atomic_store(&cluster->partitions, count);
    return true;
}

/*
 * Deltas stay for as long as an event in them can be seen by somebody who has nothing yet: the longest window or retention, from the
 * youngest event that there may be in them, and a day for clocks.
 */
static bool make_topics(struct pipeline_cluster *cluster, struct fr_err *err)
{
    int64_t seen_ms = agg_catalogue_seen_ms(cluster->engine->agg);
    int64_t kept_ms = seen_ms < 0 ? -1 : seen_ms + 2 * cluster->config->max_future_ms + DAY_MS;
    int partitions = atomic_load(&cluster->partitions);
    struct ingest_group_topic topics[] = {
        {.name = cluster->changelog, .partitions = partitions, .is_compacted = true, .retention_ms = INT64_C(7) * DAY_MS},
        {.name = cluster->deltas, .partitions = partitions, .retention_ms = kept_ms}};

    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        while (!ingest_group_topic(cluster->group, &topics[i], err))
            if (!pipeline_cluster__wait_again(cluster, err))
                return false;
        while (!ingest_group_topic_check(cluster->group, &topics[i], err))
            if (!pipeline_cluster__wait_again(cluster, err))
                return false;
    }
    return true;
}

static bool open_deltas(struct pipeline_cluster *cluster, struct fr_err *err)
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

    while (pipeline_delta__next(deltas, &delta)) {
        if (cluster->chosen_count == cluster->chosen_capacity) {
            int capacity = cluster->chosen_capacity ? 2 * cluster->chosen_capacity : CHOSEN_FIRST;
            struct agg_delta *chosen = reallocarray(cluster->chosen, (size_t)capacity, sizeof *chosen);

            if (!chosen)
                return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for deltas");
            cluster->chosen = chosen;
            cluster->chosen_capacity = capacity;
        }
        cluster->chosen[cluster->chosen_count++] = delta;
    }
    return !deltas->is_failed || fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' ends too soon", cluster->deltas);
}

/* What there is to merge: others' deltas, and its own of epochs that the store never wrote. */
static bool choose(struct pipeline_cluster *cluster, const struct ingest_tailed *records, int count, int64_t *time_ms,
                   struct fr_err *err)
{
    cluster->chosen_count = 0;
    for (int i = 0; i < count; i++) {
        struct pipeline_delta_head head;
        struct fr_reader deltas;
        int partition;

        if (pipeline_owner__is(records[i].key, &partition)) {
            if (partition == PIPELINE_CLUSTER_JOINING)
                pipeline_standby__expect(cluster, records[i].value);
            else
                pipeline_owner__take(cluster, partition, records[i].value);
            continue;
        }
        if (pipeline_told__is_block(records[i].key)) {
            if (!pipeline_told__hear_block(cluster, records[i].key, records[i].value, err))
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
    struct agg_tally tally = {0};
    struct store_visit visit;
    int64_t time_ms = 0;
    bool ok;

    if (!choose(cluster, records, count, &time_ms, err))
        return false;
    visit = store_visit_enter(cluster->store);
    ok = agg_deltas_load(cluster->merger, cluster->chosen, cluster->chosen_count, err);
    if (ok) {
        store_gate_enter(cluster->store);
        ok = agg_deltas_apply(cluster->merger, cluster->chosen, cluster->chosen_count, pipeline_stream__horizon(stream), &tally,
                              err);
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
    fr_counter_add(cluster->merged, (uint64_t)cluster->chosen_count);
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

static bool read_some(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct ingest_tailed records[RECORDS_AT_ONCE];
    int count = ingest_tail_read(cluster->tail, records, RECORDS_AT_ONCE, READ_MS, err);

    look_at_ends(cluster);
    if (count == 0)
        pipeline_left__look(cluster, &cluster->left);
    if (count > 0)
        pipeline_cluster__wait_for_room(cluster, false);
    return count >= 0 && merge(cluster, records, count, err);
}

/* Says that it comes, so that others read along what will be theirs then. */
static bool tell_joining(struct pipeline_cluster *cluster, struct fr_err *err)
{
    struct ingest_put put = {.topic = cluster->deltas, .is_signed = true};
    struct fr_buffer key, value;
    bool ok;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    pipeline_owner__encode(cluster, PIPELINE_CLUSTER_JOINING, &key, &value);
    put.key = fr_buffer_slice(&key);
    put.value = fr_buffer_slice(&value);
    ok = (!key.is_failed && !value.is_failed) || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    ok = ok && ingest_transaction_begin(cluster->group, err) &&
         ((ingest_transaction_put(cluster->group, &put, NULL, err) && ingest_transaction_commit_alone(cluster->group, err)) ||
          ingest_transaction_take_back(cluster->group, err)); /* it comes unannounced then */
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    return ok;
}

/*
 * Others serve what this one is to have. It joins once it has read it, because from then on all of them wait for it. Who has partitions
 * already, as after a restart, is waited for now, and joins at once.
 */
static bool warm_up(struct pipeline_cluster *cluster, struct fr_err *err)
{
    if (!cluster->config->is_replica && !pipeline_standby__is_newcomer(cluster))
        return true;
    if (!cluster->config->is_replica) {
        atomic_store(&cluster->is_joining, true);
        if (!tell_joining(cluster, err))
            return false;
    }
    while (!atomic_load(&cluster->is_warm))
        if (pipeline_cluster__is_stopping(cluster) || !read_some(cluster, err))
            return false;
    if (cluster->config->is_replica) {
        ingest_own(cluster->ingest, NULL, NULL, 0); /* it is known now what it reads of events: nothing */
        atomic_store(&cluster->is_assigned, true);
    }
    return true;
}

static bool come_in(struct pipeline_cluster *cluster, struct fr_err *err)
{
    if (!find_topics(cluster, err) || !make_topics(cluster, err))
        return false;
    while (!cluster->config->is_replica && !ingest_group_fence(cluster->group, err))
        if (!pipeline_cluster__wait_again(cluster, err))
            return false;
    if (!open_deltas(cluster, err))
        return false;
    while (!ingest_tail_is_through(cluster->tail))
        if (pipeline_cluster__is_stopping(cluster) || !read_some(cluster, err))
            return false;
    /* Only now: had it stopped half-way through an epoch, the rest of that would still be missing. */
    if (cluster->found > atomic_load(&cluster->made))
        atomic_store(&cluster->made, cluster->found);
    if (!pipeline_share__commit(cluster, err)) /* what it has made counts from here on */
        return false;
    atomic_store(&cluster->is_through, true);
    if (!pipeline_standby__start(cluster, err) || !warm_up(cluster, err))
        return false;
    return cluster->config->is_replica || (pipeline_ship__start(cluster, err) && ingest_group_join(cluster->group, err));
}

static void *run(void *user)
{
    struct pipeline_cluster *cluster = user;
    struct fr_err err = {0};
    bool ok = come_in(cluster, &err);

    while (ok && !pipeline_cluster__is_stopping(cluster)) {
        ok = read_some(cluster, &err);
        pipeline_drain__look(cluster);
    }
    if (!ok && !pipeline_cluster__is_stopping(cluster))
        pipeline_cluster__fail(cluster, &err);
    return NULL;
}

bool pipeline_cluster__start(struct pipeline_cluster *cluster, struct ingest *ingest, const char *api, struct fr_err *err)
{
    struct ingest_group_options options = {.brokers = cluster->brokers,
                                           .group = cluster->config->group,
                                           .instance = cluster->config->id,
                                           .properties = cluster->config->properties,
                                           .property_count = cluster->config->property_count,
                                           .topics = cluster->topics,
                                           .topic_count = cluster->config->topic_count,
                                           .user = cluster,
                                           .assigned = pipeline_share__assigned,
                                           .revoked = pipeline_share__revoked,
                                           .fatal = on_fatal};

    cluster->ingest = ingest;
    snprintf(cluster->api, sizeof cluster->api, "%s", api);
    if (!ingest_group_open(&options, &cluster->group, err))
        return false;
    if (pthread_create(&cluster->thread, NULL, run, cluster) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cluster: cannot start the cluster's thread; raise the limit of threads");
    pthread_setname_np(cluster->thread, "cluster");
    cluster->is_started = true;
    return true;
}

void pipeline_cluster__stop(struct pipeline_cluster *cluster)
{
    atomic_store(&cluster->is_stopping, true);
    if (cluster->is_started)
        pthread_join(cluster->thread, NULL);
    cluster->is_started = false;
    pipeline_standby__stop(cluster);
    pipeline_ship__stop(cluster);
    if (cluster->group)
        ingest_group_stop(cluster->group);
}

void pipeline_cluster__close(struct pipeline_cluster *cluster)
{
    if (!cluster)
        return;
    pipeline_cluster__stop(cluster);
    ingest_tail_close(cluster->tail);
    ingest_group_close(cluster->group);
    for (int i = 0; i < cluster->config->lanes; i++) {
        if (cluster->engine->lanes.lanes[i].scratch)
            agg_deltas_free(agg_lane_collect(cluster->engine->lanes.lanes[i].scratch, NULL));
        agg_deltas_free(cluster->turned[i]);
    }
    agg_deltas_free(cluster->pending);
    agg_lane_free(cluster->merger);
    free(cluster->chosen);
    pipeline_told__close(cluster);
    fr_arena_free(cluster->arena);
    free(cluster);
}

/* ---- any thread ---- */

const char *pipeline_cluster__not_ready(const struct pipeline_cluster *cluster)
{
    if (!atomic_load(&cluster->is_through))
        return "reading what other instances saw";
    if (atomic_load(&cluster->is_draining))
        return "drained: its partitions are others'";
    return atomic_load(&cluster->is_assigned) ? NULL : "waiting for partitions";
}

static bool may_be_stale(const struct pipeline_cluster *cluster, int partition)
{
    const struct pipeline_held *held = &cluster->held[partition];
    int place = atomic_load(&held->place);

    return cluster->config->are_stale_reads && atomic_load(&held->is_whole) &&
           (place == PIPELINE_CLUSTER_STANDBY || place == PIPELINE_CLUSTER_RESTORING);
}

int64_t pipeline_cluster__user_time(const struct pipeline_cluster *cluster, uint64_t user_id)
{
    int count = atomic_load(&cluster->partitions);
    const struct pipeline_held *held = count > 0 ? &cluster->held[ingest_partition_of(user_id, count)] : NULL;

    if (user_id == 0 || !held || atomic_load(&held->place) == PIPELINE_CLUSTER_HERE)
        return INT64_MAX;
    return atomic_load(&held->time_ms);
}

/* `what`: of the partition, with a space before it, or "". */
static bool check_partition(const struct pipeline_cluster *cluster, int partition, const char *what, struct fr_err *err)
{
    const struct pipeline_owner *owner;

    switch (atomic_load(&cluster->held[partition].place)) {
    case PIPELINE_CLUSTER_HERE:
        return true;
    case PIPELINE_CLUSTER_RESTORING:
        return fr_fail(err, FR_UNAVAILABLE, "partition %d%s is being handed over; retry", partition, what);
    default:
        break;
    }
    owner = atomic_load(&cluster->held[partition].owner);
    if (!owner || strcmp(owner->instance, cluster->config->id) == 0)
        return fr_fail(err, FR_UNAVAILABLE, "partition %d%s is at another instance, which has not said where; retry", partition,
                       what);
    return fr_fail(err, FR_PRECONDITION, "partition %d%s is at instance '%s': ask %s", partition, what, owner->instance,
                   owner->api);
}

bool pipeline_cluster__check_user(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);

    return (user_id != 0 && count > 0 && may_be_stale(cluster, ingest_partition_of(user_id, count))) ||
           pipeline_cluster__check_owned(cluster, user_id, err);
}

bool pipeline_cluster__check_owned(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    char what[48];

    if (user_id == 0)
        return true;
    if (count == 0)
        return fr_fail(err, FR_UNAVAILABLE, "the node does not know yet whose user %" PRIu64 " is; retry", user_id);
    snprintf(what, sizeof what, " with user %" PRIu64, user_id);
    return check_partition(cluster, ingest_partition_of(user_id, count), what, err);
}

bool pipeline_cluster__may_wait(const struct pipeline_cluster *cluster, int partition, struct fr_err *err)
{
    int place;

    if (!atomic_load(&cluster->is_assigned) || partition < 0 || partition >= atomic_load(&cluster->partitions))
        return true;
    place = atomic_load(&cluster->held[partition].place);
    return place == PIPELINE_CLUSTER_HERE || place == PIPELINE_CLUSTER_RESTORING ||
           check_partition(cluster, partition, "", err);
}

int pipeline_cluster__partitions(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->partitions);
}

struct pipeline_cluster_partition pipeline_cluster__partition(const struct pipeline_cluster *cluster, int number)
{
    const struct pipeline_held *held = &cluster->held[number];
    const struct pipeline_owner *owner = atomic_load(&held->owner);
    int place = atomic_load(&held->place);
    int64_t lag = atomic_load(&cluster->deltas_end[number]) - atomic_load(&cluster->deltas_next[number]);

    return (struct pipeline_cluster_partition){.number = number,
                                               .instance = owner ? owner->instance : "",
                                               .api = owner ? owner->api : "",
                                               .is_here = place == PIPELINE_CLUSTER_HERE,
                                               .is_restoring = place == PIPELINE_CLUSTER_RESTORING,
                                               .is_standby = place == PIPELINE_CLUSTER_STANDBY && atomic_load(&held->is_whole),
                                               .changelog_next = atomic_load(&held->changelog_next),
                                               .deltas_lag = lag > 0 ? lag : 0};
}

int32_t pipeline_cluster__some_partition(const struct pipeline_cluster *cluster)
{
    for (int32_t i = 0; i < atomic_load(&cluster->partitions); i++)
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            return i;
    return -1;
}

bool pipeline_cluster__is_replica(const struct pipeline_cluster *cluster)
{
    return cluster->config->is_replica;
}

uint64_t pipeline_cluster__epoch(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->made);
}
