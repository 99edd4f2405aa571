/*
 * The committer: one thread that turns the epoch every `store.epoch`, sooner when much is dirty or somebody asks, later (up to
 * five times the period) while a backlog drains, because a longer epoch writes a hot entity once instead of five times.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>
#include <freshet/log.h>

#include <stdlib.h>

enum {
    TICK_MS = 50, /* also how far the horizon of pruning stays behind */
    TICK_SOON_MS = 5, /* when an epoch will soon be due because much is dirty: lanes may have to wait for it */
    BACKLOG_EVENTS = 100000, /* more lag than this is a backlog */
    BACKLOG_PERIODS = 5,
    BACKLOG_PERIOD_MS_MAX = 10000,
    DEAD_LETTERS_MS = 10000, /* for Kafka to take them, before an epoch */
    DEAD_LETTERS_STOP_MS = 3000,
    RETRY_MS = 500, /* after a failed epoch */
};

static void put_boundary(void *user, struct store *store)
{
    struct pipeline_committer *committer = user;

    pipeline_offsets__save(committer->offsets, store);
    pipeline_tables__save(committer->tables, store);
    pipeline_stream__save(committer->stream, store);
    if (committer->learning)
        committer->boundary_position = pipeline_learning__boundary(committer->learning);
    pipeline_tombstones__expire(committer->tombstones, store, pipeline_stream__time(committer->stream));
    if (committer->asked && committer->asked->at_boundary)
        committer->asked->is_refused = !committer->asked->at_boundary(committer->asked->user, store, &committer->asked->err);
    if (committer->cluster)
        pipeline_cluster__boundary(committer->cluster, store);
    if (atomic_load(&committer->is_replay_done))
        store_meta_delete(store, pipeline_replay_meta);
    committer->boundary_time_ms = pipeline_stream__time(committer->stream);
    committer->boundary_count =
        pipeline_offsets__copy(committer->offsets, committer->boundary_offsets, PIPELINE_PARTITIONS_MAX);
}

/* A dead letter is in Kafka before the offset behind it is durable, so a crash can repeat one but never lose it. */
static bool before_durable(void *user, struct fr_err *err)
{
    struct pipeline_committer *committer = user;
    struct ingest *ingest = atomic_load_explicit(&committer->ingest, memory_order_acquire);
    int timeout_ms = committer->is_last ? DEAD_LETTERS_STOP_MS : DEAD_LETTERS_MS;

    return (!committer->cluster || pipeline_cluster__gather(committer->cluster, err)) &&
           pipeline_tables__flush(committer->tables, timeout_ms, committer->is_last, err) &&
           (!ingest || ingest_dead_letters_flush(ingest, timeout_ms, committer->is_last, err)) &&
           (!committer->cluster || pipeline_cluster__before_durable(committer->cluster, committer->store, err));
}

static bool turn_epoch(struct pipeline_committer *committer, struct fr_err *err)
{
    struct store_epoch epoch = {.boundary = put_boundary, .before_durable = before_durable, .user = committer};
    struct ingest *ingest = atomic_load_explicit(&committer->ingest, memory_order_acquire);

    if (!store_epoch_commit(committer->store, &epoch, err)) {
        if (committer->cluster && store_is_failed(committer->store))
            pipeline_cluster__fail(committer->cluster, err);
        return false;
    }
    fr_fault_meet(FR_FAULT_AFTER_INGEST_BEFORE_KAFKA_COMMIT);
    atomic_store(&committer->durable_time_ms, committer->boundary_time_ms);
    atomic_store(&committer->durable_at_ms, fr_clock_monotonic_ms());
    if (committer->learning)
        pipeline_learning__durable(committer->learning, committer->boundary_position);
    if (ingest && committer->boundary_count > 0 && !committer->cluster)
        ingest_offsets_commit(ingest, committer->boundary_offsets, committer->boundary_count);
    return true;
}

static void log_failure(const struct fr_err *err)
{
    static struct fr_log_place place;

    fr_log_limited(&place, 6, FR_LOG_ERROR, "pipeline", "an epoch is not durable, the next one repeats it: %s", err->message);
}

static void answer(struct pipeline_commit *commit, bool is_durable, const struct fr_err *err)
{
    void *message = commit;

    commit->is_durable = is_durable && !commit->is_refused;
    if (!is_durable)
        commit->err = *err;
    if (!fr_queue_send(commit->answers, &message, 0))
        fr_log(FR_LOG_ERROR, "pipeline", "a checkpoint's answer found no room; this is a bug, please report it");
}

static int64_t period(struct pipeline_committer *committer)
{
    int64_t period_ms = committer->period_ms;

    if (pipeline_stream__lag(committer->stream).events > BACKLOG_EVENTS)
        period_ms *= BACKLOG_PERIODS;
    return period_ms > BACKLOG_PERIOD_MS_MAX && period_ms > committer->period_ms ? BACKLOG_PERIOD_MS_MAX : period_ms;
}

static bool is_due(struct pipeline_committer *committer, int64_t last_ms, int64_t not_before_ms)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    struct store_stats stats;

    if (now_ms < not_before_ms || atomic_load(&committer->holds) > 0)
        return false;
    if (now_ms - last_ms >= period(committer))
        return true;
    store_stats_read(committer->store, &stats);
    return stats.unwritten_bytes > committer->dirty_bytes_soon;
}

