/* A node of a cluster: opening, and the cluster's thread, which makes the topics, comes in, and reads what others saw. */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { AGAIN_MS = 100, ARENA_BYTES = 16 << 20, DAY_MS = 86400000 };

bool pipeline_cluster__is_stopping(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->is_stopping) || atomic_load(&cluster->is_failed);
}

bool pipeline_cluster__is_failed(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->is_failed);
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

    pipeline_owner__take(cluster, atoi(name + strlen("cluster/owner/")), -1, value);
}

/*
 * The changelog keeps deletes for seven days. Copies that were away for longer may be of users who were forgotten meanwhile,
 * and nobody says so any more: they are let go of, and read from the first record.
 */
static void drop_outdated(struct pipeline_cluster *cluster)
{
    int64_t saved_ms, now_ms = fr_clock_wall_ms();
    int count = 0;

    if (!fr_text_int64(store_meta_get(cluster->store, "cluster/saved_ms"), &saved_ms) ||
        now_ms - saved_ms <= PIPELINE_CLUSTER_OLDEST_MS)
        return;
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        count += atomic_exchange(&cluster->held[i].changelog_next, -1) >= 0;
    if (count > 0)
        fr_log(FR_LOG_INFO, "cluster",
               "'%s' has written nothing for %" PRId64 " days: its %d partitions are read from the first record",
               cluster->config->id, (now_ms - saved_ms) / DAY_MS, count);
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
    drop_outdated(cluster);
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
    bool ok = agg_images_open(agg) && (cluster->pending = agg_deltas_new(agg));

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
    cluster->images_bytes =
        fr_metrics_gauge(metrics, "freshet_cluster_images_bytes", NULL,
                         "Memory, beside the budget, of what items and the like were before the last two epochs' events.");
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
    agg_carry(options->engine->agg, LEARNER_KIND_SESSION, learner_sessions_is_good); /* also where others alone have sessions */
    atomic_store(&cluster->is_local, true);
    snprintf(cluster->brokers, sizeof cluster->brokers, "%s", options->brokers);
    snprintf(cluster->changelog, sizeof cluster->changelog, "%s.changelog", options->config->group);
    snprintf(cluster->deltas, sizeof cluster->deltas, "%s.deltas", options->config->group);
    for (int i = 0; i < options->config->topic_count; i++)
        cluster->topics[cluster->topic_count++] = options->config->topics[i].name;
    for (int i = 0; i < options->config->text_count; i++)
        cluster->topics[cluster->topic_count++] = options->config->texts[i].to;
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
    options->engine->tombstones.are_shared = true;
    return pipeline_mergers__open(options->engine->agg, options->config->lanes, &cluster->mergers, err) &&
           read_store(cluster, err) && pipeline_cluster_blocks__open(cluster, err);
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

/* "'shop.events' 8, 'shop.orders' 4", as far as there is room. */
static void name_counts(const struct pipeline_cluster *cluster, char *names, size_t room)
{
    int all = ingest_partition_count(cluster->ingest), length = 0;

    names[0] = '\0';
    for (int t = 0; t < cluster->topic_count && (size_t)length < room; t++) {
        int count = 0;

        for (int i = 0; i < all; i++)
            count += strcmp(ingest_partition_at(cluster->ingest, i).topic, cluster->topics[t]) == 0;
        length += snprintf(names + length, room - (size_t)length, "%s'%s' %d", t > 0 ? ", " : "", cluster->topics[t], count);
    }
}

static bool find_topics(struct pipeline_cluster *cluster, struct fr_err *err)
{
    char names[512];
    int count = 0;

    while (!ingest_topics_are_found(cluster->ingest, &count)) {
        if (pipeline_cluster__is_stopping(cluster))
            return fr_fail(err, FR_UNAVAILABLE, "cluster: the node is closing");
        fr_clock_sleep_ms(AGAIN_MS);
    }
    if (count > PIPELINE_CLUSTER_PARTITIONS_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "cluster: the topics of kafka.topics have %d partitions; a cluster takes %d at most",
                       count, PIPELINE_CLUSTER_PARTITIONS_MAX);
    if (count < 1) {
        name_counts(cluster, names, sizeof names);
        return fr_fail(err, FR_BAD_CONFIG,
                       "cluster: the topics of kafka.topics do not all have as many partitions: %s; make them anew with the "
                       "same number",
                       names);
    }
    atomic_store(&cluster->partitions, count);
    return true;
}

/*
 * Deltas stay for as long as an event in them can be seen by somebody who has nothing yet: the longest window or retention,
 * from the youngest event that there may be in them, and a day for clocks.
 */
static bool make_topics(struct pipeline_cluster *cluster, struct fr_err *err)
{
    int64_t seen_ms = agg_catalogue_seen_ms(cluster->engine->agg);
    int64_t kept_ms = seen_ms < 0 ? -1 : seen_ms + 2 * cluster->config->max_future_ms + DAY_MS;
    int partitions = atomic_load(&cluster->partitions);
    struct ingest_group_topic topics[] = {
        {.name = cluster->changelog, .partitions = partitions, .is_compacted = true, .retention_ms = INT64_C(7) * DAY_MS},
        {.name = cluster->deltas, .partitions = partitions, .retention_ms = kept_ms},
        {.name = cluster->config->learner->sessions.topic, .partitions = partitions, .is_of_others = true}};

    for (size_t i = 0; i < sizeof topics / sizeof *topics && topics[i].name; i++) {
        while (!ingest_group_topic(cluster->group, &topics[i], err))
            if (!pipeline_cluster__wait_again(cluster, err))
                return false;
        while (!topics[i].is_of_others && !ingest_group_topic_check(cluster->group, &topics[i], err))
            if (!pipeline_cluster__wait_again(cluster, err))
                return false;
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
    if (!pipeline_deltas__open(cluster, err))
        return false;
    while (!ingest_tail_is_through(cluster->tail))
        if (pipeline_cluster__is_stopping(cluster) || !pipeline_deltas__read(cluster, err))
            return false;
    /* Only now: had it stopped half-way through an epoch, the rest of that would still be missing. */
    if (cluster->found > atomic_load(&cluster->made))
        atomic_store(&cluster->made, cluster->found);
    if (!pipeline_share__commit(cluster, err)) /* what it has made counts from here on */
        return false;
    atomic_store(&cluster->is_through, true);
    if (!pipeline_standby__start(cluster, err) || !pipeline_joining__warm_up(cluster, err))
        return false;
    return cluster->config->is_replica || (pipeline_ship__start(cluster, err) && ingest_group_join(cluster->group, err));
}

static void *run(void *user)
{
    struct pipeline_cluster *cluster = user;
    struct fr_err err = {0};
    bool ok = come_in(cluster, &err);

    while (ok && !pipeline_cluster__is_stopping(cluster)) {
        ok = pipeline_deltas__read(cluster, &err);
        pipeline_drain__look(cluster);
    }
    if (!ok && !pipeline_cluster__is_stopping(cluster))
        pipeline_cluster__fail(cluster, &err);
    return NULL;
}

bool pipeline_cluster__start(struct pipeline_cluster *cluster, struct ingest *ingest, struct pipeline_texts *texts,
                             const char *api, struct fr_err *err)
{
    struct ingest_group_options options = {.brokers = cluster->brokers,
                                           .group = cluster->config->group,
                                           .instance = cluster->config->id,
                                           .properties = cluster->config->properties,
                                           .property_count = cluster->config->property_count,
                                           .topics = cluster->topics,
                                           .topic_count = cluster->topic_count,
                                           .user = cluster,
                                           .assigned = pipeline_share__assigned,
                                           .revoked = pipeline_share__revoked,
                                           .fatal = on_fatal};

    cluster->ingest = ingest;
    cluster->texts = texts;
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
    pipeline_mergers__close(cluster->mergers);
    pipeline_cluster_tombstones__close(cluster);
    pipeline_cluster_blocks__close(cluster);
    fr_arena_free(cluster->arena);
    free(cluster);
}