static int tick(struct pipeline_committer *committer)
{
    struct store_stats stats;

    store_stats_read(committer->store, &stats);
    return stats.unwritten_bytes > committer->dirty_bytes_soon / 2 ? TICK_SOON_MS : TICK_MS;
}

static void raise_horizon(struct pipeline_committer *committer, int64_t *raised_ms)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (now_ms - *raised_ms < TICK_MS)
        return;
    pipeline_stream__raise_horizon(committer->stream);
    *raised_ms = now_ms;
}

static void *run(void *user)
{
    struct pipeline_committer *committer = user;
    int64_t last_ms = fr_clock_monotonic_ms(), not_before_ms = 0, raised_ms = 0;

    while (!atomic_load(&committer->is_stopping)) {
        void *message = NULL;
        bool is_asked = fr_queue_receive(committer->requests, &message, tick(committer));
        struct fr_err err = {0};
        bool is_durable;

        raise_horizon(committer, &raised_ms);
        if (!is_asked && !is_due(committer, last_ms, not_before_ms))
            continue;
        committer->asked = message;
        is_durable = turn_epoch(committer, &err);
        committer->asked = NULL;
        last_ms = fr_clock_monotonic_ms();
        not_before_ms = is_durable ? 0 : last_ms + RETRY_MS;
        if (!is_durable) {
            fr_counter_add(committer->failed, 1);
            if (!committer->cluster || !pipeline_cluster__is_failed(committer->cluster)) /* it has said why, and ends */
                log_failure(&err);
        }
        if (is_asked)
            answer(message, is_durable, &err);
    }
    return NULL;
}

static bool make_queues(struct pipeline_committer *committer)
{
    committer->requests = fr_queue_new(PIPELINE_COMMITS_MAX);
    committer->idle = fr_queue_new(PIPELINE_COMMITS_MAX);
    if (!committer->requests || !committer->idle)
        return false;
    for (int i = 0; i < PIPELINE_COMMITS_MAX; i++) {
        void *message = &committer->commits[i];

        if (!(committer->commits[i].answers = fr_queue_new(1)) || !fr_queue_send(committer->idle, &message, 0))
            return false;
    }
    return true;
}

bool pipeline_committer__start(struct pipeline_committer *committer, struct fr_err *err)
{
    atomic_store(&committer->durable_at_ms, fr_clock_monotonic_ms());
    committer->boundary_offsets = calloc(PIPELINE_PARTITIONS_MAX, sizeof *committer->boundary_offsets);
    if (!make_queues(committer) || !committer->boundary_offsets)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the committer");
    if (pthread_create(&committer->thread, NULL, run, committer) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the committer's thread; raise the limit of threads");
    committer->is_started = true;
    return true;
}

bool pipeline_committer__commit_with(struct pipeline_committer *committer, pipeline_boundary_fn at_boundary, void *user,
                                     int timeout_ms, struct fr_err *err)
{
    struct pipeline_commit *commit;
    void *message = NULL;
    bool is_durable = false;

    if (!fr_queue_receive(committer->idle, &message, timeout_ms))
        return fr_fail(err, FR_EXHAUSTED, "pipeline: %d checkpoints wait already; try again later", PIPELINE_COMMITS_MAX);
    commit = message;
    commit->at_boundary = at_boundary;
    commit->user = user;
    commit->is_refused = false;
    if (!fr_queue_send(committer->requests, &message, 0)) {
        fr_fail(err, FR_UNAVAILABLE, "pipeline: the node is closing; ask again when it is back");
    } else {
        /* Every request that was taken is answered, by the thread or by pipeline_committer__stop(). */
        fr_queue_receive(commit->answers, &message, -1);
        is_durable = commit->is_durable;
        if (!is_durable)
            *err = commit->err;
    }
    message = commit;
    if (!fr_queue_send(committer->idle, &message, 0))
        return fr_fail(err, FR_UNAVAILABLE, "pipeline: the node is closing; ask again when it is back");
    return is_durable;
}

bool pipeline_committer__commit(struct pipeline_committer *committer, int timeout_ms, struct fr_err *err)
{
    return pipeline_committer__commit_with(committer, NULL, NULL, timeout_ms, err);
}

bool pipeline_committer__stop(struct pipeline_committer *committer, struct fr_err *err)
{
    bool is_durable;
    void *message;

    if (!committer->is_started)
        return true;
    atomic_store(&committer->is_stopping, true);
    pthread_join(committer->thread, NULL);
    committer->is_started = false;
    committer->is_last = true;
    is_durable = turn_epoch(committer, err);
    fr_queue_close(committer->requests);
    while (fr_queue_receive(committer->requests, &message, 0))
        answer(message, is_durable, err);
    return is_durable;
}

static void free_queue(struct fr_queue *queue)
{
    void *message;

    if (!queue)
        return;
    fr_queue_close(queue);
    while (fr_queue_receive(queue, &message, 0))
        continue;
    fr_queue_free(queue);
}

void pipeline_committer__fini(struct pipeline_committer *committer)
{
    for (int i = 0; i < PIPELINE_COMMITS_MAX; i++)
        free_queue(committer->commits[i].answers);
    free_queue(committer->requests);
    free_queue(committer->idle);
    free(committer->boundary_offsets);
}
